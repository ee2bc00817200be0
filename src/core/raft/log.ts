/**
 * RaftLog: the newest entries in memory, the term of every entry, and the watermarks.
 *
 *      base   first                        stable            last
 *  gone  │ … … │ … in memory … │ applying │ committed │ … │
 *  ──────┴─────┴───────────────┴──────────┴───────────┴───┴
 *          older entries: read back through LogSource (the WAL)
 *
 * The log begins behind `base`: entries up to there are gone, because the state machine has flushed what they did.
 * Most often every member holds them; one that does not is sent the state instead. Of them only the term of the last
 * is known, which is what the entry after it is matched by.
 *
 * Terms are kept as runs (a new run per election, not per entry), so the term of any index that is left is known
 * without reading it, however old: log matching and catch-up need only that.
 *
 * Invariants:
 *  - indexes have no gaps; terms never fall along the log;
 *  - base <= applying <= min(committed, stable); applied <= applying;
 *  - nothing at or below `committed` is ever reverted;
 *  - only entries at or below min(committed, stable) leave memory.
 */
import { assert, must } from '../base/assert.ts';
import { type Index, plus, type Term, toIndex } from '../base/position.ts';
import type { Entry } from './types.ts';

/** Entries no longer in memory, by index; synchronous, answers at least one entry when lo < hi. */
export interface LogSource {
  read(lo: Index, hi: Index, bytesMax: number): Entry[];
}

/** Where each term begins: `[{ first, term }]`, first and term rising; the first run begins where the log does. */
export interface TermRun {
  readonly first: Index;
  readonly term: Term;
}

export interface LogStart {
  /** The last entry that is gone, and its term; 0 and 0: none is. */
  readonly baseIndex: Index;
  readonly baseTerm: Term;
  readonly lastIndex: Index;
  /** Of the entries behind the base. */
  readonly runs: readonly TermRun[];
  readonly committed: Index;
  /** The state machine has what these entries did; so they are committed, whatever `committed` knew. */
  readonly appliedIndex: Index;
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
  #inMemory: Index;
  #bytes = 0;
  #runs: TermRun[];
  readonly #source: LogSource;
  readonly #cacheBytesMax: number;

  /** Index of the newest entry that is gone; raised by `compactTo`. */
  base: Index;
  /** Its term. */
  baseTerm: Term;
  /** Index of the newest entry. */
  last: Index;
  /** Synced in this node's WAL up to here; raised by `stableTo`. */
  stable: Index;
  committed: Index;
  /** Handed out to be applied. Invariant: applying <= min(committed, stable). */
  applying: Index;
  /** Every voter holds the committed entries up to here, and will; see Leadership.matchedByAll. Never falls. */
  matchedByAll: Index;
  /** Bytes of entries after `committed`. */
  uncommittedBytes = 0;
  /** Bytes of entries after `stable`: what the disk still owes. */
  unstableBytes = 0;

  constructor(start: LogStart) {
    const { baseIndex, baseTerm, lastIndex, committed, appliedIndex, runs } = start;
    assert(committed <= lastIndex, 'committed entries are in the log');
    assert(appliedIndex >= baseIndex, 'the state machine has what the log has lost');
    assert(appliedIndex <= lastIndex, 'applied entries are in the log');
    assert(baseIndex > 0 === baseTerm > 0, 'every entry has a term, also the last that is gone');
    const [oldest] = runs;
    assert(oldest === undefined ? lastIndex === baseIndex : oldest.first === baseIndex + 1, 'the runs begin at first');
    assert(oldest === undefined || oldest.term >= baseTerm, 'terms never fall along the log');
    this.base = baseIndex;
    this.baseTerm = baseTerm;
    this.last = lastIndex;
    this.stable = lastIndex;
    this.committed = committed > appliedIndex ? committed : appliedIndex;
    this.applying = appliedIndex;
    // Of what is gone this is not known: the leader says.
    this.matchedByAll = toIndex(0);
    this.#inMemory = plus(lastIndex, 1);
    this.#runs = [...runs];
    this.#source = start.source;
    this.#cacheBytesMax = start.cacheBytesMax;
  }

  /** Index of the oldest entry that anybody can read; last + 1 when there is none. */
  get first(): Index {
    return plus(this.base, 1);
  }

  get lastTerm(): Term {
    return this.#runs.at(-1)?.term ?? this.baseTerm;
  }

  /** Term of the entry at `index`, that of the base included (of index 0 it is 0); undefined below it and past the end. */
  term(index: Index): Term | undefined {
    if (index > this.last || index < this.base) return undefined;
    if (index === this.base) return this.baseTerm;
    return this.#runs[this.#runOf(index)]?.term;
  }

  matches(index: Index, term: Term): boolean {
    return this.term(index) === term;
  }

  /** Is a log ending in (index, term) at least as new as this one? (§5.4.1) */
  isUpToDate(index: Index, term: Term): boolean {
    return term > this.lastTerm || (term === this.lastTerm && index >= this.last);
  }

  /**
   * The largest index <= `index` whose term is <= `term`: where two logs may still agree. An answer below the base
   * says that, if they do, it is with entries that are gone.
   */
  findByTerm(index: Index, term: Term): Index {
    let at = index < this.last ? index : this.last;
    while (at > this.base && (this.term(at) as Term) > term) {
      const run = must(this.#runs[this.#runOf(at)], 'every index is in a run');
      at = plus(run.first, -1);
    }
    return at === this.base && this.baseTerm > term ? plus(at, -1) : at;
  }

  /** Puts entries at the end. */
  append(entries: readonly Entry[]): void {
    for (const entry of entries) {
      assert(entry.index === this.last + 1, 'indexes have no gaps');
      assert(entry.term >= this.lastTerm, 'terms never fall along the log');
      // Not `lastTerm`: that may be the base's, which has no run.
      if (entry.term !== this.#runs.at(-1)?.term) this.#runs.push({ first: entry.index, term: entry.term });
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
    if (from < this.#inMemory) {
      this.#entries = [];
      this.#bytes = 0;
      this.#inMemory = from;
    } else {
      for (const entry of this.#entries.splice(from - this.#inMemory)) this.#bytes -= sizeOf(entry);
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
      this.unstableBytes -= sizeOf(must(this.#entries[at - this.#inMemory], 'what is not synced is in memory'));
    }
    if (index > this.stable) this.stable = index;
    this.#trim();
  }

  commitTo(index: Index): void {
    if (index <= this.committed) return;
    assert(index <= this.last, 'only entries that are there are committed');
    for (let at = plus(this.committed, 1); at <= index; at = plus(at, 1)) {
      const entry = this.#entries[at - this.#inMemory];
      if (entry !== undefined) this.uncommittedBytes -= sizeOf(entry);
    }
    if (index === this.last || this.uncommittedBytes < 0) this.uncommittedBytes = 0;
    this.committed = index;
    this.#trim();
  }

  /** Somebody knows that every voter holds the committed entries up to `index`. It may be more than this node has. */
  matchedByAllTo(index: Index): void {
    if (index > this.matchedByAll) this.matchedByAll = index;
  }

  /** The log may begin behind this and nobody misses it: here the entries to it were handed out to be applied. */
  get truncatable(): Index {
    return this.matchedByAll < this.applying ? this.matchedByAll : this.applying;
  }

  /**
   * Lets go of the entries up to `index`, for ever: who owns the WAL may remove them when this returns. Nobody reads
   * them any more: reads are synchronous, and what is still to be handed out, or may still be reverted, lies behind.
   */
  compactTo(index: Index): void {
    if (index <= this.base) return;
    assert(index <= this.applying, 'what goes was handed out to be applied');
    assert(index <= this.committed, 'what goes is committed');
    assert(index <= this.stable, 'what goes is on this disk');
    const term = must(this.term(index), 'what goes was there');
    const kept = index < this.last ? this.#runs.slice(this.#runOf(plus(index, 1))) : [];
    const [oldest] = kept;
    if (oldest !== undefined) kept[0] = { first: plus(index, 1), term: oldest.term };
    this.#runs = kept;
    this.base = index;
    this.baseTerm = term;
    this.#forget(index);
  }

  /** Entries in [lo, hi), at least one, at most about `bytesMax`; older ones are read back from the WAL. */
  slice(lo: Index, hi: Index, bytesMax: number): Entry[] {
    assert(lo >= this.first && hi <= this.last + 1, 'a slice lies inside the log');
    if (lo >= hi) return [];
    if (lo < this.#inMemory) {
      const older = this.#source.read(lo, hi < this.#inMemory ? hi : this.#inMemory, bytesMax);
      assert(older.length > 0 && older[0]?.index === lo, 'the WAL holds what memory let go');
      assert(
        older.every((entry) => this.matches(entry.index, entry.term)),
        'the WAL and the term runs agree',
      );
      return older;
    }
    const start = lo - this.#inMemory;
    const end = hi - this.#inMemory;
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
    if (count > 0) this.#dropFromMemory(count, bytes);
  }

  /** Nothing up to `index` stays in memory. */
  #forget(index: Index): void {
    const count = index - this.#inMemory + 1;
    if (count <= 0) return;
    let bytes = this.#bytes;
    for (let i = 0; i < count; i++) bytes -= sizeOf(must(this.#entries[i], 'what is in memory has no gaps'));
    this.#dropFromMemory(count, bytes);
  }

  /** The oldest `count` entries leave memory, where `bytes` are left. */
  #dropFromMemory(count: number, bytes: number): void {
    this.#entries = this.#entries.slice(count);
    this.#inMemory = plus(this.#inMemory, count);
    this.#bytes = bytes;
  }

  /** Place in #runs of the run that holds `index` (first <= index <= last). */
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
    assert(this.base <= this.applying, 'base <= applying');
    assert(this.base < this.#inMemory, 'nothing that is gone is in memory');
    assert((this.#runs[0]?.first ?? this.last + 1) === this.first, 'the runs begin at first');
    assert(this.applying <= this.committed, 'applying <= committed');
    assert(this.applying <= this.stable, 'applying <= stable');
    assert(this.committed <= this.last, 'committed <= last');
    assert(this.stable <= this.last, 'stable <= last');
    assert(this.unstableBytes > 0 === this.stable < this.last, 'what is not synced is counted');
    assert(this.#entries.length === 0 || this.#entries[0]?.index === this.#inMemory, 'memory begins at #inMemory');
    assert(this.#inMemory + this.#entries.length === this.last + 1, 'memory ends at last');
    let bytes = 0;
    for (const entry of this.#entries) bytes += sizeOf(entry);
    assert(this.#bytes === bytes, 'what is in memory is counted');
  }
}
