/**
 * Flow: a stream's items between who makes them and who takes them. The taker says how many it wants (its window); the
 * maker waits until one is wanted, so nothing piles up.
 *
 * Invariant: items made and not yet taken are at most the window.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { Sink } from './envelope.ts';
import { Queue } from './queue.ts';

export const STREAM_WINDOW = 64;
export const STREAM_WINDOW_MAX = 65_536;

type Taken<T> = IteratorResult<T, undefined>;

export interface FlowOptions {
  /** For messages: who streams, and what. */
  readonly path: string;
  readonly kind: string;
  readonly window: number;
  readonly signal: AbortSignal | undefined;
  /** Called before the first item is waited for. */
  readonly open: () => void;
}

export class Flow<T> implements Sink, AsyncIterableIterator<T> {
  onGiveUp: ((reason: StoreError) => void) | undefined;
  onItemTaken: (() => void) | undefined;
  readonly window: number;
  readonly #options: FlowOptions;
  readonly #items = new Queue<T>();
  #isOpen = false;
  #isSettled = false;
  #error: Error | undefined;
  #taker: { resolve(taken: Taken<T>): void; reject(error: Error): void } | undefined;
  #wake: (() => void) | undefined;

  constructor(options: FlowOptions) {
    this.#options = options;
    this.window = options.window;
    const { signal } = options;
    if (signal?.aborted === true) this.#onAbort();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  // ── who makes items ──

  /** It has ended, or nobody takes any more. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  async wanted(): Promise<void> {
    while (!this.#isSettled && this.#items.length >= this.window) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  item(value: unknown): void {
    if (this.#isSettled) return;
    // The protocol says what this kind's items are; handlers are typed by it.
    const item = value as T;
    const taker = this.#taker;
    if (taker === undefined) this.#items.push(item);
    else {
      this.#taker = undefined;
      taker.resolve({ done: false, value: item });
      this.onItemTaken?.();
    }
  }

  end(): void {
    if (!this.#settle()) return;
    this.#taker?.resolve({ done: true, value: undefined });
    this.#taker = undefined;
  }

  reject(error: Error): void {
    if (!this.#settle()) return;
    if (this.#taker === undefined) this.#error = error;
    else this.#taker.reject(error);
    this.#taker = undefined;
  }

  // ── who takes them ──

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Taken<T>> {
    if (this.#taker !== undefined) {
      return Promise.reject(new StoreError('BAD_REQUEST', 'one item of a stream is waited for at a time'));
    }
    if (!this.#isOpen) {
      this.#isOpen = true;
      if (!this.#isSettled) this.#options.open();
    }
    if (this.#items.length > 0) {
      const value = this.#items.shift() as T;
      this.#wake?.();
      this.onItemTaken?.();
      return Promise.resolve({ done: false, value });
    }
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) return Promise.reject(error);
    if (this.#isSettled) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#taker = { resolve, reject };
    });
  }

  return(): Promise<Taken<T>> {
    this.#cancel(new StoreError('CANCELLED', `${this.#options.kind} of ${this.#options.path} was ended by its taker`));
    this.#error = undefined;
    while (this.#items.length > 0) this.#items.shift();
    return Promise.resolve({ done: true, value: undefined });
  }

  readonly #onAbort = (): void => {
    const { path, kind, signal } = this.#options;
    this.#cancel(new StoreError('CANCELLED', `${kind} of ${path} was cancelled`, { cause: signal?.reason }));
  };

  #cancel(reason: StoreError): void {
    if (this.#isSettled) return;
    this.reject(reason);
    this.onGiveUp?.(reason);
  }

  #settle(): boolean {
    if (this.#isSettled) return false;
    this.#isSettled = true;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#wake?.();
    return true;
  }
}
