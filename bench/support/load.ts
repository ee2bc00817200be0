/**
 * Load: callers that each wait for their answer before they ask again (a closed loop), and what they saw.
 *
 * An operation counts when it ended inside the measured window, and its latency when it also began there: what
 * is warm-up is left out at both ends. A failed operation is counted apart, and its caller pauses, so that an
 * outage is not taken for speed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';

export interface LoadPlan {
  readonly inFlight: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  /** One operation of caller `caller`; `n` counts through all of them. */
  readonly operation: (n: number, caller: number) => Promise<unknown>;
  readonly onBegin?: () => void;
  readonly onEnd?: () => void;
}

export interface Percentiles {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

export interface LoadResult extends Percentiles {
  readonly opsPerSecond: number;
  readonly operations: number;
  readonly failures: number;
  readonly firstFailure: string | undefined;
}

const PAUSE_AFTER_FAILURE_MS = 10;
const NS = 1e6;

export function newHistogram(): RecordableHistogram {
  return createHistogram({ lowest: 1, highest: 3_600e9, figures: 3 });
}

export function recordMs(histogram: RecordableHistogram, ms: number): void {
  histogram.record(Math.max(1, Math.round(ms * NS)));
}

export function percentilesOf(histogram: RecordableHistogram): Percentiles {
  const at = (percent: number): number => (histogram.count === 0 ? Number.NaN : histogram.percentile(percent) / NS);
  return { p50Ms: at(50), p99Ms: at(99), p999Ms: at(99.9) };
}

export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const { inFlight, warmupMs, measureMs, operation, onBegin, onEnd } = plan;
  const histogram = newHistogram();
  let next = 0;
  let operations = 0;
  let failures = 0;
  let firstFailure: string | undefined;
  let fromMs = Number.POSITIVE_INFINITY;
  let toMs = Number.POSITIVE_INFINITY;

  const call = async (caller: number): Promise<void> => {
    while (performance.now() < toMs) {
      const beganMs = performance.now();
      try {
        await operation(next++, caller);
      } catch (error) {
        failures++;
        firstFailure ??= error instanceof Error ? error.message : String(error);
        await sleep(PAUSE_AFTER_FAILURE_MS);
        continue;
      }
      const endedMs = performance.now();
      if (endedMs < fromMs || endedMs > toMs) continue;
      operations++;
      if (beganMs >= fromMs) recordMs(histogram, endedMs - beganMs);
    }
  };
  const callers = Array.from({ length: inFlight }, (_, caller) => call(caller));
  await sleep(warmupMs);
  onBegin?.();
  fromMs = performance.now();
  await sleep(measureMs);
  toMs = performance.now();
  onEnd?.();
  await Promise.all(callers);
  return {
    opsPerSecond: (operations / (toMs - fromMs)) * 1000,
    operations,
    failures,
    firstFailure,
    ...percentilesOf(histogram),
  };
}

/** A synchronous operation: `n` counts through the run. */
export type SyncOperation = (n: number) => unknown;

const SLICE_MS = 100;
const CALLS_PER_LOOK = 256;

/**
 * Compares synchronous operations: short slices in turn, so that whatever else the machine does meets them all
 * alike. The rate is the median slice's, without a clock in the loop; latencies come from slices of their own,
 * where each call is timed (and looks about 0.1 µs slower than it is).
 */
export async function compareSync<Name extends string>(
  operations: Readonly<Record<Name, SyncOperation>>,
  options: { readonly seconds: number },
): Promise<Record<Name, LoadResult>> {
  const names = Object.keys(operations) as Name[];
  const rates = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  const histograms = Object.fromEntries(names.map((name) => [name, newHistogram()])) as Record<
    Name,
    RecordableHistogram
  >;
  const counts = Object.fromEntries(names.map((name) => [name, 0])) as Record<Name, number>;
  // Three plain slices to one that is timed; the first round is warm-up.
  const rounds = Math.max(8, Math.ceil((options.seconds * 1000) / SLICE_MS));
  for (let round = -4; round < rounds; round++) {
    for (const name of names) {
      await sleep(0);
      const operation = operations[name];
      if (round >= 0 && round % 4 === 3) timedSlice(operation, counts[name], histograms[name]);
      else {
        const { calls, ms } = slice(operation, counts[name]);
        counts[name] += calls;
        if (round >= 0) rates[name].push((calls / ms) * 1000);
      }
    }
  }
  return Object.fromEntries(
    names.map((name) => {
      const opsPerSecond = median(rates[name]);
      const result: LoadResult = {
        opsPerSecond,
        operations: counts[name],
        failures: 0,
        firstFailure: undefined,
        ...percentilesOf(histograms[name]),
      };
      return [name, result];
    }),
  ) as Record<Name, LoadResult>;
}

function slice(operation: SyncOperation, from: number): { calls: number; ms: number } {
  const beganMs = performance.now();
  let calls = 0;
  let nowMs = beganMs;
  while (nowMs - beganMs < SLICE_MS) {
    for (let i = 0; i < CALLS_PER_LOOK; i++) operation(from + calls + i);
    calls += CALLS_PER_LOOK;
    nowMs = performance.now();
  }
  return { calls, ms: nowMs - beganMs };
}

function timedSlice(operation: SyncOperation, from: number, histogram: RecordableHistogram): void {
  const endMs = performance.now() + SLICE_MS;
  for (let n = from; ; n++) {
    const beganMs = performance.now();
    operation(n);
    const nowMs = performance.now();
    recordMs(histogram, nowMs - beganMs);
    if (nowMs > endMs) return;
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
