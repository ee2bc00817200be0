/**
 * What one WAL record says: Raft's Persist (hard state, a revert, entries), a mark, or a base.
 *
 *   record  = lsn u64 | kind u8 | body
 *   persist = term u64 | vote string | commit u64 | revertFrom u64 (0: none) | first u64 | count u32 | entry*
 *   entry   = term u64 | length u32 | data
 *   mark    = (nothing)    ends a segment, written after everything before it was synced (when the next segment is
 *                          begun, and on a clean close): damage before it cannot pass for a torn tail
 *   base    = term u64 | vote string | commit u64 | prevIndex u64 | prevTerm u64 | salt u32
 *                          begins a segment: where the log stood, so that it can be read from here on alone, and
 *                          the salt of the segment's other chunks
 *
 * The replication actor encodes a record with room for the LSN, which the committer fills in.
 */
import { assert } from '../../core/base/assert.ts';
import { ByteReader, type ByteWriter, text } from '../../core/base/bytes.ts';
import { type Index, type Lsn, type Term, toIndex, toLsn, toTerm } from '../../core/base/position.ts';
import type { Entry, HardState, Persist } from '../../core/raft/types.ts';
import type { Standing } from './standing.ts';

/** Writes the LSN into the room that the encoder left for it. */
export function setLsn(record: Uint8Array, lsn: Lsn): void {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  view.setUint32(0, lsn >>> 0, true);
  view.setUint32(4, Math.floor(lsn / 0x1_0000_0000), true);
}

const KIND_PERSIST = 1;
const KIND_MARK = 2;
const KIND_BASE = 3;

export function encodePersist(writer: ByteWriter, persist: Persist): void {
  const { hardState, entries, revertFrom } = persist;
  writer.u64(0).u8(KIND_PERSIST).u64(hardState.term).string(hardState.vote).u64(hardState.commit);
  writer
    .u64(revertFrom ?? 0)
    .u64(entries[0]?.index ?? 0)
    .u32(entries.length);
  for (const entry of entries) writer.u64(entry.term).u32(entry.data.length).raw(entry.data);
}

/** A persist of entries that have one term and no vote behind them: a log of one process, without an object per entry. */
export function encodeEntries(writer: ByteWriter, term: Term, first: Index, data: readonly Uint8Array[]): void {
  encodeEntriesHead(writer, term, first, data.length);
  for (const bytes of data) writer.u64(term).u32(bytes.length).raw(bytes);
}

/** The same for one. */
export function encodeEntry(writer: ByteWriter, term: Term, index: Index, data: Uint8Array): void {
  encodeEntriesHead(writer, term, index, 1);
  writer.u64(term).u32(data.length).raw(data);
}

function encodeEntriesHead(writer: ByteWriter, term: Term, first: Index, count: number): void {
  // lsn | kind | term | vote "" | commit | revertFrom | first | count
  writer.u64(0).u8(KIND_PERSIST).u64(term).varint(0).u64(0).u64(0).u64(first).u32(count);
}

/** A persist that takes the entries from `revertFrom` on out of a log of one process. */
export function encodeRevert(writer: ByteWriter, term: Term, revertFrom: Index): void {
  writer.u64(0).u8(KIND_PERSIST).u64(term).varint(0).u64(0).u64(revertFrom).u64(0).u32(0);
}

export function encodeMark(writer: ByteWriter): void {
  writer.u64(0).u8(KIND_MARK);
}

/** Where the log stands at the end of a segment, and what the next one is salted with. */
export interface Base {
  readonly hardState: HardState;
  readonly prevIndex: Index;
  readonly prevTerm: Term;
  readonly salt: number;
}

export function encodeBase(writer: ByteWriter, base: Base): void {
  const { hardState, prevIndex, prevTerm, salt } = base;
  writer.u64(0).u8(KIND_BASE).u64(hardState.term).string(hardState.vote).u64(hardState.commit);
  writer.u64(prevIndex).u64(prevTerm).u32(salt);
}

export interface PersistRecord {
  readonly kind: 'persist';
  readonly lsn: Lsn;
  readonly hardState: HardState;
  readonly revertFrom: Index | undefined;
  /** Entry data are views of the record's bytes. */
  readonly entries: readonly Entry[];
}

export interface MarkRecord {
  readonly kind: 'mark';
  readonly lsn: Lsn;
}

export interface BaseRecord extends Base {
  readonly kind: 'base';
  readonly lsn: Lsn;
}

export type WalRecord = PersistRecord | MarkRecord | BaseRecord;

/** Reads a record; throws PROTOCOL_ERROR with the offset where it stopped. */
export function decodeRecord(bytes: Uint8Array): WalRecord {
  const reader = new ByteReader(bytes);
  const lsn = toLsn(reader.u64());
  const kind = reader.u8();
  if (kind === KIND_MARK) {
    reader.end();
    return { kind: 'mark', lsn };
  }
  assert(kind === KIND_PERSIST || kind === KIND_BASE, `a WAL record is of a known kind (got ${kind})`);
  const term = toTerm(reader.u64());
  const vote = reader.string();
  const commit = toIndex(reader.u64());
  if (kind === KIND_BASE) {
    const prevIndex = toIndex(reader.u64());
    const prevTerm = toTerm(reader.u64());
    const salt = reader.u32();
    reader.end();
    return { kind: 'base', lsn, hardState: { term, vote, commit }, prevIndex, prevTerm, salt };
  }
  const revertFrom = reader.u64();
  const first = reader.u64();
  const count = reader.u32();
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    const entryTerm = toTerm(reader.u64());
    entries.push({ index: toIndex(first + i), term: entryTerm, data: reader.raw(reader.u32()) });
  }
  reader.end();
  return {
    kind: 'persist',
    lsn,
    hardState: { term, vote, commit },
    revertFrom: revertFrom === 0 ? undefined : toIndex(revertFrom),
    entries,
  };
}

export function isMark(record: Uint8Array): boolean {
  return record[8] === KIND_MARK;
}

/** The salt that a segment's first record sets for those behind it; 0 when it is no base (before there were any). */
export function saltOf(record: Uint8Array): number {
  if (record[8] !== KIND_BASE) return 0;
  return new DataView(record.buffer, record.byteOffset, record.byteLength).getUint32(record.length - 4, true);
}

/** Folds an encoded record into `standing`: it goes by on the put path, so without an object per entry. */
export function foldEncoded(standing: Standing, record: Uint8Array): void {
  if (record[8] !== KIND_PERSIST) return;
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const term = toTerm(u64At(view, 9));
  let at = 18;
  let voteBytes = record[17] as number;
  if (voteBytes >= 0x80) voteBytes = (voteBytes & 0x7f) | ((record[at++] as number) << 7);
  if (!isText(record, at, voteBytes, standing.vote)) standing.vote = text(record.subarray(at, at + voteBytes));
  at += voteBytes;
  standing.say(term, toIndex(u64At(view, at)));
  const revertFrom = u64At(view, at + 8);
  if (revertFrom !== 0) standing.revert(toIndex(revertFrom));
  const first = u64At(view, at + 16);
  const count = view.getUint32(at + 24, true);
  at += 28;
  for (let i = 0; i < count; i++) {
    standing.push((first + i) as Index, u64At(view, at) as Term);
    at += 12 + view.getUint32(at + 8, true);
  }
  assert(at === record.length, 'a record is as long as it says');
}

function u64At(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;
}

/** Whether `bytes[at, at + length)` are this text: most votes are the same as the last, and need not be decoded. */
function isText(bytes: Uint8Array, at: number, length: number, value: string): boolean {
  if (length !== value.length) return false;
  for (let i = 0; i < length; i++) {
    const byte = bytes[at + i] as number;
    if (byte > 0x7f || byte !== value.charCodeAt(i)) return false;
  }
  return true;
}

/** Index of the first entry of an encoded record, without decoding the rest; undefined when it has none. */
export function firstIndexOf(record: Uint8Array): Index | undefined {
  const reader = new ByteReader(record, 8);
  if (reader.u8() !== KIND_PERSIST) return undefined;
  reader.u64();
  reader.blob();
  reader.u64();
  reader.u64();
  const first = reader.u64();
  return first === 0 ? undefined : toIndex(first);
}
