import { array, assert, double, property } from 'fast-check';
import { expect, test } from 'vitest';
import { z } from 'zod';
import {
  boundMs,
  bucketOf,
  BUCKETS,
  countOf,
  Durations,
  quantileMs,
  sumOf,
} from '../../../../src/actors/runtime/core/durations.ts';
import { Handling } from '../../../../src/actors/runtime/core/handling.ts';
import { ask, defineActor, tell } from '../../../../src/actors/runtime/index.ts';
import { METER_WORDS, TurnMeter } from '../../../../src/actors/runtime/turn-meter.ts';
import { TestActors } from '../../../../src/testing/index.ts';

const anyMs = double({ min: 0, max: 100_000, noNaN: true });

test('a duration is in the bucket whose bound is the first that is not below it', () => {
  assert(
    property(anyMs, (ms) => {
      const bucket = bucketOf(ms);
      // Bounds are whole microseconds.
      const micros = Math.ceil(ms * 1_000) / 1_000;
      expect(micros).toBeLessThanOrEqual(boundMs(bucket));
      if (bucket > 0) expect(micros).toBeGreaterThan(boundMs(bucket - 1));
    }),
  );
  expect([bucketOf(0), bucketOf(0.001), bucketOf(0.0011), bucketOf(1e12)]).toEqual([0, 0, 1, BUCKETS - 1]);
});

test('a quantile is no less than the true one, and less than twice it', () => {
  assert(
    property(
      array(
        anyMs.map((ms) => 0.002 + ms / 10),
        { minLength: 1, maxLength: 200 },
      ),
      (all) => {
        const durations = new Durations();
        for (const ms of all) durations.add(ms, 1);
        const sorted = all.toSorted((a, b) => a - b);
        const exact = sorted[Math.ceil(sorted.length * 0.99) - 1] as number;
        const said = quantileMs(durations, 0.99) as number;
        expect(said).toBeGreaterThanOrEqual(exact);
        // A whole microsecond is the grain.
        expect(said).toBeLessThan(2 * exact + 0.002);
      },
    ),
  );
  expect(quantileMs(new Durations(), 0.99)).toBeUndefined();
});

test('counts add up, over threads too', () => {
  const [a, b] = [new Durations(), new Durations()];
  a.add(1, 61);
  b.add(2, 1);
  expect(countOf(sumOf([a, b]))).toBe(62);
  expect(sumOf([a, b]).sumMs).toBe(63);
  const meter = new TurnMeter(new BigInt64Array(2 * METER_WORDS), METER_WORDS);
  meter.add(1);
  meter.add(2.5);
  expect([countOf(meter.read()), meter.read().sumMs]).toEqual([2, 3.5]);
});

test('of handlers that return at once the first is timed, and then one in 61, which counts for all of them', () => {
  let clockReads = 0;
  const handling = new Handling({ nowMs: () => ++clockReads, after: () => () => {} });
  for (let turn = 1; turn <= 1 + 61 * 10; turn++) {
    if (turn === handling.timedTurn) handling.returned('add', handling.begin());
  }
  expect(clockReads).toBe(2 * 11);
  expect(countOf(handling.report()[0]?.durations ?? new Durations())).toBe(1 + 61 * 10);
});

test('a handler that throws is not timed, and the next ones are all the same', async () => {
  const actors = new TestActors();
  const odd = defineActor({
    name: 'odd',
    protocol: { add: tell({ by: z.int() }), slow: ask({ ms: z.int() }, z.int()) },
    start: () => ({}),
    on: {
      add() {},
      slow: (_state, { ms }) =>
        new Promise((resolve) => {
          actors.clock.after(ms, () => resolve(ms));
        }),
    },
  });
  const ref = await actors.spawn(odd);
  await actors.run(ref.ask({ kind: 'slow', ms: 300 }));
  await actors.run(ref.ask({ kind: 'slow', ms: 3 }));
  for (let i = 0; i < 200; i++) ref.tell({ kind: 'add', by: 1 });
  await actors.advance(1);
  const [report] = await actors.system.inspect();
  const byKind = Object.fromEntries((report?.handling ?? []).map(({ kind, durations }) => [kind, durations]));
  expect(quantileMs(byKind['slow'] ?? new Durations(), 0.99)).toBe(524.288);
  expect(byKind['slow']?.sumMs).toBe(303);
  expect(countOf(byKind['add'] ?? new Durations())).toBeGreaterThan(100);
  expect(report).toMatchObject({ handled: 202, limits: { messagesMax: 1024 } });
  await actors.stop();
});
