import { describe, expect, test } from 'vitest';
import { deathBy, mayComeBack, Restarts } from '../../src/actors/restarts.ts';
import { type ActorName, Shared } from '../../src/actors/shared.ts';
import { RESTARTS } from '../../src/actors/topology.ts';
import { walDoubt } from '../../src/actors/wal-doubt.ts';
import { StoreError } from '../../src/core/base/errors.ts';

function world(random = 0) {
  let nowMs = 0;
  const restarts = new Restarts({ monotonicMs: () => nowMs, random: () => random });
  const dies = (actor: ActorName): number => restarts.note(deathBy(actor, new Error('of a bug')));
  const pass = (ms: number): void => {
    nowMs += ms;
  };
  return { restarts, dies, pass };
}

test('the first restart is at once, later ones wait, longer each time, jittered, up to a bound', () => {
  const [least, most] = [world(0), world(1)];
  const pauses = (at: ReturnType<typeof world>): number[] => [1, 2, 3, 4, 5].map(() => at.dies('memtable'));
  expect(pauses(least)).toEqual([0, 25, 50, 100, 200]);
  expect(pauses(most)).toEqual([0, 50, 100, 200, 400]);
});

test('one death too many within the span is the last; the reason is told', () => {
  const { dies, restarts } = world();
  for (let i = 0; i < RESTARTS.restartsMax; i++) dies('memtable');
  expect(() => dies('memtable')).toThrow('memtable died 6 times within 30 s; the last: memtable: of a bug');
  // Each has its own count.
  expect(dies('shipper')).toBe(0);
  expect(Object.fromEntries(restarts.counts)).toEqual({ memtable: RESTARTS.restartsMax, shipper: 1 });
});

test('deaths that lie far apart are forgotten', () => {
  const { dies, pass } = world();
  for (let i = 0; i < 50; i++) {
    expect(dies('compactor')).toBe(0);
    pass(RESTARTS.withinMs);
  }
});

test('only what has no code of its own comes back', () => {
  expect(mayComeBack(deathBy('memtable', new TypeError('x is not a function')))).toBe(true);
  expect(mayComeBack(deathBy('memtable', new StoreError('ACTOR_STOPPED', 'memtable ended (code 1)')))).toBe(true);
  for (const code of ['DISK_FAILED', 'TABLE_CORRUPT', 'WAL_CORRUPT', 'DIVERGED', 'DIR_FOREIGN'] as const) {
    expect(mayComeBack(deathBy('memtable', new StoreError(code, 'so it is')))).toBe(false);
  }
});

describe('the log is in doubt', () => {
  const at = (change: (shared: Shared) => void): Shared => {
    const shared = new Shared();
    shared.set('loggedLsn', 7);
    shared.set('syncedLsn', 7);
    change(shared);
    return shared;
  };

  test.each<[string, (shared: Shared) => void, string | undefined, string | undefined]>([
    ['nothing is under way', () => {}, undefined, undefined],
    ['a write is', (shared) => shared.set('walBusy', 1), 'a write of the log was under way', undefined],
    [
      'a sync is',
      (shared) => void shared.syncLock.tryAcquire(),
      'a sync of the log was under way',
      'a sync of the log was under way',
    ],
    [
      'a sync has failed',
      (shared) => shared.set('walFailed', 1),
      'a sync of the log has failed',
      'a sync of the log has failed',
    ],
    [
      'something is not synced',
      (shared) => shared.set('loggedLsn', 9),
      '2 records of the log were written and not synced',
      '2 records of the log were written and not synced',
    ],
  ])('%s', (_what, change, ofCommitter, ofSyncer) => {
    expect([walDoubt(at(change), 'wal-committer'), walDoubt(at(change), 'syncer')]).toEqual([ofCommitter, ofSyncer]);
  });
});
