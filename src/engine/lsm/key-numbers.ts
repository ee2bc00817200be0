/**
 * KeyNumbers: sorted keys as numbers, so that a place among them is found without looking at the keys.
 *
 * Keys that stand together begin alike. The six bytes behind what they have in common, as a number, tell most of them
 * apart: a search among numbers that lie side by side meets a few cache lines, one among keys meets two per step. Where
 * numbers do not tell, nor does this: -1, and the keys themselves are asked.
 *
 *   keys   user/0000|034871…  user/0000|035105…  user/0000|035340…        number = the six bytes behind the bar
 *
 * Keys of two kinds (two keyspaces in one table) have nothing in common, and six bytes from the start tell nothing. So
 * where many numbers are equal, keys are parted by the first byte in which they differ, into runs of a beginning each.
 */

import { compareBytes } from '../../core/base/bytes.ts';

/** Keys that begin alike: from the run's place up to the next run's. */
interface Run {
  readonly prefix: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** The first key behind all that begin as these do; -1: there is none, or it begins so too. */
  readonly after: number;
}

/** They are looked through one after the other. */
const RUNS_MAX = 16;
/** A run is parted if more than one number of so many is that of its neighbour. */
const EQUAL_OF = 8;

export class KeyNumbers {
  readonly #runs: readonly Run[];
  readonly #numbers: Float64Array;

  /** Of user keys in their order. */
  constructor(keys: readonly Uint8Array[]) {
    this.#numbers = new Float64Array(keys.length);
    const runs: Run[] = [];
    const wanted = keys.length === 0 ? [] : [{ start: 0, end: keys.length }];
    for (let next = wanted.pop(); next !== undefined; next = wanted.pop()) {
      const { start, end } = next;
      const first = keys[start] as Uint8Array;
      const common = sharedBytes(first, keys[end - 1] as Uint8Array);
      let equal = 0;
      for (let i = start; i < end; i++) {
        this.#numbers[i] = numberAt(keys[i] as Uint8Array, common);
        if (i > start && this.#numbers[i] === this.#numbers[i - 1]) equal++;
      }
      const parts = equal * EQUAL_OF > end - start ? partsOf(keys, start, end, common) : [];
      if (parts.length > 1 && runs.length + wanted.length + parts.length <= RUNS_MAX) wanted.push(...parts);
      else {
        const prefix = first.slice(0, common);
        const isLast = end === keys.length || beginsWith(keys[end] as Uint8Array, prefix);
        runs.push({ prefix, start, end, after: isLast ? -1 : end });
      }
    }
    this.#runs = runs.sort((a, b) => a.start - b.start);
  }

  /** The first key that is not before `user`; -1: the numbers do not tell. */
  find(user: Uint8Array): number {
    for (const { prefix, start, end, after } of this.#runs) {
      if (!beginsWith(user, prefix)) {
        if (compareBytes(user, prefix) < 0) return start;
        continue;
      }
      const numbers = this.#numbers;
      const wanted = numberAt(user, prefix.length);
      let low = start;
      let high = end;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if ((numbers[middle] as number) < wanted) low = middle + 1;
        else high = middle;
      }
      if (low === end) return after;
      return numbers[low] === wanted ? -1 : low;
    }
    return -1;
  }
}

function sharedBytes(a: Uint8Array, b: Uint8Array): number {
  let shared = 0;
  while (shared < a.length && shared < b.length && a[shared] === b[shared]) shared++;
  return shared;
}

function beginsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  if (key.length < prefix.length) return false;
  for (let i = prefix.length - 1; i >= 0; i--) if (key[i] !== prefix[i]) return false;
  return true;
}

/** Parts keys[start, end) by their byte at `at`; a key that ends before it is a part of its own. */
function partsOf(
  keys: readonly Uint8Array[],
  start: number,
  end: number,
  at: number,
): { start: number; end: number }[] {
  const parts: { start: number; end: number }[] = [];
  let from = start;
  for (let i = start + 1; i <= end; i++) {
    if (i < end && keys[i]?.[at] === keys[from]?.[at]) continue;
    parts.push({ start: from, end: i });
    from = i;
  }
  return parts;
}

/** Six bytes from `at` on as a number that sorts as they do; what is missing counts as zeros. */
function numberAt(key: Uint8Array, at: number): number {
  let high = 0;
  let low = 0;
  for (let i = 0; i < 3; i++) {
    high = (high << 8) | (key[at + i] ?? 0);
    low = (low << 8) | (key[at + i + 3] ?? 0);
  }
  return high * 0x100_0000 + low;
}
