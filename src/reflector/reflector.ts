/**
 * A reflector as a service: the loop that plays the ledger into the replica (actors/reflector.ts), fed by the SDK, with
 * an HTTP door for whoever looks after it. An assembly, as node.ts is one for nodes.
 *
 *   cluster → SDK → follower → LDB → the programs of the host
 *                      │        └→ relay → other reflectors
 *                      └→ changes, copies, /healthz, /readyz, /metrics
 *
 * Its parts are actors of a system of its own (parts/part.ts), below `/reflector`: one that breaks comes back, and the
 * others go on. When one breaks too often, or the world says that going on is useless, the reflector has failed.
 *
 * The door opens first: a reflector that waits for its cluster can be asked why it is not ready. It closes last.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import type { LdbChanges } from '../actors/ldb-changes.ts';
import { REAL_WORLD, type ReflectorEvent, type ReflectorOptions, runReflector } from '../actors/reflector.ts';
import { realClock } from '../actors/runtime/core/clock.ts';
import { ActorSystem } from '../actors/runtime/core/system.ts';
import type { ActorRef } from '../actors/runtime/core/types.ts';
import { connect } from '../client/index.ts';
import { PLATFORM, type Timing } from '../client/timing.ts';
import type { NodeStatus } from '../client/types.ts';
import { InvariantViolation, must } from '../core/base/assert.ts';
import { StoreError } from '../core/base/errors.ts';
import { VERSION } from '../core/base/version.ts';
import type { ActorsView } from '../core/wire/actors.ts';
import { checkIdentity, type LdbIdentity } from '../core/wire/fleet.ts';
import { type LedgerFilter, parseFilter } from '../core/model/ledger-filter.ts';
import { LdbWriter } from '../engine/ldb/writer.ts';
import { type ActorFacts, factsOf, viewOf } from '../net/actor-facts.ts';
import { ActorTotals, addActors } from '../net/actor-metrics.ts';
import { HttpDoor } from '../net/http-door.ts';
import { startSidecar } from '../sidecar/sidecar.ts';
import { actorsRoute } from './actors-route.ts';
import { ChangeFeed, type ChangesOptions } from './change-feed.ts';
import type { LdbChange } from '../engine/ldb/changes.ts';
import { Copies } from './copies/copies.ts';
import {
  readersOf,
  type ReflectorNews,
  type RunningReflector,
  type StartReflectorOptions,
  upstreamsOf,
} from './options.ts';
import { ChangeTeller } from './parts/changes.ts';
import { newsOf, PartDecider } from './parts/decider.ts';
import {
  guardedTiming,
  type Part,
  partActor,
  type PartArgs,
  type PartLife,
  type PartName,
  type PartProtocol,
} from './parts/part.ts';
import { ServedLdb } from './parts/served-ldb.ts';
import { BREAK_PART, type BreakableParts, Strikes } from './parts/test-hooks.ts';
import { RelayDoor } from './relay-door.ts';
import { LdbReports } from './reports.ts';
import { reflectorMetrics, type ReflectorStatus, StatusKeeper } from './status.ts';
import { Upstreams } from './upstreams.ts';

/** The label that says which ring a host is in. */
const RING_LABEL = 'ring';
const MAX_LAG_MS = 60_000;
const CONNECT_DEADLINE_MS = 10_000;
const STALE_AFTER_MS = 30_000;
const COME_BACK_MS = 60_000;
const LEDGER_BYTES = 64 * 1024 * 1024;
const CONNECTIONS_MAX = 4096;
/** A commit of a large snapshot holds the thread for as long as it takes. */
const STOP_DEADLINE_MS = 600_000;
const REFLECTOR_PATH = '/reflector';

/**
 * Starts a reflector; on the main thread only. It waits for its cluster for as long as it takes, so what rejects is
 * the system's error for an HTTP address that is taken, or BAD_REQUEST.
 */
export async function startReflector(options: StartReflectorOptions): Promise<RunningReflector> {
  const upstreams = upstreamsOf(options);
  if (upstreams.length === 0 || upstreams.some(({ length }) => length === 0)) {
    throw new StoreError('BAD_REQUEST', 'a reflector follows at least one node');
  }
  for (const url of [options.http, options.sidecar, options.listen]) {
    if (url !== undefined && !URL.canParse(url)) throw new StoreError('BAD_REQUEST', `'${url}' is no URL to listen at`);
  }
  const reflector = new Reflector(options);
  await reflector.open();
  return reflector;
}

class Reflector implements RunningReflector, BreakableParts {
  readonly #options: StartReflectorOptions;
  readonly #keeper: StatusKeeper;
  readonly #identity: LdbIdentity;
  readonly #onEvent: (event: ReflectorNews) => void;
  readonly #filter: LedgerFilter | undefined;
  /** As a relay; another one with each start, as paths are of this life. */
  readonly #id = `${hostname()}-${randomBytes(4).toString('hex')}`;
  readonly #startedMs = performance.now();
  readonly #copies: Copies;
  readonly #feed = new ChangeFeed();
  readonly #system: ActorSystem;
  readonly #actorTotals = new ActorTotals();
  readonly #strikes = new Strikes();
  readonly #served: ServedLdb | undefined;
  /** The newest lives of those parts that others speak to; undefined between two. */
  #changes: ChangeTeller | undefined;
  #relay: RelayDoor | undefined;
  #upstreams: Upstreams | undefined;
  #reports: LdbReports | undefined;
  #follower: ActorRef<PartProtocol> | undefined;
  /** All parts have begun: now the follower may. */
  readonly #begun = Promise.withResolvers<undefined>();
  /** Changes were told up to here; undefined: of none yet. */
  #told: number | undefined;
  #path: readonly string[] = [];
  #wasFresh = false;
  #failure: Error | undefined;
  #stopped: Promise<void> | undefined;
  readonly failed: Promise<Error>;
  #tellFailed: (error: Error) => void = () => {};

  constructor(options: StartReflectorOptions) {
    this.#options = options;
    this.#filter = options.filter && parseFilter(options.filter);
    this.#keeper = new StatusKeeper(options.maxLagMs ?? MAX_LAG_MS, options.nowMs ?? Date.now);
    this.#identity = identityOf(options);
    this.#onEvent = options.onEvent ?? (() => {});
    this.#copies = new Copies({
      ...options,
      filter: this.#filter,
      ring: options.labels?.[RING_LABEL],
      readers: readersOf(options),
      revision: () => (this.#failure === undefined ? this.#keeper.status.revision : 0),
      onNews: (news) => {
        if (news.kind === 'copy') this.#keeper.copied(news.state === 'sent');
        this.#onEvent(news);
      },
    });
    if (options.listen !== undefined) this.#served = new ServedLdb(options.ledgerBytes ?? LEDGER_BYTES);
    this.failed = new Promise((fail) => {
      this.#tellFailed = fail;
    });
    // What a listener throws is not to meet those who bring parts back: it is the process's.
    const tell = (news: ReflectorNews): void => queueMicrotask(() => this.#onEvent(news));
    const decider = new PartDecider(realClock, tell);
    const escalate = (error: StoreError): void => this.#fail(error);
    const log = newsOf(tell);
    this.#system = new ActorSystem({ log }, { path: REFLECTOR_PATH, decider, escalate });
  }

  // ── its parts ──

  /** They begin in this order, and end in the reverse: whoever reads the LDB before the follower, who closes it. */
  async open(): Promise<void> {
    const { http, sidecar, dir, listen } = this.#options;
    try {
      if (http !== undefined) await this.#spawn('http', () => this.#openDoor(http));
      await this.#spawn('changes', (life) => this.#tellChanges(life));
      // Whichever life it is in when it is wanted no more.
      this.#follower = (await this.#spawn('follower', (life) => this.#follow(life))).stable();
      if (listen !== undefined) await this.#spawn('relay', (life) => this.#serve(listen, life));
      if (this.#copies.areWanted) await this.#spawn('copies', (life) => this.#copies.begin(life));
      if (sidecar !== undefined) {
        await this.#spawn('sidecar', () => startSidecar({ dir, url: sidecar, besideWriter: true }));
      }
      await this.#spawn('freshness', () => ({ look: () => this.#look(), close: () => {} }));
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#begun.resolve(undefined);
  }

  #spawn(name: PartName, begin: PartArgs['begin']): Promise<ActorRef<PartProtocol>> {
    const args = { begin, isStruck: () => this.#strikes.take(name) };
    return this.#system.spawn(partActor(name), { name, args, stopDeadlineMs: STOP_DEADLINE_MS });
  }

  #openDoor(url: string): Promise<Part> {
    const metrics = reflectorMetrics(() => this.status);
    addActors(metrics, {
      actors: () => this.#actorFacts(),
      actorTotals: this.#actorTotals,
      deadLetters: this.#system.deadLetters,
    });
    return HttpDoor.open({
      url,
      routes: [...this.#copies.routes(), actorsRoute(() => this.listActors())],
      metrics: async () => ({ contentType: metrics.contentType, body: await metrics.metrics() }),
      health: () => ({
        ok: this.#failure === undefined,
        checks: { reflector: this.#failure === undefined ? 'running' : this.#failure.message },
      }),
      readiness: () => {
        const { ok, checks } = this.#keeper.readiness();
        return { ok: ok && this.#failure === undefined, checks };
      },
    });
  }

  #tellChanges(life: PartLife): Part {
    const { dir, changelog } = this.#options;
    const { revision } = this.#keeper.status;
    const onFailure = ({ message }: Error): void => this.#onEvent({ kind: 'changelog-failed', reason: message });
    const teller = new ChangeTeller(life, { dir, changelog, feed: this.#feed, revision, onFailure });
    this.#changes = teller;
    return {
      look: () => teller.look(),
      close: () => {
        if (this.#changes === teller) this.#changes = undefined;
        teller.close();
      },
    };
  }

  /** Each life has upstreams and reports of its own, and opens the LDB anew: what broke is not gone on with. */
  #follow(life: PartLife): Part {
    const { dir, retryDelayMs, retryDelayMsMax, rebuild = false } = this.#options;
    const stop = new AbortController();
    const stopped = new Promise((resolve) => stop.signal.addEventListener('abort', resolve, { once: true }));
    const timing = guardedTiming(PLATFORM, life);
    const reports = new LdbReports(this.#identity, timing);
    const upstreams = this.#newUpstreams(reports, timing);
    this.#upstreams = upstreams;
    this.#reports = reports;
    if (this.#relay !== undefined) reports.feeds(this.#relay.relay.fleet);
    const own = { ring: this.#options.labels?.[RING_LABEL] };
    const open = (path: string): Promise<LdbWriter> => this.#served?.openWriter(path, own) ?? LdbWriter.open(path, own);
    const options: ReflectorOptions = {
      source: upstreams.source,
      dir,
      rebuild,
      onChanges: (changes) => this.#changed(changes),
      changesAfter: this.#told ?? this.#changes?.after,
      signal: stop.signal,
      onEvent: (event) => {
        life.strike();
        this.#note(event, reports);
      },
      ...(retryDelayMs === undefined ? {} : { retryDelayMs }),
      ...(retryDelayMsMax === undefined ? {} : { retryDelayMsMax }),
    };
    const loop = (async () => {
      await Promise.race([this.#begun.promise, stopped]);
      if (stop.signal.aborted) return;
      await this.#copies.bootstrap(stop.signal);
      await runReflector(options, { ...REAL_WORLD, open });
    })().catch(life.broke);
    return {
      close: async () => {
        stop.abort();
        await loop;
        reports.close();
      },
    };
  }

  #newUpstreams(replica: LdbReports, timing: Timing): Upstreams {
    const { connect: connectTo = connect, connectDeadlineMs, comeBackMs, onConnection, token, listen } = this.#options;
    return new Upstreams({
      upstreams: upstreamsOf(this.#options),
      connect: connectTo,
      deadlineMs: connectDeadlineMs ?? CONNECT_DEADLINE_MS,
      staleAfterMs: this.#staleAfterMs,
      comeBackMs: comeBackMs ?? COME_BACK_MS,
      lagMs: () => this.#keeper.status.lagMs,
      onConnection,
      token,
      filter: this.#filter,
      replica,
      relay: listen === undefined ? undefined : { id: this.#id, onPath: (above) => this.#above(above) },
      timing,
    });
  }

  async #serve(url: string, life: PartLife): Promise<Part> {
    const options = {
      url,
      id: this.#id,
      readers: readersOf(this.#options),
      connectionsMax: CONNECTIONS_MAX,
      hashAt: (revision: number) => this.#upstreams?.hashAt(revision),
      isFresh: () => this.#keeper.status.lagMs <= this.#staleAfterMs,
      status: () => this.#relayStatus(),
      ldb: this.#identity.id,
      onFleet: () => this.#reports?.belowChanged(),
      served: must(this.#served, 'one that listens has an LDB to give'),
    };
    const door = await RelayDoor.open(options, life);
    this.#relay = door;
    door.follows(this.#path);
    this.#reports?.feeds(door.relay.fleet);
    return {
      close: async () => {
        if (this.#relay === door) this.#relay = undefined;
        await door.close();
      },
    };
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = error instanceof Error ? error : new Error(String(error));
    // It is asked, not awaited: it may be itself who says so.
    void this.#follower?.stop();
    this.#tellFailed(this.#failure);
  }

  [BREAK_PART](part: PartName): void {
    this.#strikes.arm(part);
  }

  // ── what the follower tells ──

  #note(event: ReflectorEvent, reports: LdbReports): void {
    this.#keeper.note(event);
    this.#served?.note(event);
    reports.note(event);
    if (event.kind === 'following') {
      this.#told ??= event.revision;
      this.#changes?.begin(event.revision);
    }
    this.#onEvent(event);
    this.#changes?.sync();
    this.#look();
  }

  #changed(changes: LdbChanges): void {
    this.#told = changes.upTo;
    try {
      this.#options.onChanges?.(changes);
    } catch (error) {
      // It has missed a change, and would never know.
      this.#fail(new InvariantViolation(`onChanges threw: ${String(error)}`));
      throw error;
    }
    this.#changes?.take(changes);
  }

  #look(): void {
    const { isFresh, lagMs } = this.#keeper.status;
    if (isFresh === this.#wasFresh) return;
    this.#wasFresh = isFresh;
    this.#onEvent({ kind: 'freshness', isFresh, lagMs });
  }

  /** Whom its upstream follows, and so on; kept for the relay's next life. */
  #above(path: readonly string[]): void {
    this.#path = path;
    this.#relay?.follows(path);
  }

  get #staleAfterMs(): number {
    return this.#options.staleAfterMs ?? STALE_AFTER_MS;
  }

  // ── what is asked of it ──

  changes(options?: ChangesOptions): AsyncIterableIterator<LdbChange> {
    return this.#feed.open(options);
  }

  /** As a node would say it: probes of other reflectors, and `kvctl status`. */
  #relayStatus(): NodeStatus {
    const { revision, lagMs } = this.#keeper.status;
    return {
      node: this.#id,
      cluster: this.#relay?.relay.cluster ?? '',
      role: 'relay',
      term: 0,
      leader: null,
      leaderUrl: null,
      committed: revision,
      applied: revision,
      lastIndex: revision,
      lagMs: Number.isFinite(lagMs) ? lagMs : null,
      keys: 0,
      memtableBytes: 0,
      memtableBytesMax: 0,
      tableBytes: 0,
      flushed: revision,
      version: VERSION,
      uptimeMs: Math.round(performance.now() - this.#startedMs),
      path: this.#relay?.relay.path ?? [],
    };
  }

  get status(): ReflectorStatus {
    const { connections = 0, followers = 0, path = [] } = this.#relay?.relay ?? {};
    const upstream = this.#upstreams?.current?.join(',') ?? '';
    return { ...this.#keeper.status, upstream, connections, followers, path };
  }

  async listActors(): Promise<ActorsView> {
    return viewOf(this.#identity.id, await this.#actorFacts(), this.#system.deadLetters);
  }

  async #actorFacts(): Promise<ActorFacts[]> {
    return (await this.#system.inspect()).map((report) => factsOf(report, 'node'));
  }

  stop(): Promise<void> {
    this.#stopped ??= (async () => {
      await this.#system.stop({ deadlineMs: STOP_DEADLINE_MS });
      this.#feed.close();
    })();
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** Throws BAD_REQUEST for labels that are none. */
function identityOf({ id, labels = {}, dir }: StartReflectorOptions): LdbIdentity {
  const host = hostname();
  const own = { instance: randomUUID(), host, pid: process.pid, version: VERSION };
  return checkIdentity({ ...own, id: id ?? `${host}:${resolve(dir)}`, labels });
}
