/**
 * ReaderBudget: what a node holds for those who read its ledger: parts that were handed to sockets and that their
 * clients have not taken yet.
 *
 * The bound is for all of them together, as memory is. Past half of it, who holds something already waits: the other
 * half is for readers that take what they get, so that a few that do not cannot starve the rest. Nobody loses
 * anything by waiting: a position costs a number, and what is behind it is read from the tree later.
 */
import { assert } from '../core/base/assert.ts';

export class ReaderBudget {
  readonly #bytesMax: number;
  /** By reader (a connection); nothing for one that has taken all it got. */
  readonly #held = new Map<number, number>();
  #heldBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** May `reader` be handed one more part? So the bound is passed by one part at most. */
  mayHand(reader: number): boolean {
    if (this.#heldBytes < this.#bytesMax / 2) return true;
    return this.#heldBytes < this.#bytesMax && !this.#held.has(reader);
  }

  handed(reader: number, bytes: number): void {
    this.#held.set(reader, (this.#held.get(reader) ?? 0) + bytes);
    this.#heldBytes += bytes;
  }

  /** `reader` has taken so much, or has gone and will not. */
  taken(reader: number, bytes: number): void {
    const left = (this.#held.get(reader) ?? 0) - bytes;
    assert(left >= 0, 'nobody takes more than was handed out');
    if (left === 0) this.#held.delete(reader);
    else this.#held.set(reader, left);
    this.#heldBytes -= bytes;
  }
}
