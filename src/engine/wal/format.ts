/**
 * The WAL's framing: LevelDB's 32 KiB-block log, with the segment's number and a synced-up-to offset in each
 * chunk (as Pebble's "WAL sync" chunks have).
 *
 *   segment = block*                    a block is 32 KiB; the file is zero-filled ahead of the data
 *   block   = chunk* trailer?           fewer than 19 bytes left in a block are zeros
 *   chunk   = crc u32 | length u16 | type u8 | segment u32 | synced u64 | payload
 *             crc      masked CRC-32C of everything after it, begun from the segment's salt
 *             type     9 whole record, 10 its first part, 11 a middle, 12 the last
 *             segment  number of the segment: bytes of the file's earlier life are not ours
 *             synced   this segment was synced up to this offset before this chunk was written
 *
 * Why `synced`: a bad chunk at offset X may be a write that a crash tore (its bytes were never promised to
 * anybody) or damage to bytes that were acknowledged. A later good chunk that says "synced beyond X" tells
 * which. Torn tails are trimmed; damage is reported with file and offset, and nothing is guessed.
 *
 * Why the salt: a value may hold anything, also what looks like such a later chunk, and a client must not be able to
 * make a torn tail pass for damage. The salt is random, of the segment, and told to nobody: it stands in the segment's
 * first record (its base), whose own chunk has salt 0. No byte of a client's stands before that.
 *
 * A header of zeros ends the data: segments are zero-filled ahead, which makes a sync about half as dear.
 */
import { assert } from '../../core/base/assert.ts';
import { mask } from '../../core/base/crc32c.ts';
import { checksum } from '../disk/checksum.ts';

export const BLOCK_BYTES: number = 32 * 1024;
export const HEADER_BYTES = 19;

export type ChunkType = 9 | 10 | 11 | 12;
export const CHUNK: Readonly<Record<'whole' | 'first' | 'middle' | 'last', ChunkType>> = {
  whole: 9,
  first: 10,
  middle: 11,
  last: 12,
};

export const ZERO_AHEAD_BYTES: number = 1024 * 1024;

assert(BLOCK_BYTES - HEADER_BYTES <= 0xffff, 'a chunk length fits in 16 bits');

const SUFFIX = '.wal';

/** `000001.wal`: sorts by number. */
export function segmentName(number: number): string {
  return `${String(number).padStart(6, '0')}${SUFFIX}`;
}

/** The number in a segment's name, or undefined when the name is not one. */
export function segmentNumber(name: string): number | undefined {
  const match = /^(\d{6,})\.wal$/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** `spare-000001.wal`: a segment's file whose bytes nobody needs any more, kept for its room on the disk. */
export function spareName(number: number): string {
  return `spare-${segmentName(number)}`;
}

export function isSpareName(name: string): boolean {
  return name.startsWith('spare-') && segmentNumber(name.slice('spare-'.length)) !== undefined;
}

/** Bytes that a payload takes on disk at `offset`, chunk headers and block trailers included. */
export function framedBytes(payloadBytes: number, offset: number): number {
  let at = offset;
  let left = payloadBytes;
  do {
    const room = BLOCK_BYTES - (at % BLOCK_BYTES);
    if (room < HEADER_BYTES) {
      at += room;
      continue;
    }
    const part = Math.min(left, room - HEADER_BYTES);
    // A header with no payload at a block's end is legal and only wastes it, as in LevelDB.
    at += HEADER_BYTES + part;
    left -= part;
    if (left === 0) break;
  } while (true);
  return at - offset;
}

/** Where a record goes: the file offset of `into[at]`, and what each chunk says of the segment. */
export interface FrameContext {
  readonly segment: number;
  /** 0: the chunk of a segment's first record. */
  readonly salt: number;
  readonly syncedOffset: number;
}

/**
 * Writes `payload` as chunks into `into` from `at`, which stands for file offset `offset`.
 * Returns the number of bytes written (= framedBytes).
 */
export function frameRecord(
  into: Uint8Array,
  at: number,
  offset: number,
  payload: Uint8Array,
  context: FrameContext,
): number {
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
  let position = at;
  let fileOffset = offset;
  let done = 0;
  let isFirst = true;
  for (;;) {
    const room = BLOCK_BYTES - (fileOffset % BLOCK_BYTES);
    if (room < HEADER_BYTES) {
      into.fill(0, position, position + room);
      position += room;
      fileOffset += room;
      continue;
    }
    const part = Math.min(payload.length - done, room - HEADER_BYTES);
    const isLast = done + part === payload.length;
    const type = isFirst ? (isLast ? CHUNK.whole : CHUNK.first) : isLast ? CHUNK.last : CHUNK.middle;
    view.setUint16(position + 4, part, true);
    into[position + 6] = type;
    view.setUint32(position + 7, context.segment, true);
    view.setUint32(position + 11, context.syncedOffset >>> 0, true);
    view.setUint32(position + 15, Math.floor(context.syncedOffset / 0x1_0000_0000), true);
    into.set(done === 0 && isLast ? payload : payload.subarray(done, done + part), position + HEADER_BYTES);
    const end = position + HEADER_BYTES + part;
    view.setUint32(position, mask(checksum(into, position + 4, end, context.salt)), true);
    position = end;
    fileOffset += HEADER_BYTES + part;
    done += part;
    isFirst = false;
    if (isLast) return position - at;
  }
}

export interface Chunk {
  readonly type: ChunkType;
  readonly syncedOffset: number;
  /** Payload place in the buffer it was read from. */
  readonly from: number;
  readonly to: number;
}

/**
 * The chunk at `at` of `bytes`, when a good one of this segment stands there whole. Checks everything; a
 * decoder trusts nothing.
 */
export function readChunk(bytes: Uint8Array, at: number, segment: number, salt: number): Chunk | undefined {
  if (at + HEADER_BYTES > bytes.length) return undefined;
  const type = bytes[at + 6] as number;
  if (type < CHUNK.whole || type > CHUNK.last) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(at + 7, true) !== segment) return undefined;
  const from = at + HEADER_BYTES;
  const to = from + view.getUint16(at + 4, true);
  if (to > bytes.length) return undefined;
  if (view.getUint32(at, true) !== mask(checksum(bytes, at + 4, to, salt))) return undefined;
  const syncedOffset = view.getUint32(at + 11, true) + view.getUint32(at + 15, true) * 0x1_0000_0000;
  return { type: type as ChunkType, syncedOffset, from, to };
}
