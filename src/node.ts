/**
 * START HERE: a node, from config to service and back.
 *
 *   config → lock and claim the data directory → actors (WAL recovered, state rebuilt) → gateway → doors
 *
 * and down in reverse. Each step says why it stands where it does. `docs/ARCHITECTURE.md` follows a put through
 * what is put together here.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Logger, pino } from 'pino';
import type { Registry } from 'prom-client';
import { Callers } from './actors/gateway/callers.ts';
import type { NodeFacts } from './actors/facts.ts';
import { type Death, Restarts } from './actors/restarts.ts';
import type { ClusterActors } from './actors/runtime/cluster/cluster-actors.ts';
import type { LogFunction } from './actors/runtime/thread.ts';
import { PULSE } from './actors/runtime/threads/threads.ts';
import type { ActorName } from './actors/shared.ts';
import { StoreClient } from './client/client.ts';
import type { Bytes, Client, Entry, NodeStatus } from './client/types.ts';
import type { ClusterConfig, ClusterConfigInput } from './config/index.ts';
import { callerGrants, foundingMembers, memberOf, parseConfig } from './config/index.ts';
import { StoreError } from './core/base/errors.ts';
import { VERSION } from './core/base/version.ts';
import type { Member } from './core/raft/membership.ts';
import type { StateReader } from './engine/state/state-reader.ts';
import { executiveRoutes } from './net/executive/routes.ts';
import { HttpDoor, type Readiness } from './net/http-door.ts';
import { type ActorFacts, viewOf } from './net/actor-facts.ts';
import { ActorTotals } from './net/actor-metrics.ts';
import { createMetrics } from './net/metrics.ts';
import { actorFacts } from './node/actor-rows.ts';
import { actorsOf } from './node/actors.ts';
import { EmbeddedDoor } from './node/embedded.ts';
import { handOver } from './node/hand-over.ts';
import { healthOf } from './node/health.ts';
import { Heartbeat } from './node/heartbeat.ts';
import { judge } from './node/judgement.ts';
import { Life, type LifeWorld } from './node/life.ts';
import { LocalReads } from './node/local-reads.ts';
import type { Parts } from './node/parts.ts';
import { readinessOf } from './node/readiness.ts';
import { RepairWatch } from './node/repair-watch.ts';
import { install, noteDamage, type Opened, startIn } from './node/start.ts';
import { leaderOf, statusOf } from './node/status.ts';
import { spansFor, type Tracer } from './node/tracing.ts';
import {
  BREAK,
  type Breakable,
  breakDown,
  type Breaking,
  type TestOptions,
  WATCHDOG_BOUNDS,
} from './node/test-hooks.ts';

export interface StartOptions {
  /** Where the node logs; default: pino on stdout at the config's level. */
  readonly logger?: Logger;
  /** Is told the stages of writes that a client traces (`trace` of a call). Of the shape of OpenTelemetry's API. */
  readonly tracer?: Tracer;
}

/** A node running in this process. The store's calls go through its own gateway, without a socket. */
export interface RunningNode extends Omit<Client, 'status' | 'state' | 'endpoint' | 'close'> {
  readonly id: string;
  status(): NodeStatus;
  /** What this node has now, read in this thread: no await, no message. */
  getSync(key: Bytes): Entry | undefined;
  /** A consistent range of what this node has now. */
  rangeSync(options?: { readonly prefix?: Bytes; readonly limit?: number }): Entry[];
  /** What each actor says of itself; one that does not run is left out. */
  inspect(): Promise<Partial<NodeFacts>>;
  /**
   * The application's own actors: they run as long as the node does, and stop before it. When its root gives up, the
   * node stops, with `failed`. `host`, `singleton` and `lookup` reach across the cluster (docs/actors.md).
   */
  readonly actors: ClusterActors;
  /** Stops in order; what was acknowledged stays. May be called twice. */
  stop(): Promise<void>;
  /**
   * Resolves, with the reason, when the node had to stop by itself: a failed disk, a damaged table. ACTOR_STOPPED: an
   * actor that could not come back: it died too often, or left the log in doubt. A new start is safe then.
   */
  readonly failed: Promise<Error>;
}

/**
 * Starts node `id` of `config`. Rejects with DIR_LOCKED, DIR_FOREIGN, DIVERGED, WAL_CORRUPT, CONFIG_INVALID, or the
 * system's error for an address that is taken; nothing is left running then. Files that are damaged are given up, where
 * the config's `repair` allows it and the other nodes let this one in again with an empty directory.
 */
export async function startNode(
  config: ClusterConfig | ClusterConfigInput,
  id: string,
  options: StartOptions = {},
): Promise<RunningNode> {
  const resolved = parseConfig(config, { baseDir: process.cwd() });
  const own = resolved.nodes[id];
  if (own === undefined) {
    throw new StoreError(
      'CONFIG_INVALID',
      `the config has no node "${id}"; it has ${Object.keys(resolved.nodes).join(', ')}`,
    );
  }
  const logger = options.logger ?? pino({ level: resolved.logLevel, base: { node: id } });
  const log: LogFunction = (level, event, fields = {}) => logger[level](fields, event);
  const { [WATCHDOG_BOUNDS]: watchdog = PULSE } = options as TestOptions;
  const callers = new Callers(callerGrants(resolved, process.env));
  const given = { logger, watchdog, callers, onTrace: options.tracer && spansFor(options.tracer, log) };
  return startIn({ config: resolved, id, dataDir: own.dataDir, log }, (opened) => Node.start(opened, given));
}

type Given = Pick<LifeWorld, 'watchdog' | 'onTrace' | 'callers'> & { readonly logger: Logger };

class Node implements RunningNode, Breakable {
  readonly id: string;
  readonly #opened: Opened;
  readonly #config: ClusterConfig;
  /** This node in the config. */
  readonly #own: ClusterConfig['nodes'][string];
  /** Everybody who ever was a member: what a leader's number means (actors/shared.ts). */
  #known: readonly Member[] = [];
  readonly #logger: Logger;
  readonly #startedMs = performance.now();
  #life: Life;
  /** Of this life. */
  #metrics: Registry;
  /** The parts are gone, or not there yet. */
  #isBetween = true;
  readonly #actorTotals = new ActorTotals();
  readonly #embedded = new EmbeddedDoor();
  /** What the application, and clients, have been shown: after a restart nothing older is. */
  #appliedBefore = 0;
  /** A snapshot takes the place of the state, or an actor has died. */
  #restarting: Promise<void> | undefined;
  /** Who has died, until all are back. */
  #comingBack: ActorName | undefined;
  readonly #restarts = new Restarts({ monotonicMs: () => performance.now(), random: Math.random });
  readonly #given: Given;
  /** Ends pauses before restarts. */
  readonly #stopSignal = new AbortController();
  readonly #reads: LocalReads;
  readonly #client: StoreClient;
  #httpDoor: HttpDoor | undefined;
  #repairWatch: RepairWatch | undefined;
  readonly #heartbeat: Heartbeat;
  #stopping: Promise<void> | undefined;
  /** Clients can connect. */
  #isOpen = false;
  #failure: Error | undefined;
  readonly fleet: Client['fleet'];
  readonly control: Client['control'];
  readonly members: Client['members'];
  readonly actors: ClusterActors;
  readonly failed: Promise<Error>;
  #tellFailed: (error: Error) => void = () => {};

  private constructor(opened: Opened, given: Given) {
    const { id, config } = opened;
    this.id = id;
    this.#opened = opened;
    this.#given = given;
    this.#config = config;
    this.#own = config.nodes[id] as ClusterConfig['nodes'][string];
    this.#logger = given.logger;
    this.failed = new Promise((resolve) => {
      this.#tellFailed = resolve;
    });
    this.#reads = new LocalReads(() => this.#reader());
    this.#client = new StoreClient(['embedded:'], { pinned: true }, this.#embedded.dial);
    const { fleet, control, members } = this.#client;
    [this.fleet, this.control, this.members] = [fleet, control, members];
    const isLeader = (): boolean => this.#isOpen && this.status().role === 'leader';
    this.#heartbeat = new Heartbeat({ everyMs: config.ledgerHeartbeatMs, isLeader, control, log: this.#log });
    this.actors = actorsOf({
      node: id,
      log: this.#log,
      client: this.#client,
      glance: (key) => this.getSync(key),
      own: () => this.#parts.supervisor.report(),
    });
    this.#life = this.#newLife();
    void this.actors.failed.then((error) => this.#fail(error));
    this.#metrics = this.#newMetrics();
  }

  #reader(): StateReader {
    const { state, plumbing } = this.#parts;
    if (this.#isBetween) throw new StoreError('UNAVAILABLE', `${this.id} starts again`);
    if (this.#appliedBefore === 0) return state;
    if (plumbing.shared.get('applied') < this.#appliedBefore) {
      throw new StoreError('UNAVAILABLE', `${this.id} starts again, and is not yet where it was`);
    }
    this.#appliedBefore = 0;
    return state;
  }

  get #parts(): Parts {
    return this.#life.parts;
  }

  #newLife(): Life {
    this.#known = foundingMembers(this.#config);
    const life = new Life({
      config: this.#config,
      id: this.id,
      dirId: this.#opened.dirId,
      founders: this.#known,
      clientUrl: this.#own.client,
      log: this.#log,
      leader: () => leaderOf(this.#parts.plumbing.shared, this.#known),
      status: () => this.status(),
      actors: () => this.listActors(),
      ...this.#given,
      onMembers: (known) => {
        this.#known = known;
      },
      appliedBefore: this.#appliedBefore,
      restarts: this.#restarts,
      onInstall: () => this.#startAgain(),
      attachActors: (port) => this.actors.mesh.attach(port),
    });
    void this.#watch(life);
    return life;
  }

  async #watch(life: Life): Promise<void> {
    const death = await life.died;
    // Before it is open, its beginning rejects with it.
    if (this.#isOpen && life === this.#life) this.#startAgain(death);
  }

  readonly #log: LogFunction = (level, event, fields = {}) => this.#logger[level](fields, event);

  static async start(opened: Opened, given: Given): Promise<Node> {
    const node = new Node(opened, given);
    try {
      await node.#start();
      return node;
    } catch (error) {
      await node.stop();
      throw error;
    }
  }

  async #start(): Promise<void> {
    // The operators' door opens first: a node that recovers for long can be asked why it is not ready.
    this.#httpDoor = await HttpDoor.open({
      url: this.#own.http,
      metrics: async () => ({ contentType: this.#metrics.contentType, body: await this.#metrics.metrics() }),
      health: () => this.#health(),
      readiness: () => this.#readiness(),
      routes: executiveRoutes(this.#client.control, () => this.#readiness().ok),
      callers: this.#given.callers,
      connectionsMax: this.#config.connectionsMax,
      originsAllowed: this.#config.originsAllowed,
      hostsAllowed: this.#config.hostsAllowed,
      log: this.#log,
    });
    await this.#begin();
    if (this.#opened.isRepaired) {
      const state = (): string | undefined => this.status().repair;
      this.#repairWatch = new RepairWatch({ state, nowMs: () => performance.now(), log: this.#log });
    }
  }

  async #begin(): Promise<void> {
    const life = this.#life;
    const dies = life.died.then(({ failure }) => {
      throw failure;
    });
    const beginning = life.begin();
    try {
      await Promise.race([beginning, dies]);
      this.#isBetween = false;
      this.#embedded.open(life.parts.gateway);
      await Promise.race([this.#client.ready(5_000), dies]);
    } catch (error) {
      // Whoever ends this life ends all of it.
      await beginning.catch(() => {});
      throw error;
    }
    if (life.death !== undefined) throw life.death.failure;
    this.#isOpen = true;
    const { client, peer, http } = this.#own;
    this.#logger.info({ client, peer, http }, 'node.up');
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    this.#stopSignal.abort();
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stop(): Promise<void> {
    await this.#restarting;
    await this.#heartbeat.stop();
    // They may use the store until they have ended.
    await this.actors.stop();
    const { members } = this.#client;
    if (this.#isOpen && this.#known.length > 1) await handOver(this.status().role, members, this.#log);
    // Newest first: no client may wait on something that is already gone.
    await this.#client.close();
    this.#repairWatch?.stop();
    await this.#life.end();
    await this.#httpDoor?.close();
    await this.#opened.lock.release();
    this.#logger.info('node.stopped');
  }

  /**
   * An actor has died, or a snapshot is to take the place of this node's state: everything that has to do with the old
   * one goes and is made anew. The embedded client stays; it sends again what was under way, as after any lost connection.
   */
  #startAgain(death?: Death): void {
    if (!this.#isOpen || this.#stopping !== undefined) return;
    this.#isOpen = false;
    this.#restarting = this.#restart(death)
      .catch((error: unknown) => this.#fail(error instanceof Error ? error : new Error(String(error))))
      .finally(() => {
        this.#restarting = undefined;
        this.#comingBack = undefined;
      });
  }

  async #restart(first: Death | undefined): Promise<void> {
    const diedMs = performance.now();
    let death = first;
    do {
      this.#comingBack = death?.actor;
      const pauseMs = death === undefined ? 0 : await judge(death, { ...this.#parts, restarts: this.#restarts });
      this.#isBetween = true;
      this.#embedded.shut();
      await this.#life.end();
      this.#appliedBefore = Math.max(this.#appliedBefore, this.status().applied);
      await sleep(pauseMs, undefined, { signal: this.#stopSignal.signal }).catch(() => {});
      if (this.#stopping !== undefined) return;
      death = await this.#liveAgain();
    } while (death !== undefined);
    if (first === undefined) return;
    this.#logger.info({ actor: first.actor, ms: Math.round(performance.now() - diedMs) }, 'actor.back');
  }

  /** Begins a new life; resolves with what it died of, if it did before it was open. */
  async #liveAgain(): Promise<Death | undefined> {
    install(this.#own.dataDir, this.#log);
    this.#life = this.#newLife();
    this.#metrics = this.#newMetrics();
    try {
      await this.#begin();
      return undefined;
    } catch (error) {
      const { death } = this.#life;
      if (death === undefined) throw error;
      return death;
    }
  }

  /** This node cannot go on: nothing unsynced was promised, so stopping loses nothing. */
  #fail(error: Error): void {
    if (this.#failure !== undefined || this.#stopping !== undefined) return;
    this.#failure = error;
    this.#logger.fatal({ err: error }, error.message);
    noteDamage(this.#opened, this.#own.dataDir, error, this.#log);
    void this.#stopAfter(error);
  }

  async #stopAfter(error: Error): Promise<void> {
    try {
      await this.stop();
    } finally {
      this.#tellFailed(error);
    }
  }

  // ── the store's face ──

  getSync: RunningNode['getSync'] = (key) => this.#reads.get(key);
  rangeSync: RunningNode['rangeSync'] = (options) => this.#reads.range(options);
  put: Client['put'] = (key, value, options) => this.#client.put(key, value, options);
  get: Client['get'] = (key, options) => this.#client.get(key, options);
  delete: Client['delete'] = (key, options) => this.#client.delete(key, options);
  range: Client['range'] = (options) => this.#client.range(options);
  txn: Client['txn'] = (build, options) => this.#client.txn(build, options);
  watch: Client['watch'] = (options) => this.#client.watch(options);
  ledger: Client['ledger'] = (options) => this.#client.ledger(options);
  lock: Client['lock'] = (name, options) => this.#client.lock(name, options);
  election: Client['election'] = (name) => this.#client.election(name);

  listActors: Client['listActors'] = async () => viewOf(this.id, await this.#actorFacts(), this.actors.deadLetters);

  // ── what it says of itself ──

  inspect(): Promise<Partial<NodeFacts>> {
    return this.#parts.supervisor.inspect();
  }

  status(): NodeStatus {
    return statusOf({
      node: this.id,
      cluster: this.#config.cluster,
      shared: this.#parts.plumbing.shared,
      known: this.#known,
      memtableBytesMax: this.#config.memtableBytes,
      uptimeMs: performance.now() - this.#startedMs,
      isRepaired: this.#opened.isRepaired,
    });
  }

  #actorFacts(): Promise<ActorFacts[]> {
    const own = { restarts: this.#restarts.counts, comingBack: this.#comingBack, system: this.actors };
    return actorFacts({ ...this.#parts, ...own, inFlightMax: this.#config.inFlightMax });
  }

  #newMetrics(): Registry {
    const { plumbing, gateway, tableSizes } = this.#parts;
    const { repairs } = this.#opened;
    const own = { version: VERSION, node: this.id, repairs, status: () => this.status() };
    const { deadLetters } = this.actors;
    const seen = { actors: () => this.#actorFacts(), actorTotals: this.#actorTotals, deadLetters };
    const hosted = (): ClusterActors['hosted'] => this.actors.hosted;
    return createMetrics({ ...plumbing, ...own, ...seen, hosted, gateway, tableSizes });
  }

  #health(): Readiness {
    const { supervisor, plumbing } = this.#parts;
    const hasFailed = this.#failure !== undefined;
    return healthOf({ supervisor, shared: plumbing.shared, comingBack: this.#comingBack, hasFailed });
  }

  #readiness(): Readiness {
    return readinessOf({
      isHealthy: this.#health().ok,
      status: this.status(),
      own: memberOf(this.id, this.#own),
      isOpen: this.#isOpen,
      isStopping: this.#stopping !== undefined,
    });
  }

  [BREAK](actor: ActorName, how: Breaking): Promise<void> {
    return breakDown(this.#parts, actor, how);
  }
}
