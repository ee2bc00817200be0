/**
 * Verify: reads a whole table and believes nothing: for scrubbing, and for whoever finds a table without a manifest.
 *
 * What reading checks on its way (checksums, lengths, handles) is checked here for every block; and what reading
 * takes on trust, because to check it would cost each read:
 *  - keys ascend strictly, over all blocks; types are known; restarts are entries;
 *  - a separator is not before its block's last key, and before the next block's first;
 *  - the filter has every key;
 *  - the properties are those of the entries;
 *  - blocks and footer are the whole file, without a gap or an overlap.
 */
import { EMPTY } from '../../../core/base/bytes.ts';
import type { DiskFile } from '../../../core/base/env.ts';
import { BlockCursor } from './block-cursor.ts';
import type { BlockWindow, TableFileMeta } from './block-source.ts';
import { hashKey } from '../key-hash.ts';
import type { TableInfo } from './builder.ts';
import { BLOCK_TRAILER_BYTES, FOOTER_BYTES, tableCorrupt, type BlockHandle } from './format.ts';
import { compareInternal, revisionOf, TYPE_PUT, typeOf, userKeyLength } from './keys.ts';
import { countEntry, noProperties, type TableProperties } from './properties.ts';
import { NO_CACHE, TableBlocks } from './table-blocks.ts';

export interface TableCheck extends TableInfo {
  readonly dataBlocks: number;
  /** Of the blocks as they are stored. */
  readonly dataBytes: number;
  readonly indexBytes: number;
  /** 0: the table has no filter. */
  readonly filterBytes: number;
}

/** Reads everything; throws TABLE_CORRUPT at the first thing that is wrong. The file stays open. */
export function verifyTable(file: DiskFile, meta: TableFileMeta): TableCheck {
  const bytes = file.size();
  if (bytes !== meta.fileBytes) {
    throw tableCorrupt(meta.path, Math.min(bytes, meta.fileBytes), `it has ${bytes} bytes, not ${meta.fileBytes}`);
  }
  return new Verifier(new TableBlocks(file, meta, NO_CACHE)).run();
}

class Verifier {
  readonly #blocks: TableBlocks;
  readonly #window: BlockWindow;
  readonly #path: string;
  readonly #index = new BlockCursor();
  readonly #block = new BlockCursor();
  readonly #found: TableProperties = noProperties();
  readonly #handles: BlockHandle[] = [];
  #smallest: Uint8Array = EMPTY;
  /** The key before, of this block or the one before it. */
  #last: Uint8Array = EMPTY;

  constructor(blocks: TableBlocks) {
    this.#blocks = blocks;
    this.#window = blocks.window();
    this.#path = blocks.meta.path;
  }

  run(): TableCheck {
    const { meta, footer } = this.#blocks;
    this.#index.reset(this.#blocks.index(), this.#path, footer.index.offset);
    this.#index.check();
    let separator = EMPTY;
    for (this.#index.first(); this.#index.valid; this.#index.next()) {
      const handle: BlockHandle = { offset: 0, size: 0 };
      this.#blocks.handleAt(this.#index, handle);
      this.#handles.push(handle);
      this.#checkData(handle, separator);
      separator = this.#index.key.slice(0, this.#index.keyLength);
      if (compareInternal(separator, separator.length, this.#last, this.#last.length) < 0) {
        throw this.#bad(footer.index.offset, `the separator of the block at ${handle.offset} is before its last key`);
      }
    }
    const dataBlocks = this.#handles.length;
    const dataBytes = this.#handles.reduce((sum, { size }) => sum + size, 0);
    if (dataBlocks === 0) throw this.#bad(footer.index.offset, 'the table is empty');
    this.#checkProperties();
    this.#checkLayout();

    const { entries, tombstones, smallestRevision, largestRevision, earliestExpiryMs } = this.#found;
    return {
      fileBytes: meta.fileBytes,
      entries,
      tombstones,
      smallest: this.#smallest,
      largest: this.#last,
      smallestRevision,
      largestRevision,
      earliestExpiryMs,
      dataBlocks,
      dataBytes,
      indexBytes: footer.index.size,
      filterBytes: this.#blocks.filter()?.bytes ?? 0,
    };
  }

  /** Checks one data block; `separator` is that of the block before, or empty. */
  #checkData(handle: BlockHandle, separator: Uint8Array): void {
    const { offset } = handle;
    const cursor = this.#block;
    cursor.reset(this.#window.read(handle), this.#path, offset);
    cursor.check();
    cursor.first();
    if (!cursor.valid) throw this.#bad(offset, 'a data block is empty');
    if (separator.length > 0 && compareInternal(separator, separator.length, cursor.key, cursor.keyLength) >= 0) {
      throw this.#bad(offset, 'the separator before this block is not before its first key');
    }
    const filter = this.#blocks.filter();
    for (; cursor.valid; cursor.next()) {
      const { key, keyLength } = cursor;
      const type = typeOf(key, keyLength);
      if (type > TYPE_PUT) throw this.#bad(offset, `a version is of the unknown type ${type}`);
      if (!Number.isSafeInteger(revisionOf(key, keyLength))) throw this.#bad(offset, 'a revision is above 2^53');
      if (this.#last.length > 0 && compareInternal(this.#last, this.#last.length, key, keyLength) >= 0) {
        throw this.#bad(offset, 'keys do not ascend');
      }
      if (filter !== undefined && !filter.mayContain(offset, hashKey(key, userKeyLength(keyLength)))) {
        throw this.#bad(offset, 'the filter misses a key of this block');
      }
      countEntry(this.#found, key, keyLength, cursor.block, cursor.valueStart, cursor.valueEnd);
      this.#last = key.slice(0, keyLength);
      if (this.#smallest.length === 0) this.#smallest = this.#last;
    }
  }

  #checkProperties(): void {
    const told = this.#blocks.properties();
    if (told === undefined) return;
    const names = Object.keys(told) as (keyof TableProperties)[];
    const wrong = names.find((name) => told[name] !== this.#found[name]);
    if (wrong === undefined) return;
    const what = `the table says ${wrong} ${told[wrong]} of itself, and has ${this.#found[wrong]}`;
    throw this.#bad(this.#blocks.footer.metaindex.offset, what);
  }

  /** Every block once, one behind the other, then the footer; and reads those that nothing has read yet. */
  #checkLayout(): void {
    const { footer, meta } = this.#blocks;
    for (const handle of this.#blocks.allNamed()) {
      this.#window.read(handle);
      this.#handles.push(handle);
    }
    const all = [...this.#handles, footer.metaindex, footer.index];
    let end = 0;
    for (const { offset, size } of all.sort((a, b) => a.offset - b.offset)) {
      if (offset !== end) throw this.#bad(Math.min(offset, end), 'blocks overlap, or leave a gap');
      end = offset + size + BLOCK_TRAILER_BYTES;
    }
    if (end !== meta.fileBytes - FOOTER_BYTES) throw this.#bad(end, 'the blocks end before the footer');
  }

  #bad(offset: number, what: string): Error {
    return tableCorrupt(this.#path, offset, what);
  }
}
