/**
 * Separators: the keys of an index block. A separator stands at or after the last key of its block and before the
 * first key of the next, and is as short as LevelDB makes it, so that an index stays small.
 *
 * Only the user key is shortened. A shortened one gets the highest number there is, and so stands before every
 * version of such a key. It differs from the user keys on both sides, or it is the last key itself: a point read
 * therefore never has to look into a second block.
 */
import { SEEK_TYPE, TRAILER_BYTES } from './keys.ts';

/** Shortens `key`, an internal key in place, to a separator before `next`; returns the length. */
export function shortestSeparator(key: Uint8Array, length: number, next: Uint8Array, nextLength: number): number {
  const user = length - TRAILER_BYTES;
  const nextUser = nextLength - TRAILER_BYTES;
  const shared = user < nextUser ? user : nextUser;
  let at = 0;
  while (at < shared && key[at] === next[at]) at++;
  // One is the beginning of the other: nothing shorter is between them.
  if (at === shared) return length;
  const byte = key[at] as number;
  if (byte + 1 >= (next[at] as number)) return length;
  return raise(key, length, at);
}

/** Shortens `key`, an internal key in place, to one at or after it; returns the length. */
export function shortSuccessor(key: Uint8Array, length: number): number {
  const user = length - TRAILER_BYTES;
  for (let at = 0; at < user; at++) if (key[at] !== 0xff) return raise(key, length, at);
  return length;
}

/** Ends the user key with a raised byte at `at`, if that makes it shorter. */
function raise(key: Uint8Array, length: number, at: number): number {
  if (at + 1 >= length - TRAILER_BYTES) return length;
  (key[at] as number)++;
  key[at + 1] = SEEK_TYPE;
  key.fill(0xff, at + 2, at + 1 + TRAILER_BYTES);
  return at + 1 + TRAILER_BYTES;
}
