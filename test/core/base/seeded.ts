/**
 * Chance from a seed, for tests: the same seed gives the same run, and a failure says which seed it was.
 */
import type { Random } from '../../../src/core/base/env.ts';

/** mulberry32: small, and the same everywhere. */
export function seeded(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number in [0, below). */
export const below = (random: Random, bound: number): number => Math.floor(random() * bound);

export function randomBytes(random: Random, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = below(random, 256);
  return bytes;
}

export function pick<T>(random: Random, from: readonly T[]): T {
  return from[below(random, from.length)] as T;
}

/**
 * Runs `run` for `count` seeds. A failure names its seed; `SEED=n` runs that one alone:
 * `SEED=17 npx vitest run test/engine/wal/crash.test.ts -t '…'`.
 */
export function forSeeds(count: number, run: (random: Random, seed: number) => void): void {
  const only = process.env['SEED'];
  const seeds = only === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [Number(only)];
  for (const seed of seeds) {
    try {
      run(seeded(seed), seed);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`seed ${seed} (replay with SEED=${seed}): ${reason}`, { cause });
    }
  }
}
