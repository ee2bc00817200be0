/**
 * BlockLookup: is there a version of this key in this block? A seek that puts no key together.
 *
 * A point read passes over some eight entries to come to its own, and a cursor copies the key of each. But all that
 * matters of a key before the target is in how many bytes it begins as the target does (`same`): the next key shares
 * so and so many bytes with it, and if these are
 *   more than `same`   it is before the target too, for the same byte;
 *   fewer              it is behind it, as it is behind its predecessor where that one still agreed;
 *   as many            its own bytes are compared, from there on.
 *
 * What does not fit this (a user key that is the beginning of the target's, several versions that share parts of
 * their numbers) is rare, and left to the cursor: `UNSURE`. Every length is compared with what is there before it is
 * used, as everywhere a block is read; what is wrong is left to the cursor too, which says where.
 */
import { TRAILER_BYTES, revisionOf, typeOf } from './keys.ts';
import { loadU32 } from './format.ts';

export const ABSENT = 0;
export const FOUND = 1;
export const UNSURE = 2;

export class BlockLookup {
  type = 0;
  revision = 0;
  valueStart = 0;
  valueEnd = 0;

  /** Of the entry header read last. */
  #shared = 0;
  #unshared = 0;
  #suffix = 0;
  #end = 0;

  /** Looks for the newest version of the user key of `target[0, targetLength)` that is not newer than its revision. */
  find(block: Uint8Array, target: Uint8Array, targetLength: number): typeof ABSENT | typeof FOUND | typeof UNSURE {
    const { length } = block;
    if (length < 8) return UNSURE;
    const restarts = loadU32(block, length - 4);
    const entriesEnd = length - 4 - restarts * 4;
    if (restarts === 0 || entriesEnd <= 0) return UNSURE;
    const user = targetLength - TRAILER_BYTES;
    const low = this.#restartBefore(block, entriesEnd, restarts, target, user);
    if (low < 0) return UNSURE;
    let at = loadU32(block, entriesEnd + low * 4);
    // The key at the next restart stands whole, and is not before the target.
    const next = low + 1 < restarts ? loadU32(block, entriesEnd + low * 4 + 4) : entriesEnd;
    let same = 0;
    let isWhole = true;
    for (;;) {
      if (at >= entriesEnd) return ABSENT;
      if (at === next) isWhole = true;
      if (!this.#readHeader(block, at, entriesEnd)) return UNSURE;
      at = this.#end;
      const shared = this.#shared;
      if (isWhole) {
        if (shared !== 0) return UNSURE;
        isWhole = false;
      } else if (shared > same) continue;
      else if (shared < same) return ABSENT;
      const entryUser = shared + this.#unshared - TRAILER_BYTES;
      if (entryUser < shared) return UNSURE;
      const shorter = entryUser < user ? entryUser : user;
      const from = this.#suffix - shared;
      let i = shared;
      while (i < shorter && block[from + i] === target[i]) i++;
      if (i < shorter) {
        if ((block[from + i] as number) > (target[i] as number)) return ABSENT;
        same = i;
        continue;
      }
      if (entryUser > user) return ABSENT;
      if (entryUser < user) return UNSURE;
      return this.#take(block, target, targetLength);
    }
  }

  /** The entry's user key is the target's. */
  #take(block: Uint8Array, target: Uint8Array, targetLength: number): typeof FOUND | typeof UNSURE {
    const keyEnd = this.#suffix + this.#unshared;
    this.revision = revisionOf(block, keyEnd);
    // An older version may follow.
    if (this.revision > revisionOf(target, targetLength)) return UNSURE;
    this.type = typeOf(block, keyEnd);
    this.valueStart = keyEnd;
    this.valueEnd = this.#end;
    return FOUND;
  }

  /** The last restart whose user key is before the target's, or the first; -1: the block cannot be read so. */
  #restartBefore(block: Uint8Array, entriesEnd: number, restarts: number, target: Uint8Array, user: number): number {
    let low = 0;
    let high = restarts - 1;
    let sameLow = 0;
    let sameHigh = 0;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      const at = loadU32(block, entriesEnd + middle * 4);
      if (at >= entriesEnd || !this.#readHeader(block, at, entriesEnd) || this.#shared !== 0) return -1;
      const entryUser = this.#unshared - TRAILER_BYTES;
      if (entryUser < 0) return -1;
      const shorter = entryUser < user ? entryUser : user;
      const from = this.#suffix;
      let i = sameLow < sameHigh ? sameLow : sameHigh;
      while (i < shorter && block[from + i] === target[i]) i++;
      const isBefore = i < shorter ? (block[from + i] as number) < (target[i] as number) : entryUser < user;
      if (isBefore) {
        low = middle;
        sameLow = i;
      } else {
        high = middle - 1;
        sameHigh = i;
      }
    }
    return low;
  }

  /** False: the entry at `at` is not within the entries. */
  #readHeader(block: Uint8Array, at: number, entriesEnd: number): boolean {
    if (at + 3 > entriesEnd) return false;
    const shared = block[at] as number;
    const unshared = block[at + 1] as number;
    let valueBytes = block[at + 2] as number;
    let suffix = at + 3;
    if ((shared | unshared) >= 0x80) return false;
    if (valueBytes >= 0x80) {
      // A value of up to 16 KiB; longer ones are few to a block.
      const more = block[at + 3] as number;
      if (more >= 0x80) return false;
      valueBytes = (valueBytes & 0x7f) | (more << 7);
      suffix++;
    }
    this.#shared = shared;
    this.#unshared = unshared;
    this.#suffix = suffix;
    this.#end = suffix + unshared + valueBytes;
    return this.#end <= entriesEnd;
  }
}
