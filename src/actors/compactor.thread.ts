/**
 * compactor: the thread that owns the tree's files. It makes tables of frozen memtables, merges tables, and removes
 * what is no longer needed; the work is done in a pool of threads of its own (engine/pool), this one only decides.
 *
 * It says how far everything is in tables (`flushed`): the log may be truncated up to there, and a restarted node
 * begins there.
 *
 * From memtable (frozen memtables, in shared memory, with the state that goes with each); to everybody (versions).
 */
import { assert, must } from '../core/base/assert.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError } from '../core/base/errors.ts';
import { nodeDisk } from '../engine/disk/node-disk.ts';
import { Keeper } from '../engine/lsm/tree/keeper.ts';
import type { TreeMemory } from '../engine/lsm/tree/memory.ts';
import type { TreeOptions } from '../engine/lsm/tree/options.ts';
import { PoolRunner } from '../engine/pool/pool.ts';
import { LEDGER_PREFIX, MACHINE_KEY, USER_PREFIX } from '../engine/state/keyspaces.ts';
import { listen } from './runtime/bell.ts';
import type { StartActor } from './runtime/thread.ts';
import { Shared } from './shared.ts';

export interface CompactorArgs {
  readonly shared: SharedArrayBuffer;
  readonly tree: TreeMemory;
  readonly dir: string;
  readonly options: TreeOptions;
}

export interface CompactorStarted {
  /** Everything up to here is in tables. */
  readonly flushed: number;
}

/** From the memtable, when it froze `generation`. */
export interface Frozen {
  readonly generation: number;
  readonly machineState: Uint8Array<ArrayBuffer>;
}

/** Room that is kept for a full disk: a log segment, and a table or two. */
const RESERVE_BYTES = 32 * 1024 * 1024;
/** Versions age, and readers let go, without a ring. */
const IDLE_TURN_MS = 1_000;
/** How long the reserve stays given up when the log needed it. */
const RESERVE_AWAY_MS = 5_000;

/** What is applied is synced; the word for it may come a moment later. */
const SYNCED_DEADLINE_MS = 10_000;
const SYNCED_LOOK_MS = 2;

export const url: string = import.meta.url;

export const start: StartActor<CompactorArgs, CompactorStarted> = (args, context) => {
  const shared = new Shared(args.shared);
  const historyFrom = shared.reader('historyFrom');
  const ledgerFrom = shared.reader('ledgerFrom');
  const states = new Map<number, Uint8Array>();
  const keeper = Keeper.open(args.tree, {
    disk: nodeDisk,
    dir: args.dir,
    options: args.options,
    runner: new PoolRunner(args.tree.arenas),
    rowsOf: (generation) => {
      const value = states.get(generation);
      return value === undefined ? undefined : [{ key: MACHINE_KEY, value }];
    },
    floor: historyFrom,
    trims: () => [{ prefix: LEDGER_PREFIX, belowRevision: ledgerFrom() }],
    durable: (revision) => untilSynced(shared, revision),
    reserveBytes: RESERVE_BYTES,
    later: (delayMs, work) => {
      const timer = setTimeout(work, delayMs);
      return { cancel: () => clearTimeout(timer) };
    },
    onChange: () => publish(),
    log: context.log,
  });

  const publish = (): void => {
    const { flushedRevision } = keeper;
    for (const generation of states.keys()) if (generation <= keeper.flushedGeneration) states.delete(generation);
    shared.set('flushed', flushedRevision);
    shared.set('storeFull', keeper.isFull ? 1 : 0);
    let keys = 0;
    let bytes = 0;
    let tables = 0;
    for (const { level, table } of keeper.version.tables()) {
      bytes += table.fileBytes;
      tables++;
      // Tables of level 0 hold all keyspaces.
      if (level === 0 || table.largest[0] === USER_PREFIX[0]) keys += table.entries - 2 * table.tombstones;
    }
    shared.set('tableKeys', Math.max(0, keys));
    shared.set('tableBytes', bytes);
    shared.set('tables', tables);
    shared.set('flushes', keeper.stats.flushes);
    shared.set('compactions', keeper.stats.compactions);
    shared.set('compactedBytes', keeper.stats.flushedBytes + keeper.stats.compactedBytes);
    // It may have waited for a memtable, or for level 0.
    shared.bell('memtable').ring();
  };

  const port = must(context.ports['memtable'], 'the compactor has a port to the memtable');
  port.on('message', ({ generation, machineState }: Frozen) => {
    states.set(generation, machineState);
    keeper.poke();
  });

  publish();
  const walFull = shared.reader('walFull');
  const turn = (): void => {
    if (walFull() !== 0)
      keeper.diskFull(new StoreError('STORE_FULL', 'the log has no room on its disk'), RESERVE_AWAY_MS);
    keeper.poke();
  };
  const loop = listen(shared.bell('compactor'), turn);
  const idle = setInterval(() => {
    turn();
    publish();
  }, IDLE_TURN_MS);
  const failed = keeper.failed.then((failure) => {
    throw failure;
  });
  return Promise.resolve({
    started: { flushed: keeper.flushedRevision },
    ended: Promise.race([loop.ended, failed]),
    stop: async () => {
      clearInterval(idle);
      await loop.stop();
      await keeper.close();
      port.close();
    },
    inspect: () => keeper.inspect(),
  });
};

async function untilSynced(shared: Shared, revision: number): Promise<void> {
  for (let waitedMs = 0; shared.get('stable') < revision; waitedMs += SYNCED_LOOK_MS) {
    assert(waitedMs < SYNCED_DEADLINE_MS, 'what is applied is synced');
    await sleep(SYNCED_LOOK_MS);
  }
}
