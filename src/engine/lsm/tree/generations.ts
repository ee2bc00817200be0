/**
 * Generations: which memtable is in which arena, and until when.
 *
 *   generation  1 2 3 4 5 …          arena  g modulo their number
 *   flushed ≤ … frozen … < active    what is frozen is being made into tables, oldest first
 *
 * Per arena two words, each with one writer: the revision at which its generation was frozen (the writer, before it
 * raises the active generation), and the version that first did without it (the keeper, before it publishes it). An
 * arena is free again when no reader can hold an older version.
 */
export class Generations {
  readonly #words: BigInt64Array;
  readonly count: number;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new BigInt64Array(memory);
    this.count = this.#words.length / 2;
  }

  /** The last revision in frozen generation `generation`. */
  lastRevision(generation: number): number {
    return Number(Atomics.load(this.#words, (generation % this.count) * 2));
  }

  setLastRevision(generation: number, revision: number): void {
    Atomics.store(this.#words, (generation % this.count) * 2, BigInt(revision));
  }

  /** The first version without `generation`; 0 while there is none. */
  goneIn(generation: number): number {
    return Number(Atomics.load(this.#words, (generation % this.count) * 2 + 1));
  }

  setGoneIn(generation: number, version: number): void {
    Atomics.store(this.#words, (generation % this.count) * 2 + 1, BigInt(version));
  }
}
