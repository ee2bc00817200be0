import { expect, test } from 'vitest';
import { ByteWriter } from '../../../../src/core/base/bytes.ts';
import type { DiskFile } from '../../../../src/core/base/env.ts';
import { MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import { TABLE_DEFAULTS, TableBuilder, type TableOptions } from '../../../../src/engine/lsm/sstable/builder.ts';
import { encodeEnvelope } from '../../../../src/engine/lsm/sstable/envelope.ts';
import { makeInternalKey } from '../../../../src/engine/lsm/sstable/keys.ts';
import { verifyTable } from '../../../../src/engine/lsm/sstable/verify.ts';
import { below, forSeeds, randomBytes, seeded } from '../../../core/base/seeded.ts';
import {
  build,
  bytes,
  type Entry,
  entry,
  forwards,
  openBytes,
  openOn,
  PATH,
  show,
  SMALL,
  someEntries,
  someOptions,
} from './tables.ts';

const builderOn = (disk: MemoryDisk, options: TableOptions = SMALL): TableBuilder =>
  new TableBuilder(disk.open(PATH, 'create'), options);

test('a table that a builder makes is whole, under any options', () => {
  forSeeds(60, (random) => {
    const entries = someEntries(random, 1 + below(random, 200));
    const { disk, info } = build(entries, someOptions(random));
    const file = disk.open(PATH, 'read');
    expect(info.fileBytes).toBe(file.size());
    expect(verifyTable(file, { number: 7, fileBytes: info.fileBytes, path: PATH })).toMatchObject(info);
  });
});

test('the same entries give the same bytes, whatever buffers they come in', () => {
  const entries = someEntries(seeded(4), 300);
  const { bytes: content } = build(entries);
  const disk = new MemoryDisk();
  const builder = builderOn(disk);
  const key = new Uint8Array(4000);
  const value = new Uint8Array(8000);
  for (const each of entries) {
    // One buffer for all: what is lent is not kept.
    key.set(each.key);
    value.set(each.value, 3);
    builder.addFrom(key, each.key.length, value, 3, 3 + each.value.length);
    key.fill(0xee);
    value.fill(0xee);
  }
  const info = builder.finish();
  expect(openOn(disk).readProperties()).toEqual(openBytes(content).readProperties());
  expect(build(entries).bytes).toEqual(content);
  expect(forwards(openOn(disk).cursor()).map(show)).toEqual(entries.map(show));
  expect(info.fileBytes).toBe(content.length);
  expect([info.smallest, info.largest]).toEqual([entries[0]?.key, entries.at(-1)?.key]);
});

test('what is finished is durable; its name is the directory’s matter', () => {
  const disk = new MemoryDisk();
  const entries = someEntries(seeded(9), 50);
  const builder = builderOn(disk);
  disk.syncDir('/');
  for (const { key, value } of entries) builder.add(key, value);
  builder.finish();
  disk.crash({ keep: 'none' });
  expect(forwards(openOn(disk).cursor()).map(show)).toEqual(entries.map(show));
});

test('output goes to the file in pieces of a mebibyte, and a larger block in one', () => {
  const disk = new MemoryDisk();
  const inner = disk.open(PATH, 'create');
  const writes: number[] = [];
  let syncs = 0;
  const file: DiskFile = {
    fd: -1,
    read: (...args) => inner.read(...args),
    write: (content, position) => {
      expect(position).toBe(writes.reduce((sum, length) => sum + length, 0));
      expect(syncs).toBe(0);
      writes.push(content.length);
      inner.write(content, position);
    },
    fdatasync: () => {
      syncs++;
      inner.fdatasync();
    },
    truncate: (length) => inner.truncate(length),
    size: () => inner.size(),
    close: () => inner.close(),
  };
  const random = seeded(2);
  const builder = new TableBuilder(file, { ...TABLE_DEFAULTS, compression: 'none' });
  const entries: Entry[] = [];
  for (let i = 0; i < 60; i++) {
    const value = randomBytes(random, i === 30 ? 3_000_000 : 50_000);
    entries.push(entry(`key${String(i).padStart(4, '0')}`, i, value));
  }
  for (const { key, value } of entries) builder.add(key, value);
  const info = builder.finish();
  expect(syncs).toBe(1);
  // In values of 50 000 bytes: what a mebibyte holds, what stood before the large one, that one, and so on.
  expect(writes.map((length) => Math.round(length / 50_000))).toEqual([20, 10, 60, 20, 9]);
  expect(writes.reduce((sum, length) => sum + length, 0)).toBe(info.fileBytes);
  const read = forwards(openOn(disk).cursor({ fillCache: false }));
  expect(read.map(show).join() === entries.map(show).join()).toBe(true);
});

test('its size so far is known, within what index and filter add', () => {
  const disk = new MemoryDisk();
  const builder = builderOn(disk, { ...TABLE_DEFAULTS, compression: 'none' });
  expect([builder.fileBytes, builder.entries]).toEqual([0, 0]);
  let given = 0;
  for (let i = 0; i < 2000; i++) {
    const { key, value } = entry(`key${String(i).padStart(6, '0')}`, 1, 'v'.repeat(100));
    builder.add(key, value);
    given += key.length + value.length;
    expect(builder.entries).toBe(i + 1);
    expect(builder.fileBytes).toBeGreaterThan(given * 0.85);
    expect(builder.fileBytes).toBeLessThan(given * 1.15 + 100);
  }
  const before = builder.fileBytes;
  const { fileBytes } = builder.finish();
  expect(fileBytes).toBeGreaterThan(before);
  expect(fileBytes).toBeLessThan(before * 1.1);
});

test('the first expiry of its puts is told', () => {
  const stored = (expiryMs: number): Uint8Array => {
    const writer = new ByteWriter();
    encodeEnvelope(writer, expiryMs, bytes('value'));
    return writer.take();
  };
  const { info: none } = build([entry('a', 1, stored(0)), entry('b', 1)]);
  expect(none.earliestExpiryMs).toBe(0);
  // What stands beside a tombstone counts for nothing.
  const tombstone = { key: makeInternalKey(bytes('d'), 1, 0), value: stored(5) };
  const { info, bytes: content } = build([
    entry('a', 1, stored(0)),
    entry('b', 1, stored(2 ** 41 + 7)),
    entry('c', 1, stored(2 ** 41 + 3)),
    tombstone,
    entry('e', 1, stored(2 ** 41 + 5)),
  ]);
  expect(info.earliestExpiryMs).toBe(2 ** 41 + 3);
  expect(openBytes(content).readProperties()?.earliestExpiryMs).toBe(2 ** 41 + 3);
});

test.each([
  ['the same key', entry('b', 5, '')],
  ['a smaller key', entry('a', 5, '')],
  ['a newer revision of the key', entry('b', 6, '')],
  ['the same revision as a put, after the tombstone', { ...entry('b', 5, ''), value: bytes('x') }],
])('keys ascend: %s is refused', (_, { key, value }) => {
  const builder = builderOn(new MemoryDisk());
  builder.add(entry('b', 5, '').key, bytes(''));
  expect(() => builder.add(key, value)).toThrow('ascend strictly');
});

test('a builder is used as it is meant', () => {
  expect(() => builderOn(new MemoryDisk()).add(bytes('short'), bytes(''))).toThrow('internal key');
  expect(() => builderOn(new MemoryDisk()).add(makeInternalKey(bytes('a'), 1, 2), bytes(''))).toThrow(
    'puts and tombstones',
  );
  expect(() => builderOn(new MemoryDisk()).finish()).toThrow('has an entry');
  const { key, value } = entry('a', 1, '');
  const finished = builderOn(new MemoryDisk());
  finished.add(key, value);
  finished.finish();
  expect(() => finished.finish()).toThrow('finished once');
  expect(() => finished.add(key, value)).toThrow('being made');
  const abandoned = builderOn(new MemoryDisk());
  abandoned.add(key, value);
  abandoned.abandon();
  abandoned.abandon();
  expect(() => abandoned.finish()).toThrow('finished once');
  for (const options of [
    { ...SMALL, blockBytes: 0 },
    { ...SMALL, restartInterval: 0 },
    { ...SMALL, bloomBitsPerKey: 0.5 },
  ]) {
    expect(() => builderOn(new MemoryDisk(), options)).toThrow('broken');
  }
});

const FAULTS = [
  { op: 'write', code: 'ENOSPC', expected: 'STORE_FULL' },
  { op: 'write', code: 'EIO', expected: 'DISK_FAILED' },
  { op: 'fdatasync', code: 'ENOSPC', expected: 'STORE_FULL' },
  { op: 'fdatasync', code: 'EIO', expected: 'DISK_FAILED' },
] as const;

test.each(FAULTS)('a $op that fails with $code is $expected, and the end of the builder', ({ op, code, expected }) => {
  const disk = new MemoryDisk();
  const builder = builderOn(disk);
  const { key, value } = entry('a', 1, 'x');
  builder.add(key, value);
  disk.failNext({ op, code });
  expect(() => builder.finish()).toThrow(expect.objectContaining({ code: expected }));
  expect(() => builder.finish()).toThrow('finished once');
  expect(() => builder.add(makeInternalKey(bytes('b'), 1, 1), value)).toThrow('being made');
});

test('a disk that is full in the middle of a table is STORE_FULL, on the entry that finds out', () => {
  const disk = new MemoryDisk({ capacityBytes: 1_500_000 });
  const builder = builderOn(disk, { ...SMALL, compression: 'none' });
  const random = seeded(1);
  const fillUp = (): void => {
    for (let i = 0; i < 100; i++) {
      const { key, value } = entry(`key${String(i).padStart(4, '0')}`, 1, randomBytes(random, 50_000));
      builder.add(key, value);
    }
  };
  expect(fillUp).toThrow(expect.objectContaining({ code: 'STORE_FULL' }));
  expect(disk.usedBytes).toBeGreaterThan(1_000_000);
});
