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
  #heldBytes = 0;
  /** Calls of `next` that found nothing, oldest first. */
  readonly #waiting: { resolve: (result: IteratorResult<T>) => void; reject: (error: unknown) => void }[] = [];
  #ended: { readonly error: Error | undefined } | undefined;

  constructor(events: QueueEvents) {
    this.#events = events;
  }

  get isEnded(): boolean {
    return this.#ended !== undefined;
  }

  /** The consumer waits for an item. */
  get isAwaited(): boolean {
    return this.#waiting.length > 0;
  }

  /** Pushed and not yet taken. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /**
   * Items that came together, with what they cost their sender: reported as consumed, to the byte, when the last of
   * them is taken. What brought nothing is consumed at once.
   */
  push(values: readonly T[], bytes: number): void {
    if (this.#ended !== undefined) return;
    this.#heldBytes += bytes;
    const last = values.length - 1;
    for (let i = 0; i <= last; i++) this.#items.push({ value: values[i] as T, bytes: i === last ? bytes : 0 });
    if (values.length === 0) this.#consumed(bytes);
    while (this.#waiting.length > 0) {
      const item = this.#take();
      if (item === undefined) return;
      this.#waiting.shift()?.resolve({ value: item.value, done: false });
      this.#consumed(item.bytes);
    }
  }

  /** No more items; those there are can still be taken. `error`: thrown after them. */
  end(error?: Error): void {
    if (this.#ended !== undefined) return;
    const waiting = this.#waiting.splice(0);
    // Thrown once; then the iterator is simply done.
    this.#ended = { error: waiting.length === 0 ? error : undefined };
    if (error !== undefined) waiting.shift()?.reject(error);
    for (const { resolve } of waiting) resolve({ value: undefined, done: true });
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#take();
    if (item !== undefined) {
      this.#consumed(item.bytes);
      return Promise.resolve({ value: item.value, done: false });
    }
    if (this.#ended !== undefined) {
      const { error } = this.#ended;
      this.#ended = { error: undefined };
      return error === undefined ? Promise.resolve({ value: undefined, done: true }) : Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  return(): Promise<IteratorResult<T>> {
    if (this.#ended === undefined) {
      this.#events.onReturn();
      this.end();
    }
    this.#items = [];
    this.#at = 0;
    this.#heldBytes = 0;
    return Promise.resolve({ value: undefined, done: true });
  }

  #take(): Item<T> | undefined {
    const item = this.#items[this.#at];
    if (item === undefined) return undefined;
    this.#at++;
    if (this.#at === this.#items.length) {
      this.#items = [];
      this.#at = 0;
    }
    return item;
  }

  #consumed(bytes: number): void {
    if (bytes === 0) return;
    this.#heldBytes -= bytes;
    this.#events.onConsumed(bytes);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
