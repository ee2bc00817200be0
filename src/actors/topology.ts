/**
 * Topology: which actors there are, what wakes them, and what they share. The tree as data.
 *
 *   gateway ──commands──▶ replication ──records──▶ wal-committer ──(logged)──▶ syncer
 *      ▲  ▲                 │  ▲   ▲───────────────(synced)──────────────────────┘
 *      │  └──refusals───────┘  └──places── wal-committer
 *      │                    └──committed──▶ memtable ──ledger──▶ shipper
 *      │                                     │  ▲                  │
 *      │                                frozen  versions           │
 *      │                                     ▼  │                  │
 *      │                                    compactor ─▶ a pool     │
 *      └──────────answers───────────────────────┘                  │
 *      └──────────parts (port)─────────────────────────────────────┘
 *
 * Every ring has one writer and one reader. Sizes: a ring holds any frame that its writer may make, twice.
 *
 * And what becomes of each when its thread is gone: docs/decisions/actors-that-come-back.md says why.
 */
import { createTreeMemory, type TreeMemory } from '../engine/lsm/tree/memory.ts';
import type { TreeOptions } from '../engine/lsm/tree/options.ts';
import { createCheckpoints } from './checkpoints.ts';
import { createRing } from './runtime/ring.ts';
import { type ActorName, Shared } from './shared.ts';
import { createTableSizes } from './table-sizes.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Ring sizes in bytes; a power of two. The largest frame: a txn (4 MiB) with what it expires. */
export const RING_BYTES: Readonly<
  Record<'inbox' | 'toGateway' | 'records' | 'committed' | 'places' | 'answers' | 'ledger', number>
> = {
  inbox: 16 * MIB,
  toGateway: MIB,
  records: 16 * MIB,
  committed: 16 * MIB,
  places: 16 * KIB,
  answers: 16 * MIB,
  ledger: 16 * MIB,
};

/**
 * What is done when an actor is gone.
 *
 *   alone              it starts again by itself: it only reads what others share, and what it held is let go for it
 *   together           all parts of the node start again inside the process, with fresh memory, from what is durable
 *   unless-in-doubt    the same, if no write or sync of the log was under way; otherwise the node stops
 */
export type Recovery = 'alone' | 'together' | 'unless-in-doubt';

export const RECOVERY: Readonly<Record<ActorName, Recovery>> = {
  gateway: 'together',
  replication: 'together',
  'wal-committer': 'unless-in-doubt',
  syncer: 'unless-in-doubt',
  memtable: 'together',
  compactor: 'together',
  shipper: 'alone',
};

/** So often an actor may come back within so long, and how long it waits from the second time on. */
export const RESTARTS = {
  restartsMax: 5,
  withinMs: 30_000,
  restartsAtOnce: 1,
  backoffMinMs: 50,
  backoffMaxMs: 2_000,
  resetMs: 30_000,
} as const;

/** Memtables of a node: of these, one is written now. */
export const MEMTABLES = 5;

/** All memory that the threads of a node share. */
export interface Plumbing {
  readonly shared: Shared;
  readonly rings: Readonly<Record<keyof typeof RING_BYTES, SharedArrayBuffer>>;
  /** Memtables, block cache and versions: what every reader of the state attaches to. */
  readonly tree: TreeMemory;
  /** State hashes, from the memtable to replication. */
  readonly checkpoints: SharedArrayBuffer;
  /** What tables of control data hold, from the memtable to the gateway. */
  readonly tableSizes: SharedArrayBuffer;
}

export function createPlumbing(options: TreeOptions): Plumbing {
  const rings = Object.fromEntries(
    Object.entries(RING_BYTES).map(([name, bytes]) => [name, createRing(bytes)]),
  ) as Plumbing['rings'];
  const [checkpoints, tableSizes] = [createCheckpoints(), createTableSizes()];
  return { shared: new Shared(), rings, tree: createTreeMemory(options), checkpoints, tableSizes };
}
