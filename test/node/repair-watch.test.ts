import { expect, test } from 'vitest';
import { type RepairFacts, RepairWatch, repairState } from '../../src/node/repair-watch.ts';

const status = { role: 'learner', leader: 'n1', committed: 200, applied: 86, lagMs: 40 } as const;
const facts: RepairFacts = { isRepaired: true, status, snapshot: { bytes: 0, received: 0 } };
const with_ = (change: Partial<RepairFacts['status']>): RepairFacts => ({ ...facts, status: { ...status, ...change } });

test.each<[string | undefined, RepairFacts]>([
  ['applies the log: 43 %', facts],
  ['applies the log: 0 %', with_({ committed: 0, applied: 0, lagMs: null })],
  ['applies the log: 100 %', with_({ applied: 200, lagMs: 60_000 })],
  ['waits for a leader', with_({ leader: null })],
  ['receives a snapshot: 12 %', { ...facts, snapshot: { bytes: 1_000, received: 129 } }],
  [undefined, with_({ applied: 200 })],
  [undefined, with_({ role: 'follower' })],
  [undefined, { ...facts, isRepaired: false }],
])('%s', (said, given) => {
  expect(repairState(given)).toBe(said);
});

test('each step is logged once, its end too, and now and then that nothing moves', () => {
  let state: string | undefined = 'waits for a leader';
  let nowMs = 0;
  const lines: string[] = [];
  const log = (level: string, event: string): void => void lines.push(`${level} ${event}`);
  const watch = new RepairWatch({ state: () => state, nowMs: () => nowMs, log });
  watch.look();
  nowMs = 300_000;
  watch.look();
  watch.look();
  state = 'applies the log: 0 %';
  watch.look();
  state = undefined;
  watch.look();
  nowMs = 900_000;
  watch.look();
  watch.stop();
  expect(lines).toEqual(['info repair.progress', 'error repair.stuck', 'info repair.progress', 'info repair.done']);
});
