/**
 * LdbEntry: one row as it was read.
 *
 * A class with getters, and nothing made before it is asked for: a read costs one small object and one copy of
 * the row's bytes. Copies go side by side into slabs of 8 KiB, as node's own Buffers do: an array for each read
 * costs a fifth of the read. An entry therefore keeps its slab alive; who stores very few of very many reads for
 * long may `slice()` the value.
 */
import { inspect } from 'node:util';
import { text, utf8 } from '../../core/base/bytes.ts';
import type { Revision } from '../../core/base/position.ts';
import type { Key } from './format.ts';
import { ROW_HEADER_BYTES, rowExpiryMs, rowRevision } from './format.ts';

export class LdbEntry {
  readonly #key: Key | undefined;
  readonly #bytes: Uint8Array;
  readonly #at: number;
  readonly #end: number;
  readonly #keyEnd: number;

  /**
   * The row stands in `bytes[at, end)`, which nobody may change any more; and the key, unless it is given, in
   * `bytes[end, keyEnd)`.
   */
  constructor(key: Key | undefined, bytes: Uint8Array, at: number, end: number, keyEnd: number = end) {
    this.#key = key;
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
    this.#keyEnd = keyEnd;
  }

  get key(): Uint8Array {
    if (typeof this.#key === 'string') return utf8(this.#key);
    return this.#key ?? this.#part(this.#end, this.#keyEnd);
  }

  /** The caller's to keep. */
  get value(): Uint8Array {
    return this.#part(this.#at + ROW_HEADER_BYTES, this.#end);
  }

  /** The write that made this value. */
  get revision(): Revision {
    return rowRevision(this.#bytes, this.#at);
  }

  /** Absolute log time at which it expires, or undefined. */
  get expiryMs(): number | undefined {
    return rowExpiryMs(this.#bytes, this.#at) || undefined;
  }

  keyText(): string {
    return typeof this.#key === 'string' ? this.#key : text(this.key);
  }

  text(): string {
    return text(this.value);
  }

  json(): unknown {
    return JSON.parse(this.text());
  }

  #part(from: number, to: number): Uint8Array {
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + from, to - from);
  }
}

/** For console.log, which does not show getters. (Not in the class: isolated declarations cannot name it there.) */
Object.defineProperty(LdbEntry.prototype, inspect.custom, {
  value(this: LdbEntry): object {
    return { key: this.key, value: this.value, revision: this.revision, expiryMs: this.expiryMs };
  },
});

const SLAB_BYTES = 8192;
/** Longer rows get an array of their own, so that a slab is never left half empty. */
const SLAB_ROW_BYTES_MAX = 2048;

let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let slabUsed = 0;

/**
 * An entry of the first `length` bytes of `row`, copied: LMDB's buffer holds it only until the next read. A key
 * of bytes is copied too, as it is the caller's array.
 */
export function copyEntry(key: Key, row: Buffer, length: number): LdbEntry {
  const isText = typeof key === 'string';
  const size = isText ? length : length + key.length;
  let at = 0;
  let target: Buffer;
  if (size > SLAB_ROW_BYTES_MAX) target = Buffer.allocUnsafeSlow(size);
  else {
    if (slabUsed + size > SLAB_BYTES) {
      slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      slabUsed = 0;
    }
    target = slab;
    at = slabUsed;
    slabUsed += size;
  }
  row.copy(target, at, 0, length);
  if (isText) return new LdbEntry(key, target, at, at + length);
  target.set(key, at + length);
  return new LdbEntry(undefined, target, at, at + length, at + size);
}
