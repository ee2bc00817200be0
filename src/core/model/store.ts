/**
 * Store: what applying a command needs of the state, so that the model knows no memtable.
 */
import type { Revision } from '../base/position.ts';

export interface StoredValue {
  /** The caller's own copy. */
  readonly value: Uint8Array;
  readonly revision: Revision;
  /** Absolute log time at which it goes; 0: never. */
  readonly expiryMs: number;
}

export interface Store {
  /** Makes `value` the key's newest version. Returns whether the key was there before. */
  put(key: Uint8Array, value: Uint8Array, revision: Revision, expiryMs: number): boolean;
  /** Makes the key absent from `revision` on. Returns whether it was there before. */
  remove(key: Uint8Array, revision: Revision): boolean;
  newest(key: Uint8Array): StoredValue | undefined;
  /** Revision of the newest version, or 0 when the key is absent. */
  newestRevision(key: Uint8Array): Revision;
}
