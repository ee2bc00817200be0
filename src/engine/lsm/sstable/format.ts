/**
 * The table's frame: LevelDB's, byte for byte.
 *
 *   file     data block* | filter block | properties block | metaindex block | index block | footer
 *   block    contents | compression u8 (0 none, 1 snappy) | masked CRC-32C u32 of contents and compression
 *   handle   offset varint | size varint          where a block's contents stand, without the five bytes behind
 *   footer   metaindex handle | index handle | zeros up to 40 bytes | magic u64       always 48 bytes
 *
 * The index leads from separators to data blocks, the metaindex from names to all others. LevelDB passes over names
 * that it does not know, so the properties are ours alone and cost compatibility nothing.
 */
import { assert } from '../../../core/base/assert.ts';
import { StoreError } from '../../../core/base/errors.ts';

export const FOOTER_BYTES = 48;
/** Behind each block: compression, CRC. */
export const BLOCK_TRAILER_BYTES = 5;

export const COMPRESSION_NONE = 0;
export const COMPRESSION_SNAPPY = 1;

export const FILTER_NAME = 'filter.leveldb.BuiltinBloomFilter2';
export const PROPERTIES_NAME = 'ctlmesh.properties';

const MAGIC_AT = 40;
const MAGIC_LOW = 0x8b80fb57;
const MAGIC_HIGH = 0xdb477524;
const HANDLE_BYTES_MAX = 20;

/** Where a block stands in its file. */
export interface BlockHandle {
  offset: number;
  size: number;
}

export interface Footer {
  readonly metaindex: BlockHandle;
  readonly index: BlockHandle;
}

/** A table that is not what was written; `offset` is the place in the file, or of the block that is damaged. */
export function tableCorrupt(file: string, offset: number, what: string, cause?: unknown): StoreError {
  return new StoreError('TABLE_CORRUPT', `the table is damaged: ${file} at offset ${offset}: ${what}`, {
    cause,
    data: { file, offset },
  });
}

export function loadU32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

export function storeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

/** Writes a counter below 2^53 seven bits a byte; returns the end. Eight bytes hold any. */
export function storeVarint(bytes: Uint8Array, at: number, value: number): number {
  let rest = value;
  let end = at;
  while (rest >= 0x80) {
    bytes[end++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  bytes[end++] = rest;
  return end;
}

/** Bytes of a handle, to be used before the next call. */
const HANDLE_SCRATCH = new Uint8Array(HANDLE_BYTES_MAX);

/** A handle's bytes, lent until the next call. */
export function encodeHandle(handle: BlockHandle): Uint8Array {
  const end = storeVarint(HANDLE_SCRATCH, storeVarint(HANDLE_SCRATCH, 0, handle.offset), handle.size);
  return HANDLE_SCRATCH.subarray(0, end);
}

/** Reads a handle from `bytes[at, end)` into `into`; returns where it ends, or -1 when it is none. */
export function decodeHandle(bytes: Uint8Array, at: number, end: number, into: BlockHandle): number {
  let place = at;
  for (let field = 0; field < 2; field++) {
    let value = 0;
    let scale = 1;
    for (;;) {
      // Eight bytes hold 2^53; a ninth would have to be empty.
      if (place >= end || scale > 0x2_0000_0000_0000) return -1;
      const byte = bytes[place++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        // A number has one spelling: an empty last byte is a flipped bit in the one before.
        if (byte === 0 && scale > 1) return -1;
        break;
      }
      scale *= 0x80;
    }
    if (!Number.isSafeInteger(value)) return -1;
    if (field === 0) into.offset = value;
    else into.size = value;
  }
  return place;
}

export function encodeFooter(into: Uint8Array, at: number, footer: Footer): void {
  const metaindex = encodeHandle(footer.metaindex);
  into.set(metaindex, at);
  const index = encodeHandle(footer.index);
  into.set(index, at + metaindex.length);
  const handlesEnd = at + metaindex.length + index.length;
  assert(handlesEnd <= at + MAGIC_AT, 'two handles fit in the footer');
  into.fill(0, handlesEnd, at + MAGIC_AT);
  storeU32(into, at + MAGIC_AT, MAGIC_LOW);
  storeU32(into, at + MAGIC_AT + 4, MAGIC_HIGH);
}

/** Reads the footer of a file of `fileBytes`; its handles lead to blocks that lie inside the file, or it throws. */
export function decodeFooter(footer: Uint8Array, file: string, fileBytes: number): Footer {
  assert(footer.length === FOOTER_BYTES, 'a footer has 48 bytes');
  const at = fileBytes - FOOTER_BYTES;
  if (loadU32(footer, MAGIC_AT) !== MAGIC_LOW || loadU32(footer, MAGIC_AT + 4) !== MAGIC_HIGH) {
    throw tableCorrupt(file, at + MAGIC_AT, 'it does not end as a table does');
  }
  const metaindex: BlockHandle = { offset: 0, size: 0 };
  const index: BlockHandle = { offset: 0, size: 0 };
  const metaindexEnd = decodeHandle(footer, 0, MAGIC_AT, metaindex);
  const handlesEnd = metaindexEnd < 0 ? -1 : decodeHandle(footer, metaindexEnd, MAGIC_AT, index);
  if (handlesEnd < 0) throw tableCorrupt(file, at, 'the footer holds no two handles');
  for (let i = handlesEnd; i < MAGIC_AT; i++) {
    if (footer[i] !== 0) throw tableCorrupt(file, at + i, 'the footer is not filled up with zeros');
  }
  for (const handle of [metaindex, index]) {
    if (!isInside(handle, fileBytes)) throw tableCorrupt(file, at, 'the footer names a block outside the file');
  }
  return { metaindex, index };
}

/** Whether a block and what is behind it lie before the footer of a file of `fileBytes`. */
export function isInside(handle: BlockHandle, fileBytes: number): boolean {
  return handle.offset + handle.size + BLOCK_TRAILER_BYTES <= fileBytes - FOOTER_BYTES;
}
