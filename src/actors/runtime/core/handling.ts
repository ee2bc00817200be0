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

/** A kind's handlers, as they were timed. */
export interface KindHandling {
  readonly kind: string;
  readonly durations: DurationCounts;
}

export class Handling {
  readonly #clock: ActorClock;
  readonly #kinds = new Map<string, Durations>();
  /** The turn whose handler is timed next, if it returns at once; see `Hand.turn`. */
  timedTurn = 1;
  #weight = 1;

  constructor(clock: ActorClock) {
    this.#clock = clock;
  }

  /** Before the handler of `timedTurn` is called: when that is. */
  begin(): number {
    this.timedTurn += EVERY;
    return this.#clock.nowMs();
  }

  /** It has returned, without a promise. */
  returned(kind: string, beganMs: number): void {
    this.#of(kind).add(this.#clock.nowMs() - beganMs, this.#weight);
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
