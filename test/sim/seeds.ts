/**
 * Seeds that have failed once, each with what it found. They are run every time.
 */

export interface FoundSeed {
  readonly seed: number;
  readonly nodes: 3 | 5;
  readonly steps: number;
  readonly found: string;
}

export const FOUND: readonly FoundSeed[] = [];
