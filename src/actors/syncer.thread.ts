/**
 * syncer: the thread of the WalSyncer, which does nothing but wait for the disk. It parks until something is logged.
 */
import { fdatasyncFd } from '../engine/disk/node-disk.ts';
import { park } from './runtime/bell.ts';
import type { StartActor } from './runtime/thread.ts';
import { Shared } from './shared.ts';
import { WalSyncer } from './syncer.ts';

export interface SyncerArgs {
  readonly shared: SharedArrayBuffer;
  readonly lastLsn: number;
}

export const url: string = import.meta.url;

export const start: StartActor<SyncerArgs, undefined> = (args) => {
  const shared = new Shared(args.shared);
  const actor = new WalSyncer({
    shared,
    lastLsn: args.lastLsn,
    fdatasync: fdatasyncFd,
    micros: () => performance.now() * 1000,
  });
  const turn = (): boolean => actor.turn();
  const loop = park(shared.bell('syncer'), turn, () => shared.wantsControl('syncer'));
  return Promise.resolve({
    started: undefined,
    ended: loop.ended,
    stop: async () => {
      await loop.stop();
      turn();
    },
    inspect: () => actor.inspect(),
  });
};
