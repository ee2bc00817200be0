/**
 * Turn meter: how many turns an actor has had, and how long they took, in memory that all threads see. A turn takes all
 * that waits, so this costs a message nothing.
 *
 *   words   one for each bucket (core/durations.ts) · microseconds in all        64 bits each
 *
 * One writer: who has the turns.
 */
import { bucketOf, BUCKETS, type DurationCounts } from './core/durations.ts';

/** Words of 64 bits of one meter. */
export const METER_WORDS: number = BUCKETS + 1;

export class TurnMeter {
  readonly #words: BigInt64Array;
  readonly #at: number;

  constructor(words: BigInt64Array, at: number) {
    this.#words = words;
    this.#at = at;
  }

  add(ms: number): void {
    Atomics.add(this.#words, this.#at + bucketOf(ms), 1n);
    Atomics.add(this.#words, this.#at + BUCKETS, BigInt(Math.round(ms * 1_000)));
  }

  read(): DurationCounts {
    const counts = Array.from({ length: BUCKETS }, (_, i) => Number(Atomics.load(this.#words, this.#at + i)));
    return { counts, sumMs: Number(Atomics.load(this.#words, this.#at + BUCKETS)) / 1_000 };
  }
}
