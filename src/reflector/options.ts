/**
 * What a reflector is started with, what it tells, and what can be asked of it.
 */
import { createHash } from 'node:crypto';
import type { ReaderGrant } from '../actors/gateway/readers.ts';
import type { LdbChanges } from '../actors/ldb-changes.ts';
import type { ReflectorEvent } from '../actors/reflector.ts';
import type { ClientEvent } from '../client/types.ts';
import type { ActorsView } from '../core/wire/actors.ts';
import type { FilterInput } from '../core/model/ledger-filter.ts';
import type { ChangesOptions } from './change-feed.ts';
import type { LdbChange } from '../engine/ldb/changes.ts';
import type { CopyNews } from './copies/copies.ts';
import type { PartNews } from './parts/decider.ts';
import type { ReflectorStatus } from './status.ts';
import type { UpstreamsOptions } from './upstreams.ts';

export type ReflectorNews =
  | ReflectorEvent
  /** The lag has risen above `maxLagMs`, or has come back: once each. */
  | { readonly kind: 'freshness'; readonly isFresh: boolean; readonly lagMs: number }
  /** The changelog cannot be written: told once, until it can be. It then says that it is out of sync. */
  | { readonly kind: 'changelog-failed'; readonly reason: string }
  /** One of its parts broke, and comes back by itself (docs/ldb.md#parts); or is back. */
  | PartNews
  | CopyNews;

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
  /**
   * A replica that was never filled is filled from a copy first: `file:///…`, `s3://bucket/…`, or `http://…` of a reflector
   * that makes copies and has `http`. What goes wrong is told, and all comes from the ledger then.
   */
  readonly bootstrap?: string;
  /** Where copies of the replica are put, now and then, while it is written: `file:///…` or `s3://bucket/…`. */
  readonly snapshotTo?: string;
  /** From one copy to the next; default an hour. */
  readonly snapshotEveryMs?: number;
  /** Copies that are kept; default 5. */
  readonly snapshotKeep?: number;
  /** Where credentials for S3 are looked for; default: the environment of the process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
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
  /** What changes is written here, a line of JSON each (docs/ldb.md). The system's error when it cannot be. */
  readonly changelog?: {
    readonly path: string;
    /** A file of this size is followed by another; default 1 MiB. */
    readonly maxBytes?: number;
    /** Older files that are kept; default 3. */
    readonly keep?: number;
  };
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
   * repeating is useless; ACTOR_STOPPED when its parts broke more than five times in 30 s: end the process. It still answers over HTTP, with 503, until it is stopped.
   */
  readonly failed: Promise<Error>;
  /** Its parts, each an actor: `kvctl actors --url` shows the same. */
  listActors(): Promise<ActorsView>;
  /**
   * What changes from now on, once readers see it. A loop that is slower than its bound (`bufferMax`), and one that is there
   * when a snapshot is taken, is told `out-of-sync`, and goes on from there. Ends when the reflector stops.
   */
  changes(options?: ChangesOptions): AsyncIterableIterator<LdbChange>;
}

export const upstreamsOf = ({ upstreams, endpoints }: StartReflectorOptions): readonly (readonly string[])[] =>
  upstreams ?? (endpoints === undefined ? [] : [endpoints]);

/** Who may follow a relay. What was got with a token is not given without one. */
export function readersOf({ token, readers = [] }: StartReflectorOptions): readonly ReaderGrant[] {
  if (readers.length > 0 || token === undefined) return readers;
  const tokenSha256 = createHash('sha256').update(token).digest('hex');
  return [{ name: 'its own', tokenSha256, filter: undefined }];
}
