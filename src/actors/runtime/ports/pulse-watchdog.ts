/**
 * Pulse watchdog: asks every thread now and then whether its event loop still goes round, and names the one that does not
 * answer: a turn that never ends would otherwise look like a node that is slow.
 *
 * It counts its own ticks and looks at no clock: a process that was stopped for an hour has missed no tick, and nobody is
 * blamed for it.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { LogFunction } from '../thread.ts';

/** A thread, as it is watched. */
export interface Watched {
  readonly name: string;
  /** It may be ended: nothing is left in doubt by that. */
  readonly isKilledWhenStuck: boolean;
  /** Kept here: it was asked, and has not answered for long. */
  isStuck: boolean;
  /** Resolves when its event loop has gone round; rejects when it has ended. */
  pulse(): Promise<unknown>;
  endByForce(reason: StoreError): void;
}

export interface PulseBounds {
  readonly tickMs: number;
  /** Ticks without an answer: after so many it is told of, after so many it is ended. */
  readonly reportTicks: number;
  readonly killTicks: number;
}

interface Asked {
  ticks: number;
}

export class PulseWatchdog {
  readonly #bounds: PulseBounds;
  readonly #log: LogFunction;
  readonly #asked = new Map<Watched, Asked>();

  constructor(bounds: PulseBounds, log: LogFunction) {
    this.#bounds = bounds;
    this.#log = log;
  }

  tick(threads: readonly Watched[]): void {
    for (const thread of threads) {
      const asked = this.#asked.get(thread);
      if (asked === undefined) this.#ask(thread);
      else this.#wait(thread, asked);
    }
  }

  #ask(thread: Watched): void {
    const asked: Asked = { ticks: 0 };
    this.#asked.set(thread, asked);
    void this.#await(thread, asked);
  }

  async #await(thread: Watched, asked: Asked): Promise<void> {
    try {
      await thread.pulse();
      if (thread.isStuck) this.#log('info', 'actor.unstuck', { actor: thread.name, ms: this.#ms(asked) });
    } catch {
      // It has ended, which is told elsewhere, or is ending.
    } finally {
      thread.isStuck = false;
      this.#asked.delete(thread);
    }
  }

  #wait(thread: Watched, asked: Asked): void {
    asked.ticks++;
    const { reportTicks, killTicks } = this.#bounds;
    const { name } = thread;
    if (asked.ticks === reportTicks) {
      thread.isStuck = true;
      this.#log('error', 'actor.stuck', { actor: name, ms: this.#ms(asked) });
    }
    if (asked.ticks !== killTicks || !thread.isKilledWhenStuck) return;
    const message = `${name} did not answer for ${this.#ms(asked)} ms: a turn of it does not end`;
    thread.endByForce(new StoreError('ACTOR_STOPPED', message));
  }

  #ms({ ticks }: Asked): number {
    return ticks * this.#bounds.tickMs;
  }
}
