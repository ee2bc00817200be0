/**
 * ControlState: what control commands read and write of the state, so that they know neither tree nor ledger. Whatever
 * they write belongs to the entry in hand.
 */
import type { StoredValue } from '../store.ts';

export interface ControlState {
  /** Rows of the users' keyspace, which replicas see. A key is written once in an entry. */
  get(key: Uint8Array): Uint8Array | undefined;
  /** The same with its revision and expiry. */
  newest(key: Uint8Array): StoredValue | undefined;
  put(key: Uint8Array, value: Uint8Array): void;
  remove(key: Uint8Array): void;
  /** Keys from `from` up to but without `to`, in order, at most `limit`. */
  keys(from: Uint8Array, to: Uint8Array, limit: number): readonly Uint8Array[];
  /** Private rows (private.ts), which they do not. */
  getPrivate(key: Uint8Array): Uint8Array | undefined;
  putPrivate(key: Uint8Array, value: Uint8Array): void;
  removePrivate(key: Uint8Array): void;
}
