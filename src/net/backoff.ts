/**
 * Backoff: how long to wait before trying again. Doubles up to a bound, and jitters over the whole span ("full
 * jitter"), so that many who lost the same peer do not come back at the same moment.
 */
import type { Random } from '../core/base/env.ts';

export class Backoff {
  readonly #minMs: number;
  readonly #maxMs: number;
  readonly #random: Random;
  #attempts = 0;

  constructor(options: { readonly minMs: number; readonly maxMs: number; readonly random: Random }) {
    this.#minMs = options.minMs;
    this.#maxMs = options.maxMs;
    this.#random = options.random;
  }

  next(): number {
    const spanMs = Math.min(this.#maxMs, this.#minMs * 2 ** this.#attempts);
    this.#attempts++;
    return this.#minMs + Math.floor(this.#random() * spanMs);
  }

  /** It worked: the next failure begins from the shortest wait. */
  reset(): void {
    this.#attempts = 0;
  }
}
