/**
 * LogState: what the records of a log amount to, folded one by one as they are read, and whether each makes sense
 * where it stands. Pure: it is given records, and throws what is wrong with one.
 *
 * Each segment says at its beginning where the log stands (its base). For the first segment that is there it is the
 * only word on what was before; for a later one it is compared with what its predecessors amount to.
 */
import { assert, must } from '../../core/base/assert.ts';
import { type Index, type Lsn, plus, toIndex, toLsn } from '../../core/base/position.ts';
import { isMembershipEntry } from '../../core/raft/membership.ts';
import type { Entry } from '../../core/raft/types.ts';
import type { WalRecord } from './payload.ts';
import { EMPTY_LOG, type LogStanding, Standing } from './standing.ts';

/** Where a record begins: enough to find the entry `index` by reading on from there. */
export interface Place {
  readonly index: Index;
  readonly lsn: Lsn;
  readonly segment: number;
  readonly offset: number;
}

/** How a segment begins: enough to know what goes with those before it. */
export interface SegmentBase {
  readonly segment: number;
  readonly lsn: Lsn;
  /** The last entry before it. */
  readonly prevIndex: Index;
}

export const PLACE_EVERY_BYTES: number = 256 * 1024;

export class LogState {
  lastLsn: Lsn = toLsn(0);
  standing: Standing = new Standing();
  readonly places: Place[] = [];
  readonly bases: SegmentBase[] = [];
  /** Entries that say who belongs to the cluster, of those that are left. */
  memberEntries: Entry[] = [];
  #bytesSincePlace = Number.POSITIVE_INFINITY;
  records = 0;
  /** The newest record was a mark: everything before it is proven to be synced. */
  isSealed = false;

  fold(record: WalRecord, place: { segment: number; offset: number; bytes: number }): void {
    const isFirst = place.offset === 0;
    assert(isFirst || record.kind !== 'base', 'a base begins a segment');
    if (isFirst) this.#beginSegment(record, place.segment);
    assert(record.lsn === this.lastLsn + 1, `LSNs follow each other (${record.lsn} after ${this.lastLsn})`);
    this.lastLsn = record.lsn;
    this.records++;
    this.isSealed = record.kind === 'mark';
    if (record.kind !== 'persist') return;
    const { standing } = this;
    standing.vote = record.hardState.vote;
    standing.say(record.hardState.term, record.hardState.commit);
    if (record.revertFrom !== undefined) this.#revert(record.revertFrom);
    const first = record.entries[0];
    this.#bytesSincePlace += place.bytes;
    if (first !== undefined && this.#bytesSincePlace >= PLACE_EVERY_BYTES) {
      this.places.push({ index: first.index, lsn: record.lsn, segment: place.segment, offset: place.offset });
      this.#bytesSincePlace = 0;
    }
    for (const entry of record.entries) {
      standing.push(entry.index, entry.term);
      // Its bytes are lent.
      if (isMembershipEntry(entry.data)) this.memberEntries.push({ ...entry, data: entry.data.slice() });
    }
  }

  #beginSegment(record: WalRecord, segment: number): void {
    if (record.kind !== 'base') {
      // Logs of the first version have no bases, and all their segments.
      assert(this.bases.length === 0 && (segment === 1 || this.records > 0), 'a segment begins with its base');
      return;
    }
    const { hardState, prevIndex, prevTerm } = record;
    assert(hardState.commit <= prevIndex, 'what was committed is in the log');
    if (this.records === 0 && segment > 1) {
      // What was before is gone; the base says all that is to be known of it.
      this.lastLsn = plus(record.lsn, -1);
      const firstIndex = plus(prevIndex, 1);
      this.standing = new Standing({ hardState, firstIndex, baseTerm: prevTerm, lastIndex: prevIndex, runs: [] });
    } else {
      const { term, vote, commit, lastIndex, lastTerm } = this.standing;
      assert(prevIndex === lastIndex, `a base says where the log stands (${prevIndex}, not ${lastIndex})`);
      assert(lastTerm === undefined || prevTerm === lastTerm, 'a base says the term of the last entry');
      const { hardState: said } = record;
      assert(said.term === term && said.vote === vote && said.commit === commit, 'a base says the hard state');
    }
    this.bases.push({ segment, lsn: record.lsn, prevIndex });
  }

  #revert(from: Index): void {
    this.standing.revert(from);
    while ((this.places.at(-1)?.index ?? 0) >= from) this.places.pop();
    this.memberEntries = this.memberEntries.filter(({ index }) => index < from);
    this.#bytesSincePlace = Number.POSITIVE_INFINITY;
  }

  /**
   * What it all amounts to. The log begins where its first segment does, also when that segment reverted some of what
   * was before it.
   */
  end(firstSegment: number): LogStanding {
    // A commit index may have been noted while entries behind it were still to come; never the reverse.
    assert(this.standing.commit <= this.standing.lastIndex, 'what was committed is in the log');
    if (this.records === 0) return EMPTY_LOG;
    const firstIndex = firstSegment === 1 ? toIndex(1) : plus(must(this.bases[0], 'it begins with one').prevIndex, 1);
    assert(firstIndex <= this.standing.lastIndex + 1, 'a log reaches to where it begins');
    this.standing.beginAt(firstIndex);
    return this.standing.plain();
  }
}
