/**
 * What a snapshot is made of, as leader and follower say it to each other, and as a follower notes what it is about
 * to receive.
 *
 *   meta  = term u64 | number u64 | index u64 | indexTerm u64 | count u32 | file*
 *   file  = name string | bytes u64 | crc u32
 *
 * The files follow each other as one stream of bytes, in the order of the list; an offset is a place in that stream,
 * so "I have everything up to here" is one number. All that a state needs is in its tables, who the members are too
 * (state-flushed-with-the-memtable.md), so nothing goes beside them.
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import { StoreError } from '../base/errors.ts';
import { type Index, type Term, toIndex, toTerm } from '../base/position.ts';

export interface SnapshotFile {
  readonly name: string;
  readonly bytes: number;
  /** CRC-32C of the whole file. */
  readonly crc: number;
}

export interface SnapshotMeta {
  /** Of the leader that offers it; with `number`, which counts that leader's snapshots, its name. */
  readonly term: Term;
  readonly number: number;
  /** The state after this entry, and the entry's term. */
  readonly index: Index;
  readonly indexTerm: Term;
  readonly files: readonly SnapshotFile[];
}

/** A tree has some ten thousand tables at most; more is a mistake. */
const FILES_MAX = 1_000_000;

export function encodeSnapshotMeta(writer: ByteWriter, meta: SnapshotMeta): void {
  const { term, number, index, indexTerm, files } = meta;
  writer.u64(term).u64(number).u64(index).u64(indexTerm).u32(files.length);
  for (const { name, bytes, crc } of files) writer.string(name).u64(bytes).u32(crc);
}

export function decodeSnapshotMeta(reader: ByteReader): SnapshotMeta {
  const term = toTerm(reader.u64());
  const number = reader.u64();
  const index = toIndex(reader.u64());
  const indexTerm = toTerm(reader.u64());
  const count = reader.u32();
  if (count > FILES_MAX) throw new StoreError('PROTOCOL_ERROR', `a snapshot of ${count} files`);
  const files: SnapshotFile[] = [];
  for (let left = count; left > 0; left--) {
    files.push({ name: reader.string(), bytes: reader.u64(), crc: reader.u32() });
  }
  const meta = { term, number, index, indexTerm, files };
  if (!Number.isSafeInteger(snapshotBytes(meta))) throw new StoreError('PROTOCOL_ERROR', 'a snapshot above 2^53 bytes');
  return meta;
}

export function snapshotBytes({ files }: Pick<SnapshotMeta, 'files'>): number {
  let bytes = 0;
  for (const file of files) bytes += file.bytes;
  return bytes;
}

/** The same state in the same files, whoever offers it: what is there of one is there of the other. */
export function sameContent(a: SnapshotMeta, b: SnapshotMeta): boolean {
  return (
    a.index === b.index &&
    a.indexTerm === b.indexTerm &&
    a.files.length === b.files.length &&
    a.files.every((file, i) => {
      const other = b.files[i];
      return file.name === other?.name && file.bytes === other.bytes && file.crc === other.crc;
    })
  );
}

/** Between the leader and a follower that needs entries which are gone. `term` and `number` name the snapshot. */
export type SnapshotMessage =
  /** From the leader, until it is answered. */
  | { readonly kind: 'snapshotOffer'; readonly meta: SnapshotMeta }
  /** Everything before `offset` is there. `again`: go on from there, whatever was sent since. */
  | {
      readonly kind: 'snapshotWant';
      readonly term: Term;
      readonly number: number;
      readonly offset: number;
      readonly again: boolean;
    }
  | {
      readonly kind: 'snapshotChunk';
      readonly term: Term;
      readonly number: number;
      readonly offset: number;
      readonly crc: number;
      readonly bytes: Uint8Array;
    }
  /** Not needed, or (`isLater`) not now: the disk is full. */
  | { readonly kind: 'snapshotRefused'; readonly term: Term; readonly number: number; readonly isLater: boolean };

const SNAPSHOT_CODE: Readonly<Record<SnapshotMessage['kind'], number>> = {
  snapshotOffer: 20,
  snapshotWant: 21,
  snapshotChunk: 22,
  snapshotRefused: 23,
};

/** A chunk is small enough not to hold up what else is to be sent, and large enough to cost little beside its bytes. */
export const CHUNK_BYTES_MAX: number = 256 * 1024;

export function encodeSnapshot(writer: ByteWriter, message: SnapshotMessage): void {
  writer.u8(SNAPSHOT_CODE[message.kind]);
  if (message.kind === 'snapshotOffer') {
    encodeSnapshotMeta(writer, message.meta);
    return;
  }
  writer.u64(message.term).u64(message.number);
  switch (message.kind) {
    case 'snapshotWant':
      writer.u64(message.offset).u8(message.again ? 1 : 0);
      return;
    case 'snapshotChunk':
      writer.u64(message.offset).u32(message.crc).u32(message.bytes.length).raw(message.bytes);
      return;
    case 'snapshotRefused':
      writer.u8(message.isLater ? 1 : 0);
      return;
  }
}

/** The message behind its code; undefined when the code is none of these. A chunk's bytes are a view. */
export function decodeSnapshot(code: number, reader: ByteReader): SnapshotMessage | undefined {
  if (code === SNAPSHOT_CODE.snapshotOffer) return { kind: 'snapshotOffer', meta: decodeSnapshotMeta(reader) };
  if (code < SNAPSHOT_CODE.snapshotWant || code > SNAPSHOT_CODE.snapshotRefused) return undefined;
  const term = toTerm(reader.u64());
  const number = reader.u64();
  if (code === SNAPSHOT_CODE.snapshotRefused) {
    return { kind: 'snapshotRefused', term, number, isLater: reader.u8() === 1 };
  }
  const offset = reader.u64();
  if (code === SNAPSHOT_CODE.snapshotWant) {
    return { kind: 'snapshotWant', term, number, offset, again: reader.u8() === 1 };
  }
  const crc = reader.u32();
  const length = reader.u32();
  if (length > CHUNK_BYTES_MAX) throw new StoreError('PROTOCOL_ERROR', `a chunk of ${length} bytes`);
  return { kind: 'snapshotChunk', term, number, offset, crc, bytes: reader.raw(length) };
}
