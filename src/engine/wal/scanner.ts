/**
 * SegmentScanner: walks the records of one segment file, and says exactly where and why it stopped.
 *
 * It reads the file in windows of whole blocks, so a segment of any size costs a fixed amount of memory, and
 * never decides what a stop means: recovery does (torn tail or damage), the catch-up reader does (not there
 * yet). The salt of the segment it reads from its first record, wherever it begins.
 */
import { EMPTY } from '../../core/base/bytes.ts';
import type { DiskFile } from '../../core/base/env.ts';
import { BLOCK_BYTES, CHUNK, type Chunk, HEADER_BYTES, readChunk } from './format.ts';
import { saltOf } from './payload.ts';
import { skipZeros } from './zeros.ts';

const WINDOW_BYTES = 8 * BLOCK_BYTES;
/** So many bytes are looked at one by one before zeros are skipped. */
const LOOK_FOR_ZEROS = 64;

/** A record found whole. `payload` is valid until the next call of `next()`. */
export interface ScannedRecord {
  readonly payload: Uint8Array;
  /** Offset of its first chunk. */
  readonly start: number;
  /** Offset after its last chunk. */
  readonly end: number;
  /** Its chunks say that the segment was synced up to here before they were written. */
  readonly syncedOffset: number;
}

export class SegmentScanner {
  readonly #file: DiskFile;
  readonly #segment: number;
  readonly #salt: number;
  #window: Uint8Array = EMPTY;
  #windowStart = 0;
  #windowBytes = 0;
  #at: number;
  /** Set once next() returned undefined: where the last good record ended, and what stood there instead. */
  stop: { readonly offset: number; readonly reason: string } | undefined;

  constructor(file: DiskFile, segment: number, from = 0) {
    this.#file = file;
    this.#segment = segment;
    this.#salt = readSalt(file, segment);
    this.#at = from;
  }

  /** Of the segment's chunks; 0 when its first record is no base, or cannot be read. */
  get salt(): number {
    return this.#salt;
  }

  /** Where the next record is looked for. */
  get offset(): number {
    return this.#at;
  }

  /** The next whole record, or undefined at the first place where there is none (see `stop`). */
  next(): ScannedRecord | undefined {
    const start = this.#skipTrailer(this.#at);
    let at = start;
    const parts: Uint8Array[] = [];
    let syncedOffset = 0;
    for (;;) {
      at = this.#skipTrailer(at);
      const chunk = this.#chunkAt(at);
      if (chunk === undefined) return this.#end(start, this.#describe(at));
      const isStart = chunk.type === CHUNK.whole || chunk.type === CHUNK.first;
      if (isStart !== (parts.length === 0)) return this.#end(start, 'a record begins or ends in the wrong place');
      const payload = this.#window.subarray(chunk.from, chunk.to);
      at += HEADER_BYTES + payload.length;
      syncedOffset = Math.max(syncedOffset, chunk.syncedOffset);
      if (chunk.type === CHUNK.whole) {
        this.#at = at;
        return { payload, start, end: at, syncedOffset };
      }
      parts.push(payload.slice());
      if (chunk.type === CHUNK.last) {
        this.#at = at;
        return { payload: join(parts), start, end: at, syncedOffset };
      }
    }
  }

  #end(offset: number, reason: string): undefined {
    this.stop = { offset, reason };
    return undefined;
  }

  /** A block's last bytes hold no chunk when a header does not fit. */
  #skipTrailer(at: number): number {
    const room = BLOCK_BYTES - (at % BLOCK_BYTES);
    return room < HEADER_BYTES ? at + room : at;
  }

  #chunkAt(at: number): Chunk | undefined {
    const blockStart = at - (at % BLOCK_BYTES);
    const isInWindow = blockStart >= this.#windowStart && blockStart < this.#windowStart + this.#windowBytes;
    if (isInWindow) {
      const chunk = this.#chunkInWindow(at);
      if (chunk !== undefined) return chunk;
    }
    // Not read yet, or the file has grown since it was: what counts is what the file says now.
    this.#load(blockStart);
    return this.#chunkInWindow(at);
  }

  #chunkInWindow(at: number): Chunk | undefined {
    const salt = at === 0 ? 0 : this.#salt;
    return readChunk(this.#window.subarray(0, this.#windowBytes), at - this.#windowStart, this.#segment, salt);
  }

  #load(blockStart: number): void {
    // A fresh buffer each time: payload views of the previous window stay intact for their holder.
    const bytes = Math.max(0, Math.min(WINDOW_BYTES, this.#file.size() - blockStart));
    this.#window = new Uint8Array(bytes);
    this.#windowStart = blockStart;
    this.#windowBytes = 0;
    while (this.#windowBytes < bytes) {
      const read = this.#file.read(
        this.#window,
        this.#windowBytes,
        bytes - this.#windowBytes,
        blockStart + this.#windowBytes,
      );
      if (read === 0) break;
      this.#windowBytes += read;
    }
  }

  #describe(at: number): string {
    const from = at - this.#windowStart;
    const header = this.#window.subarray(from, Math.min(from + HEADER_BYTES, this.#windowBytes));
    if (header.length === 0) return 'the file ends';
    return header.every((byte) => byte === 0) ? 'zeros' : 'a bad checksum or header';
  }
}

/** A base is one chunk, and hardly ever longer than this. */
const BASE_BYTES = 256;

function readSalt(file: DiskFile, segment: number): number {
  for (const length of [BASE_BYTES, BLOCK_BYTES]) {
    const bytes = new Uint8Array(length);
    const have = file.read(bytes, 0, length, 0);
    const chunk = readChunk(bytes.subarray(0, have), 0, segment, 0);
    if (chunk?.type === CHUNK.whole) return saltOf(bytes.subarray(chunk.from, chunk.to));
    if (have < length) break;
  }
  return 0;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  let bytes = 0;
  for (const part of parts) bytes += part.length;
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * Looks behind a stop for a good chunk that was written when the segment was already synced beyond `offset`:
 * the proof that what stands at `offset` is damage and no torn tail. Returns that chunk's offset.
 */
export function findProofOfSync(file: DiskFile, segment: number, salt: number, offset: number): number | undefined {
  const size = file.size();
  // Chunks never cross a block, so each block can be searched alone, byte by byte.
  for (let block = offset - (offset % BLOCK_BYTES); block < size; block += BLOCK_BYTES) {
    const bytes = new Uint8Array(Math.min(BLOCK_BYTES, size - block));
    let have = 0;
    while (have < bytes.length) {
      const read = file.read(bytes, have, bytes.length - have, block + have);
      if (read === 0) break;
      have += read;
    }
    for (let at = Math.max(0, offset - block); at + HEADER_BYTES <= have; at++) {
      const type = bytes[at + 6] as number;
      // No chunk has its type among zeros: up to the last of them, there is none. Now and then, because most zeros are few.
      if (type === 0 && at % LOOK_FOR_ZEROS === 0) at = Math.max(at, skipZeros(bytes, at + 6, have) - 7);
      if (type < CHUNK.whole || type > CHUNK.last) continue;
      const chunk = readChunk(bytes, at, segment, salt);
      if (chunk === undefined || chunk.syncedOffset <= offset) continue;
      // What claims a sync of bytes behind itself was never ours: a value may hold anything, also chunks.
      if (chunk.syncedOffset <= block + at) return block + at;
    }
  }
  return undefined;
}
