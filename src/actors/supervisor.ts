/**
 * Supervisor: the actors of a node, from the first to the last and back: a system of the runtime, below `/node`, with a
 * decider of its own. All but the gateway have threads.
 *
 * An actor that only reads what others share is started again by itself. The death of any other is told (`onDeath`): what
 * it left in shared memory may be half done, so all of them end, and begin anew from what is durable (RECOVERY in
 * topology.ts).
 */
import { StoreError } from '../core/base/errors.ts';
import { letGoOf } from '../engine/lsm/tree/dead-reader.ts';
import { Beginnings, type BeginningsOptions, type ReplicationStarted, Waypoint } from './beginnings.ts';
import type { CompactorStarted } from './compactor.thread.ts';
import type { NodeFacts } from './facts.ts';
import { gatewayActor, type GatewayLoopWorld, type GatewayProtocol } from './gateway/gateway-actor.ts';
import { gaugesOf } from './gauges.ts';
import { NodeDecider } from './node-decider.ts';
import { type Death, deathBy, mayComeBack, type Restarts } from './restarts.ts';
import { ActorSystem } from './runtime/core/system.ts';
import type { ActorReport } from './runtime/core/target.ts';
import type { ActorRef } from './runtime/core/types.ts';
import { factsOf, portActor, type PortLife, type PortProtocol } from './runtime/ports/port-actor.ts';
import type { PulseBounds } from './runtime/ports/pulse-watchdog.ts';
import { type BreakDown, type LogFunction, type MessagePort, portPair } from './runtime/thread.ts';
import { Threads } from './runtime/threads/threads.ts';
import { type ActorName, actorNamed, ownerOf } from './shared.ts';
import { walDoubt } from './wal-doubt.ts';

export interface SupervisorOptions extends BeginningsOptions {
  readonly log: LogFunction;
  /** Replication's end of what it hears from and tells the applications' actors. */
  readonly actorsPort: MessagePort;
  /** The shipper is gone, and another follows: what it fed ends with this. */
  readonly shipperGone: (error: StoreError) => void;
  readonly restarts: Restarts;
  readonly watchdog: PulseBounds;
  /** An actor is gone, and all have to start again, or stop. */
  readonly onDeath: (death: Death) => void;
}

/** Those with threads. */
type Refs = { [Name in keyof NodeFacts]?: ActorRef<PortProtocol<NodeFacts[Name]>> };

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
  readonly #beginnings: Beginnings;
  readonly #refs: Refs = {};
  #gateway: ActorRef<GatewayProtocol> | undefined;
  #isGatewayBroken = false;
  /** The first that did not start, and why: others did not for want of it. */
  #unstarted: Death | undefined;

  constructor(options: SupervisorOptions) {
    const { log, watchdog, onDeath } = options;
    this.#options = options;
    this.#beginnings = new Beginnings(options);
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

  /** All of them, as rows of the runtime's tree. */
  async report(): Promise<readonly ActorReport[]> {
    const rows = await this.#system.inspect();
    // What waits for the gateway does so in rings, not in its mailbox.
    return rows.map((row) =>
      row.name === 'gateway' ? { ...row, ...gaugesOf('gateway', this.#options.plumbing) } : row,
    );
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
    const tables = new Waypoint<CompactorStarted>();
    const log = new Waypoint<ReplicationStarted>();
    const committing = new Waypoint<undefined>();
    const spawned = [
      this.#spawn(
        'compactor',
        this.#beginnings.compactor({ memtable: compactorPort, replication: snapshotsPort }, tables),
        tables,
      ),
      this.#spawn('shipper', this.#beginnings.shipper(tables)),
      this.#spawn('memtable', this.#beginnings.memtable({ compactor: memtablePort }, tables)),
      this.#spawn('wal-committer', this.#beginnings.committer(log, committing), committing),
      this.#spawn('syncer', this.#beginnings.syncer(log, committing)),
      this.#spawn(
        'replication',
        this.#beginnings.replication({ compactor: replicationPort, actors: actorsPort }, tables, log),
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

  /** The last to start and the first to end: everybody else serves it. */
  async startGateway(world: Omit<GatewayLoopWorld, 'broke'>): Promise<void> {
    const broke = (error: unknown): void => this.gatewayBroke(error);
    this.#gateway = await this.#system.spawn(gatewayActor, { name: 'gateway', args: { ...world, broke } });
  }

  /** Something that runs in the gateway's name has thrown: the first time is its death. */
  gatewayBroke(error: unknown): void {
    if (this.#isGatewayBroken) return;
    this.#isGatewayBroken = true;
    const death = deathBy('gateway', error);
    if (this.#gateway?.tell({ kind: 'broke', error: death.failure }) === true) return;
    // It has not begun, or has ended.
    this.#decider.died(death);
    this.#options.onDeath(death);
  }

  async stopGateway(): Promise<void> {
    await this.#gateway?.stop();
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
    if (dead === 'wal-committer') await this.#refs.syncer?.stop({ deadlineMs: STOP_DEADLINE_MS });
    const doubt = walDoubt(shared, dead);
    if (doubt !== undefined) shared.set('walFailed', 1);
    return doubt;
  }

  /** What each actor says of itself. */
  async inspect(): Promise<Partial<NodeFacts>> {
    const facts: { -readonly [Name in keyof NodeFacts]?: NodeFacts[Name] } = {};
    const ask = async <Name extends keyof NodeFacts>(name: Name, ref: Refs[Name]): Promise<void> => {
      if (ref !== undefined) facts[name] = await factsOf(ref, { deadlineMs: INSPECT_DEADLINE_MS });
    };
    const asked: Promise<void>[] = [];
    for (const [name, state] of this.actors) {
      if (name !== 'gateway' && state !== 'ended') asked.push(ask(name, this.#refs[name]));
    }
    await Promise.all(asked);
    return facts;
  }

  /** For tests: has an actor break, or vanish at whatever instruction it is. */
  async breakDown(actor: ActorName, how: BreakDown | 'vanish'): Promise<void> {
    const ref = actor === 'gateway' ? undefined : this.#refs[actor];
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
  async #spawn<Name extends keyof NodeFacts>(
    name: Name,
    life: PortLife<NodeFacts[Name]>,
    waypoint?: Pick<Waypoint<unknown>, 'fail'>,
  ): Promise<void> {
    try {
      const ref = await this.#system.spawn(portActor<NodeFacts[Name]>(name), {
        name,
        thread: 'own',
        args: life,
        startDeadlineMs: START_DEADLINE_MS,
        stopDeadlineMs: STOP_DEADLINE_MS,
      });
      // What a name stands for the compiler reads from the table, but does not write into it.
      this.#refs[name] = ref.stable() as Refs[Name];
    } catch (error) {
      this.#unstarted ??= deathBy(name, error);
      waypoint?.fail(error);
    }
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
