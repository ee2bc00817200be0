/**
 * Internal keys: what a table is sorted by.
 *
 *   internal key = user key | u64 LE of (revision << 8 | type)
 *
 * Order: user key bytes up, then the number down. So the versions of a key stand together, newest first, and a
 * seek to (key, R) stops at the newest version that is not newer than R: the point of the layout. It is LevelDB's,
 * byte for byte.
 *
 * A revision has 56 bits here and ours end at 2^53; numbers are taken apart into bytes and words, because a BigInt
 * costs an allocation. A key may stand in a buffer that is longer than it: hence the lengths.
 *
 * Separators (56 bits all set, which no write has) appear in index blocks only, and are only compared.
 */
import { assert } from '../../../core/base/assert.ts';

/** A key that is gone. */
export const TYPE_TOMBSTONE = 0;
export const TYPE_PUT = 1;
/** The type to seek with: the highest, as numbers go down and a seek must not pass its own revision. */
export const SEEK_TYPE = 1;

/** Bytes behind the user key. */
export const TRAILER_BYTES = 8;

const TWO_32 = 0x1_0000_0000;

/** Writes an internal key to the start of `into`; returns its length. */
export function encodeInternalKey(into: Uint8Array, userKey: Uint8Array, revision: number, type: number): number {
  const at = userKey.length;
  assert(at + TRAILER_BYTES <= into.length, 'an internal key fits its buffer');
  assert(Number.isSafeInteger(revision) && revision >= 0, 'a revision is a safe integer, zero or more');
  if (at > 24) into.set(userKey);
  else for (let i = 0; i < at; i++) into[i] = userKey[i] as number;
  const low = revision >>> 0;
  const high = (revision / TWO_32) >>> 0;
  into[at] = type;
  into[at + 1] = low;
  into[at + 2] = low >>> 8;
  into[at + 3] = low >>> 16;
  into[at + 4] = low >>> 24;
  into[at + 5] = high;
  into[at + 6] = high >>> 8;
  into[at + 7] = high >>> 16;
  return at + TRAILER_BYTES;
}

export function makeInternalKey(userKey: Uint8Array, revision: number, type: number): Uint8Array {
  const key = new Uint8Array(userKey.length + TRAILER_BYTES);
  encodeInternalKey(key, userKey, revision, type);
  return key;
}

export function userKeyLength(length: number): number {
  return length - TRAILER_BYTES;
}

export function typeOf(key: Uint8Array, length: number): number {
  return key[length - 8] as number;
}

export function revisionOf(key: Uint8Array, length: number): number {
  const low =
    (key[length - 7] as number) |
    ((key[length - 6] as number) << 8) |
    ((key[length - 5] as number) << 16) |
    ((key[length - 4] as number) << 24);
  const high = (key[length - 3] as number) | ((key[length - 2] as number) << 8) | ((key[length - 1] as number) << 16);
  return high * TWO_32 + (low >>> 0);
}

/** Order of two internal keys: negative, 0 or positive. */
export function compareInternal(a: Uint8Array, aLength: number, b: Uint8Array, bLength: number): number {
  const aUser = aLength - TRAILER_BYTES;
  const bUser = bLength - TRAILER_BYTES;
  const shared = aUser < bUser ? aUser : bUser;
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return aUser === bUser ? compareNumbers(a, aUser, b, bUser) : aUser - bUser;
}

/** Order of the numbers at `aAt` and `bAt`, behind equal user keys: the larger one stands first. */
export function compareNumbers(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): number {
  for (let i = TRAILER_BYTES - 1; i >= 0; i--) {
    const difference = (b[bAt + i] as number) - (a[aAt + i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Whether an internal key is a version of this user key. */
export function isVersionOf(key: Uint8Array, length: number, userKey: Uint8Array): boolean {
  const user = length - TRAILER_BYTES;
  if (user !== userKey.length) return false;
  // From the end: neighbours in a block differ there.
  for (let i = user - 1; i >= 0; i--) if (key[i] !== userKey[i]) return false;
  return true;
}
