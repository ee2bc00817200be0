/**
 * TableBuilder: writes a table, from sorted entries, in one pass.
 *
 *   add ─▶ data block ─ full ─▶ compressed, checksummed ─▶ 1 MiB of output ─▶ file
 *             └─ key's hash ─▶ filter                └─ handle ─▶ index, under a separator
 *
 * A block's separator is made when the next block's first key is known: only then is it known how short it may be.
 * Output is gathered, because a write call costs more than the copy.
 *
 * What was written is durable when `finish` returns; its name is not, that is the directory's matter. A write that
 * fails ends the builder: STORE_FULL when the disk is full, else DISK_FAILED. The file, also a half one, is the
 * caller's to close and remove.
 *
 * Invariants:
 *  - keys ascend strictly;
 *  - #hasPending only while the open block is empty: the separator of the last block is due.
 */
import { assert } from '../../../core/base/assert.ts';
import { EMPTY } from '../../../core/base/bytes.ts';
import { utf8 } from '../../../core/base/bytes.ts';
import { mask } from '../../../core/base/crc32c.ts';
import type { DiskFile } from '../../../core/base/env.ts';
import { StoreError } from '../../../core/base/errors.ts';
import { isOutOfSpace } from '../../disk/full-disk.ts';
import { checksum } from '../../disk/checksum.ts';
import { BlockBuilder } from './block-builder.ts';
import { hashKey } from '../key-hash.ts';
import { snappyCompress } from './compression.ts';
import { FilterBuilder } from './filter-block.ts';
import {
  BLOCK_TRAILER_BYTES,
  COMPRESSION_NONE,
  COMPRESSION_SNAPPY,
  encodeFooter,
  encodeHandle,
  FILTER_NAME,
  FOOTER_BYTES,
  PROPERTIES_NAME,
  storeU32,
  type BlockHandle,
} from './format.ts';
import { compareInternal, revisionOf, TRAILER_BYTES, TYPE_PUT, typeOf, userKeyLength } from './keys.ts';
import { countEntry, encodeProperties, noProperties, type TableProperties } from './properties.ts';
import { shortestSeparator, shortSuccessor } from './separators.ts';

export interface TableOptions {
  /** A data block ends when it has this many bytes, before compression. */
  readonly blockBytes: number;
  readonly restartInterval: number;
  /** 0: no filter. */
  readonly bloomBitsPerKey: number;
  readonly compression: 'snappy' | 'none';
}

export const TABLE_DEFAULTS: TableOptions = {
  blockBytes: 4096,
  restartInterval: 16,
  bloomBitsPerKey: 10,
  compression: 'snappy',
};

export interface TableInfo {
  readonly fileBytes: number;
  readonly entries: number;
  readonly tombstones: number;
  /** Internal keys, in memory of their own. */
  readonly smallest: Uint8Array;
  readonly largest: Uint8Array;
  readonly smallestRevision: number;
  readonly largestRevision: number;
  /** 0: nothing in it expires. */
  readonly earliestExpiryMs: number;
}

const OUTPUT_BYTES = 1024 * 1024;
/** So many blocks that did not shrink say that the data do not; then one in so many is tried again. */
const TRIED_IN_VAIN = 8;
const TRY_EVERY = 16;
/** Below this a loop beats `set`. */
const LOOP_BYTES_MAX = 24;

/** Of the builder before: a compaction makes many, and each output would be garbage for a while. */
let spareOutput: Uint8Array | undefined;

function takeOutput(): Uint8Array {
  const output = spareOutput ?? new Uint8Array(OUTPUT_BYTES);
  spareOutput = undefined;
  return output;
}

export class TableBuilder {
  readonly #file: DiskFile;
  readonly #options: TableOptions;
  readonly #data: BlockBuilder;
  readonly #index = new BlockBuilder(1);
  readonly #filter: FilterBuilder | undefined;
  readonly #properties: TableProperties = noProperties();
  #smallest: Uint8Array | undefined;
  /** The key added last, until it is its block's separator. */
  #last = new Uint8Array(256);
  #lastLength = 0;
  /** Of the block written last. */
  #pending: BlockHandle = { offset: 0, size: 0 };
  #hasPending = false;
  #output: Uint8Array = takeOutput();
  #gathered = 0;
  /** Bytes in the file. */
  #written = 0;
  #isOpen = true;
  /** Blocks since the last one that compression made smaller. */
  #unshrunk = 0;

  constructor(file: DiskFile, options: TableOptions) {
    assert(options.blockBytes >= 1, 'a block has room for a byte');
    this.#file = file;
    this.#options = options;
    this.#data = new BlockBuilder(options.restartInterval);
    if (options.bloomBitsPerKey > 0) this.#filter = new FilterBuilder(options.bloomBitsPerKey);
  }

  /** About the size that the file has so far, with the block that is open and without index and filter. */
  get fileBytes(): number {
    return this.#offset + (this.#data.isEmpty ? 0 : this.#data.finishedBytes);
  }

  get entries(): number {
    return this.#properties.entries;
  }

  /** Adds an entry behind all others; the bytes are only lent. */
  add(internalKey: Uint8Array, value: Uint8Array): void {
    this.addFrom(internalKey, internalKey.length, value, 0, value.length);
  }

  /** The same from where a cursor has it: `key[0, keyLength)` and `bytes[start, end)`. */
  addFrom(key: Uint8Array, keyLength: number, bytes: Uint8Array, start: number, end: number): void {
    assert(this.#isOpen, 'entries are added to a table that is being made');
    assert(keyLength >= TRAILER_BYTES, 'a key of a table is an internal key');
    if (this.#smallest === undefined) this.#smallest = key.slice(0, keyLength);
    else assert(compareInternal(this.#last, this.#lastLength, key, keyLength) < 0, 'keys of a table ascend strictly');
    if (this.#hasPending) {
      this.#addToIndex(shortestSeparator(this.#last, this.#lastLength, key, keyLength));
    }
    this.#filter?.add(hashKey(key, userKeyLength(keyLength)));
    this.#data.add(key, keyLength, bytes, start, end);
    assert(typeOf(key, keyLength) <= TYPE_PUT, 'a table holds puts and tombstones');
    assert(Number.isSafeInteger(revisionOf(key, keyLength)), 'a revision is a safe integer');
    countEntry(this.#properties, key, keyLength, bytes, start, end);
    this.#remember(key, keyLength);
    if (this.#data.finishedBytes >= this.#options.blockBytes) this.#endBlock();
  }

  /** Writes the rest and makes it durable. The table has an entry or more. */
  finish(): TableInfo {
    assert(this.#isOpen, 'a table is finished once');
    assert(this.#smallest !== undefined, 'a table has an entry');
    const largest = this.#last.slice(0, this.#lastLength);
    if (!this.#data.isEmpty) this.#endBlock();

    // In byte order of the names; the blocks stand in LevelDB's order, ours after it.
    const filter = this.#filter && this.#writeBlock(this.#filter.finish(), false);
    const properties = this.#writeBlock(encodeProperties(this.#properties), false);
    const names = new BlockBuilder(this.#options.restartInterval);
    addNamed(names, PROPERTIES_NAME, properties);
    if (filter !== undefined) addNamed(names, FILTER_NAME, filter);
    const metaindex = this.#writeBlock(names.finish(), true);

    if (this.#hasPending) this.#addToIndex(shortSuccessor(this.#last, this.#lastLength));
    const index = this.#writeBlock(this.#index.finish(), true);
    this.#room(FOOTER_BYTES);
    encodeFooter(this.#output, this.#gathered, { metaindex, index });
    this.#gathered += FOOTER_BYTES;
    this.#write();
    this.#do('sync', () => this.#file.fdatasync());
    this.#isOpen = false;
    this.#giveOutput();

    const { entries, tombstones, smallestRevision, largestRevision, earliestExpiryMs } = this.#properties;
    return {
      fileBytes: this.#written,
      entries,
      tombstones,
      smallest: this.#smallest,
      largest,
      smallestRevision,
      largestRevision,
      earliestExpiryMs,
    };
  }

  /** Gives up. May be called at any time, and twice. */
  abandon(): void {
    this.#isOpen = false;
    this.#giveOutput();
  }

  #giveOutput(): void {
    if (this.#output.length === OUTPUT_BYTES) spareOutput = this.#output;
    this.#output = EMPTY;
  }

  get #offset(): number {
    return this.#written + this.#gathered;
  }

  #remember(key: Uint8Array, keyLength: number): void {
    if (keyLength > this.#last.length) this.#last = new Uint8Array(keyLength * 2);
    if (keyLength > LOOP_BYTES_MAX) this.#last.set(keyLength === key.length ? key : key.subarray(0, keyLength));
    else for (let i = 0; i < keyLength; i++) this.#last[i] = key[i] as number;
    this.#lastLength = keyLength;
  }

  #endBlock(): void {
    this.#pending = this.#writeBlock(this.#data.finish(), true);
    this.#data.reset();
    this.#hasPending = true;
    this.#filter?.startBlock(this.#offset);
  }

  /** Gives the block written last its separator: #last, shortened to `length`. */
  #addToIndex(length: number): void {
    const handle = encodeHandle(this.#pending);
    this.#index.add(this.#last, length, handle, 0, handle.length);
    this.#hasPending = false;
  }

  #writeBlock(block: Uint8Array, mayCompress: boolean): BlockHandle {
    const compressed = mayCompress && this.#options.compression === 'snappy' ? this.#compress(block) : undefined;
    const contents = compressed ?? block;
    const size = contents.length;
    this.#room(size + BLOCK_TRAILER_BYTES);
    const handle: BlockHandle = { offset: this.#offset, size };
    const output = this.#output;
    const at = this.#gathered;
    output.set(contents, at);
    output[at + size] = compressed === undefined ? COMPRESSION_NONE : COMPRESSION_SNAPPY;
    storeU32(output, at + size + 1, mask(checksum(output, at, at + size + 1)));
    this.#gathered = at + size + BLOCK_TRAILER_BYTES;
    return handle;
  }

  /** Undefined: it is stored as it is. Where block after block does not shrink, most are not tried any more. */
  #compress(block: Uint8Array): Uint8Array | undefined {
    if (this.#unshrunk >= TRIED_IN_VAIN && this.#unshrunk % TRY_EVERY !== 0) {
      this.#unshrunk++;
      return undefined;
    }
    const compressed = snappyCompress(block);
    this.#unshrunk = compressed === undefined ? this.#unshrunk + 1 : 0;
    return compressed;
  }

  #room(bytes: number): void {
    if (this.#gathered + bytes <= OUTPUT_BYTES) return;
    this.#write();
    // A block that is larger than that goes alone.
    if (bytes > this.#output.length) this.#output = new Uint8Array(bytes);
  }

  #write(): void {
    if (this.#gathered === 0) return;
    this.#do('write', () => this.#file.write(this.#output.subarray(0, this.#gathered), this.#written));
    this.#written += this.#gathered;
    this.#gathered = 0;
  }

  #do(what: string, act: () => void): void {
    try {
      act();
    } catch (cause) {
      this.abandon();
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new StoreError(isOutOfSpace(cause) ? 'STORE_FULL' : 'DISK_FAILED', `a table could not ${what}: ${reason}`, {
        cause,
      });
    }
  }
}

function addNamed(names: BlockBuilder, name: string, handle: BlockHandle): void {
  const key = utf8(name);
  const bytes = encodeHandle(handle);
  names.add(key, key.length, bytes, 0, bytes.length);
}
