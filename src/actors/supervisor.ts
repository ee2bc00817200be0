/**
 * Supervisor: the threads of a node, from the first to the last and back.
 *
 * Starts them in the order in which they need each other, watches them, and stops them in reverse. An actor that only
 * reads what others share is started again here, by itself. The death of any other is told (`onDeath`): what it left in
 * shared memory may be half done, so all of them end, and begin anew from what is durable (RECOVERY in topology.ts).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError } from '../core/base/errors.ts';
import * as committer from './wal-committer.thread.ts';
import * as compactor from './compactor.thread.ts';
import * as memtable from './memtable.thread.ts';
import { type Death, deathBy, mayComeBack, type Restarts } from './restarts.ts';
import { type BreakDown, type LogFunction, type MessagePort, portPair, Thread } from './runtime/thread.ts';
import { letGoOf } from '../engine/lsm/tree/dead-reader.ts';
import type { TreeOptions } from '../engine/lsm/tree/options.ts';
import { type ActorName, ownerOf } from './shared.ts';
import type { ShipperLink } from './shipper-link.ts';
import * as shipper from './shipper.thread.ts';
import * as syncer from './syncer.thread.ts';
import { type Plumbing, RECOVERY } from './topology.ts';
import { walDoubt } from './wal-doubt.ts';
import { Watchdog, type WatchdogBounds, type Watched } from './watchdog.ts';

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
  /** Replication's end of what it hears from and tells the applications' actors. */
  readonly actorsPort: MessagePort;
  /** Between gateway and shipper. */
  readonly shipperLink: ShipperLink;
  /** The shipper is gone, and another follows: what it fed ends with this. */
  readonly shipperGone: (error: StoreError) => void;
  readonly restarts: Restarts;
  readonly watchdog: WatchdogBounds;
  /** An actor is gone, and all have to start again, or stop. */
  readonly onDeath: (death: Death) => void;
}

const STOP_DEADLINE_MS = 3_000;

/** Longer than the watchdog waits for anybody. */
const ASK_DEADLINE_MS = 3_600_000;

/** A thread, and its actor. */
interface Running extends Watched {
  readonly thread: Thread<unknown>;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  /** By name, in the order of their start. Who has ended is still there. */
  readonly #running = new Map<ActorName, Running>();
  readonly #ended = new Set<Running>();
  readonly #watchdog: Watchdog;
  #watching: NodeJS.Timeout | undefined;
  /** Ends the pauses before restarts. */
  readonly #stopping = new AbortController();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#watchdog = new Watchdog(options.watchdog, options.log);
  }

  /** How each actor is, by name: for health. */
  get actors(): readonly (readonly [ActorName, 'running' | 'stuck' | 'ended'])[] {
    return [...this.#running.values()].map((running) => {
      if (this.#ended.has(running)) return [running.name, 'ended'];
      return [running.name, this.#watchdog.isStuck(running) ? 'stuck' : 'running'];
    });
  }

  /** Starts everything; on a failure stops what had started, newest first, and throws it. */
  async start(): Promise<void> {
    const { plumbing, replication, walDir, origin } = this.#options;
    const { rings } = plumbing;
    const shared = plumbing.shared.buffer;
    const state = this.#stateArgs();
    const [memtablePort, compactorPort] = portPair();
    const [replicationPort, snapshotsPort] = portPair();
    const compacting = this.#spawn('compactor', compactor.url, { memtable: compactorPort, replication: snapshotsPort });
    const replicating = this.#spawn('replication', replication.module, {
      compactor: replicationPort,
      actors: this.#options.actorsPort,
    });
    const committing = this.#spawn('wal-committer', committer.url);
    const syncing = this.#spawn('syncer', syncer.url);
    const shipping = this.#spawnShipper();
    const applying = this.#spawn('memtable', memtable.url, { compactor: memtablePort });
    try {
      // The tables first: the log is applied from where they end.
      const compactorArgs: compactor.CompactorArgs = { ...state, dataDir: this.#options.dataDir };
      const { flushed } = (await compacting.start(compactorArgs)) as compactor.CompactorStarted;
      const log = (await replicating.start({
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
      await committing.start(committerArgs);
      const syncerArgs: syncer.SyncerArgs = { shared, lastLsn: log.end.lastLsn, dir: walDir };
      await syncing.start(syncerArgs);
      await shipping.start(this.#shipperArgs());
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
      await applying.start(memtableArgs);
      const { tickMs } = this.#options.watchdog;
      this.#watching = setInterval(() => this.#watchdog.tick(this.#alive), tickMs);
      this.#watching.unref();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Stops all actors, in the order that loses nothing. May be called twice. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    clearInterval(this.#watching);
    // Nothing new enters; then the syncer leaves the file to the committer, which seals it; readers last.
    const order: readonly ActorName[] = ['replication', 'syncer', 'wal-committer', 'memtable', 'compactor', 'shipper'];
    for (const name of order) {
      const running = this.#running.get(name);
      if (running !== undefined && !this.#ended.has(running)) await running.thread.stop(STOP_DEADLINE_MS);
    }
    this.#options.shipperLink.close();
  }

  /**
   * `dead`, the wal-committer or the syncer, is gone: what of the log is in doubt, if anything. In doubt nothing more is
   * synced: that could succeed, and prove nothing.
   */
  async settleWal(dead: ActorName): Promise<string | undefined> {
    const { shared } = this.#options.plumbing;
    const syncer = this.#running.get('syncer');
    if (dead === 'wal-committer' && syncer !== undefined && !this.#ended.has(syncer)) {
      // What was written is synced before it is looked at.
      this.#ended.add(syncer);
      await syncer.thread.stop(STOP_DEADLINE_MS);
    }
    const doubt = walDoubt(shared, dead);
    if (doubt !== undefined) shared.set('walFailed', 1);
    return doubt;
  }

  /** What each actor says of itself. */
  async inspect(): Promise<Record<string, unknown>> {
    const answers = await Promise.all(
      this.#alive.map(async ({ name, thread }) => [name, await thread.inspect()] as const),
    );
    return Object.fromEntries(answers);
  }

  /** For tests: has an actor break, or vanish at whatever instruction it is. */
  async breakDown(actor: ActorName, how: BreakDown | 'vanish'): Promise<void> {
    const running = this.#running.get(actor);
    if (running === undefined) throw new StoreError('BAD_REQUEST', `${actor} has no thread`);
    if (how !== 'vanish') return running.thread.breakDown(how);
    await running.thread.kill(new StoreError('ACTOR_STOPPED', `${actor} vanished`));
  }

  get #alive(): Running[] {
    return [...this.#running.values()].filter((running) => !this.#ended.has(running));
  }

  /** What every reader of the state attaches to. */
  #stateArgs(): Pick<shipper.ShipperArgs, 'shared' | 'tree' | 'dir' | 'options'> {
    const { plumbing, treeDir, tree } = this.#options;
    return { shared: plumbing.shared.buffer, tree: plumbing.tree, dir: treeDir, options: tree };
  }

  #shipperArgs(): shipper.ShipperArgs {
    const { plumbing, subscriptionsMax, cluster, node } = this.#options;
    const { rings, checkpoints } = plumbing;
    return { ...this.#stateArgs(), ledger: rings.ledger, checkpoints, cluster, node, subscriptionsMax };
  }

  #spawnShipper(): Thread<unknown> {
    return this.#spawn('shipper', shipper.url, { gateway: this.#options.shipperLink.renew() });
  }

  /** A thread that loads, and waits to be started. */
  #spawn(name: ActorName, module: string, ports: Readonly<Record<string, MessagePort>> = {}): Thread<unknown> {
    const { plumbing, log } = this.#options;
    const thread = new Thread<unknown>({
      name,
      module,
      ports,
      log,
      control: {
        begin: () => plumbing.shared.beginControl(name),
        end: () => plumbing.shared.endControl(name),
      },
    });
    const running: Running = {
      name,
      thread,
      isKilled: RECOVERY[name] !== 'unless-in-doubt',
      // Its deadline is the watchdog's business.
      ask: () => thread.inspect(ASK_DEADLINE_MS),
      kill: (reason) => void thread.kill(reason),
    };
    this.#running.set(name, running);
    void this.#watch(running);
    return thread;
  }

  async #watch(running: Running): Promise<void> {
    const { name, thread } = running;
    const failure = (await thread.ended) ?? new StoreError('ACTOR_STOPPED', `${name} ended`);
    if (this.#ended.has(running)) return;
    this.#ended.add(running);
    if (this.#stopping.signal.aborted) return;
    const death: Death = { actor: name, failure };
    const { code, message } = failure;
    this.#options.log('error', 'actor.died', { actor: name, code, message });
    // Not before all of them have started: a start that fails is told by itself.
    const isAlone = RECOVERY[name] === 'alone' && this.#watching !== undefined && mayComeBack(death);
    if (isAlone) await this.#comeBack(death);
    else this.#options.onDeath(death);
  }

  /** Starts the shipper again. It owned nothing durable, and wrote nothing that others read but gauges. */
  async #comeBack(death: Death): Promise<void> {
    const { plumbing, restarts, shipperGone, log, onDeath } = this.#options;
    const { actor } = death;
    const dead = this.#running.get(actor);
    const diedMs = performance.now();
    try {
      const pauseMs = restarts.note(death);
      letGoOf(plumbing.tree, ownerOf(actor));
      // In this order: what is asked for from now on waits for the next one.
      const shipping = this.#spawnShipper();
      shipperGone(new StoreError('UNAVAILABLE', `the ${actor} starts again`));
      plumbing.shared.set('subscriptions', 0);
      await sleep(pauseMs, undefined, { signal: this.#stopping.signal });
      await shipping.start(this.#shipperArgs());
      log('info', 'actor.back', { actor, ms: Math.round(performance.now() - diedMs) });
    } catch (error) {
      // A stop came in between; or the next one died while it started, which is told by its own watch.
      const next = this.#running.get(actor);
      const isTold = this.#stopping.signal.aborted || (next !== undefined && next !== dead && this.#ended.has(next));
      if (!isTold) onDeath(deathBy(actor, error));
    }
  }
}
