/**
 * readWal: a log looked at while its writer may be at work.
 *
 * Two things look like damage then and are none:
 *  - Records were written behind the place where the reading stopped, and the newest prove that it was synced. Bytes
 *    that were proven synced are there, so a second look at the place decides: a record stands there now, or it is
 *    damage.
 *  - A segment that nobody needs is given away (its file becomes a spare, and is filled with zeros). It loses its name
 *    first, so whatever was read of a segment that still has its name afterwards is its own.
 */
import { basename, dirname } from 'node:path';
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { isStoreError, StoreError } from '../../core/base/errors.ts';
import { segmentNumber } from '../wal/format.ts';
import { decodeRecord, type WalRecord } from '../wal/payload.ts';
import { openWalReadOnly, type WalEnding, type WalRecordInfo } from '../wal/read-only.ts';
import { findProofOfSync, SegmentScanner } from '../wal/scanner.ts';

/** `gone`: the segment was removed by its writer while it was read. */
export type LogEnding = WalEnding | { readonly state: 'gone'; readonly file: string };

/** A record of one segment alone. */
export interface SegmentRecord {
  readonly offset: number;
  readonly bytes: number;
  readonly syncedOffset: number;
  readonly record: WalRecord;
}

/** All records of the log in `dir`; returns how it ends. Damage is an ending. */
export function* readWal(disk: Disk, dir: string): Generator<WalRecordInfo, LogEnding, undefined> {
  try {
    const ending = yield* openWalReadOnly(dir, { disk }).records();
    return ending.state === 'damaged' ? lookAgain(disk, ending) : ending;
  } catch (error) {
    if (isStoreError(error, 'WAL_CORRUPT')) {
      const { file, offset } = error.data;
      return { state: 'damaged', file: String(file), offset: Number(offset), message: error.message };
    }
    const { code, path } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && path !== undefined && segmentNumber(basename(path)) !== undefined) {
      return { state: 'gone', file: path };
    }
    throw error;
  }
}

function lookAgain(disk: Disk, ending: WalEnding & { readonly state: 'damaged' }): LogEnding {
  const { file: path, offset } = ending;
  if (!disk.exists(path)) return { state: 'gone', file: path };
  const segment = segmentNumber(basename(path));
  const isLast = segment !== undefined && openWalReadOnly(dirname(path), { disk }).segments.at(-1) === segment;
  if (!isLast || !hasRecordAt(disk, path, segment, offset)) return ending;
  return { state: 'whole', file: path, offset, isSealed: false };
}

function hasRecordAt(disk: Disk, path: string, segment: number, offset: number): boolean {
  const file = disk.open(path, 'read');
  try {
    const record = new SegmentScanner(file, segment, offset).next();
    if (record === undefined) return false;
    decodeRecord(record.payload);
    return true;
  } catch {
    // A record that makes no sense is what was found to be damage.
    return false;
  } finally {
    file.close();
  }
}

/** The records of one segment's file, without what is before it; returns how it ends. */
export function* readSegment(disk: Disk, path: string): Generator<SegmentRecord, LogEnding, undefined> {
  const segment = segmentNumber(basename(path));
  if (segment === undefined) throw new StoreError('BAD_REQUEST', `${path} has not the name of a segment`);
  const file = disk.open(path, 'read');
  try {
    const scanner = new SegmentScanner(file, segment);
    let offset = 0;
    let isSealed = false;
    for (let found = scanner.next(); found !== undefined; found = scanner.next()) {
      let record: WalRecord;
      try {
        record = decodeRecord(found.payload);
      } catch (cause) {
        const message = cause instanceof Error ? cause.message : String(cause);
        return { state: 'damaged', file: path, offset: found.start, message };
      }
      yield { offset: found.start, bytes: found.end - found.start, syncedOffset: found.syncedOffset, record };
      offset = found.end;
      isSealed = record.kind === 'mark';
    }
    const end = wholeEnd(file, segment, offset);
    if (end === 'damaged') {
      const message = `what stands at offset ${offset} was synced and cannot be read`;
      return { state: 'damaged', file: path, offset, message };
    }
    const bytes = behind(file, offset);
    return bytes === 0
      ? { state: 'whole', file: path, offset, isSealed }
      : { state: 'torn', file: path, offset, bytes };
  } finally {
    file.close();
  }
}

/**
 * Where the whole records of a segment end, from `from` on, where one begins or none. 'damaged': what stands behind
 * them was synced, and is no record.
 */
export function wholeEnd(file: DiskFile, segment: number, from = 0): number | 'damaged' {
  const scanner = new SegmentScanner(file, segment, from);
  let end = from;
  for (let found = scanner.next(); found !== undefined; found = scanner.next()) end = found.end;
  if (findProofOfSync(file, segment, scanner.salt, end) === undefined) return end;
  // Proven to be synced, so it was written by now.
  return new SegmentScanner(file, segment, end).next() === undefined ? 'damaged' : end;
}

/** Bytes behind `offset` up to the last that is not zero. */
function behind(file: DiskFile, offset: number): number {
  const bytes = new Uint8Array(64 * 1024);
  let last = offset;
  for (let at = offset, read = -1; read !== 0; at += read) {
    read = file.read(bytes, 0, bytes.length, at);
    const end = bytes.subarray(0, read).findLastIndex((byte) => byte !== 0) + 1;
    if (end > 0) last = at + end;
  }
  return last - offset;
}
