/**
 * LedgerHash: the cluster's state hash (core/model/state-hash.ts), computed by an LDB from the records that it applies,
 * and compared with what the cluster says at some revisions.
 *
 * It finds a replica that was fed by a node whose state was another one (bad memory, a bug that was not the same
 * everywhere), or fed wrongly: from then on all its hashes are others. An LDB begins to know it at its first revision,
 * or, behind a snapshot, with the first mark that comes by.
 *
 *   meta 'hash' → revision u64 | hash u32 | crc32c u32        of the position's revision, or of no meaning
 */
import { ByteReader, ByteWriter } from '../../core/base/bytes.ts';
import { crc32c } from '../../core/base/crc32c.ts';
import { StoreError } from '../../core/base/errors.ts';
import { firstRecordFrom, lastRevisionIn } from '../../core/model/ledger.ts';
import { checksum } from '../disk/checksum.ts';

/** What the cluster says of its state at a revision. */
export interface HashMark {
  readonly revision: number;
  readonly hash: number;
}

/**
 * The hash behind `pieces` (whole records, in order) from what it was at `position`; undefined: not known. Throws
 * LDB_CORRUPT, with `data.stateHash`, when a mark says that it is another one.
 */
export function foldRecords(
  before: number | undefined,
  position: number,
  pieces: readonly Uint8Array[],
  marks: readonly HashMark[],
): number | undefined {
  let hash = before;
  let next = position + 1;
  const due = marks.filter(({ revision }) => revision >= next).toSorted((a, b) => a.revision - b.revision);
  for (const piece of pieces) {
    const last = lastRevisionIn(piece);
    let at = firstRecordFrom(piece, next);
    const foldTo = (end: number): void => {
      if (hash !== undefined) hash = checksum(piece, at, end, hash);
      at = end;
    };
    for (let mark = due[0]; mark !== undefined && mark.revision <= last; mark = due[0]) {
      foldTo(firstRecordFrom(piece, mark.revision + 1));
      hash = compared(hash, mark);
      due.shift();
    }
    foldTo(piece.length);
    next = Math.max(next, last + 1);
  }
  return hash;
}

function compared(hash: number | undefined, mark: HashMark): number {
  if (hash === undefined || hash === mark.hash) return mark.hash;
  const message = `at revision ${mark.revision} the LDB has state hash ${hex(hash)}, and the cluster ${hex(mark.hash)}`;
  throw new StoreError('LDB_CORRUPT', message, { data: { stateHash: hex(hash), ...mark } });
}

/** Says `foldRecords` that the LDB is another one than the cluster? A snapshot cures that. */
export const isHashMismatch = (error: unknown): error is StoreError =>
  error instanceof StoreError && error.code === 'LDB_CORRUPT' && error.data['stateHash'] !== undefined;

export function encodeHash({ revision, hash }: HashMark): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(16).u64(revision).u32(hash);
  return writer.u32(crc32c(writer.view())).take();
}

/** Undefined when it is none, or of another revision: an older version of ours wrote the LDB meanwhile. */
export function decodeHash(bytes: Uint8Array, length: number, revision: number): number | undefined {
  if (length !== HASH_BYTES) return undefined;
  const reader = new ByteReader(bytes.subarray(0, length));
  const body = reader.raw(HASH_BYTES - 4);
  if (reader.u32() !== crc32c(body)) return undefined;
  const stored = new ByteReader(body);
  return stored.u64() === revision ? stored.u32() : undefined;
}

const HASH_BYTES = 16;
const hex = (hash: number): string => hash.toString(16).padStart(8, '0');
