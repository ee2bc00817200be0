/**
 * Table: an immutable sorted file, open for reading.
 *
 *   get    index ─▶ the one block that may have the key ─▶ filter ─▶ block ─▶ newest version
 *
 * A point read gives no copy: its result lends the block and says where the value is. A result is made once and used
 * again. Damage anywhere is TABLE_CORRUPT with file and offset, never an answer.
 *
 * A table is one thread's, and so are its cursors; other threads open their own.
 */
import { EMPTY } from '../../../core/base/bytes.ts';
import type { DiskFile } from '../../../core/base/env.ts';
import { BlockCursor } from './block-cursor.ts';
import { blockStart, DirectoryLookup, hasDirectory } from './block-directory.ts';
import { ABSENT, BlockLookup, FOUND } from './block-lookup.ts';
import type { TableFileMeta } from './block-source.ts';
import { hashKey } from '../key-hash.ts';
import { TableCursor } from './cursor.ts';
import type { Fences } from './fences.ts';
import { tableCorrupt, type BlockHandle } from './format.ts';
import { encodeInternalKey, isVersionOf, revisionOf, SEEK_TYPE, TRAILER_BYTES, TYPE_PUT, typeOf } from './keys.ts';
import type { TableProperties } from './properties.ts';
import { type BlockCacheLike, type LendingCache, TableBlocks } from './table-blocks.ts';

export type { BlockCacheLike, TableProperties };

/** Of a block among the fences: only the index knew which one it is. */
const UNKNOWN = -1;

/** What a point read found. One object serves many reads; what it says is valid until the next. */
export class TableResult {
  found = false;
  type = 0;
  revision = 0;
  /** The stored value is `block[valueStart, valueEnd)`. */
  block: Uint8Array = EMPTY;
  valueStart = 0;
  valueEnd = 0;
  /** -1: the block is nobody else's. Else it is lent: what was copied out of it counts if this lease is still intact. */
  lease = -1;

  /** What a lookup found in `block`. */
  take(found: BlockLookup | DirectoryLookup, block: Uint8Array): void {
    this.found = true;
    this.type = found.type;
    this.revision = found.revision;
    this.block = block;
    this.valueStart = found.valueStart;
    this.valueEnd = found.valueEnd;
  }
}

export class Table {
  readonly #blocks: TableBlocks;
  readonly #path: string;
  /** For point reads. */
  readonly #index = new BlockCursor();
  readonly #directory = new DirectoryLookup();
  readonly #lookup = new BlockLookup();
  /** For what the lookup leaves open. */
  readonly #block = new BlockCursor();
  readonly #handle: BlockHandle = { offset: 0, size: 0 };
  #target: Uint8Array = new Uint8Array(256);
  #targetLength = 0;

  private constructor(blocks: TableBlocks) {
    this.#blocks = blocks;
    this.#path = blocks.meta.path;
  }

  /** Reads the footer. Once this has returned, the file is the table's to close. */
  static open(file: DiskFile, meta: TableFileMeta, blocks: BlockCacheLike): Table {
    return new Table(new TableBlocks(file, meta, blocks));
  }

  /** Bytes that this object keeps in memory: those of the index and the filter, once they were wanted. */
  get heldBytes(): number {
    return this.#blocks.heldBytes;
  }

  /** Whether there may be a version of this key; false is sure. Reads index and filter, no data. */
  mayContain(userKey: Uint8Array): boolean {
    const fences = this.#blocks.fences();
    const at = fences.find(userKey);
    if (at >= 0) fences.handle(at, this.#handle);
    else {
      this.#aim(userKey, Number.MAX_SAFE_INTEGER);
      if (!this.#findBlock()) return false;
    }
    return this.#passesFilter(hashKey(userKey, userKey.length));
  }

  /**
   * Finds the newest version of the key that is not newer than `revision`, be it a put or a tombstone. Says whether
   * there is one. `hash` is the key's hashKey. `isLent`: the block may be lent by the cache, and the caller checks
   * `result.lease` once it has copied what it wants.
   */
  get(
    userKey: Uint8Array,
    revision: number,
    result: TableResult,
    hash: number = hashKey(userKey, userKey.length),
    isLent = false,
  ): boolean {
    result.found = false;
    const fences = this.#blocks.fences();
    let at = fences.find(userKey);
    if (at >= 0) fences.handle(at, this.#handle);
    else {
      this.#aim(userKey, revision);
      if (!this.#findBlock()) return false;
      at = UNKNOWN;
    }
    const { lending } = this.#blocks;
    if (lending === undefined || !isLent) {
      if (!this.#passesFilter(hash)) return false;
    } else {
      const { number } = this.#blocks.meta;
      const { offset } = this.#handle;
      // The block's own directory knows more than the filter, if the block is at hand.
      let isThere = lending.lendAgain(number, offset, at === UNKNOWN ? -1 : (fences.hints[at] as number));
      if (!isThere) {
        if (!this.#passesFilter(hash)) return false;
        isThere = lending.lend(number, offset);
      }
      if (isThere) {
        const own = at === UNKNOWN ? undefined : this.#countLook(lending, fences, at);
        if (own !== undefined) return this.#lookOwn(own, userKey, revision, result);
        const { lease } = lending;
        try {
          result.lease = lease;
          this.#lookLent(lending, userKey, hash, revision, result);
          if (lending.isIntact(lease)) return result.found;
        } catch (error) {
          // Bytes that changed under the look may be anything; damage is what stands there when nobody writes.
          if (lending.isIntact(lease)) throw error;
        }
        result.found = false;
      }
      // Where it stood last is not where it stands, and it comes without a directory.
      if (at !== UNKNOWN) fences.forget(at);
    }
    return this.#lookOwn(this.#blocks.data(this.#handle), userKey, revision, result);
  }

  /**
   * Notes a look into the block that was lent. When it is time for a directory, it gets one, and the caller a copy of the
   * block: what was lent may be gone for it.
   */
  #countLook(lending: LendingCache, fences: Fences, at: number): Uint8Array | undefined {
    fences.hints[at] = lending.lease;
    if (hasDirectory(lending.bytes, lending.lentAt) || !fences.countLook(at)) return undefined;
    // Another thread may have been first.
    if (!lending.lend(this.#blocks.meta.number, this.#handle.offset)) return undefined;
    fences.hints[at] = lending.lease;
    if (hasDirectory(lending.bytes, lending.lentAt)) return undefined;
    const made = this.#blocks.addDirectory(this.#handle, lending);
    if (made?.hasOne === false) fences.lookNoMore(at);
    return made?.block;
  }

  /** Looks into a block that is nobody else's. */
  #lookOwn(block: Uint8Array, userKey: Uint8Array, revision: number, result: TableResult): boolean {
    result.lease = -1;
    this.#aim(userKey, revision);
    return this.#seek(block, userKey, result);
  }

  /** Looks into the form that was lent last. */
  #lookLent(lending: LendingCache, userKey: Uint8Array, hash: number, revision: number, result: TableResult): void {
    const { bytes, lentAt, lentEnd } = lending;
    if (hasDirectory(bytes, lentAt)) {
      const lookup = this.#directory;
      const outcome = lookup.find(bytes, lentAt, lentEnd, userKey, hash, revision);
      if (outcome === ABSENT) return;
      if (outcome === FOUND && lookup.type <= TYPE_PUT) {
        result.take(lookup, bytes);
        return;
      }
    }
    this.#aim(userKey, revision);
    const start = blockStart(bytes, lentAt);
    const block = bytes.subarray(start < lentEnd ? start : lentEnd, lentEnd);
    if (!hasDirectory(bytes, lentAt)) {
      const lookup = this.#lookup;
      const outcome = lookup.find(block, this.#target, this.#targetLength);
      if (outcome === ABSENT) return;
      if (outcome === FOUND && lookup.type <= TYPE_PUT) {
        result.take(lookup, block);
        return;
      }
    }
    this.#seek(block, userKey, result);
  }

  /** Finds #target by a cursor. */
  #seek(block: Uint8Array, userKey: Uint8Array, result: TableResult): boolean {
    const { offset } = this.#handle;
    const cursor = this.#block;
    cursor.reset(block, this.#path, offset);
    cursor.seek(this.#target, this.#targetLength);
    // A separator is its block's last key or has a user key of its own: the next block cannot have the answer.
    if (!cursor.valid || !isVersionOf(cursor.key, cursor.keyLength, userKey)) return false;
    const type = typeOf(cursor.key, cursor.keyLength);
    if (type > TYPE_PUT) throw tableCorrupt(this.#path, offset, `a version is of the unknown type ${type}`);
    result.found = true;
    result.type = type;
    result.revision = revisionOf(cursor.key, cursor.keyLength);
    result.block = cursor.block;
    result.valueStart = cursor.valueStart;
    result.valueEnd = cursor.valueEnd;
    return true;
  }

  /**
   * A cursor over all versions, at none yet. `fillCache: false` is for whoever reads the file from end to end, once:
   * it reads 256 KiB at a time, past the cache, and so checks all that it reads.
   */
  cursor(options: { readonly fillCache?: boolean } = {}): TableCursor {
    return new TableCursor(this.#blocks, options.fillCache === false ? this.#blocks.window() : undefined);
  }

  /** About where in the file this key stands, or would stand. */
  approximateOffset(internalKey: Uint8Array): number {
    const { index, metaindex } = this.#blocks.footer;
    this.#index.reset(this.#blocks.index(), this.#path, index.offset);
    this.#index.seek(internalKey, internalKey.length);
    if (!this.#index.valid) return metaindex.offset;
    this.#blocks.handleAt(this.#index, this.#handle);
    return this.#handle.offset;
  }

  /** Undefined in a table that has none: one of LevelDB's. */
  readProperties(): TableProperties | undefined {
    return this.#blocks.properties();
  }

  /** Closes the file and lets go of what was kept. May be called twice. */
  close(): void {
    this.#block.clear();
    this.#index.clear();
    this.#blocks.close();
  }

  /** Puts the key to seek into #target. */
  #aim(userKey: Uint8Array, revision: number): void {
    const bytes = userKey.length + TRAILER_BYTES;
    if (bytes > this.#target.length) this.#target = new Uint8Array(bytes * 2);
    this.#targetLength = encodeInternalKey(this.#target, userKey, revision, SEEK_TYPE);
  }

  /** Finds the block that may have #target; false: none does. */
  #findBlock(): boolean {
    this.#index.reset(this.#blocks.index(), this.#path, this.#blocks.footer.index.offset);
    this.#index.seek(this.#target, this.#targetLength);
    if (!this.#index.valid) return false;
    this.#blocks.handleAt(this.#index, this.#handle);
    return true;
  }

  #passesFilter(hash: number): boolean {
    const filter = this.#blocks.filter();
    return filter === undefined || filter.mayContain(this.#handle.offset, hash);
  }
}
