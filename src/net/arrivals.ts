/**
 * Arrivals: clients at the door, let in one after the other.
 *
 * When a node or a network comes back, all its clients come at once, and to greet one takes about a millisecond: a thousand
 * of them are a second in which nobody's put gets on. So after each that was let in the door waits three times as long as
 * the event loop then took to go round, with all that it had to do besides. Who comes alone does not wait. Who has waited for
 * WAIT_MS_MAX, half of what clients give a handshake, is let in with the next few, and the loop goes round between.
 *
 * Bound: those who wait are sockets that the server has taken, and it takes no more than connections and handshakes may be.
 */

const TOGETHER = 1;
const LATE_TOGETHER = 8;
const PAUSE_PER_ROUND = 3;
const PAUSE_MS_MAX = 20;
export const WAIT_MS_MAX = 1_500;

/** The event loop, for tests to be without. */
export interface ArrivalsWorld {
  readonly monotonicMs: () => number;
  /** Behind everything that waits now. */
  readonly nextRound: (work: () => void) => void;
  readonly later: (delayMs: number, work: () => void) => void;
}

const REAL_WORLD: ArrivalsWorld = {
  monotonicMs: () => performance.now(),
  // One for the sockets' events, one for what these have left to the next round.
  nextRound: (work) => void setImmediate(() => setImmediate(work)),
  later: (delayMs, work) => void setTimeout(work, delayMs),
};

export class Arrivals {
  readonly #world: ArrivalsWorld;
  #waiting: { readonly letIn: () => void; readonly untilMs: number }[] = [];
  #isResting = false;

  readonly #onWaiting: (count: number) => void;

  /** `onWaiting` is told how many wait, whenever that has changed. */
  constructor(onWaiting: (count: number) => void = () => {}, world: ArrivalsWorld = REAL_WORLD) {
    this.#world = world;
    this.#onWaiting = onWaiting;
  }

  /** `letIn` is called now, or when it is its turn. */
  add(letIn: () => void): void {
    this.#waiting.push({ letIn, untilMs: this.#world.monotonicMs() + WAIT_MS_MAX });
    if (this.#isResting) this.#onWaiting(this.#waiting.length);
    else this.#letSomeIn();
  }

  /** Nobody is to wait any longer: the server is closed, and tells them. */
  close(): void {
    for (const { letIn } of this.#waiting.splice(0)) letIn();
  }

  #letSomeIn(): void {
    const beganMs = this.#world.monotonicMs();
    const isLate = (this.#waiting[0]?.untilMs ?? Number.POSITIVE_INFINITY) <= beganMs;
    const some = this.#waiting.splice(0, isLate ? LATE_TOGETHER : TOGETHER);
    this.#onWaiting(this.#waiting.length);
    for (const { letIn } of some) letIn();
    this.#isResting = true;
    this.#world.nextRound(() => {
      const tookMs = this.#world.monotonicMs() - beganMs;
      this.#world.later(isLate ? 0 : Math.min(PAUSE_MS_MAX, PAUSE_PER_ROUND * tookMs), () => {
        this.#isResting = false;
        if (this.#waiting.length > 0) this.#letSomeIn();
      });
    });
  }
}
