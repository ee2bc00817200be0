/**
 * Spin: who waits for another thread looks for a moment whether there is something, before its thread sleeps.
 *
 * A core that sleeps takes longer to wake than an actor takes to answer: 20 to 30 µs each way here, which is nearly all of
 * an ask to another thread. So behind an ask, and behind an answer (who was asked is often asked again), a thread looks for
 * at most SPIN_MS, once in a round of its event loop, which gets its turn before and after.
 *
 * It looks at a word in shared memory, the count of what the other side has posted: to look into the port itself would
 * take the port's lock, over and over, from whoever is posting.
 *
 * What it costs when nothing comes: SPIN_MS, and after each such try twice as many occasions are let go, up to
 * SKIPS_MAX; one that brings something begins anew. So a thread whose partners take long, or whose cores have others to
 * serve, hardly tries.
 */
import { receiveMessageOnPort } from 'node:worker_threads';
import type { MessagePort } from '../thread.ts';

const SPIN_MS = 0.05;
const SKIPS_MAX = 1024;
/** Looks between two at the clock. */
const LOOKS = 64;
/** Words apart: each side's is in a cache line of its own. */
const APART = 16;

/** What either side has posted, counted in shared memory. */
export class Posted {
  readonly #words: Int32Array;
  readonly #own: number;
  readonly #other: number;

  constructor(buffer: SharedArrayBuffer, side: 'near' | 'far') {
    this.#words = new Int32Array(buffer);
    this.#own = side === 'near' ? 0 : APART;
    this.#other = APART - this.#own;
  }

  static create(): SharedArrayBuffer {
    return new SharedArrayBuffer(2 * APART * Int32Array.BYTES_PER_ELEMENT);
  }

  /** One message has been posted. */
  add(): void {
    Atomics.add(this.#words, this.#own, 1);
  }

  /** The other side has posted more than `received`; both go round. */
  isMoreThan(received: number): boolean {
    return ((Atomics.load(this.#words, this.#other) - received) | 0) > 0;
  }
}

export class Spin {
  readonly #port: MessagePort;
  readonly #posted: Posted;
  readonly #receive: (message: unknown) => void;
  readonly #lookNow = (): void => this.#look();
  #received = 0;
  #planned: NodeJS.Immediate | undefined;
  /** Occasions yet to be let go, and how many after the next try in vain. */
  #skips = 0;
  #skipsNext = 1;

  constructor(port: MessagePort, posted: Posted, receive: (message: unknown) => void) {
    this.#port = port;
    this.#posted = posted;
    this.#receive = receive;
  }

  /** Something may come soon. */
  plan(): void {
    if (this.#planned !== undefined) return;
    if (this.#skips > 0) this.#skips--;
    else this.#planned = setImmediate(this.#lookNow);
  }

  /** A message came by itself. */
  came(): void {
    this.#received = (this.#received + 1) | 0;
    this.cancel();
  }

  cancel(): void {
    if (this.#planned === undefined) return;
    clearImmediate(this.#planned);
    this.#planned = undefined;
  }

  #look(): void {
    this.#planned = undefined;
    const untilMs = performance.now() + SPIN_MS;
    do {
      for (let i = 0; i < LOOKS; i++) if (this.#posted.isMoreThan(this.#received)) return this.#take();
    } while (performance.now() < untilMs);
    this.#skips = this.#skipsNext;
    this.#skipsNext = Math.min(SKIPS_MAX, this.#skipsNext * 2);
  }

  #take(): void {
    this.#skipsNext = 1;
    const found = receiveMessageOnPort(this.#port);
    if (found === undefined) return;
    this.came();
    this.#receive(found.message);
  }
}
