import { expect, test } from 'vitest';
import { BlockBuilder } from '../../../../src/engine/lsm/sstable/block-builder.ts';
import { BlockCursor } from '../../../../src/engine/lsm/sstable/block-cursor.ts';
import { ABSENT, BlockLookup, FOUND, UNSURE } from '../../../../src/engine/lsm/sstable/block-lookup.ts';
import { isVersionOf, makeInternalKey, revisionOf, SEEK_TYPE } from '../../../../src/engine/lsm/sstable/keys.ts';
import { below, forSeeds, pick } from '../../../core/base/seeded.ts';
import { someEntries } from './tables.ts';

/** What a cursor finds: the newest version not newer than the target's revision. */
function byCursor(block: Uint8Array, user: Uint8Array, target: Uint8Array): string {
  const cursor = new BlockCursor();
  cursor.reset(block, '/t', 0);
  cursor.seek(target, target.length);
  if (!cursor.valid || !isVersionOf(cursor.key, cursor.keyLength, user)) return 'absent';
  return `${revisionOf(cursor.key, cursor.keyLength)} ${cursor.valueStart} ${cursor.valueEnd}`;
}

test('a lookup says what a cursor finds, or that it is not sure', () => {
  const outcomes = [0, 0, 0];
  forSeeds(400, (random) => {
    const entries = someEntries(random, 1 + below(random, 80));
    const builder = new BlockBuilder(pick(random, [1, 2, 3, 16]));
    for (const { key, value } of entries) builder.add(key, key.length, value, 0, value.length);
    const block = builder.finish().slice();
    const lookup = new BlockLookup();
    for (let i = 0; i < 60; i++) {
      const some = pick(random, entries).key;
      const user = some.slice(0, some.length - 8);
      const wanted = pick(random, [
        user,
        user,
        Uint8Array.from([...user, below(random, 256)]),
        user.slice(0, below(random, user.length + 1)),
        user.map((byte, at) => (at === user.length - 1 ? (byte + 1) & 0xff : byte)),
      ]);
      const revision = pick(random, [revisionOf(some, some.length), 0, 1, 1_000_000, Number.MAX_SAFE_INTEGER]);
      const target = makeInternalKey(wanted, revision, SEEK_TYPE);
      const outcome = lookup.find(block, target, target.length);
      outcomes[outcome] = (outcomes[outcome] as number) + 1;
      if (outcome === UNSURE) continue;
      const found = outcome === FOUND ? `${lookup.revision} ${lookup.valueStart} ${lookup.valueEnd}` : 'absent';
      expect(found).toBe(byCursor(block, wanted, target));
    }
  });
  // Unsure is the exception, also among keys made to be alike.
  expect(outcomes[FOUND]).toBeGreaterThan(2_000);
  expect(outcomes[ABSENT]).toBeGreaterThan(2_000);
});

test('bytes that are no block never lead out of it, nor into a long walk', () => {
  forSeeds(300, (random) => {
    const entries = someEntries(random, 1 + below(random, 30));
    const builder = new BlockBuilder(pick(random, [1, 4]));
    for (const { key, value } of entries) builder.add(key, key.length, value, 0, value.length);
    const block = builder.finish().slice();
    const lookup = new BlockLookup();
    for (let i = 0; i < 50; i++) {
      block[below(random, block.length)] = below(random, 256);
      const { key } = pick(random, entries);
      if (lookup.find(block, key, key.length) !== FOUND) continue;
      expect(lookup.valueEnd).toBeLessThanOrEqual(block.length);
      expect(lookup.valueStart).toBeLessThanOrEqual(lookup.valueEnd);
    }
  });
});
