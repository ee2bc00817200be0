/**
 * Counts: what one thread did with a cache, added to the totals of all threads when some hundred have come together:
 * the totals are on a line that all of them would fight for.
 */
export interface CacheCounts {
  readonly hits: number;
  readonly misses: number;
  readonly puts: number;
  /** Puts that did not get the lock. */
  readonly rejected: number;
}

const COUNTS_MAX = 256;

/** In words of 64 bits, behind the words of the ring. */
const HITS = 16;
const MISSES = HITS + 1;
const PUTS = HITS + 2;
const REJECTED = HITS + 3;

export class Counts {
  readonly #totals: BigInt64Array;
  hits = 0;
  misses = 0;
  puts = 0;
  rejected = 0;
  /** Since they were added to the totals. */
  uncounted = 0;

  /** `header`: the first words of the cache's memory. */
  constructor(header: BigInt64Array) {
    this.#totals = header;
  }

  /** One more is going to be counted. */
  next(): void {
    if (this.uncounted >= COUNTS_MAX) this.#add();
    this.uncounted++;
  }

  /** Over all threads; other threads' newest few hundred are not in them yet. */
  totals(): CacheCounts {
    this.#add();
    return {
      hits: Number(Atomics.load(this.#totals, HITS)),
      misses: Number(Atomics.load(this.#totals, MISSES)),
      puts: Number(Atomics.load(this.#totals, PUTS)),
      rejected: Number(Atomics.load(this.#totals, REJECTED)),
    };
  }

  #add(): void {
    Atomics.add(this.#totals, HITS, BigInt(this.hits));
    Atomics.add(this.#totals, MISSES, BigInt(this.misses));
    Atomics.add(this.#totals, PUTS, BigInt(this.puts));
    Atomics.add(this.#totals, REJECTED, BigInt(this.rejected));
    this.hits = 0;
    this.misses = 0;
    this.puts = 0;
    this.rejected = 0;
    this.uncounted = 0;
  }
}
