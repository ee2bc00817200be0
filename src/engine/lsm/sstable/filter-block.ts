/**
 * Filter block: one Bloom filter for each 2 KiB of the file in which a data block begins.
 *
 *   filter block = filter* | offset u32 of each filter | offset u32 of these offsets | 11 (2^11 = 2 KiB)
 *
 * A filter is found by its block's offset, without a search. Blocks that begin in the same 2 KiB share one; stretches
 * in which none begins have an empty one, which contains nothing.
 *
 * Filters are of user keys: all versions of a key are one. (LevelDB adds a key again for each version, which makes
 * its filters a little larger; to be the same in every bit, so do we.)
 */
import { assert } from '../../../core/base/assert.ts';
import { bloomBytes, bloomMayContain, createBloom } from './bloom.ts';
import { loadU32, storeU32, tableCorrupt } from './format.ts';

const BASE_LOG_2 = 11;
const BASE_BYTES = 2 ** BASE_LOG_2;
/** Behind the offsets: where they begin, and the base. */
const TAIL_BYTES = 5;
const LOG_2_MAX = 30;

export class FilterBuilder {
  readonly #bitsPerKey: number;
  /** Of the keys since the last filter. */
  #hashes = new Uint32Array(1024);
  #count = 0;
  /** The filters made. */
  #filters = new Uint8Array(4096);
  #bytes = 0;
  /** Where each begins. */
  readonly #offsets: number[] = [];

  constructor(bitsPerKey: number) {
    assert(Number.isInteger(bitsPerKey) && bitsPerKey >= 1, 'a filter has a bit or more for each key');
    this.#bitsPerKey = bitsPerKey;
  }

  /** A key of the data block that is being made, by its hash. */
  add(hash: number): void {
    if (this.#count === this.#hashes.length) {
      const grown = new Uint32Array(this.#count * 2);
      grown.set(this.#hashes);
      this.#hashes = grown;
    }
    this.#hashes[this.#count++] = hash;
  }

  /** The next data block begins at `offset`. */
  startBlock(offset: number): void {
    const index = Math.floor(offset / BASE_BYTES);
    assert(index >= this.#offsets.length, 'blocks begin in the order of the file');
    while (index > this.#offsets.length) this.#make();
  }

  finish(): Uint8Array {
    if (this.#count > 0) this.#make();
    const block = new Uint8Array(this.#bytes + this.#offsets.length * 4 + TAIL_BYTES);
    block.set(this.#filters.subarray(0, this.#bytes));
    let at = this.#bytes;
    for (const offset of this.#offsets) {
      storeU32(block, at, offset);
      at += 4;
    }
    storeU32(block, at, this.#bytes);
    block[at + 4] = BASE_LOG_2;
    return block;
  }

  #make(): void {
    this.#offsets.push(this.#bytes);
    if (this.#count === 0) return;
    const end = this.#bytes + bloomBytes(this.#count, this.#bitsPerKey);
    if (end > this.#filters.length) {
      const grown = new Uint8Array(Math.max(end, this.#filters.length * 2));
      grown.set(this.#filters.subarray(0, this.#bytes));
      this.#filters = grown;
    }
    createBloom(this.#filters, this.#bytes, this.#hashes, this.#count, this.#bitsPerKey);
    this.#bytes = end;
    this.#count = 0;
  }
}

export class FilterReader {
  readonly #block: Uint8Array;
  readonly #offsetsAt: number;
  readonly #count: number;
  readonly #baseBytes: number;

  /** Throws TABLE_CORRUPT unless the whole block is as a builder would make it; `file` and `offset` say where it is. */
  constructor(block: Uint8Array, file: string, offset: number) {
    const { length } = block;
    const bad = (what: string): Error => tableCorrupt(file, offset, `the filter block ${what}`);
    if (length < TAIL_BYTES) throw bad('is too short');
    const log2 = block[length - 1] as number;
    if (log2 > LOG_2_MAX) throw bad('has a base beyond sense');
    const offsetsAt = loadU32(block, length - TAIL_BYTES);
    const offsetBytes = length - TAIL_BYTES - offsetsAt;
    if (offsetBytes < 0 || offsetBytes % 4 !== 0) throw bad('has its offsets elsewhere');
    let before = 0;
    for (let at = offsetsAt; at < length - TAIL_BYTES; at += 4) {
      const filterAt = loadU32(block, at);
      if (filterAt < before || filterAt > offsetsAt) throw bad('has filters out of order');
      before = filterAt;
    }
    this.#block = block;
    this.#offsetsAt = offsetsAt;
    this.#count = offsetBytes / 4;
    this.#baseBytes = 2 ** log2;
  }

  get bytes(): number {
    return this.#block.length;
  }

  /** Whether the data block at `blockOffset` may hold a key with this hash: false is sure, true is not. */
  mayContain(blockOffset: number, hash: number): boolean {
    const index = Math.floor(blockOffset / this.#baseBytes);
    // No filter was made for this block: nothing is known.
    if (index >= this.#count) return true;
    const at = this.#offsetsAt + index * 4;
    // Behind the last filter's offset stands where the offsets begin, which is where that filter ends.
    return bloomMayContain(this.#block, loadU32(this.#block, at), loadU32(this.#block, at + 4), hash);
  }
}
