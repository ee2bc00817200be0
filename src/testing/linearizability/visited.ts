/**
 * Visited: the configurations that were seen, three words each, in one open hash table without objects.
 */

const SLOTS_FIRST = 4096;
const FILLED_MAX = 0.6;
const WORDS = 3;

export class Visited {
  /** The first word of a free slot is -1: no base is. */
  #table = new Int32Array(SLOTS_FIRST * WORDS).fill(-1);
  #hashes = new Int32Array(SLOTS_FIRST);
  #slots = SLOTS_FIRST;
  #count = 0;

  get bytes(): number {
    return 4 * (this.#table.length + this.#hashes.length);
  }

  /** False when it is there already. */
  add(base: number, set: number, state: number, hash: number): boolean {
    const table = this.#table;
    const mask = this.#slots - 1;
    let slot = hash & mask;
    for (; ; slot = (slot + 1) & mask) {
      const at = slot * WORDS;
      if (table[at] === -1) break;
      if (table[at] === base && table[at + 1] === set && table[at + 2] === state) return false;
    }
    table[slot * WORDS] = base;
    table[slot * WORDS + 1] = set;
    table[slot * WORDS + 2] = state;
    this.#hashes[slot] = hash;
    this.#count++;
    if (this.#count > this.#slots * FILLED_MAX) this.#grow();
    return true;
  }

  #grow(): void {
    const before = this.#table;
    const hashes = this.#hashes;
    const slotsBefore = this.#slots;
    this.#slots *= 2;
    this.#table = new Int32Array(this.#slots * WORDS).fill(-1);
    this.#hashes = new Int32Array(this.#slots);
    const mask = this.#slots - 1;
    for (let old = 0; old < slotsBefore; old++) {
      if (before[old * WORDS] === -1) continue;
      const hash = hashes[old] ?? 0;
      let slot = hash & mask;
      while (this.#table[slot * WORDS] !== -1) slot = (slot + 1) & mask;
      this.#table.set(before.subarray(old * WORDS, old * WORDS + WORDS), slot * WORDS);
      this.#hashes[slot] = hash;
    }
  }
}
