/** Watches and replicas against the committed log: what is good passes, and each fault breaks the promise that it is. */
import { describe, expect, test } from 'vitest';
import type { Random } from '../../src/core/base/env.ts';
import {
  type Change,
  checkLdb,
  checkWatch,
  CommittedLog,
  type CommittedRevision,
  type LdbObservation,
  type WatchObservation,
} from '../../src/testing/index.ts';
import { below, forSeeds, seeded } from '../core/base/seeded.ts';

const put = (key: string, value: string): Change => ({ kind: 'put', key, value });
const log = new CommittedLog([
  { revision: 1, changes: [put('a', '1')] },
  { revision: 2, changes: [put('a', '2'), put('b', '2')] },
  { revision: 3, changes: [] },
  { revision: 4, changes: [{ kind: 'delete', key: 'a' }] },
  { revision: 5, changes: [put('b', '5'), put('c', '5'), put('other', '5')] },
]);

const event = (revision: number, place: number, isLast?: boolean): WatchObservation => {
  const change = log.revisions[revision - 1]?.changes[place];
  if (change === undefined) throw new Error('no such change');
  return { kind: 'event', revision, change, ...(isLast === undefined ? {} : { isLast }) };
};
const start = (from?: number): WatchObservation => ({ kind: 'start', ...(from === undefined ? {} : { from }) });
const progress = (revision: number): WatchObservation => ({ kind: 'progress', revision });
const all = [event(1, 0), event(2, 0), event(2, 1), event(4, 0), event(5, 0), event(5, 1), event(5, 2)];

describe('a watch', () => {
  const good: readonly (readonly [string, readonly WatchObservation[], (string | undefined)?, number?])[] = [
    ['that saw all', [start(1), ...all, progress(5)], undefined, 5],
    ['that began in the midst', [start(), ...all.slice(1)], undefined, 5],
    ['that began again, from where it was', [start(1), ...all.slice(0, 2), start(2), ...all.slice(1)], undefined, 5],
    ['that went on', [start(1), ...all.slice(0, 2), { kind: 'resume', from: 2 }, ...all.slice(1)], undefined, 5],
    ['of one key', [start(1), event(1, 0, true), event(2, 0, true), progress(3), event(4, 0, true)], 'a', 5],
    ['with a mark that is old', [start(1), ...all.slice(0, 3), progress(1), ...all.slice(3)], undefined, 5],
    ['that was refused', [start(1), { kind: 'compacted', oldest: 3 }, start(3), ...all.slice(3)], undefined, 5],
    ['that has not seen the end yet', [start(1), ...all.slice(0, 2)]],
  ];
  test.each(good.map(([name, observations, key, upTo]) => ({ name, observations, key, upTo })))(
    '$name is fine',
    ({ observations, key, upTo }) => {
      const options = { ...(key === undefined ? {} : { key }), ...(upTo === undefined ? {} : { upTo }) };
      expect(checkWatch(log, observations, options).breaches).toEqual([]);
    },
  );

  const bad: readonly (readonly [string, readonly WatchObservation[], number?])[] = [
    ['Ordered', [start(1), event(2, 0), event(2, 1), event(1, 0)]],
    ['Ordered', [start(1), event(1, 0), event(2, 1), event(2, 0)]],
    ['Unique', [start(1), event(1, 0), event(1, 0)]],
    ['Reliable', [start(1), event(1, 0), event(4, 0)]],
    ['Reliable', [start(1), ...all.slice(0, 4)], 5],
    ['Atomic', [start(1), event(1, 0), event(2, 0), event(4, 0)]],
    ['Atomic', [start(1), event(1, 0), event(2, 1), event(4, 0)]],
    ['Atomic', [start(1), event(1, 0), event(2, 0, true), event(2, 1)]],
    ['Atomic', [start(1), ...all.slice(0, 6)], 5],
    ['Resumable', [start(1), ...all.slice(0, 3), start(3), event(5, 0)]],
    ['Resumable', [start(1), event(1, 0), { kind: 'resume', from: 3 }, event(4, 0)]],
    ['Resumable', [start(4), event(2, 0)]],
    ['Resumable', [start(3), { kind: 'compacted', oldest: 2 }]],
    ['Bookmarkable', [start(1), event(1, 0), progress(2)]],
    ['Bookmarkable', [start(1), progress(0), event(1, 0), progress(1), progress(0)]],
    ['Bookmarkable', [start(1), ...all, progress(9)]],
    ['Faithful', [start(1), { kind: 'event', revision: 1, change: put('a', 'x') }]],
    ['Faithful', [start(1), { kind: 'event', revision: 9, change: put('a', '1') }]],
  ];
  test.each(bad.map(([guarantee, observations, upTo]) => ({ guarantee, observations, upTo })))(
    '$guarantee is broken by $observations',
    ({ guarantee, observations, upTo }) => {
      const { verdict, breaches } = checkWatch(log, observations, upTo === undefined ? {} : { upTo });
      expect(verdict).toBe('violation');
      expect(new Set(breaches.map((breach) => breach.guarantee))).toEqual(new Set([guarantee]));
    },
  );

  test('that saw nothing proves nothing', () => {
    expect(checkWatch(log, [start(1)])).toMatchObject({ verdict: 'unknown', checked: 0 });
  });
});

function randomLog(random: Random): CommittedLog {
  const revisions = Array.from({ length: 20 }, (_, i): CommittedRevision => {
    const changes = Array.from({ length: below(random, 4) }, (_, j) => put(`k${below(random, 3)}`, `${i}.${j}`));
    return { revision: (i + 1) * 2, changes };
  });
  return new CommittedLog(revisions);
}

/** What a good watch tells, with marks and new beginnings. */
function watched(random: Random, log: CommittedLog): WatchObservation[] {
  const out: WatchObservation[] = [start(1)];
  for (const { revision, changes } of log.revisions) {
    for (const [i, change] of changes.entries()) {
      out.push({ kind: 'event', revision, change, isLast: i === changes.length - 1 });
    }
    if (random() < 0.2) out.push(progress(revision));
    if (random() < 0.2) out.push({ kind: 'resume', from: revision + 1 });
  }
  return out;
}

test('a watch by chance passes; with one event left out, twice or moved it never does', () => {
  forSeeds(300, (random) => {
    const log = randomLog(random);
    const good = watched(random, log);
    expect(checkWatch(log, good, { upTo: log.last }).breaches).toEqual([]);
    const events = good.flatMap(({ kind }, i) => (kind === 'event' ? [i] : []));
    const at = events[below(random, events.length)] ?? 0;
    const one = good[at];
    const without = good.filter((_, i) => i !== at);
    expect(checkWatch(log, without, { upTo: log.last }).verdict).toBe('violation');
    if (one === undefined) return;
    expect(checkWatch(log, good.toSpliced(at, 0, one), { upTo: log.last }).verdict).toBe('violation');
    const to = (at + 1 + below(random, good.length - 1)) % good.length;
    const moved = without.toSpliced(to, 0, one);
    const isMoved =
      JSON.stringify(moved.filter(({ kind }) => kind === 'event')) !==
      JSON.stringify(good.filter(({ kind }) => kind === 'event'));
    if (isMoved) expect(checkWatch(log, moved, { upTo: log.last }).verdict).toBe('violation');
  });
});

describe('a replica', () => {
  const rows = (entries: Record<string, string>): ReadonlyMap<string, string> => new Map(Object.entries(entries));
  test('that follows the log is fine', () => {
    const observations: LdbObservation[] = [
      { kind: 'opened', revision: 0 },
      { kind: 'applied', revision: 1, changes: log.revisions[0]?.changes ?? [] },
      { kind: 'read', revision: 1, key: 'a', value: '1' },
      { kind: 'applied', revision: 2 },
      { kind: 'state', revision: 2, rows: rows({ a: '2', b: '2' }) },
      { kind: 'opened', revision: 2 },
      { kind: 'snapshot', revision: 4 },
      { kind: 'read', revision: 4, key: 'a', value: undefined },
      { kind: 'applied', revision: 5 },
      { kind: 'state', revision: 5, rows: rows({ b: '5', c: '5', other: '5' }) },
    ];
    expect(checkLdb(log, observations)).toEqual({ verdict: 'ok', checked: 10, breaches: [] });
  });

  test.each<readonly [string, readonly LdbObservation[]]>([
    [
      'Ordered',
      [
        { kind: 'read', revision: 2, key: 'a', value: '2' },
        { kind: 'read', revision: 1, key: 'a', value: '1' },
      ],
    ],
    [
      'Ordered',
      [
        { kind: 'opened', revision: 4 },
        { kind: 'snapshot', revision: 2 },
      ],
    ],
    ['Ordered', [{ kind: 'applied', revision: 2, changes: [put('b', '2'), put('a', '2')] }]],
    [
      'Unique',
      [
        { kind: 'opened', revision: 2 },
        { kind: 'applied', revision: 2 },
      ],
    ],
    [
      'Reliable',
      [
        { kind: 'opened', revision: 2 },
        { kind: 'applied', revision: 4 },
      ],
    ],
    ['Reliable', [{ kind: 'read', revision: 2, key: 'a', value: '1' }]],
    ['Reliable', [{ kind: 'state', revision: 4, rows: rows({ a: '2', b: '2' }) }]],
    ['Atomic', [{ kind: 'applied', revision: 2, changes: [put('a', '2')] }]],
    ['Atomic', [{ kind: 'state', revision: 2, rows: rows({ a: '2' }) }]],
    [
      'Resumable',
      [
        { kind: 'opened', revision: 4 },
        { kind: 'opened', revision: 2 },
      ],
    ],
    ['Bookmarkable', [{ kind: 'read', revision: 1, key: 'a', value: '2' }]],
    ['Bookmarkable', [{ kind: 'state', revision: 1, rows: rows({ a: '2', b: '2' }) }]],
    ['Faithful', [{ kind: 'read', revision: 1, key: 'a', value: 'x' }]],
    ['Faithful', [{ kind: 'state', revision: 2, rows: rows({ a: '2', b: '2', ghost: '1' }) }]],
    ['Faithful', [{ kind: 'applied', revision: 1, changes: [put('z', '1')] }]],
  ])('%s is broken by %j', (guarantee, observations) => {
    const { verdict, breaches } = checkLdb(log, observations);
    expect(verdict).toBe('violation');
    expect(breaches.map((breach) => breach.guarantee)).toEqual([guarantee]);
  });
});

test('a log that does not rise is refused', () => {
  expect(
    () =>
      new CommittedLog([
        { revision: 2, changes: [] },
        { revision: 2, changes: [] },
      ]),
  ).toThrow(/revision 2 after 2/);
  expect(randomLog(seeded(1)).last).toBe(40);
});
