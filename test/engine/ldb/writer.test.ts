import { afterEach, beforeEach, expect, test } from 'vitest';
import { text } from '../../../src/core/base/bytes.ts';
import { readMark, type SnapshotMark } from '../../../src/engine/ldb/arriving.ts';
import { FIRST_KEY, storedRow } from '../../../src/engine/ldb/format.ts';
import { openLdb } from '../../../src/engine/ldb/index.ts';
import { openLmdbStore } from '../../../src/engine/ldb/lmdb-store.ts';
import { MARK_KEY } from '../../../src/engine/ldb/store.ts';
import { LdbWriter } from '../../../src/engine/ldb/writer.ts';
import { startChild } from './children.ts';
import {
  arrivingRow,
  CLUSTER,
  del,
  dump,
  fillRecords,
  put,
  records,
  revisionOf,
  StreamModel,
  streamRecords,
  temporaryDir,
  timeOf,
} from './ledger.ts';

let dir: ReturnType<typeof temporaryDir>;
let writer: LdbWriter;

beforeEach(async () => {
  dir = temporaryDir();
  writer = await LdbWriter.open(dir.path);
});

afterEach(async () => {
  await writer.close();
  dir.remove();
});

const rowsNow = (): Record<string, string> => {
  const ldb = openLdb(dir.path);
  try {
    return dump(ldb);
  } finally {
    ldb.close();
  }
};

const row = (key: string, value: string, revision: number) => ({
  key: new TextEncoder().encode(key),
  value: new TextEncoder().encode(value),
  revision: revisionOf(revision),
  expiryMs: 0,
});

test('a new LDB is at revision 0 of no cluster', () => {
  expect(writer.position).toEqual({ cluster: '', revision: 0, timeMs: 0 });
});

test('rows and position survive closing', async () => {
  const applied = await writer.apply(records(1, [put('a', '1'), put('b', '2')], [], [del('a'), put('c', '')]), CLUSTER);
  expect(applied).toEqual({ revision: 3, timeMs: timeOf(3), records: 3, shown: [] });
  await writer.close();
  writer = await LdbWriter.open(dir.path);
  expect(writer.position).toEqual({ cluster: CLUSTER, revision: 3, timeMs: timeOf(3) });
  expect(rowsNow()).toEqual({ b: '1=2', c: '3=' });
});

test('of several writes to a key in one batch the last one stands', async () => {
  await writer.apply(
    records(1, [put('k', 'old')], [del('k')], [put('k', 'new')], [put('gone', 'x')], [del('gone')]),
    CLUSTER,
  );
  expect(rowsNow()).toEqual({ k: '3=new' });
});

test('several pieces are one batch', async () => {
  const applied = await writer.apply([records(1, [put('a', '1')]), records(2, [put('b', '2')])], CLUSTER);
  expect(applied.records).toBe(2);
  expect(rowsNow()).toEqual({ a: '1=1', b: '2=2' });
});

test('records behind a gap are refused, and nothing of them is applied', async () => {
  await writer.apply(records(1, [put('a', '1')]), CLUSTER);
  await expect(writer.apply(records(3, [put('a', '3')]), CLUSTER)).rejects.toMatchObject({ code: 'LDB_GAP' });
  expect(writer.revision).toBe(1);
  expect(rowsNow()).toEqual({ a: '1=1' });
});

test('a hole inside a batch refuses the whole batch', async () => {
  const pieces = [records(1, [put('a', '1')]), records(3, [put('a', '3')])];
  await expect(writer.apply(pieces, CLUSTER)).rejects.toMatchObject({
    code: 'LDB_GAP',
    data: { expected: 2, got: 3 },
  });
  expect(writer.revision).toBe(0);
  expect(rowsNow()).toEqual({});
});

test('records that were applied before are skipped, and what follows them is not', async () => {
  await writer.apply(records(1, [put('a', '1')], [put('a', '2')]), CLUSTER);
  expect(await writer.apply(records(1, [put('a', 'replayed')]), CLUSTER)).toMatchObject({ revision: 2, records: 0 });
  expect(await writer.apply(records(2, [put('a', 'replayed')], [put('b', '3')]), CLUSTER)).toMatchObject({
    revision: 3,
    records: 1,
  });
  expect(rowsNow()).toEqual({ a: '2=2', b: '3=3' });
});

test('records of another cluster are refused, and so is its snapshot', async () => {
  await writer.apply(records(1, [put('a', '1')]), CLUSTER);
  const foreign = { code: 'LDB_FOREIGN' };
  await expect(writer.apply(records(2, [put('a', '2')]), 'other')).rejects.toMatchObject(foreign);
  const position = { cluster: 'other', revision: revisionOf(9), timeMs: 0 };
  await expect(writer.beginSnapshot(position)).rejects.toMatchObject(foreign);
  expect(rowsNow()).toEqual({ a: '1=1' });
});

test('bytes that are no records are refused', async () => {
  await expect(writer.apply(Uint8Array.of(1, 2, 3), CLUSTER)).rejects.toMatchObject({ code: 'PROTOCOL_ERROR' });
  const badExpiry = records(1, [put('a', '1', -5)]);
  await expect(writer.apply(badExpiry, CLUSTER)).rejects.toMatchObject({ code: 'PROTOCOL_ERROR' });
  const longKey = records(1, [put('k'.repeat(2000), '1')]);
  await expect(writer.apply(longKey, CLUSTER)).rejects.toMatchObject({ code: 'KEY_INVALID' });
  expect(writer.revision).toBe(0);
});

test('keys of 1 byte to 1 KiB and values of 0 to 1 MiB go through unchanged', async () => {
  const key = Uint8Array.from({ length: 1024 }, (_, i) => i % 256);
  const value = Uint8Array.from({ length: 1 << 20 }, (_, i) => (i * 7) % 251);
  await writer.apply(records(1, [put(key, value), put(Uint8Array.of(0), ''), put(Uint8Array.of(0xff), 'x')]), CLUSTER);
  const ldb = openLdb(dir.path);
  expect(Buffer.compare(ldb.get(key)?.value ?? Buffer.alloc(0), value)).toBe(0);
  expect(Buffer.compare(ldb.getBytes(key) ?? Buffer.alloc(0), value)).toBe(0);
  expect(ldb.get(Uint8Array.of(0))?.value.length).toBe(0);
  expect(ldb.get(Uint8Array.of(0xff))?.text()).toBe('x');
  ldb.close();
});

test('records may lie in shared memory that is written again at once', async () => {
  const source = records(1, [put('a', 'value')]);
  const shared = new Uint8Array(new SharedArrayBuffer(source.length));
  shared.set(source);
  const applied = writer.apply(shared, CLUSTER);
  shared.fill(0);
  await applied;
  expect(rowsNow()).toEqual({ a: '1=value' });
});

test('a snapshot replaces what is there: puts what differs, removes what it lacks, leaves the rest', async () => {
  await writer.apply(
    records(1, [put('keep', 'k'), put('change', 'old'), put('remove', 'r'), put('\0', 'nul')]),
    CLUSTER,
  );
  await writer.beginSnapshot({ cluster: CLUSTER, revision: revisionOf(9), timeMs: 77_000_000 });
  await writer.addSnapshot([row('new', 'n', 5)]);
  await writer.addSnapshot([row('keep', 'k', 1), row('change', 'new', 8), row('\x01', 'low', 2)]);
  expect(rowsNow()).toEqual({ keep: '1=k', change: '1=old', remove: '1=r', '\0': '1=nul' });
  expect(await writer.finishSnapshot()).toEqual({ revision: 9, rows: 4, put: 3, removed: 2 });
  expect(writer.position).toEqual({ cluster: CLUSTER, revision: 9, timeMs: 77_000_000 });
  expect(rowsNow()).toEqual({ keep: '1=k', change: '8=new', new: '5=n', '\x01': '2=low' });
  await writer.apply(records(10, [put('after', 'a')]), CLUSTER);
  expect(rowsNow()).toMatchObject({ after: '10=a' });
});

test('an empty snapshot empties the LDB', async () => {
  await writer.apply(records(1, [put('a', '1')]), CLUSTER);
  await writer.beginSnapshot({ cluster: CLUSTER, revision: revisionOf(2), timeMs: 0 });
  await writer.finishSnapshot();
  expect(rowsNow()).toEqual({});
});

test('a snapshot from before the position is refused', async () => {
  await writer.apply(records(1, [], []), CLUSTER);
  const begun = writer.beginSnapshot({ cluster: CLUSTER, revision: revisionOf(1), timeMs: 0 });
  await expect(begun).rejects.toMatchObject({ code: 'LDB_GAP' });
});

test('an unfinished snapshot is void at the next begin and at the next open', async () => {
  const position = { cluster: CLUSTER, revision: revisionOf(5), timeMs: 0 };
  await writer.beginSnapshot(position);
  await writer.addSnapshot([row('void-1', '', 1)]);
  await writer.beginSnapshot(position);
  await writer.addSnapshot([row('void-2', '', 1)]);
  await writer.close();

  writer = await LdbWriter.open(dir.path);
  expect(writer.revision).toBe(0);
  expect(rowsNow()).toEqual({});
  await writer.beginSnapshot(position);
  await writer.addSnapshot([row('real', '', 4)]);
  await writer.finishSnapshot();
  expect(rowsNow()).toEqual({ real: '4=' });
});

test('an abandoned snapshot leaves no trace and records go on', async () => {
  await writer.beginSnapshot({ cluster: CLUSTER, revision: revisionOf(5), timeMs: 0 });
  await writer.addSnapshot([row('void', '', 1)]);
  await writer.abandonSnapshot();
  await writer.apply(records(1, [put('a', '1')]), CLUSTER);
  expect(rowsNow()).toEqual({ a: '1=1' });
});

test('a second writer is refused, in this process and in another', async () => {
  await expect(LdbWriter.open(dir.path)).rejects.toMatchObject({ code: 'DIR_LOCKED' });
  await writer.close();
  const holder = startChild('hold', dir.path);
  expect(await holder.line()).toBe('held');
  await expect(LdbWriter.open(dir.path)).rejects.toMatchObject({ code: 'DIR_LOCKED' });
  await holder.kill();
  writer = await LdbWriter.open(dir.path);
});

test('a closed writer says so', async () => {
  await writer.close();
  await writer.close();
  await expect(writer.apply(records(1, []), CLUSTER)).rejects.toMatchObject({ code: 'CLOSED' });
});

test('a writer in a process that already reads needs the reader to be told; it is refused, not crashed', async () => {
  await writer.apply(records(1, [put('a', '1')]), CLUSTER);
  await writer.close();

  const readOnly = openLdb(dir.path);
  await expect(LdbWriter.open(dir.path)).rejects.toMatchObject({ code: 'DIR_LOCKED' });
  readOnly.close();

  const beside = openLdb(dir.path, { besideWriter: true });
  writer = await LdbWriter.open(dir.path);
  await writer.apply(records(2, [put('a', '2')]), CLUSTER);
  beside.refresh();
  expect(beside.get('a')?.text()).toBe('2');
  beside.close();
});

test('a commit that fails changes nothing, is told, and ends the writer; the next one goes on', async () => {
  await writer.close();
  const child = startChild('fill', dir.path, { fileKibMax: 256, stderr: 'ignore' });
  expect(await child.end()).toBe(0);
  expect(child.lines.slice(0, 2)).toEqual(['DISK_FAILED', 'DISK_FAILED']);
  expect(child.lines.length, 'no unhandled rejection').toBe(3);
  writer = await LdbWriter.open(dir.path);
  expect(writer.revision).toBe(Number(child.lines[2]));
  expect(writer.revision).toBeGreaterThan(0);
  expect(Object.keys(rowsNow()).length).toBe(writer.revision);
  await writer.apply(fillRecords(writer.revision + 1, 50), CLUSTER);
  expect(Object.keys(rowsNow()).length).toBe(writer.revision);
});

test('killed at any moment, the position says exactly what the rows hold, and the stream goes on from there', async () => {
  await writer.close();
  const model = new StreamModel();
  const kills = 25;
  let told = 0;
  for (let kill = 0; kill < kills; kill++) {
    const child = startChild('write', dir.path);
    expect(Number(await child.line())).toBe(model.revision);
    await new Promise((done) => setTimeout(done, Math.random() * 60));
    await child.kill();

    const ldb = openLdb(dir.path);
    told = Math.max(told, ...child.lines.map(Number));
    expect(ldb.revision, 'what was told to be applied is there').toBeGreaterThanOrEqual(told);
    expect(dump(ldb)).toEqual(model.advanceTo(ldb.revision).dump());
    ldb.close();
  }
  expect(told).toBeGreaterThan(kills);
  writer = await LdbWriter.open(dir.path);
  await writer.apply(streamRecords(writer.revision + 1, 100), CLUSTER);
  expect(rowsNow()).toEqual(model.advanceTo(writer.revision).dump());
}, 60_000);

test('killed at any moment of a snapshot, what came of it is there, no more and no less, and it is gone on with', async () => {
  await writer.close();
  let told = 0;
  for (let kill = 0; kill < 6; kill++) {
    const child = startChild('arrive', dir.path);
    const began = Number(await child.line());
    expect(began, 'what was told to be there is there').toBeGreaterThanOrEqual(told);
    while (Number(child.lines.at(-1)) < began + 20 + kill) await child.line();
    await child.kill();
    told = Math.max(...child.lines.map(Number));

    const store = await openLmdbStore(dir.path);
    const mark = readMark(store.view('incoming'));
    const rows = [...store.view('incoming').range(FIRST_KEY, MARK_KEY)].map((one) =>
      storedRow(one.key, new Uint8Array(one.row)),
    );
    expect(rows).toEqual(Array.from({ length: mark?.rows ?? -1 }, (_, n) => arrivingRow(n)));
    expect(mark?.after).toEqual(rows.at(-1)?.key);
    await store.close();
  }
  expect(told).toBeGreaterThan(100);
  writer = await LdbWriter.open(dir.path);
  const { rows = 0 } = writer.interrupted ?? {};
  const from = writer.interrupted as SnapshotMark;
  await writer.goOnSnapshot(
    { cluster: CLUSTER, revision: revisionOf(9), timeMs: timeOf(9) },
    { filter: undefined, from },
  );
  await writer.rollSnapshot([
    records(8, [put(arrivingRow(1).key, 'rolled'), del(arrivingRow(2).key), put('9', 'behind')], []),
  ]);
  await expect(writer.finishSnapshot()).resolves.toMatchObject({ rows: rows - 1 });
  expect(Object.keys(rowsNow())).toHaveLength(rows - 1);
  expect(rowsNow()[text(arrivingRow(1).key)]).toBe('8=rolled');
}, 60_000);

test('what has come out of order is not gone on with', async () => {
  const position = { cluster: CLUSTER, revision: revisionOf(7), timeMs: timeOf(7) };
  await writer.beginSnapshot(position);
  await writer.addSnapshot([arrivingRow(1), arrivingRow(2)]);
  await writer.addSnapshot([arrivingRow(0)]);
  await writer.interruptSnapshot();
  expect(writer.interrupted).toBeUndefined();
});

test('a snapshot that does not follow what is here is refused, and so are its rows before its records', async () => {
  const position = { cluster: CLUSTER, revision: revisionOf(9), timeMs: timeOf(9) };
  await writer.beginSnapshot({ ...position, revision: revisionOf(7) });
  await writer.addSnapshot([arrivingRow(1), arrivingRow(2)]);
  await writer.interruptSnapshot();
  const mark = writer.interrupted as SnapshotMark;
  const goOn = (from: Partial<SnapshotMark>, at = position): Promise<void> =>
    writer.goOnSnapshot(at, { filter: undefined, from: { ...mark, ...from } });
  await expect(goOn({ revision: revisionOf(8) })).rejects.toMatchObject({ code: 'LDB_GAP' });
  await expect(goOn({ after: arrivingRow(1).key })).rejects.toMatchObject({ code: 'LDB_GAP' });
  await expect(goOn({}, { ...position, revision: revisionOf(6) })).rejects.toMatchObject({ code: 'LDB_GAP' });
  await goOn({});
  await expect(writer.addSnapshot([arrivingRow(3)])).rejects.toMatchObject({ code: 'LDB_GAP' });
  await expect(writer.rollSnapshot([records(9, [])])).rejects.toMatchObject({ code: 'LDB_GAP' });
  await expect(writer.rollSnapshot([records(8, [], [], [])])).rejects.toMatchObject({ code: 'LDB_GAP' });
  await expect(writer.finishSnapshot()).rejects.toMatchObject({ code: 'LDB_GAP' });
  await writer.rollSnapshot([records(8, [], [])]);
  await writer.addSnapshot([arrivingRow(3)]);
  await writer.finishSnapshot();
  expect(Object.keys(rowsNow())).toHaveLength(3);
});
