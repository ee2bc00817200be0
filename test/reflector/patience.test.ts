import { expect, test } from 'vitest';
import { Patience } from '../../src/reflector/patience.ts';

const STALE_MS = 30_000;

test('an upstream is left when the data has been old for so long, and not while it gets younger', () => {
  const patience = new Patience(STALE_MS, 2);
  patience.begin({ lagMs: 600_000, nowMs: 0 });
  // It catches up: ten seconds of the log in each second.
  for (let nowMs = 0, lagMs = 600_000; lagMs > 0; nowMs += 1_000, lagMs -= 9_000) {
    expect(patience.isOver({ lagMs, nowMs })).toBe(false);
  }
  // It has lost its own upstream: the lag grows with time.
  expect(patience.isOver({ lagMs: 29_000, nowMs: 100_000 })).toBe(false);
  expect(patience.isOver({ lagMs: 31_000, nowMs: 102_000 })).toBe(false);
  expect(patience.isOver({ lagMs: 58_000, nowMs: 129_000 })).toBe(false);
  expect(patience.isOver({ lagMs: 59_001, nowMs: 130_000 })).toBe(true);
});

test('a snapshot on its way in is progress; one that stands still is none', () => {
  const patience = new Patience(STALE_MS, 2);
  const lagMs = Number.POSITIVE_INFINITY;
  patience.begin({ lagMs, nowMs: 0 });
  patience.moved(25_000);
  expect(patience.isOver({ lagMs, nowMs: 50_000 })).toBe(false);
  expect(patience.isOver({ lagMs, nowMs: 55_000 })).toBe(true);
});

test('where nobody is better it goes round more and more slowly, and at once again behind a fresh one', () => {
  const patience = new Patience(STALE_MS, 2);
  let nowMs = 0;
  const waits = Array.from({ length: 14 }, () => {
    const beganMs = nowMs;
    patience.begin({ lagMs: 60_000, nowMs });
    while (!patience.isOver({ lagMs: 60_000, nowMs })) nowMs += 10_000;
    return (nowMs - beganMs) / STALE_MS;
  });
  expect(waits.map(Math.round)).toEqual([1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16]);
  patience.begin({ lagMs: 60_000, nowMs });
  expect(patience.isOver({ lagMs: 100, nowMs })).toBe(false);
  expect(patience.isOver({ lagMs: 31_000, nowMs: nowMs + 31_000 })).toBe(true);
});
