/**
 * Recorder: writes a history down while it happens, and gives out process numbers.
 *
 * Who tests a store has tasks, not processes; a number is any free one. One whose operation ended with an unknown
 * outcome is never given again, because that operation may still be under way.
 */
import { assert } from '../../core/base/assert.ts';
import type { Json } from './json.ts';
import type { EventFunction, EventType, HistoryEvent } from './types.ts';

export interface RecorderOptions {
  /** Takes each event as it happens; `JSON.stringify` makes it a line. */
  readonly write: (event: HistoryEvent) => void;
  /** A clock that does not go back, for people who read the history. */
  readonly now?: () => number;
}

/** Ends the operation; exactly one of these, once. */
export interface Pending {
  readonly process: number;
  /** It happened; `value` is what it read. */
  ok(value?: Json): void;
  /** It certainly did not happen, and never will. */
  fail(): void;
  /** Nobody knows. When in doubt, this one: a `fail` that happened after all is a false alarm. */
  info(): void;
}

export class HistoryRecorder {
  readonly #write: (event: HistoryEvent) => void;
  readonly #now: (() => number) | undefined;
  readonly #free: number[] = [];
  #processes = 0;

  constructor(options: RecorderOptions) {
    this.#write = options.write;
    this.#now = options.now;
  }

  /** Call it before the request leaves; end it after the answer is there. */
  invoke(f: EventFunction, what: { readonly key?: Json; readonly value?: Json }): Pending {
    const process = this.#free.pop() ?? this.#processes++;
    const key = what.key === undefined ? {} : { key: what.key };
    let isOpen = true;
    const say = (type: EventType, value: Json | undefined): void => {
      const time = this.#now === undefined ? {} : { time: this.#now() };
      this.#write({ process, type, f, ...key, ...(value === undefined ? {} : { value }), ...time });
    };
    const end = (type: EventType, value: Json | undefined): void => {
      assert(isOpen, 'an operation of a history ends once');
      isOpen = false;
      say(type, value);
      if (type !== 'info') this.#free.push(process);
    };
    say('invoke', what.value);
    return {
      process,
      ok: (value) => end('ok', value),
      fail: () => end('fail', undefined),
      info: () => end('info', undefined),
    };
  }
}
