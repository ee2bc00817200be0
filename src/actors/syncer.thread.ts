/**
 * syncer: the thread of the WalSyncer, which does nothing but wait for the disk. It parks until something is logged.
 *
 * It has the segment open by itself. (The wal-committer's descriptor was the obvious one to sync; but that is closed
 * when the wal-committer's thread vanishes, its number is soon another file's, and a sync of that one would prove what
 * is not on the disk.)
 */
import type { DiskFile } from '../core/base/env.ts';
import { nodeDisk } from '../engine/disk/node-disk.ts';
import { segmentName } from '../engine/wal/format.ts';
import type { SyncerFacts } from './facts.ts';
import { park } from './runtime/bell.ts';
import type { StartActor } from './runtime/thread.ts';
import { Shared } from './shared.ts';
import { WalSyncer } from './syncer.ts';

export interface SyncerArgs {
  readonly shared: SharedArrayBuffer;
  readonly lastLsn: number;
  /** Where the segments are. */
  readonly dir: string;
}

export const url: string = import.meta.url;

export const start: StartActor<SyncerArgs, undefined, SyncerFacts> = (args) => {
  const shared = new Shared(args.shared);
  const walSegment = shared.reader('walSegment');
  let open: { readonly segment: number; readonly file: DiskFile } | undefined;
  const fdatasync = (): void => {
    // Read after what is logged: all before this segment is sealed, and synced with that.
    const segment = walSegment();
    if (open?.segment !== segment) {
      open?.file.close();
      open = undefined;
      open = { segment, file: nodeDisk.open(`${args.dir}/${segmentName(segment)}`, 'write') };
    }
    open.file.fdatasync();
  };
  const actor = new WalSyncer({
    shared,
    lastLsn: args.lastLsn,
    fdatasync,
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
      open?.file.close();
    },
    inspect: () => actor.inspect(),
  });
};
