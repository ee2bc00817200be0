/**
 * TermRuns: the term of every entry of a log, as the places where a new term begins.
 *
 * A run per election and not per entry, so the term of any index is known without reading it. With (index, term) an
 * entry has one name for ever, so a reader tells what was reverted from what took its place.
 *
 * Invariants: first indexes and terms rise from run to run; what is before the first run is not known.
 */
import { assert, must } from '../../core/base/assert.ts';
import { type Index, plus, type Term, toIndex, toTerm } from '../../core/base/position.ts';
import type { TermRun } from '../../core/raft/log.ts';

export class TermRuns {
  #runs: TermRun[];
  lastIndex: Index;

  constructor(runs: readonly TermRun[] = [], lastIndex: Index = toIndex(0)) {
    this.#runs = [...runs];
    this.lastIndex = lastIndex;
  }

  get runs(): readonly TermRun[] {
    return this.#runs;
  }

  /** Term of the last entry; 0 for an empty log. */
  get lastTerm(): Term {
    return this.termOf(this.lastIndex) ?? toTerm(0);
  }

  /** The next entry has this term. */
  push(index: Index, term: Term): void {
    assert(index === this.lastIndex + 1, `indexes follow each other (${index} after ${this.lastIndex})`);
    const last = this.#runs.at(-1)?.term ?? 0;
    if (term !== last) {
      assert(term > last, `terms never fall along the log (${term} after ${last})`);
      this.#runs.push({ first: index, term });
    }
    this.lastIndex = index;
  }

  /** Entries from `from` on are no longer there. */
  revert(from: Index): void {
    assert(from <= this.lastIndex, 'a revert names an entry that is there');
    this.lastIndex = plus(from, -1);
    while ((this.#runs.at(-1)?.first ?? 0) > this.lastIndex) this.#runs.pop();
  }

  /** Term of the entry at `index`; 0 for index 0; undefined when it is not there, or not known. */
  termOf(index: Index): Term | undefined {
    if (index === 0) return toTerm(0);
    if (index > this.lastIndex) return undefined;
    let low = 0;
    let high = this.#runs.length - 1;
    if (high < 0 || must(this.#runs[0], 'inside').first > index) return undefined;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (must(this.#runs[middle], 'inside').first <= index) low = middle;
      else high = middle - 1;
    }
    return this.#runs[low]?.term;
  }
}
