/**
 * How a table reads: what it keeps, what it asks the cache for, what it takes from the disk.
 */
import { expect, test } from 'vitest';
import type { DiskFile } from '../../../../src/core/base/env.ts';
import type { MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import { TABLE_DEFAULTS } from '../../../../src/engine/lsm/sstable/builder.ts';
import { makeInternalKey } from '../../../../src/engine/lsm/sstable/keys.ts';
import { Table, TableResult } from '../../../../src/engine/lsm/sstable/table.ts';
import { randomBytes, seeded } from '../../../core/base/seeded.ts';
import {
  build,
  bytes,
  type Entry,
  entry,
  forwards,
  got,
  here,
  MapCache,
  NO_CACHE,
  openBytes,
  openOn,
  PATH,
  show,
  SMALL,
} from './tables.ts';

const keyOf = (i: number): string => `key${String(i).padStart(6, '0')}`;

const manyEntries = (count: number, valueBytes: number): Entry[] => {
  const random = seeded(count);
  return Array.from({ length: count }, (_, i) => entry(keyOf(i), 1, randomBytes(random, valueBytes)));
};

/** A file that notes its reads. */
function noting(disk: MemoryDisk): { file: DiskFile; reads: { position: number; length: number }[] } {
  const inner = disk.open(PATH, 'read');
  const reads: { position: number; length: number }[] = [];
  const file: DiskFile = {
    fd: -1,
    read: (into, offset, length, position) => {
      reads.push({ position, length });
      // As a real disk may: a part at a time.
      return inner.read(into, offset, Math.max(1, length >>> 1), position);
    },
    write: () => {},
    fdatasync: () => {},
    truncate: () => {},
    size: () => inner.size(),
    close: () => inner.close(),
  };
  return { file, reads };
}

test('opening reads the footer; index and filter come with the first read, and stay', () => {
  const { disk, bytes: content } = build(manyEntries(500, 50));
  const cache = new MapCache();
  const { file, reads } = noting(disk);
  const table = Table.open(file, { number: 7, fileBytes: content.length, path: PATH }, cache);
  expect(reads.every(({ position }) => position >= content.length - 48)).toBe(true);
  expect(table.heldBytes).toBe(0);
  expect(cache.misses).toBe(0);

  expect(table.mayContain(bytes(keyOf(3)))).toBe(true);
  const held = table.heldBytes;
  expect(held).toBeGreaterThan(1000);
  // Index, metaindex, filter.
  expect([cache.hits, cache.misses]).toEqual([0, 3]);
  expect(got(table, bytes(keyOf(3)), 1)).toBeDefined();
  expect([cache.hits, cache.misses]).toEqual([0, 4]);
  reads.length = 0;
  expect(got(table, bytes(keyOf(3)), 1)).toBeDefined();
  expect([cache.hits, cache.misses, reads.length]).toEqual([1, 4, 0]);
  expect(table.heldBytes).toBe(held);

  const other = openOn(disk, cache);
  expect(got(other, bytes(keyOf(3)), 1)).toBeDefined();
  expect([cache.hits, cache.misses]).toEqual([5, 4]);
});

test('a cursor that stays in its block does not ask for it again', () => {
  const entries = manyEntries(500, 20);
  const { bytes: content } = build(entries, TABLE_DEFAULTS);
  const cache = new MapCache();
  const cursor = openBytes(content, cache).cursor();
  cursor.first();
  const asked = cache.hits + cache.misses;
  for (const { key } of entries.slice(0, 20)) {
    cursor.seek(key, key.length);
    expect(show(here(cursor)).startsWith(show({ key, value: bytes('') }))).toBe(true);
  }
  cursor.first();
  expect(cache.hits + cache.misses).toBe(asked);
  cursor.last();
  expect(cache.hits + cache.misses).toBe(asked + 1);
});

test('a key that the filter does not know costs no block', () => {
  const entries = manyEntries(300, 20);
  const { bytes: content } = build(entries);
  const cache = new MapCache();
  const table = openBytes(content, cache);
  table.mayContain(bytes(keyOf(0)));
  const before = cache.misses;
  let passed = 0;
  for (let i = 0; i < 300; i++) {
    const between = bytes(`${keyOf(i)}x`);
    const may = table.mayContain(between);
    if (may) passed++;
    expect(got(table, between, 1)).toBeUndefined();
  }
  expect(passed).toBeLessThan(30);
  expect(cache.misses - before).toBeLessThanOrEqual(passed);
});

test('without a filter every key may be there, unless it is behind them all', () => {
  const { bytes: content } = build(manyEntries(50, 20), { ...SMALL, bloomBitsPerKey: 0 });
  const table = openBytes(content);
  expect(table.mayContain(bytes(`${keyOf(7)}x`))).toBe(true);
  expect(table.mayContain(bytes('zzz'))).toBe(false);
  expect(table.heldBytes).toBeGreaterThan(0);
});

test('a checksum is verified when a block comes from the file, and not when it comes from the cache', () => {
  const { disk, bytes: content } = build(manyEntries(50, 20));
  const cache = new MapCache();
  const table = openOn(disk, cache);
  expect(got(table, bytes(keyOf(0)), 1)).toBeDefined();
  disk.flipBit(PATH, 10, 3);
  expect(got(table, bytes(keyOf(0)), 1)).toBeDefined();
  expect(() => table.cursor({ fillCache: false }).first()).toThrow('checksum');
  cache.blocks.clear();
  expect(() => got(table, bytes(keyOf(0)), 1)).toThrow('checksum');
  expect(content.length).toBeGreaterThan(0);
});

test('a read that the disk refuses is DISK_FAILED, and the next one may succeed', () => {
  const { disk } = build(manyEntries(50, 20));
  const table = openOn(disk);
  const key = bytes(keyOf(0));
  for (let skip = 0; skip < 4; skip++) {
    disk.failNext({ op: 'read', code: 'EIO' });
    expect(() => got(table, key, 1)).toThrow(expect.objectContaining({ code: 'DISK_FAILED' }));
    expect(got(table, key, 1)).toBeDefined();
  }
  const cursor = table.cursor({ fillCache: false });
  disk.failNext({ op: 'read', code: 'EIO' });
  expect(() => cursor.first()).toThrow(expect.objectContaining({ code: 'DISK_FAILED' }));
  cursor.first();
  expect(cursor.valid).toBe(true);
});

test('who reads the file once leaves the cache alone and reads it in pieces of 256 KiB, either way', () => {
  const entries = manyEntries(12_000, 100);
  const { disk, bytes: content } = build(entries, { ...TABLE_DEFAULTS, compression: 'none' });
  const cache = new MapCache();
  const { file, reads } = noting(disk);
  const table = Table.open(file, { number: 7, fileBytes: content.length, path: PATH }, cache);
  table.approximateOffset(makeInternalKey(bytes('a'), 1, 1));
  const { size } = cache.blocks;
  const pieces = (walk: () => number): number => {
    reads.length = 0;
    expect(walk()).toBe(entries.length);
    return reads.filter(({ length }) => length === 256 * 1024).length;
  };
  const least = Math.floor(content.length / (256 * 1024));
  const cursor = table.cursor({ fillCache: false });
  const up = pieces(() => {
    let count = 0;
    for (cursor.first(); cursor.valid; cursor.next()) count++;
    return count;
  });
  const down = pieces(() => {
    let count = 0;
    for (cursor.last(); cursor.valid; cursor.prev()) count++;
    return count;
  });
  for (const count of [up, down]) {
    expect(count).toBeGreaterThanOrEqual(least - 1);
    expect(count).toBeLessThanOrEqual(least + 2);
  }
  expect(cache.blocks.size).toBe(size);
});

test('a block that is larger than a window is read whole', () => {
  const entries = [entry('a', 1, 'x'), entry('b', 1, randomBytes(seeded(1), 700_000)), entry('c', 1, 'y')];
  const { bytes: content } = build(entries, { ...SMALL, blockBytes: 1 });
  const cursor = openBytes(content).cursor({ fillCache: false });
  expect(forwards(cursor)).toEqual(entries);
  cursor.last();
  cursor.prev();
  expect(show(here(cursor))).toBe(show(entries[1] as Entry));
});

test('a result lends the block and says where the value is', () => {
  const { bytes: content } = build([entry('a', 7, 'seven'), entry('a', 3), entry('b', 2, '')]);
  const table = openBytes(content);
  const result = new TableResult();
  expect(table.get(bytes('a'), 9, result)).toBe(true);
  expect(result).toMatchObject({ found: true, type: 1, revision: 7 });
  expect(Buffer.from(result.block.subarray(result.valueStart, result.valueEnd)).toString()).toBe('seven');
  expect(table.get(bytes('a'), 6, result)).toBe(true);
  expect(result).toMatchObject({ found: true, type: 0, revision: 3 });
  expect(result.valueEnd).toBe(result.valueStart);
  expect(table.get(bytes('a'), 2, result)).toBe(false);
  expect(result.found).toBe(false);
  expect(table.get(bytes('b'), 2, result)).toBe(true);
  expect(table.get(bytes('c'), 2, result)).toBe(false);
});

test('versions of one key over many blocks are found at every revision', () => {
  const entries = Array.from({ length: 400 }, (_, i) => entry('key', 1000 - i * 2, `value ${i}`));
  entries.unshift(entry('ja', 5, 'before'));
  entries.push(entry('kf', 5, 'behind'));
  const { bytes: content } = build(entries, { ...SMALL, blockBytes: 100 });
  const table = openBytes(content);
  expect(table.mayContain(bytes('key'))).toBe(true);
  for (let revision = 0; revision <= 1002; revision++) {
    const newest = Math.min(1000, revision - (revision % 2));
    expect(got(table, bytes('key'), revision) !== undefined).toBe(newest > 200);
    const result = new TableResult();
    if (table.get(bytes('key'), revision, result)) expect(result.revision).toBe(newest);
  }
});

// LevelDB's table_test.cc: ApproximateOffsetOfPlain.
test('the approximate offset of a key is about where it stands', () => {
  const sized = (key: string, size: number): Entry => entry(key, 1, 'x'.repeat(size));
  const { bytes: content } = build(
    [
      sized('k01', 5),
      sized('k02', 6),
      sized('k03', 10_000),
      sized('k04', 200_000),
      sized('k05', 300_000),
      sized('k06', 0),
      sized('k07', 100_000),
    ],
    { ...SMALL, blockBytes: 1024, compression: 'none' },
  );
  const table = openBytes(content);
  const offset = (key: string): number => table.approximateOffset(makeInternalKey(bytes(key), 9, 1));
  const within: readonly (readonly [key: string, low: number, high: number])[] = [
    ['abc', 0, 0],
    ['k01', 0, 0],
    ['k01a', 0, 0],
    ['k02', 0, 0],
    ['k03', 0, 0],
    ['k04', 10_000, 11_000],
    ['k04a', 210_000, 211_000],
    ['k05', 210_000, 211_000],
    ['k06', 510_000, 511_000],
    ['k07', 510_000, 511_000],
    ['xyz', 610_000, 612_000],
  ];
  for (const [key, low, high] of within) {
    expect(offset(key), key).toBeGreaterThanOrEqual(low);
    expect(offset(key), key).toBeLessThanOrEqual(high);
  }
});

test('a table that is closed reads no more, and gives back what it held', () => {
  const { disk } = build(manyEntries(50, 20));
  const table = openOn(disk, NO_CACHE);
  const cursor = table.cursor();
  cursor.first();
  table.close();
  table.close();
  expect(table.heldBytes).toBe(0);
  expect(() => got(table, bytes(keyOf(0)), 1)).toThrow(expect.objectContaining({ code: 'DISK_FAILED' }));
  expect(() => cursor.last()).toThrow(expect.objectContaining({ code: 'DISK_FAILED' }));
});
