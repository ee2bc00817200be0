/**
 * EventQueue: virtual time. Events in the order of their time, and of their making when that is equal; nothing ever
 * waits for a real clock, so a second costs what happens in it.
 */
import { assert } from '../../src/core/base/assert.ts';

export interface Planned {
  readonly timeMs: number;
  readonly seq: number;
  /** Undefined once it is cancelled or has happened. */
  work: (() => void) | undefined;
}

export class EventQueue {
  readonly #heap: Planned[] = [];
  #seq = 0;
  #nowMs = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Plans `work` for `delayMs` from now. */
  after(delayMs: number, work: () => void): Planned {
    assert(delayMs >= 0, 'nothing is planned for the past');
    const event: Planned = { timeMs: this.#nowMs + delayMs, seq: this.#seq++, work };
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above] as Planned;
      if (isBefore(parent, event)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = event;
    return event;
  }

  cancel(event: Planned | undefined): void {
    if (event !== undefined) event.work = undefined;
  }

  /** The next thing that happens, and time moves on to it; undefined when nothing is planned. */
  next(): (() => void) | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined) return undefined;
      this.#removeFirst();
      const { work } = first;
      if (work === undefined) continue;
      first.work = undefined;
      this.#nowMs = first.timeMs;
      return work;
    }
  }

  /** When the next event is due; never, when there is none. */
  get nextMs(): number {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined) return Number.POSITIVE_INFINITY;
      if (first.work !== undefined) return first.timeMs;
      this.#removeFirst();
    }
  }

  /** Time moves on to `timeMs`, where nothing is due before. */
  passTo(timeMs: number): void {
    if (timeMs <= this.#nowMs) return;
    assert(this.nextMs >= timeMs, 'no event is passed over');
    this.#nowMs = timeMs;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop() as Planned;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1] as Planned, heap[below] as Planned)) below++;
      const child = heap[below] as Planned;
      if (isBefore(last, child)) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = last;
  }
}

const isBefore = (a: Planned, b: Planned): boolean => a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.seq < b.seq);
