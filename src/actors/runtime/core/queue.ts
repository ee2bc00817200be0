/**
 * Queue: first in, first out, in an array that is a circle. A push and a shift cost a few nanoseconds at any length
 * (an array's own shift moves what is behind it), and what has left is not held on to.
 */
const CAPACITY_MIN = 16;

export class Queue<T> {
  #items: (T | undefined)[] = [];
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#items[(this.#head + this.#length) & (this.#items.length - 1)] = item;
    this.#length++;
  }

  /** Puts an item before all others. */
  unshift(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#head = (this.#head - 1) & (this.#items.length - 1);
    this.#items[this.#head] = item;
    this.#length++;
  }

  peek(): T | undefined {
    return this.#length === 0 ? undefined : this.#items[this.#head];
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#items.length - 1);
    this.#length--;
    return item;
  }

  /** Takes one from the middle: the last takes its place. */
  takeAt(index: number): T | undefined {
    const last = (this.#head + this.#length - 1) & (this.#items.length - 1);
    const at = (this.#head + index) & (this.#items.length - 1);
    const item = this.#items[at];
    this.#items[at] = this.#items[last];
    this.#items[last] = undefined;
    this.#length--;
    return item;
  }

  #grow(): void {
    const length = Math.max(CAPACITY_MIN, this.#items.length * 2);
    this.#items = Array.from({ length }, (_, i) => this.#items[(this.#head + i) & (this.#items.length - 1)]);
    // What lies behind the old length is there twice.
    this.#items.fill(undefined, this.#length);
    this.#head = 0;
  }
}
