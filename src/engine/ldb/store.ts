/**
 * LdbStore: what an LDB's writer needs of whatever keeps its rows: tables of bytes, and transactions that are all or nothing.
 *
 * The writer (writer.ts) decides what is written; a store writes it. LMDB is the one that programs read (lmdb-store.ts). The
 * simulator has another one, in memory, that dies between any two of these calls.
 */

import { LDB_KEY_BYTES_MAX } from './format.ts';

/** The last key there can be, which no row has: in `incoming`, how far the snapshot is that lies there (arriving.ts). */
export const MARK_KEY: Uint8Array = new Uint8Array(LDB_KEY_BYTES_MAX).fill(0xff);

/** A key and its row (format.ts); no row: delete. */
export interface RowWrite {
  readonly key: Uint8Array;
  readonly row: Uint8Array | undefined;
}

/** A key of `meta` and its value; no value: delete. */
export interface MetaWrite {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

export interface SnapshotCounts {
  /** Rows of the snapshot. */
  readonly rows: number;
  /** Rows that were new or different. */
  readonly put: number;
  /** Rows that the snapshot did not have. */
  readonly removed: number;
}

/** Rows as of the last transaction; of use until the next one. */
export interface RowView {
  /** The caller's own. */
  get(key: Uint8Array): Uint8Array | undefined;
  /** Those from `from` up to but without `to` (undefined: to the end), in the order of their keys. */
  range(from: Uint8Array, to: Uint8Array | undefined): Iterable<{ readonly key: Uint8Array; readonly row: Uint8Array }>;
}

/** Given one call at a time. What rejects (with the system's reason) leaves it of no more use, but for `close`. */
export interface LdbStore {
  /** A value of `meta`, as of the last transaction. */
  meta(key: Uint8Array): Uint8Array | undefined;
  /** What readers see, or what `addIncoming` kept. */
  view(of: 'rows' | 'incoming'): RowView;
  /**
   * One transaction. Resolves when it is on disk and every reader sees it; the bytes are the store's until then. All of
   * them were checked: a store that cannot take one fails. `records`: the whole records that these rows come from, for a
   * store that keeps some of the ledger (kept-ledger.ts).
   */
  commit(rows: readonly RowWrite[], meta: readonly MetaWrite[], records: readonly Uint8Array[]): Promise<void>;
  /** Keeps rows of a snapshot, where no reader sees them: in any order, the last of a key counts. */
  addIncoming(rows: readonly RowWrite[]): Promise<void>;
  /** Forgets what `addIncoming` kept, in this life or an earlier one. */
  dropIncoming(): Promise<void>;
  /** One transaction: the rows become those that `addIncoming` kept, but for the mark; and none is kept any longer. */
  adoptIncoming(meta: readonly MetaWrite[]): Promise<SnapshotCounts>;
  /** Resolves once all that was committed is on disk. */
  flushed(): Promise<void>;
  /** Waits for the transaction under way, and lets another writer have the LDB. May be called once. */
  close(): Promise<void>;
}
