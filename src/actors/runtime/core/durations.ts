/**
 * Durations: how long something took, as counts in buckets: powers of two from a microsecond to a minute. A count is all
 * that a duration leaves behind, so they can be added up over actors and threads, and a quantile read from them is right
 * to a factor of two: it is said as "no longer than".
 *
 *   bucket   0      1      2      …  26       27
 *   up to    1 µs   2 µs   4 µs      67 s     for ever
 */

export const BUCKETS = 28;

/** As plain data: counts by bucket, and all durations together. */
export interface DurationCounts {
  readonly counts: readonly number[];
  readonly sumMs: number;
}

export const NO_DURATIONS: DurationCounts = { counts: [], sumMs: 0 };

export function bucketOf(ms: number): number {
  const micros = Math.ceil(ms * 1_000);
  if (micros <= 1) return 0;
  // Past 2^31 µs clz32 sees another number.
  if (micros >= 2 ** 30) return BUCKETS - 1;
  return Math.min(BUCKETS - 1, 32 - Math.clz32(micros - 1));
}

/** The longest duration that a bucket counts, in ms. */
export const boundMs = (bucket: number): number =>
  bucket >= BUCKETS - 1 ? Number.POSITIVE_INFINITY : 2 ** bucket / 1_000;

export class Durations implements DurationCounts {
  readonly counts: number[] = Array.from({ length: BUCKETS }, () => 0);
  sumMs = 0;

  /** Notes one that stands for `weight` of its kind. */
  add(ms: number, weight: number): void {
    const bucket = bucketOf(ms);
    this.counts[bucket] = (this.counts[bucket] as number) + weight;
    this.sumMs += ms * weight;
  }
}

export function sumOf(parts: readonly DurationCounts[]): DurationCounts {
  const counts = Array.from({ length: BUCKETS }, () => 0);
  let sumMs = 0;
  for (const part of parts) {
    part.counts.forEach((count, i) => {
      counts[i] = (counts[i] ?? 0) + count;
    });
    sumMs += part.sumMs;
  }
  return { counts, sumMs };
}

export const countOf = ({ counts }: DurationCounts): number => counts.reduce((sum, count) => sum + count, 0);

/** No more than 1 − `part` of them took longer than this many ms; undefined: there are none. */
export function quantileMs(durations: DurationCounts, part: number): number | undefined {
  const wanted = countOf(durations) * part;
  if (wanted === 0) return undefined;
  let seen = 0;
  for (const [bucket, count] of durations.counts.entries()) {
    seen += count;
    // Of what is past the last bound nothing more is known.
    if (seen >= wanted) return boundMs(Math.min(bucket, BUCKETS - 2));
  }
  return boundMs(BUCKETS - 2);
}
