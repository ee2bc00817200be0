/** The linearizability checker: against the definition, against the literature, and on large histories. */
import { describe, expect, test } from 'vitest';
import type { Random } from '../../src/core/base/env.ts';
import {
  checkLinearizable,
  type HistoryEvent,
  type Json,
  type Operation,
  parseHistory,
} from '../../src/testing/index.ts';
import { below, forSeeds, seeded } from '../core/base/seeded.ts';
import { hasOrder } from './brute-force.ts';
import { linearizable, type Shape } from './generate.ts';
import { historyOf, type Line } from './shorthand.ts';

/** Changes what reads saw, so that about half of the histories have no order any more. */
function spoil(random: Random, events: readonly HistoryEvent[], values: number): HistoryEvent[] {
  const spoilt = (value: Json): Json => (random() < 0.8 ? value : random() < 0.2 ? null : below(random, values));
  return events.map((event) => {
    if (event.type !== 'ok') return event;
    if (event.f === 'read') return { ...event, value: spoilt(event.value ?? null) };
    if (event.f !== 'txn') return event;
    const parts = event.value as [string, string, Json][];
    return {
      ...event,
      value: parts.map(([f, k, v]) => (f === 'r' && !Array.isArray(v) ? [f, k, spoilt(v)] : [f, k, v])),
    };
  });
}

describe('against the definition, on small histories', () => {
  const shapes: readonly (readonly [string, Shape])[] = [
    ['one register', { kind: 'register', operations: 7, processes: 3, keys: 1, values: 3 }],
    ['registers with lost answers', { kind: 'register', operations: 7, processes: 4, keys: 2, values: 2, infos: 0.3 }],
    ['many at once', { kind: 'register', operations: 7, processes: 7, keys: 1, values: 3, reads: 0.4, infos: 0.1 }],
    ['transactions', { kind: 'txn', operations: 6, processes: 3, keys: 3, values: 2, infos: 0.2 }],
  ];
  test.each(shapes)('%s: the same verdict', (_name, shape) => {
    const counts = { ok: 0, violation: 0, unknown: 0 };
    forSeeds(1200, (random) => {
      const history = parseHistory(spoil(random, linearizable(random, shape), shape.values ?? 3));
      if (!history.operations.some(({ outcome }) => outcome === 'ok')) return;
      const { verdict } = checkLinearizable(history, { minimise: false });
      counts[verdict]++;
      expect(verdict).toBe(hasOrder(history) ? 'ok' : 'violation');
    });
    expect(Math.min(counts.ok, counts.violation)).toBeGreaterThan(150);
  });
});

describe('from the literature', () => {
  const rows: readonly (readonly [name: string, verdict: 'ok' | 'violation', lines: readonly Line[]])[] = [
    [
      'a read during a write may see the old value',
      'ok',
      [
        [0, 0, 10, 'w1'],
        [1, 1, 2, 'r-'],
        [2, 3, 4, 'r1'],
      ],
    ],
    [
      'and not again, once another has seen the new one',
      'violation',
      [
        [0, 0, 10, 'w1'],
        [1, 1, 2, 'r1'],
        [2, 3, 4, 'r-'],
      ],
    ],
    [
      'a stale read',
      'violation',
      [
        [0, 0, 1, 'w1'],
        [0, 2, 3, 'w2'],
        [1, 4, 5, 'r1'],
      ],
    ],
    [
      'reads that are not monotonic',
      'violation',
      [
        [0, 0, 9, 'w1'],
        [1, 0, 9, 'w2'],
        [2, 10, 11, 'r1'],
        [2, 12, 13, 'r2'],
        [2, 14, 15, 'r1'],
      ],
    ],
    [
      'two readers that see two orders',
      'violation',
      [
        [0, 0, 1, 'w1'],
        [1, 0, 1, 'w2'],
        [2, 2, 3, 'r1'],
        [3, 4, 5, 'r2'],
      ],
    ],
    [
      'Herlihy and Wing, H1: overlapping writes, either order',
      'ok',
      [
        [0, 0, 5, 'w0'],
        [1, 1, 6, 'w1'],
        [0, 7, 8, 'r0'],
      ],
    ],
    [
      'a lost update: two cas from the same value',
      'violation',
      [
        [0, 0, 1, 'w1'],
        [0, 2, 9, 'c1>2'],
        [1, 2, 9, 'c1>3'],
      ],
    ],
    [
      'a cas chain in its only order',
      'ok',
      [
        [0, 0, 9, 'c1>2'],
        [1, 0, 9, 'c2>3'],
        [2, 0, 9, 'w1'],
        [3, 10, 11, 'r3'],
      ],
    ],
    [
      'a write without an answer, that happens much later',
      'ok',
      [
        [0, 0, undefined, 'w1'],
        [1, 1, 2, 'w2'],
        [1, 3, 4, 'r2'],
        [1, 5, 6, 'r1'],
      ],
    ],
    [
      'and happens once',
      'violation',
      [
        [0, 0, undefined, 'w1'],
        [1, 1, 2, 'r1'],
        [1, 3, 4, 'w2'],
        [1, 5, 6, 'r1'],
      ],
    ],
    [
      'which of two lost writes came first',
      'ok',
      [
        [0, 0, undefined, 'w5'],
        [1, 1, undefined, 'c0>5'],
        [2, 2, 3, 'w0'],
        [2, 4, 5, 'r5'],
        [2, 6, 7, 'w3'],
        [2, 8, 9, 'r5'],
      ],
    ],
    [
      'and not before it was asked for',
      'violation',
      [
        [1, 1, 2, 'r1'],
        [0, 3, undefined, 'w1'],
      ],
    ],
    [
      'a value from nowhere',
      'violation',
      [
        [0, 0, 1, 'w1'],
        [1, 2, 3, 'r7'],
      ],
    ],
    [
      'two keys are two registers',
      'ok',
      [
        [0, 0, 1, 'x:w1'],
        [1, 2, 3, 'y:r-'],
        [1, 4, 5, 'x:r1'],
      ],
    ],
    [
      'a list that grows',
      'ok',
      [
        [0, 0, 9, 'a1'],
        [1, 0, 9, 'a2'],
        [2, 3, 8, 'l2'],
        [2, 10, 11, 'l2,1'],
      ],
    ],
    [
      'a list that changes its mind',
      'violation',
      [
        [0, 0, 9, 'a1'],
        [1, 0, 9, 'a2'],
        [2, 3, 8, 'l2'],
        [2, 10, 11, 'l1,2'],
      ],
    ],
    [
      'a list that loses an element',
      'violation',
      [
        [0, 0, 1, 'a1'],
        [1, 2, 3, 'a2'],
        [2, 4, 5, 'l2'],
      ],
    ],
  ];
  test.each(rows)('%s: %s', (_name, verdict, lines) => {
    const history = historyOf(lines);
    expect(hasOrder(history)).toBe(verdict === 'ok');
    expect(checkLinearizable(history).verdict).toBe(verdict);
  });
});

test('a transaction over several keys is one operation', () => {
  const txn = (process: number, type: 'invoke' | 'ok', value: Json): HistoryEvent => ({
    process,
    type,
    f: 'txn',
    value,
  });
  const swap: Json = [
    ['w', 'x', 1],
    ['w', 'y', 1],
  ];
  const halves = (x: Json, y: Json): HistoryEvent[] => [
    txn(0, 'invoke', swap),
    txn(1, 'invoke', [
      ['r', 'x', null],
      ['r', 'y', null],
    ]),
    txn(1, 'ok', [
      ['r', 'x', x],
      ['r', 'y', y],
    ]),
    txn(0, 'ok', swap),
  ];
  expect(checkLinearizable(parseHistory(halves(null, null))).verdict).toBe('ok');
  expect(checkLinearizable(parseHistory(halves(1, 1))).verdict).toBe('ok');
  const torn = checkLinearizable(parseHistory(halves(1, null)));
  expect(torn).toMatchObject({ verdict: 'violation', keys: 2 });
  expect(torn.violation?.keys).toEqual(['"x"', '"y"']);
});

test('the budget ends in unknown, and an empty history too', () => {
  const history = parseHistory(linearizable(seeded(1), { kind: 'register', operations: 200, processes: 8, keys: 1 }));
  expect(checkLinearizable(history)).toMatchObject({
    verdict: 'ok',
    checkedOps: expect.any(Number) as number,
    keys: 1,
  });
  const poor = checkLinearizable(history, { budget: { configurations: 3 } });
  expect(poor).toMatchObject({ verdict: 'unknown', reason: 'the budget ended at 4 configurations of key "k0"' });
  expect(checkLinearizable(history, { budget: { bytes: 1000 } }).verdict).toBe('unknown');
  expect(checkLinearizable(parseHistory([])).verdict).toBe('unknown');
});

describe('large histories', () => {
  const shape: Shape = { kind: 'register', operations: 10_000, processes: 10, keys: 1 };
  test.each([
    ['one key, own values', shape],
    ['one key, few values', { ...shape, values: 5 }],
    ['few reads', { ...shape, reads: 0.05 }],
    ['lost answers', { ...shape, infos: 0.01 }],
    ['lost answers, few values', { ...shape, values: 5, infos: 0.005 }],
    ['many keys', { ...shape, keys: 100, infos: 0.02 }],
    ['transactions', { ...shape, kind: 'txn', keys: 20, values: 5 }],
    ['lists', { ...shape, kind: 'append', operations: 3000, keys: 50 }],
  ] as const)('%s: ok, and a stale read is found', (_name, one) => {
    const events = linearizable(seeded(3), one);
    expect(checkLinearizable(parseHistory(events)).verdict).toBe('ok');
    // Where values come again and outcomes are unknown, the search for what is not there can take any time.
    if (one.kind !== 'register' || ('values' in one && 'infos' in one)) return;
    // A read late in the history that sees a value which nobody ever wrote, or one of long ago.
    const late = events.findLastIndex(({ f, type }) => f === 'read' && type === 'ok');
    const { key } = events[late] ?? {};
    const writes = events.filter((event) => event.f === 'write' && event.type === 'ok' && event.key === key);
    const isOwn = !('values' in one);
    const value = isOwn ? (writes[Math.floor(writes.length / 3)]?.value ?? null) : 99;
    const spoilt = events.map((event, i) => (i === late ? { ...event, value } : event));
    const result = checkLinearizable(parseHistory(spoilt));
    expect(result.verdict).toBe('violation');
    expect(result.violation?.isMinimal).toBe(true);
    expect(result.violation?.operations.length).toBeLessThanOrEqual(4);
  });
});

test('the window is a violation by itself, and needs each of its operations', () => {
  let windows = 0;
  forSeeds(400, (random) => {
    const shape = { kind: 'register', operations: 14, processes: 3, keys: 1, values: 3, infos: 0.05 } as const;
    const history = parseHistory(spoil(random, linearizable(random, shape), 3));
    const { violation } = checkLinearizable(history);
    if (violation === undefined) return;
    windows++;
    const { operations, background, isAnythingFirst, isMinimal } = violation;
    expect(isMinimal).toBe(true);
    const values = isAnythingFirst ? ['null', '0', '1', '2', '99'] : ['null'];
    const isPossible = (kept: readonly Operation[], spares: readonly Operation[]): boolean => {
      const asked = { ...history, operations: kept };
      return values.some((value) => hasOrder(asked, new Map([['"k0"', value]]), spares));
    };
    if (operations.length > 7) return;
    expect(isPossible(operations, background)).toBe(false);
    for (const one of operations) {
      const rest = operations.filter((other) => other !== one);
      expect(rest.length === 0 || isPossible(rest, [...background, one])).toBe(true);
    }
  });
  expect(windows).toBeGreaterThan(150);
});

test('of a good history with one read changed, the window has that read', () => {
  let windows = 0;
  forSeeds(400, (random) => {
    const events = linearizable(random, { kind: 'register', operations: 60, processes: 5, keys: 1, infos: 0.02 });
    const reads = events.flatMap(({ f, type }, i) => (f === 'read' && type === 'ok' ? [i] : []));
    const at = reads[below(random, reads.length)] ?? 0;
    const seen = reads.map((i) => events[i]?.value ?? null);
    const value = seen[below(random, seen.length)] ?? null;
    const history = parseHistory(events.map((event, i) => (i === at ? { ...event, value } : event)));
    const { violation } = checkLinearizable(history);
    if (violation === undefined) return;
    windows++;
    const changed = history.operations.find(({ end }) => end?.at === at);
    expect(violation.operations.map(({ index }) => index)).toContain(changed?.index);
  });
  expect(windows).toBeGreaterThan(150);
});

test('a window reads well', () => {
  const result = checkLinearizable(
    historyOf([
      [0, 0, 1, 'w1'],
      [1, 2, 3, 'w2'],
      [2, 4, 5, 'r1'],
    ]),
  );
  expect(result.violation).toMatchObject({ fromLine: 3, toLine: 6 });
  expect(result.violation?.text.split('\n')).toEqual([
    'key "x": no order of these 2 operations explains what was seen',
    '',
    '  1  |- write 2 -|',
    '  2               |- read 1 -|',
    '',
    '  process 1: write 2 (lines 3 to 4)',
    '  process 2: read 1 (lines 5 to 6)',
    '  (whatever was there at first)',
    '  what was seen was last written, before that, by',
    '  process 0: write 1 (lines 1 to 2)',
  ]);
});
