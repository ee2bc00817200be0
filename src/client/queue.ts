/**
 * AsyncQueue: items pushed on one side, awaited on the other. Its bound is the credit given to the sender: what
 * was consumed is reported, and only then may more come.
 */

export interface QueueEvents {
  /** `bytes` of items were taken out. */
  readonly onConsumed: (bytes: number) => void;
  /** The consumer left before the end. */
  readonly onReturn: () => void;
}

interface Item<T> {
  readonly value: T;
  readonly bytes: number;
}

export class AsyncQueue<T> implements AsyncIterableIterator<T> {
  readonly #events: QueueEvents;
  #items: Item<T>[] = [];
  #at = 0;
  #waiting: { resolve: (result: IteratorResult<T>) => void; reject: (error: unknown) => void } | undefined;
  #ended: { readonly error: Error | undefined } | undefined;

  constructor(events: QueueEvents) {
    this.#events = events;
  }

  get isEnded(): boolean {
    return this.#ended !== undefined;
  }

  /** The consumer waits for an item. */
  get isAwaited(): boolean {
    return this.#waiting !== undefined;
  }

  /** `bytes`: what is reported as consumed when this item is taken. */
  push(value: T, bytes: number): void {
    if (this.#ended !== undefined) return;
    const waiting = this.#waiting;
    if (waiting === undefined) {
      this.#items.push({ value, bytes });
      return;
    }
    this.#waiting = undefined;
    waiting.resolve({ value, done: false });
    this.#events.onConsumed(bytes);
  }

  /** No more items; those there are can still be taken. `error`: thrown after them. */
  end(error?: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = { error };
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) return;
    if (error === undefined) waiting.resolve({ value: undefined, done: true });
    else waiting.reject(error);
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#items[this.#at];
    if (item !== undefined) {
      this.#at++;
      if (this.#at === this.#items.length) {
        this.#items = [];
        this.#at = 0;
      }
      this.#events.onConsumed(item.bytes);
      return Promise.resolve({ value: item.value, done: false });
    }
    if (this.#ended !== undefined) {
      const { error } = this.#ended;
      // Thrown once; then the iterator is simply done.
      this.#ended = { error: undefined };
      return error === undefined ? Promise.resolve({ value: undefined, done: true }) : Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  return(): Promise<IteratorResult<T>> {
    if (this.#ended === undefined) {
      this.#events.onReturn();
      this.end();
    }
    this.#items = [];
    this.#at = 0;
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
