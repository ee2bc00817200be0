/**
 * Ledger: what each revision changed, as one record; the only thing that watches and LDBs are fed from.
 *
 * Every index of the log yields exactly one record, also when it changed nothing (an election's no-op, a clock
 * entry): a reader can then tell a gap from silence by counting, and learns how old its copy is.
 *
 *   record  = revision u64 | timeMs f64 | body length u32 | body
 *   body    = change*                            (empty: the revision changed nothing)
 *   change  = op u8 | key blob                   (op 0: delete)
 *           | op u8 | key blob | expiryMs f64 | value blob     (op 1: put; expiryMs 0 = never)
 *   blob    = length varint | bytes
 *
 * A key stands at most once in a record. The record is the unit of atomicity: nobody shows half of one.
 */
import { ByteReader, type ByteWriter } from '../base/bytes.ts';
import { StoreError } from '../base/errors.ts';
import { type Revision, toIndex } from '../base/position.ts';

export const RECORD_HEADER_BYTES = 20;

export interface Change {
  readonly kind: 'put' | 'delete';
  readonly key: Uint8Array;
  /** Empty for a delete. */
  readonly value: Uint8Array;
  /** Absolute log time at which the value goes, or 0 for never. */
  readonly expiryMs: number;
}

export interface LedgerRecord {
  readonly revision: Revision;
  /** Log time: the leader's clock when it proposed this entry. Never goes back. */
  readonly timeMs: number;
  readonly changes: readonly Change[];
}

export function encodeChange(writer: ByteWriter, change: Change): void {
  if (change.kind === 'delete') writer.u8(0).blob(change.key);
  else writer.u8(1).blob(change.key).f64(change.expiryMs).blob(change.value);
}

export function encodeRecord(writer: ByteWriter, record: LedgerRecord): void {
  writer.u64(record.revision).f64(record.timeMs);
  const lengthAt = writer.length;
  writer.u32(0);
  for (const change of record.changes) encodeChange(writer, change);
  writer.patchU32(lengthAt, writer.length - lengthAt - 4);
}

/** The changes of a record's body; keys and values are views of `body`. */
export function decodeChanges(body: Uint8Array): Change[] {
  const changes: Change[] = [];
  const reader = new ByteReader(body);
  while (reader.left > 0) {
    const op = reader.u8();
    const key = reader.blob();
    if (op === 0) changes.push({ kind: 'delete', key, value: body.subarray(0, 0), expiryMs: 0 });
    else if (op === 1) {
      const expiryMs = reader.f64();
      changes.push({ kind: 'put', key, value: reader.blob(), expiryMs });
    } else throw new StoreError('PROTOCOL_ERROR', `unknown change ${op} in a ledger record`);
  }
  return changes;
}

/** All records in `bytes`, one after the other; keys and values are views of `bytes`. */
export function decodeRecords(bytes: Uint8Array): LedgerRecord[] {
  const records: LedgerRecord[] = [];
  const reader = new ByteReader(bytes);
  while (reader.left > 0) {
    const revision = toIndex(reader.u64());
    const timeMs = reader.f64();
    records.push({ revision, timeMs, changes: decodeChanges(reader.raw(reader.u32())) });
  }
  return records;
}

/** Where in `chunk`, which holds whole records, the one of `revision` or the next after it begins. */
export function firstRecordFrom(chunk: Uint8Array, revision: number): number {
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  let at = 0;
  while (at < chunk.length && revisionAt(view, at) < revision) at += recordBytesAt(view, at);
  return at;
}

/** The revision of the last record in `chunk`, which holds whole records; 0 when it holds none. */
export function lastRevisionIn(chunk: Uint8Array): number {
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  let last = 0;
  for (let at = 0; at < chunk.length; at += recordBytesAt(view, at)) last = revisionAt(view, at);
  return last;
}

/** The revision of the first record in `chunk`. */
export const firstRevisionIn = (chunk: Uint8Array): number =>
  revisionAt(new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength), 0);

const revisionAt = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;
const recordBytesAt = (view: DataView, at: number): number =>
  RECORD_HEADER_BYTES + view.getUint32(at + RECORD_HEADER_BYTES - 4, true);
