/**
 * ExpiryQueue: which key goes next. A binary heap by expiry, then revision; an item whose key was written
 * again since is stale and is passed over when its time comes (the writer then checks the revision).
 */
import type { Revision } from '../base/position.ts';

export interface ExpiryItem {
  /** Age (log-time.ts) at which it is due. */
  readonly expiryMs: number;
  readonly revision: Revision;
  readonly key: Uint8Array;
}

const before = (a: ExpiryItem, b: ExpiryItem): boolean =>
  a.expiryMs < b.expiryMs || (a.expiryMs === b.expiryMs && a.revision < b.revision);

export class ExpiryQueue {
  readonly #heap: ExpiryItem[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** Age at which the next item is due; Infinity when there is none. */
  get nextMs(): number {
    return this.#heap[0]?.expiryMs ?? Number.POSITIVE_INFINITY;
  }

  push(item: ExpiryItem): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(item);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = heap[parent] as ExpiryItem;
      if (!before(item, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = item;
  }

  /** Takes the first item if it is due at `ageMs`. */
  popDue(ageMs: number): ExpiryItem | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (first === undefined || first.expiryMs > ageMs) return undefined;
    const last = heap.pop() as ExpiryItem;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as ExpiryItem, heap[child] as ExpiryItem)) child++;
      const below = heap[child] as ExpiryItem;
      if (!before(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}
