/**
 * Stall: how writes are held back when tables are not made or merged as fast as they come in.
 *
 * Slow first, stop last: from `l0Slow` tables in level 0 on, a batch waits for as long as its bytes take at a rate that
 * halves with each table more, so that the debt grows more slowly and nobody meets a wall; at `l0Stop`, or when no memtable is free, writes wait until there
 * is room. Each cause is counted with the time it took.
 */
import type { TreeOptions } from '../lsm/tree/options.ts';

export type StallCause = 'level0-slow' | 'level0-stop' | 'memtables';

export interface StallStats {
  /** What holds writes back now. */
  readonly now: StallCause | undefined;
  readonly micros: Readonly<Record<StallCause, number>>;
  readonly count: Readonly<Record<StallCause, number>>;
  /** The longest single wait. */
  readonly longestMicros: number;
}

export interface Pressure {
  readonly frozen: number;
  readonly level0: number;
  readonly canFreeze: boolean;
}

/** What is written per millisecond at `l0Slow` tables; half of it with each table more. */
const SLOW_BYTES_PER_MS = 16_000;
/** Shorter waits are gathered. */
const SLOW_MS = 1;
const SLOW_MS_MAX = 500;

export class Stall {
  readonly #options: TreeOptions;
  readonly #pressure: () => Pressure;
  readonly #micros: Record<StallCause, number> = { 'level0-slow': 0, 'level0-stop': 0, memtables: 0 };
  readonly #count: Record<StallCause, number> = { 'level0-slow': 0, 'level0-stop': 0, memtables: 0 };
  #now: StallCause | undefined;
  #longestMicros = 0;
  #owedMs = 0;

  constructor(options: TreeOptions, pressure: () => Pressure) {
    this.#options = options;
    this.#pressure = pressure;
  }

  /** A batch of `bytes` is to be applied: true when it is to `slowDown` first. */
  owes(bytes: number): boolean {
    const { level0 } = this.#pressure();
    const over = level0 - this.#options.l0Slow;
    if (over < 0) {
      this.#owedMs = 0;
      return false;
    }
    this.#owedMs += (bytes / SLOW_BYTES_PER_MS) * 2 ** over;
    return this.#owedMs >= SLOW_MS;
  }

  /** Waits for what is owed. */
  slowDown(): Promise<void> {
    const owedMs = Math.min(SLOW_MS_MAX, this.#owedMs);
    this.#owedMs = 0;
    return this.#waiting('level0-slow', () => new Promise((resolve) => setTimeout(resolve, owedMs)));
  }

  /** Waits until a memtable may be frozen; `change` resolves when it is worth another look, `check` may throw. */
  async stopped(change: () => Promise<void>, check: () => void): Promise<void> {
    for (;;) {
      check();
      const cause = this.#stopCause();
      if (cause === undefined) return;
      await this.#waiting(cause, change);
    }
  }

  #stopCause(): StallCause | undefined {
    const { level0, canFreeze } = this.#pressure();
    if (!canFreeze) return 'memtables';
    return level0 >= this.#options.l0Stop ? 'level0-stop' : undefined;
  }

  async #waiting(cause: StallCause, wait: () => Promise<void>): Promise<void> {
    const startedAt = process.hrtime.bigint();
    this.#now = cause;
    try {
      await wait();
    } finally {
      this.#now = undefined;
      const micros = Number((process.hrtime.bigint() - startedAt) / 1000n);
      this.#micros[cause] += micros;
      this.#count[cause]++;
      if (micros > this.#longestMicros) this.#longestMicros = micros;
    }
  }

  stats(): StallStats {
    return {
      now: this.#now,
      micros: { ...this.#micros },
      count: { ...this.#count },
      longestMicros: this.#longestMicros,
    };
  }
}
