/**
 * openWalReadOnly: a log looked at, for tools: every record with its place, and how the log ends. It takes no lock,
 * repairs nothing and writes nothing, so it may be used beside the process that writes: the end is then what it
 * happened to be, and a segment that is removed meanwhile ends the reading with ENOENT.
 */
import type { Disk } from '../../core/base/env.ts';
import { isStoreError, StoreError } from '../../core/base/errors.ts';
import type { Index, Lsn, Term } from '../../core/base/position.ts';
import { nodeDisk } from '../disk/node-disk.ts';
import { segmentName } from './format.ts';
import type { WalRecord } from './payload.ts';
import { listSegments, type LogEnd, type LogRecord, readLog } from './read-log.ts';

export interface WalRecordInfo {
  readonly file: string;
  readonly segment: number;
  readonly offset: number;
  /** On disk, headers and trailers included. */
  readonly bytes: number;
  readonly lsn: Lsn;
  readonly kind: WalRecord['kind'];
  /** Its entries; undefined when it has none. */
  readonly indexes: { readonly first: Index; readonly last: Index } | undefined;
  /** Term of the last entry, or else of the hard state; undefined for a mark. */
  readonly term: Term | undefined;
  /** The segment was synced up to here before it was written. */
  readonly syncedOffset: number;
  /** All of it; its bytes are valid until the next is asked for. */
  readonly record: WalRecord;
}

export type WalEnding =
  /** No segment. */
  | { readonly state: 'empty' }
  /** By a clean close, or by nothing that is missing: `isSealed` tells. */
  | { readonly state: 'whole'; readonly file: string; readonly offset: number; readonly isSealed: boolean }
  /** By a write that a crash tore; the next start cuts it off. */
  | { readonly state: 'torn'; readonly file: string; readonly offset: number; readonly bytes: number }
  /** No start goes past this. */
  | { readonly state: 'damaged'; readonly file: string; readonly offset: number; readonly message: string };

export interface ReadOnlyWal {
  readonly dir: string;
  /** Numbers of the segments, rising. */
  readonly segments: readonly number[];
  /** All records in order; returns how the log ends. Damage is an ending, and not thrown. */
  records(): Generator<WalRecordInfo, WalEnding, undefined>;
}

/** BAD_REQUEST when there is no such directory, WAL_CORRUPT when a segment is missing. */
export function openWalReadOnly(dir: string, options: { readonly disk?: Disk } = {}): ReadOnlyWal {
  const disk = options.disk ?? nodeDisk;
  if (!disk.exists(dir)) throw new StoreError('BAD_REQUEST', `there is no directory ${dir}`);
  return { dir, segments: listSegments(disk, dir), records: () => records(disk, dir) };
}

function* records(disk: Disk, dir: string): Generator<WalRecordInfo, WalEnding, undefined> {
  const log = readLog(disk, dir);
  try {
    for (;;) {
      const step = nextOf(log);
      if ('state' in step) return step;
      if (step.done === true) return endingOf(step.value, dir);
      yield infoOf(step.value, dir);
    }
  } finally {
    // Whoever stops early leaves no file open.
    log.return(undefined as never);
  }
}

function nextOf(log: Generator<LogRecord, LogEnd, undefined>): IteratorResult<LogRecord, LogEnd> | WalEnding {
  try {
    return log.next();
  } catch (error) {
    if (!isStoreError(error, 'WAL_CORRUPT')) throw error;
    const { file, offset } = error.data;
    return { state: 'damaged', file: String(file), offset: Number(offset), message: error.message };
  }
}

function endingOf({ state, tail }: LogEnd, dir: string): WalEnding {
  if (tail === undefined) return { state: 'empty' };
  const { segment, offset, tornBytes: bytes } = tail;
  const file = `${dir}/${segmentName(segment)}`;
  if (bytes > 0) return { state: 'torn', file, offset, bytes };
  return { state: 'whole', file, offset, isSealed: state.isSealed };
}

function infoOf({ record, segment, start, end, syncedOffset }: LogRecord, dir: string): WalRecordInfo {
  const entries = record.kind === 'persist' ? record.entries : [];
  const [first] = entries;
  const last = entries.at(-1);
  return {
    file: `${dir}/${segmentName(segment)}`,
    segment,
    offset: start,
    bytes: end - start,
    lsn: record.lsn,
    kind: record.kind,
    indexes: first && last && { first: first.index, last: last.index },
    term: last?.term ?? (record.kind === 'mark' ? undefined : record.hardState.term),
    syncedOffset,
    record,
  };
}
