/** The linearizability checker: against the definition, against the literature, and on large histories. */
import { describe, expect, test } from 'vitest';
import type { Random } from '../../src/core/base/env.ts';
import { checkLinearizable, type HistoryEvent, type Json, parseHistory } from '../../src/testing/index.ts';
import { below, forSeeds } from '../core/base/seeded.ts';
import { hasOrder } from './brute-force.ts';
import { linearizable, type Shape } from './generate.ts';

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
    forSeeds(1500, (random) => {
      const history = parseHistory(spoil(random, linearizable(random, shape), shape.values ?? 3));
      if (!history.operations.some(({ outcome }) => outcome === 'ok')) return;
      const { verdict } = checkLinearizable(history, { minimise: false });
      counts[verdict]++;
      expect(verdict).toBe(hasOrder(history) ? 'ok' : 'violation');
    });
    expect(Math.min(counts.ok, counts.violation)).toBeGreaterThan(200);
  });
});
