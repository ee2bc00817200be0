/**
 * Pairs with numbers: the same pair always has the same number, so equality is one comparison.
 *
 * Lists are made of it (rest, element), and trees (left, right), that share what they have in common: a state with a
 * thousand keys that differs from the last in one costs ten pairs.
 */
import { must } from '../../core/base/assert.ts';

const SLOTS_FIRST = 1024;
/** A pair is at most two thirds of its slot, so that a search for one ends soon. */
const FILLED_MAX = 2 / 3;

export class PairTable {
  /** Numbers below this are the caller's own. */
  readonly first: number;
  #count = 0;
  #a = new Int32Array(SLOTS_FIRST);
  #b = new Int32Array(SLOTS_FIRST);
  /** Hash → number of the pair + 1; 0 is free. */
  #slots = new Int32Array(SLOTS_FIRST);

  constructor(first: number) {
    this.first = first;
  }

  get bytes(): number {
    return 4 * (this.#a.length + this.#b.length + this.#slots.length);
  }

  /** The number of (a, b). */
  id(a: number, b: number): number {
    const mask = this.#slots.length - 1;
    for (let at = mix(a, b) & mask; ; at = (at + 1) & mask) {
      const found = (this.#slots[at] ?? 0) - 1;
      if (found < 0) return this.first + this.#add(a, b, at);
      if (this.#a[found] === a && this.#b[found] === b) return this.first + found;
    }
  }

  a(id: number): number {
    return must(this.#a[id - this.first], 'a pair is looked up that was made');
  }

  b(id: number): number {
    return must(this.#b[id - this.first], 'a pair is looked up that was made');
  }

  #add(a: number, b: number, at: number): number {
    const index = this.#count++;
    if (index === this.#a.length) {
      this.#a = grown(this.#a);
      this.#b = grown(this.#b);
    }
    this.#a[index] = a;
    this.#b[index] = b;
    this.#slots[at] = index + 1;
    if (this.#count > this.#slots.length * FILLED_MAX) this.#rehash();
    return index;
  }

  #rehash(): void {
    const slots = new Int32Array(this.#slots.length * 2);
    const mask = slots.length - 1;
    for (let i = 0; i < this.#count; i++) {
      let at = mix(this.#a[i] ?? 0, this.#b[i] ?? 0) & mask;
      while (slots[at] !== 0) at = (at + 1) & mask;
      slots[at] = i + 1;
    }
    this.#slots = slots;
  }
}

function grown(words: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(words.length * 2);
  larger.set(words);
  return larger;
}

/** Mixes two words, so that neighbours do not stand beside each other. */
export function mix(a: number, b: number): number {
  let h = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return (h ^ (h >>> 13)) >>> 0;
}
