/**
 * A reflector as a service: the loop that plays the ledger into the replica (actors/reflector.ts), fed by the SDK, with
 * an HTTP door for whoever looks after it. An assembly, as node.ts is one for nodes.
 *
 *   cluster → SDK → reflector → LDB → the programs of the host
 *                       └→ /healthz, /readyz, /metrics
 *
 * The door opens first: a reflector that waits for its cluster can be asked why it is not ready. It closes last.
 */
import { type LdbChanges, type ReflectorEvent, type ReflectorOptions, runReflector } from '../actors/reflector.ts';
import { connect } from '../client/index.ts';
import type { ClientEvent } from '../client/types.ts';
import { StoreError } from '../core/base/errors.ts';
import { type FilterInput, type LedgerFilter, parseFilter } from '../core/model/ledger-filter.ts';
import { HttpDoor } from '../net/http-door.ts';
import { type Sidecar, startSidecar } from '../sidecar/sidecar.ts';
import { ledgerSource, type SourceOptions } from './source.ts';
import { reflectorMetrics, type ReflectorStatus, StatusKeeper } from './status.ts';

export type ReflectorNews =
  | ReflectorEvent
  /** The lag has risen above `maxLagMs`, or has come back: once each. */
  | { readonly kind: 'freshness'; readonly isFresh: boolean; readonly lagMs: number };

export interface StartReflectorOptions {
  /** Client addresses of the nodes; it follows one, and goes to another when that one is lost. */
  readonly endpoints: readonly string[];
  /** The replica's directory; made when it is missing, and its parents. */
  readonly dir: string;
  /** Who reads, where the cluster's config names its readers. */
  readonly token?: string;
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
  readonly connect?: SourceOptions['connect'];
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

const MAX_LAG_MS = 60_000;
const CONNECT_DEADLINE_MS = 10_000;
const LOOK_EVERY_MS = 500;

/**
 * Starts a reflector; on the main thread only. It waits for its cluster for as long as it takes, so what rejects is
 * the system's error for an HTTP address that is taken, or BAD_REQUEST.
 */
export async function startReflector(options: StartReflectorOptions): Promise<RunningReflector> {
  if (options.endpoints.length === 0) throw new StoreError('BAD_REQUEST', 'a reflector follows at least one node');
  const reflector = new Reflector(options);
  await reflector.open();
  return reflector;
}

class Reflector implements RunningReflector {
  readonly #options: StartReflectorOptions;
  readonly #keeper: StatusKeeper;
  readonly #stop = new AbortController();
  readonly #onEvent: (event: ReflectorNews) => void;
  readonly #filter: LedgerFilter | undefined;
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
    this.#onEvent = options.onEvent ?? (() => {});
    this.failed = new Promise((resolve) => {
      this.#tellFailed = resolve;
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
      const { sidecar, dir } = this.#options;
      if (sidecar !== undefined) this.#sidecar = await startSidecar({ dir, url: sidecar, besideWriter: true });
    } catch (error) {
      await this.#door?.close();
      throw error;
    }
    this.#looks = setInterval(() => this.#look(), LOOK_EVERY_MS);
    this.#loop = runReflector(this.#loopOptions()).catch((error: unknown) => {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      this.#tellFailed(this.#failure);
    });
  }

  #loopOptions(): ReflectorOptions {
    const { dir, endpoints, connectDeadlineMs = CONNECT_DEADLINE_MS, retryDelayMs, retryDelayMsMax } = this.#options;
    const { onConnection, onChanges, token, rebuild = false } = this.#options;
    const source = ledgerSource({
      endpoints,
      connect: this.#options.connect ?? connect,
      deadlineMs: connectDeadlineMs,
      token,
      filter: this.#filter,
      ...(onConnection === undefined ? {} : { onConnection }),
    });
    return {
      source,
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
    return this.#keeper.status;
  }

  stop(): Promise<void> {
    this.#stopped ??= (async () => {
      this.#stop.abort();
      clearInterval(this.#looks);
      // Before the writer: its reader has the same environment.
      await this.#sidecar?.close();
      await this.#loop;
      await this.#door?.close();
    })();
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
