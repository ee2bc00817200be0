/**
 * Compactor: the actor that owns the tree's files. It makes tables of frozen memtables, merges tables, and removes
 * what is no longer needed; the work is done by a runner of jobs (on a node: a pool of threads), this one only decides.
 *
 * It says how far everything is in tables (`flushed`): the log may be truncated up to there, and a restarted node
 * begins there.
 *
 * From memtable (frozen memtables, in shared memory, with the state that goes with each); to everybody (versions).
 */
import { assert } from '../core/base/assert.ts';
import type { Disk } from '../core/base/env.ts';
import { StoreError } from '../core/base/errors.ts';
import { Keeper } from '../engine/lsm/tree/keeper.ts';
import type { TreeFacts } from '../engine/lsm/tree/keeper-world.ts';
import type { KeeperWorld } from '../engine/lsm/tree/keeper-world.ts';
import type { TreeMemory } from '../engine/lsm/tree/memory.ts';
import type { TreeOptions } from '../engine/lsm/tree/options.ts';
import { LEDGER_PREFIX, MACHINE_KEY, USER_PREFIX } from '../engine/state/keyspaces.ts';
import type { Bell } from './runtime/bell.ts';
import type { LogFunction } from './runtime/thread.ts';
import type { Shared } from './shared.ts';

export interface CompactorWorld {
  readonly shared: Shared;
  readonly tree: TreeMemory;
  readonly disk: Disk;
  readonly dir: string;
  readonly options: TreeOptions;
  readonly runner: KeeperWorld['runner'];
  /** Room that is kept for a full disk. */
  readonly reserveBytes: number;
  /** Runs `work` once, `delayMs` later. */
  readonly later: KeeperWorld['later'];
  readonly log: LogFunction;
}

/** From the memtable, when it froze `generation`. */
export interface Frozen {
  readonly generation: number;
  readonly machineState: Uint8Array<ArrayBuffer>;
}

/** How long the reserve stays given up when the log needed it. */
const RESERVE_AWAY_MS = 5_000;

/** What is applied is synced; the word for it may come a moment later. */
const SYNCED_DEADLINE_MS = 10_000;
const SYNCED_LOOK_MS = 2;

export class Compactor {
  readonly #world: CompactorWorld;
  readonly #shared: Shared;
  readonly #memtable: Bell;
  readonly #walFull: () => number;
  readonly #states = new Map<number, Uint8Array>();
  readonly #keeper: Keeper;

  /** Opens the tree, or makes one. Throws TABLE_CORRUPT, STORE_FULL, DISK_FAILED. */
  constructor(world: CompactorWorld) {
    const { shared, disk, dir, options, runner, reserveBytes, later, log } = world;
    this.#world = world;
    this.#shared = shared;
    this.#memtable = shared.bell('memtable');
    this.#walFull = shared.reader('walFull');
    const historyFrom = shared.reader('historyFrom');
    const ledgerFrom = shared.reader('ledgerFrom');
    this.#keeper = Keeper.open(world.tree, {
      disk,
      dir,
      options,
      runner,
      rowsOf: (generation) => {
        const value = this.#states.get(generation);
        return value === undefined ? undefined : [{ key: MACHINE_KEY, value }];
      },
      floor: historyFrom,
      trims: () => [{ prefix: LEDGER_PREFIX, belowRevision: ledgerFrom() }],
      durable: (revision) => this.#untilSynced(revision),
      reserveBytes,
      later,
      onChange: () => this.publish(),
      log,
    });
    this.publish();
  }

  /** Everything up to here is in tables. */
  get flushed(): number {
    return this.#keeper.flushedRevision;
  }

  /** Resolves with what has ended it, if something does. */
  get failed(): Promise<StoreError> {
    return this.#keeper.failed;
  }

  turn(): void {
    if (this.#walFull() !== 0) {
      this.#keeper.logFull(new StoreError('STORE_FULL', 'the log has no room on its disk'), RESERVE_AWAY_MS);
    }
    this.#keeper.poke();
  }

  /** The memtable froze a generation. */
  receive({ generation, machineState }: Frozen): void {
    this.#states.set(generation, machineState);
    this.#keeper.poke();
  }

  /** A copy of the tree as it is flushed, as hard links, in a directory that is there and empty. */
  checkpoint(dir: string): void {
    this.#keeper.checkpoint(dir);
  }

  /** Tells everybody how far it is. */
  publish(): void {
    const keeper = this.#keeper;
    const shared = this.#shared;
    for (const generation of this.#states.keys()) {
      if (generation <= keeper.flushedGeneration) this.#states.delete(generation);
    }
    shared.set('flushed', keeper.flushedRevision);
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
    this.#memtable.ring();
  }

  close(): Promise<void> {
    return this.#keeper.close();
  }

  inspect(): TreeFacts {
    return this.#keeper.inspect();
  }

  async #untilSynced(revision: number): Promise<void> {
    for (let waitedMs = 0; this.#shared.get('stable') < revision; waitedMs += SYNCED_LOOK_MS) {
      assert(waitedMs < SYNCED_DEADLINE_MS, 'what is applied is synced');
      await new Promise<void>((resolve) => {
        this.#world.later(SYNCED_LOOK_MS, resolve);
      });
    }
  }
}
