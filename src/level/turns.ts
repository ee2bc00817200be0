/**
 * Turns: reads that are answered at once must not keep the event loop for themselves.
 *
 * A read is a call, not a trip to another thread, so `for await` over a million entries would be a million
 * microtasks: no timer, no socket and no AbortSignal would get a word in. Every so many reads one of them therefore
 * waits for a turn of the loop before it gives its answer (which it has: what it saw is what was there at the call).
 * That is a few microseconds for a thousand reads.
 */

/** Reads in one turn; a long value counts as several. */
const BUDGET = 1024;
const BYTES_PER_READ = 256;

export class Turns {
  #spent = 0;

  /** Counts a read. True: wait for `next()` before the answer. */
  spend(bytes: number): boolean {
    this.#spent += 1 + Math.floor(bytes / BYTES_PER_READ);
    return this.#spent >= BUDGET;
  }

  next(): Promise<void> {
    this.#spent = 0;
    return new Promise((resolve) => setImmediate(resolve));
  }
}
