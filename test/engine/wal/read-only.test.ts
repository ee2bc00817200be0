import { describe, expect, test } from 'vitest';
import { toIndex, toTerm } from '../../../src/core/base/position.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { openWal, openWalReadOnly, type WalEnding, type WalRecordInfo } from '../../../src/engine/wal/index.ts';
import { temporaryDir } from '../../actors/support.ts';
import { hookedDisk } from './hooked-disk.ts';
import { DIR, entryAt, pathOf, putFile, readBytes, Wal } from './wal.ts';

function look(disk: MemoryDisk): { records: WalRecordInfo[]; ending: WalEnding } {
  const changes: string[] = [];
  const wal = openWalReadOnly(DIR, { disk: hookedDisk(disk, (what) => changes.push(what)) });
  const records: WalRecordInfo[] = [];
  const log = wal.records();
  let step = log.next();
  for (; step.done !== true; step = log.next()) records.push(step.value);
  expect(changes, 'nothing is changed').toEqual([]);
  return { records, ending: step.value };
}

/** Two segments: entries 1 to 3 and a revert, then entry 2 again and a vote. */
function build(): { disk: MemoryDisk; wal: Wal } {
  const disk = new MemoryDisk();
  const wal = new Wal(disk, { segmentBytes: 400 });
  for (let index = 1; index <= 3; index++) wal.write(entryAt(index, 60));
  wal.sync();
  wal.write({ ...entryAt(2, 10, 4), revertFrom: toIndex(2) });
  wal.sync();
  wal.write({ hardState: { term: toTerm(5), vote: 'n2', commit: toIndex(1) }, revertFrom: undefined, entries: [] });
  return { disk, wal };
}

test('every record is told, with its place and what it says', () => {
  const { disk, wal } = build();
  wal.committer.close();
  const { records, ending } = look(disk);
  expect(
    records.map(({ lsn, kind, segment, indexes, term }) => [lsn, kind, segment, indexes?.first, indexes?.last, term]),
  ).toEqual([
    [1, 'base', 1, undefined, undefined, 0],
    [2, 'persist', 1, 1, 1, 1],
    [3, 'persist', 1, 2, 2, 1],
    [4, 'persist', 1, 3, 3, 1],
    [5, 'mark', 1, undefined, undefined, undefined],
    [6, 'base', 2, undefined, undefined, 1],
    [7, 'persist', 2, 2, 2, 4],
    [8, 'persist', 2, undefined, undefined, 5],
    [9, 'mark', 2, undefined, undefined, undefined],
  ]);
  for (const [i, { file, offset, bytes, segment }] of records.entries()) {
    expect(file).toBe(pathOf(segment));
    const next = records[i + 1];
    if (next?.segment === segment) expect(offset + bytes).toBe(next.offset);
  }
  expect(records[4]?.syncedOffset, 'the mark proves all before it').toBe(records[4]?.offset);
  expect(records[6]?.record).toMatchObject({ kind: 'persist', revertFrom: 2 });
  const last = records.at(-1)!;
  expect(ending).toEqual({ state: 'whole', file: pathOf(2), offset: last.offset + last.bytes, isSealed: true });
  expect(openWalReadOnly(DIR, { disk }).segments).toEqual([1, 2]);
});

describe('how it ends is said', () => {
  test('by nothing that is missing, without a clean close', () => {
    const { disk, wal } = build();
    expect(look(disk).ending).toEqual({
      state: 'whole',
      file: pathOf(2),
      offset: wal.committer.offset,
      isSealed: false,
    });
  });

  test('by no segment at all', () => {
    const disk = new MemoryDisk();
    disk.mkdir(DIR);
    expect(look(disk)).toEqual({ records: [], ending: { state: 'empty' } });
    expect(() => openWalReadOnly('/elsewhere', { disk })).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });

  test('by a torn write of so many bytes', () => {
    const { disk, wal } = build();
    const { offset } = wal.committer;
    const bytes = readBytes(disk, pathOf(2));
    bytes.fill(0x77, offset, offset + 13);
    putFile(disk, pathOf(2), bytes);
    const { records, ending } = look(disk);
    expect(records).toHaveLength(8);
    expect(ending).toEqual({ state: 'torn', file: pathOf(2), offset, bytes: 13 });
  });

  test('by damage at a file and offset, after every record before it', () => {
    const { disk, wal } = build();
    wal.committer.close();
    const { records } = look(disk);
    for (const at of [2, 6]) {
      const { file, offset } = records[at]!;
      const damaged = disk.clone();
      damaged.flipBit(file, offset + 25, 3);
      const found = look(damaged);
      expect(found.records.map(({ lsn }) => lsn)).toEqual(Array.from({ length: at }, (_, i) => i + 1));
      expect(found.ending).toMatchObject({ state: 'damaged', file, offset });
    }
  });

  test('a missing segment is said at once, by its name', () => {
    const { disk, wal } = build();
    while (wal.committer.segment < 4) {
      wal.write(entryAt(wal.committer.lastIndex + 1, 300, 5));
      wal.sync();
    }
    disk.remove(pathOf(2));
    expect(() => openWalReadOnly(DIR, { disk })).toThrow(
      expect.objectContaining({ code: 'WAL_CORRUPT', data: { file: pathOf(2), offset: 0 } }),
    );
  });
});

test('who stops early leaves no file open', () => {
  const { disk, wal } = build();
  wal.committer.close();
  for (const { lsn } of openWalReadOnly(DIR, { disk }).records()) {
    if (lsn === 3) break;
  }
  for (const name of disk.list(DIR)) disk.remove(`${DIR}/${name}`);
  expect(disk.usedBytes).toBe(0);
});

test('a log in use can be looked at, and goes on', async () => {
  const dir = temporaryDir();
  const wal = await openWal(dir);
  for (let i = 0; i < 10; i++) await wal.append(Uint8Array.of(i)).durable;
  const found = [...openWalReadOnly(dir).records()];
  expect(found.filter(({ kind }) => kind === 'persist').map(({ indexes }) => indexes?.first)).toEqual([
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
  ]);
  await wal.append(Uint8Array.of(11)).durable;
  await wal.close();
});
