/**
 * BlockSource: blocks of a table file, checked and decompressed.
 *
 * Whatever leaves here has passed its checksum. What the disk itself refuses is DISK_FAILED; what it gives and is
 * wrong is TABLE_CORRUPT, with the place.
 *
 * A reader of the whole file has a window: 256 KiB read at once, from which blocks are taken until one lies outside.
 * A block that was not compressed is then lent from the window, not copied.
 */
import { EMPTY } from '../../../core/base/bytes.ts';
import type { DiskFile } from '../../../core/base/env.ts';
import { mask } from '../../../core/base/crc32c.ts';
import { StoreError } from '../../../core/base/errors.ts';
import { checksum } from '../../disk/checksum.ts';
import { snappyUncompress } from './compression.ts';
import {
  BLOCK_TRAILER_BYTES,
  COMPRESSION_NONE,
  COMPRESSION_SNAPPY,
  isInside,
  loadU32,
  tableCorrupt,
  type BlockHandle,
} from './format.ts';

const WINDOW_BYTES = 256 * 1024;

export interface TableFileMeta {
  readonly number: number;
  readonly fileBytes: number;
  /** For errors. */
  readonly path: string;
}

/** Reads exactly `length` bytes at `position` into the start of `into`. */
export function readExactly(
  file: DiskFile,
  meta: TableFileMeta,
  into: Uint8Array,
  { position, length }: { readonly position: number; readonly length: number },
): void {
  let done = 0;
  while (done < length) {
    let count: number;
    try {
      count = file.read(into, done, length - done, position + done);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new StoreError('DISK_FAILED', `cannot read ${meta.path} at offset ${position}: ${reason}`, {
        cause,
        data: { file: meta.path, offset: position },
      });
    }
    if (count === 0)
      throw tableCorrupt(meta.path, position + done, `the file ends here, before its ${meta.fileBytes} bytes`);
    done += count;
  }
}

/** Reads a block into memory of its own. */
export function readBlock(file: DiskFile, meta: TableFileMeta, handle: BlockHandle): Uint8Array {
  checkInside(meta, handle);
  const { offset, size } = handle;
  const stored = new Uint8Array(size + BLOCK_TRAILER_BYTES);
  readExactly(file, meta, stored, { position: offset, length: stored.length });
  return unwrapBlock(stored, meta, offset);
}

/** Reads ahead of a cursor that will want the whole file; one for each cursor. */
export class BlockWindow {
  readonly #file: DiskFile;
  readonly #meta: TableFileMeta;
  #bytes: Uint8Array = EMPTY;
  #start = 0;
  #end = 0;

  constructor(file: DiskFile, meta: TableFileMeta) {
    this.#file = file;
    this.#meta = meta;
  }

  /** The block at `handle`, lent until the next call. */
  read(handle: BlockHandle): Uint8Array {
    checkInside(this.#meta, handle);
    const from = handle.offset;
    const to = from + handle.size + BLOCK_TRAILER_BYTES;
    if (from < this.#start || to > this.#end) this.#move(from, to);
    return unwrapBlock(this.#bytes.subarray(from - this.#start, to - this.#start), this.#meta, from);
  }

  /** Moves the window over [from, to), and on in the direction in which it is moved. */
  #move(from: number, to: number): void {
    const length = Math.min(Math.max(to - from, WINDOW_BYTES), this.#meta.fileBytes);
    const isBack = from < this.#start;
    const start = isBack ? Math.max(0, to - length) : from;
    const end = Math.min(start + length, this.#meta.fileBytes);
    if (this.#bytes.length < length) this.#bytes = new Uint8Array(length);
    // Nothing is in it while it is filled: a read that fails leaves half of it.
    this.#start = 0;
    this.#end = 0;
    readExactly(this.#file, this.#meta, this.#bytes, { position: start, length: end - start });
    this.#start = start;
    this.#end = end;
  }
}

function checkInside(meta: TableFileMeta, handle: BlockHandle): void {
  if (isInside(handle, meta.fileBytes)) return;
  const { offset, size } = handle;
  throw tableCorrupt(meta.path, Math.min(offset, meta.fileBytes), `a block of ${size} bytes lies outside the file`);
}

/** Contents of a block that was read with what is behind it; they may be a part of `stored`. */
function unwrapBlock(stored: Uint8Array, meta: TableFileMeta, offset: number): Uint8Array {
  const size = stored.length - BLOCK_TRAILER_BYTES;
  if (mask(checksum(stored, 0, size + 1)) !== loadU32(stored, size + 1)) {
    throw tableCorrupt(meta.path, offset, `the checksum of a block of ${size} bytes does not match`);
  }
  const compression = stored[size] as number;
  const contents = stored.subarray(0, size);
  switch (compression) {
    case COMPRESSION_NONE:
      return contents;
    case COMPRESSION_SNAPPY: {
      const bytes = snappyUncompress(contents);
      if (bytes === undefined) throw tableCorrupt(meta.path, offset, 'a block is compressed wrongly');
      return bytes;
    }
    default:
      throw tableCorrupt(meta.path, offset, `a block is compressed by an unknown method (${compression})`);
  }
}
