/**
 * Bell: wakes a thread that has something to do. Two words per actor, in shared memory.
 *
 *   0 how often it was rung · 1 whether its owner sleeps
 *
 * The sleeper reads the bell, does its turn, and sleeps only if the bell has not been rung since: nothing is
 * missed between looking and sleeping. Who rings wakes only a sleeper: Atomics.notify takes a lock of the whole
 * process, and a busy actor needs none. An actor with an event loop (sockets) sleeps with waitAsync; one without
 * parks its thread in Atomics.wait, which wakes in about 5 µs.
 *
 * Invariant: an owner that sleeps has said so before it last looked at the count; a ringer looks whether it
 * sleeps after it has counted. So one of the two sees the other.
 */

import type { TurnMeter } from './turn-meter.ts';

/** Words of one bell. */
export const BELL_WORDS = 2;

export class Bell {
  readonly #words: Int32Array;
  readonly #at: number;
  /** Counts its owner's turns. */
  readonly meter: TurnMeter | undefined;

  constructor(words: Int32Array, at: number, meter?: TurnMeter) {
    this.#words = words;
    this.#at = at;
    this.meter = meter;
  }

  /** Counts rings; read it before looking for work. */
  read(): number {
    return Atomics.load(this.#words, this.#at);
  }

  ring(): void {
    Atomics.add(this.#words, this.#at, 1);
    if (Atomics.load(this.#words, this.#at + 1) !== 0) Atomics.notify(this.#words, this.#at);
  }

  /** Parks the thread until the bell differs from `seen`, or the time is over. */
  wait(seen: number, timeoutMs: number): void {
    Atomics.store(this.#words, this.#at + 1, 1);
    Atomics.wait(this.#words, this.#at, seen, timeoutMs);
    Atomics.store(this.#words, this.#at + 1, 0);
  }

  /**
   * The same for a thread with an event loop, without a bound: a timeout would arm a timer per sleep. Undefined
   * when it has been rung already.
   */
  waitAsync(seen: number): Promise<unknown> | undefined {
    Atomics.store(this.#words, this.#at + 1, 1);
    const result = Atomics.waitAsync(this.#words, this.#at, seen);
    return result.async ? result.value : undefined;
  }

  /** Awake again after `waitAsync`. */
  awake(): void {
    Atomics.store(this.#words, this.#at + 1, 0);
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** How long a parked thread sleeps at most: a bound, not a poll. */
const SLEEP_MS_MAX = 1_000;

export interface Loop {
  /** Ends the loop after the turn in hand; resolves when it has ended. */
  stop(): Promise<void>;
  /** Resolves when the loop has ended; rejects with what a turn threw. */
  readonly ended: Promise<void>;
}

/**
 * Runs `turn` whenever the bell rings, on a thread that also has sockets: between turns the event loop goes
 * round, so neither starves the other.
 */
export function listen(bell: Bell, turn: () => void): Loop {
  let isStopping = false;
  const { meter } = bell;
  const ended = (async () => {
    while (!isStopping) {
      const seen = bell.read();
      const beganMs = performance.now();
      turn();
      meter?.add(performance.now() - beganMs);
      await (bell.waitAsync(seen) ?? nextTurn());
      bell.awake();
    }
  })();
  return {
    ended,
    stop: () => {
      isStopping = true;
      bell.ring();
      return ended;
    },
  };
}

/**
 * Runs `turn` on a thread of its own that parks when there is nothing to do. `turn` says whether it did
 * something. While `wantsControl` says so, the thread lets its event loop go round for the supervisor's calls.
 */
export function park(bell: Bell, turn: () => boolean, wantsControl: () => boolean): Loop {
  let isStopping = false;
  const { meter } = bell;
  const ended = (async () => {
    await nextTurn();
    while (!isStopping) {
      const seen = bell.read();
      const beganMs = performance.now();
      const didSomething = turn();
      if (didSomething) meter?.add(performance.now() - beganMs);
      if (wantsControl()) {
        await nextTurn();
        if (!didSomething) bell.wait(seen, 1);
      } else if (!didSomething) bell.wait(seen, SLEEP_MS_MAX);
    }
  })();
  return {
    ended,
    stop: () => {
      isStopping = true;
      return ended;
    },
  };
}
