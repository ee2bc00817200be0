/**
 * The cluster's config: as people write it (`ClusterConfigInput`) and as the node reads it (`ClusterConfig`,
 * every default filled in, every path absolute).
 */
import type { CallerRole } from '../core/wire/access.ts';

/** One node: the three addresses it listens on and the directory it owns. */
export interface NodeConfig {
  /** Where SDK clients connect: ws://host:port. */
  readonly client: string;
  /** Where the other nodes connect: ws://host:port. */
  readonly peer: string;
  /** The HTTP API, /metrics, /healthz, /readyz: http://host:port. */
  readonly http: string;
  /** The node's files. In a config file, relative to that file. One node, one directory. */
  readonly dataDir: string;
  /**
   * The node does not found the cluster: it waits, with an empty directory, until `kvctl member add` names it. Left out
   * at the nodes that a cluster begins with. Once its log says who the members are, it counts for nothing.
   */
  readonly join?: boolean | undefined;
}

export interface RaftConfig {
  /** A follower that hears nothing for this long (and up to twice this, at random) asks for an election. */
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
}

/** A token, by its hash or by where it is. */
export interface TokenConfig {
  /** SHA-256 of the token, 64 hexadecimal digits; this or `tokenEnv`. */
  readonly tokenSha256?: string | undefined;
  /** The environment variable of the node that holds the token. */
  readonly tokenEnv?: string | undefined;
}

/** Somebody who asks, known by a token. */
export interface CallerConfig extends TokenConfig {
  /** What it may: `read`, `write` (keys and rows too), `admin` (everything). */
  readonly role: CallerRole;
}

/** A reader of the ledger, known by its token: what its replicas may hold. */
export interface ReaderConfig extends TokenConfig {
  /** Everything; else what the next three name. */
  readonly all?: boolean | undefined;
  readonly families?: readonly string[] | undefined;
  /** As `family/table`. */
  readonly tables?: readonly string[] | undefined;
  /** Keys that begin with one of these. */
  readonly prefixes?: readonly string[] | undefined;
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** What a start does about damaged files: has the other nodes give it their state, or refuses. */
export type RepairMode = 'peers' | 'never';

/** What each option means, its default and why: `OPTIONS` in options.ts. */
export interface TuningConfig {
  readonly memtableBytes: number;
  readonly cacheBytes: number;
  readonly compactionBytesPerSecond: number;
  readonly walSegmentBytes: number;
  readonly walKeepBytes: number;
  readonly ledgerBytes: number;
  readonly ledgerMs: number;
  readonly ledgerHeartbeatMs: number;
  readonly historyMs: number;
  readonly connectionsMax: number;
  readonly inFlightMax: number;
  /** Tables may be dropped and cleared; default false: such a request is refused with DISABLED. */
  readonly destructiveSchemaChanges: boolean;
  /** Web pages that may connect, by their origin ('https://ops.example'); default none. SDKs send no origin. */
  readonly originsAllowed: readonly string[];
  /** Names beside that of its `http` address under which a node's HTTP API may be asked ('n1.example'); default none. */
  readonly hostsAllowed: readonly string[];
  /**
   * 'peers' (default): a node whose files are damaged keeps them aside, begins with an empty directory, and is let in again
   * by the others; it votes once it has everything. 'never': it refuses to start, and waits for a person.
   */
  readonly repair: RepairMode;
  readonly logLevel: LogLevel;
}

/** Resolved: what `parseConfig` and `loadConfig` give. */
export interface ClusterConfig extends TuningConfig {
  /** The cluster's name; a data directory of another cluster is refused. */
  readonly cluster: string;
  readonly nodes: Readonly<Record<string, NodeConfig>>;
  readonly raft: RaftConfig;
  /** Who may ask, over HTTP and at the client port, by name; none: everybody may. */
  readonly callers: Readonly<Record<string, CallerConfig>>;
  /** Who may follow the ledger, by name; none: everybody may. */
  readonly readers: Readonly<Record<string, ReaderConfig>>;
}

/** As written: nodes, and whatever differs from the defaults. */
export interface ClusterConfigInput extends Partial<TuningConfig> {
  readonly cluster?: string;
  readonly nodes: Readonly<Record<string, NodeConfig>>;
  readonly raft?: Partial<RaftConfig>;
  readonly callers?: Readonly<Record<string, CallerConfig>>;
  readonly readers?: Readonly<Record<string, ReaderConfig>>;
}

/** One thing wrong with a config. `path` is where: 'nodes.n1.peer'; '' is the file as a whole. */
export interface ConfigFault {
  readonly path: string;
  readonly message: string;
}
