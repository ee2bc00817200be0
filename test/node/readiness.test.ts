import { expect, test } from 'vitest';
import { type ReadinessFacts, readinessOf } from '../../src/node/readiness.ts';

const status = { role: 'follower', leader: 'n1', committed: 20_000, applied: 20_000, lagMs: 40 } as const;
const facts: ReadinessFacts = {
  isHealthy: true,
  status,
  own: { id: 'n4', mesh: 'h:7424', client: 'ws://h:7414', http: 'h:7434' },
  isOpen: true,
  isStopping: false,
};
const with_ = (change: Partial<ReadinessFacts['status']>): ReadinessFacts => ({
  ...facts,
  status: { ...status, ...change },
});

test('a node that is well, open, led and up to date is ready', () => {
  expect(readinessOf(facts)).toEqual({ ok: true, checks: { health: 'ok', leader: 'n1', applied: '20000 of 20000' } });
  expect(readinessOf(with_({ lagMs: 3_600_000 })).ok, 'a voter may be idle').toBe(true);
  expect(readinessOf(with_({ applied: 10_001 })).ok).toBe(true);
  expect(readinessOf(with_({ role: 'learner' })).ok, 'so is a learner').toBe(true);
});

test.each<[string, ReadinessFacts, object]>([
  ['ill', { ...facts, isHealthy: false }, { health: 'not healthy' }],
  ['not open', { ...facts, isOpen: false }, { clients: 'not yet' }],
  ['stopping', { ...facts, isStopping: true }, { stopping: 'yes' }],
  ['without a leader', with_({ leader: null }), { leader: 'none known' }],
  ['behind', with_({ applied: 10_000 }), { applied: '10000 of 20000' }],
  [
    'a learner that is fed',
    with_({ role: 'learner', lagMs: 5_001 }),
    { learner: 'catching up: its state is 5001 ms old' },
  ],
  ['a voter without anything', with_({ committed: 0, applied: 0, lagMs: null }), { state: 'it has no state yet' }],
  ['a learner without anything', with_({ role: 'learner', lagMs: null }), { learner: 'it has no state yet' }],
  [
    'a node that waits to be added',
    with_({ role: 'learner', leader: null, lagMs: null }),
    {
      leader: 'none known',
      learner:
        'no leader speaks to it: it waits to be added (kvctl member add n4 --mesh h:7424 --client ws://h:7414 --http h:7434), or was removed',
    },
  ],
])('one that is %s is not, and says so', (_what, given, checks) => {
  const said = readinessOf(given);
  expect(said.ok).toBe(false);
  expect(said.checks).toMatchObject(checks);
});
