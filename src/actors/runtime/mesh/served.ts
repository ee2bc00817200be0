/**
 * Served: who asks, or takes a stream's items, on another node, as the actor here sees it.
 *
 * Items leave as they are wanted: at most the window that the taker gave is under way, and at most ITEM_BYTES_MAX of all
 * streams to one peer together, but that each may have one item under way: one that nobody takes from holds up no other.
 */
import { isStoreError, StoreError } from '../../../core/base/errors.ts';
import type { ActorClock } from '../core/clock.ts';
import type { Answer, Sink } from '../core/envelope.ts';
import { Queue } from '../core/queue.ts';

/** Of items that were sent to one peer, and not yet taken there. */
export const ITEM_BYTES_MAX: number = 8 * 1024 * 1024;

/** What is said to whoever asked. */
export interface Asking {
  readonly clock: ActorClock;
  /** True, once: it is over, and whoever asked is still there. */
  over(call: number, served: Served): boolean;
  failed(call: number, error: Error): void;
  end(call: number): void;
  /** Gives the bytes; throws BAD_REQUEST, VALUE_TOO_LARGE, and then nothing was sent. */
  value(frame: 'answer' | 'item', call: number, value: unknown): number;
}

export abstract class Served {
  readonly call: number;
  onGiveUp: ((reason: StoreError) => void) | undefined;
  protected readonly asking: Asking;
  protected isOver = false;

  constructor(asking: Asking, call: number) {
    this.asking = asking;
    this.call = call;
  }

  reject(error: Error): void {
    if (this.settle()) this.asking.failed(this.call, error);
  }

  /** Nobody waits for it any more. */
  giveUp(reason: StoreError): void {
    if (this.isOver) return;
    this.isOver = true;
    this.release();
    this.onGiveUp?.(reason);
  }

  /** True: this settled it, and somebody is there to hear of it. */
  protected settle(): boolean {
    if (this.isOver) return false;
    this.isOver = true;
    this.release();
    return this.asking.over(this.call, this);
  }

  protected release(): void {}
}

export class ServedAnswer extends Served implements Answer {
  readonly deadlineAtMs: number;

  constructor(asking: Asking, call: number, remainingMs: number) {
    super(asking, call);
    this.deadlineAtMs = asking.clock.nowMs() + remainingMs;
  }

  /** Past the deadline nobody waits over there, whether or not that was said. */
  get isSettled(): boolean {
    return this.isOver || this.asking.clock.nowMs() > this.deadlineAtMs;
  }

  resolve(value: unknown): void {
    if (!this.settle()) return;
    try {
      this.asking.value('answer', this.call, value);
    } catch (error) {
      if (!isStoreError(error)) throw error;
      this.asking.failed(this.call, error);
    }
  }
}

/** Items under way to one peer, of all its streams. */
export class ItemRoom {
  #bytes = 0;
  readonly #waiting = new Set<ServedStream>();

  get isFull(): boolean {
    return this.#bytes >= ITEM_BYTES_MAX;
  }

  take(bytes: number): void {
    this.#bytes += bytes;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
    if (this.isFull) return;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const stream of waiting) stream.wake();
  }

  /** It is woken, once, when there is room. */
  wait(stream: ServedStream): void {
    this.#waiting.add(stream);
  }

  leave(stream: ServedStream): void {
    this.#waiting.delete(stream);
  }
}

export class ServedStream extends Served implements Sink {
  readonly window: number;
  onItemTaken: (() => void) | undefined;
  readonly #room: ItemRoom;
  /** Bytes of each item that is under way. Invariant: at most `window` of them. */
  readonly #underWay = new Queue<number>();
  #wake: () => void = () => {};

  constructor(asking: Asking, call: number, window: number, room: ItemRoom) {
    super(asking, call);
    this.window = window;
    this.#room = room;
  }

  get isSettled(): boolean {
    return this.isOver;
  }

  /** For the room. */
  wake(): void {
    this.#wake();
  }

  async wanted(): Promise<void> {
    while (!this.isOver && this.#mustWait) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (this.#room.isFull) this.#room.wait(this);
      });
    }
  }

  get #mustWait(): boolean {
    const { length } = this.#underWay;
    return length >= this.window || (length > 0 && this.#room.isFull);
  }

  item(value: unknown): void {
    if (this.isOver) return;
    try {
      const bytes = this.asking.value('item', this.call, value);
      this.#underWay.push(bytes);
      this.#room.take(bytes);
    } catch (error) {
      if (!isStoreError(error)) throw error;
      this.reject(error);
      // Its maker hears that nobody takes any more.
      this.onGiveUp?.(error);
    }
  }

  end(): void {
    if (this.settle()) this.asking.end(this.call);
  }

  /** So many were taken over there. PROTOCOL_ERROR: more than were sent. */
  want(count: number): void {
    if (count > this.#underWay.length) throw new StoreError('PROTOCOL_ERROR', 'more items were taken than were sent');
    for (let i = 0; i < count; i++) this.#room.give(this.#underWay.shift() ?? 0);
    this.#wake();
  }

  protected override release(): void {
    this.#room.leave(this);
    while (this.#underWay.length > 0) this.#room.give(this.#underWay.shift() ?? 0);
    this.#wake();
  }
}
