/**
 * Streams: the generators that an actor's stream handlers have open, each pumped as its taker wants items.
 *
 * A stream outlives the message that opened it, and must not keep the actor from others for as long: so a generator
 * runs beside the handlers, between its own awaits. It ends with its taker, or with the actor.
 */
import { isStoreError, StoreError } from '../../../core/base/errors.ts';
import type { Sink } from './envelope.ts';

const STREAMS_MAX = 256;

export type OpenItems = (signal: AbortSignal) => AsyncIterable<unknown>;

export class Streams {
  readonly #path: string;
  /** A generator threw what is no answer. */
  readonly #fail: (error: unknown) => void;
  readonly #open = new Map<Sink, AbortController>();

  constructor(path: string, fail: (error: unknown) => void) {
    this.#path = path;
    this.#fail = fail;
  }

  /** Begins one; throws what `items` throws, or OVERLOADED. */
  begin(sink: Sink, items: OpenItems): void {
    if (this.#open.size >= STREAMS_MAX) throw new StoreError('OVERLOADED', `${this.#path} has ${STREAMS_MAX} streams`);
    const controller = new AbortController();
    const iterator = items(controller.signal)[Symbol.asyncIterator]();
    sink.onGiveUp = (reason) => controller.abort(reason);
    this.#open.set(sink, controller);
    void this.#pump(sink, controller.signal, iterator);
  }

  /** Ends all; their takers are told. */
  close(error: Error): void {
    for (const [sink, controller] of this.#open) {
      sink.reject(error);
      controller.abort(error);
    }
  }

  async #pump(sink: Sink, signal: AbortSignal, items: AsyncIterator<unknown>): Promise<void> {
    try {
      for (;;) {
        await sink.wanted();
        if (sink.isSettled) break;
        const next: IteratorResult<unknown, unknown> = await items.next();
        if (next.done === true) break;
        sink.item(next.value);
      }
      if (sink.isSettled) await items.return?.();
      else sink.end();
    } catch (error) {
      if (isStoreError(error)) sink.reject(error);
      else if (!(signal.aborted && isAbort(error))) {
        sink.reject(new StoreError('ACTOR_STOPPED', `${this.#path} failed: ${String(error)}`, { cause: error }));
        this.#fail(error);
      }
    } finally {
      this.#open.delete(sink);
    }
  }
}

/** What code throws whose signal was aborted. */
export const isAbort = (error: unknown): boolean =>
  isStoreError(error) || (error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError'));
