/**
 * Standing: what a log amounts to at a place: the hard state, the last entry, and the term of every entry that is
 * left. Recovery folds records into one, the committer keeps one beside what it writes, and each segment begins with
 * one (its base record), so that a log whose older segments are gone still says all of it.
 *
 * Terms are kept as runs (one per election, not per entry). With (index, term) an entry has one name for ever, so a
 * reader tells what was reverted from what took its place.
 *
 *      base    runs[0].first             last
 *   gone │ … │ … term 3 … │ … term 5 … │
 *
 * Invariants:
 *  - runs begin behind the base; their first indexes and terms rise, and terms never fall along the log;
 *  - commit only grows: a record that was cut in parts notes it with the last.
 */
import { assert, must } from '../../core/base/assert.ts';
import { type Index, plus, type Term, toIndex, toTerm } from '../../core/base/position.ts';
import type { TermRun } from '../../core/raft/log.ts';
import { type HardState, NOBODY, type NodeId } from '../../core/raft/types.ts';

/** A standing as plain data: it crosses threads. */
export interface LogStanding {
  readonly hardState: HardState;
  /** The first entry that is left; lastIndex + 1 when none is. */
  readonly firstIndex: Index;
  /** Term of the entry before it. */
  readonly baseTerm: Term;
  readonly lastIndex: Index;
  /** Of the entries that are left. */
  readonly runs: readonly TermRun[];
}

export const EMPTY_LOG: LogStanding = {
  hardState: { term: toTerm(0), vote: NOBODY, commit: toIndex(0) },
  firstIndex: toIndex(1),
  baseTerm: toTerm(0),
  lastIndex: toIndex(0),
  runs: [],
};

export class Standing {
  term: Term;
  vote: NodeId;
  commit: Index;
  lastIndex: Index;
  #base: Index;
  /** Undefined while it is not known: entries before the base were reverted. */
  #baseTerm: Term | undefined;
  #runs: TermRun[];

  constructor(start: LogStanding = EMPTY_LOG) {
    this.term = start.hardState.term;
    this.vote = start.hardState.vote;
    this.commit = start.hardState.commit;
    this.lastIndex = start.lastIndex;
    this.#base = plus(start.firstIndex, -1);
    this.#baseTerm = start.baseTerm;
    this.#runs = [...start.runs];
  }

  get firstIndex(): Index {
    return plus(this.#base, 1);
  }

  /** Term of the last entry; undefined while it is not known. */
  get lastTerm(): Term | undefined {
    const { length } = this.#runs;
    return length === 0 ? this.#baseTerm : must(this.#runs[length - 1], 'not empty').term;
  }

  say(term: Term, commit: Index): void {
    this.term = term;
    if (commit > this.commit) this.commit = commit;
  }

  /** The next entry has this term. */
  push(index: Index, term: Term): void {
    assert(index === this.lastIndex + 1, `indexes follow each other (${index} after ${this.lastIndex})`);
    const { length } = this.#runs;
    const lastTerm = length === 0 ? 0 : must(this.#runs[length - 1], 'not empty').term;
    if (term !== lastTerm) {
      const before = this.lastTerm ?? 0;
      assert(term >= before, `terms never fall along the log (${term} after ${before})`);
      this.#runs.push({ first: index, term });
    }
    this.lastIndex = index;
  }

  /** Entries from `from` on are no longer there. */
  revert(from: Index): void {
    assert(from >= 1 && from <= this.lastIndex, 'a revert names an entry that is there');
    this.lastIndex = plus(from, -1);
    while ((this.#runs.at(-1)?.first ?? 0) > this.lastIndex) this.#runs.pop();
    if (this.lastIndex >= this.#base) return;
    // Segments that are gone held the entry which is now the last.
    this.#base = this.lastIndex;
    this.#baseTerm = this.#base === 0 ? toTerm(0) : undefined;
  }

  /** Term of the entry at `index`, that of the base included; undefined when it is not there, or not known. */
  termOf(index: Index): Term | undefined {
    if (index === this.#base) return this.#baseTerm;
    if (index > this.lastIndex || index < this.#base) return undefined;
    let low = 0;
    let high = this.#runs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (must(this.#runs[middle], 'inside').first <= index) low = middle;
      else high = middle - 1;
    }
    return this.#runs[low]?.term;
  }

  /** The log begins at `first`: what is before it is gone. */
  beginAt(first: Index): void {
    const base = plus(first, -1);
    if (base === this.#base) return;
    assert(base > this.#base && base <= this.lastIndex, 'a log begins inside itself');
    this.#baseTerm = this.termOf(base);
    this.#base = base;
    while (this.#runs.length > 0) {
      const next = this.#runs[1]?.first ?? plus(this.lastIndex, 1);
      if (next > first) break;
      this.#runs.shift();
    }
    const oldest = this.#runs[0];
    if (oldest !== undefined && oldest.first < first) this.#runs[0] = { first, term: oldest.term };
  }

  /** All of it: the term before the first entry must be known. */
  plain(): LogStanding {
    return {
      hardState: { term: this.term, vote: this.vote, commit: this.commit },
      firstIndex: plus(this.#base, 1),
      baseTerm: must(this.#baseTerm, 'the term before the first entry is known'),
      lastIndex: this.lastIndex,
      runs: [...this.#runs],
    };
  }
}
