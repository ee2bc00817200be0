/**
 * Beginnings: what each actor of a node begins a life with: its ports, and arguments that are there when whoever it needs
 * has started.
 */
import type { TreeOptions } from '../engine/lsm/tree/options.ts';
import * as compactor from './compactor.thread.ts';
import type {
  CommitterFacts,
  CompactorFacts,
  MemtableFacts,
  ReplicationFacts,
  ShipperFacts,
  SyncerFacts,
} from './facts.ts';
import { gaugesOf } from './gauges.ts';
import * as memtable from './memtable.thread.ts';
import { type PortLife, portLife, type PortLifeOptions, type PortModule } from './runtime/ports/port-actor.ts';
import type { MessagePort } from './runtime/thread.ts';
import type { ActorName } from './shared.ts';
import type { ShipperLink } from './shipper-link.ts';
import * as shipper from './shipper.thread.ts';
import * as syncer from './syncer.thread.ts';
import { type Plumbing, RECOVERY } from './topology.ts';
import * as committer from './wal-committer.thread.ts';

/** What the replication thread (which lives in net, with its sockets) is given here. */
export interface ReplicationPlumbing {
  readonly shared: SharedArrayBuffer;
  /** Everything up to here is in tables. */
  readonly appliedIndex: number;
  /** The entry that says who belongs to the cluster, as the tables have it. */
  readonly membership: { readonly entry: Uint8Array; readonly index: number } | undefined;
  readonly inbox: SharedArrayBuffer;
  readonly toGateway: SharedArrayBuffer;
  readonly records: SharedArrayBuffer;
  readonly committed: SharedArrayBuffer;
  readonly places: SharedArrayBuffer;
  readonly checkpoints: SharedArrayBuffer;
  readonly dataDir: string;
}

/** What it says when it has started. */
export interface ReplicationStarted {
  /** Where the log goes on. */
  readonly end: committer.CommitterArgs['end'];
}

export interface BeginningsOptions {
  readonly plumbing: Plumbing;
  /** Ties the replication thread's module, and what else it wants, to what it is given here. */
  readonly replication: (
    options: PortLifeOptions<ReplicationPlumbing, ReplicationStarted>,
  ) => PortLife<ReplicationFacts>;
  /** Asked once the tables are open. */
  readonly membership: () => ReplicationPlumbing['membership'];
  readonly walDir: string;
  readonly walSegmentBytes: number;
  readonly walKeepBytes: number;
  /** The node's directory. */
  readonly dataDir: string;
  readonly treeDir: string;
  readonly tree: TreeOptions;
  readonly ledgerBytes: number;
  readonly ledgerMs: number;
  readonly historyMs: number;
  readonly subscriptionsMax: number;
  readonly cluster: string;
  readonly node: string;
  /** This boot's number in commands. */
  readonly origin: number;
  /** Between gateway and shipper. */
  readonly shipperLink: ShipperLink;
}

export class Beginnings {
  readonly #options: BeginningsOptions;

  constructor(options: BeginningsOptions) {
    this.#options = options;
  }

  compactor(ports: Ports, tables: Waypoint<compactor.CompactorStarted>): PortLife<CompactorFacts> {
    const args: compactor.CompactorArgs = { ...this.#stateArgs(), dataDir: this.#options.dataDir };
    return this.#life('compactor', compactor, {
      begin: () => ({ ports, args: Promise.resolve(args) }),
      onStarted: tables.reach,
    });
  }

  replication(
    ports: Ports,
    tables: Waypoint<compactor.CompactorStarted>,
    log: Waypoint<ReplicationStarted>,
  ): PortLife<ReplicationFacts> {
    const { plumbing, dataDir, membership } = this.#options;
    const { inbox, toGateway, records, committed, places } = plumbing.rings;
    const { checkpoints } = plumbing;
    const own = { shared: plumbing.shared.buffer, dataDir, inbox, toGateway, records, committed, places, checkpoints };
    // The tables first: the log is applied from where they end.
    const args = async (): Promise<ReplicationPlumbing> => {
      const { flushed } = await tables.reached;
      return { ...own, appliedIndex: flushed, membership: membership() };
    };
    return this.#options.replication({
      ...this.#hold('replication'),
      begin: () => ({ ports, args: args() }),
      onStarted: log.reach,
    });
  }

  committer(log: Waypoint<ReplicationStarted>, committing: Waypoint<undefined>): PortLife<CommitterFacts> {
    const { plumbing, walDir, walSegmentBytes, walKeepBytes } = this.#options;
    const { records, places } = plumbing.rings;
    const args = async (): Promise<committer.CommitterArgs> => {
      const { end } = await log.reached;
      const shared = plumbing.shared.buffer;
      return { shared, records, places, dir: walDir, segmentBytes: walSegmentBytes, keepBytes: walKeepBytes, end };
    };
    return this.#life('wal-committer', committer, { begin: () => ({ args: args() }), onStarted: committing.reach });
  }

  syncer(log: Waypoint<ReplicationStarted>, committing: Waypoint<undefined>): PortLife<SyncerFacts> {
    const { plumbing, walDir } = this.#options;
    const args = async (): Promise<syncer.SyncerArgs> => {
      await committing.reached;
      const { end } = await log.reached;
      return { shared: plumbing.shared.buffer, lastLsn: end.lastLsn, dir: walDir };
    };
    return this.#life('syncer', syncer, { begin: () => ({ args: args() }) });
  }

  memtable(ports: Ports, tables: Waypoint<compactor.CompactorStarted>): PortLife<MemtableFacts> {
    const { plumbing, origin, ledgerBytes, ledgerMs, historyMs } = this.#options;
    const { committed, answers, ledger } = plumbing.rings;
    const { checkpoints, tableSizes } = plumbing;
    const args = async (): Promise<memtable.MemtableArgs> => {
      await tables.reached;
      const own = { committed, answers, ledger, checkpoints, tableSizes, origin, ledgerBytes, ledgerMs, historyMs };
      return { ...this.#stateArgs(), ...own };
    };
    return this.#life('memtable', memtable, { begin: () => ({ ports, args: args() }) });
  }

  shipper(tables: Waypoint<compactor.CompactorStarted>): PortLife<ShipperFacts> {
    const { plumbing, subscriptionsMax, cluster, node, shipperLink } = this.#options;
    const { rings, checkpoints } = plumbing;
    shipperLink.renew();
    const args = async (): Promise<shipper.ShipperArgs> => {
      await tables.reached;
      return { ...this.#stateArgs(), ledger: rings.ledger, checkpoints, cluster, node, subscriptionsMax };
    };
    return this.#life('shipper', shipper, { begin: () => ({ ports: { gateway: shipperLink.far() }, args: args() }) });
  }

  /** What every reader of the state attaches to. */
  #stateArgs(): Pick<shipper.ShipperArgs, 'shared' | 'tree' | 'dir' | 'options'> {
    const { plumbing, treeDir, tree } = this.#options;
    return { shared: plumbing.shared.buffer, tree: plumbing.tree, dir: treeDir, options: tree };
  }

  /** How an actor is held, whatever it does. */
  #hold(name: ActorName): Omit<PortLifeOptions<never, never>, 'begin' | 'onStarted'> {
    const { plumbing } = this.#options;
    const { shared } = plumbing;
    return {
      control: { begin: () => shared.beginControl(name), end: () => shared.endControl(name) },
      gauges: () => gaugesOf(name, plumbing),
      isKilledWhenStuck: RECOVERY[name] !== 'unless-in-doubt',
    };
  }

  #life<Args, Started, Facts extends object>(
    name: ActorName,
    module: PortModule<Args, Started, Facts>,
    own: Pick<PortLifeOptions<Args, Started>, 'begin' | 'onStarted'>,
  ): PortLife<Facts> {
    return portLife(module, { ...this.#hold(name), ...own });
  }
}

type Ports = Readonly<Record<string, MessagePort>>;

/** What one actor tells those that start after it. */
export class Waypoint<T> {
  readonly reached: Promise<T>;
  reach: (value: T) => void = () => {};
  fail: (error: unknown) => void = () => {};

  constructor() {
    this.reached = new Promise((resolve, reject) => {
      this.reach = resolve;
      this.fail = reject;
    });
    // It may be that nobody waits for it.
    this.reached.catch(() => {});
  }
}
