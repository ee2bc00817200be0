/**
 * Fences: where each block of a table ends, as numbers, so that the block of a key is found without walking the index.
 *
 * The keys of a table begin alike. The six bytes behind what they have in common, as a number, tell most blocks apart:
 * a search among numbers that lie side by side meets a few cache lines, one in the index block meets two per step.
 * Where the number of a key is that of a fence, the index itself is asked (-1).
 *
 *   separators   user/0000|034871…  user/0000|035105…  user/0000|035340…        fence = the six bytes behind the bar
 */
import type { BlockCursor } from './block-cursor.ts';
import type { BlockHandle } from './format.ts';
import { TRAILER_BYTES } from './keys.ts';

export class Fences {
  readonly #prefix: Uint8Array;
  readonly #numbers: Float64Array;
  readonly #offsets: Float64Array;
  readonly #sizes: Uint32Array;
  /** Where the cache had each block when it was last asked for. */
  readonly hints: Int32Array;

  /** Reads the whole index; `handleAt` says where the block of the cursor's entry is. */
  constructor(index: BlockCursor, handleAt: (into: BlockHandle) => void) {
    const handle: BlockHandle = { offset: 0, size: 0 };
    const keys: Uint8Array[] = [];
    const offsets: number[] = [];
    const sizes: number[] = [];
    for (index.first(); index.valid; index.next()) {
      keys.push(index.key.slice(0, index.keyLength - TRAILER_BYTES));
      handleAt(handle);
      offsets.push(handle.offset);
      sizes.push(handle.size);
    }
    const first = keys[0] ?? new Uint8Array(0);
    // The last separator has nothing to part: it is the shortest key behind the table, and has nothing in common with it.
    const last = keys.at(-2) ?? first;
    let common = 0;
    while (common < first.length && common < last.length && first[common] === last[common]) common++;
    this.#prefix = first.slice(0, common);
    this.#numbers = Float64Array.from(keys, (key) => numberAt(key, common));
    if (keys.length > 0) this.#numbers[keys.length - 1] = Number.POSITIVE_INFINITY;
    this.#offsets = Float64Array.from(offsets);
    this.#sizes = Uint32Array.from(sizes);
    this.hints = new Int32Array(keys.length).fill(-1);
  }

  get bytes(): number {
    return this.hints.length * 24;
  }

  /** The one block that may have versions of `user`; -1: ask the index. */
  find(user: Uint8Array): number {
    const prefix = this.#prefix;
    const common = prefix.length;
    if (user.length < common) return -1;
    for (let i = common - 1; i >= 0; i--) if (user[i] !== prefix[i]) return -1;
    const numbers = this.#numbers;
    const wanted = numberAt(user, common);
    let low = 0;
    let high = numbers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((numbers[middle] as number) < wanted) low = middle + 1;
      else high = middle;
    }
    return low === numbers.length || numbers[low] === wanted ? -1 : low;
  }

  handle(block: number, into: BlockHandle): void {
    into.offset = this.#offsets[block] as number;
    into.size = this.#sizes[block] as number;
  }
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
