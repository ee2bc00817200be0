/** The share of the gateway's time that goes to readers. */
import { expect, test } from 'vitest';
import { Pace } from '../../src/actors/pace.ts';

/** Rounds of `roundMs` in `slices`, one after the other, for a while: how long a round takes, from its begin to the next. */
function periodMs(roundMs: number, slices: number, forMs: number): number {
  const pace = new Pace();
  let nowMs = 0;
  let rounds = 0;
  let settledMs = 0;
  while (nowMs < forMs) {
    pace.beginRound();
    // What had been saved up is used by then.
    if (rounds === 20) settledMs = nowMs;
    rounds++;
    for (let i = 0; i < slices; i++) {
      nowMs += pace.pauseMs(nowMs);
      nowMs += roundMs / slices;
      pace.took(roundMs / slices);
    }
  }
  return (nowMs - settledMs) / (rounds - 20);
}

test.each([
  [0.1, 1],
  [1, 1],
  [2, 4],
  [6, 6],
])('rounds of %s ms in %s slices take a fifth of the time', (roundMs, slices) => {
  expect(periodMs(roundMs, slices, 20_000)).toBeCloseTo(roundMs * 5, 0);
});

test.each([
  [12, 12],
  [100, 50],
  [1_000, 500],
])('rounds of %s ms take 25 ms longer, however long they are', (roundMs, slices) => {
  expect(periodMs(roundMs, slices, 200_000)).toBeCloseTo(roundMs + 25, 0);
});

test('after a rest a round of twenty milliseconds goes without a pause, and no more', () => {
  const pace = new Pace();
  pace.beginRound();
  expect(pace.pauseMs(0)).toBe(0);
  pace.took(10);
  expect(pace.pauseMs(10)).toBe(0);
  pace.took(9);
  expect(pace.pauseMs(19)).toBe(0);
  pace.beginRound();
  pace.took(25);
  expect(pace.pauseMs(29)).toBeGreaterThan(1);
  // However long the rest was.
  expect(pace.pauseMs(100_000)).toBe(0);
  pace.took(25);
  expect(pace.pauseMs(100_000)).toBeGreaterThan(1);
});
