/**
 * Positions: the two kinds of place in a log, which must never be mixed.
 *
 * An Index is a place in the replicated log and the same on every node; users see it as a revision. An Lsn is
 * a place in one node's WAL and means nothing elsewhere. Both are counters below 2^53, checked when read from
 * bytes, 64-bit on disk and on the wire.
 */
import { assert } from './assert.ts';

declare const unit: unique symbol;
type Unit<Name extends string> = number & { readonly [unit]: Name };

/** Place in the replicated log; the same on every node. The first entry has 1; 0 is "before the first". */
export type Index = Unit<'index'>;
/** An election's number. 0 is "before the first". */
export type Term = Unit<'term'>;
/** Place in this node's WAL (one per record), never reused. The first record has 1. */
export type Lsn = Unit<'lsn'>;
/** An Index as users see it: the place of the write that made a value. */
export type Revision = Index;

const counter = (value: number, what: string): number => {
  assert(Number.isSafeInteger(value) && value >= 0, `${what} is a safe integer (got ${value})`);
  return value;
};

export const toIndex = (value: number): Index => counter(value, 'index') as Index;
export const toTerm = (value: number): Term => counter(value, 'term') as Term;
export const toLsn = (value: number): Lsn => counter(value, 'lsn') as Lsn;

/** `index` moved by `by`: arithmetic keeps its unit. */
export const plus = <U extends Index | Term | Lsn>(position: U, by: number): U => (position + by) as U;
