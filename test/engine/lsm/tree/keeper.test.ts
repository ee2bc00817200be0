import { expect, test } from 'vitest';
import { latin } from './sources.ts';
import { DIR, quiet, Tree } from './forest.ts';

test('memtables become tables in the order in which they were frozen, one at a time', async () => {
  const tree = new Tree();
  tree.isAuto = false;
  for (const value of ['1', '2', '3']) {
    tree.write({ k: value });
    tree.writer.freeze();
    tree.keeper.poke();
  }
  expect(tree.keeper.frozen).toBe(3);
  for (const generation of [1, 2, 3]) {
    await quiet();
    expect(tree.waiting.map(({ job }) => job)).toMatchObject([{ kind: 'flush', generation }]);
    expect(tree.keeper.flushedRevision).toBe(generation - 1);
    expect(tree.get('k'), 'whatever is flushed').toBe('3');
    tree.waiting.shift()?.run();
  }
  await tree.keeper.flushed();
  expect(tree.keeper.flushedRevision).toBe(3);
  expect(tree.levels()).toEqual([3, 0, 0, 0, 0, 0, 0]);
  expect(tree.get('k')).toBe('3');
  await tree.close();
});

test('an empty memtable becomes no table, and is gone all the same', async () => {
  const tree = new Tree();
  await tree.flush();
  expect(tree.files()).toEqual([]);
  expect(tree.keeper.frozen).toBe(0);
  await tree.close();
});

test('a table takes effect when the log holds what is in it, the first part of a batch too', async () => {
  const asked: number[] = [];
  let isDurable = (): void => {};
  const durable = (revision: number): Promise<void> => {
    asked.push(revision);
    return new Promise((resolve) => {
      isDurable = resolve;
    });
  };
  const tree = new Tree({ world: { durable } });
  tree.write({ a: '1' });
  // Revision 2 begins in this memtable, and is not published.
  tree.writer.put(latin('b'), latin('half'), 2, 0);
  tree.writer.freeze();
  tree.keeper.poke();
  await quiet();
  expect(asked).toEqual([2]);
  expect(tree.keeper.flushedRevision).toBe(0);
  isDurable();
  await tree.keeper.flushed();
  expect(tree.keeper.flushedRevision, 'the batch before it').toBe(1);
  expect(tree.keeper.isMidBatch).toBe(true);
  expect(tree.get('b'), 'not visible').toBeUndefined();
  await tree.close();
});

test('the first part of a batch supersedes nothing in tables before the rest is flushed', async () => {
  const tree = new Tree();
  await tree.table({ a: 'old' });
  tree.writer.put(latin('a'), latin('new'), 2, 0);
  tree.writer.freeze();
  tree.keeper.poke();
  await tree.keeper.flushed();
  tree.writer.put(latin('b'), latin('new'), 2, 0);
  tree.writer.publish(2);
  await tree.keeper.compactAll();
  expect(tree.keeper.flushedRevision).toBe(1);
  expect(tree.get('a')).toBe('new');
  await tree.close();
  // Without the log, which would bring the rest: what is there is what was there at revision 1.
  const again = new Tree({ disk: tree.disk });
  expect(again.get('a')).toBe('old');
  await again.close();
});

test('rows go with their memtable, and a memtable waits until its rows are known', async () => {
  const known = new Map<number, { key: Uint8Array; value: Uint8Array }[]>();
  const tree = new Tree({ world: { rowsOf: (generation) => known.get(generation) } });
  tree.write({ k: 'v' });
  tree.writer.freeze();
  tree.keeper.poke();
  await quiet();
  expect(tree.jobs).toEqual([]);
  known.set(1, [{ key: latin('row'), value: latin('of the keeper') }]);
  tree.keeper.poke();
  await tree.keeper.flushed();
  expect(tree.get('row')).toBe('of the keeper');
  expect(tree.reader.get(latin('row'))?.revision).toBe(1);
  await tree.close();
});

test('a table that overlaps nothing is moved, not written again', async () => {
  const tree = new Tree({ l0Compact: 1 });
  await tree.table({ a: '1', b: '1' });
  await tree.keeper.settled();
  const [file] = tree.files();
  expect(tree.levels()).toEqual([0, 0, 0, 0, 0, 0, 1]);
  expect(tree.keeper.stats).toMatchObject({ moves: 1, compactions: 0 });
  await tree.table({ x: '2' });
  await tree.keeper.settled();
  expect(tree.levels()).toEqual([0, 0, 0, 0, 0, 0, 2]);
  expect(tree.files()).toContain(file);
  expect([tree.get('a'), tree.get('x')]).toEqual(['1', '2']);
  await tree.close();
});

test('keys that rise go straight down, past the merges of the others', async () => {
  const tree = new Tree({ risingByte: 0x4c, cutPrefixBytes: 1, l0Compact: 2, tableBytes: 8 });
  await tree.table({ 'L/1': 'a', 'L/2': 'b', u1: '1', u2: '1' });
  expect(tree.levels()).toEqual([1, 0, 0, 0, 0, 0, 1]);
  await tree.table({ 'L/3': 'c', u1: '2', u2: '2' });
  await tree.keeper.settled();
  const merged = tree.keeper.stats;
  expect(merged).toMatchObject({ compactions: 1 });
  expect([tree.get('L/1'), tree.get('L/3'), tree.get('u1')]).toEqual(['a', 'c', '2']);
  // A key that does not rise is no harm: its table takes the way of all others.
  await tree.table({ 'L/2': 'late' });
  expect(tree.levels()[0]).toBe(1);
  await tree.table({ 'L/9': 'd' });
  expect(tree.levels()[0], 'beside it').toBe(1);
  expect([tree.get('L/2'), tree.get('L/9')]).toEqual(['late', 'd']);
  await tree.close();
});

test('a flushed table of rising keys stays in level 0 while a compaction writes around it', async () => {
  const tree = new Tree({ risingByte: 0x4c, l0Compact: 2, tableBytes: 8 });
  tree.isAuto = false;
  const flush = async (values: Record<string, string>): Promise<void> => {
    tree.write(values);
    tree.writer.freeze();
    tree.keeper.poke();
    await quiet();
    tree.waiting
      .splice(0)
      .find(({ job }) => job.kind === 'flush')
      ?.run();
    await quiet();
  };
  await flush({ A: '1', Z: '1' });
  await flush({ A: '2', Z: '2' });
  expect(tree.waiting.map(({ job }) => job.kind)).toEqual(['compaction']);
  const [compaction] = tree.waiting.splice(0);
  await flush({ L: 'c' });
  expect(tree.levels()).toEqual([3, 0, 0, 0, 0, 0, 0]);
  compaction?.run();
  await quiet();
  expect([tree.get('A'), tree.get('L'), tree.get('Z')]).toEqual(['2', 'c', '2']);
  tree.isAuto = true;
  await tree.close();
});

test('tables of nothing but trimmed versions go unread, and their files with them', async () => {
  const trims: { prefix: Uint8Array; belowRevision: number }[] = [];
  const tree = new Tree({ world: { trims: () => trims } });
  await tree.table({ 'L/1': 'a', 'L/2': 'b' });
  await tree.table({ 'L/3': 'c' });
  await tree.table({ K: 'd' });
  const jobs = tree.jobs.length;
  trims.push({ prefix: latin('L/'), belowRevision: 2 });
  tree.keeper.poke();
  await tree.keeper.settled();
  expect(tree.jobs.length, 'no job').toBe(jobs);
  expect(tree.files()).toHaveLength(2);
  expect([tree.get('L/1'), tree.get('L/3'), tree.get('K')]).toEqual([undefined, 'c', 'd']);
  await tree.close();
});

test('tombstones are purged down to nothing, once no snapshot looks behind them', async () => {
  const tree = new Tree({ l0Compact: 2 });
  await tree.table({ a: '1', b: '1', c: '1' });
  const snapshot = tree.reader.snapshot();
  await tree.table({ a: undefined, b: undefined, c: undefined });
  await tree.keeper.settled();
  const jobs = tree.jobs.length;
  tree.keeper.poke();
  await tree.keeper.settled();
  expect(tree.jobs.length, 'what cannot be purged is not tried again and again').toBe(jobs);
  expect(tree.reader.getAt(latin('a'), snapshot.revision)).toBeDefined();
  snapshot.release();
  tree.keeper.poke();
  await tree.keeper.settled();
  tree.reader.get(latin('a'));
  tree.keeper.poke();
  await quiet();
  expect(tree.levels()).toEqual([0, 0, 0, 0, 0, 0, 0]);
  expect(tree.files()).toEqual([]);
  await tree.close();
});

test('values that have expired are purged, in the time of the keeper, when no snapshot lives in an earlier one', async () => {
  const tree = new Tree({ l0Compact: 1 });
  await tree.table({ goes: '1' }, 100);
  await tree.table({ stays: '1' });
  await tree.keeper.settled();
  const snapshot = tree.reader.snapshot();
  tree.nowMs = 101;
  tree.keeper.poke();
  await tree.keeper.settled();
  expect(tree.reader.getAt(latin('goes'), snapshot.revision, snapshot.nowMs)?.value).toEqual(latin('1'));
  expect(tree.get('goes')).toBeUndefined();
  snapshot.release();
  tree.keeper.poke();
  await tree.keeper.settled();
  tree.nowMs = 0;
  expect(tree.get('goes'), 'it is gone, whatever the time').toBeUndefined();
  expect(tree.files()).toHaveLength(1);
  await tree.close();
});

test('what an expired value hides does not come back when it is purged', async () => {
  const tree = new Tree({ l0Compact: 2 });
  await tree.table({ k: 'old', other: 'x' });
  await tree.keeper.compactAll();
  await tree.table({ k: 'short' }, 100);
  tree.nowMs = 200;
  await tree.table({ unrelated: 'y' });
  await tree.keeper.settled();
  tree.nowMs = 0;
  expect(tree.get('k')).toBeUndefined();
  await tree.close();
});

test('a table is removed when no reader can reach it any more, and a memtable used again', async () => {
  const tree = new Tree({ memtables: 2, l0Compact: 2 });
  await tree.table({ a: '1' });
  const other = tree.newReader();
  const cursor = other.cursor();
  expect(cursor.next()?.key).toEqual(latin('a'));
  await tree.table({ b: '2' });
  await tree.keeper.settled();
  expect(tree.levels()).toEqual([0, 0, 0, 0, 0, 0, 1]);
  expect(tree.files(), 'the cursor holds the first').toHaveLength(3);
  expect(tree.writer.canFreeze, 'and the memtable that its version names').toBe(false);
  tree.fire();
  expect(tree.files()).toHaveLength(3);
  expect(cursor.next(), 'it reads on, as of its revision').toBeUndefined();
  other.suspendCursors();
  expect(tree.writer.canFreeze).toBe(true);
  tree.fire();
  expect(tree.files()).toHaveLength(1);
  cursor.close();
  other.close();
  await tree.close();
});

test('pauses are counted; what is compacted by hand is compacted all the same', async () => {
  const tree = new Tree({ l0Compact: 2 });
  tree.keeper.pauseCompaction();
  tree.keeper.pauseCompaction();
  for (const value of ['1', '2', '3']) await tree.table({ k: value });
  tree.keeper.resumeCompaction();
  await tree.keeper.settled();
  expect(tree.levels()[0]).toBe(3);
  await tree.keeper.compactAll();
  expect(tree.levels()).toEqual([0, 0, 0, 0, 0, 0, 1]);
  for (const value of ['4', '5']) await tree.table({ k: value });
  await tree.keeper.settled();
  expect(tree.levels()[0]).toBe(2);
  tree.keeper.resumeCompaction();
  await tree.keeper.settled();
  expect(tree.levels()).toEqual([0, 0, 0, 0, 0, 0, 1]);
  await tree.close();
});

test('a job that fails ends the keeper: it tells why, starts nothing more, and what was there is read', async () => {
  const tree = new Tree({ l0Compact: 2 });
  await tree.table({ a: '1' });
  tree.disk.failNext({ op: 'fdatasync', code: 'EIO' });
  tree.write({ a: '2' });
  tree.writer.freeze();
  tree.keeper.poke();
  expect(await tree.keeper.failed).toMatchObject({ code: 'DISK_FAILED' });
  await expect(tree.keeper.flushed()).rejects.toMatchObject({ code: 'DISK_FAILED' });
  const jobs = tree.jobs.length;
  tree.keeper.poke();
  await quiet();
  expect(tree.jobs.length).toBe(jobs);
  expect(tree.files(), 'half a table is not left').toHaveLength(1);
  expect(tree.get('a')).toBe('2');
  await tree.close();
});

test('a job that runs when the tree is closed has no effect, and is done again by the next start', async () => {
  const tree = new Tree();
  await tree.table({ a: '1' });
  tree.isAuto = false;
  tree.write({ a: '2' });
  tree.writer.freeze();
  tree.keeper.poke();
  await quiet();
  expect(tree.waiting).toHaveLength(1);
  const flushed = tree.keeper.flushed();
  flushed.catch(() => {});
  await tree.close();
  await expect(flushed).rejects.toMatchObject({ code: 'CLOSED' });
  const again = new Tree({ disk: tree.disk });
  expect(again.keeper.flushedRevision).toBe(1);
  expect(again.get('a')).toBe('1');
  await again.close();
});

test('a full disk is waited out; the retry is the timer’s', async () => {
  const tree = new Tree();
  tree.keeper.pauseCompaction();
  await tree.table({ a: '1' });
  tree.write({ a: '2' });
  tree.writer.freeze();
  tree.disk.failNext({ op: 'write', code: 'ENOSPC', times: 2 });
  tree.keeper.poke();
  await quiet();
  expect(tree.keeper.isFull).toBe(true);
  tree.keeper.poke();
  await quiet();
  expect(tree.jobs, 'not before its time').toHaveLength(2);
  tree.fire();
  await quiet();
  expect(tree.jobs).toHaveLength(3);
  expect(tree.keeper.isFull, 'a try that fails changes nothing').toBe(true);
  tree.fire();
  await quiet();
  expect(tree.keeper.isFull).toBe(false);
  expect(tree.keeper.failure).toBeUndefined();
  expect(tree.keeper.flushedRevision).toBe(2);
  expect(tree.disk.list(DIR).filter((name) => name.endsWith('.ldb'))).toHaveLength(2);
  await tree.close();
});

test('a log that found no room keeps no memtable from its table', async () => {
  const tree = new Tree({ world: { reserveBytes: 10_000 } });
  tree.write({ k: 'v' });
  tree.writer.freeze();
  const reserved = (): boolean => tree.disk.list(DIR).includes('RESERVE');
  expect(tree.keeper.logFull(new Error('ENOSPC'), 5_000)).toBe(true);
  tree.keeper.poke();
  await quiet();
  // No timer has fired: what has room is done at once.
  expect(tree.keeper.flushedRevision).toBe(1);
  expect([tree.keeper.isFull, reserved()], 'the room is left to the log for a while').toEqual([true, false]);
  tree.fire();
  expect([tree.keeper.isFull, reserved()]).toEqual([false, true]);
  await tree.close();
});

test('on a full disk, too, jobs do not wait for readers that hold tables', async () => {
  const tree = new Tree({ l0Compact: 2, world: { reserveBytes: 10_000 } });
  await tree.table({ a: '1' });
  const other = tree.newReader();
  const cursor = other.cursor();
  expect(cursor.next()?.key).toEqual(latin('a'));
  await tree.table({ b: '2' });
  await tree.keeper.settled();
  expect(tree.files(), 'the cursor holds the first').toHaveLength(3);
  tree.keeper.logFull(new Error('ENOSPC'));
  tree.write({ c: '3' });
  tree.writer.freeze();
  tree.keeper.poke();
  await quiet();
  expect(tree.keeper.flushedRevision).toBe(3);
  cursor.close();
  other.close();
  await tree.close();
});

test('a reserve that cannot be given up ends the tree with its name, and nothing is left unheard', async () => {
  const tree = new Tree({ world: { reserveBytes: 10_000 } });
  tree.write({ k: 'v' });
  tree.writer.freeze();
  tree.disk.failNext({ op: 'open', code: 'ENOSPC' });
  tree.disk.failNext({ op: 'remove', code: 'EIO' });
  tree.keeper.poke();
  expect((await tree.keeper.failed).code).toBe('DISK_FAILED');
  await tree.close();
});
