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
