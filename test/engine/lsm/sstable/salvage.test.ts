import { expect, test } from 'vitest';
import { MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import { makeInternalKey } from '../../../../src/engine/lsm/sstable/keys.ts';
import { type Salvage, salvageTable } from '../../../../src/engine/lsm/sstable/salvage.ts';
import { verifyTable } from '../../../../src/engine/lsm/sstable/verify.ts';
import { below, forSeeds } from '../../../core/base/seeded.ts';
import { rawTable } from './raw-table.ts';
import {
  build,
  bytes,
  diskOf,
  type Entry,
  entry,
  forwards,
  openBytes,
  openOn,
  PATH,
  show,
  SMALL,
  someEntries,
} from './tables.ts';

function salvage(content: Uint8Array, from: MemoryDisk = diskOf(content)): { result: Salvage; disk: MemoryDisk } {
  const disk = new MemoryDisk();
  const into = disk.open(PATH, 'create');
  const file = from.open(PATH, 'read');
  const result = salvageTable(file, { number: 7, fileBytes: content.length, path: PATH }, into, SMALL);
  if (result.info !== undefined) {
    const { info } = result;
    expect(verifyTable(into, { number: 8, fileBytes: info.fileBytes, path: PATH })).toMatchObject(info);
  }
  return { result, disk };
}

test('a whole table is copied whole', () => {
  forSeeds(20, (random) => {
    const entries = someEntries(random, 1 + below(random, 100));
    const { result, disk } = salvage(build(entries).bytes);
    expect(result).toMatchObject({ kept: entries.length, droppedBlocks: 0, damage: [] });
    expect(forwards(openOn(disk).cursor()).map(show)).toEqual(entries.map(show));
  });
});

test('what is lost is a block, with its place; what is kept is what the table had', () => {
  forSeeds(40, (random) => {
    const entries = someEntries(random, 30 + below(random, 100));
    const { bytes: content } = build(entries, { ...SMALL, compression: 'none' });
    const dataEnd = openBytes(content).approximateOffset(makeInternalKey(new Uint8Array(2000).fill(0xff), 0, 0));
    const at = below(random, dataEnd);
    content[at] = (content[at] as number) ^ (1 << below(random, 8));
    const { result, disk } = salvage(content);
    // Behind the data, properties and filter are damaged without harm.
    expect(result.droppedBlocks).toBeLessThanOrEqual(1);
    if (result.droppedBlocks === 1) expect(result.damage[0]?.data['offset']).toBeLessThanOrEqual(at);
    const all = entries.map(show);
    const kept = result.info === undefined ? [] : forwards(openOn(disk).cursor()).map(show);
    expect(kept.length).toBe(result.kept);
    expect(all.filter((text) => kept.includes(text))).toEqual(kept);
  });
});

test('a sector that cannot be read costs its block', () => {
  const entries = Array.from({ length: 60 }, (_, i) => entry(`key${String(i).padStart(3, '0')}`, 1, 'v'.repeat(20)));
  const { disk: from, bytes: content } = build(entries, { ...SMALL, compression: 'none' });
  // Footer and index come first.
  from.failNext({ op: 'read', code: 'EIO', skip: 3 });
  const { result } = salvage(content, from);
  expect(result.droppedBlocks).toBe(1);
  expect(result.damage[0]?.code).toBe('DISK_FAILED');
  expect(result.kept).toBeGreaterThan(50);
  expect(result.kept).toBeLessThan(60);
});

test('without a footer or an index nothing is found', () => {
  const { bytes: content } = build([entry('a', 1, 'x')]);
  for (const at of [content.length - 1, content.length - 60]) {
    const broken = content.map((byte, i) => (i === at ? byte ^ 1 : byte));
    const { result } = salvage(broken);
    expect(result).toMatchObject({ kept: 0, droppedBlocks: 0, info: undefined });
    expect(result.damage).toHaveLength(1);
  }
});

test('a block out of its place is dropped, and no order is broken', () => {
  const a = [entry('a', 2, 'x'), entry('b', 3, 'y')];
  const b = [entry('c', 2, 'x'), entry('d', 3, 'y')];
  const odd = [{ key: makeInternalKey(bytes('e'), 2, 7), value: bytes('') }];
  const last = (entries: readonly Entry[]): Uint8Array => (entries.at(-1) as Entry).key;
  const content = rawTable({ blocks: [b, a, odd, b].map((block) => ({ content: block, separator: last(block) })) });
  const { result, disk } = salvage(content);
  expect(result).toMatchObject({ kept: 2, droppedBlocks: 3 });
  expect(forwards(openOn(disk).cursor()).map(show)).toEqual(b.map(show));
});

test('what writing throws is thrown', () => {
  const { bytes: content } = build([entry('a', 1, 'x')]);
  const disk = new MemoryDisk();
  const into = disk.open(PATH, 'create');
  disk.failNext({ op: 'write', code: 'ENOSPC' });
  const file = diskOf(content).open(PATH, 'read');
  expect(() => salvageTable(file, { number: 7, fileBytes: content.length, path: PATH }, into, SMALL)).toThrow(
    expect.objectContaining({ code: 'STORE_FULL' }),
  );
});
