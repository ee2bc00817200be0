/**
 * readLog: every record of a log in order, and a verdict on how it ends. It changes nothing.
 *
 * A stop inside the last segment is the end of the data; what lies behind it is a torn write if no later chunk proves
 * that the place had been synced. Anything else is damage, and thrown as WAL_CORRUPT with file and offset: a bad place
 * in an earlier segment (each was synced whole before the next was begun), a missing segment, a record that does not
 * follow, proof of sync behind the stop, a segment without its base.
 *
 * The first segment may have any number: older ones are removed once nobody needs them, and its base says where the
 * log stood. (Segment 1 may have no base, as the first version wrote it.)
 */
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { segmentName, segmentNumber } from './format.ts';
import { LogState } from './log-state.ts';
import { decodeRecord, type WalRecord } from './payload.ts';
import { findProofOfSync, SegmentScanner } from './scanner.ts';
import type { LogStanding } from './standing.ts';
import { endOfContent } from './zeros.ts';

/** A record with its place. What it holds are views that live until the next is asked for. */
export interface LogRecord {
  readonly record: WalRecord;
  readonly segment: number;
  /** Offset of its first chunk, and behind its last. */
  readonly start: number;
  readonly end: number;
  /** Its chunks say that the segment was synced up to here before they were written. */
  readonly syncedOffset: number;
}

/** How the last segment ends. */
export interface LogTail {
  readonly segment: number;
  readonly salt: number;
  /** Behind the last record. */
  readonly offset: number;
  /** Its records prove that it was synced up to here. */
  readonly provenTo: number;
  /** Bytes behind the last record that are torn. */
  readonly tornBytes: number;
}

export interface LogEnd {
  readonly state: LogState;
  readonly standing: LogStanding;
  /** 1 when there is none. */
  readonly firstSegment: number;
  /** Undefined: there is no segment. */
  readonly tail: LogTail | undefined;
}

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

export function* readLog(disk: Disk, dir: string): Generator<LogRecord, LogEnd, undefined> {
  const segments = listSegments(disk, dir);
  const firstSegment = segments[0] ?? 1;
  const lastSegment = segments.at(-1);
  const state = new LogState();
  let tail: LogTail | undefined;
  for (const segment of segments) {
    const path = `${dir}/${segmentName(segment)}`;
    const file = disk.open(path, 'read');
    try {
      const { offset, provenTo, salt } = yield* readSegment(state, file, segment, path);
      const torn = tornBytes(file, offset);
      // A segment gets its name when its base is on disk, and no crash takes that away again. Only the first version
      // left empty ones.
      const mayBeEmpty = torn === 0 && state.bases.length === 0 && (segment === 1 || state.records > 0);
      if (offset === 0 && !mayBeEmpty) throw damaged(path, 0, 'the segment does not begin with its base');
      if (segment !== lastSegment) {
        if (!state.isSealed) throw damaged(path, offset, 'the segment ends before its closing mark');
        // A clean close leaves a mark as well, and the segment goes on behind it.
        if (torn > 0) throw damaged(path, offset, 'what follows the mark cannot be read');
        continue;
      }
      const proof = findProofOfSync(file, segment, salt, offset);
      if (proof !== undefined) throw damaged(path, offset, `the chunk at ${proof} proves that this place was synced`);
      tail = { segment, salt, offset, provenTo, tornBytes: torn };
    } finally {
      file.close();
    }
  }
  return { state, standing: standingOf(state, firstSegment, dir, tail), firstSegment, tail };
}

function standingOf(state: LogState, firstSegment: number, dir: string, tail: LogTail | undefined): LogStanding {
  try {
    return state.end(firstSegment);
  } catch (cause) {
    throw damaged(`${dir}/${segmentName(tail?.segment ?? 1)}`, tail?.offset ?? 0, reasonOf(cause), cause);
  }
}

/**
 * Folds a segment's records. Returns the offset behind the last good one, and up to where they prove that the segment
 * was synced.
 */
function* readSegment(
  state: LogState,
  file: DiskFile,
  segment: number,
  path: string,
): Generator<LogRecord, Pick<LogTail, 'offset' | 'provenTo' | 'salt'>, undefined> {
  const scanner = new SegmentScanner(file, segment);
  // The mark that counts is this segment's own.
  state.isSealed = false;
  let offset = 0;
  let provenTo = 0;
  for (let found = scanner.next(); found !== undefined; found = scanner.next()) {
    const { start, end, syncedOffset } = found;
    let record: WalRecord;
    try {
      record = decodeRecord(found.payload);
      state.fold(record, { segment, offset: start, bytes: end - start });
    } catch (cause) {
      throw damaged(path, start, reasonOf(cause), cause);
    }
    yield { record, segment, start, end, syncedOffset };
    offset = end;
    if (syncedOffset > provenTo) provenTo = syncedOffset;
  }
  return { offset, provenTo, salt: scanner.salt };
}

/** Bytes behind `offset` that are not zero-fill: how much of a torn write there is. */
function tornBytes(file: DiskFile, offset: number): number {
  const bytes = new Uint8Array(Math.max(1, Math.min(64 * 1024, file.size() - offset)));
  let last = offset;
  for (let at = offset; ; ) {
    const read = file.read(bytes, 0, bytes.length, at);
    if (read === 0) return last - offset;
    const end = endOfContent(bytes, read);
    if (end > 0) last = at + end;
    at += read;
  }
}

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

function damaged(path: string, offset: number, what: string, cause?: unknown): StoreError {
  return new StoreError('WAL_CORRUPT', `the WAL is damaged: ${path} at offset ${offset}: ${what}`, {
    cause,
    data: { file: path, offset },
  });
}
