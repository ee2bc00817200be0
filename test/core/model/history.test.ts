import { expect, test } from 'vitest';
import { History } from '../../../src/core/model/history.ts';

test('what is younger than its age can be read, and not much more', () => {
  const history = new History(10_000, 5);
  expect(history.from).toBe(5);
  for (let second = 0; second < 100; second++) {
    // Ten revisions a second.
    for (let i = 0; i < 10; i++) history.note(10 + second * 10 + i, 1_000_000 + second * 1_000 + i * 100);
    const tenSecondsAgo = 10 + (second - 10) * 10;
    if (second <= 10) expect(history.from).toBeLessThanOrEqual(20);
    else expect(history.from).toBeLessThanOrEqual(tenSecondsAgo);
    if (second > 12) expect(history.from).toBeGreaterThanOrEqual(tenSecondsAgo - 20);
  }
});

test('without an age, only now can be read', () => {
  const history = new History(0, 0);
  history.note(7, 1_000);
  expect(history.from).toBe(7);
});
