/**
 * TruncationGate: up to where the log may be forgotten, when several consumers read it.
 *
 * Each consumer says the last index that it no longer needs: a tree what is flushed, a replica what is shipped. The
 * log may lose what all of them have said. A consumer that is known and has said nothing keeps everything.
 *
 * Invariants:
 *  - A consumer's watermark never goes back.
 *  - The gate's value is the least of them; 0, so nothing may go, when there is none.
 */
import { assert } from '../../core/base/assert.ts';
import { type Index, toIndex } from '../../core/base/position.ts';

export class TruncationGate {
  readonly #marks = new Map<string, Index>();

  constructor(consumers: readonly string[] = []) {
    for (const consumer of consumers) this.#marks.set(consumer, toIndex(0));
  }

  /** `consumer` needs nothing up to `index` any more. One that was not known is one more to wait for. */
  advance(consumer: string, index: Index): void {
    const before = this.#marks.get(consumer) ?? 0;
    assert(index >= before, `a watermark never goes back (${consumer}: ${index} after ${before})`);
    this.#marks.set(consumer, index);
  }

  /** Everything up to here may go. */
  get value(): Index {
    let least: Index | undefined;
    for (const index of this.#marks.values()) {
      if (least === undefined || index < least) least = index;
    }
    return least ?? toIndex(0);
  }

  /** The furthest that any consumer has come: what one has taken is not reverted. */
  get highest(): Index {
    let most = toIndex(0);
    for (const index of this.#marks.values()) {
      if (index > most) most = index;
    }
    return most;
  }

  /** Who keeps how much, by name. */
  inspect(): Record<string, number> {
    return Object.fromEntries(this.#marks);
  }
}
