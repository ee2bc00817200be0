/**
 * Minimising: of a history that has no order, the few operations that already have none.
 *
 * First in time: the history after the first operation that cannot be placed goes, and then as much as can of its
 * beginning. At the cut anything may be there, and an operation that was under way may have happened before it. Then one by one: to do without an operation is to ask
 * nothing of it: not when it happened, nor whether, nor how often, nor what it saw. (To take it away would be wrong: a
 * read of 1 without the write of 1 is no finding, but a hole that we made.)
 *
 * Both only ever ask less, which makes an order easier to find. So the latest beginning is found by halves, and the
 * least set of operations by QuickXplain (Junker 2004), with about 2k·log(n/k) searches for k of n. Late operations
 * are preferred. Of what is left each is needed: ask nothing of any one of them, and there is an order.
 */
import { assert } from '../../core/base/assert.ts';
import type { Operation } from '../history/types.ts';
import { canMatter } from './partition.ts';
import { type Pieces, problemOf } from './problem.ts';
import { type Budget, Search } from './search.ts';

export interface Window {
  readonly operations: readonly Operation[];
  /** Operations that the others saw something of, and of which nothing is asked. */
  readonly background: readonly Operation[];
  /** Whether the window stands whatever was there at its beginning; else it needs that nothing was. */
  readonly isAnythingFirst: boolean;
  /** False when a search was given up; then there may be a smaller window. */
  readonly isMinimal: boolean;
}

/** The least to try at once: smaller windows are cheap anyhow. */
const SUFFIX_FIRST = 16;
const SEARCHES_SHARE = 10;

/** The history up to the end of the first operation that cannot be placed: what goes on there is still open. */
export function cutAfter(operations: readonly Operation[], at: number): Operation[] {
  return operations
    .filter((operation) => operation.call.at <= at)
    .map((operation) => (lastMoment(operation) <= at ? operation : opened(operation)))
    .filter(canMatter);
}

/** What ends last, `count` of it: what was under way at the cut is open, as it may be over. */
function cutBefore(byEnd: readonly Operation[], count: number): Operation[] {
  const gone = byEnd[count];
  const at = gone === undefined ? -1 : lastMoment(gone);
  return byEnd
    .slice(0, count)
    .map((operation) => (operation.call.at > at ? operation : opened(operation)))
    .filter(canMatter);
}

function opened(operation: Operation): Operation {
  const parts = operation.parts.map((part) => (part.kind === 'read' ? { ...part, value: undefined } : part));
  return { ...operation, outcome: 'unknown', end: undefined, parts };
}

/** The smallest window of operations that have no order. */
export function minimise(operations: readonly Operation[], budget: Budget): Window {
  const searches = new Searches(budget);
  const { suffix, isAnythingFirst } = latestBeginning(operations, searches);
  const xplain = new Xplain(suffix, isAnythingFirst, searches);
  const kept = xplain.least(byAge(suffix));
  return {
    operations: kept.sort((x, y) => x.call.at - y.call.at),
    background: xplain.background(kept).map((one) => operations.find(({ index }) => index === one.index) ?? one),
    isAnythingFirst,
    isMinimal: !searches.isGivenUp,
  };
}

const lastMoment = (operation: Operation): number => operation.end?.at ?? Number.POSITIVE_INFINITY;

/** The latest to end first. */
function byAge(operations: readonly Operation[]): Operation[] {
  return [...operations].sort((x, y) => (y.end ?? y.call).at - (x.end ?? x.call).at);
}

function latestBeginning(
  operations: readonly Operation[],
  searches: Searches,
): { readonly suffix: readonly Operation[]; readonly isAnythingFirst: boolean } {
  const isAppended = operations.some(({ parts }) => parts.some((part) => part.kind === 'append'));
  // A cut lies before the end of one operation: what has ended by then is gone.
  const byEnd = [...operations].sort((x, y) => lastMoment(y) - lastMoment(x));
  const isEnough = (count: number): boolean =>
    searches.isViolation({ ...pieces(cutBefore(byEnd, count), []), isAnythingFirst: true });
  if (isAppended) return { suffix: operations, isAnythingFirst: false };
  let enough = Math.min(SUFFIX_FIRST, byEnd.length);
  let tooFew = 0;
  while (!isEnough(enough)) {
    if (enough === byEnd.length) return { suffix: operations, isAnythingFirst: false };
    tooFew = enough;
    enough = Math.min(enough * 2, byEnd.length);
  }
  while (enough - tooFew > 1) {
    const middle = Math.floor((enough + tooFew) / 2);
    if (isEnough(middle)) enough = middle;
    else tooFew = middle;
  }
  return { suffix: cutBefore(byEnd, enough), isAnythingFirst: true };
}

function pieces(kept: readonly Operation[], spare: readonly Operation[]): Pieces {
  return {
    sure: kept.filter((operation) => operation.outcome === 'ok'),
    open: kept.filter((operation) => operation.outcome === 'unknown'),
    spare,
  };
}

/** Searches, with one budget for all. */
class Searches {
  readonly #budget: Budget;
  #left: number;
  isGivenUp = false;

  constructor(budget: Budget) {
    this.#budget = budget;
    this.#left = budget.configurations;
  }

  /** A search that is given up counts as an order found: what it left out is kept. */
  isViolation(asked: Pieces): boolean {
    const configurations = Math.min(this.#left, Math.ceil(this.#budget.configurations / SEARCHES_SHARE));
    const search = new Search(problemOf(asked), { ...this.#budget, configurations });
    let found = search.advance(configurations + 1);
    while (found === undefined) found = search.advance(configurations + 1);
    this.#left = Math.max(0, this.#left - found.configurations);
    if (found.verdict === 'unknown') this.isGivenUp = true;
    return found.verdict === 'violation';
  }
}

class Xplain {
  readonly #all: readonly Operation[];
  readonly #isAnythingFirst: boolean;
  readonly #searches: Searches;

  constructor(all: readonly Operation[], isAnythingFirst: boolean, searches: Searches) {
    this.#all = all;
    this.#isAnythingFirst = isAnythingFirst;
    this.#searches = searches;
  }

  /** Most violations need few operations, so it begins with few. */
  least(operations: readonly Operation[]): Operation[] {
    let count = Math.min(SUFFIX_FIRST, operations.length);
    while (count < operations.length && !this.#isViolation(operations.slice(0, count))) {
      count = Math.min(count * 2, operations.length);
    }
    return this.#explain([], false, operations.slice(0, count));
  }

  /** The operations of `among` that are needed beside `given`; `isNew`: something was added to `given`. */
  #explain(given: readonly Operation[], isNew: boolean, among: readonly Operation[]): Operation[] {
    if (isNew && this.#isViolation(given)) return [];
    if (among.length <= 1) return [...among];
    const half = Math.ceil(among.length / 2);
    const late = among.slice(0, half);
    const early = among.slice(half);
    const ofEarly = this.#explain([...given, ...late], true, early);
    const ofLate = this.#explain([...given, ...ofEarly], ofEarly.length > 0, late);
    return [...ofLate, ...ofEarly];
  }

  background(kept: readonly Operation[]): Operation[] {
    const operations = problemOf(this.#ask(kept)).spare.map((move) => move.operation);
    assert(
      operations.every((operation) => !kept.includes(operation)),
      'what is in the window is not behind it',
    );
    return operations.sort((x, y) => x.call.at - y.call.at);
  }

  #isViolation(kept: readonly Operation[]): boolean {
    return this.#searches.isViolation(this.#ask(kept));
  }

  #ask(kept: readonly Operation[]): Pieces {
    const isKept = new Set(kept);
    const spare = this.#all.filter((operation) => !isKept.has(operation));
    return { ...pieces(kept, spare), isAnythingFirst: this.#isAnythingFirst };
  }
}
