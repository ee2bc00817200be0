/**
 * Silence: notices that a ledger's stream, which is listened to, brings nothing.
 *
 * A leader writes its clock every second, so such a stream is one of a node that gets nothing: it was removed, or waits to be
 * added, or is wiped and not let in, and still hears who leads. (The SDK leaves nodes that know no leader.) Or nobody leads:
 * then all are silent, and going round must not cost much. So it is as patient as the SDK is with a node without a leader.
 */
import type { Random } from '../core/base/env.ts';
import { StoreError } from '../core/base/errors.ts';

export interface SilenceWorld {
  readonly sleep: (delayMs: number, signal: AbortSignal) => Promise<void>;
  readonly monotonicMs: () => number;
  readonly random: Random;
}

/** Twice that at random. */
const SILENT_MS = 30_000;
const LOOK_EVERY_MS = 1_000;

/** Notices that a stream, which is listened to, brings nothing. */
export class Silence {
  readonly #world: SilenceWorld;
  readonly #over = new AbortController();
  readonly #patienceMs: number;
  #sinceMs: number;
  #isListening = true;
  /** Why the stream was left, if it was. */
  reason: StoreError | undefined;

  constructor(world: SilenceWorld, leave: () => void) {
    this.#world = world;
    this.#patienceMs = SILENT_MS * (1 + world.random());
    this.#sinceMs = world.monotonicMs();
    void this.#watch(leave);
  }

  /** Something came, and is worked on. */
  heard(): void {
    this.#isListening = false;
  }

  listens(): void {
    this.#isListening = true;
    this.#sinceMs = this.#world.monotonicMs();
  }

  end(): void {
    this.#over.abort();
  }

  async #watch(leave: () => void): Promise<void> {
    const { signal } = this.#over;
    for (;;) {
      await this.#world.sleep(LOOK_EVERY_MS, signal);
      if (signal.aborted) return;
      if (!this.#isListening || this.#world.monotonicMs() - this.#sinceMs < this.#patienceMs) continue;
      const seconds = Math.round(this.#patienceMs / 1000);
      this.reason = new StoreError('UNAVAILABLE', `the ledger stream brought nothing for ${seconds} s`);
      leave();
      return;
    }
  }
}
