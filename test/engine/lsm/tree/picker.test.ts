import { expect, test } from 'vitest';
import type { Random } from '../../../../src/core/base/env.ts';
import { compareBytes } from '../../../../src/core/base/bytes.ts';
import { makeInternalKey } from '../../../../src/engine/lsm/sstable/keys.ts';
import { treeOptions } from '../../../../src/engine/lsm/tree/options.ts';
import {
  type CompactionPlan,
  levelTargets,
  pickCompaction,
  type PickerInput,
  scores,
} from '../../../../src/engine/lsm/tree/picker.ts';
import { LEVELS, type TableRef, Version } from '../../../../src/engine/lsm/tree/version.ts';
import { below, forSeeds, pick } from '../../../core/base/seeded.ts';
import { latin } from './sources.ts';

const KIB = 1024;
const OPTIONS = treeOptions({ levelBaseBytes: 100 * KIB, levelMultiplier: 10, l0Compact: 4 });

let numbers = 0;
function table(from: string, to: string, more: Partial<TableRef> = {}): TableRef {
  return {
    number: ++numbers,
    fileBytes: KIB,
    smallest: makeInternalKey(latin(from), 9, 1),
    largest: makeInternalKey(latin(to), 1, 1),
    entries: 10,
    tombstones: 0,
    smallestRevision: 1,
    largestRevision: 9,
    earliestExpiryMs: 0,
    ...more,
  };
}

function version(levels: Readonly<Record<number, readonly TableRef[]>>): Version {
  return new Version(Array.from({ length: LEVELS }, (_, level) => levels[level] ?? []));
}

const input = (
  levels: Readonly<Record<number, readonly TableRef[]>>,
  more: Partial<PickerInput> = {},
): PickerInput => ({
  version: version(levels),
  options: OPTIONS,
  trims: [],
  expiredBeforeMs: 0,
  floor: 100,
  ...more,
});

const told = (plan: CompactionPlan | undefined): unknown =>
  plan && {
    reason: plan.reason,
    to: plan.outputLevel,
    tables: plan.inputs.map(({ level, table: { number } }) => `${level}/${number}`),
    isMove: plan.isMove,
  };

test('levels have sizes from the bottom up, and none above the base', () => {
  const sizes = (bytes: number): unknown =>
    levelTargets(version({ 6: [table('a', 'b', { fileBytes: bytes })] }), OPTIONS);
  expect(sizes(1)).toEqual({ base: 6, bytes: [0, 0, 0, 0, 0, 0, Number.POSITIVE_INFINITY] });
  expect(sizes(100 * KIB)).toMatchObject({ base: 6 });
  expect(sizes(101 * KIB)).toEqual({ base: 5, bytes: [0, 0, 0, 0, 0, 10.1 * KIB, Number.POSITIVE_INFINITY] });
  expect(sizes(1001 * KIB)).toMatchObject({
    base: 4,
    bytes: [0, 0, 0, 0, 10.01 * KIB, 100.1 * KIB, expect.anything()],
  });
  expect(sizes(1e15)).toMatchObject({ base: 1 });
});

test('an empty tree, and one that has just been merged, want nothing', () => {
  expect(pickCompaction(input({}))).toBeUndefined();
  expect(pickCompaction(input({ 6: [table('a', 'b'), table('c', 'd')] }))).toBeUndefined();
  expect(pickCompaction(input({ 0: [table('a', 'b'), table('a', 'b'), table('a', 'b')] }))).toBeUndefined();
});

test('level 0 goes, whole, into the base with what it overlaps there', () => {
  const top = Array.from({ length: 4 }, () => table('d', 'f'));
  const [a, b, c] = [table('a', 'c'), table('f', 'g'), table('x', 'z')];
  expect(told(pickCompaction(input({ 0: top, 6: [a, b, c] })))).toEqual({
    reason: 'level-0',
    to: 6,
    tables: [...top.map(({ number }) => `0/${number}`), `6/${b.number}`],
    isMove: false,
  });
});

test('level 0 never passes over a level that holds anything: what lies there is older', () => {
  const top = Array.from({ length: 4 }, () => table('d', 'f'));
  const between = table('x', 'z');
  const options = treeOptions({ levelBaseBytes: 1024 * KIB * KIB });
  const plan = pickCompaction(input({ 0: top, 3: [between], 6: [table('a', 'z')] }, { options }));
  // Its level has no size, so it goes first.
  expect(told(plan)).toMatchObject({ reason: 'size', tables: [expect.stringMatching(/^3\//)], to: 4, isMove: true });
  const trickle = pickCompaction(input({ 0: top.slice(0, 1), 6: [] }, { options: { ...options, l0Compact: 1 } }));
  expect(told(trickle), 'a single table is moved').toMatchObject({ reason: 'level-0', to: 6, isMove: true });
});

test('of a level that is too large the table goes that overlaps least below', () => {
  const lower = [table('a', 'c', { fileBytes: 900 * KIB }), table('m', 'n', { fileBytes: 100 * KIB })];
  const upper = [table('a', 'b', { fileBytes: 60 * KIB }), table('k', 'm', { fileBytes: 60 * KIB })];
  expect(told(pickCompaction(input({ 5: upper, 6: lower })))).toEqual({
    reason: 'size',
    to: 6,
    tables: [`5/${upper[1]?.number}`, `6/${lower[1]?.number}`],
    isMove: false,
  });
});

test('tables that hold nothing but what is trimmed go without being read', () => {
  const trims = [{ prefix: latin('L'), belowRevision: 10 }];
  const [gone, newer, wider] = [
    table('La', 'Lz', { largestRevision: 9 }),
    table('La', 'Lz', { largestRevision: 10 }),
    table('K', 'Lz', { largestRevision: 1 }),
  ];
  expect(told(pickCompaction(input({ 0: [gone, newer, wider] }, { trims })))).toMatchObject({
    reason: 'trim',
    tables: [`0/${gone.number}`],
  });
  expect(pickCompaction(input({ 0: [newer, wider] }, { trims }))).toBeUndefined();
});

test('tables of many tombstones, and of values that have expired, are written again once nobody needs them', () => {
  const deleted = table('a', 'b', { tombstones: 5 });
  expect(told(pickCompaction(input({ 6: [deleted] })))).toMatchObject({ reason: 'tombstones', to: 6, isMove: false });
  expect(pickCompaction(input({ 6: [deleted] }, { floor: 8 }))).toBeUndefined();
  expect(pickCompaction(input({ 6: [table('a', 'b', { tombstones: 4 })] }))).toBeUndefined();
  const expiring = table('a', 'b', { earliestExpiryMs: 50 });
  expect(told(pickCompaction(input({ 6: [expiring] }, { expiredBeforeMs: 51 })))).toMatchObject({
    reason: 'expired',
    isMove: false,
  });
  expect(pickCompaction(input({ 6: [expiring] }, { expiredBeforeMs: 50 }))).toBeUndefined();
  expect(pickCompaction(input({ 6: [expiring] }, { expiredBeforeMs: 51, floor: 8 }))).toBeUndefined();
});

/** A version by chance: tables that overlap in level 0, and disjoint ones below. */
function someVersion(random: Random): Version {
  const letters = 'abcdefghijklmnopqrstuvwxyz';
  const levels: TableRef[][] = Array.from({ length: LEVELS }, () => []);
  for (let level = 0; level < LEVELS; level++) {
    if (random() < 0.4) continue;
    for (let at = 0; at < 25; at += 1 + below(random, 6)) {
      const end = level === 0 ? 25 : Math.min(25, at + below(random, 4));
      const made = table(letters[at] as string, letters[end] as string, {
        fileBytes: 1 + below(random, 500 * KIB),
        tombstones: pick(random, [0, 0, 0, 9]),
        earliestExpiryMs: pick(random, [0, 0, 5, 500]),
        largestRevision: 1 + below(random, 200),
      });
      levels[level]?.push(made);
      at = end;
    }
  }
  levels[0]?.sort((a, b) => b.largestRevision - a.largestRevision || b.number - a.number);
  return new Version(levels);
}

test('whatever there is, a plan is one that may be carried out, and following plans comes to an end', () => {
  forSeeds(60, (random) => {
    const options = treeOptions({
      levelBaseBytes: pick(random, [1, 10 * KIB, 1024 * KIB]),
      levelMultiplier: pick(random, [2, 10]),
      l0Compact: pick(random, [1, 4]),
    });
    let now = someVersion(random);
    for (let step = 0; ; step++) {
      expect(step, 'plans come to an end').toBeLessThan(3000);
      const plan = pickCompaction({ version: now, options, trims: [], expiredBeforeMs: 50, floor: 100 });
      if (plan === undefined) break;
      expect(plan.inputs.length).toBeGreaterThan(0);
      const tables = plan.inputs.map((each) => each.table);
      const first = tables.reduce((least, each) => (compareBytes(each.smallest, least.smallest) < 0 ? each : least));
      const last = tables.reduce((most, each) => (compareBytes(each.largest, most.largest) > 0 ? each : most));
      for (let level = plan.level + 1; level < plan.outputLevel; level++) {
        expect(now.overlapping(level, undefined, undefined), 'it passes over empty levels only').toEqual([]);
      }
      const result = {
        ...first,
        number: ++numbers,
        largest: last.largest,
        fileBytes: tables.reduce((sum, each) => sum + each.fileBytes, 0),
        largestRevision: Math.max(...tables.map((each) => each.largestRevision)),
        // What may be purged was.
        ...(plan.isMove ? {} : { tombstones: 0, earliestExpiryMs: 0 }),
      };
      // A version that breaks its invariants is refused by its constructor.
      now = now.apply({
        added: [{ level: plan.outputLevel, table: plan.isMove ? first : result }],
        removed: plan.inputs.map(({ level, table: { number } }) => ({ level, number })),
      });
    }
    for (const [level, score] of scores(now, options).entries()) {
      expect(score, `level ${level} is within its size`).toBeLessThan(1);
    }
  });
});
