/**
 * BlockBuilder: sorted entries in one block, each key without what it shares with the one before.
 *
 *   block    entry* | restart u32 * | number of restarts u32
 *   entry    shared varint32 | unshared varint32 | value bytes varint32 | unshared key bytes | value
 *
 * Every `restartInterval` entries a key is written whole: a restart, which a binary search can begin at. One buffer
 * is used for block after block.
 */
import { assert } from '../../../core/base/assert.ts';
import { storeU32, storeVarint } from './format.ts';

/** Three lengths of five bytes. */
const HEADER_BYTES_MAX = 15;
/** Below this a loop beats `set`. */
const LOOP_BYTES_MAX = 24;
/** Restart offsets have 32 bits; LevelDB's lengths too. */
const BLOCK_BYTES_MAX = 0x7fff_ffff;

export class BlockBuilder {
  readonly #restartInterval: number;
  #bytes = new Uint8Array(8192);
  #length = 0;
  #restarts = new Uint32Array(64);
  #restartCount = 1;
  /** Entries since the last restart. */
  #sinceRestart = 0;
  #lastKey = new Uint8Array(256);
  #lastKeyLength = 0;

  constructor(restartInterval: number) {
    assert(Number.isInteger(restartInterval) && restartInterval >= 1, 'there is a restart for one key or more');
    this.#restartInterval = restartInterval;
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** What `finish` would give, in bytes. */
  get finishedBytes(): number {
    return this.#length + this.#restartCount * 4 + 4;
  }

  /** Adds an entry: `key[0, keyLength)`, which stands after every one before it, and `bytes[start, end)`. */
  add(key: Uint8Array, keyLength: number, bytes: Uint8Array, start: number, end: number): void {
    const valueBytes = end - start;
    assert(this.#length + keyLength + valueBytes < BLOCK_BYTES_MAX, 'a block has less than 2 GiB');
    let shared = 0;
    if (this.#sinceRestart < this.#restartInterval) {
      const last = this.#lastKey;
      const shorter = keyLength < this.#lastKeyLength ? keyLength : this.#lastKeyLength;
      while (shared < shorter && last[shared] === key[shared]) shared++;
    } else {
      this.#addRestart();
    }
    this.#room(HEADER_BYTES_MAX + keyLength - shared + valueBytes);
    const into = this.#bytes;
    let at = storeVarint(into, this.#length, shared);
    at = storeVarint(into, at, keyLength - shared);
    at = storeVarint(into, at, valueBytes);
    at = copy(key, shared, keyLength, into, at);
    this.#length = copy(bytes, start, end, into, at);
    this.#sinceRestart++;

    if (keyLength > this.#lastKey.length) {
      const grown = new Uint8Array(keyLength * 2);
      grown.set(this.#lastKey.subarray(0, shared));
      this.#lastKey = grown;
    }
    copy(key, shared, keyLength, this.#lastKey, shared);
    this.#lastKeyLength = keyLength;
  }

  /** The whole block, lent until `reset`, which must come next. */
  finish(): Uint8Array {
    const count = this.#restartCount;
    this.#room(count * 4 + 4);
    let at = this.#length;
    for (let i = 0; i < count; i++) {
      storeU32(this.#bytes, at, this.#restarts[i] as number);
      at += 4;
    }
    storeU32(this.#bytes, at, count);
    return this.#bytes.subarray(0, at + 4);
  }

  reset(): void {
    this.#length = 0;
    this.#restartCount = 1;
    this.#sinceRestart = 0;
    this.#lastKeyLength = 0;
  }

  #addRestart(): void {
    if (this.#restartCount === this.#restarts.length) {
      const grown = new Uint32Array(this.#restartCount * 2);
      grown.set(this.#restarts);
      this.#restarts = grown;
    }
    this.#restarts[this.#restartCount++] = this.#length;
    this.#sinceRestart = 0;
  }

  #room(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

/** Copies `from[start, end)` to `into[at...]`; returns the end there. */
function copy(from: Uint8Array, start: number, end: number, into: Uint8Array, at: number): number {
  if (end - start > LOOP_BYTES_MAX) into.set(from.subarray(start, end), at);
  else for (let i = start; i < end; i++) into[at + i - start] = from[i] as number;
  return at + end - start;
}
