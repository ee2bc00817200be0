/**
 * WalSyncer: the actor that waits for the disk. In a turn it syncs once for everything logged before the sync began,
 * and rings replication: promises may leave.
 *
 * A failed sync throws and ends the actor, which stops the node: `syncedLsn` never reaches what was not synced, so
 * nothing of it is ever acked.
 *
 * On the put path: stop 5 of 9. From wal-committer; to replication.
 */
import { type Lsn, toLsn } from '../core/base/position.ts';
import { Syncer } from '../engine/wal/syncer.ts';
import type { SyncerFacts } from './facts.ts';
import type { Bell } from './runtime/bell.ts';
import type { Shared } from './shared.ts';
import { syncAlone } from './sync-alone.ts';

export interface WalSyncerWorld {
  readonly shared: Shared;
  /** LSN of the newest record at the start. */
  readonly lastLsn: number;
  /** Syncs the segment in use. `fd`: what the wal-committer has it open as, where that means anything to the caller. */
  readonly fdatasync: (fd: number) => void;
  /** Time from any start, for the gauge of how long syncs take. */
  readonly micros: () => number;
}

export class WalSyncer {
  readonly #world: WalSyncerWorld;
  readonly #shared: Shared;
  readonly #replication: Bell;
  readonly #loggedLsn: () => number;
  readonly #syncer: Syncer;
  readonly #sync: () => Lsn;

  constructor(world: WalSyncerWorld) {
    const { shared, fdatasync } = world;
    this.#world = world;
    this.#shared = shared;
    this.#replication = shared.bell('replication');
    const loggedLsn = shared.reader('loggedLsn');
    const walFd = shared.reader('walFd');
    this.#loggedLsn = loggedLsn;
    this.#syncer = new Syncer(
      { logged: () => loggedLsn() as Lsn, fdatasync: () => fdatasync(walFd()) },
      toLsn(world.lastLsn),
    );
    this.#sync = () => this.#syncer.sync();
  }

  /** Says whether there was something to sync. */
  turn(): boolean {
    const shared = this.#shared;
    if (this.#loggedLsn() === this.#syncer.synced) return false;
    const startedAt = this.#world.micros();
    const synced = syncAlone(shared, this.#sync);
    shared.add('syncs', 1);
    shared.add('syncMicros', Math.floor(this.#world.micros() - startedAt));
    // Noted first: once the mark is there the answer may leave.
    if (shared.stages.isArmed) shared.stages.reached('synced', synced - shared.get('walMarks'));
    shared.set('syncedLsn', synced);
    this.#replication.ring();
    return true;
  }

  inspect(): SyncerFacts {
    return { synced: this.#syncer.synced, syncs: this.#syncer.syncs };
  }
}
