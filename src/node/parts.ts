/**
 * The parts of a node that live as long as its state does: shared memory, the reader of this thread, the actors, the
 * gateway. A node that was given a snapshot gets new ones; its lock, its logger and its own client stay.
 */
import { randomBytes } from 'node:crypto';
import type { Callers } from '../actors/gateway/callers.ts';
import { Gateway } from '../actors/gateway/gateway.ts';
import { type PutTrace, PutTraces } from '../actors/gateway/put-traces.ts';
import { TableSizes } from '../actors/gateway/table-sizes.ts';
import { portLife } from '../actors/runtime/ports/port-actor.ts';
import { type LogFunction, type MessagePort, portPair } from '../actors/runtime/thread.ts';
import { RingReader, RingWriter } from '../actors/runtime/ring.ts';
import type { Death, Restarts } from '../actors/restarts.ts';
import { ownerOf } from '../actors/shared.ts';
import { ShipperLink } from '../actors/shipper-link.ts';
import { Supervisor } from '../actors/supervisor.ts';
import { TableSizesReader } from '../actors/table-sizes.ts';
import { createPlumbing, MEMTABLES, type Plumbing } from '../actors/topology.ts';
import type { PulseBounds } from '../actors/runtime/ports/pulse-watchdog.ts';
import type { NodeStatus } from '../client/types.ts';
import { type ClusterConfig, guestsOf, memberOf, readerGrants } from '../config/index.ts';
import type { Member } from '../core/raft/membership.ts';
import type { ActorsView } from '../core/wire/actors.ts';
import { beginLife } from '../engine/disk/lives.ts';
import { nodeDisk } from '../engine/disk/node-disk.ts';
import { type TreeOptions, treeOptions } from '../engine/lsm/tree/options.ts';
import { KEYSPACE } from '../engine/state/keyspaces.ts';
import { StateReader } from '../engine/state/state-reader.ts';
import * as replication from '../net/replication.thread.ts';

export interface Parts {
  readonly plumbing: Plumbing;
  /** What this thread reads of the state. */
  readonly state: StateReader;
  readonly supervisor: Supervisor;
  readonly gateway: Gateway;
  readonly tableSizes: TableSizes;
}

export interface PartsWorld {
  readonly config: ClusterConfig;
  readonly id: string;
  /** Identity of the data directory. */
  readonly dirId: string;
  readonly founders: readonly Member[];
  readonly log: LogFunction;
  /** Who may ask. */
  readonly callers: Callers;
  readonly leader: () => { readonly name: string; readonly url: string };
  readonly status: () => NodeStatus;
  readonly actors: () => Promise<ActorsView>;
  /** Told of each write that was traced. */
  readonly onTrace?: ((trace: PutTrace) => void) | undefined;
  readonly onMembers: (known: readonly Member[]) => void;
  /** Runs a callback of the gateway; what it throws is the gateway's death. */
  readonly guard: (work: () => void) => void;
  /** What earlier lives of this node have shown. */
  readonly appliedBefore: number;
  readonly restarts: Restarts;
  readonly watchdog: PulseBounds;
  /** The application's actors get this life's way to those of other nodes. */
  readonly attachActors: (port: MessagePort) => void;
  /** An actor is gone, and all have to start again, or stop. */
  readonly onDeath: (death: Death) => void;
}

/** What one entry of the log may take of a memtable: a txn of 4 MiB, its ledger record, and what expires with it. */
const ENTRY_BYTES_MAX = 16 * 1024 * 1024;
/** Three threads read: index and filter blocks of each. */
const TABLE_CACHE_BYTES = 8 * 1024 * 1024;
const SUBSCRIPTIONS_MAX = 10_000;

/** Puts the parts together; nothing runs yet. */
export function assembleParts(world: PartsWorld): Parts {
  const { config, id, log } = world;
  const own = config.nodes[id] as ClusterConfig['nodes'][string];
  const boot = randomBytes(6).readUIntLE(0, 6) + 1;
  const { life, boots } = beginLife(nodeDisk, own.dataDir, boot);
  const tree = treeOptionsOf(config);
  const plumbing = createPlumbing(tree);
  const { shared, rings } = plumbing;
  const { dataDir } = own;
  const walDir = `${dataDir}/wal`;
  const treeDir = `${dataDir}/tree`;
  const state = new StateReader({ memory: plumbing.tree, dir: treeDir, options: tree, owner: ownerOf('gateway') });
  const [actorsPort, socketsPort] = portPair();
  world.attachActors(actorsPort);
  const shipperLink = new ShipperLink((message) => world.guard(() => gateway.ship(message)));
  const replicationArgs = {
    dir: walDir,
    cluster: config.cluster,
    node: id,
    life: { dir: world.dirId, boot, life, lineage: boots.slice(0, -1) },
    members: world.founders,
    listen: memberOf(id, own).mesh,
    guests: guestsOf(config, id),
    electionTimeoutMs: config.raft.electionTimeoutMs,
    heartbeatMs: config.raft.heartbeatMs,
  };
  const supervisor = new Supervisor({
    plumbing,
    membership: () => state.members(),
    replication: (options) =>
      portLife(replication, {
        ...options,
        begin: () => {
          const { ports, args } = options.begin();
          return { ports, args: args.then((plumbing) => ({ ...replicationArgs, ...plumbing })) };
        },
      }),
    dataDir,
    walDir,
    walSegmentBytes: config.walSegmentBytes,
    walKeepBytes: config.walKeepBytes,
    treeDir,
    tree,
    ledgerBytes: config.ledgerBytes,
    ledgerMs: config.ledgerMs,
    historyMs: config.historyMs,
    subscriptionsMax: SUBSCRIPTIONS_MAX,
    cluster: config.cluster,
    node: id,
    origin: boot,
    log,
    actorsPort: socketsPort,
    shipperLink,
    shipperGone: (error) => world.guard(() => gateway.shipperGone(error)),
    restarts: world.restarts,
    watchdog: world.watchdog,
    onDeath: world.onDeath,
  });
  const storeFull = shared.reader('storeFull');
  const walFull = shared.reader('walFull');
  const tableSizes = new TableSizes({ state, sizes: new TableSizesReader(plumbing.tableSizes) });
  const gateway: Gateway = new Gateway({
    shared,
    state,
    tableSizes,
    isFull: () => storeFull() !== 0 || walFull() !== 0,
    destructiveSchemaChanges: config.destructiveSchemaChanges,
    outbox: new RingWriter(rings.inbox),
    fromReplication: new RingReader(rings.toGateway),
    answers: new RingReader(rings.answers),
    toShipper: (message) => shipperLink.post(message),
    node: id,
    cluster: config.cluster,
    origin: boot,
    monotonicMs: () => performance.now(),
    leader: world.leader,
    status: world.status,
    actors: world.actors,
    traces: world.onTrace && new PutTraces(shared.stages, world.onTrace),
    onMembers: world.onMembers,
    appliedBefore: world.appliedBefore,
    inFlightMax: config.inFlightMax,
    callers: world.callers,
    readers: readerGrants(config, process.env),
  });
  return { plumbing, state, supervisor, gateway, tableSizes };
}

/** The tree of a node: tables are cut at keyspaces, and a memtable has room for the largest entry behind its size. */
function treeOptionsOf(config: ClusterConfig): TreeOptions {
  return treeOptions({
    memtableBytes: config.memtableBytes,
    memtables: MEMTABLES,
    batchBytesMax: ENTRY_BYTES_MAX,
    cacheBytes: config.cacheBytes,
    tableCacheBytes: TABLE_CACHE_BYTES,
    compactionBytesPerSecond: config.compactionBytesPerSecond,
    cutPrefixBytes: 1,
    risingByte: KEYSPACE.ledger,
  });
}
