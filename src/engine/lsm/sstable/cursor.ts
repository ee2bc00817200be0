/**
 * TableCursor: a place among all versions of a table, in two levels: a cursor over the index, and one over the block
 * that its entry names.
 *
 * The key stands in the cursor's own buffer, the value in the block. With a window (see block-source.ts) blocks come
 * from read-ahead, without the cache; so a value is valid until the cursor moves, in both ways.
 */
import { BlockCursor } from './block-cursor.ts';
import type { BlockWindow } from './block-source.ts';
import type { BlockHandle } from './format.ts';
import type { TableBlocks } from './table-blocks.ts';

export class TableCursor {
  readonly #blocks: TableBlocks;
  readonly #window: BlockWindow | undefined;
  readonly #index = new BlockCursor();
  readonly #block = new BlockCursor();
  readonly #handle: BlockHandle = { offset: 0, size: 0 };
  #isIndexLoaded = false;
  /** The block in hand, to step around in without loading it again; -1: none. */
  #blockOffset = -1;

  constructor(blocks: TableBlocks, window: BlockWindow | undefined) {
    this.#blocks = blocks;
    this.#window = window;
  }

  get valid(): boolean {
    return this.#block.valid;
  }

  /** The internal key is `key[0, keyLength)`: valid until the cursor moves, as is all below. */
  get key(): Uint8Array {
    return this.#block.key;
  }

  get keyLength(): number {
    return this.#block.keyLength;
  }

  /** The stored value is `block[valueStart, valueEnd)`. */
  get block(): Uint8Array {
    return this.#block.block;
  }

  get valueStart(): number {
    return this.#block.valueStart;
  }

  get valueEnd(): number {
    return this.#block.valueEnd;
  }

  /** A view of the stored value; makes an object. */
  get value(): Uint8Array {
    return this.#block.block.subarray(this.#block.valueStart, this.#block.valueEnd);
  }

  /** Where in the file the block in hand stands. */
  get blockOffset(): number {
    return this.#handle.offset;
  }

  /** To the first entry that is not before `target[0, targetLength)`, an internal key. */
  seek(target: Uint8Array, targetLength: number): void {
    const index = this.#openIndex();
    index.seek(target, targetLength);
    if (!this.#enterBlock()) return;
    this.#block.seek(target, targetLength);
    this.#skipForward();
  }

  first(): void {
    this.#openIndex().first();
    if (!this.#enterBlock()) return;
    this.#block.first();
    this.#skipForward();
  }

  last(): void {
    this.#openIndex().last();
    if (!this.#enterBlock()) return;
    this.#block.last();
    this.#skipBackward();
  }

  next(): void {
    this.#block.next();
    this.#skipForward();
  }

  prev(): void {
    this.#block.prev();
    this.#skipBackward();
  }

  #openIndex(): BlockCursor {
    if (!this.#isIndexLoaded) {
      const { meta, footer } = this.#blocks;
      this.#index.reset(this.#blocks.index(), meta.path, footer.index.offset);
      this.#isIndexLoaded = true;
    }
    return this.#index;
  }

  /** Loads the block that the index is at, at none of its entries; false: the index is at its end, and so are we. */
  #enterBlock(): boolean {
    if (!this.#index.valid) {
      this.#block.clear();
      this.#blockOffset = -1;
      return false;
    }
    const handle = this.#handle;
    this.#blocks.handleAt(this.#index, handle);
    if (handle.offset === this.#blockOffset) return true;
    this.#blockOffset = -1;
    this.#block.clear();
    const bytes = this.#window === undefined ? this.#blocks.data(handle) : this.#window.read(handle);
    this.#block.reset(bytes, this.#blocks.meta.path, handle.offset);
    this.#blockOffset = handle.offset;
    return true;
  }

  /** Behind the last entry of a block: on to the next block that has any. */
  #skipForward(): void {
    while (!this.#block.valid) {
      this.#index.next();
      if (!this.#enterBlock()) return;
      this.#block.first();
    }
  }

  #skipBackward(): void {
    while (!this.#block.valid) {
      this.#index.prev();
      if (!this.#enterBlock()) return;
      this.#block.last();
    }
  }
}
