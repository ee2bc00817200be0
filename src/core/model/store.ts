/**
 * Store: what applying a command needs of the state, so that the model knows no memtable.
 */
import type { Revision } from '../base/position.ts';

export interface StoredValue {
  /** The caller's own copy. */
  readonly value: Uint8Array;
  readonly revision: Revision;
  /** Absolute log time at which it goes, or later; 0: never. */
  readonly expiryMs: number;
}

export interface Store {
  /** Makes `value` the key's newest version. */
  put(key: Uint8Array, value: Uint8Array, revision: Revision, expiryMs: number): void;
  /** Makes the key absent from `revision` on. */
  remove(key: Uint8Array, revision: Revision): void;
  /** Remembers that what `revision` wrote to `key` expires at that age (log-time.ts), over a restart. */
  expect(key: Uint8Array, expiryMs: number, revision: Revision): void;
  /** The expiry of what `written` wrote to `key` has been dealt with, at `revision`. */
  expected(key: Uint8Array, expiryMs: number, written: Revision, revision: Revision): void;
  /** Keeps an entry that is none of the model's; only the newest of them is wanted. */
  keepForeign(entry: Uint8Array, revision: Revision): void;
  newest(key: Uint8Array): StoredValue | undefined;
  /** Revision of the newest version, or 0 when the key is absent. */
  newestRevision(key: Uint8Array): Revision;
  /** Keys from `from` up to but without `to`, in order, at most `limit`; the caller's own copies. */
  keys(from: Uint8Array, to: Uint8Array, limit: number): Uint8Array[];
  /** Rows that are in no ledger record (control/private.ts). */
  newestPrivate(key: Uint8Array): Uint8Array | undefined;
  putPrivate(key: Uint8Array, value: Uint8Array, revision: Revision): void;
  removePrivate(key: Uint8Array, revision: Revision): void;
}
