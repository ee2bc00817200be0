/**
 * RaftLog: the newest entries in memory, the term of every entry, and the watermarks.
 *
 *      first                       stable            last
 *        │ … in memory … │ applying │ committed │ … │
 *  ──────┴───────────────┴──────────┴───────────┴───┴
 *  older entries: read back through LogSource (the WAL)
 *
 * Terms are kept as runs (a new run per election, not per entry), so the term of any index is known without
 * reading it, however old: log matching and catch-up need only that.
 *
 * Invariants:
 *  - indexes have no gaps; terms never fall along the log;
 *  - applying <= min(committed, stable); applied <= applying;
 *  - nothing at or below `committed` is ever truncated;
 *  - only entries at or below min(committed, stable) leave memory.
 */
import { assert, must } from '../base/assert.ts';
import { type Index, plus, type Term, toIndex, toTerm } from '../base/position.ts';
import type { Entry } from './types.ts';

/** Entries no longer in memory, by index; synchronous, answers at least one entry when lo < hi. */
export interface LogSource {
  read(lo: Index, hi: Index, bytesMax: number): Entry[];
}

/** Where each term begins: `[{ first, term }]`, first and term rising. */
export interface TermRun {
  readonly first: Index;
  readonly term: Term;
}

export interface LogStart {
  readonly lastIndex: Index;
  readonly runs: readonly TermRun[];
  readonly committed: Index;
  readonly source: LogSource;
  /** Entries older than these many bytes leave memory when they can. */
  readonly cacheBytesMax: number;
}

/** Bookkeeping per entry beside its data, for budgets. */
export const ENTRY_OVERHEAD_BYTES = 24;

const sizeOf = (entry: Entry): number => entry.data.length + ENTRY_OVERHEAD_BYTES;

export class RaftLog {
  #entries: Entry[] = [];
  /** Index of #entries[0], or last + 1 when none is in memory. */
  #first: Index;
  #bytes = 0;
  readonly #runs: TermRun[];
  readonly #source: LogSource;
  readonly #cacheBytesMax: number;

  /** Index of the newest entry. */
  last: Index;
  /** Synced in this node's WAL up to here; raised by `stableTo`. */
  stable: Index;
  committed: Index;
  /** Handed out to be applied. Invariant: applying <= min(committed, stable). */
  applying: Index = toIndex(0);
  /** Bytes of entries after `committed`. */
  uncommittedBytes = 0;
  /** Bytes of entries after `stable`: what the disk still owes. */
  unstableBytes = 0;

  constructor(start: LogStart) {
    assert(start.committed <= start.lastIndex, 'committed entries are in the log');
    this.last = start.lastIndex;
    this.stable = start.lastIndex;
    this.committed = start.committed;
    this.#first = plus(start.lastIndex, 1);
    this.#runs = [...start.runs];
    this.#source = start.source;
    this.#cacheBytesMax = start.cacheBytesMax;
  }

  get lastTerm(): Term {
    return this.#runs.at(-1)?.term ?? toTerm(0);
  }

  /** Term of the entry at `index`; 0 for index 0; undefined past the end. */
  term(index: Index): Term | undefined {
    if (index > this.last) return undefined;
    if (index === 0) return toTerm(0);
    return this.#runs[this.#runOf(index)]?.term;
  }

  matches(index: Index, term: Term): boolean {
    return this.term(index) === term;
  }

  /** Is a log ending in (index, term) at least as new as this one? (§5.4.1) */
  isUpToDate(index: Index, term: Term): boolean {
    return term > this.lastTerm || (term === this.lastTerm && index >= this.last);
  }

  /** The largest index <= `index` whose term is <= `term`: where two logs may still agree. */
  findByTerm(index: Index, term: Term): Index {
    let at = index < this.last ? index : this.last;
    while (at > 0 && (this.term(at) as Term) > term) {
      const run = must(this.#runs[this.#runOf(at)], 'every index is in a run');
      at = plus(run.first, -1);
    }
    return at;
  }

  /** Puts entries at the end. */
  append(entries: readonly Entry[]): void {
    for (const entry of entries) {
      assert(entry.index === this.last + 1, 'indexes have no gaps');
      assert(entry.term >= this.lastTerm, 'terms never fall along the log');
      if (entry.term !== this.lastTerm) this.#runs.push({ first: entry.index, term: entry.term });
      this.#entries.push(entry);
      this.last = entry.index;
      const bytes = sizeOf(entry);
      this.#bytes += bytes;
      this.uncommittedBytes += bytes;
      this.unstableBytes += bytes;
    }
  }

  /** Reverts the suffix that begins at `from`. */
  truncate(from: Index): void {
    assert(from > this.committed, 'committed entries are never reverted');
    assert(from <= this.last, 'a revert names an entry that is there');
    if (from < this.#first) {
      this.#entries = [];
      this.#bytes = 0;
      this.#first = from;
    } else {
      for (const entry of this.#entries.splice(from - this.#first)) this.#bytes -= sizeOf(entry);
    }
    this.last = plus(from, -1);
    if (this.stable > this.last) this.stable = this.last;
    while ((this.#runs.at(-1)?.first ?? 0) > this.last) this.#runs.pop();
    this.uncommittedBytes = 0;
    this.unstableBytes = 0;
    for (let i = this.#entries.length - 1; i >= 0; i--) {
      const entry = must(this.#entries[i], 'inside the array');
      if (entry.index <= this.committed && entry.index <= this.stable) break;
      if (entry.index > this.committed) this.uncommittedBytes += sizeOf(entry);
      if (entry.index > this.stable) this.unstableBytes += sizeOf(entry);
    }
  }

  /** Everything up to `index` is on this node's disk. */
  stableTo(index: Index): void {
    assert(index <= this.last, 'only entries that are there are synced');
    for (let at = plus(this.stable, 1); at <= index; at = plus(at, 1)) {
      this.unstableBytes -= sizeOf(must(this.#entries[at - this.#first], 'what is not synced is in memory'));
    }
    if (index > this.stable) this.stable = index;
    this.#trim();
  }

  commitTo(index: Index): void {
    if (index <= this.committed) return;
    assert(index <= this.last, 'only entries that are there are committed');
    for (let at = plus(this.committed, 1); at <= index; at = plus(at, 1)) {
      const entry = this.#entries[at - this.#first];
      if (entry !== undefined) this.uncommittedBytes -= sizeOf(entry);
    }
    if (index === this.last || this.uncommittedBytes < 0) this.uncommittedBytes = 0;
    this.committed = index;
    this.#trim();
  }

  /** Entries in [lo, hi), at least one, at most about `bytesMax`; older ones are read back from the WAL. */
  slice(lo: Index, hi: Index, bytesMax: number): Entry[] {
    assert(lo >= 1 && hi <= this.last + 1, 'a slice lies inside the log');
    if (lo >= hi) return [];
    if (lo < this.#first) {
      const older = this.#source.read(lo, hi < this.#first ? hi : this.#first, bytesMax);
      assert(older.length > 0 && older[0]?.index === lo, 'the WAL holds what memory let go');
      assert(
        older.every((entry) => this.matches(entry.index, entry.term)),
        'the WAL and the term runs agree',
      );
      return older;
    }
    const start = lo - this.#first;
    const end = hi - this.#first;
    let bytes = 0;
    let at = start;
    while (at < end) {
      bytes += sizeOf(must(this.#entries[at], 'inside the array'));
      if (bytes > bytesMax && at > start) break;
      at++;
    }
    return this.#entries.slice(start, at);
  }

  /** The next entries to apply; each is handed out once. */
  takeApply(bytesMax: number): Entry[] {
    const end = this.committed < this.stable ? this.committed : this.stable;
    if (this.applying >= end || bytesMax <= 0) return [];
    const entries = this.slice(plus(this.applying, 1), plus(end, 1), bytesMax);
    this.applying = must(entries.at(-1), 'a slice of something is something').index;
    return entries;
  }

  /** Lets old entries go once memory holds more than its budget, a half at a time so that it costs little. */
  #trim(): void {
    if (this.#bytes <= this.#cacheBytesMax) return;
    // Not `applying`: a state machine that lags is fed from the WAL again, and memory stays bounded.
    const keepFrom = this.committed < this.stable ? this.committed : this.stable;
    let count = 0;
    let bytes = this.#bytes;
    while (count < this.#entries.length && bytes > this.#cacheBytesMax / 2) {
      const entry = must(this.#entries[count], 'inside the array');
      if (entry.index > keepFrom) break;
      bytes -= sizeOf(entry);
      count++;
    }
    if (count === 0) return;
    this.#entries = this.#entries.slice(count);
    this.#first = plus(this.#first, count);
    this.#bytes = bytes;
  }

  /** Place in #runs of the run that holds `index` (1 <= index <= last). */
  #runOf(index: Index): number {
    let low = 0;
    let high = this.#runs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (must(this.#runs[middle], 'inside the array').first <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  checkInvariants(): void {
    assert(this.applying <= this.committed, 'applying <= committed');
    assert(this.applying <= this.stable, 'applying <= stable');
    assert(this.committed <= this.last, 'committed <= last');
    assert(this.stable <= this.last, 'stable <= last');
    assert(this.unstableBytes > 0 === this.stable < this.last, 'what is not synced is counted');
    assert(this.#entries.length === 0 || this.#entries[0]?.index === this.#first, 'memory begins at #first');
    assert(this.#first + this.#entries.length === this.last + 1, 'memory ends at last');
  }
}
