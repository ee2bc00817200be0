/**
 * Reflector: follows a cluster's ledger and plays it into an LDB, for ever.
 *
 * Frames arrive while a commit is under way; what has arrived by its end makes the next commit. So a lone write
 * is visible after one commit, a flood costs few, and there is no timer to tune. What waits is bounded: past
 * that we stop taking frames, the socket fills, and the node notices.
 *
 * It gives up only where going on cannot help: the LDB belongs to another cluster, another process writes it, or
 * the error says that repeating is useless. All else (a node that went, a hole in the stream, a full disk) ends
 * the stream, waits with growing, jittered pauses, and begins again at the position the LDB has. A hole is first
 * tried again at once: the cure is a new stream, not time.
 * A stream that brings nothing is left, too, after a while (silence.ts).
 *
 * On the put path: stop 9 of 9. From a shipper, through the SDK's `ledger`; to engine/ldb.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { InvariantViolation, unreachable } from '../core/base/assert.ts';
import type { Random } from '../core/base/env.ts';
import { isStoreError, StoreError } from '../core/base/errors.ts';
import { plus, type Revision, toIndex } from '../core/base/position.ts';
import { lastRevisionIn } from '../core/model/ledger.ts';
import { type LedgerFilter, showFilter } from '../core/model/ledger-filter.ts';
import { type HashMark, isHashMismatch } from '../engine/ldb/ledger-hash.ts';
import type { SnapshotMark } from '../engine/ldb/arriving.ts';
import { LdbWriter, type SnapshotRow } from '../engine/ldb/writer.ts';
import { type OnChanges, tellAll, tellChanges } from './ldb-changes.ts';
import { Silence } from './silence.ts';
import { type SnapshotBegin, type SnapshotEvent, SnapshotIntake } from './snapshot-intake.ts';

/** The ledger as the SDK's `Client.ledger` gives it (client/types.ts; actors do not know the client). */
export type LedgerSource = (options: {
  readonly fromRevision: Revision;
  readonly cluster: string;
  readonly signal?: AbortSignal;
  readonly wantsSnapshot?: boolean;
  readonly wantsHashes?: boolean;
  /** Snapshots that break off are gone on with; `from`: how far one is. */
  readonly goOn?: { readonly from: Pick<SnapshotMark, 'revision' | 'after'> | undefined };
}) => AsyncIterable<ReflectorFrame>;

export type ReflectorFrame =
  | {
      readonly kind: 'hello';
      readonly cluster: string;
      readonly node: string;
      readonly filter?: LedgerFilter | undefined;
    }
  | ({ readonly kind: 'snapshot-begin' } & SnapshotBegin)
  | { readonly kind: 'snapshot-entries'; readonly entries: readonly SnapshotRow[] }
  | { readonly kind: 'snapshot-end'; readonly revision: Revision; readonly rows?: number }
  | { readonly kind: 'hash'; readonly revision: Revision; readonly hash: number }
  | { readonly kind: 'path'; readonly path: readonly string[] }
  | { readonly kind: 'records'; readonly bytes: Uint8Array };

export type ReflectorEvent =
  /** A stream has begun; the LDB is at `revision`, and `timeMs` is its log time. */
  | { readonly kind: 'following'; readonly revision: Revision; readonly timeMs: number }
  /** A commit is on disk and visible. */
  | { readonly kind: 'applied'; readonly revision: Revision; readonly records: number; readonly timeMs: number }
  | SnapshotEvent
  /** The cluster's state was another one at `revision`; `cure`: a snapshot, or (too soon after one) nothing. */
  | { readonly kind: 'diverged'; readonly revision: number; readonly cure: 'snapshot' | 'none' }
  /** What came is not what was sent: nothing of it is applied, and it is asked for again. */
  | { readonly kind: 'damaged'; readonly reason: string }
  | { readonly kind: 'retry'; readonly reason: string; readonly delayMs: number };

/** What a reflector is given besides its source. The simulator has another one, in which processes die. */
export interface ReflectorWorld {
  readonly open: (dir: string) => Promise<LdbWriter>;
  /** Resolves after `delayMs`, or at once when `signal` says stop. */
  readonly sleep: (delayMs: number, signal: AbortSignal) => Promise<void>;
  readonly monotonicMs: () => number;
  readonly random: Random;
  /** Of a snapshot, for one commit; default 4 MiB. */
  readonly gatherBytesMax?: number;
}

export const REAL_WORLD: ReflectorWorld = {
  open: (dir) => LdbWriter.open(dir),
  sleep: (delayMs, signal) => sleep(delayMs, undefined, { signal }).catch(() => undefined),
  monotonicMs: () => performance.now(),
  random: () => Math.random(),
};

export interface ReflectorOptions {
  readonly source: LedgerSource;
  readonly dir: string;
  /** Ends it: the commit under way is finished, the LDB closed. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: ReflectorEvent) => void;
  /**
   * Told after each commit, when readers see it: the keys that it changed, each once; undefined behind a snapshot, as
   * anything may have changed. For caches. What it throws ends the reflector.
   */
  readonly onChanges?: OnChanges | undefined;
  /**
   * `onChanges` is to be told of everything behind this revision, also of what the LDB has already: it was killed before it
   * told. When that is too far back it is told that anything may have changed. Default: where the LDB is.
   */
  readonly changesAfter?: number | undefined;
  /** An LDB that holds another part than the stream gives is filled anew, in place; default: LDB_FOREIGN. */
  readonly rebuild?: boolean;
  /** First and longest pause before another try; default 100 and 5000. */
  readonly retryDelayMs?: number;
  readonly retryDelayMsMax?: number;
}

/** Waiting for the commit under way: 4 MiB is some 30 000 small rows, a third of a second of LMDB's time. */
const GATHER_BYTES_MAX = 4 * 1024 * 1024;
/** So many revisions are asked for again to tell what changed in them; a crash leaves a few. */
const RETOLD_MAX = 100_000;
const RETRY_DELAY_MS = 100;
const RETRY_DELAY_MS_MAX = 5000;
const HASH_CURE_EVERY_MS = 600_000;

/** Resolves when `signal` says stop; rejects when going on cannot help. On the main thread only. */
export async function runReflector(options: ReflectorOptions, world: ReflectorWorld = REAL_WORLD): Promise<void> {
  const { dir, source, signal = new AbortController().signal, onEvent = () => undefined } = options;
  let writer: LdbWriter | undefined;
  let reached = -1;
  let failures = 0;
  const wish: Wish = {
    rebuild: options.rebuild ?? false,
    snapshot: false,
    hashCuredMs: Number.NEGATIVE_INFINITY,
    told: options.changesAfter,
  };
  try {
    for (;;) {
      let reason: unknown;
      try {
        writer ??= await world.open(dir);
        await follow(writer, { source, signal, onEvent, wish, world, onChanges: options.onChanges });
        reason = new StoreError('UNAVAILABLE', 'the ledger stream ended');
      } catch (error) {
        reason = error;
      }
      if (signal.aborted) return;
      if (isHashMismatch(reason)) reason = divergence(reason, writer, { wish, onEvent, nowMs: world.monotonicMs() });
      if (isFatal(reason)) throw reason;
      if (isStoreError(reason, 'LEDGER_DAMAGED')) onEvent({ kind: 'damaged', reason: reason.message });

      const revision = writer?.revision ?? reached;
      failures = revision > reached ? 1 : failures + 1;
      reached = revision;
      const isCuredByStream = isStoreError(reason, 'LDB_GAP') || reason instanceof SnapshotNeeded;
      const delayMs = failures === 1 && isCuredByStream ? 0 : pauseMs(failures, options, world.random);
      onEvent({ kind: 'retry', reason: reason instanceof Error ? reason.message : String(reason), delayMs });
      if (isStoreError(reason, 'DISK_FAILED')) {
        // After a failed commit a writer is of no more use.
        await writer?.close();
        writer = undefined;
      }
      await world.sleep(delayMs, signal);
    }
  } finally {
    await writer?.close();
  }
}

/** What outlives a stream: whether the next one is to begin with a snapshot. */
interface Wish {
  readonly rebuild: boolean;
  snapshot: boolean;
  /** When a hash was last the reason for one, by the monotonic clock. */
  hashCuredMs: number;
  /** `onChanges` was told of everything up to here; undefined: of what the LDB has. */
  told: number | undefined;
}

interface Stream {
  readonly source: LedgerSource;
  readonly signal: AbortSignal;
  readonly onEvent: (event: ReflectorEvent) => void;
  readonly wish: Wish;
  readonly world: ReflectorWorld;
  readonly onChanges: OnChanges | undefined;
}

/** What the LDB holds cannot be gone on from: it is filled anew, in place, while it is read. */
class SnapshotNeeded extends Error {
  override readonly name: string = 'SnapshotNeeded';
}

/** One stream, from the LDB's position to the stream's end. */
async function follow(writer: LdbWriter, { source, signal, onEvent, wish, world, onChanges }: Stream): Promise<void> {
  const cut = new AbortController();
  const silence = new Silence(world, () => cut.abort());
  await writer.interruptSnapshot();
  const broken = writer.interrupted;
  const told = toldBefore(writer, wish, onChanges);
  const commits = new Commits(writer, { onEvent, onChanges, wish, onFailure: () => cut.abort() });
  const stream = source({
    fromRevision: plus(told, 1),
    cluster: writer.cluster,
    signal: AbortSignal.any([signal, cut.signal]),
    wantsHashes: true,
    goOn: { from: broken && { revision: broken.revision, after: broken.after } },
    ...(wish.snapshot ? { wantsSnapshot: true } : {}),
  });
  let cluster = '';
  let filter: LedgerFilter | undefined;
  const snapshot = new SnapshotIntake(writer, { onEvent, gatherBytesMax: world.gatherBytesMax ?? GATHER_BYTES_MAX });
  try {
    for await (const frame of stream) {
      if (signal.aborted || cut.signal.aborted) break;
      silence.heard();
      if (frame.kind !== 'hello' && cluster === '') throw unexpected(frame.kind, 'before hello');
      switch (frame.kind) {
        case 'hello':
          await commits.done();
          writer.checkCluster(frame.cluster);
          cluster = frame.cluster;
          filter = frame.filter;
          // Without what it asked to go on with: a new stream, that does not ask.
          if (!(await snapshot.hello(cluster, filter)))
            throw new SnapshotNeeded('what it had of a snapshot is of no use');
          if (!wish.snapshot) checkFilter(writer, filter, wish);
          onEvent({ kind: 'following', revision: writer.revision, timeMs: writer.timeMs });
          break;
        case 'records':
          if (snapshot.isUnderWay) {
            await snapshot.records(frame.bytes);
            break;
          }
          if (wish.snapshot) throw unexpected(frame.kind, 'before the snapshot that was asked for');
          await snapshot.giveUp('the ledger reaches back to where the LDB is');
          await commits.add(frame.bytes, cluster);
          break;
        case 'hash':
          commits.mark(frame);
          break;
        case 'path':
          // For relays, which look at it where the stream comes in (src/reflector/upstreams.ts).
          break;
        case 'snapshot-begin':
          await commits.done();
          await snapshot.begin(frame, { cluster, filter });
          break;
        case 'snapshot-entries':
          await snapshot.rows(frame.entries);
          break;
        case 'snapshot-end':
          await snapshot.end(frame);
          wish.snapshot = false;
          if (onChanges !== undefined) tellAll(onChanges, writer.revision);
          wish.told = writer.revision;
          break;
        default:
          unreachable(frame);
      }
      silence.listens();
    }
  } catch (error) {
    // The stream may have failed because we broke it off: then the commit's error is the reason, or that nothing came.
    await commits.done();
    if (cluster === '' && broken !== undefined && isStoreError(error, 'PROTOCOL_ERROR')) {
      await snapshot.giveUp('who was asked to go on with it is too old to know how');
      throw new SnapshotNeeded(error.message, { cause: error });
    }
    throw silence.reason ?? error;
  } finally {
    silence.end();
  }
  await commits.done();
}

/**
 * The LDB is another one than the cluster: a snapshot puts that right. When it should be so again and again, the fault is
 * not the LDB's, and a fleet that fetches everything over and over would only do harm: it goes on, and says so.
 */
function divergence(
  error: StoreError,
  writer: LdbWriter | undefined,
  { wish, onEvent, nowMs }: Pick<Stream, 'wish' | 'onEvent'> & { readonly nowMs: number },
): Error {
  const cure = nowMs - wish.hashCuredMs >= HASH_CURE_EVERY_MS ? 'snapshot' : 'none';
  if (cure === 'snapshot') {
    wish.snapshot = true;
    wish.hashCuredMs = nowMs;
  } else writer?.forgetHash();
  onEvent({ kind: 'diverged', revision: Number(error.data['revision']), cure });
  return new SnapshotNeeded(error.message, { cause: error });
}

/** Does the stream give what the LDB holds? */
function checkFilter(writer: LdbWriter, filter: LedgerFilter | undefined, wish: Wish): void {
  try {
    writer.adoptFilter(filter);
  } catch (error) {
    if (!wish.rebuild || !isStoreError(error, 'LDB_FOREIGN')) throw error;
    wish.snapshot = true;
    throw new SnapshotNeeded(
      `it is rebuilt: it holds ${showFilter(writer.filter)}, and is to hold ${showFilter(filter)}`,
    );
  }
}

interface CommitListeners {
  readonly onEvent: (event: ReflectorEvent) => void;
  readonly onChanges: OnChanges | undefined;
  readonly wish: Wish;
  readonly onFailure: () => void;
}

/** Where the stream is to begin so that nothing goes untold. */
function toldBefore(writer: LdbWriter, wish: Wish, onChanges: OnChanges | undefined): Revision {
  const { revision } = writer;
  if (onChanges === undefined || wish.told === undefined || wish.told > revision) wish.told = revision;
  if (revision - wish.told > RETOLD_MAX && onChanges !== undefined) {
    tellAll(onChanges, revision);
    wish.told = revision;
  }
  return toIndex(wish.told);
}

/** One commit at a time; what comes meanwhile is the next one. */
class Commits {
  readonly #writer: LdbWriter;
  readonly #tell: CommitListeners;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #marks: HashMark[] = [];
  #underWay: Promise<unknown> | undefined;
  #all: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(writer: LdbWriter, tell: CommitListeners) {
    this.#writer = writer;
    this.#tell = tell;
  }

  /** Resolves at once, or when there is room again. */
  async add(bytes: Uint8Array, cluster: string): Promise<void> {
    if (this.#failure !== undefined) return;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#all ??= this.#run(cluster);
    while (this.#waitingBytes >= GATHER_BYTES_MAX && this.#failure === undefined) await this.#underWay;
  }

  /** Of the state at one of the records that come next. */
  mark({ revision, hash }: HashMark): void {
    this.#marks.push({ revision, hash });
  }

  /** Resolves when all is committed, or rejects as the commit did. */
  async done(): Promise<void> {
    await this.#all;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** `shown`: keys of which something else is shown since, though no record here says so. */
  #tellChanges(
    pieces: readonly Uint8Array[],
    commit: { readonly before: Revision; readonly revision: Revision; readonly shown: readonly Uint8Array[] },
  ): void {
    const { onChanges, wish } = this.#tell;
    const told = wish.told ?? 0;
    const last = Math.max(told, ...pieces.map(lastRevisionIn));
    if (last === told) return;
    wish.told = last;
    if (onChanges === undefined) return;
    tellChanges(onChanges, pieces, { told, upTo: toIndex(last), ...commit });
  }

  /** Never rejects: a failure is kept for `done`. */
  async #run(cluster: string): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        const pieces = this.#waiting;
        const marks = this.#marks;
        this.#waiting = [];
        this.#waitingBytes = 0;
        this.#marks = [];
        const commit = this.#writer.apply(pieces, cluster, marks);
        this.#underWay = commit.catch(() => undefined);
        const before = this.#writer.revision;
        const { revision, records, timeMs, shown } = await commit;
        this.#tellChanges(pieces, { before, revision, shown });
        // Those whose records had not come yet.
        this.#marks.unshift(...marks.filter((mark) => mark.revision > revision));
        if (records > 0) this.#tell.onEvent({ kind: 'applied', revision, records, timeMs });
      }
    } catch (error) {
      this.#failure = { error };
      this.#tell.onFailure();
    } finally {
      this.#all = undefined;
    }
  }
}

function isFatal(error: unknown): boolean {
  if (error instanceof InvariantViolation) return true;
  if (!isStoreError(error)) return false;
  return error.code === 'DIR_LOCKED' || error.retry === 'never';
}

/** Doubles with each failure in a row, and a random half of it is left out: replicas must not come back as one. */
function pauseMs(failures: number, options: ReflectorOptions, random: Random): number {
  const { retryDelayMs = RETRY_DELAY_MS, retryDelayMsMax = RETRY_DELAY_MS_MAX } = options;
  const pause = Math.min(retryDelayMsMax, retryDelayMs * 2 ** Math.min(failures - 1, 20));
  return Math.round(pause * (0.5 + random() / 2));
}

function unexpected(kind: ReflectorFrame['kind'], where: string): StoreError {
  return new StoreError('PROTOCOL_ERROR', `the ledger stream brought ${kind} ${where}`);
}
