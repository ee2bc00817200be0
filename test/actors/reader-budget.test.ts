import { expect, test } from 'vitest';
import { ReaderBudget } from '../../src/actors/reader-budget.ts';
import { below, forSeeds } from '../core/base/seeded.ts';

test('below half, anybody is handed more; past it, only who holds nothing; at the bound, nobody', () => {
  const budget = new ReaderBudget(100);
  budget.handed(1, 49);
  expect([budget.mayHand(1), budget.mayHand(2)]).toEqual([true, true]);
  budget.handed(1, 1);
  expect([budget.mayHand(1), budget.mayHand(2)]).toEqual([false, true]);
  budget.handed(2, 30);
  expect([budget.mayHand(2), budget.mayHand(3)]).toEqual([false, true]);
  budget.taken(2, 30);
  expect(budget.mayHand(2)).toBe(true);
  budget.handed(3, 50);
  expect([budget.mayHand(2), budget.heldBytes]).toEqual([false, 100]);
  budget.taken(1, 50);
  expect([budget.mayHand(1), budget.mayHand(2), budget.mayHand(3)]).toEqual([true, true, false]);
});

test('nobody takes what was not handed out', () => {
  const budget = new ReaderBudget(100);
  budget.handed(1, 10);
  expect(() => budget.taken(2, 1)).toThrow(/handed out/);
  expect(() => budget.taken(1, 11)).toThrow(/handed out/);
});

test('whoever takes and whoever does not: the bound holds, but for one part', () => {
  forSeeds(50, (random) => {
    const budget = new ReaderBudget(1_000);
    const held = new Map<number, number>();
    for (let step = 0; step < 500; step++) {
      const reader = below(random, 20);
      const has = held.get(reader) ?? 0;
      // The first five never take anything.
      if (random() < 0.5 && budget.mayHand(reader)) {
        const bytes = 1 + below(random, 200);
        budget.handed(reader, bytes);
        held.set(reader, has + bytes);
      } else if (reader >= 5 && has > 0) {
        const bytes = 1 + below(random, has);
        budget.taken(reader, bytes);
        held.set(reader, has - bytes);
      }
      expect(budget.heldBytes).toBe([...held.values()].reduce((sum, bytes) => sum + bytes, 0));
      expect(budget.heldBytes).toBeLessThan(1_000 + 200);
    }
    // Those that do not read have at most half, and a part each: the others are not starved.
    for (const [reader, bytes] of held) if (reader >= 5 && bytes > 0) budget.taken(reader, bytes);
    for (let reader = 5; reader < 20; reader++) expect(budget.mayHand(reader)).toBe(true);
  });
});
