/**
 * Watchdog: names handlers that do not return. It looks now and then, so that messages pay nothing for it.
 *
 * A handler that waits for something that never comes is found here. One that never gives its thread back cannot be
 * found by that thread; for actors in other threads the main thread looks (threads/threads.ts).
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { LogFunction } from '../thread.ts';
import type { ActorClock } from './clock.ts';
import type { WatchdogOptions, WatchdogPolicy } from './types.ts';

export interface WatchedCell {
  readonly path: string;
  readonly busy: { readonly kind: string; readonly forMs: number } | undefined;
  fail(error: unknown): void;
}

export interface WatchdogWorld {
  readonly cells: () => readonly WatchedCell[];
  readonly escalate: (error: StoreError) => void;
}

const LIMIT_MS = 10_000;
const LOOKS_PER_LIMIT = 4;

export const watchdogRules = (options: WatchdogOptions = {}): { limitMs: number; policy: WatchdogPolicy } => ({
  limitMs: options.limitMs ?? LIMIT_MS,
  policy: options.policy ?? 'report',
});

export class Watchdog {
  readonly #clock: ActorClock;
  readonly #log: LogFunction;
  readonly #world: WatchdogWorld;
  readonly #limitMs: number;
  readonly #policy: WatchdogPolicy;
  /** Told already. */
  readonly #told = new WeakMap<WatchedCell, number>();
  #cancel: () => void = () => {};

  constructor(clock: ActorClock, log: LogFunction, options: WatchdogOptions | undefined, world: WatchdogWorld) {
    this.#clock = clock;
    this.#log = log;
    this.#world = world;
    const { limitMs, policy } = watchdogRules(options);
    this.#limitMs = limitMs;
    this.#policy = policy;
    this.#again();
  }

  stop(): void {
    this.#cancel();
  }

  #again(): void {
    this.#cancel = this.#clock.after(this.#limitMs / LOOKS_PER_LIMIT, () => this.#look(), true);
  }

  #look(): void {
    this.#again();
    for (const cell of this.#world.cells()) {
      const { busy } = cell;
      if (busy === undefined || busy.forMs < this.#limitMs) this.#told.delete(cell);
      else this.#stuck(cell, busy.kind, busy.forMs);
    }
  }

  #stuck(cell: WatchedCell, kind: string, forMs: number): void {
    const before = this.#told.get(cell);
    // The same handler, still: once is enough.
    if (before !== undefined && forMs > before) return;
    this.#told.set(cell, forMs);
    this.#log('error', 'actor.stuck', { path: cell.path, kind, forMs: Math.round(forMs), policy: this.#policy });
    const error = new StoreError(
      'DEADLINE_EXCEEDED',
      `${cell.path} did not return from ${kind} in ${this.#limitMs} ms`,
      {
        data: { path: cell.path, kind },
      },
    );
    if (this.#policy === 'restart') cell.fail(error);
    else if (this.#policy === 'escalate') this.#world.escalate(error);
  }
}
