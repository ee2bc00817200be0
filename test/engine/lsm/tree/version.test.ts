import { expect, test } from 'vitest';
import { makeInternalKey } from '../../../../src/engine/lsm/sstable/keys.ts';
import { LEVELS, type TableRef, Version } from '../../../../src/engine/lsm/tree/version.ts';
import { latin } from './sources.ts';

const table = (number: number, from: string, to: string, largestRevision = 9): TableRef => ({
  number,
  fileBytes: number * 10,
  smallest: makeInternalKey(latin(from), 9, 1),
  largest: makeInternalKey(latin(to), 1, 1),
  entries: 1,
  tombstones: 0,
  smallestRevision: 1,
  largestRevision,
  earliestExpiryMs: 0,
});

const numbers = (version: Version, level: number): number[] =>
  (version.levels[level] ?? []).map(({ number }) => number);

test('an edit makes a new version, in order, and leaves the old one as it was', () => {
  const empty = Version.empty();
  const first = empty.apply({
    added: [
      { level: 0, table: table(1, 'a', 'z', 5) },
      { level: 0, table: table(2, 'a', 'z', 8) },
      { level: 3, table: table(4, 'm', 'p') },
      { level: 3, table: table(3, 'a', 'c') },
    ],
    removed: [],
  });
  expect(numbers(first, 0), 'the newest first').toEqual([2, 1]);
  expect(numbers(first, 3), 'in key order').toEqual([3, 4]);
  const second = first.apply({ added: [{ level: 3, table: table(5, 'd', 'e') }], removed: [{ level: 3, number: 3 }] });
  expect(numbers(second, 3)).toEqual([5, 4]);
  expect(numbers(first, 3)).toEqual([3, 4]);
  expect(numbers(empty, 0)).toEqual([]);
  expect(second.levels[0], 'levels without a change are shared').toBe(first.levels[0]);
});

test('tables of level 0 whose newest revisions are equal stand by their numbers', () => {
  const added = [3, 1, 2].map((number) => ({ level: 0, table: table(number, 'a', 'z', 7) }));
  expect(numbers(Version.empty().apply({ added, removed: [] }), 0)).toEqual([3, 2, 1]);
});

test('tables of a deeper level that share a key, and edits that remove what is not there, are refused', () => {
  const version = Version.empty().apply({ added: [{ level: 1, table: table(1, 'c', 'f') }], removed: [] });
  for (const [from, to] of [
    ['a', 'c'],
    ['f', 'z'],
    ['d', 'e'],
    ['a', 'z'],
  ] as const) {
    const edit = { added: [{ level: 1, table: table(2, from, to) }], removed: [] };
    expect(() => version.apply(edit), `${from} to ${to}`).toThrow(/share no key/);
  }
  version.apply({ added: [{ level: 1, table: table(2, 'f\0', 'z') }], removed: [] });
  expect(() => version.apply({ added: [], removed: [{ level: 2, number: 1 }] })).toThrow(
    /removes tables that are there/,
  );
  expect(() => new Version([[]])).toThrow(/seven levels/);
});

test('it finds tables by range, both ends included, and counts their bytes', () => {
  const version = Version.empty().apply({
    added: [table(1, 'a', 'c'), table(2, 'e', 'g'), table(3, 'i', 'k')].map((each) => ({ level: 2, table: each })),
    removed: [],
  });
  const found = (from?: string, to?: string): number[] =>
    version
      .overlapping(2, from === undefined ? undefined : latin(from), to === undefined ? undefined : latin(to))
      .map(({ number }) => number);
  expect(found()).toEqual([1, 2, 3]);
  expect(found('c', 'e')).toEqual([1, 2]);
  expect(found('d', 'd')).toEqual([]);
  expect(found('c\0')).toEqual([2, 3]);
  expect(found(undefined, 'e')).toEqual([1, 2]);
  expect(found('z')).toEqual([]);
  expect(version.bytesOf(2)).toBe(60);
  expect(version.levels).toHaveLength(LEVELS);
  expect([...version.tables()].map(({ level, table: { number } }) => `${level}/${number}`)).toEqual([
    '2/1',
    '2/2',
    '2/3',
  ]);
});
