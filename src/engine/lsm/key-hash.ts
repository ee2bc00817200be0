/**
 * What stands for a user key where keys are looked for.
 *
 * hashKey is the one hash of the tree: a read computes it once, and asks with it memtables, filters and the directories
 * of blocks. It is the hash of LevelDB's filters, bit for bit, as filters are in files. prefixOf tells most keys apart
 * in their order.
 */

const SEED = 0xbc9f1d34;
const MULTIPLIER = 0xc6a4a793;

/** The hash of `bytes[0, length)`, as a signed word: one above 2^31 would cost an allocation wherever it is handed on. */
export function hashKey(bytes: Uint8Array, length: number): number {
  let hash = SEED ^ Math.imul(length, MULTIPLIER);
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    const word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    hash = Math.imul(hash + word, MULTIPLIER);
    hash ^= hash >>> 16;
  }
  const left = length - at;
  if (left === 3) hash += (bytes[at + 2] as number) << 16;
  if (left >= 2) hash += (bytes[at + 1] as number) << 8;
  if (left >= 1) {
    hash = Math.imul(hash + (bytes[at] as number), MULTIPLIER);
    hash ^= hash >>> 24;
  }
  return hash | 0;
}

/** The first four bytes as a signed word that sorts as the bytes do. */
export function prefixOf(key: Uint8Array): number {
  const a = key[0] ?? 0;
  const b = key[1] ?? 0;
  const c = key[2] ?? 0;
  const d = key[3] ?? 0;
  return ((a << 24) | (b << 16) | (c << 8) | d) ^ 0x8000_0000;
}
