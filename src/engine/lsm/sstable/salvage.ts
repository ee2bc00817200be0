/**
 * Salvage: what can still be read of a damaged table, in a new one.
 *
 * Block by block: one that is damaged is dropped whole, as nothing in it can be told right from wrong. Without a
 * footer and an index no block can be found, and nothing is kept.
 *
 * A table is one of several: with a block that is lost, an older version of its keys, or a key that was deleted, may
 * come to light again from another table. So this is for repair, which says what was dropped; never for reading on.
 */
import { EMPTY } from '../../../core/base/bytes.ts';
import type { DiskFile } from '../../../core/base/env.ts';
import { isStoreError, type StoreError } from '../../../core/base/errors.ts';
import { BlockCursor } from './block-cursor.ts';
import type { TableFileMeta } from './block-source.ts';
import { TableBuilder, type TableInfo, type TableOptions } from './builder.ts';
import { tableCorrupt, type BlockHandle } from './format.ts';
import { compareInternal, revisionOf, TYPE_PUT, typeOf } from './keys.ts';
import { NO_CACHE, TableBlocks } from './table-blocks.ts';

export interface Salvage {
  /** Entries in the new table. */
  readonly kept: number;
  readonly droppedBlocks: number;
  /** Why each block was dropped; or the one reason why nothing could be found. */
  readonly damage: readonly StoreError[];
  /** The new table; undefined when nothing was kept, and nothing written. */
  readonly info: TableInfo | undefined;
}

/** Copies the good blocks of `from` to `into`. Throws only what writing throws; both files stay open. */
export function salvageTable(from: DiskFile, meta: TableFileMeta, into: DiskFile, options: TableOptions): Salvage {
  const damage: StoreError[] = [];
  const found = attempt(damage, () => findBlocks(from, meta));
  if (found === undefined) return { kept: 0, droppedBlocks: 0, damage, info: undefined };

  const builder = new TableBuilder(into, options);
  const block = new BlockCursor();
  let last: Uint8Array = EMPTY;
  for (const handle of found.handles) {
    const blockLast = attempt(damage, () => {
      block.reset(found.blocks.data(handle), meta.path, handle.offset);
      return checkEntries(block, last, meta.path, handle.offset);
    });
    if (blockLast === undefined) continue;
    last = blockLast;
    for (block.first(); block.valid; block.next()) {
      builder.addFrom(block.key, block.keyLength, block.block, block.valueStart, block.valueEnd);
    }
  }
  const kept = builder.entries;
  if (kept === 0) builder.abandon();
  return { kept, droppedBlocks: damage.length, damage, info: kept === 0 ? undefined : builder.finish() };
}

/** What `act` gives, or undefined when what it reads is damaged or cannot be read. */
function attempt<T>(damage: StoreError[], act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (!isStoreError(error, 'TABLE_CORRUPT') && !isStoreError(error, 'DISK_FAILED')) throw error;
    damage.push(error);
    return undefined;
  }
}

function findBlocks(file: DiskFile, meta: TableFileMeta): { blocks: TableBlocks; handles: BlockHandle[] } {
  const blocks = new TableBlocks(file, meta, NO_CACHE);
  const index = new BlockCursor();
  index.reset(blocks.index(), meta.path, blocks.footer.index.offset);
  const handles: BlockHandle[] = [];
  for (index.first(); index.valid; index.next()) {
    const handle: BlockHandle = { offset: 0, size: 0 };
    blocks.handleAt(index, handle);
    handles.push(handle);
  }
  return { blocks, handles };
}

/** Checks that a block's entries are entries and stand behind `after`; returns the last key. */
function checkEntries(block: BlockCursor, after: Uint8Array, path: string, offset: number): Uint8Array {
  block.check();
  let last = after;
  for (block.first(); block.valid; block.next()) {
    const { key, keyLength } = block;
    const isKnown = typeOf(key, keyLength) <= TYPE_PUT && Number.isSafeInteger(revisionOf(key, keyLength));
    const isBehind = last.length === 0 || compareInternal(last, last.length, key, keyLength) < 0;
    if (!isKnown || !isBehind) throw tableCorrupt(path, offset, 'a block holds what is no entry, or not in its place');
    last = key.slice(0, keyLength);
  }
  return last;
}
