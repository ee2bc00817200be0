/**
 * Recovery: from segment files to the state they prove, before anything else may run.
 *
 * Reads every segment in order. A stop inside the last segment is the end of the data; what lies behind it is
 * a torn write if no later chunk proves that the place had been synced, and is then cut off. Anything else is
 * damage: a bad place in an earlier segment (each was synced whole before the next was begun), a missing
 * segment, an LSN that does not follow, proof of sync behind the stop. Damage refuses to open, with file and
 * offset; no byte is changed.
 *
 * What is kept but not proven to have been synced is written again before it is synced: after a failed sync the
 * kernel takes its pages for clean, so they can be read (by us, now) and yet never reach the disk.
 *
 * Guarantee: what is recovered is a prefix of what was written, holds everything that was synced, and is synced.
 */
import { assert } from '../../core/base/assert.ts';
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type Index, type Lsn, plus, toIndex, toLsn, toTerm } from '../../core/base/position.ts';
import type { TermRun } from '../../core/raft/log.ts';
import { type HardState, NOBODY } from '../../core/raft/types.ts';
import { segmentName, segmentNumber } from './format.ts';
import { decodeRecord, type WalRecord } from './payload.ts';
import { findProofOfSync, SegmentScanner } from './scanner.ts';

/** Where a record begins: enough to find the entry `index` by reading on from there. */
export interface Place {
  readonly index: Index;
  readonly lsn: Lsn;
  readonly segment: number;
  readonly offset: number;
}

export interface Recovered {
  readonly lastLsn: Lsn;
  readonly hardState: HardState;
  readonly lastIndex: Index;
  readonly runs: readonly TermRun[];
  /** Waypoints for the catch-up reader, about one per `PLACE_EVERY_BYTES`. */
  readonly places: readonly Place[];
  /** The segment that goes on, and where; undefined when there is none yet. */
  readonly tail: { readonly segment: number; readonly offset: number } | undefined;
  /** Bytes of a torn tail that were cut off, for the log line. */
  readonly trimmedBytes: number;
  readonly records: number;
}

export const PLACE_EVERY_BYTES: number = 256 * 1024;

/** Segment numbers in `dir`, rising; refuses a hole. */
export function listSegments(disk: Disk, dir: string): number[] {
  const numbers = disk
    .list(dir)
    .map(segmentNumber)
    .filter((number) => number !== undefined)
    .sort((a, b) => a - b);
  // None is ever removed yet, so the first is 1.
  for (let i = 0; i < numbers.length; i++) {
    const expected = i + 1;
    if (numbers[i] !== expected) throw damaged(`${dir}/${segmentName(expected)}`, 0, 'the segment is missing');
  }
  return numbers;
}

/** The state that a WAL proves, folded record by record. */
class WalState {
  lastLsn: Lsn = toLsn(0);
  hardState: HardState = { term: toTerm(0), vote: NOBODY, commit: toIndex(0) };
  lastIndex: Index = toIndex(0);
  readonly runs: TermRun[] = [];
  readonly places: Place[] = [];
  #bytesSincePlace = Number.POSITIVE_INFINITY;
  records = 0;
  /** The newest record was a mark: everything before it is proven to be synced. */
  isSealed = false;

  fold(record: WalRecord, place: { segment: number; offset: number; bytes: number }): void {
    assert(record.lsn === this.lastLsn + 1, `LSNs follow each other (${record.lsn} after ${this.lastLsn})`);
    this.lastLsn = record.lsn;
    this.records++;
    this.isSealed = record.kind === 'mark';
    if (record.kind === 'mark') return;
    // A commit index only ever grows; a record written in several parts notes it with the last.
    const { term, vote, commit } = record.hardState;
    this.hardState = { term, vote, commit: commit > this.hardState.commit ? commit : this.hardState.commit };
    if (record.revertFrom !== undefined) this.#revert(record.revertFrom);
    const first = record.entries[0];
    this.#bytesSincePlace += place.bytes;
    if (first !== undefined && this.#bytesSincePlace >= PLACE_EVERY_BYTES) {
      this.places.push({ index: first.index, lsn: record.lsn, segment: place.segment, offset: place.offset });
      this.#bytesSincePlace = 0;
    }
    for (const entry of record.entries) {
      assert(entry.index === this.lastIndex + 1, `indexes follow each other (${entry.index} after ${this.lastIndex})`);
      if (entry.term !== this.runs.at(-1)?.term) this.runs.push({ first: entry.index, term: entry.term });
      this.lastIndex = entry.index;
    }
  }

  #revert(from: Index): void {
    assert(from <= this.lastIndex, 'a revert names an entry that is there');
    this.lastIndex = plus(from, -1);
    while ((this.runs.at(-1)?.first ?? 0) > this.lastIndex) this.runs.pop();
    while ((this.places.at(-1)?.index ?? 0) > this.lastIndex) this.places.pop();
    this.#bytesSincePlace = Number.POSITIVE_INFINITY;
  }
}

export function recoverWal(disk: Disk, dir: string): Recovered {
  disk.mkdir(dir);
  const segments = listSegments(disk, dir);
  const state = new WalState();
  let tail: Recovered['tail'];
  let trimmedBytes = 0;
  for (const [i, segment] of segments.entries()) {
    const path = `${dir}/${segmentName(segment)}`;
    const isLast = i === segments.length - 1;
    const file = disk.open(path, 'write');
    try {
      const { end: offset, provenTo } = readSegment(state, file, segment, path);
      if (!isLast) {
        if (!state.isSealed) throw damaged(path, offset, 'the segment ends before its closing mark');
        // A clean close leaves a mark as well, and the segment goes on behind it.
        if (tornBytes(file, offset) > 0) throw damaged(path, offset, 'what follows the mark cannot be read');
        continue;
      }
      const proof = findProofOfSync(file, segment, offset);
      if (proof !== undefined) throw damaged(path, offset, `the chunk at ${proof} proves that this place was synced`);
      trimmedBytes = tornBytes(file, offset);
      // Cut also when only zeros follow: what was never promised must not come back behind new records.
      file.truncate(offset);
      rewrite(file, provenTo, offset);
      file.fdatasync();
      tail = { segment, offset };
    } finally {
      file.close();
    }
  }
  if (segments.length > 0) disk.syncDir(dir);
  // A commit index may have been noted while entries behind it were still to come; never the reverse.
  assert(state.hardState.commit <= state.lastIndex, 'what was committed is in the log');
  return {
    lastLsn: state.lastLsn,
    hardState: state.hardState,
    lastIndex: state.lastIndex,
    runs: state.runs,
    places: state.places,
    tail,
    trimmedBytes,
    records: state.records,
  };
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
): { end: number; provenTo: number } {
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
  return { end, provenTo };
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
