/**
 * Virtual clock: time that passes when a test says so, from timer to timer.
 */
import type { ActorClock } from '../../actors/runtime/core/clock.ts';

interface Timer {
  readonly atMs: number;
  /** Of two at the same time the one that was set first comes first. */
  readonly number: number;
  readonly call: () => void;
  readonly isBackground: boolean;
}

export class VirtualClock implements ActorClock {
  #nowMs = 0;
  #numbers = 0;
  readonly #timers = new Set<Timer>();

  nowMs(): number {
    return this.#nowMs;
  }

  after(pauseMs: number, call: () => void, isBackground = false): () => void {
    const timer = { atMs: this.#nowMs + Math.max(0, pauseMs), number: ++this.#numbers, call, isBackground };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** When the next timer is due; undefined when there is none that somebody waits for. */
  get nextMs(): number | undefined {
    const isWaitedFor = [...this.#timers].some(({ isBackground }) => !isBackground);
    return isWaitedFor ? this.#next?.atMs : undefined;
  }

  /** Goes to the next timer that is due by then and calls it; false when there is none, and it is then. */
  step(untilMs: number): boolean {
    const next = this.#next;
    if (next === undefined || next.atMs > untilMs) {
      this.#nowMs = Math.max(this.#nowMs, untilMs);
      return false;
    }
    this.#timers.delete(next);
    this.#nowMs = Math.max(this.#nowMs, next.atMs);
    next.call();
    return true;
  }

  get #next(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (next === undefined || timer.atMs < next.atMs || (timer.atMs === next.atMs && timer.number < next.number)) {
        next = timer;
      }
    }
    return next;
  }
}
