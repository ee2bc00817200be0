/**
 * TableBlocks: the blocks of one table, by what they are for: index, filter, properties, data.
 *
 * The index, the filter and the names are read when they are first wanted and kept: every read goes through them.
 * Data blocks are the cache's business. A checksum is verified when a block comes from the file, and not again when
 * it comes from the cache.
 */
import { assert } from '../../../core/base/assert.ts';
import type { DiskFile } from '../../../core/base/env.ts';
import { BlockCursor } from './block-cursor.ts';
import { blockStart, DirectoryBuilder, plainForm } from './block-directory.ts';
import { BlockWindow, readBlock, readExactly, type TableFileMeta } from './block-source.ts';
import { Fences } from './fences.ts';
import { FilterReader } from './filter-block.ts';
import {
  decodeFooter,
  decodeHandle,
  FILTER_NAME,
  FOOTER_BYTES,
  PROPERTIES_NAME,
  tableCorrupt,
  type BlockHandle,
  type Footer,
} from './format.ts';
import { decodeProperties, namedValues, type TableProperties } from './properties.ts';

export interface BlockCacheLike {
  /** Bytes that nobody changes any more. */
  get(fileNumber: number, offset: number): Uint8Array | undefined;
  /** The bytes are lent: a cache copies them. */
  put(fileNumber: number, offset: number, bytes: Uint8Array): void;
}

/**
 * A cache that also lends: bytes that may change while they are looked at, for a short look; what was found counts if
 * `isIntact` says so of the `lease` afterwards. It is given forms of blocks (block-directory.ts) in place of blocks.
 */
export interface LendingCache extends BlockCacheLike {
  /** True: the form is `bytes[lentAt, lentEnd)`, and `lease` names it. */
  lend(fileNumber: number, offset: number): boolean;
  /** The same, without a search: only if it is still where it was at that lease (-1: nowhere). */
  lendAgain(fileNumber: number, offset: number, lease: number): boolean;
  isIntact(lease: number): boolean;
  /** Puts a form in the place of another of the same block. */
  replace(fileNumber: number, offset: number, form: Uint8Array): void;
  readonly bytes: Uint8Array;
  readonly lentAt: number;
  readonly lentEnd: number;
  readonly lease: number;
}

function isLending(cache: BlockCacheLike): cache is LendingCache {
  return 'lend' in cache;
}

/** Of this thread. */
const DIRECTORIES = new DirectoryBuilder();

/** For whoever reads each block once. */
export const NO_CACHE: BlockCacheLike = { get: () => undefined, put: () => {} };

export class TableBlocks {
  readonly meta: TableFileMeta;
  readonly footer: Footer;
  readonly #file: DiskFile;
  readonly #cache: BlockCacheLike;
  /** The cache, if it is one that lends. */
  readonly lending: LendingCache | undefined;
  #index: Uint8Array | undefined;
  #fences: Fences | undefined;
  /** Undefined until it is wanted; null: the table has none. */
  #filter: FilterReader | null | undefined;
  #named: ReadonlyMap<string, BlockHandle> | undefined;

  /** Reads the footer. */
  constructor(file: DiskFile, meta: TableFileMeta, cache: BlockCacheLike) {
    assert(Number.isSafeInteger(meta.fileBytes) && meta.fileBytes >= 0, 'a file has a length');
    this.meta = meta;
    this.footer = readFooter(file, meta);
    this.#file = file;
    this.#cache = cache;
    this.lending = isLending(cache) ? cache : undefined;
  }

  get heldBytes(): number {
    return (this.#index?.length ?? 0) + (this.#filter?.bytes ?? 0) + (this.#fences?.bytes ?? 0);
  }

  index(): Uint8Array {
    this.#index ??= this.data(this.footer.index);
    return this.#index;
  }

  /** The index as numbers, for point reads. */
  fences(): Fences {
    if (this.#fences === undefined) {
      const cursor = new BlockCursor();
      cursor.reset(this.index(), this.meta.path, this.footer.index.offset);
      this.#fences = new Fences(cursor, (into) => this.handleAt(cursor, into));
    }
    return this.#fences;
  }

  /** Undefined in a table without one. */
  filter(): FilterReader | undefined {
    if (this.#filter === undefined) {
      const handle = this.named(FILTER_NAME);
      this.#filter = handle === undefined ? null : new FilterReader(this.data(handle), this.meta.path, handle.offset);
    }
    return this.#filter ?? undefined;
  }

  /** Undefined in a table that has none: one of LevelDB's. */
  properties(): TableProperties | undefined {
    const handle = this.named(PROPERTIES_NAME);
    return handle && decodeProperties(this.data(handle), this.meta.path, handle.offset);
  }

  /** A block that the metaindex names. */
  named(name: string): BlockHandle | undefined {
    this.#named ??= this.#readMetaindex();
    return this.#named.get(name);
  }

  /** All that the metaindex names, so far as they are blocks. */
  allNamed(): BlockHandle[] {
    this.#named ??= this.#readMetaindex();
    return [...this.#named.values()];
  }

  /** The contents of any block, by way of the cache. */
  data(handle: BlockHandle): Uint8Array {
    const { number } = this.meta;
    const cached = this.#cache.get(number, handle.offset);
    if (cached !== undefined) return this.lending === undefined ? cached : cached.subarray(blockStart(cached, 0));
    const block = readBlock(this.#file, this.meta, handle);
    if (this.lending === undefined) {
      this.#cache.put(number, handle.offset, block);
      return block;
    }
    this.#cache.put(number, handle.offset, plainForm(block));
    return block;
  }

  /**
   * Gives the block at `handle`, which was lent last, a directory in the cache, and a copy of it without to the caller:
   * undefined when it changed meanwhile. `hasOne`: false when no directory can be made.
   */
  addDirectory(
    handle: BlockHandle,
    lending: LendingCache,
  ): { readonly block: Uint8Array; readonly hasOne: boolean } | undefined {
    const { bytes, lentAt, lentEnd, lease } = lending;
    const block = bytes.slice(Math.min(blockStart(bytes, lentAt), lentEnd), lentEnd);
    if (!lending.isIntact(lease)) return undefined;
    const form = DIRECTORIES.build(block);
    if (form !== undefined) lending.replace(this.meta.number, handle.offset, form);
    return { block, hasOne: form !== undefined };
  }

  /** Reads the handle at the entry of the index at which `cursor` stands. */
  handleAt(cursor: BlockCursor, into: BlockHandle): void {
    if (decodeHandle(cursor.block, cursor.valueStart, cursor.valueEnd, into) === cursor.valueEnd) return;
    throw tableCorrupt(this.meta.path, this.footer.index.offset, 'the index leads to what is no block');
  }

  window(): BlockWindow {
    return new BlockWindow(this.#file, this.meta);
  }

  close(): void {
    this.#index = undefined;
    this.#fences = undefined;
    this.#filter = undefined;
    this.#file.close();
  }

  #readMetaindex(): ReadonlyMap<string, BlockHandle> {
    const { path } = this.meta;
    const { metaindex } = this.footer;
    const named = new Map<string, BlockHandle>();
    for (const { name, bytes } of namedValues(this.data(metaindex), path, metaindex.offset)) {
      const handle: BlockHandle = { offset: 0, size: 0 };
      if (decodeHandle(bytes, 0, bytes.length, handle) === bytes.length) named.set(name, handle);
      // What a name of the future stands for is not known.
      else if (name === FILTER_NAME || name === PROPERTIES_NAME) {
        throw tableCorrupt(path, metaindex.offset, `the metaindex leads to no block for ${name}`);
      }
    }
    return named;
  }
}

function readFooter(file: DiskFile, meta: TableFileMeta): Footer {
  if (meta.fileBytes < FOOTER_BYTES) throw tableCorrupt(meta.path, 0, 'the file is too short to be a table');
  const footer = new Uint8Array(FOOTER_BYTES);
  readExactly(file, meta, footer, { position: meta.fileBytes - FOOTER_BYTES, length: FOOTER_BYTES });
  return decodeFooter(footer, meta.path, meta.fileBytes);
}
