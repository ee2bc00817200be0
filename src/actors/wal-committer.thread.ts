/**
 * wal-committer: the thread of the WalCommitter. It parks until replication has put records into its ring.
 */
import { randomInt } from 'node:crypto';
import { nodeDisk } from '../engine/disk/node-disk.ts';
import type { WalEnd } from '../engine/wal/recovery.ts';
import type { CommitterFacts } from './facts.ts';
import { park } from './runtime/bell.ts';
import { RingReader, RingWriter } from './runtime/ring.ts';
import type { StartActor } from './runtime/thread.ts';
import { Shared } from './shared.ts';
import { WalCommitter } from './wal-committer.ts';

export interface CommitterArgs {
  readonly shared: SharedArrayBuffer;
  /** WAL records from replication. */
  readonly records: SharedArrayBuffer;
  /** Waypoints to replication. */
  readonly places: SharedArrayBuffer;
  readonly dir: string;
  readonly segmentBytes: number;
  readonly keepBytes: number;
  /** Where the log goes on. */
  readonly end: WalEnd;
}

export const url: string = import.meta.url;

export const start: StartActor<CommitterArgs, undefined, CommitterFacts> = (args, context) => {
  const shared = new Shared(args.shared);
  const bell = shared.bell('wal-committer');
  const actor = new WalCommitter({
    shared,
    disk: nodeDisk,
    dir: args.dir,
    segmentBytes: args.segmentBytes,
    keepBytes: args.keepBytes,
    end: args.end,
    records: new RingReader(args.records),
    places: new RingWriter(args.places),
    salt: () => randomInt(2 ** 32),
    pause: (ms) => bell.wait(bell.read(), ms),
    log: context.log,
  });
  const loop = park(
    bell,
    () => actor.turn(),
    () => shared.wantsControl('wal-committer'),
  );
  return Promise.resolve({
    started: undefined,
    ended: loop.ended,
    stop: async () => {
      await loop.stop();
      actor.close();
    },
    inspect: () => actor.inspect(),
  });
};
