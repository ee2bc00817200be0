import { expect, test } from 'vitest';
import { hashKey } from '../../../../src/engine/lsm/key-hash.ts';
import { bloomBytes, bloomMayContain, createBloom } from '../../../../src/engine/lsm/sstable/bloom.ts';
import { FilterBuilder, FilterReader } from '../../../../src/engine/lsm/sstable/filter-block.ts';
import { below, forSeeds, randomBytes } from '../../../core/base/seeded.ts';
import { bytes } from './tables.ts';

const hash = (key: Uint8Array): number => hashKey(key, key.length);

function filterOf(keys: readonly Uint8Array[], bitsPerKey: number): Uint8Array {
  const filter = new Uint8Array(bloomBytes(keys.length, bitsPerKey));
  createBloom(filter, 0, Uint32Array.from(keys, hash), keys.length, bitsPerKey);
  return filter;
}

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

// LevelDB's hash_test.cc, those of the filter's seed.
test.each([
  [[], 0xbc9f1d34],
  [[0x62], 0xef1345c4],
  [[0xc3, 0x97], 0x5b663814],
  [[0xe2, 0x99, 0xa5], 0x323c078f],
  [[0xe1, 0x80, 0xb9, 0x32], 0xed21633a],
])('the hash of %j', (key, expected) => {
  expect(hash(Uint8Array.from(key)) >>> 0).toBe(expected);
});

test('only the first bytes that are meant are hashed', () => {
  forSeeds(20, (random) => {
    const key = randomBytes(random, below(random, 20));
    expect(hashKey(Uint8Array.from([...key, ...randomBytes(random, 8)]), key.length)).toBe(hash(key));
  });
});

test('an empty filter contains nothing', () => {
  const filter = filterOf([], 10);
  expect(filter).toHaveLength(9);
  expect(bloomMayContain(filter, 0, filter.length, hash(bytes('hello')))).toBe(false);
  expect(bloomMayContain(filter, 0, 0, hash(bytes('hello')))).toBe(false);
  expect(bloomMayContain(filter, 0, 1, hash(bytes('hello')))).toBe(false);
});

test('a small filter contains what it was given and little else', () => {
  const filter = filterOf([bytes('hello'), bytes('world')], 10);
  const has = (key: string): boolean => bloomMayContain(filter, 0, filter.length, hash(bytes(key)));
  expect(['hello', 'world', 'x', 'foo'].map(has)).toEqual([true, true, false, false]);
  expect(filter.at(-1)).toBe(6);
});

test('at 10 bits a key no key is missed and under 2 % of others pass, whatever the number of keys', () => {
  let mediocre = 0;
  for (const count of [1, 2, 5, 10, 50, 100, 500, 1000, 5000, 10_000]) {
    const keys = Array.from({ length: count }, (_, i) => u32(i));
    const filter = filterOf(keys, 10);
    expect(filter.length).toBeLessThanOrEqual((count * 10) / 8 + 40);
    const has = (key: Uint8Array): boolean => bloomMayContain(filter, 0, filter.length, hash(key));
    expect(keys.every(has)).toBe(true);
    let passed = 0;
    for (let i = 0; i < 10_000; i++) if (has(u32(i + 1_000_000_000))) passed++;
    expect(passed / 10_000).toBeLessThan(0.02);
    if (passed / 10_000 > 0.0125) mediocre++;
  }
  expect(mediocre).toBeLessThanOrEqual(2);
});

test('keys of every length are found under any number of bits', () => {
  forSeeds(40, (random) => {
    const bitsPerKey = 1 + below(random, 100);
    const keys = Array.from({ length: 1 + below(random, 80) }, (_, i) => randomBytes(random, i));
    const filter = Uint8Array.from([1, 2, 3, ...filterOf(keys, bitsPerKey), 4]);
    expect(keys.every((key) => bloomMayContain(filter, 3, filter.length - 1, hash(key)))).toBe(true);
  });
});

test('a number of probes beyond 30 is another kind of filter, which may contain anything', () => {
  const filter = filterOf([bytes('hello')], 10);
  filter[filter.length - 1] = 31;
  expect(bloomMayContain(filter, 0, filter.length, hash(bytes('other')))).toBe(true);
});

// LevelDB's filter_block_test.cc.

const readerOf = (block: Uint8Array): FilterReader => new FilterReader(block, '/t', 0);

test('a filter block of nothing knows nothing', () => {
  const block = new FilterBuilder(10).finish();
  expect([...block]).toEqual([0, 0, 0, 0, 11]);
  expect(readerOf(block).mayContain(0, hash(bytes('foo')))).toBe(true);
  expect(readerOf(block).mayContain(100_000, hash(bytes('foo')))).toBe(true);
});

test('one stretch has one filter', () => {
  const builder = new FilterBuilder(10);
  builder.startBlock(100);
  for (const key of ['foo', 'bar', 'box']) builder.add(hash(bytes(key)));
  builder.startBlock(200);
  builder.add(hash(bytes('box')));
  builder.startBlock(300);
  builder.add(hash(bytes('hello')));
  const reader = readerOf(builder.finish());
  for (const key of ['foo', 'bar', 'box', 'hello']) expect(reader.mayContain(100, hash(bytes(key)))).toBe(true);
  for (const key of ['missing', 'other']) expect(reader.mayContain(100, hash(bytes(key)))).toBe(false);
});

test('each stretch has its own filter, and one in which no block begins an empty one', () => {
  const builder = new FilterBuilder(10);
  builder.startBlock(0);
  builder.add(hash(bytes('foo')));
  builder.startBlock(2000);
  builder.add(hash(bytes('bar')));
  builder.startBlock(3100);
  builder.add(hash(bytes('box')));
  builder.startBlock(9000);
  builder.add(hash(bytes('box')));
  builder.add(hash(bytes('hello')));
  const reader = readerOf(builder.finish());
  const held = (offset: number): string[] =>
    ['foo', 'bar', 'box', 'hello'].filter((key) => reader.mayContain(offset, hash(bytes(key))));
  expect(held(0)).toEqual(['foo', 'bar']);
  expect(held(2000)).toEqual(['foo', 'bar']);
  expect(held(3100)).toEqual(['box']);
  expect(held(4100)).toEqual([]);
  expect(held(9000)).toEqual(['box', 'hello']);
  // Behind the last filter nothing is known.
  expect(held(10_240)).toHaveLength(4);
});

test('blocks begin in the order of the file', () => {
  const builder = new FilterBuilder(10);
  builder.startBlock(9000);
  expect(() => builder.startBlock(100)).toThrow('order of the file');
});

test('a filter block that no builder makes is damage', () => {
  const builder = new FilterBuilder(10);
  builder.add(hash(bytes('foo')));
  builder.startBlock(5000);
  builder.add(hash(bytes('bar')));
  const good = builder.finish();
  const changed = (at: number, byte: number): Uint8Array => good.map((was, i) => (i === at ? byte : was));
  const end = good.length;
  const bad = [
    good.slice(0, 4),
    changed(end - 1, 31),
    changed(end - 5, 200),
    changed(end - 5, (good[end - 5] as number) + 1),
    changed(end - 9, 0xff),
    changed(end - 17, 0xff),
  ];
  for (const block of bad) {
    expect(() => new FilterReader(block, '/t', 77)).toThrow(
      expect.objectContaining({ code: 'TABLE_CORRUPT', data: { file: '/t', offset: 77 } }),
    );
  }
});
