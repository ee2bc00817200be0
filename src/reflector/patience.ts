/**
 * Patience: has this upstream had its chance?
 *
 * Left is one through which the cluster has been old for `staleAfterMs`, and which did not catch up meanwhile: somebody
 * else may be better. What is measured is the age of the data, the same at every hop, so a relay that stands and has lost
 * its own upstream is left like a dead one. Rows of a snapshot count as catching up.
 *
 * Where nobody is better (the cluster is down; this host's clock is ahead) going round helps nobody: each whole round of
 * upstreams that were left for this doubles the patience, up to sixteen times.
 */
export interface Look {
  /** Age of the data; Infinity while there is none. */
  readonly lagMs: number;
  /** By the monotonic clock. */
  readonly nowMs: number;
}

const ROUNDS_MAX = 4;
/** A lag that shrinks by less is noise. */
const BETTER_MS = 1_000;

export class Patience {
  readonly #staleAfterMs: number;
  readonly #upstreams: number;
  /** Upstreams left for this, one after the other, with none that was fresh in between. */
  #left = 0;
  #bestMs = Number.POSITIVE_INFINITY;
  #betterMs = 0;

  constructor(staleAfterMs: number, upstreams: number) {
    this.#staleAfterMs = staleAfterMs;
    this.#upstreams = upstreams;
  }

  /** Another upstream, or the same again. */
  begin({ lagMs, nowMs }: Look): void {
    this.#bestMs = lagMs;
    this.#betterMs = nowMs;
  }

  /** Rows of a snapshot have come. */
  moved(nowMs: number): void {
    this.#betterMs = nowMs;
  }

  /** True: leave it. */
  isOver({ lagMs, nowMs }: Look): boolean {
    if (lagMs <= this.#staleAfterMs) this.#left = 0;
    if (lagMs <= this.#staleAfterMs || lagMs < this.#bestMs - BETTER_MS) {
      this.#bestMs = lagMs;
      this.#betterMs = nowMs;
      return false;
    }
    const rounds = Math.min(ROUNDS_MAX, Math.floor(this.#left / this.#upstreams));
    if (nowMs - this.#betterMs < this.#staleAfterMs * 2 ** rounds) return false;
    this.#left++;
    return true;
  }
}
