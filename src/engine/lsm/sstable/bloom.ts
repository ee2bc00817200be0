/**
 * Bloom filter: LevelDB's "BuiltinBloomFilter2", bit for bit.
 *
 *   filter = bits, at least 64 | k u8
 *
 * Each key sets k bits: one 32-bit hash, and k - 1 more by adding the hash rotated right by 17 (Kirsch and
 * Mitzenmacher: as good as k hashes). k = 0.69 bits per key, and 10 bits per key give about 1 % false positives.
 * A key is kept and asked by its hash alone (key-hash.ts): computed once, whatever it is compared with.
 */

const PROBES_MAX = 30;
const BITS_MIN = 64;

/** Bytes of a filter of `keys` keys. */
export function bloomBytes(keys: number, bitsPerKey: number): number {
  return Math.ceil(Math.max(BITS_MIN, keys * bitsPerKey) / 8) + 1;
}

/** Makes the filter of the first `count` hashes in `into[at, at + bloomBytes)`, which is zeros. */
export function createBloom(
  into: Uint8Array,
  at: number,
  hashes: Uint32Array,
  count: number,
  bitsPerKey: number,
): void {
  const bytes = bloomBytes(count, bitsPerKey) - 1;
  const bits = bytes * 8;
  const probes = Math.min(PROBES_MAX, Math.max(1, Math.floor(bitsPerKey * 0.69)));
  for (let i = 0; i < count; i++) {
    let hash = hashes[i] as number;
    const delta = (hash >>> 17) | (hash << 15);
    for (let probe = 0; probe < probes; probe++) {
      const bit = hash % bits;
      into[at + (bit >>> 3)] = (into[at + (bit >>> 3)] as number) | (1 << (bit & 7));
      hash = (hash + delta) >>> 0;
    }
  }
  into[at + bytes] = probes;
}

/** Whether the filter in `filter[at, end)` may have been given this hash: false is sure, true is not. */
export function bloomMayContain(filter: Uint8Array, at: number, end: number, hash: number): boolean {
  // An empty filter was given nothing.
  if (end - at < 2) return false;
  const probes = filter[end - 1] as number;
  // More are reserved for other kinds of filter.
  if (probes > PROBES_MAX) return true;
  const bits = (end - at - 1) * 8;
  const delta = (hash >>> 17) | (hash << 15);
  let turned = hash >>> 0;
  for (let probe = 0; probe < probes; probe++) {
    const bit = turned % bits;
    if (((filter[at + (bit >>> 3)] as number) & (1 << (bit & 7))) === 0) return false;
    turned = (turned + delta) >>> 0;
  }
  return true;
}
