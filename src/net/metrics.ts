/**
 * Metrics: the shared block and the gateway's counters as Prometheus series, read when they are asked for, so
 * that counting costs nothing on the way.
 */
import { Gauge, Registry } from 'prom-client';
import type { Gateway } from '../actors/gateway/gateway.ts';
import { STALL } from '../actors/memtable.ts';
import type { Mark, Shared } from '../actors/shared.ts';
import { BlockCache } from '../engine/lsm/cache/block-cache.ts';
import { Control } from '../engine/lsm/shared/control.ts';
import type { TreeMemory } from '../engine/lsm/tree/memory.ts';
import type { HostedActors } from '../actors/runtime/cluster/cluster-actors.ts';
import { type ActorMetricsWorld, addActors, addHosted } from './actor-metrics.ts';
import { addFleet } from './fleet-metrics.ts';
import { addTables, type TableMetricsWorld } from './table-metrics.ts';

interface MarkSeries {
  readonly mark: Mark;
  readonly name: string;
  readonly help: string;
  readonly scale?: number;
}

/** Totals are gauges to the library (it cannot set a counter), and named as the totals that they are. */
const SERIES: readonly MarkSeries[] = [
  { mark: 'term', name: 'raft_term', help: 'The current term.' },
  { mark: 'committed', name: 'raft_commit_index', help: 'The newest index that a quorum has synced.' },
  { mark: 'applied', name: 'raft_applied_index', help: 'The newest index that this node has applied.' },
  { mark: 'stable', name: 'raft_stable_index', help: 'The newest index that this node has synced.' },
  { mark: 'lastIndex', name: 'raft_last_index', help: 'The newest index in this node’s log.' },
  { mark: 'elections', name: 'raft_elections_won_total', help: 'Elections that this node won.' },
  { mark: 'pauses', name: 'pauses_total', help: 'Times that this node stood still for an election timeout or longer.' },
  { mark: 'pausedMs', name: 'paused_seconds_total', help: 'How long it stood still then, in all.', scale: 1e-3 },
  {
    mark: 'stateCompared',
    name: 'state_compared_revision',
    help: 'The newest revision at which the state was compared with another node’s.',
  },
  { mark: 'stateDifferences', name: 'state_differences_total', help: 'Times that another node had another state.' },
  {
    mark: 'stateDiverged',
    name: 'state_diverged',
    help: '1 while a member has another state and no majority says who is right.',
  },
  { mark: 'proposals', name: 'raft_proposals_total', help: 'Commands that this node proposed as leader.' },
  { mark: 'forwarded', name: 'raft_forwarded_total', help: 'Commands that this node sent on to the leader.' },
  { mark: 'loggedLsn', name: 'wal_logged_lsn', help: 'The newest LSN written to the WAL.' },
  { mark: 'syncedLsn', name: 'wal_synced_lsn', help: 'The newest LSN synced to disk.' },
  { mark: 'walGroups', name: 'wal_groups_total', help: 'Groups written to the WAL, one write each.' },
  { mark: 'walRecords', name: 'wal_records_total', help: 'Records written to the WAL.' },
  { mark: 'walBytes', name: 'wal_written_bytes_total', help: 'Bytes of records written to the WAL.' },
  { mark: 'syncs', name: 'wal_fsyncs_total', help: 'Syncs of the WAL.' },
  {
    mark: 'syncMicros',
    name: 'wal_fsync_seconds_total',
    help: 'Time spent in syncs of the WAL; over wal_fsyncs_total it is the mean.',
    scale: 1e-6,
  },
  { mark: 'walFailed', name: 'wal_failed', help: '1 once a sync has failed; the node is then stopping.' },
  { mark: 'walSegment', name: 'wal_segment', help: 'The number of the WAL segment in use.' },
  { mark: 'meshSent', name: 'mesh_messages_sent_total', help: 'Messages sent to peers.' },
  { mark: 'meshSentBytes', name: 'mesh_sent_bytes_total', help: 'Bytes sent to peers.' },
  { mark: 'meshReceived', name: 'mesh_messages_received_total', help: 'Messages received from peers.' },
  { mark: 'memtableBytes', name: 'memtable_used_bytes', help: 'Bytes of the memtable that is written now.' },
  { mark: 'memtableKeys', name: 'memtable_keys', help: 'Keys in memtables, less those removed.' },
  { mark: 'tableKeys', name: 'table_keys', help: 'Keys in tables, about: versions not merged yet count too.' },
  { mark: 'tables', name: 'tables', help: 'Tables on disk.' },
  { mark: 'tableBytes', name: 'table_bytes', help: 'Bytes of tables on disk.' },
  { mark: 'flushed', name: 'flushed_revision', help: 'Everything up to this revision is in tables.' },
  { mark: 'flushes', name: 'flushes_total', help: 'Memtables made into tables.' },
  { mark: 'compactions', name: 'compactions_total', help: 'Times that tables were merged.' },
  { mark: 'compactedBytes', name: 'table_written_bytes_total', help: 'Bytes of tables written by flushes and merges.' },
  { mark: 'storeFull', name: 'disk_full', help: '1 while the disk is full: puts are refused, deletes are taken.' },
  { mark: 'historyFrom', name: 'history_from_revision', help: 'The oldest revision at which the state can be read.' },
  { mark: 'sessions', name: 'sessions', help: 'Client sessions in the replicated state.' },
  { mark: 'ledgerFirst', name: 'ledger_first_revision', help: 'The oldest revision that a watch can start from.' },
  { mark: 'ledgerLast', name: 'ledger_last_revision', help: 'The newest revision in the ledger.' },
  { mark: 'subscriptions', name: 'ledger_subscriptions', help: 'Watches and replicas fed by this node.' },
  { mark: 'readersHeldBytes', name: 'ledger_held_bytes', help: 'Bytes on their way to watches and replicas.' },
  {
    mark: 'readersSlow',
    name: 'ledger_slow_readers',
    help: 'Watches and replicas that are too slow for their bounds.',
  },
  {
    mark: 'clientsWaiting',
    name: 'clients_waiting',
    help: 'Clients that have come and are not let in yet: they came all at once.',
  },
  { mark: 'watchesCompacted', name: 'ledger_compacted_total', help: 'Watches ended because they were too far behind.' },
];

export interface MetricsWorld extends ActorMetricsWorld, TableMetricsWorld {
  readonly shared: Shared;
  readonly gateway: Gateway;
  readonly tree: Pick<TreeMemory, 'control' | 'cache'>;
  readonly version: string;
  readonly node: string;
  /** Age of the newest log time that it has applied; what it does while it gets its state from the others. */
  readonly status: () => { readonly lagMs: number | null; readonly repair?: string | undefined };
  /** How often this node has given up damaged files. */
  readonly repairs: number;
  /** The application's durable actors. */
  readonly hosted: () => HostedActors;
}

export function createMetrics(world: MetricsWorld): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ node: world.node });
  const gauge = (name: string, help: string, read: () => number): void => {
    const metric: Gauge = new Gauge({
      name: `ctlmesh_${name}`,
      help,
      registers: [registry],
      collect: () => metric.set(read()),
    });
  };
  for (const { mark, name, help, scale } of SERIES) {
    const read = world.shared.reader(mark);
    gauge(name, help, () => read() * (scale ?? 1));
  }
  addTree(registry, gauge, world.tree);
  const { gateway, shared } = world;
  addFleet(registry, { fleet: gateway.fleet, applied: shared.reader('applied'), timeMs: shared.reader('timeMs') });
  addTables(registry, world);
  gauge('raft_is_leader', '1 on the node that leads.', () => (world.shared.get('role') === 2 ? 1 : 0));
  gauge('raft_has_leader', '1 while this node knows a leader.', () => (world.shared.get('leader') === 0 ? 0 : 1));
  gauge(
    'log_time_lag_seconds',
    'Age of the newest log time that this node has applied.',
    () => (world.status().lagMs ?? 0) / 1000,
  );
  gauge('repairs_total', 'Times that this node gave up damaged files.', () => world.repairs);
  gauge('repair_state', '1 while it gets its state from the others after that.', () =>
    world.status().repair === undefined ? 0 : 1,
  );
  gauge('client_connections', 'Client connections.', () => gateway.connections);
  gauge('client_requests_in_flight', 'Requests being worked on.', () => gateway.inFlight);
  gauge('client_requests_total', 'Requests of clients.', () => gateway.counts.requests);
  gauge('client_writes_total', 'Writes of clients.', () => gateway.counts.writes);
  gauge('client_reads_total', 'Reads of clients.', () => gateway.counts.reads);
  gauge('client_refused_total', 'Requests refused with a typed error on arrival.', () => gateway.counts.refused);
  gauge('client_expired_total', 'Requests whose deadline passed.', () => gateway.counts.expired);
  addActors(registry, world);
  addHosted(gauge, world.hosted);
  gauge('process_resident_memory_bytes', 'Resident memory of the process.', () => process.memoryUsage.rss());
  new Gauge({
    name: 'ctlmesh_build_info',
    help: 'The version that runs; always 1.',
    labelNames: ['version', 'nodejs'],
    registers: [registry],
  }).set({ version: world.version, nodejs: process.version }, 1);
  return registry;
}

type AddGauge = (name: string, help: string, read: () => number) => void;

/** What holds writes back, and how the cache does. */
function addTree(registry: Registry, gauge: AddGauge, tree: MetricsWorld['tree']): void {
  const control = new Control(tree.control);
  const cache = new BlockCache(tree.cache);
  const stalled: Gauge<'cause'> = new Gauge({
    name: 'ctlmesh_write_stalled',
    help: '1 while nothing is applied: no memtable is free, or too many tables wait to be merged.',
    labelNames: ['cause'],
    registers: [registry],
    collect: () => {
      const now = control.gauge('stall');
      stalled.set({ cause: 'memtables' }, now === STALL.memtables ? 1 : 0);
      stalled.set({ cause: 'level0' }, now === STALL.level0 ? 1 : 0);
    },
  });
  gauge('write_stalls_total', 'Times that applying had to wait for memtables or merges.', () =>
    control.gauge('stalls'),
  );
  gauge('write_stall_seconds_total', 'Time that applying waited.', () => control.gauge('stallMicros') * 1e-6);
  gauge('frozen_memtables', 'Memtables on their way to tables.', () => control.gauge('frozenMemtables'));
  gauge('level0_tables', 'Tables in level 0, that wait to be merged.', () => control.gauge('level0Tables'));
  gauge('compaction_debt_bytes', 'Bytes by which levels are past their sizes.', () => control.gauge('debtBytes'));
  gauge('block_cache_bytes', 'Bytes of blocks in the cache.', () => cache.stats.usedBytes);
  gauge('block_cache_hits_total', 'Blocks found in the cache.', () => cache.stats.hits);
  gauge('block_cache_misses_total', 'Blocks read from files.', () => cache.stats.misses);
}
