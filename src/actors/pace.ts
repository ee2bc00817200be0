/**
 * Pace: how much of the gateway's time goes to feeding readers.
 *
 * A fifth of it, and what was not used of it for a while, so that a lone write is shown to all at once. Who has so many
 * readers that a round would take more than PAUSE_MS_MAX longer than its own work gives them more: what pacing adds to the
 * time until all of them see a write is bounded, whatever their number.
 *
 * It reckons with how long the sending took by the clock, so that it gives way to whoever else uses the cores.
 */

const SHARE = 0.2;
const PAUSE_MS_MAX = 25;
/** What can be saved up: a round of a thousand readers. */
const SAVED_MS_MAX = 20;
/** Shorter ones are none: timers are no finer. */
const PAUSE_MS_MIN = 1;

export class Pace {
  /** Time that may be used now; below 0: that has been used in advance. */
  #savedMs = SAVED_MS_MAX;
  #lookedMs: number | undefined;
  #roundMs = 0;
  #lastRoundMs = 0;

  beginRound(): void {
    this.#lastRoundMs = this.#roundMs;
    this.#roundMs = 0;
  }

  /** Sending took so long. */
  took(ms: number): void {
    this.#savedMs -= ms;
    this.#roundMs += ms;
  }

  /** How long to wait before more is sent; 0: not at all. */
  pauseMs(nowMs: number): number {
    const share = this.#share;
    this.#savedMs = Math.min(SAVED_MS_MAX, this.#savedMs + (nowMs - (this.#lookedMs ?? nowMs)) * share);
    this.#lookedMs = nowMs;
    const pauseMs = -this.#savedMs / share;
    return pauseMs < PAUSE_MS_MIN ? 0 : pauseMs;
  }

  get #share(): number {
    const roundMs = Math.max(this.#lastRoundMs, this.#roundMs);
    return Math.max(SHARE, roundMs / (roundMs + PAUSE_MS_MAX));
  }
}
