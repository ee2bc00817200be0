/**
 * Lock: one word in shared memory that one thread at a time holds. For the rare thing that two parked threads may
 * both do; a thread with an event loop must not wait on it.
 */
import { assert } from '../../core/base/assert.ts';

const FREE = 0;
const HELD = 1;
/** A bound per look, in case a holder dies: whoever waits looks again, and the node is stopping by then. */
const WAIT_MS_MAX = 1_000;

export class Lock {
  readonly #word: Int32Array;

  constructor(word: Int32Array) {
    this.#word = word;
  }

  tryAcquire(): boolean {
    return Atomics.compareExchange(this.#word, 0, FREE, HELD) === FREE;
  }

  /** Waits for it; false when it was not to be had by the deadline. */
  acquire(deadlineMs: number): boolean {
    const untilMs = performance.now() + deadlineMs;
    while (!this.tryAcquire()) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) return false;
      Atomics.wait(this.#word, 0, HELD, Math.min(leftMs, WAIT_MS_MAX));
    }
    return true;
  }

  get isHeld(): boolean {
    return Atomics.load(this.#word, 0) === HELD;
  }

  release(): void {
    assert(Atomics.exchange(this.#word, 0, FREE) === HELD, 'who releases a lock holds it');
    Atomics.notify(this.#word, 0, 1);
  }
}
