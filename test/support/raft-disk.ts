/**
 * RaftDisk: one node's durable log, as the WAL would keep it, and the persists that are on their way there.
 *
 * A persist that was written is synced later, in order. A crash keeps any prefix of what was not synced yet
 * (the bytes may have reached the platter though nobody was told) and loses the rest. All that ever becomes
 * durable is checked here: a term never falls, a vote is never changed within its term, a commit index never
 * falls, and the log has no gap.
 *
 * What the state machine has flushed survives too (`flushed`), and the log's beginning may then be removed (`base`).
 * `entries` still remembers what was removed, for those who look on; the node can read none of it.
 */
import { assert, must } from '../../src/core/base/assert.ts';
import { type Index, type Term, toIndex, toTerm } from '../../src/core/base/position.ts';
import type { MembershipAt } from '../../src/core/raft/configuration.ts';
import type { LogSource, TermRun } from '../../src/core/raft/log.ts';
import { decodeMembership, isMembershipEntry, type Membership } from '../../src/core/raft/membership.ts';
import { type Entry, type HardState, NOBODY, type Persist } from '../../src/core/raft/types.ts';

/** A log as the figures of the paper draw it: the term of each entry, from index 1 on. */
export interface DiskStart {
  readonly terms?: readonly number[];
  readonly term?: number;
  readonly vote?: string;
  readonly commit?: number;
  readonly flushed?: number;
  readonly base?: number;
}

export class RaftDisk implements LogSource {
  hardState: HardState;
  readonly entries: Entry[];
  /** The state machine's own copy of what it had applied. */
  flushed: Index;
  /** Entries up to here are removed. */
  base: Index;
  /** Every revert that was written, oldest first. */
  readonly reverts: Index[] = [];
  /** How often the node had to read back. */
  readCount = 0;
  /** Entries that one read answers at most. */
  readCountMax = 3;
  /** While true, `Cluster.settle` leaves what is written here unsynced. */
  isStalled = false;
  #written: Persist[] = [];

  constructor(start: DiskStart = {}) {
    const terms = start.terms ?? [];
    this.entries = terms.map((term, i) => ({
      index: toIndex(i + 1),
      term: toTerm(term),
      data: new TextEncoder().encode(`${term}:${i + 1}`),
    }));
    this.hardState = {
      term: toTerm(start.term ?? terms.at(-1) ?? 0),
      vote: start.vote ?? NOBODY,
      commit: toIndex(start.commit ?? 0),
    };
    this.flushed = toIndex(start.flushed ?? 0);
    this.base = toIndex(start.base ?? 0);
  }

  get lastIndex(): Index {
    return toIndex(this.entries.length);
  }

  get baseTerm(): Term {
    return this.entries[this.base - 1]?.term ?? toTerm(0);
  }

  /** Persists written and not yet synced. */
  get unsynced(): number {
    return this.#written.length;
  }

  /** Is the entry here, or was it until what it did had been flushed? */
  holds(index: Index, term: number): boolean {
    return this.entries[index - 1]?.term === term;
  }

  write(persist: Persist): void {
    if (persist.revertFrom !== undefined) this.reverts.push(persist.revertFrom);
    this.#written.push(persist);
  }

  /** Makes the oldest written persist durable; returns its seq. */
  sync(): number {
    const persist = must(this.#written.shift(), 'there is something to sync');
    this.#apply(persist);
    return persist.seq;
  }

  /** Of what was not synced, the oldest `kept` persists survive. */
  crash(kept: number): void {
    for (const persist of this.#written.slice(0, kept)) this.#apply(persist);
    this.#written = [];
  }

  flush(index: Index): void {
    assert(index >= this.flushed, 'what was flushed stays');
    assert(index <= this.entries.length, 'what is flushed was applied, and what is applied is durable');
    this.flushed = index;
  }

  /** Removes entries up to `index`, as a WAL removes its oldest segments. */
  removeTo(index: Index): void {
    assert(index >= this.base, 'what was removed does not come back');
    assert(index <= this.flushed, 'what is removed has been flushed');
    this.base = index;
  }

  /** The operator's hand: an empty directory. */
  wipe(): void {
    assert(this.#written.length === 0, 'the node is down');
    this.entries.length = 0;
    this.base = toIndex(0);
    this.flushed = toIndex(0);
    this.hardState = { term: toTerm(0), vote: NOBODY, commit: toIndex(0) };
  }

  /** What a copy of this disk would hold; `load` puts it back, at a node that is down. */
  save(): Pick<RaftDisk, 'hardState' | 'entries' | 'flushed' | 'base'> {
    const { hardState, entries, flushed, base } = this;
    return { hardState, entries: [...entries], flushed, base };
  }

  load({ hardState, entries, flushed, base }: ReturnType<RaftDisk['save']>): void {
    this.wipe();
    this.entries.push(...entries);
    Object.assign(this, { hardState, flushed, base });
  }

  /** The operator's hand: an older copy of another disk, of its first `count` entries. */
  copyFrom({ entries, hardState: { term } }: RaftDisk, count: number): void {
    assert(this.entries.length === 0, 'a copy is put in an empty place');
    this.entries.push(...entries.slice(0, count));
    this.hardState = { term: this.entries.length > 0 ? term : toTerm(0), vote: NOBODY, commit: toIndex(count) };
  }

  read(lo: Index, hi: Index, bytesMax: number): Entry[] {
    assert(lo > this.base, 'nobody reads what was removed');
    assert(lo < hi && hi <= this.entries.length + 1, 'only durable entries are read back');
    this.readCount++;
    const found: Entry[] = [];
    let bytes = 0;
    for (const entry of this.entries.slice(lo - 1, hi - 1)) {
      bytes += entry.data.length;
      if (found.length > 0 && (bytes > bytesMax || found.length >= this.readCountMax)) break;
      found.push(entry);
    }
    return found;
  }

  /** What the state machine says of the members, and what the log says behind that. */
  membership(initial: Membership): MembershipAt {
    const said = this.entries.slice(0, this.flushed).findLast(({ data }) => isMembershipEntry(data));
    if (said === undefined) return { index: toIndex(0), membership: initial };
    return { index: said.index, membership: decodeMembership(said.data) };
  }

  laterMemberships(): MembershipAt[] {
    return this.entries
      .slice(this.flushed)
      .filter(({ data }) => isMembershipEntry(data))
      .map(({ index, data }) => ({ index, membership: decodeMembership(data) }));
  }

  runs(): TermRun[] {
    const runs: TermRun[] = [];
    for (const { index, term } of this.entries.slice(this.base)) {
      if (runs.at(-1)?.term !== term) runs.push({ first: index, term });
    }
    return runs;
  }

  #apply(persist: Persist): void {
    const before = this.hardState;
    const after = persist.hardState;
    assert(after.term >= before.term, 'a durable term never falls');
    const isVoteKept = after.term > before.term || before.vote === NOBODY || before.vote === after.vote;
    assert(isVoteKept, 'a durable vote stands for its term');
    assert(after.commit >= before.commit, 'a durable commit index never falls');
    this.hardState = after;
    if (persist.revertFrom !== undefined) {
      assert(persist.revertFrom <= this.entries.length, 'a revert names an entry that is there');
      assert(persist.revertFrom > before.commit, 'a revert spares what is committed');
      assert(persist.revertFrom > this.flushed, 'a revert spares what is flushed');
      this.entries.length = persist.revertFrom - 1;
    }
    for (const entry of persist.entries) {
      assert(entry.index === this.entries.length + 1, 'a durable log has no gaps');
      this.entries.push(entry);
    }
    assert(after.commit <= this.entries.length, 'what is committed is in the durable log');
    assert((this.entries.at(-1)?.term ?? 0) <= after.term, 'no durable entry is of a term the node has not seen');
  }
}
