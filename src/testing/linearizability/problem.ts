/**
 * A problem: the operations of some keys, as numbers, ready to be searched.
 *
 * Three kinds, by what is known of them:
 *   sure    it ended well: it has a place between its first event and its last
 *   open    its outcome is unknown: it has a place after its first event, or none
 *   spare   nothing is asked of it: it may happen at any time, as often as needed. Minimising makes spares of the
 *           operations that it tries to do without.
 *
 * An open or spare operation whose value nobody saw is left out: if there is an order with it, the same order without
 * it will do. (A store that loses its network for a minute leaves hundreds of those, and each would double the search.)
 */
import { assert, must } from '../../core/base/assert.ts';
import type { Operation, Part } from '../history/types.ts';
import { Values } from './values.ts';

export const READ = 0;
export const WRITE = 1;
export const CAS = 2;
export const APPEND = 3;

/** What an operation does to one slot. READ: `a` is seen. WRITE, APPEND: `a` is written. CAS: `a` becomes `b`. */
export interface Step {
  readonly kind: typeof READ | typeof WRITE | typeof CAS | typeof APPEND;
  readonly slot: number;
  readonly a: number;
  readonly b: number;
}

export interface Move {
  readonly operation: Operation;
  readonly steps: readonly Step[];
  /** Places of its events; the end of an open one is Infinity. */
  readonly call: number;
  readonly end: number;
  /** Its slot, when there is one only; else -1. */
  readonly slot: number;
}

export interface Problem {
  readonly slots: number;
  /** By their ends. */
  readonly sure: readonly Move[];
  /** By their calls. Of equal ones the earlier goes first: `twin` is the one before, or -1. */
  readonly open: readonly (Move & { readonly twin: number })[];
  readonly spare: readonly Move[];
  readonly isAnythingFirst: boolean;
  /** By slot: whether lists grow in it, and nothing else happens to it. */
  readonly isList: readonly boolean[];
  /** By slot: whether it is appended to at all. */
  readonly isAppended: readonly boolean[];
  readonly values: Values;
}

export interface Pieces {
  readonly sure: readonly Operation[];
  readonly open: readonly Operation[];
  readonly spare: readonly Operation[];
  /** True: nothing is known of what was there first. Not for keys that are appended to. Default: nothing was there. */
  readonly isAnythingFirst?: boolean;
}

export function problemOf({ sure, open, spare, isAnythingFirst = false }: Pieces): Problem {
  const slots = new Slots([...sure, ...open, ...spare]);
  const certain = sure
    .map((operation) => slots.move(operation, true))
    .filter((move) => move.steps.length > 0)
    .sort((x, y) => x.end - y.end);
  const seen = new Seen(slots);
  for (const move of certain) seen.add(move);
  const maybe = [...open, ...spare].map((operation) => slots.move(operation, false));
  const wanted = new Set(seen.whoMatters(maybe));
  const opens = maybe.slice(0, open.length).filter((move) => wanted.has(move));
  opens.sort((x, y) => x.call - y.call);
  const { isList, isAppended, values } = slots;
  assert(!isAnythingFirst || !isAppended.includes(true), 'lists grow from what is known');
  const spares = new Map(
    maybe
      .slice(open.length)
      .filter((move) => wanted.has(move))
      .map((move) => [effect(move), move]),
  );
  return {
    slots: slots.count,
    sure: certain,
    open: withTwins(opens),
    spare: [...spares.values()],
    isAnythingFirst,
    isList,
    isAppended,
    values,
  };
}

/** Numbers for keys and values, and what kinds of parts a key has. */
class Slots {
  readonly values = new Values();
  readonly isAppended: boolean[] = [];
  readonly isList: boolean[] = [];
  readonly #slots = new Map<string, number>();

  constructor(operations: readonly Operation[]) {
    for (const { parts } of operations) {
      for (const { kind, key } of parts) {
        const slot = this.#slots.get(key) ?? this.#slots.size;
        this.#slots.set(key, slot);
        this.isAppended[slot] = this.isAppended[slot] === true || kind === 'append';
        this.isList[slot] = this.isList[slot] !== false && (kind === 'append' || kind === 'read');
      }
    }
    for (const [slot, isAppended] of this.isAppended.entries()) this.isList[slot] &&= isAppended;
  }

  get count(): number {
    return this.#slots.size;
  }

  move(operation: Operation, isSure: boolean): Move {
    const steps = operation.parts.flatMap((part) => this.#step(part, isSure));
    const touched = new Set(steps.map((step) => step.slot));
    const end = isSure ? must(operation.end, 'an operation that is sure has ended').at : Number.POSITIVE_INFINITY;
    const [slot = -1] = touched;
    return { operation, steps, call: operation.call.at, end, slot: touched.size === 1 ? slot : -1 };
  }

  /** Reads that nobody answered for say nothing. */
  #step(part: Part, isSure: boolean): Step[] {
    const slot = must(this.#slots.get(part.key), 'every key has a slot');
    const isAppended = this.isAppended[slot] === true;
    const { values } = this;
    switch (part.kind) {
      case 'read':
        if (!isSure || part.value === undefined) return [];
        return [{ kind: READ, slot, a: values.id(part.value, isAppended), b: 0 }];
      case 'write':
        return [{ kind: WRITE, slot, a: values.id(part.value, isAppended), b: 0 }];
      case 'append':
        return [{ kind: APPEND, slot, a: values.id(part.value, false), b: 0 }];
      default:
        return [{ kind: CAS, slot, a: values.id(part.from, isAppended), b: values.id(part.to, isAppended) }];
    }
  }
}

/** Which values somebody saw, and so which uncertain writes can matter. */
class Seen {
  readonly #slots: Slots;
  readonly #values = new Set<string>();
  readonly #elements = new Set<string>();

  constructor(slots: Slots) {
    this.#slots = slots;
  }

  add(move: Move): void {
    for (const { kind, slot, a } of move.steps) {
      if (kind !== READ && kind !== CAS) continue;
      this.#values.add(`${slot} ${a}`);
      for (const { last } of this.#slots.values.prefixes(a)) this.#elements.add(`${slot} ${last}`);
    }
  }

  /** The moves whose writes are seen, by a sure one or by another of them. */
  whoMatters(maybe: readonly Move[]): Move[] {
    const wanted: Move[] = [];
    let rest = maybe;
    for (;;) {
      const found = rest.filter((move) => move.steps.some((step) => this.#isSeen(step)));
      if (found.length === 0) return wanted;
      for (const move of found) this.add(move);
      wanted.push(...found);
      const taken = new Set(found);
      rest = rest.filter((move) => !taken.has(move));
    }
  }

  #isSeen({ kind, slot, a, b }: Step): boolean {
    if (kind === READ) return false;
    if (kind === APPEND) return this.#elements.has(`${slot} ${a}`);
    // A list that was written whole is seen in all that grew from it: here it is enough that there may be such.
    return this.#slots.isAppended[slot] === true || this.#values.has(`${slot} ${kind === CAS ? b : a}`);
  }
}

function withTwins(open: readonly Move[]): (Move & { readonly twin: number })[] {
  const last = new Map<string, number>();
  return open.map((move, i) => {
    const name = effect(move);
    const twin = last.get(name) ?? -1;
    last.set(name, i);
    return { ...move, twin };
  });
}

/** The same for moves that change a state in the same way. */
function effect(move: Move): string {
  return move.steps.map(({ kind, slot, a, b }) => `${kind} ${slot} ${a} ${b}`).join();
}

/** Whether a step looks at what is there before it writes. */
export function looks(step: Step, at: { readonly slot: number; readonly value: number }): boolean {
  if (step.slot !== at.slot) return false;
  return step.kind === APPEND || ((step.kind === READ || step.kind === CAS) && step.a === at.value);
}
