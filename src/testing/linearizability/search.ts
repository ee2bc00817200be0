/**
 * The search of Wing and Gong, as Lowe made it fast: is there an order of the operations that keeps real time and
 * explains all they saw?
 *
 * It builds the order from its beginning. An operation may come next when no other that is still to come has ended
 * before it began. Where it got stuck it goes back, and where it was before it does not go again: a configuration
 * (which operations are placed, and the state) is remembered when it is left. Whether it was seen is decided by equality,
 * never by a hash alone.
 *
 * A configuration is four numbers: `base`, the first sure operation by end that is not placed; `set`, the sure ones that
 * are placed beyond it (few: all were under way at one moment); `used`, the open ones that are placed; and the state.
 * One that differs from another only in that it has used more is no better: it need not be looked at either.
 *
 * What keeps it short, each without changing a verdict:
 *  - A move that may come next, and here and later only looks, is placed at once, without trying other ways: whatever
 *    order there is, it can be brought forward. (One that writes what is there already is not such: it may be needed
 *    later, after another write.)
 *  - A value that no operation to come looks at is the same as any other such value (UNSEEN).
 *  - A list that no read to come has as its beginning is dead, and a dead list with a read to come is the end of a way.
 *  - An open or spare write of one key is placed only where somebody looks at what it wrote.
 */
import { must } from '../../core/base/assert.ts';
import { mix, PairTable } from './pair-table.ts';
import { APPEND, CAS, looks, type Move, type Problem, READ, type Step, WRITE } from './problem.ts';
import { ABSENT, ANYTHING, States, UNSEEN } from './values.ts';
import { Visited } from './visited.ts';

export interface Budget {
  /** Configurations that may be visited. */
  readonly configurations: number;
  /** Memory for what is remembered. */
  readonly bytes: number;
}

export interface Found {
  readonly verdict: 'ok' | 'violation' | 'unknown';
  /** Sure operations by end that some order can place; of a violation: the next one is the first that cannot be. */
  readonly reached: number;
  readonly configurations: number;
}

const NO = -1;
const BYTES_CHECK_EVERY = 1024;

export class Search {
  readonly #problem: Problem;
  readonly #budget: Budget;
  readonly #states: States;
  readonly #sets = new PairTable(1);
  readonly #visited = new Visited();
  /** By base: the sure moves that may come next, as a range of `pending`. */
  readonly #pending: Int32Array;
  readonly #pendingFrom: Int32Array;
  /** By base: how many open moves have begun. */
  readonly #begun: Int32Array;
  /** By slot and value: the last sure move that looks at it; Infinity when an open or spare one does. */
  readonly #lastLook: Map<number, number>[];
  /** By sure move: slots and values that nobody looks at after it. */
  readonly #expiring: { readonly slot: number; readonly value: number }[][];
  /** By slot with lists: beginnings of the lists that were read; the last read. */
  readonly #prefixes: Set<number>[];
  readonly #lastRead: number[];
  /** By slot: the steps of open and spare moves. */
  readonly #maybeSteps: Step[][];

  // The way to the configuration at hand, one frame each; `cursor` is the next move to try.
  readonly #base: number[] = [];
  readonly #set: number[] = [];
  readonly #used: number[] = [];
  readonly #state: number[] = [];
  readonly #cursor: number[] = [];
  #reached = 0;
  #configurations = 0;

  constructor(problem: Problem, budget: Budget) {
    this.#problem = problem;
    this.#budget = budget;
    this.#states = new States(problem.slots, problem.isAnythingFirst ? ANYTHING : ABSENT);
    const { pending, from } = concurrent(problem.sure);
    this.#pending = pending;
    this.#pendingFrom = from;
    this.#begun = begunBefore(problem);
    this.#lastLook = Array.from({ length: problem.slots }, () => new Map<number, number>());
    this.#expiring = problem.sure.map(() => []);
    this.#prefixes = Array.from({ length: problem.slots }, () => new Set<number>());
    this.#lastRead = Array.from({ length: problem.slots }, () => NO);
    this.#maybeSteps = Array.from({ length: problem.slots }, () => []);
    this.#noteLooks();
    this.#push(0, 0, 0, this.#states.initial);
  }

  get reached(): number {
    return this.#reached;
  }

  /** Goes on for about so many configurations; undefined when there is more to do. */
  advance(configurations: number): Found | undefined {
    const until = this.#configurations + configurations;
    const all = this.#problem.sure.length;
    while (this.#base.length > 0) {
      const top = this.#base.length - 1;
      if (this.#cursor[top] === 0) this.#placeWhatOnlyLooks(top);
      if (this.#base[top] === all) return this.#found('ok');
      if (this.#configurations > this.#budget.configurations) return this.#found('unknown');
      if (this.#configurations % BYTES_CHECK_EVERY === 1 && this.#bytes() > this.#budget.bytes) {
        return this.#found('unknown');
      }
      if (this.#configurations >= until) return undefined;
      if (!this.#tryNext(top)) this.#pop();
    }
    return this.#found('violation');
  }

  #found(verdict: Found['verdict']): Found {
    return { verdict, reached: this.#reached, configurations: this.#configurations };
  }

  #bytes(): number {
    return this.#visited.bytes + this.#sets.bytes + this.#states.bytes + this.#problem.values.bytes;
  }

  /** Moves the frame on over every sure move that can be next and has no effect. */
  #placeWhatOnlyLooks(top: number): void {
    for (;;) {
      const base = this.#base[top] ?? 0;
      if (base === this.#problem.sure.length) return;
      const set = this.#set[top] ?? 0;
      const state = this.#state[top] ?? 0;
      const next = this.#whatOnlyLooks(base, set, state);
      if (next === NO) return;
      const child = this.#placed(base, set, next);
      this.#base[top] = child.base;
      this.#set[top] = child.set;
      this.#state[top] = this.#expired(state, base, child.base);
      this.#reached = Math.max(this.#reached, child.base);
    }
  }

  #whatOnlyLooks(base: number, set: number, state: number): number {
    const to = this.#pendingFrom[base + 1] ?? 0;
    for (let at = this.#pendingFrom[base] ?? 0; at < to; at++) {
      const index = this.#pending[at] ?? 0;
      if (this.#has(set, index)) continue;
      const move = this.#sure(index);
      if (this.#after(state, move, base, set, index) === state && this.#onlyLooks(state, move)) return index;
    }
    return NO;
  }

  /** Whether a move has no effect, here or later. Over what is unseen, it is enough to leave it so. */
  #onlyLooks(state: number, move: Move): boolean {
    return move.steps.every(({ kind, slot, a, b }) => {
      return kind === READ || (kind === CAS && a === b) || this.#states.get(state, slot) === UNSEEN;
    });
  }

  /** Tries moves from the cursor on until one leads somewhere new; false when there is none. */
  #tryNext(top: number): boolean {
    const base = this.#base[top] ?? 0;
    const set = this.#set[top] ?? 0;
    const used = this.#used[top] ?? 0;
    const state = this.#state[top] ?? 0;
    const from = this.#pendingFrom[base] ?? 0;
    const pending = (this.#pendingFrom[base + 1] ?? 0) - from;
    const begun = this.#begun[base] ?? 0;
    const moves = pending + begun + this.#problem.spare.length;
    while ((this.#cursor[top] ?? 0) < moves) {
      const cursor = this.#cursor[top] ?? 0;
      this.#cursor[top] = cursor + 1;
      if (cursor < pending) {
        const index = this.#pending[from + cursor] ?? 0;
        if (this.#has(set, index)) continue;
        const after = this.#after(state, this.#sure(index), base, set, index);
        if (after === NO) continue;
        const child = this.#placed(base, set, index);
        if (this.#push(child.base, child.set, used, this.#expired(after, base, child.base))) return true;
      } else if (cursor < pending + begun) {
        const index = cursor - pending;
        const move = must(this.#problem.open[index], 'an open move is one of the list');
        const hasTurn = move.twin === NO || this.#has(used, move.twin);
        if (!hasTurn || this.#has(used, index)) continue;
        const after = this.#useful(state, move, base, set);
        if (after !== NO && this.#push(base, set, this.#with(used, index), after)) return true;
      } else {
        const move = must(this.#problem.spare[cursor - pending - begun], 'a spare move is one of the list');
        const after = this.#useful(state, move, base, set);
        if (after !== NO && this.#push(base, set, used, after)) return true;
      }
    }
    return false;
  }

  /** The state after a move, or NO where it cannot be. */
  #after(state: number, move: Move, base: number, set: number, self: number): number {
    const { isAppended, isList, values } = this.#problem;
    let now = state;
    for (const { kind, slot, a, b } of move.steps) {
      if (kind === WRITE) {
        now = this.#written(now, slot, a, base);
        continue;
      }
      const value = this.#states.get(now, slot);
      if (kind !== APPEND) {
        if (value !== a && value !== ANYTHING) return NO;
        if (kind === CAS) now = this.#written(now, slot, b, base);
        else if (value === ANYTHING) now = this.#states.set(now, slot, a);
        continue;
      }
      if (isList[slot] === true) {
        if (value === UNSEEN) continue;
        const list = must(values.append(value, a), 'only lists are in a slot of lists');
        const isAlive = this.#prefixes[slot]?.has(list) === true;
        if (!isAlive && this.#hasReadToCome(slot, base, set, self)) return NO;
        now = this.#states.set(now, slot, isAlive ? list : UNSEEN);
      } else {
        const list = isAppended[slot] === true ? values.append(value, a) : undefined;
        if (list === undefined) return NO;
        now = this.#states.set(now, slot, list);
      }
    }
    return now;
  }

  #written(state: number, slot: number, value: number, base: number): number {
    const isLookedAt = this.#problem.isAppended[slot] === true || (this.#lastLook[slot]?.get(value) ?? NO) >= base;
    return this.#states.set(state, slot, isLookedAt ? value : UNSEEN);
  }

  /** The state after an open or spare move, or NO where it cannot be or is of no use. */
  #useful(state: number, move: Move, base: number, set: number): number {
    const after = this.#after(state, move, base, set, NO);
    if (after === NO || after === state || move.slot === NO) return after === state ? NO : after;
    const at = { slot: move.slot, value: this.#states.get(after, move.slot) };
    if (this.#maybeSteps[move.slot]?.some((step) => looks(step, at)) === true) return after;
    const to = this.#pendingFrom[base + 1] ?? 0;
    for (let i = this.#pendingFrom[base] ?? 0; i < to; i++) {
      const index = this.#pending[i] ?? 0;
      if (!this.#has(set, index) && this.#sure(index).steps.some((step) => looks(step, at))) return after;
    }
    return NO;
  }

  #hasReadToCome(slot: number, base: number, set: number, self: number): boolean {
    const last = this.#lastRead[slot] ?? NO;
    return last >= base && last !== self && !this.#has(set, last);
  }

  /** The state with values forgotten that only moves before `to` looked at. */
  #expired(state: number, from: number, to: number): number {
    let now = state;
    for (let index = from; index < to; index++) {
      for (const { slot, value } of this.#expiring[index] ?? []) {
        if (this.#states.get(now, slot) === value) now = this.#states.set(now, slot, UNSEEN);
      }
    }
    return now;
  }

  #placed(base: number, set: number, index: number): { readonly base: number; readonly set: number } {
    if (index !== base) return { base, set: this.#with(set, index) };
    let next = base + 1;
    let rest = set;
    while (rest !== 0 && this.#sets.a(rest) === next) {
      rest = this.#sets.b(rest);
      next++;
    }
    return { base: next, set: rest };
  }

  /** Sets are lists in rising order, so that a set is the same list however it came about. */
  #with(set: number, index: number): number {
    if (set === 0 || this.#sets.a(set) > index) return this.#sets.id(index, set);
    return this.#sets.id(this.#sets.a(set), this.#with(this.#sets.b(set), index));
  }

  #has(set: number, index: number): boolean {
    for (let at = set; at !== 0; at = this.#sets.b(at)) {
      const head = this.#sets.a(at);
      if (head >= index) return head === index;
    }
    return false;
  }

  /** Whether all of one set is in the other. */
  readonly #isWithin = (set: number, other: number): boolean => {
    let at = other;
    for (let one = set; one !== 0; one = this.#sets.b(one)) {
      const index = this.#sets.a(one);
      while (at !== 0 && this.#sets.a(at) < index) at = this.#sets.b(at);
      if (at === one) return true;
      if (at === 0 || this.#sets.a(at) !== index) return false;
    }
    return true;
  };

  #push(base: number, set: number, used: number, state: number): boolean {
    if (!this.#visited.add({ base, set, state, used }, mix(mix(base, set), state), this.#isWithin)) return false;
    this.#configurations++;
    this.#reached = Math.max(this.#reached, base);
    this.#base.push(base);
    this.#set.push(set);
    this.#used.push(used);
    this.#state.push(state);
    this.#cursor.push(0);
    return true;
  }

  #pop(): void {
    this.#base.pop();
    this.#set.pop();
    this.#used.pop();
    this.#state.pop();
    this.#cursor.pop();
  }

  #sure(index: number): Move {
    return must(this.#problem.sure[index], 'a sure move is one of the list');
  }

  #noteLooks(): void {
    const { isAppended, isList, open, spare, sure, values } = this.#problem;
    for (const [index, { steps }] of sure.entries()) {
      for (const { kind, slot, a } of steps) {
        if (kind === READ || kind === CAS) this.#lastLook[slot]?.set(a, index);
        if (kind !== READ || isList[slot] !== true) continue;
        this.#lastRead[slot] = index;
        for (const { list } of values.prefixes(a)) this.#prefixes[slot]?.add(list);
      }
    }
    for (const { steps } of [...open, ...spare]) {
      for (const step of steps) {
        this.#maybeSteps[step.slot]?.push(step);
        if (step.kind === CAS) this.#lastLook[step.slot]?.set(step.a, Number.POSITIVE_INFINITY);
      }
    }
    for (const [slot, looks] of this.#lastLook.entries()) {
      if (isAppended[slot] === true) continue;
      for (const [value, index] of looks) this.#expiring[index]?.push({ slot, value });
    }
  }
}

/** For each sure move: those that began before it ended and end no earlier; itself among them. */
function concurrent(sure: readonly Move[]): { readonly pending: Int32Array; readonly from: Int32Array } {
  const byCall = sure.map((move, index) => ({ call: move.call, index })).sort((x, y) => x.call - y.call);
  const active: number[] = [];
  const pending: number[] = [];
  const from = new Int32Array(sure.length + 1);
  let next = 0;
  for (const [index, { end }] of sure.entries()) {
    for (let one = byCall[next]; one !== undefined && one.call < end; one = byCall[++next]) {
      const { index: began } = one;
      const place = active.findLastIndex((other) => other < began) + 1;
      active.splice(place, 0, began);
    }
    from[index] = pending.length;
    for (const one of active) pending.push(one);
    active.shift(); // It is this one: all before it have ended.
  }
  from[sure.length] = pending.length;
  return { pending: Int32Array.from(pending), from };
}

function begunBefore({ sure, open }: Problem): Int32Array {
  const begun = new Int32Array(sure.length);
  let count = 0;
  for (const [index, { end }] of sure.entries()) {
    while (count < open.length && (open[count]?.call ?? end) < end) count++;
    begun[index] = count;
  }
  return begun;
}
