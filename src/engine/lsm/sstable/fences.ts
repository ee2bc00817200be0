/**
 * Fences: where each block of a table ends, as numbers (key-numbers.ts), so that the block of a key is found without
 * walking the index. Where numbers do not tell, the index itself is asked.
 */
import { KeyNumbers } from '../key-numbers.ts';
import type { BlockCursor } from './block-cursor.ts';
import type { BlockHandle } from './format.ts';
import { TRAILER_BYTES } from './keys.ts';

/** So many looks into a block, and it gets a directory. */
const LOOKS_MAX = 4;
/** It gets none. */
const LOOKS_NEVER = 255;

export class Fences {
  readonly #numbers: KeyNumbers;
  readonly #offsets: Float64Array;
  readonly #sizes: Uint32Array;
  /** Where the cache had each block when it was last asked for. */
  readonly hints: Int32Array;
  /** How often each was looked into since it came, without a directory (block-directory.ts). */
  readonly #looks: Uint8Array;

  /** Reads the whole index; `handleAt` says where the block of the cursor's entry is. */
  constructor(index: BlockCursor, handleAt: (into: BlockHandle) => void) {
    const handle: BlockHandle = { offset: 0, size: 0 };
    const keys: Uint8Array[] = [];
    const offsets: number[] = [];
    const sizes: number[] = [];
    for (index.first(); index.valid; index.next()) {
      keys.push(index.key.slice(0, index.keyLength - TRAILER_BYTES));
      handleAt(handle);
      offsets.push(handle.offset);
      sizes.push(handle.size);
    }
    this.#numbers = new KeyNumbers(keys);
    this.#offsets = Float64Array.from(offsets);
    this.#sizes = Uint32Array.from(sizes);
    this.hints = new Int32Array(keys.length).fill(-1);
    this.#looks = new Uint8Array(keys.length);
  }

  get bytes(): number {
    return this.hints.length * 25;
  }

  /** The one block that may have versions of `user`; -1: ask the index. */
  find(user: Uint8Array): number {
    return this.#numbers.find(user);
  }

  handle(block: number, into: BlockHandle): void {
    into.offset = this.#offsets[block] as number;
    into.size = this.#sizes[block] as number;
  }

  /** Counts a look into a block without a directory: is it time for one? */
  countLook(block: number): boolean {
    const looks = this.#looks[block] as number;
    if (looks === LOOKS_NEVER) return false;
    this.#looks[block] = looks + 1 < LOOKS_MAX ? looks + 1 : 0;
    return looks + 1 >= LOOKS_MAX;
  }

  /** The block gets no directory. */
  lookNoMore(block: number): void {
    this.#looks[block] = LOOKS_NEVER;
  }

  /** The cache no longer has the block where it was. */
  forget(block: number): void {
    this.hints[block] = -1;
    if (this.#looks[block] !== LOOKS_NEVER) this.#looks[block] = 0;
  }
}
