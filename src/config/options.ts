/**
 * Options: the one table of everything that can be tuned, with default, unit, bounds and why this default.
 *
 * The schema, the resolved config and the documentation are all made from it, so that they cannot disagree.
 */
import type { CallerConfig, ClusterConfig, LogLevel, ReaderConfig, RepairMode } from './types.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

export interface NumberOption {
  readonly name: string;
  readonly default: number;
  readonly unit: 'ms' | 'bytes' | 'connections' | 'operations';
  readonly min: number;
  readonly max: number;
  readonly why: string;
}

export const RAFT_OPTIONS: readonly NumberOption[] = [
  {
    name: 'electionTimeoutMs',
    default: 500,
    unit: 'ms',
    min: 50,
    max: 60_000,
    why: 'five lost heartbeats; long enough for a garbage collection or a slow fdatasync, short enough that a dead leader costs about a second',
  },
  {
    name: 'heartbeatMs',
    default: 100,
    unit: 'ms',
    min: 10,
    max: 10_000,
    why: 'ten small messages a second to each follower cost nothing, and three may be lost before anybody stands',
  },
];

export const TUNING_OPTIONS: readonly NumberOption[] = [
  {
    name: 'memtableBytes',
    default: 16 * MIB,
    unit: 'bytes',
    min: MIB,
    max: 512 * MIB,
    why: 'a memtable becomes a table once it holds this much; five of them at most are in memory, so it is a fifth of what a burst may take before writes wait; small ones are faster to write, large ones are merged less often',
  },
  {
    name: 'cacheBytes',
    default: 64 * MIB,
    unit: 'bytes',
    min: 0,
    max: 16 * GIB,
    why: 'blocks of tables kept in memory for all threads: control data of the usual size is read from memory alone',
  },
  {
    name: 'compactionBytesPerSecond',
    default: 0,
    unit: 'bytes',
    min: 0,
    max: GIB,
    why: 'what merging tables may write each second; 0 is as fast as it can, and with a bound below what is written the writes are slowed down in the end',
  },
  {
    name: 'walSegmentBytes',
    default: 16 * MIB,
    unit: 'bytes',
    min: 64 * KIB,
    max: GIB,
    why: 'a log file is left for the next once it holds this much: big enough that it is rare, small enough to be looked at',
  },
  {
    name: 'walKeepBytes',
    default: GIB,
    unit: 'bytes',
    min: 64 * KIB,
    max: 1024 * GIB,
    why: 'what the log may hold for a node that is away: entries cost it less than the snapshot that it gets when it was away for longer',
  },
  {
    name: 'ledgerBytes',
    default: 256 * MIB,
    unit: 'bytes',
    min: MIB,
    max: 64 * GIB,
    why: 'how far back a watch or an LDB can resume; one that is further behind gets a snapshot (an LDB) or COMPACTED (a watch)',
  },
  {
    name: 'ledgerMs',
    default: 7 * 24 * 60 * 60 * 1000,
    unit: 'ms',
    min: 1_000,
    max: 10 * 365 * 24 * 60 * 60 * 1000,
    why: 'the same by age: a host that was down over a weekend resumes, and old records do not stay for ever',
  },
  {
    name: 'ledgerHeartbeatMs',
    default: 0,
    unit: 'ms',
    min: 0,
    max: 24 * 60 * 60 * 1000,
    why: 'how often the leader writes a row of the time, for who measures age by rows; 0 is never, as log time goes on by itself',
  },
  {
    name: 'historyMs',
    default: 60_000,
    unit: 'ms',
    min: 0,
    max: 24 * 60 * 60 * 1000,
    why: 'how far back the state can be read: a long range that goes on at its revision on another node has so long to do it; every superseded value costs its room that long',
  },
  {
    name: 'connectionsMax',
    default: 1024,
    unit: 'connections',
    min: 1,
    max: 65_536,
    why: 'sockets a node accepts before it refuses more: below the usual limit of open files',
  },
  {
    name: 'inFlightMax',
    default: 4096,
    unit: 'operations',
    min: 1,
    max: 1_048_576,
    why: 'operations a node holds at once before it answers OVERLOADED: a bound on memory, 16 times what saturates the log',
  },
];

export const CLUSTER_NAME_DEFAULT = 'ctlmesh';
export const LOG_LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];
export const LOG_LEVEL_DEFAULT: LogLevel = 'info';
export const REPAIR_MODES: readonly RepairMode[] = ['peers', 'never'];
export const REPAIR_DEFAULT: RepairMode = 'peers';
/** A quorum of seven is four: more nodes only make writes slower. */
export const NODES_MAX = 7;
/** Nodes that join: as many again, so that each can be replaced. */
export const JOINING_MAX = 7;
/** Heartbeats that fit in an election timeout, at least: fewer, and one lost message elects a new leader. */
export const HEARTBEATS_PER_TIMEOUT_MIN = 3;

/** What a node must say about itself. */
export const NODE_FIELDS: Readonly<Record<'client' | 'peer' | 'http' | 'dataDir' | 'join', string>> = {
  client: "where clients connect, like 'ws://127.0.0.1:7411'",
  peer: "where the other nodes connect, like 'ws://127.0.0.1:7421'",
  http: "where the HTTP API, /metrics and /healthz are served, like 'http://127.0.0.1:7431'",
  dataDir: "the directory for this node's files, like 'data/n1'",
  join: 'true at a node that is added to a cluster which is there already',
};

/** What the config says about a reader of the ledger. */
export const READER_FIELDS: readonly (keyof ReaderConfig)[] = [
  'tokenSha256',
  'tokenEnv',
  'all',
  'families',
  'tables',
  'prefixes',
];

/** And about who asks. */
export const CALLER_FIELDS: readonly (keyof CallerConfig)[] = ['tokenSha256', 'tokenEnv', 'role'];

export const TOP_KEYS: readonly (keyof ClusterConfig)[] = [
  'cluster',
  'nodes',
  'raft',
  'memtableBytes',
  'cacheBytes',
  'compactionBytesPerSecond',
  'walSegmentBytes',
  'walKeepBytes',
  'ledgerBytes',
  'ledgerMs',
  'ledgerHeartbeatMs',
  'historyMs',
  'connectionsMax',
  'inFlightMax',
  'callers',
  'readers',
  'destructiveSchemaChanges',
  'originsAllowed',
  'hostsAllowed',
  'repair',
  'logLevel',
];
