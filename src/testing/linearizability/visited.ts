/**
 * Visited: the configurations that were seen, in one open hash table without objects.
 *
 * A slot is for all that differ in `used` only, and has a chain of those that were let in.
 *
 * ```
 *   table   | base | set | state | chain | …        chain   | used | next | …
 * ```
 */

const SLOTS_FIRST = 4096;
const FILLED_MAX = 0.6;
const WORDS = 4;
const FREE = -1;

export interface Configuration {
  readonly base: number;
  readonly set: number;
  readonly state: number;
  readonly used: number;
}

export class Visited {
  /** The first word of a free slot is FREE: no base is. */
  #table = new Int32Array(SLOTS_FIRST * WORDS).fill(FREE);
  #hashes = new Int32Array(SLOTS_FIRST);
  #slots = SLOTS_FIRST;
  #filled = 0;
  #chain = new Int32Array(SLOTS_FIRST * 2);
  #links = 0;

  get bytes(): number {
    return 4 * (this.#table.length + this.#hashes.length + this.#chain.length);
  }

  /** False when it is there, or one that has used less. */
  add(
    { base, set, state, used }: Configuration,
    hash: number,
    isWithin: (used: number, other: number) => boolean,
  ): boolean {
    const slot = this.#slotOf(base, set, state, hash);
    const at = slot * WORDS;
    if (this.#table[at] === FREE) {
      this.#table.set([base, set, state, FREE], at);
      this.#hashes[slot] = hash;
      this.#filled++;
    }
    const first = this.#table[at + 3] ?? FREE;
    for (let link = first; link !== FREE; link = this.#chain[link + 1] ?? FREE) {
      if (isWithin(this.#chain[link] ?? 0, used)) return false;
    }
    this.#table[at + 3] = this.#addLink(used, first);
    if (this.#filled > this.#slots * FILLED_MAX) this.#grow();
    return true;
  }

  /** Where it is, or would be. */
  #slotOf(base: number, set: number, state: number, hash: number): number {
    const table = this.#table;
    const mask = this.#slots - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const at = slot * WORDS;
      if (table[at] === FREE) return slot;
      if (table[at] === base && table[at + 1] === set && table[at + 2] === state) return slot;
    }
  }

  #addLink(used: number, next: number): number {
    if (this.#links === this.#chain.length) {
      const larger = new Int32Array(this.#chain.length * 2);
      larger.set(this.#chain);
      this.#chain = larger;
    }
    const link = this.#links;
    this.#chain[link] = used;
    this.#chain[link + 1] = next;
    this.#links += 2;
    return link;
  }

  #grow(): void {
    const table = this.#table;
    const hashes = this.#hashes;
    const slots = this.#slots;
    this.#slots *= 2;
    this.#table = new Int32Array(this.#slots * WORDS).fill(FREE);
    this.#hashes = new Int32Array(this.#slots);
    for (let old = 0; old < slots; old++) {
      const at = old * WORDS;
      const base = table[at] ?? FREE;
      if (base === FREE) continue;
      const hash = hashes[old] ?? 0;
      const slot = this.#slotOf(base, table[at + 1] ?? 0, table[at + 2] ?? 0, hash);
      this.#table.set(table.subarray(at, at + WORDS), slot * WORDS);
      this.#hashes[slot] = hash;
    }
  }
}
