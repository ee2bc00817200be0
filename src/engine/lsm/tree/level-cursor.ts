/**
 * LevelCursor: the tables of one level, which share no key, as one sorted run. A table is opened when the cursor comes
 * to it.
 */
import { compareInternal } from '../sstable/keys.ts';
import type { InternalCursor } from './merge.ts';
import type { TableRef } from './version.ts';

const NONE = new Uint8Array(0);

export class LevelCursor implements InternalCursor {
  readonly #tables: readonly TableRef[];
  readonly #open: (table: TableRef) => InternalCursor;
  /** Which table #cursor is of. */
  #at = -1;
  #cursor: InternalCursor | undefined;

  constructor(tables: readonly TableRef[], open: (table: TableRef) => InternalCursor) {
    this.#tables = tables;
    this.#open = open;
  }

  get valid(): boolean {
    return this.#cursor?.valid ?? false;
  }

  get key(): Uint8Array {
    return this.#cursor?.key ?? NONE;
  }

  get keyLength(): number {
    return this.#cursor?.keyLength ?? 0;
  }

  get block(): Uint8Array {
    return this.#cursor?.block ?? NONE;
  }

  get valueStart(): number {
    return this.#cursor?.valueStart ?? 0;
  }

  get valueEnd(): number {
    return this.#cursor?.valueEnd ?? 0;
  }

  first(): void {
    this.#go(0)?.first();
    this.#skipForward();
  }

  last(): void {
    this.#go(this.#tables.length - 1)?.last();
    this.#skipBackward();
  }

  seek(key: Uint8Array, keyLength: number): void {
    this.#go(this.#tableOf(key, keyLength))?.seek(key, keyLength);
    this.#skipForward();
  }

  next(): void {
    this.#cursor?.next();
    this.#skipForward();
  }

  prev(): void {
    this.#cursor?.prev();
    this.#skipBackward();
  }

  #skipForward(): void {
    while (this.#cursor !== undefined && !this.#cursor.valid) this.#go(this.#at + 1)?.first();
  }

  #skipBackward(): void {
    while (this.#cursor !== undefined && !this.#cursor.valid) this.#go(this.#at - 1)?.last();
  }

  #go(at: number): InternalCursor | undefined {
    const table = this.#tables[at];
    if (at === this.#at && this.#cursor !== undefined) return this.#cursor;
    this.#at = at;
    this.#cursor = table === undefined ? undefined : this.#open(table);
    return this.#cursor;
  }

  /** The first table whose largest key is at or after `key`. */
  #tableOf(key: Uint8Array, keyLength: number): number {
    let low = 0;
    let high = this.#tables.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { largest } = this.#tables[middle] as TableRef;
      if (compareInternal(largest, largest.length, key, keyLength) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
