/**
 * Pending: a promise that somebody else settles, with a deadline and a signal. Settled once; an answer that
 * comes later is told to `onLate`.
 *
 * Every ask has a deadline, because a promise that nobody settles is a leak that nobody sees. The end of whoever was
 * asked settles it before that.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { ActorClock } from './clock.ts';
import type { Admission, Answer } from './envelope.ts';

export const ASK_DEADLINE_MS = 5_000;
const ASK_DEADLINE_MS_MAX = 60 * 60_000;

export interface PendingOptions {
  readonly clock: ActorClock;
  /** For messages: who was asked, and what. */
  readonly path: string;
  readonly kind: string;
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** An answer came for one that had been given up. */
  readonly onLate: () => void;
}

export class Pending<T> implements Answer, Admission {
  readonly promise: Promise<T>;
  readonly deadlineAtMs: number;
  onGiveUp: ((reason: StoreError) => void) | undefined;
  #isSettled = false;
  #resolve: (value: T) => void = () => {};
  #reject: (error: Error) => void = () => {};
  readonly #options: PendingOptions;
  readonly #stopTimer: () => void;

  constructor(options: PendingOptions) {
    const { clock, deadlineMs = ASK_DEADLINE_MS, signal, path, kind } = options;
    if (!(deadlineMs >= 0 && deadlineMs <= ASK_DEADLINE_MS_MAX)) {
      throw new StoreError('BAD_REQUEST', `deadlineMs must be 0 to ${ASK_DEADLINE_MS_MAX}, not ${deadlineMs}`);
    }
    this.#options = options;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.deadlineAtMs = clock.nowMs() + deadlineMs;
    this.#stopTimer = clock.after(deadlineMs, () =>
      this.#giveUp(new StoreError('DEADLINE_EXCEEDED', `${path} did not answer ${kind} in ${deadlineMs} ms`)),
    );
    if (signal === undefined) return;
    if (signal.aborted) this.#onAbort();
    else signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  resolve(value?: unknown): void {
    // The protocol says what the answer to this kind is; handlers are typed by it.
    if (this.#settle()) this.#resolve(value as T);
    else this.#options.onLate();
  }

  reject(error: Error): void {
    if (this.#settle()) this.#reject(error);
  }

  readonly #onAbort = (): void => {
    const { path, kind, signal } = this.#options;
    this.#giveUp(new StoreError('CANCELLED', `${kind} to ${path} was cancelled`, { cause: signal?.reason }));
  };

  #giveUp(error: StoreError): void {
    if (this.#isSettled) return;
    this.reject(error);
    this.onGiveUp?.(error);
  }

  #settle(): boolean {
    if (this.#isSettled) return false;
    this.#isSettled = true;
    this.#stopTimer();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    return true;
  }
}
