/**
 * Format of an LDB: what stands in its LMDB file, and how to tell that a file is one.
 *
 *   kv        key → revision u64 | expiryMs f64 | value        (expiryMs 0: never)
 *   meta      'position' → format u32 | revision u64 | timeMs f64 | cluster blob | crc32c u32
 *             'filter'   → filter (core/model/ledger-filter.ts) | crc32c u32      what it holds; not there: everything
 *             'ring'     → name in UTF-8         of the ring that readers are shown the data of; not there: none
 *   incoming  as kv: a snapshot on its way in, of no meaning to readers
 *   ledger    the newest records, where a relay keeps them (kept-ledger.ts); of no meaning to readers
 *
 * Rows and position change in one LMDB transaction, so the position says exactly what the rows hold. It has a
 * checksum because LMDB's pages have none and everything else hangs on it.
 */
import { assert } from '../../core/base/assert.ts';
import { ByteReader, ByteWriter, utf8 } from '../../core/base/bytes.ts';
import { crc32c } from '../../core/base/crc32c.ts';
import type { DiskFile } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type Revision, toIndex } from '../../core/base/position.ts';
import { decodeFilter, encodeFilter, type LedgerFilter } from '../../core/model/ledger-filter.ts';

export const LDB_FORMAT = 1;

/** LMDB's own bound with pages of 4 KiB. */
export const LDB_KEY_BYTES_MAX = 1978;

/**
 * All keys are at or after this one, as LMDB has no empty keys. Every range names its first key: where none is
 * named lmdb-js begins at [5] (below that it keeps keys of its own), or in reverse ends before [0].
 */
export const FIRST_KEY: Uint8Array = Uint8Array.of(0);

export const KV = 'kv';
export const META = 'meta';
export const INCOMING = 'incoming';
export const LEDGER = 'ledger';
export const POSITION_KEY: Uint8Array = utf8('position');
export const FILTER_KEY: Uint8Array = utf8('filter');
/** ledger-hash.ts */
export const HASH_KEY: Uint8Array = utf8('hash');
/** showing.ts */
export const RING_KEY: Uint8Array = utf8('ring');

// ---- Position

/** How far an LDB is: the state of `cluster` at `revision`. */
export interface LdbPosition {
  /** '' until the first write. */
  readonly cluster: string;
  /** 0 until the first write. */
  readonly revision: Revision;
  /** Log time of that revision: how old the copy is. */
  readonly timeMs: number;
}

export const NO_POSITION: LdbPosition = { cluster: '', revision: toIndex(0), timeMs: 0 };

export function encodePosition(position: LdbPosition): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(64);
  writer.u32(LDB_FORMAT).u64(position.revision).f64(position.timeMs).string(position.cluster);
  return writer.u32(crc32c(writer.view())).take();
}

/** Of `bytes`, its first `length`: LMDB's own buffer is longer than what it holds. */
export function decodePosition(bytes: Uint8Array, length: number, dir: string): LdbPosition {
  const reader = new ByteReader(bytes.subarray(0, length));
  try {
    const format = reader.u32();
    if (format !== LDB_FORMAT) {
      throw new StoreError('LDB_CORRUPT', `${dir} has LDB format ${format}; this version reads ${LDB_FORMAT}`);
    }
    const position = { revision: toIndex(reader.u64()), timeMs: reader.f64(), cluster: reader.string() };
    const expected = crc32c(bytes, 0, reader.at);
    if (reader.u32() !== expected) throw new StoreError('LDB_CORRUPT', `the position in ${dir} has a wrong checksum`);
    reader.end();
    return position;
  } catch (cause) {
    if (cause instanceof StoreError && cause.code === 'LDB_CORRUPT') throw cause;
    throw new StoreError('LDB_CORRUPT', `the position in ${dir} cannot be read`, { cause });
  }
}

// ---- Filter

export function encodeStoredFilter(filter: LedgerFilter): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(64).raw(encodeFilter(filter));
  return writer.u32(crc32c(writer.view())).take();
}

/** Of `bytes`, its first `length`. */
export function decodeStoredFilter(bytes: Uint8Array, length: number, dir: string): LedgerFilter {
  const reader = new ByteReader(new Uint8Array(bytes.subarray(0, length)));
  try {
    const filter = decodeFilter(reader);
    const expected = crc32c(bytes, 0, reader.at);
    if (reader.u32() === expected && reader.left === 0) return filter;
  } catch (cause) {
    throw new StoreError('LDB_CORRUPT', `the filter in ${dir} cannot be read`, { cause });
  }
  throw new StoreError('LDB_CORRUPT', `the filter in ${dir} has a wrong checksum`);
}

// ---- Rows

export const ROW_HEADER_BYTES = 16;
const EXPIRY_AT = 8;

/**
 * The last byte of the expiry holds the top bits of its exponent: 0 for 0, and at least 0x3f from 1 on. So one
 * byte tells the many rows that never expire from the others.
 */
export const EXPIRY_TOP_AT = 15;

/**
 * Lays rows one after the other into one buffer, so that a batch costs one allocation and each value one copy.
 * LMDB keeps pointers into it: it must not change until the batch is committed.
 */
export class RowArena {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = 0;

  constructor(capacityBytes: number) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  add(value: Uint8Array, revision: Revision, expiryMs: number): Uint8Array<ArrayBuffer> {
    const at = this.#at;
    const end = at + ROW_HEADER_BYTES + value.length;
    assert(end <= this.#bytes.length, 'the arena was made for these rows');
    // Not an assertion: it came over the wire. (`EXPIRY_TOP_AT` needs it.)
    if (!(expiryMs === 0 || expiryMs >= 1)) {
      throw new StoreError('PROTOCOL_ERROR', `${expiryMs} is no time at which a value expires`);
    }
    this.#view.setUint32(at, revision >>> 0, true);
    this.#view.setUint32(at + 4, (revision / 0x1_0000_0000) >>> 0, true);
    this.#view.setFloat64(at + EXPIRY_AT, expiryMs, true);
    this.#bytes.set(value, at + ROW_HEADER_BYTES);
    this.#at = end;
    return this.#bytes.subarray(at, end);
  }
}

/** A row of one state as it is given to others. */
export interface StoredRow {
  readonly key: Uint8Array;
  /** In place. */
  readonly value: Uint8Array;
  readonly revision: Revision;
  /** 0: never. */
  readonly expiryMs: number;
}

export function storedRow(key: Uint8Array, row: Uint8Array): StoredRow {
  return { key, value: row.subarray(ROW_HEADER_BYTES), revision: rowRevision(row, 0), expiryMs: rowExpiryMs(row, 0) };
}

export function rowRevision(bytes: Uint8Array, at: number): Revision {
  const low = u32(bytes, at);
  const high = u32(bytes, at + 4);
  return toIndex(high * 0x1_0000_0000 + low);
}

export function rowExpiryMs(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getFloat64(at + EXPIRY_AT, true);
}

function u32(bytes: Uint8Array, at: number): number {
  const upper = (bytes[at + 3] as number) * 0x100_0000;
  return upper + (((bytes[at + 2] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at] as number));
}

// ---- The file

const LMDB_PAGE_BYTES_MIN = 4096;
const LMDB_META_BYTES = 0xa8;
const LMDB_MAGIC = 0xbeefc0de;
const META_MAGIC_AT = 24;
const META_PAGE_BYTES_AT = 48;
const META_ROOT_AT = 136;
const META_TXN_AT = 152;
const NO_ROOT = 0xffff_ffff;

/**
 * What an LMDB file's first two pages say (lmdb.h, MDB_meta), and whether its root is inside the file.
 *
 * We look before LMDB does because it does not look at all: a read-only open of an empty or foreign file ends
 * the process (SIGSEGV), and so does the first read behind the end of one that was cut (SIGBUS). The root is
 * not the whole tree, so a cut below it still passes; and the file may rightly be shorter than its last page
 * says (LMDB leaves free pages at the end unwritten), so that says nothing.
 */
export function checkLmdbFile(file: DiskFile): 'ok' | 'empty' | 'foreign' | 'cut' {
  if (file.size() === 0) return 'empty';
  const first = readMeta(file, 0);
  if (first === undefined) return 'foreign';
  const second = readMeta(file, first.pageBytes);
  if (second === undefined) return 'cut';
  const newest = second.txn > first.txn ? second : first;
  // Asked after the pages were read: a writer extends the file first and points to it then.
  return newest.root === undefined || (newest.root + 1) * newest.pageBytes <= file.size() ? 'ok' : 'cut';
}

interface LmdbMeta {
  readonly pageBytes: number;
  /** Page number of the root, or undefined for an empty tree. */
  readonly root: number | undefined;
  readonly txn: number;
}

function readMeta(file: DiskFile, at: number): LmdbMeta | undefined {
  const view = new DataView(new ArrayBuffer(LMDB_META_BYTES));
  if (file.read(new Uint8Array(view.buffer), 0, LMDB_META_BYTES, at) < LMDB_META_BYTES) return undefined;
  const pageBytes = view.getUint32(META_PAGE_BYTES_AT, true);
  if (view.getUint32(META_MAGIC_AT, true) !== LMDB_MAGIC || pageBytes < LMDB_PAGE_BYTES_MIN) return undefined;
  const u64 = (offset: number): number => view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32;
  const isEmpty = view.getUint32(META_ROOT_AT + 4, true) === NO_ROOT;
  return { pageBytes, root: isEmpty ? undefined : u64(META_ROOT_AT), txn: u64(META_TXN_AT) };
}

/** A key: bytes, or text as UTF-8. */
export type Key = Uint8Array | string;
