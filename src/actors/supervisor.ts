/**
 * Supervisor: the actors of a node that have threads, from the first to the last and back: a system of the runtime, below
 * `/node`, with a decider of its own.
 *
 * An actor that only reads what others share is started again by itself. The death of any other is told (`onDeath`): what
 * it left in shared memory may be half done, so all of them end, and begin anew from what is durable (RECOVERY in
 * topology.ts).
 */
import { StoreError } from '../core/base/errors.ts';
import { letGoOf } from '../engine/lsm/tree/dead-reader.ts';
import type { TreeOptions } from '../engine/lsm/tree/options.ts';
import * as compactor from './compactor.thread.ts';
import { gaugesOf } from './gauges.ts';
import * as memtable from './memtable.thread.ts';
import { NodeDecider } from './node-decider.ts';
import { type Death, deathBy, mayComeBack, type Restarts } from './restarts.ts';
import { ActorSystem } from './runtime/core/system.ts';
import type { ActorReport } from './runtime/core/target.ts';
import type { ActorRef } from './runtime/core/types.ts';
import {
  portActor,
  type PortLife,
  portLife,
  type PortLifeOptions,
  type PortModule,
  type PortProtocol,
} from './runtime/ports/port-actor.ts';
import type { PulseBounds } from './runtime/ports/pulse-watchdog.ts';
import { type BreakDown, type LogFunction, type MessagePort, portPair } from './runtime/thread.ts';
import { Threads } from './runtime/threads/threads.ts';
import { type ActorName, actorNamed, ownerOf } from './shared.ts';
import type { ShipperLink } from './shipper-link.ts';
import * as shipper from './shipper.thread.ts';
import * as syncer from './syncer.thread.ts';
import { type Plumbing, RECOVERY } from './topology.ts';
import { walDoubt } from './wal-doubt.ts';
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

export interface SupervisorOptions {
  readonly plumbing: Plumbing;
  /** Ties the replication thread's module, and what else it wants, to what it is given here. */
  readonly replication: (options: PortLifeOptions<ReplicationPlumbing, ReplicationStarted>) => PortLife;
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
  readonly log: LogFunction;
  /** Replication's end of what it hears from and tells the applications' actors. */
  readonly actorsPort: MessagePort;
  /** Between gateway and shipper. */
  readonly shipperLink: ShipperLink;
  /** The shipper is gone, and another follows: what it fed ends with this. */
  readonly shipperGone: (error: StoreError) => void;
  readonly restarts: Restarts;
  readonly watchdog: PulseBounds;
  /** An actor is gone, and all have to start again, or stop. */
  readonly onDeath: (death: Death) => void;
}

/** What the node's own actors are below. */
export const NODE_PATH = '/node';

const START_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 3_000;
const INSPECT_DEADLINE_MS = 1_000;
const BREAK_DEADLINE_MS = 10_000;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #system: ActorSystem;
  readonly #threads: Threads;
  readonly #decider: NodeDecider;
  readonly #refs = new Map<ActorName, ActorRef<PortProtocol>>();
  /** The first that did not start, and why: others did not for want of it. */
  #unstarted: Death | undefined;

  constructor(options: SupervisorOptions) {
    const { log, watchdog, onDeath } = options;
    this.#options = options;
    this.#decider = new NodeDecider({ log, restarts: options.restarts, onAlone: (death) => this.#letGoOf(death) });
    this.#threads = new Threads({ log }, watchdog);
    this.#system = new ActorSystem(
      { log },
      {
        path: NODE_PATH,
        elsewhere: this.#threads,
        decider: this.#decider,
        escalate: (failure, { name }) => onDeath({ actor: actorNamed(name), failure }),
      },
    );
  }

  /** How each actor is, by name: for health. */
  get actors(): readonly (readonly [ActorName, 'running' | 'stuck' | 'ended'])[] {
    return this.#threads.ports.states.map(({ name, phase }) => [
      actorNamed(name),
      phase === 'stuck' || phase === 'ended' ? phase : 'running',
    ]);
  }

  /** The same, and what waits for them, as rows of the runtime's tree. */
  report(): Promise<readonly ActorReport[]> {
    return this.#system.inspect();
  }

  /**
   * Starts everything; on a failure stops what had started, and throws it. They load together, and end in the reverse
   * of the order here, which loses nothing: first nothing new enters; then the syncer leaves the log's file to the
   * committer, which seals it; readers of the tables, and who writes them, last.
   */
  async start(): Promise<void> {
    const { actorsPort } = this.#options;
    const [memtablePort, compactorPort] = portPair();
    const [replicationPort, snapshotsPort] = portPair();
    const tables = new Waypoint<compactor.CompactorStarted>();
    const log = new Waypoint<ReplicationStarted>();
    const committing = new Waypoint<undefined>();
    const spawned = [
      this.#spawn(
        'compactor',
        this.#compactor({ memtable: compactorPort, replication: snapshotsPort }, tables),
        tables,
      ),
      this.#spawn('shipper', this.#shipper(tables)),
      this.#spawn('memtable', this.#memtable({ compactor: memtablePort }, tables)),
      this.#spawn('wal-committer', this.#committer(log, committing), committing),
      this.#spawn('syncer', this.#syncer(log, committing)),
      this.#spawn(
        'replication',
        this.#replication({ compactor: replicationPort, actors: actorsPort }, tables, log),
        log,
      ),
    ];
    await Promise.all(spawned);
    const unstarted = this.#unstarted;
    if (unstarted === undefined) {
      this.#decider.hasStarted = true;
      return;
    }
    await this.stop();
    if (mayComeBack(unstarted)) {
      this.#decider.died(unstarted);
      this.#options.onDeath(unstarted);
    }
    throw unstarted.failure;
  }

  /** Stops all actors, in the order that loses nothing. May be called twice. */
  async stop(): Promise<void> {
    await this.#system.stop();
    this.#options.shipperLink.close();
  }

  /**
   * `dead`, the wal-committer or the syncer, is gone: what of the log is in doubt, if anything. In doubt nothing more is
   * synced: that could succeed, and prove nothing.
   */
  async settleWal(dead: ActorName): Promise<string | undefined> {
    const { shared } = this.#options.plumbing;
    // What was written is synced before it is looked at.
    if (dead === 'wal-committer') await this.#refs.get('syncer')?.stop({ deadlineMs: STOP_DEADLINE_MS });
    const doubt = walDoubt(shared, dead);
    if (doubt !== undefined) shared.set('walFailed', 1);
    return doubt;
  }

  /** What each actor says of itself. */
  async inspect(): Promise<Record<string, unknown>> {
    const alive = this.actors.filter(([name, state]) => state !== 'ended' && this.#refs.has(name));
    const answers = alive.map(async ([name]) => {
      const answer = await this.#refs.get(name)?.ask({ kind: 'inspect' }, { deadlineMs: INSPECT_DEADLINE_MS });
      return [name, answer] as const;
    });
    return Object.fromEntries(await Promise.all(answers));
  }

  /** For tests: has an actor break, or vanish at whatever instruction it is. */
  async breakDown(actor: ActorName, how: BreakDown | 'vanish'): Promise<void> {
    const ref = this.#refs.get(actor);
    if (ref === undefined) throw new StoreError('BAD_REQUEST', `${actor} has no thread`);
    if (how !== 'vanish') {
      await ref.ask({ kind: 'breakDown', how }, { deadlineMs: BREAK_DEADLINE_MS });
      return;
    }
    const ended = new Promise((resolve) => this.#system.watch(ref, resolve));
    ref.kill();
    await ended;
  }

  /** `waypoint`: whoever waits for it there hears it when it does not start. */
  async #spawn(name: ActorName, life: PortLife, waypoint?: Pick<Waypoint<unknown>, 'fail'>): Promise<void> {
    try {
      const ref = await this.#system.spawn(portActor(name), {
        name,
        thread: 'own',
        args: life,
        startDeadlineMs: START_DEADLINE_MS,
        stopDeadlineMs: STOP_DEADLINE_MS,
      });
      this.#refs.set(name, ref.stable());
    } catch (error) {
      this.#unstarted ??= deathBy(name, error);
      waypoint?.fail(error);
    }
  }

  // ── each of them ──

  #compactor(ports: Ports, tables: Waypoint<compactor.CompactorStarted>): PortLife {
    const args: compactor.CompactorArgs = { ...this.#stateArgs(), dataDir: this.#options.dataDir };
    return this.#life('compactor', compactor, {
      begin: () => ({ ports, args: Promise.resolve(args) }),
      onStarted: tables.reach,
    });
  }

  #replication(
    ports: Ports,
    tables: Waypoint<compactor.CompactorStarted>,
    log: Waypoint<ReplicationStarted>,
  ): PortLife {
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

  #committer(log: Waypoint<ReplicationStarted>, committing: Waypoint<undefined>): PortLife {
    const { plumbing, walDir, walSegmentBytes, walKeepBytes } = this.#options;
    const { records, places } = plumbing.rings;
    const args = async (): Promise<committer.CommitterArgs> => {
      const { end } = await log.reached;
      const shared = plumbing.shared.buffer;
      return { shared, records, places, dir: walDir, segmentBytes: walSegmentBytes, keepBytes: walKeepBytes, end };
    };
    return this.#life('wal-committer', committer, { begin: () => ({ args: args() }), onStarted: committing.reach });
  }

  #syncer(log: Waypoint<ReplicationStarted>, committing: Waypoint<undefined>): PortLife {
    const { plumbing, walDir } = this.#options;
    const args = async (): Promise<syncer.SyncerArgs> => {
      await committing.reached;
      const { end } = await log.reached;
      return { shared: plumbing.shared.buffer, lastLsn: end.lastLsn, dir: walDir };
    };
    return this.#life('syncer', syncer, { begin: () => ({ args: args() }) });
  }

  #memtable(ports: Ports, tables: Waypoint<compactor.CompactorStarted>): PortLife {
    const { plumbing, origin, ledgerBytes, ledgerMs, historyMs } = this.#options;
    const { committed, answers, ledger } = plumbing.rings;
    const { checkpoints } = plumbing;
    const args = async (): Promise<memtable.MemtableArgs> => {
      await tables.reached;
      const own = { committed, answers, ledger, checkpoints, origin, ledgerBytes, ledgerMs, historyMs };
      return { ...this.#stateArgs(), ...own };
    };
    return this.#life('memtable', memtable, { begin: () => ({ ports, args: args() }) });
  }

  #shipper(tables: Waypoint<compactor.CompactorStarted>): PortLife {
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

  #life<Args, Started>(
    name: ActorName,
    module: PortModule<Args, Started>,
    own: Pick<PortLifeOptions<Args, Started>, 'begin' | 'onStarted'>,
  ): PortLife {
    return portLife(module, { ...this.#hold(name), ...own });
  }

  /** The shipper starts again by itself. It owned nothing durable, and wrote nothing that others read but gauges. */
  #letGoOf({ actor }: Death): void {
    const { plumbing, shipperLink, shipperGone } = this.#options;
    letGoOf(plumbing.tree, ownerOf(actor));
    // In this order: what is asked for from now on waits for the next one.
    shipperLink.renew();
    shipperGone(new StoreError('UNAVAILABLE', `the ${actor} starts again`));
    plumbing.shared.set('subscriptions', 0);
  }
}

type Ports = Readonly<Record<string, MessagePort>>;

/** What one actor tells those that start after it. */
class Waypoint<T> {
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
