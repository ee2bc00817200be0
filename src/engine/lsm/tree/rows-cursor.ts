/**
 * RowsCursor: a few rows in memory, all of one revision, as internal keys.
 */
import { ByteWriter, compareBytes } from '../../../core/base/bytes.ts';
import { assert } from '../../../core/base/assert.ts';
import { encodeEnvelope } from '../sstable/envelope.ts';
import { compareInternal, makeInternalKey, TYPE_PUT } from '../sstable/keys.ts';
import type { InternalCursor } from './merge.ts';

export interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export class RowsCursor implements InternalCursor {
  readonly #rows: readonly { readonly key: Uint8Array; readonly stored: Uint8Array }[];
  #at = -1;

  constructor(rows: readonly Row[], revision: number) {
    for (let i = 1; i < rows.length; i++) {
      assert(compareBytes((rows[i - 1] as Row).key, (rows[i] as Row).key) < 0, 'rows are in key order');
    }
    this.#rows = rows.map(({ key, value }) => {
      const stored = new ByteWriter(value.length + 16);
      encodeEnvelope(stored, 0, value);
      return { key: makeInternalKey(key, revision, TYPE_PUT), stored: stored.take() };
    });
  }

  get valid(): boolean {
    return this.#at >= 0 && this.#at < this.#rows.length;
  }

  get key(): Uint8Array {
    return this.#row.key;
  }

  get keyLength(): number {
    return this.#row.key.length;
  }

  get block(): Uint8Array {
    return this.#row.stored;
  }

  get valueStart(): number {
    return 0;
  }

  get valueEnd(): number {
    return this.#row.stored.length;
  }

  first(): void {
    this.#at = 0;
  }

  last(): void {
    this.#at = this.#rows.length - 1;
  }

  seek(key: Uint8Array, keyLength: number): void {
    this.#at = this.#rows.findIndex((row) => compareInternal(row.key, row.key.length, key, keyLength) >= 0);
    if (this.#at < 0) this.#at = this.#rows.length;
  }

  next(): void {
    this.#at++;
  }

  prev(): void {
    this.#at--;
  }

  get #row(): { readonly key: Uint8Array; readonly stored: Uint8Array } {
    return this.#rows[this.#at] as { readonly key: Uint8Array; readonly stored: Uint8Array };
  }
}
