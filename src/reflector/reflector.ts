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
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import type { ReaderGrant } from '../actors/gateway/readers.ts';
import {
  type LdbChanges,
  REAL_WORLD,
  type ReflectorEvent,
  type ReflectorOptions,
  runReflector,
} from '../actors/reflector.ts';
import { connect } from '../client/index.ts';
import { PLATFORM } from '../client/timing.ts';
import type { ClientEvent, NodeStatus } from '../client/types.ts';
import { StoreError } from '../core/base/errors.ts';
import { VERSION } from '../core/base/version.ts';
import { checkIdentity, type LdbIdentity } from '../core/wire/fleet.ts';
import { type FilterInput, type LedgerFilter, parseFilter } from '../core/model/ledger-filter.ts';
import { LdbWriter } from '../engine/ldb/writer.ts';
import { HttpDoor } from '../net/http-door.ts';
import { type Sidecar, startSidecar } from '../sidecar/sidecar.ts';
import { RelayDoor } from './relay-door.ts';
import { LdbReports } from './reports.ts';
import { reflectorMetrics, type ReflectorStatus, StatusKeeper } from './status.ts';
import { Upstreams, type UpstreamsOptions } from './upstreams.ts';

export type ReflectorNews =
  | ReflectorEvent
  /** The lag has risen above `maxLagMs`, or has come back: once each. */
  | { readonly kind: 'freshness'; readonly isFresh: boolean; readonly lagMs: number };

export interface StartReflectorOptions {
  /** Client addresses of the nodes, or of relays; it follows one, and goes to another when that one is lost. */
  readonly endpoints?: readonly string[];
  /**
   * Instead: upstreams in order of preference, each with addresses of which any will do. It follows the first that is of
   * use, and comes back to a better one when it can.
   */
  readonly upstreams?: readonly (readonly string[])[];
  /** With several upstreams: one through which the data is older, and does not get younger, is left. Default 30 000. */
  readonly staleAfterMs?: number;
  /** With several upstreams: when the better ones are asked again; default 60 000. */
  readonly comeBackMs?: number;
  /** Where it serves other reflectors, like `ws://0.0.0.0:7450`; default: nowhere. */
  readonly listen?: string;
  /** With `listen`: who may follow it. Default: who shows this reflector's own `token`; without one, everybody. */
  readonly readers?: readonly ReaderGrant[];
  /** With `listen`: about how much of the newest ledger is kept for those who were away; default 64 MiB. */
  readonly ledgerBytes?: number;
  /** The replica's directory; made when it is missing, and its parents. */
  readonly dir: string;
  /** Who reads, where the cluster's config names its readers. */
  readonly token?: string;
  /** What the cluster knows this replica by; the same in every run. Default: the host's name and the directory. */
  readonly id?: string;
  /**
   * What else operators are to see of it, and may choose it by: `{ ring: 'canary' }`. At most 16. `ring` is the ring of hosts
   * that it is in, for data that is staged (docs/staged-delivery.md); it may be another one at the next start.
   */
  readonly labels?: Readonly<Record<string, string>>;
  /** The part that is wanted: families, tables (`family/table`), keys by prefix. Default: all that may be had. */
  readonly filter?: FilterInput;
  /** A replica that holds another part is filled anew, in place. Default: LDB_FOREIGN. */
  readonly rebuild?: boolean;
  /** Where /healthz, /readyz and /metrics are served, like `http://127.0.0.1:7440`; default: nowhere. */
  readonly http?: string;
  /** Where its rows are served to programs in other languages (docs/ldb.md), like `http://127.0.0.1:1331`. */
  readonly sidecar?: string;
  /** A replica whose log time is older is not ready; default 60 000. */
  readonly maxLagMs?: number;
  /** For one connection to stand; default 10 000. */
  readonly connectDeadlineMs?: number;
  readonly onEvent?: (event: ReflectorNews) => void;
  /** The keys that each commit changed, once readers see it: see `LdbChanges`. */
  readonly onChanges?: (changes: LdbChanges) => void;
  readonly onConnection?: (event: ClientEvent) => void;
  /** First and longest pause before another try; default 100 and 5000. */
  readonly retryDelayMs?: number;
  readonly retryDelayMsMax?: number;
  /** For tests: how the ledger is reached, and the clock that lag is told by. */
  readonly connect?: UpstreamsOptions['connect'];
  readonly nowMs?: () => number;
}

export interface RunningReflector {
  readonly status: ReflectorStatus;
  /** Ends the commit under way, closes the replica and the door. May be called twice. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
  /**
   * Resolves with the reason when it had to give up: LDB_FOREIGN, LDB_CORRUPT, DIR_LOCKED, or an error that says that
   * repeating is useless. It still answers over HTTP, with 503, until it is stopped.
   */
  readonly failed: Promise<Error>;
}

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

const upstreamsOf = ({ upstreams, endpoints }: StartReflectorOptions): readonly (readonly string[])[] =>
  upstreams ?? (endpoints === undefined ? [] : [endpoints]);

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
    const { listen, onConnection, token } = options;
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
      const { sidecar, dir, listen } = this.#options;
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
    this.#loop = runReflector(this.#loopOptions(), world).catch((error: unknown) => this.#fail(error));
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = error instanceof Error ? error : new Error(String(error));
    this.#stop.abort();
    this.#tellFailed(this.#failure);
  }

  #serve(url: string): Promise<RelayDoor> {
    const { token, readers = [], ledgerBytes = LEDGER_BYTES } = this.#options;
    // What was got with a token is not given without one.
    const own = token === undefined ? [] : [{ name: 'its own', tokenSha256: sha256(token), filter: undefined }];
    return RelayDoor.open({
      url,
      id: this.#id,
      readers: readers.length > 0 ? readers : own,
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
    const { dir, retryDelayMs, retryDelayMsMax, onChanges, rebuild = false } = this.#options;
    return {
      source: this.#upstreams.source,
      dir,
      rebuild,
      onChanges,
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
    this.#onEvent(event);
    this.#look();
  }

  #look(): void {
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
      await this.#relay?.close();
      await this.#loop;
      this.#reports.close();
      await this.#door?.close();
    })();
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Throws BAD_REQUEST for labels that are none. */
function identityOf({ id, labels = {}, dir }: StartReflectorOptions): LdbIdentity {
  const host = hostname();
  const own = { instance: randomUUID(), host, pid: process.pid, version: VERSION };
  return checkIdentity({ ...own, id: id ?? `${host}:${resolve(dir)}`, labels });
}
