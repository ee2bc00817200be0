/**
 * ReflectorStatus: what a running reflector knows of its replica, counted from its events, and what follows from it:
 * is it fresh enough to be read here.
 *
 * Freshness is about the data alone. A reflector that has lost its cluster goes on being ready until the replica is
 * older than `maxLagMs`, because that is what the programs of the host feel; and one that is connected and does not get
 * on is not.
 */
import { Gauge, Registry } from 'prom-client';
import type { ReflectorEvent } from '../actors/reflector.ts';
import type { Readiness } from '../net/http-door.ts';

export interface ReflectorStatus extends ReplicaStatus {
  /** Whom it follows, as it was given; '' while nobody. */
  readonly upstream: string;
  /** As a relay: sockets, and reflectors that it feeds. */
  readonly connections: number;
  readonly followers: number;
  /** As a relay: it, its upstream, and so on up to a node; empty: it is none. */
  readonly path: readonly string[];
}

/** How far a snapshot is. */
export interface Arriving {
  readonly rows: number;
  /** Of keys and values. */
  readonly bytes: number;
  /** How many rows it will have, about; undefined: nobody knows. */
  readonly about: number | undefined;
}

interface ReplicaStatus {
  /** Where the replica is; 0: never filled. */
  readonly revision: number;
  /** Age of its log time; Infinity until it was filled. */
  readonly lagMs: number;
  /** Its lag is at most what was asked for. */
  readonly isFresh: boolean;
  /** A ledger stream is open. */
  readonly isFollowing: boolean;
  readonly commits: number;
  readonly records: number;
  /** Snapshots taken to the end. */
  readonly snapshots: number;
  readonly retries: number;
  /** Times that the cluster's state hash was another one (docs/ldb.md). */
  readonly divergences: number;
  /** Times that what came was not what was sent. */
  readonly damaged: number;
  /** A snapshot that is on its way in: what of it is on disk. Undefined: none. */
  readonly arriving: Arriving | undefined;
  /** Copies of the replica that were put away (`snapshotTo`), and those that were not. */
  readonly copies: number;
  readonly copyFailures: number;
  /** Why the last stream ended; '' when none has. */
  readonly lastReason: string;
}

export class StatusKeeper {
  readonly #maxLagMs: number;
  readonly #nowMs: () => number;
  #revision = 0;
  #timeMs = 0;
  #isFollowing = false;
  #isTakingSnapshot = false;
  #arriving: Arriving | undefined;
  #commits = 0;
  #records = 0;
  #snapshots = 0;
  #retries = 0;
  #divergences = 0;
  #damaged = 0;
  #copies = 0;
  #copyFailures = 0;
  #lastReason = '';

  constructor(maxLagMs: number, nowMs: () => number) {
    this.#maxLagMs = maxLagMs;
    this.#nowMs = nowMs;
  }

  note(event: ReflectorEvent): void {
    switch (event.kind) {
      case 'following':
        this.#isFollowing = true;
        this.#isTakingSnapshot = false;
        this.#at(event.revision, event.timeMs);
        break;
      case 'applied':
        this.#commits++;
        this.#records += event.records;
        this.#at(event.revision, event.timeMs);
        break;
      case 'snapshot':
        this.#isTakingSnapshot = event.state === 'begin';
        if (event.state === 'begin') return;
        this.#arriving = undefined;
        this.#snapshots++;
        this.#at(event.revision, event.timeMs);
        break;
      case 'diverged':
        this.#divergences++;
        break;
      case 'arrived':
        this.#arriving = { rows: event.entries, bytes: event.bytes, about: event.about };
        break;
      case 'given-up':
        this.#arriving = undefined;
        break;
      case 'damaged':
        this.#damaged++;
        break;
      case 'retry':
        this.#isFollowing = false;
        this.#isTakingSnapshot = false;
        this.#retries++;
        this.#lastReason = event.reason;
        break;
    }
  }

  copied(isDone: boolean): void {
    if (isDone) this.#copies++;
    else this.#copyFailures++;
  }

  #at(revision: number, timeMs: number): void {
    this.#revision = revision;
    this.#timeMs = timeMs;
  }

  get status(): ReplicaStatus {
    const lagMs = this.#timeMs === 0 ? Number.POSITIVE_INFINITY : Math.max(0, this.#nowMs() - this.#timeMs);
    return {
      revision: this.#revision,
      lagMs,
      isFresh: lagMs <= this.#maxLagMs,
      isFollowing: this.#isFollowing,
      commits: this.#commits,
      records: this.#records,
      snapshots: this.#snapshots,
      retries: this.#retries,
      divergences: this.#divergences,
      damaged: this.#damaged,
      arriving: this.#arriving,
      copies: this.#copies,
      copyFailures: this.#copyFailures,
      lastReason: this.#lastReason,
    };
  }

  /** For load balancers and orchestrators. */
  readiness(): Readiness {
    const { isFresh, lagMs, isFollowing, lastReason, revision, arriving } = this.status;
    const age = Number.isFinite(lagMs) ? `${lagMs} ms` : 'never filled';
    const came = arriving === undefined ? '' : `: ${showArriving(arriving)}`;
    const stream = isFollowing ? 'following' : lastReason === '' ? 'connecting' : `waiting: ${lastReason}`;
    return {
      ok: isFresh,
      checks: {
        lag: `${age} (at most ${this.#maxLagMs} ms)`,
        revision: String(revision),
        stream: this.#isTakingSnapshot ? `taking a snapshot${came}` : stream,
      },
    };
  }
}

const showArriving = ({ rows, bytes, about }: Arriving): string =>
  `${rows}${about === undefined ? '' : ` of about ${about}`} rows, ${bytes} bytes`;

/** The status as Prometheus series, read when they are asked for. */
export function reflectorMetrics(read: () => ReflectorStatus): Registry {
  const registry = new Registry();
  const series: readonly (readonly [name: string, help: string, value: (status: ReflectorStatus) => number])[] = [
    ['revision', 'The revision that the replica is at.', ({ revision }) => revision],
    ['lag_seconds', 'Age of the replica’s log time; +Inf until it was filled.', ({ lagMs }) => lagMs / 1000],
    ['fresh', '1 while the lag is at most what was asked for.', ({ isFresh }) => Number(isFresh)],
    ['following', '1 while a ledger stream is open.', ({ isFollowing }) => Number(isFollowing)],
    ['commits_total', 'Commits to the replica.', ({ commits }) => commits],
    ['records_total', 'Ledger records applied.', ({ records }) => records],
    ['snapshots_total', 'Snapshots taken to the end.', ({ snapshots }) => snapshots],
    ['divergences_total', 'Times that the cluster’s state hash was another one.', ({ divergences }) => divergences],
    ['damaged_total', 'Times that what came was not what was sent.', ({ damaged }) => damaged],
    ['arriving_rows', 'Rows on disk of a snapshot that is not whole.', ({ arriving }) => arriving?.rows ?? 0],
    ['arriving_bytes', 'Bytes of their keys and values.', ({ arriving }) => arriving?.bytes ?? 0],
    ['copies_total', 'Copies of the replica that were put away.', ({ copies }) => copies],
    ['copy_failures_total', 'Copies that failed.', ({ copyFailures }) => copyFailures],
    ['followers', 'As a relay: reflectors that it feeds.', ({ followers }) => followers],
    ['hops', 'Relays between this replica and the nodes, itself included when it is one.', ({ path }) => path.length],
    ['retries_total', 'Streams that ended and were begun again.', ({ retries }) => retries],
  ];
  for (const [name, help, value] of series) {
    const gauge: Gauge = new Gauge({
      name: `ctlmesh_ldb_${name}`,
      help,
      registers: [],
      collect: () => {
        gauge.set(value(read()));
      },
    });
    registry.registerMetric(gauge);
  }
  return registry;
}
