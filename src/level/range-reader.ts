/**
 * RangeReader: what an iterator over entries, keys or values reads with.
 *
 * It has a cursor, which keeps what was visible when it was made, and a few items read ahead. The cursor lets go of
 * its place at the end of a turn of the event loop, and finds it again by a seek; who takes one item per turn would
 * pay that for each. So from the second `next` on, it takes as many as fit in `highWaterMarkBytes` while it is there.
 * (Not the first: to ask for one item, or one after a seek, is common.)
 *
 * Invariant: what was given, what lies ahead and what may still be read add up to the limit.
 */
import { assert } from '../core/base/assert.ts';
import type { TreeCursor, TreeEntry } from '../engine/store/index.ts';
import { AbortError, levelError } from './errors.ts';
import { isWithin, type KeyRange } from './range.ts';
import type { Turns } from './turns.ts';

export interface RangeReaderOptions<T> {
  readonly cursor: TreeCursor;
  readonly range: KeyRange;
  /** -1: none. */
  readonly limit: number;
  readonly signal: AbortSignal | undefined;
  /** Undefined: the default for what is read ahead, and none for `nextv`. */
  readonly highWaterMarkBytes: number | undefined;
  readonly turns: Turns;
  readonly itemOf: (entry: TreeEntry) => T;
  /** What counts for the high-water mark. */
  readonly bytesOf: (entry: TreeEntry) => number;
}

const AHEAD_BYTES = 16 * 1024;
const AHEAD_MAX = 1000;

export class RangeReader<T> {
  readonly #options: RangeReaderOptions<T>;
  readonly #cursor: TreeCursor;
  #ahead: T[] = [];
  /** The first of #ahead that was not given yet. */
  #at = 0;
  /** Items that may still be read. */
  #left: number;
  #isFirst = true;
  /** The last seek was to a place outside of the range: nothing is there. */
  #isOutside = false;
  #isTurnDue = false;

  constructor(options: RangeReaderOptions<T>) {
    this.#options = options;
    this.#cursor = options.cursor;
    this.#left = options.limit < 0 ? Number.POSITIVE_INFINITY : options.limit;
  }

  /** Items read ahead. */
  get cached(): number {
    return this.#ahead.length - this.#at;
  }

  next(): T | undefined | Promise<T | undefined> {
    if (this.#at === this.#ahead.length) {
      this.#ahead = [];
      this.#at = 0;
      const count = this.#isFirst ? 1 : AHEAD_MAX;
      this.#isFirst = false;
      this.#read(this.#ahead, count, this.#options.highWaterMarkBytes ?? AHEAD_BYTES);
    }
    const item = this.#ahead[this.#at];
    if (this.#at < this.#ahead.length) this.#at++;
    return this.#options.signal !== undefined || this.#isTurnDue ? this.#later(item) : item;
  }

  /** At most `size`; fewer before the end only where `highWaterMarkBytes` was given. */
  async nextv(size: number): Promise<T[]> {
    return this.#many(size, this.#options.highWaterMarkBytes ?? Number.POSITIVE_INFINITY);
  }

  all(): Promise<T[]> {
    return this.#many(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  }

  async #many(size: number, bytesMax: number): Promise<T[]> {
    this.#isFirst = false;
    const items = this.#ahead.slice(this.#at, this.#at + size);
    this.#at += items.length;
    let bytesLeft = bytesMax;
    if (items.length === 0 || bytesMax === Number.POSITIVE_INFINITY) {
      for (;;) {
        bytesLeft -= this.#read(items, size - items.length, bytesLeft);
        if (!this.#isTurnDue) break;
        await this.#later(undefined);
        if (bytesLeft < 0 || items.length >= size) break;
      }
    }
    if (this.#options.signal !== undefined) await this.#later(undefined);
    return items;
  }

  /** Goes to the first item at or after `key` (of a reverse one, at or before it). */
  seek(key: Uint8Array): void {
    this.#left += this.cached;
    this.#ahead = [];
    this.#at = 0;
    this.#isFirst = true;
    this.#isOutside = !isWithin(this.#options.range, key);
    if (!this.#isOutside) this.#cursor.seek(key);
  }

  close(): void {
    this.#ahead = [];
    this.#at = 0;
    this.#cursor.close();
  }

  /** Reads until there are `count` more, the bytes exceed the mark, or a turn is due; returns the bytes. */
  #read(into: T[], count: number, bytesMax: number): number {
    const { itemOf, bytesOf, turns } = this.#options;
    if (this.#isOutside) return 0;
    let bytes = 0;
    try {
      for (let i = Math.min(count, this.#left); i > 0 && bytes <= bytesMax; i--) {
        const entry = this.#cursor.next();
        if (entry === undefined) break;
        this.#left--;
        bytes += bytesOf(entry);
        this.#isTurnDue = turns.spend(entry.key.length + entry.value.length);
        into.push(itemOf(entry));
        if (this.#isTurnDue) break;
      }
    } catch (error) {
      throw levelError(error);
    }
    assert(this.#left >= 0, 'no more is read than the limit allows');
    return bytes;
  }

  /** The answer, but after a turn if one is due, and not if the signal has said so. */
  async #later(item: T | undefined): Promise<T | undefined> {
    const turn = this.#isTurnDue ? this.#options.turns.next() : Promise.resolve();
    this.#isTurnDue = false;
    await turn;
    const { signal } = this.#options;
    if (signal?.aborted === true) throw new AbortError(signal.reason);
    return item;
  }
}
