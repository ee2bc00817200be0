/**
 * A reflector as a service: the loop that plays the ledger into the replica (actors/reflector.ts), fed by the SDK, with
 * an HTTP door for whoever looks after it. An assembly, as node.ts is one for nodes.
 *
 *   cluster → SDK → reflector → LDB → the programs of the host
 *                       │        └→ relay → other reflectors
 *                       └→ /healthz, /readyz, /metrics
 *
 * The door opens first: a reflector that waits for its cluster can be asked why it is not ready. It closes last.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import type { LdbChanges } from '../actors/ldb-changes.ts';
import { REAL_WORLD, type ReflectorEvent, type ReflectorOptions, runReflector } from '../actors/reflector.ts';
import { connect } from '../client/index.ts';
import { PLATFORM } from '../client/timing.ts';
import type { NodeStatus } from '../client/types.ts';
import { StoreError } from '../core/base/errors.ts';
import { VERSION } from '../core/base/version.ts';
import { checkIdentity, type LdbIdentity } from '../core/wire/fleet.ts';
import { type LedgerFilter, parseFilter } from '../core/model/ledger-filter.ts';
import type { TableSchema } from '../core/model/control/schema.ts';
import { nodeDisk } from '../engine/disk/node-disk.ts';
import { openLdb } from '../engine/ldb/reader.ts';
import { LdbWriter } from '../engine/ldb/writer.ts';
import { HttpDoor } from '../net/http-door.ts';
import { type Sidecar, startSidecar } from '../sidecar/sidecar.ts';
import { Copies } from './copies/copies.ts';
import {
  readersOf,
  type ReflectorNews,
  type RunningReflector,
  type StartReflectorOptions,
  upstreamsOf,
} from './options.ts';
import { RelayDoor } from './relay-door.ts';
import { ChangeFeed, type ChangesOptions } from './change-feed.ts';
import { ChangeNames, type LdbChange } from './change-names.ts';
import { Changelog } from './changelog.ts';
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
const LOOK_EVERY_MS = 500;

/**
 * Starts a reflector; on the main thread only. It waits for its cluster for as long as it takes, so what rejects is
 * the system's error for an HTTP address that is taken, or BAD_REQUEST.
 */
export async function startReflector(options: StartReflectorOptions): Promise<RunningReflector> {
  const upstreams = upstreamsOf(options);
  if (upstreams.length === 0 || upstreams.some(({ length }) => length === 0)) {
    throw new StoreError('BAD_REQUEST', 'a reflector follows at least one node');
  }
  const reflector = new Reflector(options);
  await reflector.open();
  return reflector;
}

class Reflector implements RunningReflector {
  readonly #options: StartReflectorOptions;
  readonly #keeper: StatusKeeper;
  readonly #reports: LdbReports;
  readonly #stop = new AbortController();
  readonly #onEvent: (event: ReflectorNews) => void;
  readonly #filter: LedgerFilter | undefined;
  readonly #upstreams: Upstreams;
  /** As a relay; another one with each start, as paths are of this life. */
  readonly #id = `${hostname()}-${randomBytes(4).toString('hex')}`;
  readonly #startedMs = performance.now();
  readonly #copies: Copies;
  readonly #feed = new ChangeFeed();
  readonly #names: ChangeNames;
  #changelog: Changelog | undefined;
  #relay: RelayDoor | undefined;
  #door: HttpDoor | undefined;
  #sidecar: Sidecar | undefined;
  #loop: Promise<void> | undefined;
  #looks: NodeJS.Timeout | undefined;
  #wasFresh = false;
  #failure: Error | undefined;
  #stopped: Promise<void> | undefined;
  readonly failed: Promise<Error>;
  #tellFailed: (error: Error) => void = () => {};

  constructor(options: StartReflectorOptions) {
    this.#options = options;
    this.#filter = options.filter && parseFilter(options.filter);
    this.#keeper = new StatusKeeper(options.maxLagMs ?? MAX_LAG_MS, options.nowMs ?? Date.now);
    this.#reports = new LdbReports(identityOf(options), PLATFORM);
    this.#onEvent = options.onEvent ?? (() => {});
    this.#names = new ChangeNames(() => tablesIn(options.dir));
    const { listen, onConnection, token } = options;
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
      onBroken: (error) => this.#fail(error),
    });
    this.#upstreams = new Upstreams({
      upstreams: upstreamsOf(options),
      connect: options.connect ?? connect,
      deadlineMs: options.connectDeadlineMs ?? CONNECT_DEADLINE_MS,
      staleAfterMs: this.#staleAfterMs,
      comeBackMs: options.comeBackMs ?? COME_BACK_MS,
      lagMs: () => this.#keeper.status.lagMs,
      onConnection,
      token,
      filter: this.#filter,
      replica: this.#reports,
      relay: listen === undefined ? undefined : { id: this.#id, onPath: (above) => this.#relay?.relay.follows(above) },
    });
    this.failed = new Promise((fail) => {
      this.#tellFailed = fail;
    });
  }

  async open(): Promise<void> {
    const { http } = this.#options;
    if (http !== undefined) {
      const metrics = reflectorMetrics(() => this.status);
      this.#door = await HttpDoor.open({
        url: http,
        routes: this.#copies.routes(),
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
    try {
      const { sidecar, dir, listen, changelog } = this.#options;
      if (changelog !== undefined) this.#changelog = this.#openChangelog(changelog);
      if (listen !== undefined) this.#relay = await this.#serve(listen);
      if (this.#relay !== undefined) this.#reports.feeds(this.#relay.relay.fleet);
      if (sidecar !== undefined) this.#sidecar = await startSidecar({ dir, url: sidecar, besideWriter: true });
    } catch (error) {
      await this.#relay?.close();
      await this.#door?.close();
      throw error;
    }
    this.#looks = setInterval(() => this.#look(), LOOK_EVERY_MS);
    const relay = this.#relay;
    const own = { ring: this.#options.labels?.[RING_LABEL] };
    const open = (dir: string): Promise<LdbWriter> => relay?.openWriter(dir, own) ?? LdbWriter.open(dir, own);
    const world = { ...REAL_WORLD, open };
    this.#loop = this.#copies
      .bootstrap(this.#stop.signal)
      .then(() => runReflector(this.#loopOptions(), world))
      .catch((error: unknown) => this.#fail(error));
    this.#copies.start();
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = error instanceof Error ? error : new Error(String(error));
    this.#stop.abort();
    this.#tellFailed(this.#failure);
  }

  #serve(url: string): Promise<RelayDoor> {
    const { ledgerBytes = LEDGER_BYTES } = this.#options;
    return RelayDoor.open({
      url,
      id: this.#id,
      readers: readersOf(this.#options),
      ledgerBytes,
      connectionsMax: CONNECTIONS_MAX,
      hashAt: (revision) => this.#upstreams.hashAt(revision),
      isFresh: () => this.#keeper.status.lagMs <= this.#staleAfterMs,
      status: () => this.#relayStatus(),
      onFailure: (error) => this.#fail(error),
      ldb: this.#reports.identity.id,
      onFleet: () => this.#reports.belowChanged(),
    });
  }

  #openChangelog(options: NonNullable<StartReflectorOptions['changelog']>): Changelog {
    const onFailure = ({ message }: Error): void => this.#onEvent({ kind: 'changelog-failed', reason: message });
    return new Changelog({ ...options, disk: nodeDisk, onFailure });
  }

  get #staleAfterMs(): number {
    return this.#options.staleAfterMs ?? STALE_AFTER_MS;
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

  #loopOptions(): ReflectorOptions {
    const { dir, retryDelayMs, retryDelayMsMax, rebuild = false } = this.#options;
    return {
      source: this.#upstreams.source,
      dir,
      rebuild,
      onChanges: (changes) => this.#changed(changes),
      changesAfter: this.#changelog?.after,
      signal: this.#stop.signal,
      onEvent: (event) => this.#note(event),
      ...(retryDelayMs === undefined ? {} : { retryDelayMs }),
      ...(retryDelayMsMax === undefined ? {} : { retryDelayMsMax }),
    };
  }

  #note(event: ReflectorEvent): void {
    this.#keeper.note(event);
    this.#relay?.note(event);
    this.#reports.note(event);
    if (event.kind === 'following') this.#changelog?.begin(event.revision);
    this.#onEvent(event);
    this.#look();
  }

  #changed(changes: LdbChanges): void {
    this.#options.onChanges?.(changes);
    if (this.#changelog === undefined && this.#feed.isEmpty) return this.#names.forget();
    const named = this.#names.named(changes);
    this.#changelog?.append(named, changes.upTo);
    this.#feed.push(named);
  }

  changes(options?: ChangesOptions): AsyncIterableIterator<LdbChange> {
    return this.#feed.open(options);
  }

  #look(): void {
    this.#changelog?.sync();
    const { isFresh, lagMs } = this.#keeper.status;
    if (isFresh === this.#wasFresh) return;
    this.#wasFresh = isFresh;
    this.#onEvent({ kind: 'freshness', isFresh, lagMs });
  }

  get status(): ReflectorStatus {
    const { connections = 0, followers = 0, path = [] } = this.#relay?.relay ?? {};
    const upstream = this.#upstreams.current?.join(',') ?? '';
    return { ...this.#keeper.status, upstream, connections, followers, path };
  }

  stop(): Promise<void> {
    this.#stopped ??= (async () => {
      this.#stop.abort();
      clearInterval(this.#looks);
      // Before the writer: its reader has the same environment.
      await this.#sidecar?.close();
      await this.#copies.stop();
      await this.#relay?.close();
      await this.#loop;
      this.#reports.close();
      this.#changelog?.close();
      this.#feed.close();
      await this.#door?.close();
    })();
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

function tablesIn(dir: string): readonly TableSchema[] {
  const ldb = openLdb(dir, { besideWriter: true });
  try {
    return ldb.tables();
  } finally {
    ldb.close();
  }
}

/** Throws BAD_REQUEST for labels that are none. */
function identityOf({ id, labels = {}, dir }: StartReflectorOptions): LdbIdentity {
  const host = hostname();
  const own = { instance: randomUUID(), host, pid: process.pid, version: VERSION };
  return checkIdentity({ ...own, id: id ?? `${host}:${resolve(dir)}`, labels });
}
