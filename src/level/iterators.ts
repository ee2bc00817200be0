/**
 * The three iterators of abstract-level, over a RangeReader each.
 *
 * abstract-level sees to order and lifetime (one read at a time, closed with the database) and to decoding; these only
 * read. They are three classes because abstract-level's are; what they do is in the reader.
 */
import {
  AbstractIterator,
  type AbstractIteratorOptions,
  AbstractKeyIterator,
  type AbstractKeyIteratorOptions,
  AbstractValueIterator,
  type AbstractValueIteratorOptions,
} from 'abstract-level';
import { type Encoded, lentKey } from './format.ts';
import type { RangeReader } from './range-reader.ts';

/** An entry as abstract-level decodes it, in place; what was not asked for is undefined. */
export type EncodedEntry = [key: Encoded | undefined, value: Encoded | undefined];

export class LevelIterator<TDatabase, K, V> extends AbstractIterator<TDatabase, K, V> {
  readonly #reader: RangeReader<EncodedEntry>;

  constructor(db: TDatabase, options: AbstractIteratorOptions<K, V>, reader: RangeReader<EncodedEntry>) {
    super(db, options);
    this.#reader = reader;
  }

  /** Entries that are read ahead. */
  get cached(): number {
    return this.#reader.cached;
  }

  _next(): EncodedEntry | undefined | Promise<EncodedEntry | undefined> {
    return this.#reader.next();
  }

  _nextv(size: number): Promise<EncodedEntry[]> {
    return this.#reader.nextv(size);
  }

  _all(): Promise<EncodedEntry[]> {
    return this.#reader.all();
  }

  _seek(target: Encoded): void {
    this.#reader.seek(lentKey(target));
  }

  async _close(): Promise<void> {
    this.#reader.close();
  }
}

export class LevelKeyIterator<TDatabase, K> extends AbstractKeyIterator<TDatabase, K> {
  readonly #reader: RangeReader<Encoded>;

  constructor(db: TDatabase, options: AbstractKeyIteratorOptions<K>, reader: RangeReader<Encoded>) {
    super(db, options);
    this.#reader = reader;
  }

  /** Keys that are read ahead. */
  get cached(): number {
    return this.#reader.cached;
  }

  _next(): Encoded | undefined | Promise<Encoded | undefined> {
    return this.#reader.next();
  }

  _nextv(size: number): Promise<Encoded[]> {
    return this.#reader.nextv(size);
  }

  _all(): Promise<Encoded[]> {
    return this.#reader.all();
  }

  _seek(target: Encoded): void {
    this.#reader.seek(lentKey(target));
  }

  async _close(): Promise<void> {
    this.#reader.close();
  }
}

export class LevelValueIterator<TDatabase, K, V> extends AbstractValueIterator<TDatabase, K, V> {
  readonly #reader: RangeReader<Encoded>;

  constructor(db: TDatabase, options: AbstractValueIteratorOptions<K, V>, reader: RangeReader<Encoded>) {
    super(db, options);
    this.#reader = reader;
  }

  /** Values that are read ahead. */
  get cached(): number {
    return this.#reader.cached;
  }

  _next(): Encoded | undefined | Promise<Encoded | undefined> {
    return this.#reader.next();
  }

  _nextv(size: number): Promise<Encoded[]> {
    return this.#reader.nextv(size);
  }

  _all(): Promise<Encoded[]> {
    return this.#reader.all();
  }

  _seek(target: Encoded): void {
    this.#reader.seek(lentKey(target));
  }

  async _close(): Promise<void> {
    this.#reader.close();
  }
}
