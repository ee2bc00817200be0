/**
 * The data that every scenario reads or writes: keys of 16 bytes and values of 100, the same in every run.
 */
export const VALUE_BYTES = 100;

/** `k/00000000001234`: as long as a short config key. */
export const keyOf = (n: number): string => `k/${String(n).padStart(14, '0')}`;

export function keys(count: number): string[] {
  return Array.from({ length: count }, (_, n) => keyOf(n));
}

/** A few different values, of bytes that do not compress. */
export function values(count = 64): Buffer[] {
  const next = xorshift(0x2545f491);
  return Array.from({ length: count }, () =>
    Buffer.from(Uint8Array.from({ length: VALUE_BYTES }, () => next() & 0xff)),
  );
}

/** Numbers below 2^32, the same each time: for an order that is not the keys' own. */
export function xorshift(seed: number): () => number {
  let x = seed | 0;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

/** Places 0..count-1 in random order, drawn with repetition; ask with any n. */
export function draws(count: number, seed = 0x9e3779b9): (n: number) => number {
  const size = 1 << 16;
  const next = xorshift(seed);
  const table = Uint32Array.from({ length: size }, () => next() % count);
  return (n) => ((table[n & (size - 1)] as number) + (n >>> 16) * 7919) % count;
}
