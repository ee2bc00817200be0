import { describe, expect, test } from 'vitest';
import { InvariantViolation } from '../../../../src/core/base/assert.ts';
import { BlockCache, createBlockCache } from '../../../../src/engine/lsm/cache/block-cache.ts';
import { layoutOf } from '../../../../src/engine/lsm/cache/layout.ts';
import { below, forSeeds } from '../../../core/base/seeded.ts';
import { startCrew } from '../shared/crew.ts';
import { BLOCK_BYTES_MAX, blockKey, blockOf } from './blocks.ts';
import type { CacheArgs } from './cache-worker.ts';

const KIB = 1024;

describe('a block', () => {
  test('comes back as it was put, as a copy of its own, to every thread', () => {
    const memory = createBlockCache(64 * KIB);
    const [one, other] = [new BlockCache(memory), new BlockCache(memory)];
    const block = Uint8Array.of(1, 2, 3);
    one.put(5, 100, block);
    block.fill(9);
    const copy = other.get(5, 100);
    expect(copy).toEqual(Uint8Array.of(1, 2, 3));
    expect(copy?.buffer).toBeInstanceOf(ArrayBuffer);
    copy?.fill(7);
    expect(one.get(5, 100)).toEqual(Uint8Array.of(1, 2, 3));
  });

  test('is known by all bits of its file and offset', () => {
    const cache = new BlockCache(createBlockCache(256 * KIB));
    const keys = [0, 1, 2 ** 31, 2 ** 32, 2 ** 32 + 1, 2 ** 40, 2 ** 53 - 1, 2 ** 53 - 1 - 2 ** 32];
    const pairs = keys.flatMap((file) => keys.map((offset) => [file, offset] as const));
    for (const [file, offset] of pairs) {
      expect(cache.get(file, offset)).toBeUndefined();
      cache.put(file, offset, blockOf({ fileNumber: file, offset, bytes: 50 }));
    }
    for (const [file, offset] of pairs) {
      const found = cache.get(file, offset);
      // A bucket may have had more than its eight.
      if (found !== undefined) expect(found).toEqual(blockOf({ fileNumber: file, offset, bytes: 50 }));
    }
    expect(pairs.filter(([file, offset]) => cache.get(file, offset) !== undefined).length).toBeGreaterThan(55);
  });

  test('is not taken for one whose number has the same hash: of very many, none is mistaken', () => {
    // 64 KiB have 16 buckets and 256 tags: each block has the bucket and tag of one key in 4096.
    const cache = new BlockCache(createBlockCache(64 * KIB));
    cache.put(3, 5, Uint8Array.of(1));
    const step = 2 ** 32;
    const wrong: string[] = [];
    for (let i = 1; i < 60_000; i++) {
      const others = [
        [3, 5 + i],
        [3 + i, 5],
        [3, 5 + i * step],
        [3 + i * step, 5],
      ] as const;
      for (const [file, offset] of others) if (cache.get(file, offset) !== undefined) wrong.push(`${file} ${offset}`);
    }
    expect(wrong).toEqual([]);
    expect(cache.get(3, 5)).toEqual(Uint8Array.of(1));
  });

  test('may be empty, and as long as an eighth of the ring; a longer one is not cached and drops nothing', () => {
    const cache = new BlockCache(createBlockCache(64 * KIB));
    cache.put(1, 0, new Uint8Array(0));
    expect(cache.get(1, 0)).toEqual(new Uint8Array(0));
    const { capacityBytes } = cache.stats;
    const eighth = Math.floor(capacityBytes / 8 / 64) * 64 - 32;
    cache.put(1, 1, new Uint8Array(eighth).fill(3));
    expect(cache.get(1, 1)).toEqual(new Uint8Array(eighth).fill(3));
    const { usedBytes } = cache.stats;
    cache.put(1, 2, new Uint8Array(eighth + 1));
    expect(cache.get(1, 2)).toBeUndefined();
    expect(cache.stats.usedBytes).toBe(usedBytes);
  });

  test('is of a number that can be one', () => {
    const cache = new BlockCache(createBlockCache(64 * KIB));
    for (const wrong of [-1, 0.5, 2 ** 53]) {
      expect(() => cache.put(wrong, 0, new Uint8Array(1))).toThrow(InvariantViolation);
      expect(() => cache.put(0, wrong, new Uint8Array(1))).toThrow(InvariantViolation);
    }
  });
});

test('any run of gets and puts gives what was put or nothing, the newest put always, in no more than its bytes', () => {
  forSeeds(25, (random) => {
    const bytes = 64 * KIB + below(random, 64 * KIB);
    const memory = createBlockCache(bytes);
    expect(memory.byteLength).toBeLessThanOrEqual(bytes);
    expect(memory.byteLength).toBeGreaterThan(bytes - 64);
    const threads = [new BlockCache(memory), new BlockCache(memory)];
    const keys = Array.from({ length: 1 + below(random, 120) }, (_, i) => blockKey(i, BLOCK_BYTES_MAX));
    const blocks = keys.map((key) => blockOf(key));
    let hits = 0;
    for (let step = 0; step < 1200; step++) {
      const cache = threads[below(random, 2)] as BlockCache;
      const i = below(random, random() < 0.5 ? keys.length : 5) % keys.length;
      const { fileNumber, offset } = keys[i] as (typeof keys)[number];
      const block = blocks[i] as Uint8Array;
      const found = cache.get(fileNumber, offset);
      if (found !== undefined) {
        hits++;
        expect(Buffer.compare(found, block)).toBe(0);
        if (random() < 0.9) continue;
      }
      cache.put(fileNumber, offset, block);
      expect(Buffer.compare(cache.get(fileNumber, offset) ?? Uint8Array.of(), block)).toBe(0);
      if (step % 50 === 0) cache.checkInvariants();
      const { usedBytes, capacityBytes } = cache.stats;
      expect(usedBytes).toBeLessThanOrEqual(capacityBytes);
    }
    expect(hits).toBeGreaterThan(100);
    threads[0]?.checkInvariants();
  });
});

describe('a loan', () => {
  const cache = (): BlockCache => new BlockCache(createBlockCache(64 * KIB));
  const lent = (from: BlockCache): Uint8Array => from.bytes.slice(from.lentAt, from.lentEnd);

  test('is the block where it stands, by a search or again without one', () => {
    const one = cache();
    const block = blockOf({ fileNumber: 4, offset: 300, bytes: 900 });
    expect(one.lend(4, 300)).toBe(false);
    one.put(4, 300, block);
    one.put(4, 301, Uint8Array.of(1));
    expect(one.lend(4, 300)).toBe(true);
    const { lease } = one;
    expect(lent(one)).toEqual(block);
    expect(one.lend(4, 301)).toBe(true);
    expect(one.lendAgain(4, 300, lease)).toBe(true);
    expect([one.lease, one.isIntact(lease)]).toEqual([lease, true]);
    expect(lent(one)).toEqual(block);
  });

  test('is not given again of another block, nor of what was never lent, nor once the block is gone', () => {
    const one = cache();
    const block = blockOf({ fileNumber: 4, offset: 300, bytes: 900 });
    one.put(4, 300, block);
    one.lend(4, 300);
    const { lease } = one;
    for (const [file, offset] of [
      [4, 301],
      [5, 300],
      [4, 300 + 2 ** 32],
    ] as const) {
      expect(one.lendAgain(file, offset, lease)).toBe(false);
    }
    expect(one.lendAgain(4, 300, -1)).toBe(false);
    for (let i = 0; i < 200; i++) one.put(9, i, new Uint8Array(900));
    expect(one.isIntact(lease)).toBe(false);
    // Where it stood there may be its bytes still, but the lease says that they do not count.
    if (one.lendAgain(4, 300, lease)) expect(one.isIntact(one.lease)).toBe(false);
    one.checkInvariants();
  });

  test('goes on where it was when the block is replaced, until the ring comes round; the next one is of the new bytes', () => {
    const one = cache();
    const [old, other] = [new Uint8Array(500).fill(1), new Uint8Array(700).fill(2)];
    one.put(4, 300, old);
    one.lend(4, 300);
    const { lease } = one;
    one.replace(4, 300, other);
    one.checkInvariants();
    expect(one.get(4, 300)).toEqual(other);
    expect(one.lendAgain(4, 300, lease)).toBe(true);
    expect(lent(one)).toEqual(old);
    expect(one.isIntact(lease)).toBe(true);
    one.lend(4, 300);
    expect(lent(one)).toEqual(other);
    one.put(4, 300, old);
    expect(one.get(4, 300)).toEqual(other);
    one.replace(4, 301, old);
    expect(one.get(4, 301)).toEqual(old);
    for (let i = 0; i < 200; i++) one.put(9, i, new Uint8Array(900));
    expect([one.isIntact(lease), one.get(4, 300)]).toEqual([false, undefined]);
    one.checkInvariants();
  });

  test('counts as a read: what is lent again and again stays', () => {
    const one = new BlockCache(createBlockCache(256 * KIB));
    one.put(1, 0, new Uint8Array(2000).fill(7));
    one.lend(1, 0);
    let { lease } = one;
    let searches = 0;
    for (let cold = 0; cold < 3000; cold++) {
      one.put(2, cold, new Uint8Array(2000));
      for (let again = 0; again < 8; again++) {
        if (one.lendAgain(1, 0, lease) && one.isIntact(lease)) continue;
        expect(one.lend(1, 0)).toBe(true);
        lease = one.lease;
        searches++;
      }
      expect(one.bytes[one.lentAt]).toBe(7);
    }
    // Each round of the ring it moves on to another place.
    expect(searches).toBeLessThan(60);
  });
});

test('what is read again and again outlives any number of blocks that are read once', () => {
  const cache = new BlockCache(createBlockCache(256 * KIB));
  const hot = Array.from({ length: 30 }, (_, i) => i);
  for (const i of hot) cache.put(1, i, new Uint8Array(2000).fill(i));
  let misses = 0;
  for (let cold = 0; cold < 5000; cold++) {
    cache.put(2, cold, new Uint8Array(2000));
    const i = cold % hot.length;
    const found = cache.get(1, i);
    if (found === undefined) misses++;
    else expect(found[7]).toBe(i);
  }
  expect(misses).toBe(0);
  // And what is no longer read goes.
  for (let cold = 5000; cold < 5400; cold++) cache.put(2, cold, new Uint8Array(2000));
  expect(hot.filter((i) => cache.get(1, i) !== undefined)).toEqual([]);
  cache.checkInvariants();
});

test('what is read again and again keeps its slot, however many tiny blocks want one', () => {
  // A thousand entries fit in the ring, and 128 have a slot.
  const cache = new BlockCache(createBlockCache(64 * KIB));
  const hot = Array.from({ length: 12 }, (_, i) => i);
  for (const i of hot) cache.put(1, i * 4096, Uint8Array.of(i));
  for (let cold = 0; cold < 4000; cold++) {
    for (const i of hot) expect(cache.get(1, i * 4096)).toEqual(Uint8Array.of(i));
    cache.put(2, cold * 4096, Uint8Array.of(1));
  }
  cache.checkInvariants();
});

test('blocks that all fit are all kept: nothing is dropped or copied while there is room', () => {
  const cache = new BlockCache(createBlockCache(1024 * KIB));
  const count = Math.floor((cache.stats.capacityBytes * 0.9) / 4160);
  for (let i = 0; i < count; i++) cache.put(3, i * 4096, new Uint8Array(4096).fill(i));
  const { usedBytes } = cache.stats;
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < count; i++) expect(cache.get(3, i * 4096)?.[0]).toBe(i & 0xff);
  }
  expect(cache.stats).toMatchObject({ usedBytes, hits: 5 * count, misses: 0, puts: count, rejected: 0 });
});

test('a block that is there is not put twice', () => {
  const cache = new BlockCache(createBlockCache(64 * KIB));
  cache.put(1, 1, new Uint8Array(500));
  const { usedBytes } = cache.stats;
  cache.put(1, 1, new Uint8Array(500));
  expect(cache.stats).toMatchObject({ usedBytes, puts: 1 });
});

describe('a ring whose positions begin again', () => {
  test('goes on as before', () => {
    forSeeds(25, (random) => {
      const memory = createBlockCache(64 * KIB);
      const words = new Int32Array(memory);
      const { positions, ringUnits } = layoutOf(memory.byteLength);
      expect(positions % ringUnits).toBe(0);
      expect(positions).toBeGreaterThan(2 ** 30);
      words.fill(positions - below(random, 3 * ringUnits), 16, 18);
      const cache = new BlockCache(memory);
      for (let i = 0; i < 60; i++) {
        const key = blockKey(i, BLOCK_BYTES_MAX);
        cache.put(key.fileNumber, key.offset, blockOf(key));
        for (const before of [i, i - 1, i - 2]
          .filter((each) => each >= 0)
          .map((each) => blockKey(each, BLOCK_BYTES_MAX))) {
          expect(cache.get(before.fileNumber, before.offset)).toEqual(blockOf(before));
        }
        cache.checkInvariants();
      }
      expect(words[16], 'the positions have begun again').toBeLessThan(ringUnits * 10);
    });
  });
});

describe('whatever a reader meets while others write', () => {
  const file = 0x1234_5678;

  test('a length that cannot be is a miss', () => {
    const memory = createBlockCache(64 * KIB);
    const words = new Int32Array(memory);
    const cache = new BlockCache(memory);
    cache.put(file, 7, Uint8Array.of(1));
    const length = words.indexOf(file) - 1;
    expect(words[length]).toBe(1);
    for (const wrong of [-1, -(2 ** 31), 2 ** 31 - 1, BLOCK_BYTES_MAX * 2]) {
      words[length] = wrong;
      expect(cache.get(file, 7)).toBeUndefined();
    }
  });

  test('words of any kind in slots, tags and entries do no harm to it', () => {
    forSeeds(40, (random) => {
      const memory = createBlockCache(64 * KIB);
      const cache = new BlockCache(memory);
      const keys = Array.from({ length: 100 }, (_, i) => blockKey(i, 500));
      for (const key of keys) cache.put(key.fileNumber, key.offset, blockOf(key));
      const words = new Int32Array(memory, 256);
      for (let i = 0; i < 4000; i++) {
        words[below(random, random() < 0.3 ? 200 : words.length)] = Math.floor((random() - 0.5) * 2 ** 32);
      }
      for (const key of keys) {
        const found = cache.get(key.fileNumber, key.offset);
        expect(found?.length ?? 0).toBeLessThanOrEqual(BLOCK_BYTES_MAX + 64);
      }
    });
  });
});

test('with too little memory for a ring it holds nothing, and counts', () => {
  for (const bytes of [0, 1, 4096, 64 * KIB - 1]) {
    const memory = createBlockCache(bytes);
    expect(memory.byteLength).toBe(256);
    const cache = new BlockCache(memory);
    cache.put(1, 1, Uint8Array.of(1));
    expect(cache.get(1, 1)).toBeUndefined();
    cache.checkInvariants();
    expect(cache.stats).toEqual({ capacityBytes: 0, usedBytes: 0, hits: 0, misses: 1, puts: 0, rejected: 0 });
  }
});

test('while another thread writes, a put is let go and counted, and gets go on', () => {
  const memory = createBlockCache(64 * KIB);
  const cache = new BlockCache(memory);
  cache.put(1, 1, Uint8Array.of(1));
  const lock = new Int32Array(memory, 0, 1);
  lock[0] = 1;
  cache.put(1, 2, Uint8Array.of(2));
  expect(cache.get(1, 2)).toBeUndefined();
  expect(cache.get(1, 1)).toEqual(Uint8Array.of(1));
  lock[0] = 0;
  cache.put(1, 2, Uint8Array.of(2));
  expect(cache.get(1, 2)).toEqual(Uint8Array.of(2));
  expect(cache.stats).toMatchObject({ puts: 2, rejected: 1 });
});

test('counts of all threads come together', () => {
  const memory = createBlockCache(64 * KIB);
  const [one, other] = [new BlockCache(memory), new BlockCache(memory)];
  one.put(1, 1, Uint8Array.of(1));
  for (let i = 0; i < 1000; i++) one.get(1, 1);
  for (let i = 0; i < 500; i++) one.get(1, 2);
  expect(other.stats.hits + other.stats.misses).toBeGreaterThan(1500 - 257);
  expect(one.stats).toMatchObject({ hits: 1000, misses: 500, puts: 1 });
  expect(other.stats).toEqual(one.stats);
});

test('no thread ever gets a torn or a wrong block, while the ring goes round and round, over three million gets', async () => {
  const memory = createBlockCache(64 * KIB);
  const args: CacheArgs = { memory, keys: 150 };
  const crew = await startCrew(new URL('./cache-worker.ts', import.meta.url), 3, args);
  while (!crew.isDone(1_000_000, true)) await new Promise((resolve) => setTimeout(resolve, 10));
  const reports = await crew.finish();
  expect(reports.flatMap(({ faults }) => faults)).toEqual([]);
  const cache = new BlockCache(memory);
  cache.checkInvariants();
  const { hits, misses, puts, rejected } = cache.stats;
  expect(hits, 'there were hits').toBeGreaterThan(100_000);
  expect(misses, 'there were misses').toBeGreaterThan(100_000);
  expect(puts, 'blocks were overwritten all the while').toBeGreaterThan(100_000);
  expect(rejected, 'threads met').toBeGreaterThan(10);
}, 60_000);
