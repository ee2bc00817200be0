/**
 * Bytes: a growing writer and a checking reader, little-endian, used by every format of the house.
 *
 * The writer owns one buffer and doubles it; `view()` is valid until the next write. The reader trusts nothing:
 * a length is compared with what is left before anything is made of it, and a failure names the offset.
 */
import { assert } from './assert.ts';
import { StoreError } from './errors.ts';

const encoder = new TextEncoder();
// `ignoreBOM` means "leave it in": a text that begins with U+FEFF must come back as it was.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export const EMPTY: Uint8Array = new Uint8Array(0);

/** UTF-8 of a text. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Text of UTF-8 bytes, copied out of shared memory first where needed; throws PROTOCOL_ERROR on bad UTF-8. */
export function text(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes.buffer instanceof ArrayBuffer ? bytes : Uint8Array.from(bytes));
  } catch (cause) {
    throw new StoreError('PROTOCOL_ERROR', 'bytes are not UTF-8', { cause });
  }
}

/** Keys up to this long are encoded without an allocation by a KeyEncoder. */
const KEY_SCRATCH_BYTES = 256;

/**
 * KeyEncoder: UTF-8 of short ASCII texts in a buffer of its own, for reads that look a key up and forget it. A
 * TextEncoder call and its allocation cost as much as the look-up.
 */
export class KeyEncoder {
  readonly #scratch = new Uint8Array(KEY_SCRATCH_BYTES);
  readonly #views: readonly Uint8Array[] = Array.from({ length: KEY_SCRATCH_BYTES + 1 }, (_, length) =>
    this.#scratch.subarray(0, length),
  );

  /** Valid until the next call; undefined when the text is long or not ASCII. */
  encode(value: string): Uint8Array | undefined {
    const { length } = value;
    if (length > KEY_SCRATCH_BYTES) return undefined;
    const scratch = this.#scratch;
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code > 0x7f) return undefined;
      scratch[i] = code;
    }
    return this.#views[length];
  }
}

/** Byte order: negative, 0 or positive. A loop, because Buffer.compare costs more under about 64 bytes. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = a.length < b.length ? a.length : b.length;
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0;
}

/** The first key after every key with this prefix, or undefined when there is none (empty or all 0xff). */
export function prefixEnd(prefix: Uint8Array): Uint8Array | undefined {
  for (let i = prefix.length - 1; i >= 0; i--) {
    const byte = prefix[i] as number;
    if (byte < 0xff) {
      const end = prefix.slice(0, i + 1);
      end[i] = byte + 1;
      return end;
    }
  }
  return undefined;
}

/** A reader is made per message part: it holds no DataView, which would cost more than what it reads. */
const SCRATCH = new Uint8Array(8);
const SCRATCH_VIEW = new DataView(SCRATCH.buffer);

function loadU32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

/** Below this a loop beats `set`. */
const LOOP_BYTES_MAX = 24;

export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #at = 0;

  constructor(capacityBytes = 256) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#at;
  }

  reset(): void {
    this.#at = 0;
  }

  /** What was written, in place: valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  /** A copy of what was written. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#at);
  }

  u8(value: number): this {
    this.#room(1);
    this.#bytes[this.#at++] = value;
    return this;
  }

  u32(value: number): this {
    this.#room(4);
    this.#view.setUint32(this.#at, value, true);
    this.#at += 4;
    return this;
  }

  /** A counter below 2^53 in 8 bytes. */
  u64(value: number): this {
    assert(Number.isSafeInteger(value) && value >= 0, 'a counter is a safe integer, zero or more');
    this.#room(8);
    this.#view.setUint32(this.#at, value >>> 0, true);
    this.#view.setUint32(this.#at + 4, (value / 0x1_0000_0000) >>> 0, true);
    this.#at += 8;
    return this;
  }

  f64(value: number): this {
    this.#room(8);
    this.#view.setFloat64(this.#at, value, true);
    this.#at += 8;
    return this;
  }

  /** A counter below 2^53, seven bits a byte. */
  varint(value: number): this {
    assert(Number.isSafeInteger(value) && value >= 0, 'a counter is a safe integer, zero or more');
    this.#room(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
    return this;
  }

  raw(bytes: Uint8Array): this {
    const { length } = bytes;
    this.#room(length);
    if (length > LOOP_BYTES_MAX) this.#bytes.set(bytes, this.#at);
    else for (let i = 0; i < length; i++) this.#bytes[this.#at + i] = bytes[i] as number;
    this.#at += length;
    return this;
  }

  /** A varint length, then the bytes. */
  blob(bytes: Uint8Array): this {
    return this.varint(bytes.length).raw(bytes);
  }

  string(value: string): this {
    return this.blob(encoder.encode(value));
  }

  /** Overwrites four bytes written before: for counts known only at the end. */
  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  #room(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

export class ByteReader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    this.#need(1);
    return this.#bytes[this.#at++] as number;
  }

  u32(): number {
    this.#need(4);
    const value = loadU32(this.#bytes, this.#at);
    this.#at += 4;
    return value;
  }

  u64(): number {
    this.#need(8);
    const value = loadU32(this.#bytes, this.#at) + loadU32(this.#bytes, this.#at + 4) * 0x1_0000_0000;
    if (!Number.isSafeInteger(value)) throw this.#bad('counter above 2^53');
    this.#at += 8;
    return value;
  }

  f64(): number {
    this.#need(8);
    for (let i = 0; i < 8; i++) SCRATCH[i] = this.#bytes[this.#at + i] as number;
    this.#at += 8;
    return SCRATCH_VIEW.getFloat64(0, true);
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
      scale *= 0x80;
      if (scale > 0x4_0000_0000_0000) throw this.#bad('varint too long');
    }
    if (!Number.isSafeInteger(value)) throw this.#bad('counter above 2^53');
    return value;
  }

  /** The next `length` bytes, in place (a view of the reader's buffer). */
  raw(length: number): Uint8Array {
    this.#need(length);
    const part = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return part;
  }

  blob(): Uint8Array {
    return this.raw(this.varint());
  }

  /** What was read since it stood at `begin`, in place. */
  since(begin: number): Uint8Array {
    return this.#bytes.subarray(begin, this.#at);
  }

  string(): string {
    return text(this.blob());
  }

  /** Says that the message ends here. */
  end(): void {
    if (this.left !== 0) throw this.#bad(`${this.left} bytes too many`);
  }

  #need(bytes: number): void {
    if (bytes > this.#bytes.length - this.#at) throw this.#bad(`${bytes} bytes wanted, ${this.left} left`);
  }

  #bad(what: string): StoreError {
    return new StoreError('PROTOCOL_ERROR', `cannot read at offset ${this.#at}: ${what}`);
  }
}
