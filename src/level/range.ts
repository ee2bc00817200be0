/**
 * Ranges: level's `gt`, `gte`, `lt`, `lte` as the engine's half-open [from, to).
 *
 * `gte` and `lte` count before `gt` and `lt`, as abstract-level says. The first key after `k` is `k` and a zero byte.
 */
import { compareBytes } from '../core/base/bytes.ts';
import { type Encoded, keptKey } from './format.ts';

/** Encoded by abstract-level; -1 is no limit. */
export interface EncodedRange {
  readonly gt?: Encoded;
  readonly gte?: Encoded;
  readonly lt?: Encoded;
  readonly lte?: Encoded;
  readonly reverse: boolean;
  readonly limit: number;
}

export interface KeyRange {
  /** Inclusive; undefined: from the beginning. */
  readonly from: Uint8Array | undefined;
  /** Exclusive; undefined: to the end. */
  readonly to: Uint8Array | undefined;
}

export function keyRange({ gt, gte, lt, lte }: EncodedRange): KeyRange {
  return {
    from: gte !== undefined ? keptKey(gte) : gt !== undefined ? after(keptKey(gt)) : undefined,
    to: lte !== undefined ? after(keptKey(lte)) : lt !== undefined ? keptKey(lt) : undefined,
  };
}

export const isWithin = ({ from, to }: KeyRange, key: Uint8Array): boolean =>
  (from === undefined || compareBytes(key, from) >= 0) && (to === undefined || compareBytes(key, to) < 0);

/** No key can be in it. */
export const isEmpty = ({ from, to }: KeyRange): boolean =>
  to !== undefined && (to.length === 0 || (from !== undefined && compareBytes(from, to) >= 0));

function after(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}
