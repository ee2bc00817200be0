/**
 * Bell: wakes a thread that has something to do. One word per actor, in shared memory.
 *
 * The sleeper reads the bell, does its turn, and sleeps only if the bell has not been rung since: nothing is
 * missed between looking and sleeping. An actor with an event loop (sockets) sleeps with waitAsync; one without
 * parks its thread in Atomics.wait, which wakes in about 5 µs.
 */

export class Bell {
  readonly #words: Int32Array;
  readonly #at: number;

  constructor(words: Int32Array, at: number) {
    this.#words = words;
    this.#at = at;
  }

  /** Counts rings; read it before looking for work. */
  read(): number {
    return Atomics.load(this.#words, this.#at);
  }

  ring(): void {
    Atomics.add(this.#words, this.#at, 1);
    Atomics.notify(this.#words, this.#at);
  }

  /** Parks the thread until the bell differs from `seen`, or the time is over. */
  wait(seen: number, timeoutMs: number): void {
    Atomics.wait(this.#words, this.#at, seen, timeoutMs);
  }

  /** The same for a thread with an event loop. */
  waitAsync(seen: number, timeoutMs: number): Promise<unknown> | undefined {
    const result = Atomics.waitAsync(this.#words, this.#at, seen, timeoutMs);
    return result.async ? result.value : undefined;
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** How long a sleeper sleeps at most: a bound in case a ring is ever missed, not a poll. */
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
  const ended = (async () => {
    while (!isStopping) {
      const seen = bell.read();
      turn();
      const rung = bell.waitAsync(seen, SLEEP_MS_MAX);
      await (rung ?? nextTurn());
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
  const ended = (async () => {
    await nextTurn();
    while (!isStopping) {
      const seen = bell.read();
      const didSomething = turn();
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
