/**
 * Supervisor: the threads of a node, from the first to the last and back.
 *
 * Starts them in the order in which they need each other, watches them, and stops them in reverse. The answer to a
 * dead actor is simple and safe: the node stops (nothing unsynced was ever promised), and whoever runs the node starts
 * it again; it goes on from its tables and the log behind them.
 */
import { StoreError } from '../core/base/errors.ts';
import * as committer from './wal-committer.thread.ts';
import * as compactor from './compactor.thread.ts';
import * as memtable from './memtable.thread.ts';
import { type LogFunction, type MessagePort, portPair, Thread } from './runtime/thread.ts';
import type { TreeOptions } from '../engine/lsm/tree/options.ts';
import type { ActorName } from './shared.ts';
import * as shipper from './shipper.thread.ts';
import * as syncer from './syncer.thread.ts';
import type { Plumbing } from './topology.ts';

/** What the replication thread (which lives in net, with its sockets) says when it has started. */
export interface ReplicationStarted {
  /** Where the log goes on. */
  readonly end: committer.CommitterArgs['end'];
}

export interface SupervisorOptions {
  readonly plumbing: Plumbing;
  /** The replication thread: its module, and everything but the plumbing that it wants. */
  readonly replication: { readonly module: string; readonly args: Readonly<Record<string, unknown>> };
  /** The entry that says who belongs to the cluster, as the tables have it; asked once they are open. */
  readonly membership: () => { readonly entry: Uint8Array; readonly index: number } | undefined;
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
  readonly log: LogFunction;
}

const STOP_DEADLINE_MS = 3_000;

export class Supervisor {
  readonly #options: SupervisorOptions;
  /** In the order of their start. */
  readonly #threads: Thread<unknown>[] = [];
  readonly shipperPort: MessagePort;
  readonly #shipperFarPort: MessagePort;
  #isStopping = false;
  #fail: (reason: StoreError) => void = () => {};
  /** Resolves with the reason when an actor ended that should not have. */
  readonly failed: Promise<StoreError>;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    [this.shipperPort, this.#shipperFarPort] = portPair();
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
  }

  /** Actors that run, with whether they do: for health. */
  get actors(): readonly { readonly name: string; readonly isRunning: boolean }[] {
    return this.#threads.map((thread) => ({ name: thread.name, isRunning: !this.#ended.has(thread.name) }));
  }

  readonly #ended = new Set<string>();

  /** Starts everything; on a failure stops what had started, newest first, and throws it. */
  async start(): Promise<void> {
    const { plumbing, replication, walDir, subscriptionsMax, cluster, node, origin } = this.#options;
    const { rings, tree } = plumbing;
    const shared = plumbing.shared.buffer;
    const state = { shared, tree, dir: this.#options.treeDir, options: this.#options.tree };
    const [memtablePort, compactorPort] = portPair();
    const [replicationPort, snapshotsPort] = portPair();
    try {
      // The tables first: the log is applied from where they end.
      const compactorArgs: compactor.CompactorArgs = { ...state, dataDir: this.#options.dataDir };
      const { flushed } = (await this.#spawn('compactor', compactor.url, compactorArgs, {
        memtable: compactorPort,
        replication: snapshotsPort,
      })) as compactor.CompactorStarted;
      const replicationArgs = {
        ...replication.args,
        shared,
        appliedIndex: flushed,
        membership: this.#options.membership(),
        inbox: rings.inbox,
        toGateway: rings.toGateway,
        records: rings.records,
        committed: rings.committed,
        places: rings.places,
        checkpoints: plumbing.checkpoints,
        dataDir: this.#options.dataDir,
      };
      const log = (await this.#spawn('replication', replication.module, replicationArgs, {
        compactor: replicationPort,
      })) as ReplicationStarted;
      const committerArgs: committer.CommitterArgs = {
        shared,
        records: rings.records,
        places: rings.places,
        dir: walDir,
        segmentBytes: this.#options.walSegmentBytes,
        keepBytes: this.#options.walKeepBytes,
        end: log.end,
      };
      await this.#spawn('wal-committer', committer.url, committerArgs);
      await this.#spawn('syncer', syncer.url, { shared, lastLsn: log.end.lastLsn } satisfies syncer.SyncerArgs);
      const shipperArgs: shipper.ShipperArgs = {
        ...state,
        ledger: rings.ledger,
        cluster,
        node,
        subscriptionsMax,
      };
      await this.#spawn('shipper', shipper.url, shipperArgs, { gateway: this.#shipperFarPort });
      const { ledgerBytes, ledgerMs, historyMs } = this.#options;
      const memtableArgs: memtable.MemtableArgs = {
        ...state,
        committed: rings.committed,
        answers: rings.answers,
        ledger: rings.ledger,
        checkpoints: plumbing.checkpoints,
        origin,
        ledgerBytes,
        ledgerMs,
        historyMs,
      };
      await this.#spawn('memtable', memtable.url, memtableArgs, { compactor: memtablePort });
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Stops all actors, in the order that loses nothing. May be called twice. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    // Nothing new enters; then the syncer leaves the file to the committer, which seals it; readers last.
    const order: readonly ActorName[] = ['replication', 'syncer', 'wal-committer', 'memtable', 'compactor', 'shipper'];
    for (const name of order) {
      const thread = this.#threads.find((candidate) => candidate.name === name);
      await thread?.stop(STOP_DEADLINE_MS);
    }
    this.shipperPort.close();
  }

  /** What each actor says of itself. */
  async inspect(): Promise<Record<string, unknown>> {
    const answers = await Promise.all(
      this.#threads.map(async (thread) => [thread.name, await thread.inspect()] as const),
    );
    return Object.fromEntries(answers);
  }

  async #spawn(
    name: ActorName,
    module: string,
    args: unknown,
    ports: Readonly<Record<string, MessagePort>> = {},
  ): Promise<unknown> {
    const { plumbing, log } = this.#options;
    const thread = new Thread<unknown>({
      name,
      module,
      args,
      ports,
      log,
      control: {
        begin: () => plumbing.shared.beginControl(name),
        end: () => plumbing.shared.endControl(name),
      },
    });
    this.#threads.push(thread);
    void this.#watch(thread);
    return thread.start();
  }

  async #watch(thread: Thread<unknown>): Promise<void> {
    const reason = await thread.ended;
    this.#ended.add(thread.name);
    if (this.#isStopping) return;
    const failure = reason ?? new StoreError('ACTOR_STOPPED', `${thread.name} ended`);
    this.#options.log('error', 'actor.failed', { actor: thread.name, code: failure.code, message: failure.message });
    this.#fail(failure);
  }
}
