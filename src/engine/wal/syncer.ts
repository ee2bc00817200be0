/**
 * Syncer: waits for the disk, and nothing else.
 *
 * One fdatasync covers everything written before it began; whoever waits is released by the watermark. A sync
 * that fails is never tried again: the kernel marks the lost pages clean, so a later success would prove
 * nothing about them (RELIABILITY §4.14). The WAL is then poisoned and the node stops.
 *
 * Invariant: synced <= logged, and `synced` is the LSN that was logged when the last good sync *began*.
 *
 * On the put path: stop 5 of 9. From wal-committer; to replication, which now may send votes and acks.
 */
import { assert } from '../../core/base/assert.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { Lsn } from '../../core/base/position.ts';

export interface SyncerWorld {
  /** Everything up to here is written. Read before the sync begins. */
  readonly logged: () => Lsn;
  /** Syncs the current segment; throws what the disk says. Read after `logged`: earlier segments are synced. */
  readonly fdatasync: () => void;
}

export class Syncer {
  readonly #world: SyncerWorld;
  #synced: Lsn;
  #failure: StoreError | undefined;
  /** How many syncs were made, for "fsyncs per commit". */
  syncs = 0;

  constructor(world: SyncerWorld, synced: Lsn) {
    this.#world = world;
    this.#synced = synced;
  }

  get synced(): Lsn {
    return this.#synced;
  }

  /** Makes one sync if anything waits for it. Returns the new watermark. Throws DISK_FAILED once and for ever. */
  sync(): Lsn {
    if (this.#failure !== undefined) throw this.#failure;
    const logged = this.#world.logged();
    assert(logged >= this.#synced, 'synced <= logged');
    if (logged === this.#synced) return this.#synced;
    try {
      this.#world.fdatasync();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.#failure = new StoreError('DISK_FAILED', `fdatasync failed: ${reason}; it is not tried again`, { cause });
      throw this.#failure;
    }
    this.syncs++;
    this.#synced = logged;
    return logged;
  }
}
