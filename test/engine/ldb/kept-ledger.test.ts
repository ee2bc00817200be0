import { afterEach, beforeEach, expect, test } from 'vitest';
import { EMPTY } from '../../../src/core/base/bytes.ts';
import { plus, toIndex } from '../../../src/core/base/position.ts';
import { decodeRecords } from '../../../src/core/model/ledger.ts';
import type { LdbState } from '../../../src/engine/ldb/ldb-state.ts';
import { openServedStore } from '../../../src/engine/ldb/lmdb-store.ts';
import { LdbWriter } from '../../../src/engine/ldb/writer.ts';
import { CLUSTER, StreamModel, streamRecords, temporaryDir, timeOf } from './ledger.ts';

let dir: ReturnType<typeof temporaryDir>;
let writer: LdbWriter | undefined;

beforeEach(() => {
  dir = temporaryDir();
});

afterEach(async () => {
  await writer?.close();
  dir.remove();
});

async function open(
  ledgerBytes = 1 << 20,
  monotonicMs?: () => number,
): Promise<{ writer: LdbWriter; state: LdbState }> {
  await writer?.close();
  const { store, state } = await openServedStore(dir.path, { ledgerBytes, onClose: () => {}, monotonicMs });
  writer = await LdbWriter.over(store, dir.path);
  return { writer, state };
}

/** Revisions that are kept, read as a shipper does. */
function kept(state: LdbState): number[] {
  const revisions: number[] = [];
  for (let from = state.ledgerFrom; from !== undefined; ) {
    const piece = state.readLedger(from);
    if (piece === undefined) break;
    revisions.push(...decodeRecords(piece.bytes).map(({ revision }) => revision));
    from = plus(piece.last, 1);
  }
  return revisions;
}

const upTo = (first: number, last: number): number[] => Array.from({ length: last - first + 1 }, (_, i) => first + i);

function rows(cursor: ReturnType<LdbState['scan']>): Record<string, string> {
  const found: Record<string, string> = {};
  for (let row = cursor.next(); row !== undefined; row = cursor.next()) {
    found[Buffer.from(row.key).toString()] = `${row.revision}=${Buffer.from(row.value).toString()}`;
  }
  cursor.close();
  return found;
}

test('records are kept with the rows that they make, as far as there is room, over restarts', async () => {
  const first = await open();
  for (let from = 1; from <= 91; from += 10)
    await first.writer.apply([streamRecords(from, 4), streamRecords(from + 4, 6)], CLUSTER);
  expect(kept(first.state)).toEqual(upTo(1, 100));
  // Pieces that come again, in part: what was there is not kept twice.
  await first.writer.apply(streamRecords(95, 10), CLUSTER);
  const second = await open();
  expect(kept(second.state)).toEqual(upTo(1, 104));
  expect(decodeRecords(second.state.readLedger(toIndex(7))?.bytes ?? EMPTY)[0]?.revision).toBe(7);
  const small = await open(4_000);
  await small.writer.apply(streamRecords(105, 10), CLUSTER);
  const [oldest = 0] = kept(small.state);
  expect(oldest).toBeGreaterThan(1);
  expect(kept(small.state)).toEqual(upTo(oldest, 114));
  expect(small.state.readLedger(toIndex(oldest - 1))).toBeUndefined();
  expect(small.state.readLedger(toIndex(115))).toBeUndefined();
});

test('a snapshot, or a writer that keeps nothing, leaves no records of what was before', async () => {
  const first = await open();
  await first.writer.apply(streamRecords(1, 10), CLUSTER);
  await first.writer.beginSnapshot({ cluster: CLUSTER, revision: toIndex(20), timeMs: timeOf(20) });
  await first.writer.addSnapshot(new StreamModel().advanceTo(20).snapshotRows());
  await first.writer.finishSnapshot();
  expect(kept(first.state)).toEqual([]);
  await first.writer.apply(streamRecords(21, 5), CLUSTER);
  expect(kept(first.state)).toEqual(upTo(21, 25));
  await first.writer.close();
  writer = await LdbWriter.open(dir.path);
  await writer.apply(streamRecords(26, 5), CLUSTER);
  expect(kept((await open()).state)).toEqual([]);
});

test('a cursor shows one state while commits go on, and so does a second one over it', async () => {
  const { writer: at, state } = await open();
  await at.apply(streamRecords(1, 50), CLUSTER);
  const cursor = state.scan({ from: EMPTY, to: undefined });
  await at.apply(streamRecords(51, 50), CLUSTER);
  const again = state.scan({ from: EMPTY, to: undefined }, cursor.revision);
  const now = state.scan({ from: EMPTY, to: undefined });
  expect([cursor.revision, again.revision, now.revision]).toEqual([50, 50, 100]);
  const before = new StreamModel().advanceTo(50).dump();
  expect(rows(again)).toEqual(before);
  expect(rows(cursor)).toEqual(before);
  expect(rows(now)).toEqual(new StreamModel().advanceTo(100).dump());
  expect(() => state.scan({ from: EMPTY, to: undefined }, toIndex(50))).toThrow('no longer held');
});

test('a cursor that nobody moves is ended, and there are not too many', async () => {
  let nowMs = 0;
  const { writer: at, state } = await open(1 << 20, () => nowMs);
  await at.apply(streamRecords(1, 50), CLUSTER);
  const all = Array.from({ length: 16 }, () => state.scan({ from: EMPTY, to: undefined }));
  expect(() => state.scan({ from: EMPTY, to: undefined })).toThrow('16 snapshots at once');
  const [moves, stands] = all;
  state.endIdle();
  for (nowMs = 10_000; nowMs <= 50_000; nowMs += 10_000) {
    moves?.next();
    state.endIdle();
  }
  expect(moves?.next()).toBeDefined();
  expect(() => stands?.next()).toThrow('stood still');
});
