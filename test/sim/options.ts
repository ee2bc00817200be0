/**
 * What a run is told, what it may be made to do wrong, and the small sizes that make much happen in little time.
 */
import type { Mix } from './nemesis.ts';
import { KEYSPACE } from '../../src/engine/state/keyspaces.ts';
import { type TreeOptions, treeOptions } from '../../src/engine/lsm/tree/options.ts';

/**
 * Planted bugs: each makes a seam of the world lie, so that a check that should notice is seen to notice. Production
 * code is not touched. All are off in every run that is not about them.
 */
export interface Switches {
  /** `fdatasync` of the WAL comes back and has done nothing. */
  readonly walSyncDoesNothing: boolean;
  /** Replication is told that its records are synced as soon as they are logged. */
  readonly syncedBeforeSync: boolean;
  /** A follower's hard state is lost at a restart: it votes again in a term in which it has voted. */
  readonly forgetVote: boolean;
  /** The ring to the memtable loses an entry in a thousand. */
  readonly skipEntry: boolean;
  /** Answers to reads are made before the barrier, from what is there. */
  readonly readsSkipBarrier: boolean;
}

export const NO_SWITCHES: Switches = {
  walSyncDoesNothing: false,
  syncedBeforeSync: false,
  forgetVote: false,
  skipEntry: false,
  readsSkipBarrier: false,
};

export interface SimOptions {
  readonly seed: number;
  /** Events of the first part, in which everything may fail. */
  readonly steps: number;
  readonly nodes: 3 | 5;
  readonly switches: Switches;
  /** Faults off: an undisturbed cluster, for its speed. */
  readonly isCalm: boolean;
  /** Disks may be put back as they were, where that is sure to be found (docs/simulator.md). */
  readonly hasOldDisks: boolean;
  /** Clients make, fill, clear and drop tables, too; left out, the seed says. */
  readonly hasControl?: boolean;
  /** Replicas lie in LMDB, and not in memory; left out, the seed says. */
  readonly hasLmdb?: boolean;
  /** Some replicas are relays, which others may follow; left out, the seed says. */
  readonly hasRelays?: boolean;
  /** Clients move stages, and replicas are in rings; left out, the seed says. */
  readonly hasStages?: boolean;
  /** What goes wrong; left out, the seed says. */
  readonly mix?: Mix;
  /** How long a client rests between two calls; left out, the seed says. */
  readonly thinkMs?: number;
  readonly print?: (line: string) => void;
}

/** In these, of so many seeds. */
const STAGES_EVERY = 20;
const STAGES_AT: readonly number[] = [6, 9, 10, 16, 19];

export const hasStages = ({ seed, hasStages: given }: SimOptions): boolean =>
  given ?? STAGES_AT.includes(seed % STAGES_EVERY);

export const STEPS_DEFAULT = 25_000;
/** Virtual time in which a healed quorum must be of use again, and in which all must be alike once all are healed. */
export const LIVENESS_MS = 60_000;
/**
 * The same for replicas and watches. One that has nothing yet, and has chosen a node that is wiped and not let in, leaves it after up
 * to a minute (actors/silence.ts), and chooses at random again. One that has something is told at once.
 */
export const FED_MS: number = 3 * LIVENESS_MS;

export const HEARTBEAT_MS = 100;
export const ELECTION_TIMEOUT_MS = 500;
export const TICKS_PER_HEARTBEAT = 4;
export const TICK_MS: number = HEARTBEAT_MS / TICKS_PER_HEARTBEAT;
export const SWEEP_EVERY_MS = 25;
export const IDLE_MS = 1_000;
/** A thread is woken within this, mostly. */
export const WAKE_MS = 0.05;
export const TELL_COMMIT_MS = 1;
export const EPOCH_MS = 1_000_000_000_000;
export const SEGMENT_BYTES: number = 16 * 1024;
/** Who lacks more than this of the log is sent a snapshot. */
export const WAL_KEEP_BYTES: number = 3 * SEGMENT_BYTES;
export const RESERVE_BYTES: number = 64 * 1024;
export const LEDGER_BYTES: number = 24 * 1024;
export const LEDGER_MS = 20_000;
export const HISTORY_MS = 5_000;
export const WINDOW_BYTES: number = 8 * 1024;
export const CLUSTER = 'sim';
export const DATA_DIR = '/node';
export const WAL_DIR: string = `${DATA_DIR}/wal`;

const KIB = 1024;

/** Tiny: flushes and compactions all the time. Behind a memtable's size there is room for the largest entry, as always. */
export const TREE: TreeOptions = treeOptions({
  memtableBytes: 8 * KIB,
  memtables: 3,
  batchBytesMax: 7_312 * KIB,
  cacheBytes: 64 * KIB,
  tableCacheBytes: 64 * KIB,
  openTablesMax: 8,
  blockBytes: 512,
  tableBytes: 8 * KIB,
  levelBaseBytes: 16 * KIB,
  levelMultiplier: 4,
  l0Compact: 3,
  l0Slow: 5,
  l0Stop: 7,
  cutPrefixBytes: 1,
  risingByte: KEYSPACE.ledger,
});
