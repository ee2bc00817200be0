/**
 * Recovery: from segment files to the state they prove, before anything else may run.
 *
 * Reads every segment in order. A stop inside the last segment is the end of the data; what lies behind it is
 * a torn write if no later chunk proves that the place had been synced, and is then cut off. Anything else is
 * damage: a bad place in an earlier segment (each was synced whole before the next was begun), a missing
 * segment, an LSN that does not follow, proof of sync behind the stop, a segment without its base. Damage refuses to
 * open, with file and offset; no byte is changed.
 *
 * The first segment may have any number: older ones are removed once nobody needs them, and its base says where the
 * log stood. (Segment 1 may have no base, as the first version wrote it.)
 *
 * What is kept but not proven to have been synced is written again before it is synced: after a failed sync the
 * kernel takes its pages for clean, so they can be read (by us, now) and yet never reach the disk.
 *
 * Guarantee: what is recovered is a prefix of what was written, holds everything that was synced, and is synced.
 */
import { assert, must } from '../../core/base/assert.ts';
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type Index, type Lsn, plus, toIndex, toLsn } from '../../core/base/position.ts';
import { segmentName, segmentNumber } from './format.ts';
import { decodeRecord, type WalRecord } from './payload.ts';
import { findProofOfSync, SegmentScanner } from './scanner.ts';
import { type LogStanding, Standing } from './standing.ts';

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

/** What a committer goes on from; plain data, which crosses threads. */
export interface WalEnd extends LogStanding {
  readonly lastLsn: Lsn;
  /** The oldest segment that is there; 1 when none is. */
  readonly firstSegment: number;
  /** Of the segments that have one: all but those of the first version. */
  readonly bases: readonly SegmentBase[];
  /** The segment that goes on, and where; undefined when there is none yet. */
  readonly tail: { readonly segment: number; readonly offset: number; readonly salt: number } | undefined;
}

export interface Recovered extends WalEnd {
  /** Waypoints for the catch-up reader, about one per `PLACE_EVERY_BYTES`. */
  readonly places: readonly Place[];
  /** Bytes of a torn tail that were cut off, for the log line. */
  readonly trimmedBytes: number;
  readonly records: number;
}

/** The part that crosses threads. */
export function endOf(recovered: Recovered): WalEnd {
  const { hardState, firstIndex, baseTerm, lastIndex, runs, lastLsn, firstSegment, bases, tail } = recovered;
  return { hardState, firstIndex, baseTerm, lastIndex, runs, lastLsn, firstSegment, bases, tail };
}

export const PLACE_EVERY_BYTES: number = 256 * 1024;

/** Segment numbers in `dir`, rising; refuses a hole. The first may be any: older ones were removed. */
export function listSegments(disk: Disk, dir: string): number[] {
  const numbers = disk
    .list(dir)
    .map(segmentNumber)
    .filter((number) => number !== undefined)
    .sort((a, b) => a - b);
  const first = numbers[0] ?? 1;
  for (let i = 0; i < numbers.length; i++) {
    const expected = first + i;
    if (numbers[i] !== expected) throw damaged(`${dir}/${segmentName(expected)}`, 0, 'the segment is missing');
  }
  return numbers;
}

/** The state that a WAL proves, folded record by record. */
class WalState {
  lastLsn: Lsn = toLsn(0);
  standing: Standing = new Standing();
  readonly places: Place[] = [];
  readonly bases: SegmentBase[] = [];
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
    for (const entry of record.entries) standing.push(entry.index, entry.term);
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
    this.#bytesSincePlace = Number.POSITIVE_INFINITY;
  }

  /** The log begins where its first segment does, also when that segment reverted some of what was before it. */
  plain(firstSegment: number): LogStanding {
    const firstIndex = firstSegment === 1 ? toIndex(1) : plus(must(this.bases[0], 'it begins with one').prevIndex, 1);
    assert(firstIndex <= this.standing.lastIndex + 1, 'a log reaches to where it begins');
    this.standing.beginAt(firstIndex);
    return this.standing.plain();
  }
}

export function recoverWal(disk: Disk, dir: string): Recovered {
  disk.mkdir(dir);
  const segments = listSegments(disk, dir);
  const firstSegment = segments[0] ?? 1;
  const state = new WalState();
  let tail: Recovered['tail'];
  let trimmedBytes = 0;
  for (const [i, segment] of segments.entries()) {
    const path = `${dir}/${segmentName(segment)}`;
    const isLast = i === segments.length - 1;
    const file = disk.open(path, 'write');
    try {
      const { end: offset, provenTo, salt } = readSegment(state, file, segment, path);
      const torn = tornBytes(file, offset);
      // A segment gets its name when its base is on disk, and no crash takes that away again. Only the first version
      // left empty ones.
      const mayBeEmpty = torn === 0 && state.bases.length === 0 && (segment === 1 || state.records > 0);
      if (offset === 0 && !mayBeEmpty) throw damaged(path, 0, 'the segment does not begin with its base');
      if (!isLast) {
        if (!state.isSealed) throw damaged(path, offset, 'the segment ends before its closing mark');
        // A clean close leaves a mark as well, and the segment goes on behind it.
        if (torn > 0) throw damaged(path, offset, 'what follows the mark cannot be read');
        continue;
      }
      const proof = findProofOfSync(file, segment, salt, offset);
      if (proof !== undefined) throw damaged(path, offset, `the chunk at ${proof} proves that this place was synced`);
      trimmedBytes = torn;
      // Cut also when only zeros follow: what was never promised must not come back behind new records.
      file.truncate(offset);
      rewrite(file, provenTo, offset);
      file.fdatasync();
      tail = { segment, offset, salt };
    } finally {
      file.close();
    }
  }
  if (segments.length > 0) disk.syncDir(dir);
  return {
    ...end(state, firstSegment, `${dir}/${segmentName(tail?.segment ?? 1)}`, tail?.offset ?? 0),
    lastLsn: state.lastLsn,
    firstSegment,
    bases: state.bases,
    places: state.places,
    tail,
    trimmedBytes,
    records: state.records,
  };
}

/** What all records together say; `path` and `offset` are where they end. */
function end(state: WalState, firstSegment: number, path: string, offset: number): LogStanding {
  try {
    // A commit index may have been noted while entries behind it were still to come; never the reverse.
    assert(state.standing.commit <= state.standing.lastIndex, 'what was committed is in the log');
    return state.plain(firstSegment);
  } catch (cause) {
    throw damaged(path, offset, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

/**
 * Folds a segment's records. Returns the offset after the last good one, and up to where they prove that the
 * segment was synced.
 */
function readSegment(
  state: WalState,
  file: DiskFile,
  segment: number,
  path: string,
): { end: number; provenTo: number; salt: number } {
  const scanner = new SegmentScanner(file, segment);
  // The mark that counts is this segment's own.
  state.isSealed = false;
  let end = 0;
  let provenTo = 0;
  for (let record = scanner.next(); record !== undefined; record = scanner.next()) {
    try {
      state.fold(decodeRecord(record.payload), {
        segment,
        offset: record.start,
        bytes: record.end - record.start,
      });
    } catch (cause) {
      throw damaged(path, record.start, cause instanceof Error ? cause.message : String(cause), cause);
    }
    end = record.end;
    provenTo = Math.max(provenTo, record.syncedOffset);
  }
  return { end, provenTo, salt: scanner.salt };
}

/** Writes [from, to) again as it is, so that the next sync is about these bytes whatever became of the last. */
function rewrite(file: DiskFile, from: number, to: number): void {
  const bytes = new Uint8Array(Math.min(1024 * 1024, to - from));
  for (let at = from; at < to; ) {
    const read = file.read(bytes, 0, Math.min(bytes.length, to - at), at);
    assert(read > 0, 'what was read before can be read again');
    file.write(bytes.subarray(0, read), at);
    at += read;
  }
}

/** Bytes behind `offset` that are not zero-fill: how much of a torn write there is. */
function tornBytes(file: DiskFile, offset: number): number {
  const bytes = new Uint8Array(64 * 1024);
  let last = offset;
  for (let at = offset; ; ) {
    const read = file.read(bytes, 0, bytes.length, at);
    if (read === 0) return last - offset;
    for (let i = read - 1; i >= 0; i--) {
      if (bytes[i] !== 0) {
        last = at + i + 1;
        break;
      }
    }
    at += read;
  }
}

function damaged(path: string, offset: number, what: string, cause?: unknown): StoreError {
  return new StoreError('WAL_CORRUPT', `the WAL is damaged: ${path} at offset ${offset}: ${what}`, {
    cause,
    data: { file: path, offset },
  });
}
