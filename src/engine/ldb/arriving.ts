/**
 * Arriving: a snapshot on its way into an LDB, and how far it is, so that it is gone on with after a kill or a lost stream
 * instead of being fetched again from its first row.
 *
 * Rows come in key order and lie where no reader looks (`incoming`). With each transaction of them goes a mark, as the last row
 * of that table:
 *
 *   ff … ff (1978 bytes, LMDB's last key) → version u8 (1) | revision u64 | after blob | rows u64 | bytes u64 | cluster string | flag u8 | [filter] | crc u32
 *
 * Who goes on with it, at a node that is at another revision by now, gets the ledger's records since `revision` first, of which
 * the keys up to `after` are written here, and then the rows behind `after`. So nobody keeps an old state for it, and what lies
 * here is always one state:
 *
 * Invariant: `incoming` holds, but for the mark, the rows of `cluster` at `revision` (as far as `filter` lets them through) whose
 * keys are not behind `after`, and no others. Rows that came out of order have no mark.
 *
 * The mark lies in `incoming` and not in `meta` because a version of ours that knows nothing of it clears the one, and would
 * leave the other.
 */
import { ByteReader, ByteWriter, compareBytes } from '../../core/base/bytes.ts';
import { crc32c } from '../../core/base/crc32c.ts';
import { isStoreError, StoreError } from '../../core/base/errors.ts';
import { type Revision, toIndex } from '../../core/base/position.ts';
import { decodeFilter, encodeFilter, isSameFilter, type LedgerFilter } from '../../core/model/ledger-filter.ts';
import type { LdbPosition } from './format.ts';
import { MARK_KEY, type RowView, type RowWrite } from './store.ts';

/** How far a snapshot is that is not whole. */
export interface SnapshotMark {
  readonly cluster: string;
  /** The rows are those of this revision. */
  readonly revision: Revision;
  /** The last key that is there. */
  readonly after: Uint8Array;
  /** What of the data it is to hold; undefined: everything. */
  readonly filter: LedgerFilter | undefined;
  /** Rows that have come, and bytes of their keys and values. */
  readonly rows: number;
  readonly bytes: number;
}

const VERSION = 1;

export function encodeMark({ revision, after, rows, bytes, cluster, filter }: SnapshotMark): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(128).u8(VERSION).u64(revision).blob(after).u64(rows).u64(bytes).string(cluster);
  writer.u8(filter === undefined ? 0 : 1);
  if (filter !== undefined) writer.raw(encodeFilter(filter));
  return writer.u32(crc32c(writer.view())).take();
}

/** Undefined when it is none, or of another version: what lies there is then of no use. */
export function decodeMark(bytes: Uint8Array): SnapshotMark | undefined {
  if (bytes.length < 4) return undefined;
  const body = bytes.slice(0, -4);
  if (new ByteReader(bytes, body.length).u32() !== crc32c(body)) return undefined;
  const reader = new ByteReader(body);
  try {
    if (reader.u8() !== VERSION) return undefined;
    const [revision, after, rows, count] = [toIndex(reader.u64()), reader.blob(), reader.u64(), reader.u64()];
    const cluster = reader.string();
    const filter = reader.u8() === 0 ? undefined : decodeFilter(reader);
    return { cluster, revision, after, filter, rows, bytes: count };
  } catch (error) {
    if (!isStoreError(error)) throw error;
    return undefined;
  }
}

/** The mark of what lies in `incoming`, if there is one. */
export function readMark(incoming: Pick<RowView, 'get'>): SnapshotMark | undefined {
  const stored = incoming.get(MARK_KEY);
  return stored && decodeMark(stored);
}

/** What is written when rows come, or records; and what is known once that is done. */
interface Step {
  readonly writes: readonly RowWrite[];
  readonly next: Arriving;
}

export class Arriving {
  /** What it will be when it is whole. */
  readonly position: LdbPosition;
  readonly filter: LedgerFilter | undefined;
  /** Where it could be gone on from; undefined: nowhere, as nothing has come, or not in order. */
  readonly mark: SnapshotMark | undefined;
  /** Rows may not come any more in order. */
  readonly #isOrdered: boolean;

  constructor(
    position: LdbPosition,
    filter: LedgerFilter | undefined,
    { mark, isOrdered = true }: { readonly mark?: SnapshotMark | undefined; readonly isOrdered?: boolean } = {},
  ) {
    this.position = position;
    this.filter = filter;
    this.mark = mark;
    this.#isOrdered = isOrdered;
  }

  /** Goes on with `mark`, at another revision. LDB_GAP when that does not follow. */
  static goOn(
    mark: SnapshotMark,
    position: LdbPosition,
    {
      filter,
      from,
    }: { readonly filter: LedgerFilter | undefined; readonly from: Pick<SnapshotMark, 'revision' | 'after'> },
  ): Arriving {
    const isOurs = mark.cluster === position.cluster && isSameFilter(mark.filter, filter);
    // Records may begin before what is there, as old ones are skipped.
    const follows = from.revision <= mark.revision && compareBytes(from.after, mark.after) === 0;
    if (isOurs && follows && position.revision >= mark.revision) return new Arriving(position, filter, { mark });
    const message = `a snapshot at revision ${position.revision} does not go on from the one at revision ${mark.revision} that is here`;
    throw new StoreError('LDB_GAP', message, { data: { revision: position.revision, mark: mark.revision } });
  }

  /** Are its rows of the revision that it is to be of? */
  get isRolledForward(): boolean {
    return this.mark === undefined || this.mark.revision === this.position.revision;
  }

  /** `rows` have come, in the order of `writes`. */
  add(writes: readonly RowWrite[], bytes: number): Step {
    let last = this.mark?.after;
    let isOrdered = this.#isOrdered;
    for (const { key } of writes) {
      isOrdered &&= last === undefined || compareBytes(last, key) < 0;
      last = key;
    }
    if (!isOrdered || last === undefined) return this.#step(writes, undefined, isOrdered);
    const { cluster, revision } = this.position;
    const before = this.mark ?? { rows: 0, bytes: 0 };
    const counts = { rows: before.rows + writes.length, bytes: before.bytes + bytes };
    const mark = { cluster, revision, filter: this.filter, after: last.slice(), ...counts };
    return this.#step(writes, mark, true);
  }

  /** `writes` are what changed up to `revision`; those of keys that have not come yet are left out. */
  roll(writes: readonly RowWrite[], mark: SnapshotMark, revision: Revision): Step {
    const here = writes.filter(({ key }) => compareBytes(key, mark.after) <= 0);
    return this.#step(here, { ...mark, revision }, true);
  }

  #step(writes: readonly RowWrite[], mark: SnapshotMark | undefined, isOrdered: boolean): Step {
    const row = mark && encodeMark(mark);
    return {
      writes: [...writes, { key: MARK_KEY, row }],
      next: new Arriving(this.position, this.filter, { mark, isOrdered }),
    };
  }
}
