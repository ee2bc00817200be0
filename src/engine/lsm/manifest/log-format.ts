/**
 * LevelDB's log framing, which its manifest uses.
 *
 *   file   := block*                                  block = 32 KiB, the last may be shorter
 *   block  := fragment* [zeros, when fewer than 7 bytes are left]
 *   fragment := masked crc32c u32 | length u16 | type u8 | payload        crc over type and payload
 *   type 1 FULL; 2 FIRST, 3 MIDDLE, 4 LAST of a record that goes over blocks' ends
 *
 * Where a bad place ends the log, and where it is damage. The manifest syncs each record before it writes the
 * next, so a crash can leave one record unsynced at most: the last. Of that one a disk keeps any choice of its
 * sectors and any length; what it did not keep reads as zeros, as the file only grows into new space. A bad place
 * is therefore a *torn tail*, cut off and told, when all of these hold:
 *   - no record begins, whole and with a good checksum, behind it (it would prove that the place was synced);
 *   - the fragment's header, if it lies in one sector and is there, is one our writer makes, and does not end
 *     before the file does (only a later record could be behind it);
 *   - something is missing: the file ends inside the record, or a sector's share of it is all zeros.
 * Anything else is TABLE_CORRUPT with file and offset. Nothing is skipped.
 *
 * In the last record alone rot and a tear can look alike: when a sector's share of it was zeros anyway (say the last
 * few bytes of a key's revision), or when a length rots upwards and more of the record is bad. Then it costs that one
 * edit, as the tear would; that its tables or inputs are not as the older state says is for recovery's checks to find.
 *
 * A payload that itself holds a good FULL fragment could make a torn record pass for damage: loud, never silent.
 */
import type { DiskFile } from '../../../core/base/env.ts';
import { assert } from '../../../core/base/assert.ts';
import { crc32c, mask } from '../../../core/base/crc32c.ts';
import { StoreError } from '../../../core/base/errors.ts';

export const BLOCK_BYTES: number = 32 * 1024;
export const HEADER_BYTES = 7;
/** The most a disk writes as one. */
const SECTOR_BYTES = 512;

const FULL = 1;
const FIRST = 2;
const MIDDLE = 3;
const LAST = 4;

/** Appends records to a file that nobody else writes. Each append is one write; the owner syncs. */
export class LogWriter {
  readonly #file: DiskFile;
  #offset: number;

  constructor(file: DiskFile, startOffset: number) {
    this.#file = file;
    this.#offset = startOffset;
  }

  /** Where the next record begins (or the zeros before it). Moves only when an append returned. */
  get offset(): number {
    return this.#offset;
  }

  append(payload: Uint8Array): void {
    const bytes = frame(payload, this.#offset % BLOCK_BYTES);
    this.#file.write(bytes, this.#offset);
    this.#offset += bytes.length;
  }
}

/** A record's fragments, as they follow what stands at `blockOffset` of the last block. */
function frame(payload: Uint8Array, blockOffset: number): Uint8Array {
  const out = new Uint8Array(framedBytes(payload.length, blockOffset));
  let at = 0;
  let inBlock = blockOffset;
  let done = 0;
  for (let isFirst = true; ; isFirst = false) {
    if (BLOCK_BYTES - inBlock < HEADER_BYTES) {
      at += BLOCK_BYTES - inBlock;
      inBlock = 0;
    }
    const length = Math.min(payload.length - done, BLOCK_BYTES - inBlock - HEADER_BYTES);
    const isLast = done + length === payload.length;
    out[at + 4] = length & 0xff;
    out[at + 5] = length >>> 8;
    out[at + 6] = isFirst ? (isLast ? FULL : FIRST) : isLast ? LAST : MIDDLE;
    out.set(payload.subarray(done, done + length), at + HEADER_BYTES);
    const crc = mask(crc32c(out, at + 6, at + HEADER_BYTES + length));
    out[at] = crc & 0xff;
    out[at + 1] = (crc >>> 8) & 0xff;
    out[at + 2] = (crc >>> 16) & 0xff;
    out[at + 3] = crc >>> 24;
    at += HEADER_BYTES + length;
    inBlock += HEADER_BYTES + length;
    done += length;
    if (isLast) break;
  }
  assert(at === out.length, 'a record is framed in the bytes counted for it');
  return out;
}

function framedBytes(payloadBytes: number, blockOffset: number): number {
  let total = 0;
  let inBlock = blockOffset;
  let left = payloadBytes;
  do {
    if (BLOCK_BYTES - inBlock < HEADER_BYTES) {
      total += BLOCK_BYTES - inBlock;
      inBlock = 0;
    }
    const length = Math.min(left, BLOCK_BYTES - inBlock - HEADER_BYTES);
    total += HEADER_BYTES + length;
    inBlock += HEADER_BYTES + length;
    left -= length;
    // A record that fills its block to the last byte ends there, without an empty fragment behind it.
  } while (left > 0);
  return total;
}

/** Where a record is from. */
export interface RecordPlace {
  readonly file: string;
  readonly offset: number;
  readonly end: number;
}

export interface LogEnd {
  readonly records: number;
  /** Where the last whole record begins and ends: what may have been written and not yet synced. */
  readonly lastStart: number;
  readonly end: number;
  /** Bytes of a torn record behind `end`. */
  readonly trimmedBytes: number;
}

/** Reads a log from its start, record by record; throws TABLE_CORRUPT at damage (see above). Changes nothing. */
export function readLog(
  file: DiskFile,
  path: string,
  onRecord: (payload: Uint8Array, place: RecordPlace) => void,
): LogEnd {
  const bytes = readWhole(file);
  let records = 0;
  let lastStart = 0;
  let end = 0;
  for (;;) {
    const record = readRecord(bytes, path, end);
    if (record === undefined) return { records, lastStart, end, trimmedBytes: bytes.length - end };
    onRecord(record.payload, { file: path, offset: record.start, end: record.end });
    records++;
    lastStart = record.start;
    end = record.end;
  }
}

interface LogRecord {
  readonly payload: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** The record after `from`; undefined at the end, torn or clean. */
function readRecord(bytes: Uint8Array, path: string, from: number): LogRecord | undefined {
  const start = skipTrailer(from);
  if (start >= bytes.length) {
    // Zeros that fill a block are written in one with the record behind them.
    if (bytes.subarray(from).some((byte) => byte !== 0)) throw damaged(path, from, 'a block does not end in zeros');
    return undefined;
  }
  const parts: Uint8Array[] = [];
  for (let at = start; ; at = skipTrailer(at)) {
    if (at >= bytes.length) return undefined;
    if (!isGoodFragment(bytes, at)) {
      const damage = whyNotTorn(bytes, at);
      if (damage !== undefined) throw damaged(path, at, damage);
      return undefined;
    }
    const type = bytes[at + 6] as number;
    const begins = type === FULL || type === FIRST;
    if (begins !== (parts.length === 0)) {
      throw damaged(path, at, begins ? 'a record begins inside another' : 'a record without its beginning');
    }
    const next = at + HEADER_BYTES + lengthAt(bytes, at);
    parts.push(bytes.subarray(at + HEADER_BYTES, next));
    at = next;
    if (type === FULL || type === LAST) return { payload: join(parts), start, end: next };
  }
}

/** Why the bad fragment at `at` cannot be what is left of an unsynced write; undefined when it can. */
function whyNotTorn(bytes: Uint8Array, at: number): string | undefined {
  for (let later = at + 1; later + HEADER_BYTES <= bytes.length; later++) {
    const type = bytes[later + 6] as number;
    if ((type === FULL || type === FIRST) && isGoodFragment(bytes, later)) {
      return `a checksum does not match, and the record at ${later} proves that this place was synced`;
    }
  }
  const left = bytes.length - at;
  if (left < HEADER_BYTES) return undefined;
  const next = at + HEADER_BYTES + lengthAt(bytes, at);
  // A header in one sector was written whole or not at all.
  const isOneSector = at % SECTOR_BYTES <= SECTOR_BYTES - HEADER_BYTES;
  if (isOneSector && bytes.subarray(at, at + HEADER_BYTES).some((byte) => byte !== 0)) {
    const type = bytes[at + 6] as number;
    const blockEnd = at - (at % BLOCK_BYTES) + BLOCK_BYTES;
    if (type < FULL || type > LAST) return `there is no fragment type ${type}`;
    if (next > blockEnd) return 'a fragment is longer than its block';
    const isOpen = type === FIRST || type === MIDDLE;
    if (isOpen && next !== blockEnd) return 'a record goes on before its block ends';
    if (!isOpen && next < bytes.length) return 'a checksum does not match, and more was written behind it';
  }
  if (next > bytes.length) {
    const isRottenLength = storedCrc(bytes, at) === mask(crc32c(bytes, at + 6, bytes.length));
    return isRottenLength ? 'a length is longer than what its checksum covers' : undefined;
  }
  return hasLostSector(bytes, at) ? undefined : 'a checksum does not match';
}

/** Some sector's share of [from, end) is all zeros. */
function hasLostSector(bytes: Uint8Array, from: number): boolean {
  for (let at = from; at < bytes.length; ) {
    const next = Math.min(bytes.length, at - (at % SECTOR_BYTES) + SECTOR_BYTES);
    if (!bytes.subarray(at, next).some((byte) => byte !== 0)) return true;
    at = next;
  }
  return false;
}

/** A fragment that lies in its block and in the file, of a known type, with a checksum that matches. */
function isGoodFragment(bytes: Uint8Array, at: number): boolean {
  if (at + HEADER_BYTES > bytes.length) return false;
  const type = bytes[at + 6] as number;
  if (type < FULL || type > LAST) return false;
  const next = at + HEADER_BYTES + lengthAt(bytes, at);
  if (next > bytes.length || next > at - (at % BLOCK_BYTES) + BLOCK_BYTES) return false;
  return storedCrc(bytes, at) === mask(crc32c(bytes, at + 6, next));
}

function lengthAt(bytes: Uint8Array, at: number): number {
  return (bytes[at + 4] as number) | ((bytes[at + 5] as number) << 8);
}

function storedCrc(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at + 3] as number) << 24) >>> 0;
  return high + ((bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16));
}

/** A place too near its block's end for a header is the next block's beginning. */
function skipTrailer(at: number): number {
  const left = BLOCK_BYTES - (at % BLOCK_BYTES);
  return left < HEADER_BYTES ? at + left : at;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (only !== undefined && parts.length === 1) return only;
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A manifest is some megabytes at most. */
function readWhole(file: DiskFile): Uint8Array {
  const bytes = new Uint8Array(file.size());
  let at = 0;
  while (at < bytes.length) {
    const count = file.read(bytes, at, bytes.length - at, at);
    if (count === 0) break;
    at += count;
  }
  return bytes.subarray(0, at);
}

function damaged(path: string, offset: number, what: string): StoreError {
  return new StoreError('TABLE_CORRUPT', `${path} is damaged at offset ${offset}: ${what}`, {
    data: { file: path, offset },
  });
}
