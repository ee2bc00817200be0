import { expect, test } from 'vitest';
import { compareInternal, revisionOf } from '../../../../src/engine/lsm/sstable/keys.ts';
import { MergeCursor } from '../../../../src/engine/lsm/tree/merge.ts';
import { below, forSeeds } from '../../../core/base/seeded.ts';
import { ArrayCursor, backward, byKey, forward, type Row, row, someRows, someTarget, toldRow } from './sources.ts';

const merge = (...sources: readonly (readonly Row[])[]): MergeCursor =>
  new MergeCursor(sources.map((rows) => new ArrayCursor(rows)));

/** All rows in one list: by key, then revision down; of one key and revision, those of the first source first. */
function sorted(sources: readonly (readonly Row[])[]): Row[] {
  const isSame = (a: Row, b: Row): boolean =>
    Buffer.compare(a.key.subarray(0, -8), b.key.subarray(0, -8)) === 0 &&
    revisionOf(a.key, a.key.length) === revisionOf(b.key, b.key.length);
  return sources
    .flatMap((rows, rank) => rows.map((each) => ({ ...each, rank })))
    .sort((a, b) => (isSame(a, b) ? a.rank - b.rank : byKey(a, b)));
}

test('sources are given as one list, forward and backward', () => {
  forSeeds(150, (random) => {
    const sources = Array.from({ length: below(random, 5) }, () => someRows(random, below(random, 25), 12));
    const all = sorted(sources).map(toldRow);
    const cursor = merge(...sources);
    cursor.first();
    expect(forward(cursor)).toEqual(all);
    cursor.last();
    expect(backward(cursor)).toEqual(all.toReversed());
  });
});

test('a seek stands at the first key that is not before its target, and one backward at the last that is', () => {
  forSeeds(150, (random) => {
    const sources = Array.from({ length: below(random, 5) }, () => someRows(random, below(random, 25), 12));
    const all = sorted(sources);
    const cursor = merge(...sources);
    for (let i = 0; i < 10; i++) {
      const target = someTarget(random, 12);
      const isBehind = ({ key }: Row): boolean => compareInternal(key, key.length, target, target.length) >= 0;
      cursor.seek(target, target.length);
      expect(forward(cursor)).toEqual(all.filter(isBehind).map(toldRow));
      cursor.seekBefore(target, target.length);
      expect(backward(cursor)).toEqual(
        all
          .filter((each) => !isBehind(each))
          .map(toldRow)
          .toReversed(),
      );
    }
  });
});

// A batch larger than a memtable writes a key on both sides of where the memtable ended.
test('of one key at one revision the first source comes first, be it a put or a tombstone', () => {
  for (const [newer, older] of [
    [row('k', 5), row('k', 5, 'old')],
    [row('k', 5, 'new'), row('k', 5)],
    [row('k', 5, 'new'), row('k', 5, 'old')],
  ] as const) {
    const cursor = merge([row('a', 9, 'a'), newer], [older, row('k', 4, 'older')]);
    const all = [row('a', 9, 'a'), newer, older, row('k', 4, 'older')].map(toldRow);
    cursor.first();
    expect(forward(cursor)).toEqual(all);
    cursor.last();
    expect(backward(cursor), 'backward, where the last one wins, it comes last').toEqual(all.toReversed());
  }
});

test('without sources, or with empty ones, it is at its end', () => {
  for (const cursor of [merge(), merge([], [])]) {
    cursor.first();
    expect(cursor.valid).toBe(false);
    cursor.last();
    expect(cursor.valid).toBe(false);
  }
});
