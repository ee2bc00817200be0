/**
 * Handling: how long one actor's handlers take, by kind.
 *
 * A clock costs more than a small message does. So of handlers that return at once one in EVERY is timed, and counts for
 * all of them (a prime, so that it falls into step with nobody's pattern); the first one always is, so that an actor that
 * gets few shows something. Handlers that give a promise have waited anyway: each of them is timed.
 */
import type { ActorClock } from './clock.ts';
import { type DurationCounts, Durations } from './durations.ts';

const EVERY = 61;
const UNTIMED = -1;

/** A kind's handlers, as they were timed. */
export interface KindHandling {
  readonly kind: string;
  readonly durations: DurationCounts;
}

export class Handling {
  readonly #clock: ActorClock;
  readonly #kinds = new Map<string, Durations>();
  #left = 1;
  #weight = 1;

  constructor(clock: ActorClock) {
    this.#clock = clock;
  }

  /** Before a handler is called: when that is, if it is timed. */
  begin(): number {
    if (--this.#left > 0) return UNTIMED;
    this.#left = EVERY;
    return this.#clock.nowMs();
  }

  /** It has returned, with a promise or without. */
  returned(kind: string, beganMs: number, isOpen: boolean): void {
    if (beganMs === UNTIMED) return;
    if (!isOpen) this.#of(kind).add(this.#clock.nowMs() - beganMs, this.#weight);
    this.#weight = EVERY;
  }

  /** Its promise is settled, which it gave at `sinceMs`. */
  settled(kind: string, sinceMs: number): void {
    this.#of(kind).add(this.#clock.nowMs() - sinceMs, 1);
  }

  report(): KindHandling[] {
    return Array.from(this.#kinds, ([kind, { counts, sumMs }]) => ({
      kind,
      durations: { counts: [...counts], sumMs },
    }));
  }

  #of(kind: string): Durations {
    let durations = this.#kinds.get(kind);
    if (durations === undefined) {
      durations = new Durations();
      this.#kinds.set(kind, durations);
    }
    return durations;
  }
}
