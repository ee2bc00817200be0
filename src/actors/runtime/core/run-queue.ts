/**
 * Run queue: whose turn it is in this thread. An actor with something to do stands in it once, and handles up to a
 * slice of messages before the next one's turn.
 *
 * A wake-up is a microtask: a message to an idle actor is handled as soon as the caller's turn ends. But microtasks
 * come before everything else a thread has to do, and two actors that tell each other for ever would keep it from its
 * sockets; so after a budget of messages the queue goes on behind the event loop.
 */
import { Queue } from './queue.ts';

export interface Runnable {
  /** In the queue. Kept by the queue. */
  isQueued: boolean;
  /** Handles up to so many messages; returns how many. */
  run(messagesMax: number): number;
  /** It has more to do, now. */
  readonly isReady: boolean;
}

export interface RunQueueOptions {
  /** Messages of one actor in a turn: 64. */
  readonly slice?: number;
  /** Messages between two rounds of the event loop: 1024. */
  readonly budget?: number;
  /** Soon, before timers and sockets: queueMicrotask. */
  readonly soon?: (task: () => void) => void;
  /** After timers and sockets had their turn: setImmediate. */
  readonly later?: (task: () => void) => void;
  /** Which of so many is next: the first. A test draws lots. */
  readonly pick?: (count: number) => number;
}

const SLICE = 64;
const BUDGET = 1_024;

export class RunQueue {
  readonly #ready = new Queue<Runnable>();
  readonly #slice: number;
  readonly #budget: number;
  readonly #soon: (task: () => void) => void;
  readonly #later: (task: () => void) => void;
  readonly #pick: ((count: number) => number) | undefined;
  #isScheduled = false;
  #spent = 0;

  constructor({
    slice = SLICE,
    budget = BUDGET,
    soon = queueMicrotask,
    later = setImmediate,
    pick,
  }: RunQueueOptions = {}) {
    this.#slice = slice;
    this.#budget = budget;
    this.#soon = soon;
    this.#later = later;
    this.#pick = pick;
  }

  get length(): number {
    return this.#ready.length;
  }

  wake(actor: Runnable): void {
    if (actor.isQueued) return;
    actor.isQueued = true;
    this.#ready.push(actor);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    if (this.#spent < this.#budget) this.#soon(this.#run);
    else this.#later(this.#runAfresh);
  }

  readonly #runAfresh = (): void => {
    this.#spent = 0;
    this.#run();
  };

  readonly #run = (): void => {
    this.#isScheduled = false;
    while (this.#ready.length > 0 && this.#spent < this.#budget) {
      const actor = (
        this.#pick === undefined ? this.#ready.shift() : this.#ready.takeAt(this.#pick(this.#ready.length))
      ) as Runnable;
      actor.isQueued = false;
      // A turn without a message (a stop, a last look) is not free either.
      this.#spent += Math.max(1, actor.run(this.#slice));
      if (actor.isReady) this.wake(actor);
    }
    if (this.#ready.length > 0) this.#schedule();
  };
}
