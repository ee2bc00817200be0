/**
 * Merge: many sorted sources as one, forward or backward.
 *
 * A heap of sources by their current key. Only the top moves, and mostly stays the top (neighbours lie in one table),
 * so a step costs two comparisons. A merge goes in one direction, chosen when it is placed: `seek`/`first` then
 * `next`, or `seekBefore`/`last` then `prev`.
 *
 * One key at one revision in two sources comes from one batch, that goes on in a second memtable or is written again
 * by a replay. Put or tombstone, the source that stands first in the list is the newer one, and so it is treated:
 * forward it comes first, and callers pass over the rest; backward it comes last, and callers let it win. Hence the
 * order here is that of internal keys without their type.
 */
import { TRAILER_BYTES } from '../sstable/keys.ts';

/** A sorted run of internal keys. After it ran off either end it is not valid until it is placed again. */
export interface InternalCursor {
  readonly valid: boolean;
  /** The current key stands in the first `keyLength` bytes; lent until the next move. */
  readonly key: Uint8Array;
  readonly keyLength: number;
  /** The current stored value lies here, from `valueStart` to `valueEnd`; lent until the next move. */
  readonly block: Uint8Array;
  readonly valueStart: number;
  readonly valueEnd: number;
  first(): void;
  last(): void;
  /** To the first key at or after `key`. */
  seek(key: Uint8Array, keyLength: number): void;
  next(): void;
  prev(): void;
}

export class MergeCursor implements InternalCursor {
  readonly #all: readonly InternalCursor[];
  /** Heap of the sources that are valid; the current one is first. */
  readonly #heap: InternalCursor[] = [];
  readonly #rank = new Map<InternalCursor, number>();
  #isForward = true;

  constructor(sources: readonly InternalCursor[]) {
    this.#all = sources;
    for (const [i, source] of sources.entries()) this.#rank.set(source, i);
  }

  get valid(): boolean {
    return this.#heap.length > 0;
  }

  get key(): Uint8Array {
    return (this.#heap[0] as InternalCursor).key;
  }

  get keyLength(): number {
    return (this.#heap[0] as InternalCursor).keyLength;
  }

  get block(): Uint8Array {
    return (this.#heap[0] as InternalCursor).block;
  }

  get valueStart(): number {
    return (this.#heap[0] as InternalCursor).valueStart;
  }

  get valueEnd(): number {
    return (this.#heap[0] as InternalCursor).valueEnd;
  }

  /** The source that the current entry comes from. */
  get top(): InternalCursor {
    return this.#heap[0] as InternalCursor;
  }

  first(): void {
    for (const source of this.#all) source.first();
    this.#build(true);
  }

  last(): void {
    for (const source of this.#all) source.last();
    this.#build(false);
  }

  seek(key: Uint8Array, keyLength: number): void {
    for (const source of this.#all) source.seek(key, keyLength);
    this.#build(true);
  }

  /** To the last key before `key`, to go on backward. */
  seekBefore(key: Uint8Array, keyLength: number): void {
    for (const source of this.#all) {
      source.seek(key, keyLength);
      if (source.valid) source.prev();
      else source.last();
    }
    this.#build(false);
  }

  next(): void {
    const top = this.#heap[0] as InternalCursor;
    top.next();
    this.#moved(top);
  }

  prev(): void {
    const top = this.#heap[0] as InternalCursor;
    top.prev();
    this.#moved(top);
  }

  #moved(top: InternalCursor): void {
    if (!top.valid) {
      const last = this.#heap.pop() as InternalCursor;
      if (this.#heap.length === 0) return;
      this.#heap[0] = last;
    }
    this.#siftDown(0);
  }

  #build(isForward: boolean): void {
    this.#isForward = isForward;
    const heap = this.#heap;
    heap.length = 0;
    for (const source of this.#all) if (source.valid) heap.push(source);
    for (let i = (heap.length >>> 1) - 1; i >= 0; i--) this.#siftDown(i);
  }

  #siftDown(from: number): void {
    const heap = this.#heap;
    const length = heap.length;
    const moving = heap[from] as InternalCursor;
    let at = from;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= length) break;
      if (child + 1 < length && this.#isBefore(heap[child + 1] as InternalCursor, heap[child] as InternalCursor)) {
        child++;
      }
      const below = heap[child] as InternalCursor;
      if (!this.#isBefore(below, moving)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = moving;
  }

  #isBefore(a: InternalCursor, b: InternalCursor): boolean {
    const order =
      compareVersions(a.key, a.keyLength, b.key, b.keyLength) ||
      (this.#rank.get(a) as number) - (this.#rank.get(b) as number);
    return this.#isForward ? order < 0 : order > 0;
  }
}

/** User key up, then revision down; the type, which is the trailer's first byte, does not count. */
function compareVersions(a: Uint8Array, aLength: number, b: Uint8Array, bLength: number): number {
  const aUser = aLength - TRAILER_BYTES;
  const bUser = bLength - TRAILER_BYTES;
  const shared = aUser < bUser ? aUser : bUser;
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  if (aUser !== bUser) return aUser - bUser;
  for (let i = TRAILER_BYTES - 1; i > 0; i--) {
    const difference = (b[bUser + i] as number) - (a[aUser + i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}
