import { expect, test } from 'vitest';
import { type Index, toIndex, toLsn } from '../../../src/core/base/position.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { openWal, type Wal, type WalEntry } from '../../../src/engine/wal/index.ts';
import { temporaryDir } from '../../actors/support.ts';
import { DIR, readRecords } from './wal.ts';

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));
const text = (data: Uint8Array): string => Buffer.from(data).toString();
const texts = (entries: readonly WalEntry[]): string[] => entries.map(({ data }) => text(data));
const at = (index: number): Index => toIndex(index);

function replayed(wal: Wal, from = 1): string[] {
  const found: string[] = [];
  wal.replay(at(from), (index, data) => void found.push(`${index}:${text(data)}`));
  return found;
}

test('what is appended is durable, can be read at once, and is there again', async () => {
  const dir = temporaryDir();
  const wal = await openWal(dir);
  const first = wal.append(bytes('a'));
  expect([first.index, wal.lastIndex, wal.durableIndex]).toEqual([1, 1, 0]);
  expect(texts(wal.read(at(1)))).toEqual(['a']);
  await first.durable;
  expect(wal.durableIndex).toBe(1);
  const many = wal.appendMany([bytes('b'), bytes('c')]);
  expect(many).toMatchObject({ index: 3, lsn: first.lsn + 1 });
  await many.durable;
  expect(wal.push(bytes('d'))).toBe(4);
  await wal.flush();
  expect(wal.durableIndex).toBe(4);
  await expect(openWal(dir)).rejects.toMatchObject({ code: 'DIR_LOCKED' });
  await wal.close();
  const again = await openWal(dir);
  expect(replayed(again)).toEqual(['1:a', '2:b', '3:c', '4:d']);
  expect([again.lastIndex, again.durableIndex]).toEqual([4, 4]);
  expect(again.append(bytes('e')).lsn).toBeGreaterThan(many.lsn);
  await again.close();
});

test('what comes while a sync runs is one more write and one more sync', async () => {
  const disk = new MemoryDisk();
  const syncs: (() => void)[] = [];
  const wal = await openWal(DIR, {
    disk,
    sync: (file) =>
      new Promise((resolve) => {
        syncs.push(() => {
          file.fdatasync();
          resolve();
        });
      }),
  });
  const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const done: number[] = [];
  const note = (index: number): void => void done.push(index);
  void wal.append(bytes('1')).durable.then(() => note(1));
  await tick();
  expect(syncs).toHaveLength(1);
  for (let i = 2; i <= 50; i++) void wal.append(bytes(String(i))).durable.then(() => note(i));
  await tick();
  expect(syncs, 'one sync at a time').toHaveLength(1);
  // What follows is one write: the second would fail.
  disk.failNext({ op: 'write', code: 'EIO', skip: 1 });
  syncs[0]!();
  await tick();
  expect([done, syncs.length]).toEqual([[1], 2]);
  syncs[1]!();
  await tick();
  expect(done).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
  expect(wal.syncs).toBe(2);
});

test('an append that asks for no sync is told when it is written, also while a sync runs, and causes none', async () => {
  const disk = new MemoryDisk();
  let release = (): void => {};
  const wal = await openWal(DIR, {
    disk,
    sync: () =>
      new Promise((resolve) => {
        release = resolve;
      }),
  });
  await wal.append(bytes('a'), { sync: false }).durable;
  expect([wal.syncs, wal.durableIndex]).toEqual([0, 0]);
  const synced = wal.append(bytes('b')).durable;
  await new Promise((resolve) => setImmediate(resolve));
  await wal.append(bytes('c'), { sync: false }).durable;
  expect(wal.syncs).toBe(1);
  release();
  await synced;
  expect(wal.durableIndex).toBe(2);
  disk.crash({ keep: 'all' });
  expect(replayed(await openWal(DIR, { disk }))).toEqual(['1:a', '2:b', '3:c']);
});

test('a revert takes entries out, gives their indexes again, and no LSN; readers never see what was reverted', async () => {
  const disk = new MemoryDisk();
  const wal = await openWal(DIR, { disk });
  for (const letter of ['a', 'b', 'c', 'd']) wal.push(bytes(letter));
  await wal.flush();
  const lsn = wal.lastLsn;
  const reverted = wal.revert(at(2));
  expect(reverted).toMatchObject({ lsn: lsn + 1, index: 1 });
  expect([wal.lastIndex, wal.durableIndex]).toEqual([1, 1]);
  expect(wal.append(bytes('B'))).toMatchObject({ lsn: lsn + 2, index: 2 });
  await wal.flush();
  expect(texts(wal.read(at(1)))).toEqual(['a', 'B']);
  expect(wal.readLsn(toLsn(1)).map(({ revertFrom, entries }) => revertFrom ?? texts(entries).join())).toEqual([
    ...['a', 'b', 'c', 'd'],
    2,
    'B',
  ]);
  for (const from of [0, 3])
    expect(() => wal.revert(at(from))).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  disk.crash({ keep: 'none' });
  const again = await openWal(DIR, { disk });
  expect(replayed(again)).toEqual(['1:a', '2:B']);
  again.revert(at(2));
  again.push(bytes('b2'));
  again.push(bytes('c2'));
  expect(replayed(again)).toEqual(['1:a', '2:b2', '3:c2']);
  again.watermark('tree', at(2));
  expect(() => again.revert(at(2)), 'taken').toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  again.revert(at(3));
  await again.close();
});

test('a tail gives what is durable, in order, once, and goes on behind a revert with what took its place', async () => {
  const wal = await openWal(DIR, { disk: new MemoryDisk() });
  for (const letter of ['a', 'b', 'c']) wal.push(bytes(letter));
  await wal.flush();
  const tail = wal.tail(at(2));
  const next = async (): Promise<string> => {
    const { value } = await tail.next();
    return value === undefined ? 'end' : `${value.index}:${text(value.data)}`;
  };
  expect(await next()).toBe('2:b');
  // Nothing of the part read before is given after a revert.
  wal.revert(at(3));
  wal.push(bytes('C'));
  await wal.flush();
  expect(await next()).toBe('3:C');
  const waiting = next();
  wal.push(bytes('d'));
  expect(await waiting).toBe('4:d');
  wal.revert(at(2));
  wal.push(bytes('B'));
  await wal.flush();
  expect(await next()).toBe('2:B');
  const end = next();
  await wal.close();
  expect(await end).toBe('end');
});

test('a tail by LSN tells everything, reverts too, and one that is cancelled stops waiting', async () => {
  const wal = await openWal(DIR, { disk: new MemoryDisk() });
  wal.push(bytes('a'));
  wal.push(bytes('b'));
  wal.revert(at(2));
  await wal.appendMany([bytes('x'), bytes('y')]).durable;
  const abort = new AbortController();
  const tail = wal.tailLsn(toLsn(1), { signal: abort.signal });
  const seen: string[] = [];
  for (let i = 0; i < 4; i++) {
    const { value } = await tail.next();
    if (value !== undefined) seen.push(`${value.revertFrom ?? ''}${texts(value.entries).join()}`);
  }
  expect(seen).toEqual(['a', 'b', '2', 'x,y']);
  const waiting = tail.next();
  abort.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' });
  await wal.close();
});

test('a failed sync is told to every waiter, those of the next group and those who follow too, and to every later call', async () => {
  const disk = new MemoryDisk();
  const wal = await openWal(DIR, { disk });
  await wal.append(bytes('a')).durable;
  const tail = wal.tail(at(2));
  const waiters = [tail.next(), wal.append(bytes('b')).durable];
  disk.failNext({ op: 'fdatasync', code: 'EIO' });
  queueMicrotask(() => void waiters.push(wal.append(bytes('c'), { sync: false }).durable));
  await Promise.allSettled(waiters);
  const [followed, synced, written] = await Promise.allSettled(waiters);
  for (const outcome of [followed, synced]) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'DISK_FAILED' } });
  }
  expect(written).toMatchObject({ status: 'fulfilled' });
  for (const act of [() => wal.append(bytes('d')), () => wal.push(bytes('d')), () => wal.read(at(1))]) {
    expect(act).toThrow(expect.objectContaining({ code: 'DISK_FAILED' }));
  }
  await expect(wal.flush()).rejects.toMatchObject({ code: 'DISK_FAILED' });
  expect(wal.durableIndex).toBe(1);
  await wal.close();
  disk.crash({ keep: 'none' });
  expect(replayed(await openWal(DIR, { disk }))).toEqual(['1:a']);
});

test('a full disk refuses what has no room before it is in the log, and takes it when there is', async () => {
  const disk = new MemoryDisk();
  const wal = await openWal(DIR, { disk });
  await wal.append(bytes('a')).durable;
  disk.capacityBytes = disk.usedBytes;
  const full = expect.objectContaining({ code: 'STORE_FULL' });
  const before = { index: wal.lastIndex, lsn: wal.lastLsn };
  expect(() => wal.append(new Uint8Array(2 * 1024 * 1024))).toThrow(full);
  expect(() => wal.push(new Uint8Array(2 * 1024 * 1024))).toThrow(full);
  expect(() => wal.appendMany([bytes('b'), new Uint8Array(2 * 1024 * 1024)])).toThrow(full);
  expect({ index: wal.lastIndex, lsn: wal.lastLsn }).toEqual(before);
  expect(wal.failure).toBe(undefined);
  // What fits into the zeros written ahead still goes in; those who waited have nothing to fear.
  await wal.append(bytes('b')).durable;
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  await wal.append(bytes('c'.repeat(2 * 1024 * 1024))).durable;
  expect(replayed(wal).map((entry) => entry.slice(0, 3))).toEqual(['1:a', '2:b', '3:c']);
  disk.crash({ keep: 'none' });
  expect(replayed(await openWal(DIR, { disk })).map((entry) => entry.slice(0, 3))).toEqual(['1:a', '2:b', '3:c']);
});

test('a full disk puts off a new segment, and the close of the log ends in order', async () => {
  const disk = new MemoryDisk();
  const wal = await openWal(DIR, { disk, segmentBytes: 20_000 });
  const one = bytes('x'.repeat(1000));
  disk.capacityBytes = disk.usedBytes + 1024 * 1024;
  await wal.append(one).durable;
  disk.capacityBytes = disk.usedBytes;
  // Past the segment's size, in the zeros ahead; then to the last byte of them.
  let count = 1;
  for (; count < 100; count++) await wal.append(one).durable;
  expect(disk.list(DIR)).not.toContain('000002.wal');
  for (;;) {
    try {
      wal.append(one);
    } catch (error) {
      expect(error).toMatchObject({ code: 'STORE_FULL' });
      break;
    }
    count++;
    await wal.flush();
  }
  expect(count).toBeGreaterThan(500);
  const full = disk.clone();
  await wal.close();
  expect(replayed(await openWal(DIR, { disk }))).toHaveLength(count);
  // With room again, the next segment is begun.
  full.capacityBytes = Number.POSITIVE_INFINITY;
  const again = await openWal(DIR, { disk: full, segmentBytes: 20_000 });
  for (let i = 0; i < 40; i++) await again.append(one).durable;
  expect(full.list(DIR).length).toBeGreaterThan(1);
  expect(replayed(again)).toHaveLength(count + 40);
});

test('close makes everything durable, resolves who waits, and refuses what comes later', async () => {
  const disk = new MemoryDisk();
  const wal = await openWal(DIR, { disk });
  const waiters = [wal.append(bytes('a')).durable, wal.append(bytes('b'), { sync: false }).durable, wal.flush()];
  const closed = wal.close();
  expect(() => wal.push(bytes('c'))).toThrow(expect.objectContaining({ code: 'CLOSED' }));
  await Promise.all([...waiters, closed, wal.close()]);
  disk.crash({ keep: 'none' });
  expect(replayed(await openWal(DIR, { disk }))).toEqual(['1:a', '2:b']);
});

test('close waits for the sync that is under way: two syncs of one file at a time prove nothing', async () => {
  const disk = new MemoryDisk();
  let release = (): void => {};
  const wal = await openWal(DIR, {
    disk,
    sync: () =>
      new Promise((resolve) => {
        release = resolve;
      }),
  });
  const waiter = wal.append(bytes('a')).durable;
  const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  await tick();
  // A sync of the close itself would fail.
  disk.failNext({ op: 'fdatasync', code: 'EIO' });
  const closed = wal.close();
  for (let i = 0; i < 3; i++) await tick();
  expect(readRecords(disk).map(({ record }) => record.kind)).toEqual(['base', 'persist']);
  release();
  await expect(closed).rejects.toMatchObject({ code: 'DISK_FAILED' });
  await waiter;
});

test('segments are left while callers go on, and everything is found in order', async () => {
  const disk = new MemoryDisk();
  const wal = await openWal(DIR, { disk, segmentBytes: 20_000 });
  const caller = async (name: string): Promise<void> => {
    for (let i = 0; i < 40; i++) await wal.append(bytes(`${name}${i}`.padEnd(500, '.'))).durable;
  };
  await Promise.all(['a', 'b', 'c', 'd'].map(caller));
  expect(disk.list(DIR).length).toBeGreaterThan(3);
  const found = replayed(wal);
  expect(found).toHaveLength(160);
  disk.crash({ keep: 'none' });
  const again = await openWal(DIR, { disk });
  expect(replayed(again)).toEqual(found);
  expect(replayed(again, 100)).toEqual(found.slice(99));
  expect(again.read(at(77), at(80)).map(({ index }) => index)).toEqual([77, 78, 79]);
});
