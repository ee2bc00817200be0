/**
 * Batch: writes that happen together, as they stand in the log.
 *
 *   batch   = timeMs f64 | op*
 *   op      = 1 put          key blob | value blob
 *           | 2 put, expires expiryMs f64 | key blob | value blob
 *           | 3 delete       key blob
 *           | 4 delete range from blob | to blob (empty: to the end)
 *
 * Encoded once, where it is filled; the log keeps these bytes, and applying reads them, in a replay as the first time.
 * `timeMs` is the clock of the writer, so that time never goes back over a restart.
 */
import { ByteReader, ByteWriter } from '../../core/base/bytes.ts';
import { StoreError } from '../../core/base/errors.ts';

export const OP: Readonly<Record<'put' | 'putExpiring' | 'delete' | 'deleteRange', number>> = {
  put: 1,
  putExpiring: 2,
  delete: 3,
  deleteRange: 4,
};

/** Longest key: its length has 16 bits in a memtable, and some room in an index is kept. */
export const KEY_BYTES_MAX: number = 32 * 1024;

const TIME_BYTES = 8;
const NONE: Uint8Array = new Uint8Array(0);

export class Batch {
  readonly #writer = new ByteWriter(256);
  #count = 0;
  #puts = 0;
  readonly #valueBytesMax: number;

  constructor(valueBytesMax: number = Number.POSITIVE_INFINITY) {
    this.#valueBytesMax = valueBytesMax;
    this.#writer.f64(0);
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#writer.length;
  }

  /** Only deletes: welcome on a full disk. */
  get isDeletesOnly(): boolean {
    return this.#puts === 0;
  }

  /** `expiryMs`: the clock at which it goes; 0: never. */
  put(key: Uint8Array, value: Uint8Array, expiryMs = 0): this {
    checkKey(key);
    if (!Number.isSafeInteger(expiryMs) || expiryMs < 0) {
      throw new StoreError('BAD_REQUEST', `an expiry is a time in ms, or 0 for never; this one is ${expiryMs}`);
    }
    if (value.length > this.#valueBytesMax) {
      const limit = this.#valueBytesMax;
      throw new StoreError('VALUE_TOO_LARGE', `a value may have ${limit} bytes; this one has ${value.length}`, {
        data: { limit, size: value.length },
      });
    }
    if (expiryMs === 0) this.#writer.u8(OP.put);
    else this.#writer.u8(OP.putExpiring).f64(expiryMs);
    this.#writer.blob(key).blob(value);
    this.#count++;
    this.#puts++;
    return this;
  }

  delete(key: Uint8Array): this {
    checkKey(key);
    this.#writer.u8(OP.delete).blob(key);
    this.#count++;
    return this;
  }

  /** Deletes every key from `from` up to, and without, `to` (undefined: to the end). */
  deleteRange(from: Uint8Array, to: Uint8Array | undefined): this {
    this.#writer
      .u8(OP.deleteRange)
      .blob(from)
      .blob(to ?? NONE);
    this.#count++;
    return this;
  }

  clear(): void {
    this.#writer.reset();
    this.#writer.f64(0);
    this.#count = 0;
    this.#puts = 0;
  }

  /** The bytes for the log, stamped; lent until the next change. */
  stamped(timeMs: number): Uint8Array {
    const bytes = this.#writer.view();
    new DataView(bytes.buffer, bytes.byteOffset, TIME_BYTES).setFloat64(0, timeMs, true);
    return bytes;
  }
}

export const batchTimeMs = (bytes: Uint8Array): number => new ByteReader(bytes).f64();

/** One operation at a time, for whoever may have to wait between two: false at the end. */
export class BatchReader {
  readonly #reader: ByteReader;

  constructor(bytes: Uint8Array) {
    this.#reader = new ByteReader(bytes, TIME_BYTES);
  }

  kind = 0;
  key: Uint8Array = NONE;
  /** Of a delete range: its end; empty: none. */
  value: Uint8Array = NONE;
  expiryMs = 0;

  next(): boolean {
    const reader = this.#reader;
    if (reader.left === 0) return false;
    this.kind = reader.u8();
    this.expiryMs = this.kind === OP.putExpiring ? reader.f64() : 0;
    this.key = reader.blob();
    if (this.kind !== OP.delete) this.value = reader.blob();
    if (this.kind < 1 || this.kind > 4) throw new StoreError('WAL_CORRUPT', `a batch has an operation ${this.kind}`);
    return true;
  }
}

function checkKey(key: Uint8Array): void {
  if (key.length <= KEY_BYTES_MAX) return;
  throw new StoreError('KEY_INVALID', `a key may have ${KEY_BYTES_MAX} bytes; this one has ${key.length}`, {
    data: { limit: KEY_BYTES_MAX, size: key.length },
  });
}
