import { expect, test } from 'vitest';
import { compareInternal, makeInternalKey, revisionOf } from '../../../../src/engine/lsm/sstable/keys.ts';
import { below, forSeeds, pick, randomBytes } from '../../../core/base/seeded.ts';
import {
  backwards,
  build,
  type Entry,
  expected,
  forwards,
  got,
  here,
  MapCache,
  NO_CACHE,
  openOn,
  show,
  someEntries,
  someOptions,
} from './tables.ts';

const someRevision = (random: () => number, entries: readonly Entry[]): number => {
  const { key } = pick(random, entries);
  return Math.max(0, revisionOf(key, key.length) + below(random, 3) - 1);
};

test('any entries under any options read, in every way, as a sorted array would', () => {
  forSeeds(80, (random) => {
    const entries = someEntries(random, 1 + below(random, 300));
    const { disk, info } = build(entries, someOptions(random));
    const table = openOn(disk, random() < 0.5 ? NO_CACHE : new MapCache());
    const shown = entries.map(show);

    for (const fillCache of [true, false]) {
      expect(forwards(table.cursor({ fillCache })).map(show)).toEqual(shown);
      expect(backwards(table.cursor({ fillCache })).map(show)).toEqual(shown.toReversed());
    }

    // Keys that are there, near ones, and others.
    for (let i = 0; i < 60; i++) {
      const { key } = pick(random, entries);
      const userKey = pick(random, [
        () => key.slice(0, -8),
        () => key.slice(0, -9),
        () => Uint8Array.from([...key.slice(0, -8), below(random, 256)]),
        () => randomBytes(random, below(random, 8)),
      ])();
      const revision = pick(random, [() => someRevision(random, entries), () => Number.MAX_SAFE_INTEGER, () => 0])();
      const answer = expected(entries, userKey, revision);
      expect(got(table, userKey, revision)).toBe(answer);
      if (expected(entries, userKey, Number.MAX_SAFE_INTEGER) !== undefined)
        expect(table.mayContain(userKey)).toBe(true);
    }

    const cursor = table.cursor({ fillCache: random() < 0.5 });
    let at = -1;
    for (let i = 0; i < 200; i++) {
      const step = below(random, 10);
      if (step === 0) {
        cursor.first();
        at = 0;
      } else if (step === 1) {
        cursor.last();
        at = entries.length - 1;
      } else if (step < 4 || at < 0) {
        const near = pick(random, entries).key;
        const userKey = random() < 0.7 ? near.slice(0, -8) : randomBytes(random, below(random, 8));
        const target = makeInternalKey(userKey, someRevision(random, entries), below(random, 2));
        cursor.seek(target, target.length);
        at = entries.findIndex(({ key }) => compareInternal(key, key.length, target, target.length) >= 0);
      } else if (step < 7) {
        cursor.next();
        at = at + 1 < entries.length ? at + 1 : -1;
      } else {
        cursor.prev();
        at--;
      }
      expect(cursor.valid).toBe(at >= 0);
      if (at >= 0) expect(show(here(cursor))).toBe(shown[at]);
    }

    const revisions = entries.map(({ key }) => revisionOf(key, key.length));
    expect(info).toMatchObject({
      entries: entries.length,
      tombstones: shown.filter((text) => text.includes(':0=')).length,
      smallest: entries[0]?.key,
      largest: entries.at(-1)?.key,
      smallestRevision: Math.min(...revisions),
      largestRevision: Math.max(...revisions),
    });
    expect(table.readProperties()).toMatchObject({
      entries: info.entries,
      tombstones: info.tombstones,
      smallestRevision: info.smallestRevision,
      largestRevision: info.largestRevision,
      earliestExpiryMs: info.earliestExpiryMs,
      rawKeyBytes: entries.reduce((sum, { key }) => sum + key.length, 0),
      rawValueBytes: entries.reduce((sum, { value }) => sum + value.length, 0),
    });
    table.close();
    table.close();
  });
});
