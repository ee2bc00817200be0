/**
 * syncer: the thread that waits for the disk. It parks until something is logged, syncs once for everything
 * logged before the sync began, and rings replication (promises may leave) and the committer.
 *
 * A failed sync ends this thread, which stops the node: `syncedLsn` never reaches what was not synced, so
 * nothing of it is ever acked.
 *
 * On the put path: stop 5 of 9. From wal-committer; to replication.
 */
import { fdatasyncFd } from '../engine/disk/node-disk.ts';
import { Syncer } from '../engine/wal/syncer.ts';
import { type Lsn, toLsn } from '../core/base/position.ts';
import { park } from './runtime/bell.ts';
import type { StartActor } from './runtime/thread.ts';
import { Shared } from './shared.ts';
import { syncAlone } from './sync-alone.ts';

export interface SyncerArgs {
  readonly shared: SharedArrayBuffer;
  readonly lastLsn: number;
}

export const url: string = import.meta.url;

export const start: StartActor<SyncerArgs, undefined> = (args) => {
  const shared = new Shared(args.shared);
  const replication = shared.bell('replication');
  const loggedLsn = shared.reader('loggedLsn');
  const walFd = shared.reader('walFd');
  const syncer = new Syncer(
    { logged: () => loggedLsn() as Lsn, fdatasync: () => fdatasyncFd(walFd()) },
    toLsn(args.lastLsn),
  );

  const turn = (): boolean => {
    const before = syncer.synced;
    const startedAt = process.hrtime.bigint();
    if (loggedLsn() === before) return false;
    const synced = syncAlone(shared, () => syncer.sync());
    shared.add('syncs', 1);
    shared.add('syncMicros', Number((process.hrtime.bigint() - startedAt) / 1000n));
    shared.set('syncedLsn', synced);
    replication.ring();
    return true;
  };

  const loop = park(shared.bell('syncer'), turn, () => shared.wantsControl('syncer'));
  return Promise.resolve({
    started: undefined,
    ended: loop.ended,
    stop: async () => {
      await loop.stop();
      turn();
    },
    inspect: () => ({ synced: syncer.synced, syncs: syncer.syncs }),
  });
};
