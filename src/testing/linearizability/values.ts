/**
 * Values and states as numbers.
 *
 * A list is the pair of its rest and its last element, so appending to one is a lookup. A state is a tree of pairs over
 * its slots (a slot for each key); with one slot it is the value itself.
 */
import { canonical, isList, type Json } from '../history/json.ts';
import { PairTable } from './pair-table.ts';

/** The key is not there. */
export const ABSENT = 0;
/** Some value that nobody will look at any more; no read sees it. */
export const UNSEEN = 1;
const EMPTY_LIST = 2;
/** What was there before the history begins, if nothing is known of it: the first who looks is right. */
export const ANYTHING = 3;
/** Scalars have even numbers and lists odd ones, above these. */
const FIRST = 4;

export class Values {
  readonly #scalars = new Map<string, number>();
  readonly #lists = new PairTable(0);

  get bytes(): number {
    return this.#lists.bytes;
  }

  /** `isAppended`: of a key that is appended to, where an empty list and nothing are the same. */
  id(value: Json, isAppended: boolean): number {
    if (value === null) return ABSENT;
    if (!isList(value)) return this.#scalar(value);
    let list = isAppended ? ABSENT : EMPTY_LIST;
    for (const element of value) list = this.append(list, this.id(element, false)) ?? list;
    return list;
  }

  /** The list with one element more; undefined when it is none. */
  append(list: number, element: number): number | undefined {
    const isListId = list === ABSENT || list === EMPTY_LIST || (list >= FIRST && list % 2 === 1);
    return isListId ? FIRST + 1 + 2 * this.#lists.id(list === EMPTY_LIST ? ABSENT : list, element) : undefined;
  }

  /** All lists on the way to this one, itself included, and their last elements. */
  *prefixes(list: number): Generator<{ readonly list: number; readonly last: number }> {
    for (let at = list; at >= FIRST && at % 2 === 1; ) {
      const pair = (at - FIRST - 1) / 2;
      yield { list: at, last: this.#lists.b(pair) };
      at = this.#lists.a(pair);
    }
  }

  #scalar(value: Json): number {
    const text = canonical(value);
    let id = this.#scalars.get(text);
    if (id === undefined) {
      id = FIRST + 2 * this.#scalars.size;
      this.#scalars.set(text, id);
    }
    return id;
  }
}

/** States of a number of slots, all the same at first. */
export class States {
  readonly initial: number;
  readonly #pairs = new PairTable(0);
  readonly #depth: number;

  constructor(slots: number, first: number) {
    this.#depth = slots <= 1 ? 0 : 32 - Math.clz32(slots - 1);
    let node = first;
    for (let level = 0; level < this.#depth; level++) node = this.#pairs.id(node, node);
    this.initial = node;
  }

  get bytes(): number {
    return this.#pairs.bytes;
  }

  get(state: number, slot: number): number {
    let node = state;
    for (let bit = this.#depth - 1; bit >= 0; bit--) {
      node = (slot >> bit) & 1 ? this.#pairs.b(node) : this.#pairs.a(node);
    }
    return node;
  }

  set(state: number, slot: number, value: number): number {
    return this.#set(state, slot, value, this.#depth - 1);
  }

  #set(node: number, slot: number, value: number, bit: number): number {
    if (bit < 0) return value;
    const a = this.#pairs.a(node);
    const b = this.#pairs.b(node);
    return (slot >> bit) & 1
      ? this.#pairs.id(a, this.#set(b, slot, value, bit - 1))
      : this.#pairs.id(this.#set(a, slot, value, bit - 1), b);
  }
}
