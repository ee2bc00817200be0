/**
 * Recovery: from segment files to the state they prove, before anything else may run.
 *
 * Reads the whole log (read-log.ts says what is damage: it refuses to open, and no byte is changed). What was torn by
 * a crash was never promised to anybody and is cut off.
 *
 * What is kept but not proven to have been synced is written again before it is synced: after a failed sync the
 * kernel takes its pages for clean, so they can be read (by us, now) and yet never reach the disk.
 *
 * Guarantee: what is recovered is a prefix of what was written, holds everything that was synced, and is synced.
 */
import { assert } from '../../core/base/assert.ts';
import type { Disk, DiskFile } from '../../core/base/env.ts';
import type { Lsn } from '../../core/base/position.ts';
import type { Entry } from '../../core/raft/types.ts';
import { segmentName } from './format.ts';
import type { Place, SegmentBase } from './log-state.ts';
import { type LogTail, readLog } from './read-log.ts';
import type { LogStanding } from './standing.ts';

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
  /** Entries that say who belongs to the cluster, in order. */
  readonly memberEntries: readonly Entry[];
}

/** The part that crosses threads. */
export function endOf(recovered: Recovered): WalEnd {
  const { hardState, firstIndex, baseTerm, lastIndex, runs, lastLsn, firstSegment, bases, tail } = recovered;
  return { hardState, firstIndex, baseTerm, lastIndex, runs, lastLsn, firstSegment, bases, tail };
}

export function recoverWal(disk: Disk, dir: string): Recovered {
  disk.mkdir(dir);
  const records = readLog(disk, dir);
  let step = records.next();
  while (step.done !== true) step = records.next();
  const { state, standing, firstSegment, tail } = step.value;
  if (tail !== undefined) {
    cut(disk, `${dir}/${segmentName(tail.segment)}`, tail);
    disk.syncDir(dir);
  }
  return {
    ...standing,
    lastLsn: state.lastLsn,
    firstSegment,
    bases: state.bases,
    places: state.places,
    tail: tail && { segment: tail.segment, offset: tail.offset, salt: tail.salt },
    trimmedBytes: tail?.tornBytes ?? 0,
    records: state.records,
    memberEntries: state.memberEntries,
  };
}

/** Cuts off what was torn, and makes sure of what was not. */
function cut(disk: Disk, path: string, tail: LogTail): void {
  const file = disk.open(path, 'write');
  try {
    // Also when only zeros follow: what was never promised must not come back behind new records.
    file.truncate(tail.offset);
    rewrite(file, tail.provenTo, tail.offset);
    file.fdatasync();
  } finally {
    file.close();
  }
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
