import { expect, test } from 'vitest';
import { must } from '../../../../src/core/base/assert.ts';
import { BlockCache, createBlockCache } from '../../../../src/engine/lsm/cache/block-cache.ts';
import { hashKey } from '../../../../src/engine/lsm/key-hash.ts';
import { BlockBuilder } from '../../../../src/engine/lsm/sstable/block-builder.ts';
import { BlockCursor } from '../../../../src/engine/lsm/sstable/block-cursor.ts';
import {
  blockStart,
  DirectoryBuilder,
  DirectoryLookup,
  hasDirectory,
  plainForm,
} from '../../../../src/engine/lsm/sstable/block-directory.ts';
import { ABSENT, FOUND, UNSURE } from '../../../../src/engine/lsm/sstable/block-lookup.ts';
import { isVersionOf, makeInternalKey, revisionOf, SEEK_TYPE } from '../../../../src/engine/lsm/sstable/keys.ts';
import { TableResult } from '../../../../src/engine/lsm/sstable/table.ts';
import { below, forSeeds, pick, randomBytes } from '../../../core/base/seeded.ts';
import { build, bytes, type Entry, entry, hex, openBytes, SMALL, someEntries } from './tables.ts';

const NEWEST = Number.MAX_SAFE_INTEGER;

function blockOf(entries: readonly Entry[], restartInterval = 16): Uint8Array {
  const builder = new BlockBuilder(restartInterval);
  for (const { key, value } of entries) builder.add(key, key.length, value, 0, value.length);
  return builder.finish().slice();
}

function built(block: Uint8Array): Uint8Array {
  const form = must(new DirectoryBuilder().build(block), 'an ordinary block');
  expect(hasDirectory(form, 0)).toBe(true);
  return form;
}

/** Every key with its value, forwards and back, as a cursor reads them. */
function shown(block: Uint8Array): string[][] {
  const cursor = new BlockCursor();
  cursor.reset(block, '/t', 0);
  cursor.check();
  const here = (): string =>
    `${hex(cursor.key.subarray(0, cursor.keyLength))}=${hex(block.subarray(cursor.valueStart, cursor.valueEnd))}`;
  const forwards: string[] = [];
  const backwards: string[] = [];
  for (cursor.first(); cursor.valid; cursor.next()) forwards.push(here());
  for (cursor.last(); cursor.valid; cursor.prev()) backwards.push(here());
  return [forwards, backwards];
}

/** The newest version of `user` that is not newer than `revision`, found by a cursor. */
function byCursor(block: Uint8Array, user: Uint8Array, revision: number): string {
  const cursor = new BlockCursor();
  cursor.reset(block, '/t', 0);
  const target = makeInternalKey(user, revision, SEEK_TYPE);
  cursor.seek(target, target.length);
  if (!cursor.valid || !isVersionOf(cursor.key, cursor.keyLength, user)) return 'absent';
  const value = hex(block.subarray(cursor.valueStart, cursor.valueEnd));
  return `${revisionOf(cursor.key, cursor.keyLength)} ${value}`;
}

test('a form holds the same entries, and its directory says of each key what a cursor finds, or that it is not sure', () => {
  const outcomes = [0, 0, 0];
  const builder = new DirectoryBuilder();
  const lookup = new DirectoryLookup();
  forSeeds(300, (random) => {
    const entries = someEntries(random, 1 + below(random, 80));
    const block = blockOf(entries, pick(random, [1, 2, 16]));
    const form = builder.build(block);
    if (form === undefined) return;
    expect(hasDirectory(form, 0)).toBe(true);
    expect(shown(form.subarray(blockStart(form, 0)))).toEqual(shown(block));
    // It may stand anywhere: here behind some bytes that are none of it, and before some.
    const at = 1 + below(random, 70);
    const around = randomBytes(random, at + form.length + 9);
    around.set(form, at);
    for (let i = 0; i < 60; i++) {
      const some = pick(random, entries).key;
      const user = some.slice(0, some.length - 8);
      const wanted = pick(random, [
        user,
        user,
        Uint8Array.from([...user, below(random, 256)]),
        user.slice(0, below(random, user.length + 1)),
        user.map((byte, last) => (last === user.length - 1 ? (byte + 1) & 0xff : byte)),
      ]);
      const revision = pick(random, [revisionOf(some, some.length), 0, 1, 1_000_000, NEWEST]);
      const hash = hashKey(wanted, wanted.length);
      const outcome = lookup.find(around, at, at + form.length, wanted, hash, revision);
      outcomes[outcome] = (outcomes[outcome] as number) + 1;
      if (outcome === UNSURE) continue;
      const value = hex(around.subarray(lookup.valueStart, lookup.valueEnd));
      expect(outcome === FOUND ? `${lookup.revision} ${value}` : 'absent').toBe(byCursor(block, wanted, revision));
    }
  });
  expect(outcomes[FOUND]).toBeGreaterThan(1_000);
  expect(outcomes[ABSENT]).toBeGreaterThan(2_000);
});

test('keys whose hashes are alike are told apart by their bytes', () => {
  const pair = [bytes('user/ux6en0y5'), bytes('user/mpl4kinc')] as const;
  const [one, other] = pair;
  expect(hashKey(one, one.length)).toBe(hashKey(other, other.length));
  const lookup = new DirectoryLookup();
  for (const there of [[one], [other], [one, other]]) {
    const block = blockOf(there.map((key) => entry(key, 7, `value of ${hex(key)}`)));
    const form = built(block);
    for (const key of pair) {
      const outcome = lookup.find(form, 0, form.length, key, hashKey(key, key.length), NEWEST);
      expect(outcome).toBe(there.includes(key) ? FOUND : ABSENT);
      if (outcome !== FOUND) continue;
      expect(form.subarray(lookup.valueStart, lookup.valueEnd)).toEqual(bytes(`value of ${hex(key)}`));
    }
  }
});

test('of several versions the newest is in the directory; an older one is left to a cursor', () => {
  const entries = [entry('a', 3, 'x'), entry('b', 9, 'new'), entry('b', 5), entry('b', 2, 'old'), entry('c', 1, 'y')];
  const form = built(blockOf(entries));
  const lookup = new DirectoryLookup();
  const find = (key: string, revision: number): number =>
    lookup.find(form, 0, form.length, bytes(key), hashKey(bytes(key), key.length), revision);
  expect(find('b', 9)).toBe(FOUND);
  expect([lookup.revision, lookup.type]).toEqual([9, 1]);
  expect(find('b', 8)).toBe(UNSURE);
  expect(find('c', NEWEST)).toBe(FOUND);
  expect(find('bb', NEWEST)).toBe(ABSENT);
});

test('what is out of the ordinary gets no directory, nor what would grow too much', () => {
  const builder = new DirectoryBuilder();
  const long = 'x'.repeat(100);
  const plain = [
    // No key has more in common with all others than the first bytes, and each stands nearly whole in the one before.
    blockOf(
      ['a', 'b', 'c', 'd'].flatMap((first) =>
        Array.from({ length: 30 }, (_, i) => entry(`${first}${long}${i + 10}`, 1, '')),
      ),
    ),
    blockOf([entry('x'.repeat(300), 1, 'a long key')]),
    blockOf([entry('a', 1, 'y'.repeat(20_000))]),
    blockOf([]),
    new Uint8Array(4),
    new Uint8Array(0),
  ];
  for (const block of plain) {
    expect(builder.build(block)).toBeUndefined();
    const form = plainForm(block);
    expect(hasDirectory(form, 0)).toBe(false);
    expect(form.subarray(blockStart(form, 0))).toEqual(block);
  }
  const usual = blockOf(Array.from({ length: 35 }, (_, i) => entry(`user/${1000 + i}`, i + 1, long)));
  expect(built(usual).length).toBeLessThan(usual.length * 1.2);
});

test('bytes that are no block get no directory, or a form that is bounded', () => {
  const builder = new DirectoryBuilder();
  forSeeds(300, (random) => {
    const block = blockOf(someEntries(random, 1 + below(random, 30)), pick(random, [1, 4]));
    for (let i = 0; i < 30; i++) {
      block[below(random, block.length)] = below(random, 256);
      const form = builder.build(block);
      if (form !== undefined) expect(form.length).toBeLessThanOrEqual(block.length * 1.5 + 256);
    }
  });
});

test('a form that changes under a look leads nowhere outside it, and the look ends', () => {
  const builder = new DirectoryBuilder();
  const lookup = new DirectoryLookup();
  forSeeds(300, (random) => {
    const entries = someEntries(random, 1 + below(random, 60));
    const form = builder.build(blockOf(entries)) ?? plainForm(blockOf(entries));
    if (!hasDirectory(form, 0)) return;
    for (let i = 0; i < 60; i++) {
      // The first bytes say the most, and the slots.
      form[random() < 0.5 ? below(random, Math.min(form.length, 80)) : below(random, form.length)] = below(random, 256);
      const { key } = pick(random, entries);
      const user = key.slice(0, -8);
      if (lookup.find(form, 0, form.length, user, hashKey(user, user.length), NEWEST) !== FOUND) continue;
      expect(lookup.valueStart).toBeLessThanOrEqual(lookup.valueEnd);
      expect(lookup.valueEnd).toBeLessThanOrEqual(form.length);
    }
  });
});

test('a table read by way of a cache that lends answers as ever, while blocks get directories and go', () => {
  let withDirectory = 0;
  let lent = 0;
  forSeeds(12, (random) => {
    // About a hundred blocks; the smaller cache holds a third of them.
    const entries = Array.from({ length: 1500 }, (_, i) =>
      entry(
        `user/${String(i * 3).padStart(6, '0')}`,
        1 + below(random, 9),
        random() < 0.1 ? undefined : `${i}`.repeat(9),
      ),
    );
    const { bytes: content } = build(entries, { ...SMALL, blockBytes: 1000 });
    const cache = new BlockCache(createBlockCache(pick(random, [64, 256]) * 1024));
    const table = openBytes(content, cache);
    const result = new TableResult();
    for (let i = 0; i < 3000; i++) {
      // Mostly from a few blocks, so that these are looked into often enough.
      const n = random() < 0.7 ? below(random, 150) : below(random, 4500);
      const user = bytes(`user/${String(n).padStart(6, '0')}`);
      const revision = pick(random, [NEWEST, 5]);
      const isFound = table.get(user, revision, result, hashKey(user, user.length), true);
      const { block, valueStart, valueEnd, lease } = result;
      const there = n % 3 === 0 ? entries[n / 3] : undefined;
      const isThere = there !== undefined && revisionOf(there.key, there.key.length) <= revision;
      if (isFound !== isThere) expect.fail(`key ${n} at ${revision}: found ${isFound}`);
      if (!isFound) continue;
      if (Buffer.compare(block.slice(valueStart, valueEnd), must(there, 'found').value) !== 0) expect.fail(`key ${n}`);
      if (lease === -1) continue;
      // One thread: nothing is overwritten between a look and its check.
      if (!cache.isIntact(lease)) expect.fail('what was lent is there');
      lent++;
      if (block === cache.bytes) withDirectory++;
    }
    cache.checkInvariants();
    table.close();
  });
  expect(lent).toBeGreaterThan(5_000);
  expect(withDirectory).toBeGreaterThan(lent / 2);
});
