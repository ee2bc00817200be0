/** The cycle checker: each anomaly by name, and never more than the definition allows. */
import { describe, expect, test } from 'vitest';
import {
  checkLinearizable,
  checkListAppend,
  type HistoryEvent,
  type Isolation,
  type Json,
  parseHistory,
} from '../../src/testing/index.ts';
import { below, forSeeds, pick } from '../core/base/seeded.ts';
import { hasOrder } from './brute-force.ts';
import { linearizable } from './generate.ts';

type Micro = readonly ['r' | 'append', string, Json];

/** A transaction: when it begins and ends, who did it, how it ended, and what it did. */
interface Txn {
  readonly process: number;
  readonly from: number;
  readonly to: number;
  readonly type?: 'ok' | 'fail' | 'info';
  readonly does: readonly Micro[];
}

function historyOf(txns: readonly Txn[]): ReturnType<typeof parseHistory> {
  const events = txns.flatMap(({ process, from, to, type = 'ok', does }) => {
    const asked = does.map(([f, key, value]): Json => [f, key, f === 'r' ? null : value]);
    const invoke: HistoryEvent = { process, type: 'invoke', f: 'txn', value: asked };
    const end: HistoryEvent = { process, type, f: 'txn', value: does.map((one) => [...one]) };
    return [
      { at: from, event: invoke },
      { at: to, event: end },
    ];
  });
  return parseHistory(events.sort((x, y) => x.at - y.at).map(({ event }) => event));
}

const kinds = (txns: readonly Txn[], isolation: Isolation = 'strict-serializable'): string[] =>
  checkListAppend(historyOf(txns), { isolation }).anomalies.map(({ kind }) => kind);

/** At once, each in its own process. */
const together = (...all: readonly (readonly Micro[])[]): Txn[] =>
  all.map((does, process) => ({ process, from: process, to: 100 + process, does }));

describe('each anomaly has its name', () => {
  const rows: readonly (readonly [kind: string, txns: readonly Txn[], isolation?: Isolation])[] = [
    [
      'G0',
      together(
        [
          ['append', 'x', 1],
          ['append', 'y', 1],
        ],
        [
          ['append', 'x', 2],
          ['append', 'y', 2],
        ],
        [
          ['r', 'x', [1, 2]],
          ['r', 'y', [2, 1]],
        ],
      ),
      'serializable',
    ],
    [
      'G1c',
      together(
        [
          ['append', 'x', 1],
          ['r', 'y', [1]],
        ],
        [
          ['append', 'y', 1],
          ['r', 'x', [1]],
        ],
      ),
      'serializable',
    ],
    [
      'G-single', // Read skew.
      together(
        [
          ['r', 'x', []],
          ['r', 'y', [1]],
        ],
        [
          ['append', 'x', 1],
          ['append', 'y', 1],
        ],
        [['r', 'x', [1]]],
      ),
      'serializable',
    ],
    [
      'G-single', // Lost update: both read the same, both append.
      together(
        [
          ['r', 'x', []],
          ['append', 'x', 1],
        ],
        [
          ['r', 'x', []],
          ['append', 'x', 2],
        ],
        [['r', 'x', [1, 2]]],
      ),
      'serializable',
    ],
    [
      'G2', // Write skew.
      together(
        [
          ['r', 'x', []],
          ['append', 'y', 1],
        ],
        [
          ['r', 'y', []],
          ['append', 'x', 1],
        ],
        [
          ['r', 'x', [1]],
          ['r', 'y', [1]],
        ],
      ),
      'serializable',
    ],
    [
      'G2', // The same, where nobody read what was appended.
      together(
        [
          ['r', 'x', null],
          ['append', 'y', 1],
        ],
        [
          ['r', 'y', null],
          ['append', 'x', 1],
        ],
      ),
      'serializable',
    ],
    [
      'G1a',
      [
        { process: 0, from: 0, to: 1, type: 'fail', does: [['append', 'x', 1]] },
        { process: 1, from: 2, to: 3, does: [['r', 'x', [1]]] },
      ],
    ],
    [
      'G1b',
      together(
        [
          ['append', 'x', 1],
          ['append', 'x', 2],
        ],
        [['r', 'x', [1]]],
      ),
    ],
    [
      'dirty-update',
      [
        { process: 0, from: 0, to: 1, type: 'fail', does: [['append', 'x', 1]] },
        { process: 1, from: 2, to: 3, does: [['append', 'x', 2]] },
        { process: 2, from: 4, to: 5, does: [['r', 'x', [1, 2]]] },
      ],
    ],
    [
      'lost-append',
      [
        { process: 0, from: 0, to: 1, does: [['append', 'x', 1]] },
        { process: 1, from: 2, to: 3, does: [['r', 'x', []]] },
      ],
    ],
    [
      'incompatible-order',
      together([['append', 'x', 1]], [['append', 'x', 2]], [['r', 'x', [1, 2]]], [['r', 'x', [2]]]),
    ],
    ['duplicate-elements', together([['append', 'x', 1]], [['r', 'x', [1, 1]]])],
    ['garbage-read', together([['r', 'x', [7]]])],
    [
      'internal',
      together([
        ['append', 'x', 1],
        ['r', 'x', []],
      ]),
    ],
    [
      'internal', // A read that does not repeat.
      together(
        [
          ['r', 'x', []],
          ['r', 'x', [1]],
        ],
        [['append', 'x', 1]],
      ),
    ],
    [
      'G-single-realtime', // A stale read.
      [
        { process: 0, from: 0, to: 1, does: [['append', 'x', 1]] },
        { process: 1, from: 2, to: 3, does: [['r', 'x', []]] },
        { process: 2, from: 4, to: 5, does: [['r', 'x', [1]]] },
      ],
    ],
    [
      'G-single-process', // A client that does not read its own write.
      [
        { process: 0, from: 0, to: 1, does: [['append', 'x', 1]] },
        { process: 0, from: 2, to: 3, does: [['r', 'x', []]] },
        { process: 2, from: 4, to: 5, does: [['r', 'x', [1]]] },
      ],
      'session-serializable',
    ],
    [
      'G0-realtime',
      [
        { process: 0, from: 0, to: 1, does: [['append', 'x', 1]] },
        { process: 1, from: 2, to: 3, does: [['append', 'x', 2]] },
        { process: 2, from: 4, to: 5, does: [['r', 'x', [2, 1]]] },
      ],
    ],
  ];
  test.each(rows.map(([kind, txns, isolation]) => ({ kind, txns, isolation })))(
    '$kind',
    ({ kind, txns, isolation }) => {
      expect(kinds(txns, isolation)).toContain(kind);
      expect(checkListAppend(historyOf(txns)).verdict).toBe('violation');
    },
  );
});

test('what needs real time is no anomaly where real time is not promised', () => {
  const stale: Txn[] = [
    { process: 0, from: 0, to: 1, does: [['append', 'x', 1]] },
    { process: 0, from: 2, to: 3, does: [['r', 'x', []]] },
    { process: 2, from: 4, to: 5, does: [['r', 'x', [1]]] },
  ];
  expect(kinds(stale, 'serializable')).toEqual([]);
  const other = stale.map((txn, process) => ({ ...txn, process }));
  expect(kinds(other, 'session-serializable')).toEqual([]);
  expect(kinds(other)).toContain('G-single-realtime');
});

test('a cycle is told in words, each step with its reason', () => {
  const [found] = checkListAppend(
    historyOf(
      together(
        [
          ['r', 'x', []],
          ['append', 'y', 1],
        ],
        [
          ['r', 'y', []],
          ['append', 'x', 1],
        ],
      ),
    ),
  ).anomalies;
  expect(found?.kind).toBe('G2');
  expect(found?.text.split('\n')).toEqual([
    'T0 must come before itself:',
    '  T0 → T1: T0 read "x" as [], without 1 that T1 appended',
    '  T1 → T0: T1 read "y" as [], without 1 that T0 appended',
  ]);
});

test('an append of unknown outcome may be there or not', () => {
  const lost: Txn = { process: 0, from: 0, to: 1, type: 'info', does: [['append', 'x', 1]] };
  for (const list of [[], [1]]) {
    expect(kinds([lost, { process: 1, from: 2, to: 3, does: [['r', 'x', list]] }])).toEqual([]);
  }
});

test('without reads nothing is known; what cannot be traced is refused', () => {
  expect(checkListAppend(historyOf(together([['append', 'x', 1]])))).toMatchObject({ verdict: 'unknown' });
  const twice = together([['append', 'x', 1]], [['append', 'x', 1]]);
  expect(() => checkListAppend(historyOf(twice))).toThrow(/line 2 appends append "x" 1, which line 1/);
  const register = parseHistory([{ process: 0, type: 'invoke', f: 'write', key: 'x', value: 1 }]);
  expect(() => checkListAppend(register)).toThrow(/has a write/);
});

/** Takes elements from the ends of lists, swaps them, or forgets an append: what bugs do. */
function spoil(random: () => number, events: readonly HistoryEvent[]): HistoryEvent[] {
  return events.map((event) => {
    if (event.type !== 'ok' || random() < 0.6) return event;
    const parts = event.value as [string, string, Json[] | null][];
    return {
      ...event,
      value: parts.map(([f, key, list]) => {
        if (f !== 'r' || list === null || random() < 0.5) return [f, key, list];
        const way = pick(random, ['shorter', 'swapped']);
        if (way === 'shorter') return [f, key, list.slice(0, below(random, list.length + 1))];
        return [f, key, [...list.slice(0, -2), ...list.slice(-2).reverse()]];
      }),
    };
  });
}

test('against the definition: what is called a violation has no order, and almost all that have none are found', () => {
  let without = 0;
  let missed = 0;
  forSeeds(2000, (random) => {
    const shape = { kind: 'append', operations: 6, processes: 3, keys: 2, infos: 0.1, reads: 0.6 } as const;
    const history = parseHistory(spoil(random, linearizable(random, shape)));
    const { verdict, anomalies } = checkListAppend(history);
    const isPossible = hasOrder(normal(history));
    if (verdict === 'violation') expect([isPossible, anomalies[0]?.text]).toEqual([false, anomalies[0]?.text]);
    if (isPossible) return;
    without++;
    if (verdict !== 'violation') missed++;
  });
  expect(without).toBeGreaterThan(400);
  expect(missed / without).toBeLessThan(0.02);
});

/** An empty list and nothing are the same here. */
function normal(history: ReturnType<typeof parseHistory>): ReturnType<typeof parseHistory> {
  const operations = history.operations.map((operation) => ({
    ...operation,
    parts: operation.parts.map((part) =>
      part.kind === 'read' && Array.isArray(part.value) && part.value.length === 0 ? { ...part, value: null } : part,
    ),
  }));
  return { ...history, operations };
}

test('both checkers agree on lists: of a good store, and of a spoilt one', () => {
  const counts = { ok: 0, violation: 0, unknown: 0 };
  forSeeds(150, (random) => {
    const shape = { kind: 'append', operations: 60, processes: 5, keys: 4, infos: 0.05 } as const;
    const good = linearizable(random, shape);
    expect(checkListAppend(parseHistory(good)).anomalies).toEqual([]);
    expect(checkLinearizable(parseHistory(good)).verdict).toBe('ok');
    const bad = parseHistory(spoil(random, good));
    const { verdict } = checkListAppend(bad);
    if (verdict === 'violation') expect(checkLinearizable(bad, { minimise: false }).verdict).toBe('violation');
    counts[verdict]++;
  });
  expect(counts.violation).toBeGreaterThan(120);
});

test('10 000 transactions take no search', () => {
  forSeeds(1, (random) => {
    const shape = { kind: 'append', operations: 10_000, processes: 10, keys: 400, infos: 0.01 } as const;
    const { verdict, checkedOps } = checkListAppend(parseHistory(linearizable(random, shape)));
    expect({ verdict, checkedOps }).toEqual({ verdict: 'ok', checkedOps: expect.any(Number) as number });
  });
});
