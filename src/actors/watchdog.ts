/**
 * Watchdog: asks every thread now and then whether its event loop still goes round, and names the one that does not
 * answer: a turn that never ends would otherwise look like a node that is slow.
 *
 * It counts its own ticks and looks at no clock: a process that was stopped for an hour has missed no tick, and nobody is
 * blamed for it.
 */
import { StoreError } from '../core/base/errors.ts';
import type { LogFunction } from './runtime/thread.ts';
import type { ActorName } from './shared.ts';

/** A thread, as it is watched. */
export interface Watched {
  readonly name: ActorName;
  /** It may be ended: nothing is left in doubt by that. */
  readonly isKilled: boolean;
  /** Resolves when its event loop has gone round; rejects when it has ended. */
  ask(): Promise<unknown>;
  kill(reason: StoreError): void;
}

export interface WatchdogBounds {
  readonly tickMs: number;
  /** Ticks without an answer: after so many it is told of, after so many it is ended. */
  readonly reportTicks: number;
  readonly killTicks: number;
}

interface Asked {
  ticks: number;
  isReported: boolean;
}

export class Watchdog {
  readonly #bounds: WatchdogBounds;
  readonly #log: LogFunction;
  readonly #asked = new Map<Watched, Asked>();

  constructor(bounds: WatchdogBounds, log: LogFunction) {
    this.#bounds = bounds;
    this.#log = log;
  }

  /** It was asked, and has not answered for long. */
  isStuck(thread: Watched): boolean {
    return this.#asked.get(thread)?.isReported === true;
  }

  tick(threads: readonly Watched[]): void {
    for (const thread of threads) {
      const asked = this.#asked.get(thread);
      if (asked === undefined) this.#ask(thread);
      else this.#wait(thread, asked);
    }
  }

  #ask(thread: Watched): void {
    const asked: Asked = { ticks: 0, isReported: false };
    this.#asked.set(thread, asked);
    void this.#await(thread, asked);
  }

  async #await(thread: Watched, asked: Asked): Promise<void> {
    try {
      await thread.ask();
      if (asked.isReported) this.#log('info', 'actor.unstuck', { actor: thread.name, ms: this.#ms(asked) });
    } catch {
      // It has ended, which is told elsewhere, or is ending.
    } finally {
      this.#asked.delete(thread);
    }
  }

  #wait(thread: Watched, asked: Asked): void {
    asked.ticks++;
    const { reportTicks, killTicks } = this.#bounds;
    const { name } = thread;
    if (asked.ticks === reportTicks) {
      asked.isReported = true;
      this.#log('error', 'actor.stuck', { actor: name, ms: this.#ms(asked) });
    }
    if (asked.ticks !== killTicks || !thread.isKilled) return;
    const message = `${name} did not answer for ${this.#ms(asked)} ms: a turn of it does not end`;
    thread.kill(new StoreError('ACTOR_STOPPED', message));
  }

  #ms({ ticks }: Asked): number {
    return ticks * this.#bounds.tickMs;
  }
}
