/**
 * Chance: everything that a run leaves open, drawn from one seed.
 */
import type { Random } from '../../src/core/base/env.ts';
import { seeded } from '../core/base/seeded.ts';

export class Chance {
  readonly random: Random;

  constructor(seed: number) {
    this.random = seeded(seed);
    // Neighbouring seeds begin alike; after a few draws they do not.
    for (let i = 0; i < 8; i++) this.random();
  }

  below(bound: number): number {
    return Math.floor(this.random() * bound);
  }

  between(low: number, high: number): number {
    return low + this.random() * (high - low);
  }

  /** True once in a while: `probability` of 1. */
  is(probability: number): boolean {
    return this.random() < probability;
  }

  of<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  /** Mostly about `meanMs`, now and then much longer: as threads and networks are. */
  delay(meanMs: number): number {
    const draw = this.random();
    return draw < 0.97 ? meanMs * (0.2 + 1.6 * this.random()) : meanMs * 20 * this.random();
  }

  shuffle<T>(items: readonly T[]): T[] {
    const mixed = [...items];
    for (let i = mixed.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [mixed[i], mixed[j]] = [mixed[j] as T, mixed[i] as T];
    }
    return mixed;
  }

  /** As Math.random's place in a weighted list. */
  weighted<T>(from: readonly (readonly [weight: number, value: T])[]): T {
    let at = this.random() * from.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, value] of from) {
      at -= weight;
      if (at < 0) return value;
    }
    return (from.at(-1) as readonly [number, T])[1];
  }
}
