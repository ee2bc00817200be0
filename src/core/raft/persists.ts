/**
 * Persists: what was handed to the WAL and is not synced yet.
 *
 * A sync proves the entries of its persist, unless they were reverted meanwhile: then it proves only what was
 * left of them, even if an entry of the same index and term has come back since (the ABA of asynchronous
 * appends: the copy on disk that was synced is followed there by the one that replaced it).
 *
 * Invariants:
 *  - persists are synced in the order in which they were handed out;
 *  - what a persist may prove never grows, and is never beyond the log.
 */
import { assert, must } from '../base/assert.ts';
import { type Index, plus, type Term } from '../base/position.ts';
import type { RaftLog } from './log.ts';
import type { HardState, NodeId, Persist } from './types.ts';

export class Persists {
  #underWay: { readonly seq: number; lastIndex: Index }[] = [];
  #seq = 0;
  /** Entries up to here were handed out. */
  #handed: Index;
  #revertFrom: Index | undefined;
  #handedTerm: Term;
  #handedVote: NodeId;

  constructor(last: Index, hardState: HardState) {
    this.#handed = last;
    this.#handedTerm = hardState.term;
    this.#handedVote = hardState.vote;
  }

  /** The newest persist under way; 0 when everything handed out is synced. */
  get newest(): number {
    return this.#underWay.at(-1)?.seq ?? 0;
  }

  /** Everything not handed out yet, as one persist; undefined when there is nothing. */
  take(log: RaftLog, hardState: HardState): Persist | undefined {
    const { last } = log;
    const hasEntries = this.#handed < last;
    const hasVote = this.#handedTerm !== hardState.term || this.#handedVote !== hardState.vote;
    if (!hasEntries && !hasVote && this.#revertFrom === undefined) return undefined;
    const entries = hasEntries ? log.slice(plus(this.#handed, 1), plus(last, 1), Number.POSITIVE_INFINITY) : [];
    const persist: Persist = { seq: ++this.#seq, hardState, revertFrom: this.#revertFrom, entries };
    this.#underWay.push({ seq: persist.seq, lastIndex: last });
    this.#handed = last;
    this.#handedTerm = hardState.term;
    this.#handedVote = hardState.vote;
    this.#revertFrom = undefined;
    return persist;
  }

  /** The log's suffix from `from` on was reverted; `last` is what is left. */
  reverted(from: Index, last: Index): void {
    for (const persist of this.#underWay) if (persist.lastIndex > last) persist.lastIndex = last;
    if (from > this.#handed) return;
    this.#handed = last;
    if (this.#revertFrom === undefined || from < this.#revertFrom) this.#revertFrom = from;
  }

  /** Persists up to `seq` are synced; returns the index that this proves, if it proves one. */
  synced(seq: number): Index | undefined {
    assert(seq <= this.#seq, 'only what was handed out can be synced');
    let lastIndex: Index | undefined;
    let count = 0;
    while (count < this.#underWay.length) {
      const persist = must(this.#underWay[count], 'inside the array');
      if (persist.seq > seq) break;
      ({ lastIndex } = persist);
      count++;
    }
    if (count > 0) this.#underWay = this.#underWay.slice(count);
    return lastIndex;
  }
}
