/**
 * Copies: what a reflector has to do with copies of its replica: it is filled from one, puts others away, and gives those
 * to who asks over HTTP.
 */
import { Readers, type ReaderGrant } from '../../actors/gateway/readers.ts';
import { must } from '../../core/base/assert.ts';
import { isStoreError } from '../../core/base/errors.ts';
import type { LedgerFilter } from '../../core/model/ledger-filter.ts';
import type { Route } from '../../net/http/route.ts';
import { bootstrap } from './bootstrap.ts';
import type { Objects } from './objects.ts';
import type { Part, PartLife } from '../parts/part.ts';
import { openObjects } from './open-objects.ts';
import { copyRoutes } from './routes.ts';
import { CopySender, type CopySent } from './sender.ts';

export type CopyNews =
  /** The replica is filled from a copy, `count` chunks of them; `fetched`: those that were not there from an earlier try. */
  | {
      readonly kind: 'bootstrap';
      readonly state: 'chunk';
      readonly number: number;
      readonly count: number;
      readonly fetched: boolean;
    }
  | {
      readonly kind: 'bootstrap';
      readonly state: 'end';
      readonly revision: number;
      readonly timeMs: number;
      readonly bytes: number;
      readonly fetched: number;
    }
  /** It was not to be, and `reason` says why: the ledger has everything, too. */
  | { readonly kind: 'bootstrap'; readonly state: 'failed'; readonly reason: string }
  /** A copy of the replica is where `snapshotTo` says. */
  | ({ readonly kind: 'copy'; readonly state: 'sent' } & CopySent)
  | { readonly kind: 'copy'; readonly state: 'failed'; readonly reason: string };

export interface CopiesOptions {
  readonly dir: string;
  readonly bootstrap?: string | undefined;
  readonly snapshotTo?: string | undefined;
  readonly snapshotEveryMs?: number | undefined;
  readonly snapshotKeep?: number | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly token?: string | undefined;
  readonly ring?: string | undefined;
  readonly nowMs?: (() => number) | undefined;
  readonly retryDelayMs?: number | undefined;
  readonly filter: LedgerFilter | undefined;
  /** Who may have copies of it. */
  readonly readers: readonly ReaderGrant[];
  /** Where the replica is; 0: not filled, or of no use. */
  readonly revision: () => number;
  readonly onNews: (news: CopyNews) => void;
}

const SNAPSHOT_EVERY_MS = 3_600_000;
const SNAPSHOT_KEEP = 5;

export class Copies {
  readonly #options: CopiesOptions;
  readonly #from: Objects | undefined;
  readonly #to: Objects | undefined;

  /** Throws BAD_REQUEST for a URL that is none of copies. */
  constructor(options: CopiesOptions) {
    this.#options = options;
    const { snapshotTo, env = process.env, token } = options;
    this.#to = snapshotTo === undefined ? undefined : openObjects(snapshotTo, { env });
    this.#from = options.bootstrap === undefined ? undefined : openObjects(options.bootstrap, { env, token });
  }

  /** Fills the replica, if it is to be. Throws DIR_LOCKED. */
  async bootstrap(signal: AbortSignal): Promise<void> {
    if (this.#from === undefined) return;
    const { dir, filter, ring, retryDelayMs, onNews } = this.#options;
    try {
      const filled = await bootstrap({
        dir,
        objects: this.#from,
        signal,
        filter,
        ring,
        onChunk: (chunk) => onNews({ kind: 'bootstrap', state: 'chunk', ...chunk }),
        retryDelayMs,
      });
      if (filled === undefined) return;
      const { revision, timeMs, bytes, fetched } = filled;
      onNews({ kind: 'bootstrap', state: 'end', revision, timeMs, bytes, fetched });
    } catch (error) {
      if (signal.aborted) return;
      // Another process fills it: the reflector would end so, too.
      if (isStoreError(error, 'DIR_LOCKED') || !isOfTheWorld(error)) throw error;
      onNews({ kind: 'bootstrap', state: 'failed', reason: `${error.code}: ${error.message}` });
    }
  }

  /** Whether copies are to be put away. */
  get areWanted(): boolean {
    return this.#to !== undefined;
  }

  /** Puts copies away from now on, as a part of the reflector. */
  begin({ guard, broke }: PartLife): Part {
    const objects = must(this.#to, 'who is asked for copies knows where to');
    const { dir, snapshotEveryMs = SNAPSHOT_EVERY_MS, snapshotKeep = SNAPSHOT_KEEP, nowMs = Date.now } = this.#options;
    const { onNews, revision, retryDelayMs } = this.#options;
    const sender = new CopySender({
      dir,
      objects,
      everyMs: snapshotEveryMs,
      keep: snapshotKeep,
      nowMs,
      revision,
      onSent: (sent) => onNews({ kind: 'copy', state: 'sent', ...sent }),
      onFailed: (error) =>
        onNews({ kind: 'copy', state: 'failed', reason: error instanceof Error ? error.message : String(error) }),
      guard,
      broke,
      retryDelayMs,
    });
    // The copy under way is given up.
    return { close: () => sender.stop() };
  }

  routes(): Route[] {
    if (this.#to === undefined) return [];
    const readers = new Readers(this.#options.readers);
    return copyRoutes({
      objects: this.#to,
      grant: (token) => readers.grant(token, undefined),
      held: () => this.#options.filter,
    });
  }
}

/** An expected failure, or the system's (a full disk), as opposed to a bug of ours. */
function isOfTheWorld(error: unknown): error is Error & { readonly code: string } {
  return isStoreError(error) || (error instanceof Error && 'syscall' in error && 'code' in error);
}
