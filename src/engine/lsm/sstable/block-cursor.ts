/**
 * BlockCursor: a place in a block of sorted entries (drawn in block-builder.ts).
 *
 * A key is put together in a buffer of the cursor's own, as most of it may stand in entries before; a value stays
 * where it is, and is told by its bounds. A cursor is made once and given block after block: no step allocates.
 *
 * A seek compares keys at the restarts, where they stand whole, and only then walks: at most one interval. Sorted
 * keys have long beginnings in common, with each other and with the target, and these are compared once: the search
 * knows them from its two bounds, the walk from what a key shares with the one before.
 *
 * Blocks come from a disk. Each length and offset is compared with what is there before it is used, and each step
 * goes on by three bytes at least; so whatever a block holds, a cursor ends, with what it holds or with
 * TABLE_CORRUPT. That keys ascend and that restarts are entries is not checked on the way; verify.ts does.
 *
 * Invariants:
 *  - valid: the entry begins at #entry, its key is key[0, keyLength), its value block[valueStart, valueEnd);
 *  - not valid: #entry is at the end of the entries.
 */
import { assert } from '../../../core/base/assert.ts';
import { EMPTY } from '../../../core/base/bytes.ts';
import type { StoreError } from '../../../core/base/errors.ts';
import { loadU32, tableCorrupt } from './format.ts';
import { compareNumbers, TRAILER_BYTES } from './keys.ts';

const LOOP_BYTES_MAX = 24;

export class BlockCursor {
  readonly #keyBytesMin: number;
  #block: Uint8Array = EMPTY;
  #file = '';
  #offset = 0;
  /** Where the entries end and the restarts begin. */
  #entriesEnd = 0;
  #restarts = 0;

  #entry = 0;
  #key = new Uint8Array(256);
  #keyLength = 0;
  #valueStart = 0;
  #valueEnd = 0;

  /** Of the entry header read last. */
  #shared = 0;
  #unshared = 0;
  #valueBytes = 0;
  /** Where its key bytes begin. */
  #suffix = 0;

  /** Of the keys compared last: the bytes with which both begin. */
  #same = 0;

  /** `keys`: 'internal' for data and index blocks; 'names' for the others, which cannot be sought in. */
  constructor(keys: 'internal' | 'names' = 'internal') {
    this.#keyBytesMin = keys === 'internal' ? TRAILER_BYTES : 0;
  }

  /** Begins with a new block, at no entry. `file` and `offset` say where it came from, if it should be damaged. */
  reset(block: Uint8Array, file: string, offset: number): void {
    this.#block = block;
    this.#file = file;
    this.#offset = offset;
    const { length } = block;
    this.#entriesEnd = 0;
    this.#restarts = 0;
    this.#end();
    if (length < 4) throw this.#bad(0, 'it is too short');
    const restarts = loadU32(block, length - 4);
    // LevelDB takes a block without restarts for an empty one; entries without a way to them are damage.
    const entriesEnd = length - 4 - restarts * 4;
    if (entriesEnd < 0 || (restarts === 0 && entriesEnd !== 0))
      throw this.#bad(length - 4, 'its restarts are no restarts');
    this.#entriesEnd = entriesEnd;
    this.#restarts = restarts;
    this.#end();
    if (restarts === 0) return;
    if (loadU32(block, entriesEnd) !== 0) throw this.#bad(entriesEnd, 'its first restart is not its first entry');
    if (entriesEnd === 0 && restarts > 1) throw this.#bad(0, 'it has restarts and no entries');
  }

  /** Lets go of the block. */
  clear(): void {
    this.#block = EMPTY;
    this.#entriesEnd = 0;
    this.#restarts = 0;
    this.#end();
  }

  get valid(): boolean {
    return this.#entry < this.#entriesEnd;
  }

  /** Holds the key in its first `keyLength` bytes: valid until the cursor moves. */
  get key(): Uint8Array {
    return this.#key;
  }

  get keyLength(): number {
    return this.#keyLength;
  }

  get block(): Uint8Array {
    return this.#block;
  }

  /** The value is `block[valueStart, valueEnd)`. */
  get valueStart(): number {
    return this.#valueStart;
  }

  get valueEnd(): number {
    return this.#valueEnd;
  }

  /** To the first entry whose key is not before `target[0, targetLength)`, an internal key. */
  seek(target: Uint8Array, targetLength: number): void {
    assert(targetLength >= TRAILER_BYTES && this.#keyBytesMin > 0, 'internal keys are sought among internal keys');
    if (this.#entriesEnd === 0) return;
    const block = this.#block;
    // The last restart whose key is before the target; or the first. Keys between two others begin as both do.
    let low = 0;
    let high = this.#restarts - 1;
    let sameLow = 0;
    let sameHigh = 0;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      this.#readWhole(this.#restartAt(middle));
      const known = sameLow < sameHigh ? sameLow : sameHigh;
      if (this.#order(block, this.#suffix, this.#unshared, target, targetLength, known) < 0) {
        low = middle;
        sameLow = this.#same;
      } else {
        high = middle - 1;
        sameHigh = this.#same;
      }
    }
    this.#toRestart(low);
    let known = sameLow;
    while (this.#order(this.#key, 0, this.#keyLength, target, targetLength, known) < 0) {
      // A byte of the user key may set this key apart from the target; those that have it too are before it as well.
      const apart = this.#same;
      const isApart = apart < this.#keyLength - TRAILER_BYTES;
      do {
        this.next();
        if (this.#entry === this.#entriesEnd) return;
      } while (isApart && this.#shared > apart);
      known = this.#shared < apart ? this.#shared : apart;
    }
  }

  first(): void {
    if (this.#entriesEnd !== 0) this.#toRestart(0);
  }

  last(): void {
    if (this.#entriesEnd === 0) return;
    this.#toRestart(this.#restarts - 1);
    while (this.#valueEnd < this.#entriesEnd) this.next();
  }

  /** One entry on; behind the last one it is not valid. */
  next(): void {
    assert(this.#entry < this.#entriesEnd, 'a cursor that moves is at an entry');
    if (this.#valueEnd === this.#entriesEnd) {
      this.#end();
      return;
    }
    this.#enter(this.#valueEnd);
  }

  /** One entry back, by way of the restart before it; before the first one it is not valid. */
  prev(): void {
    const from = this.#entry;
    assert(from < this.#entriesEnd, 'a cursor that moves is at an entry');
    if (from === 0) {
      this.#end();
      return;
    }
    // The last restart before this entry.
    let low = 0;
    let high = this.#restarts - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#restartAt(middle) < from) low = middle;
      else high = middle - 1;
    }
    this.#toRestart(low);
    while (this.#valueEnd < from) this.next();
    if (this.#valueEnd !== from) throw this.#bad(from, 'a restart leads into the middle of an entry');
  }

  /** Walks the whole block; TABLE_CORRUPT unless its restarts are entries of it, in order, with whole keys. */
  check(): void {
    let restart = 0;
    for (this.first(); this.valid; this.next()) {
      if (restart === this.#restarts || this.#restartAt(restart) !== this.#entry) continue;
      if (this.#shared !== 0) throw this.#bad(this.#entry, 'a key at a restart is not whole');
      restart++;
    }
    if (this.#entriesEnd !== 0 && restart !== this.#restarts) {
      throw this.#bad(this.#entriesEnd + restart * 4, 'a restart is no entry');
    }
  }

  /**
   * Order of the key `bytes[start, start + length)` and the target, whose user keys begin with `known` equal bytes;
   * leaves in #same with how many they do.
   */
  #order(
    bytes: Uint8Array,
    start: number,
    length: number,
    target: Uint8Array,
    targetLength: number,
    known: number,
  ): number {
    const user = length - TRAILER_BYTES;
    const targetUser = targetLength - TRAILER_BYTES;
    const shorter = user < targetUser ? user : targetUser;
    let same = known;
    while (same < shorter && bytes[start + same] === target[same]) same++;
    this.#same = same;
    if (same < shorter) return (bytes[start + same] as number) - (target[same] as number);
    if (user !== targetUser) return user - targetUser;
    return compareNumbers(bytes, start + user, target, targetUser);
  }

  #end(): void {
    this.#entry = this.#entriesEnd;
    this.#keyLength = 0;
    this.#valueStart = this.#entriesEnd;
    this.#valueEnd = this.#entriesEnd;
  }

  #restartAt(index: number): number {
    const at = this.#entriesEnd + index * 4;
    const restart = loadU32(this.#block, at);
    if (restart >= this.#entriesEnd) throw this.#bad(at, 'a restart leads out of the entries');
    return restart;
  }

  #toRestart(index: number): void {
    const at = this.#restartAt(index);
    this.#keyLength = 0;
    this.#enter(at);
  }

  /** Reads the entry at `at`, whose key goes on from the key before. */
  #enter(at: number): void {
    this.#readHeader(at);
    const shared = this.#shared;
    const unshared = this.#unshared;
    const keyLength = shared + unshared;
    if (shared > this.#keyLength) throw this.#bad(at, 'a key shares more than there is');
    if (keyLength < this.#keyBytesMin) throw this.#bad(at, 'a key is too short');
    if (keyLength > this.#key.length) this.#grow(keyLength);
    const block = this.#block;
    const key = this.#key;
    const suffix = this.#suffix;
    if (unshared > LOOP_BYTES_MAX) key.set(block.subarray(suffix, suffix + unshared), shared);
    else for (let i = 0; i < unshared; i++) key[shared + i] = block[suffix + i] as number;
    this.#keyLength = keyLength;
    this.#entry = at;
    this.#valueStart = suffix + unshared;
    this.#valueEnd = suffix + unshared + this.#valueBytes;
  }

  /** Reads the header of the entry at a restart, whose key stands there whole. */
  #readWhole(at: number): void {
    this.#readHeader(at);
    if (this.#shared !== 0) throw this.#bad(at, 'a key at a restart is not whole');
    if (this.#unshared < this.#keyBytesMin) throw this.#bad(at, 'a key is too short');
  }

  /** Reads the three lengths at `at`; what they measure is inside the entries. */
  #readHeader(at: number): void {
    const block = this.#block;
    const end = this.#entriesEnd;
    if (at + 3 > end) throw this.#bad(at, 'an entry is cut off');
    const shared = block[at] as number;
    const unshared = block[at + 1] as number;
    const valueBytes = block[at + 2] as number;
    if ((shared | unshared | valueBytes) < 0x80) {
      this.#shared = shared;
      this.#unshared = unshared;
      this.#valueBytes = valueBytes;
      this.#suffix = at + 3;
    } else {
      this.#suffix = at;
      this.#shared = this.#varint32();
      this.#unshared = this.#varint32();
      this.#valueBytes = this.#varint32();
    }
    if (this.#unshared + this.#valueBytes > end - this.#suffix) throw this.#bad(at, 'an entry is cut off');
  }

  /** Reads a length at #suffix and moves it on. */
  #varint32(): number {
    const block = this.#block;
    const start = this.#suffix;
    let value = 0;
    let scale = 1;
    for (let at = start; at < this.#entriesEnd && at < start + 5; at++) {
      const byte = block[at] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > 0xffff_ffff) break;
        this.#suffix = at + 1;
        return value;
      }
      scale *= 0x80;
    }
    throw this.#bad(start, 'a length is none');
  }

  #grow(bytes: number): void {
    const grown = new Uint8Array(Math.max(bytes, this.#key.length * 2));
    grown.set(this.#key.subarray(0, this.#keyLength));
    this.#key = grown;
  }

  #bad(at: number, what: string): StoreError {
    this.#end();
    return tableCorrupt(this.#file, this.#offset, `the block there, at its byte ${at}: ${what}`);
  }
}
