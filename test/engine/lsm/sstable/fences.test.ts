import { expect, test } from 'vitest';
import { BlockBuilder } from '../../../../src/engine/lsm/sstable/block-builder.ts';
import { BlockCursor } from '../../../../src/engine/lsm/sstable/block-cursor.ts';
import { Fences } from '../../../../src/engine/lsm/sstable/fences.ts';
import { makeInternalKey, SEEK_TYPE } from '../../../../src/engine/lsm/sstable/keys.ts';
import { below, forSeeds, pick, randomBytes } from '../../../core/base/seeded.ts';

const NEWEST = Number.MAX_SAFE_INTEGER;

/** An index of these separators; block i is at 100 i and has i + 1 bytes. */
function fencesOf(separators: readonly Uint8Array[]): { fences: Fences; index: BlockCursor } {
  const builder = new BlockBuilder(1);
  for (const key of separators) builder.add(key, key.length, new Uint8Array(1), 0, 1);
  const index = new BlockCursor();
  index.reset(builder.finish().slice(), '/t', 0);
  let block = 0;
  const fences = new Fences(index, (into) => {
    into.offset = 100 * block;
    into.size = ++block;
  });
  return { fences, index };
}

test('fences know the block that the index leads to, or leave it to the index', () => {
  let known = 0;
  let asked = 0;
  forSeeds(300, (random) => {
    const prefix = randomBytes(random, below(random, 6));
    const users = new Map<string, Uint8Array>();
    for (let i = 1 + below(random, 50); i > 0; i--) {
      const user = Uint8Array.from([...prefix, ...randomBytes(random, below(random, pick(random, [2, 4, 12])))]);
      users.set(Buffer.from(user).toString('latin1'), user);
    }
    const sorted = [...users.values()].sort((a, b) => Buffer.compare(a, b));
    const { fences, index } = fencesOf(
      sorted.map((user) => makeInternalKey(user, below(random, 2) === 0 ? NEWEST : 5, 1)),
    );
    expect(fences.bytes).toBeGreaterThan(0);
    for (let i = 0; i < 60; i++) {
      const near = pick(random, sorted);
      const user = pick(random, [
        near,
        near.slice(0, below(random, near.length + 1)),
        Uint8Array.from([...near, below(random, 256)]),
        near.map((byte, at) => (at === near.length - 1 ? (byte + pick(random, [1, 255])) & 0xff : byte)),
        randomBytes(random, below(random, 8)),
      ]);
      const at = fences.find(user);
      asked++;
      if (at < 0) continue;
      known++;
      const target = makeInternalKey(user, NEWEST, SEEK_TYPE);
      index.seek(target, target.length);
      const handle = { offset: 0, size: 0 };
      fences.handle(at, handle);
      // Behind the last separator there is nothing, and the filter of the last block says so.
      if (!index.valid) expect(at).toBe(sorted.length - 1);
      else {
        let block = 0;
        const expected = Buffer.from(index.key.slice(0, index.keyLength - 8)).toString('latin1');
        while (Buffer.from(sorted[block] as Uint8Array).toString('latin1') !== expected) block++;
        expect(at).toBe(block);
      }
      expect(handle).toEqual({ offset: 100 * at, size: at + 1 });
    }
  });
  expect(known / asked).toBeGreaterThan(0.2);
});

test('keys that count are known nearly always', () => {
  const users = Array.from({ length: 1_000 }, (_, i) => new Uint8Array(Buffer.from(String(i * 39).padStart(16, '0'))));
  const { fences } = fencesOf(users.map((user) => makeInternalKey(user, NEWEST, SEEK_TYPE)));
  let known = 0;
  for (let n = 0; n < 38_000; n += 7) {
    const at = fences.find(new Uint8Array(Buffer.from(String(n).padStart(16, '0'))));
    if (at < 0) continue;
    known++;
    expect(at).toBe(Math.ceil(n / 39));
  }
  expect(known).toBeGreaterThan(5_000);
});
