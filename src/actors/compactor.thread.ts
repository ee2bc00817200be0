/**
 * compactor: the thread of the Compactor, with a pool of threads for its jobs. Its event loop turns with its bell, with
 * what the memtable posts, and once a second. It also does what replication asks of the files of snapshots: it has time,
 * and the tables are its own.
 */
import { must } from '../core/base/assert.ts';
import { nodeDisk } from '../engine/disk/node-disk.ts';
import type { TreeMemory } from '../engine/lsm/tree/memory.ts';
import type { TreeOptions } from '../engine/lsm/tree/options.ts';
import { PoolRunner } from '../engine/pool/pool.ts';
import { Compactor, type Frozen } from './compactor.ts';
import type { CompactorFacts } from './facts.ts';
import { SnapshotFiles, type ToFiles } from './snapshot-files.ts';
import { listen } from './runtime/bell.ts';
import type { StartActor } from './runtime/thread.ts';
import { Shared } from './shared.ts';

export interface CompactorArgs {
  readonly shared: SharedArrayBuffer;
  readonly tree: TreeMemory;
  readonly dir: string;
  /** The node's directory. */
  readonly dataDir: string;
  readonly options: TreeOptions;
}

export interface CompactorStarted {
  /** Everything up to here is in tables. */
  readonly flushed: number;
}

/** Room that is kept for a full disk: a log segment, and a table or two. */
const RESERVE_BYTES = 32 * 1024 * 1024;
/** Versions age, and readers let go, without a ring. */
const IDLE_TURN_MS = 1_000;

export const url: string = import.meta.url;

export const start: StartActor<CompactorArgs, CompactorStarted, CompactorFacts> = (args, context) => {
  const shared = new Shared(args.shared);
  const actor = new Compactor({
    shared,
    tree: args.tree,
    disk: nodeDisk,
    dir: args.dir,
    options: args.options,
    runner: new PoolRunner(args.tree.arenas),
    reserveBytes: RESERVE_BYTES,
    later: (delayMs, work) => {
      const timer = setTimeout(work, delayMs);
      return { cancel: () => clearTimeout(timer) };
    },
    log: context.log,
  });
  const replication = must(context.ports['replication'], 'the compactor has a port to replication');
  const snapshots = new SnapshotFiles({
    disk: nodeDisk,
    dir: args.dataDir,
    checkpoint: (dir) => actor.checkpoint(dir),
    flushed: actor.flushed,
    soon: setImmediate,
    post: (message, transfer) => replication.postMessage(message, [...transfer]),
    log: context.log,
  });
  replication.on('message', (message: ToFiles) => snapshots.receive(message));
  const port = must(context.ports['memtable'], 'the compactor has a port to the memtable');
  port.on('message', (frozen: Frozen) => actor.receive(frozen));
  const loop = listen(shared.bell('compactor'), () => actor.turn());
  const idle = setInterval(() => {
    actor.turn();
    actor.publish();
  }, IDLE_TURN_MS);
  const failed = actor.failed.then((failure) => {
    throw failure;
  });
  return Promise.resolve({
    started: { flushed: actor.flushed },
    ended: Promise.race([loop.ended, failed]),
    stop: async () => {
      clearInterval(idle);
      await loop.stop();
      replication.close();
      snapshots.close();
      await actor.close();
      port.close();
    },
    inspect: () => ({ ...actor.inspect(), snapshots: snapshots.inspect() }),
  });
};
