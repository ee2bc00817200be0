/**
 * GroupCommit: writes and syncs what a committer is given, for one process without threads of its own for it.
 *
 * While a sync waits for the disk, records gather in the committer; when it is back they are one write and one sync.
 * So a group is whatever came during the last sync, and a lone record waits for nothing but its own: no timer. What
 * arrives within one turn of the event loop, promise jobs included, is in one group.
 *
 * Waiters share a promise per group, so an append costs none of its own.
 *
 * Invariants:
 *  - One sync at a time, and no rotation while one is under way (its own syncs are of the same file).
 *  - `durableLsn` is what was written when the last good sync began.
 *  - The first failure is final. Every waiter is told it, those too that come later; nothing is written after it.
 */
import { assert } from '../../core/base/assert.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type Index, type Lsn, plus } from '../../core/base/position.ts';
import type { Committer } from './committer.ts';
import { asFailure } from './failure.ts';

export interface GroupCommitOptions {
  readonly committer: Committer;
  /** Syncs the segment that is written now. */
  readonly sync: () => Promise<void>;
}

/** Records that nobody waits for are written once they are this many bytes, so that memory is bounded. */
const GROUP_BYTES_MAX = 4 * 1024 * 1024;

/**
 * What nobody asked to be synced is synced all the same, beside the caller, once it is this much: a segment that is left
 * has to be synced whole, and would keep the caller waiting for it.
 */
const SYNC_AHEAD_BYTES = 2 * 1024 * 1024;

interface Waiting {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

function waiting(): Waiting {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Who does not look must not end the process; the next append tells it again.
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}

export class GroupCommit {
  readonly #options: GroupCommitOptions;
  /** For those who wait until the records gathered now are written. */
  #toWrite: Waiting | undefined;
  /** … synced: by the sync that is to come. */
  #toSync: Waiting | undefined;
  /** … by the sync that is under way. */
  #inSync: Waiting | undefined;
  /** For those who follow: anything about the end has changed. */
  #change: Waiting | undefined;
  #syncing: Promise<void> | undefined;
  #syncingLsn: Lsn;
  #syncingIndex: Index;
  #wantsSync = false;
  #isPlanned = false;
  #isClosed = false;
  #failure: StoreError | undefined;
  durableLsn: Lsn;
  /** Entries up to here are on disk, and were not reverted. */
  durableIndex: Index;
  /** How many syncs were waited for. */
  syncs = 0;

  constructor(options: GroupCommitOptions, lsn: Lsn, index: Index) {
    this.#options = options;
    this.durableLsn = lsn;
    this.durableIndex = index;
    this.#syncingLsn = lsn;
    this.#syncingIndex = index;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get failure(): StoreError | undefined {
    return this.#failure;
  }

  /** A record was put into the group. */
  appended(wantsSync: boolean): void {
    if (wantsSync) this.#wantsSync = true;
    if (this.#options.committer.groupBytes >= GROUP_BYTES_MAX) this.write();
    this.#plan();
  }

  /** Resolves once everything appended so far is on disk. */
  durable(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const { lastLsn } = this.#options.committer;
    if (lastLsn <= this.durableLsn) return Promise.resolve();
    if (this.#inSync !== undefined && lastLsn <= this.#syncingLsn) return this.#inSync.promise;
    this.#toSync ??= waiting();
    this.#wantsSync = true;
    this.#plan();
    return this.#toSync.promise;
  }

  /** Resolves once everything appended so far is written: it outlives the process, but not the machine. */
  written(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#options.committer.groupRecords === 0) return Promise.resolve();
    this.#toWrite ??= waiting();
    this.#plan();
    return this.#toWrite.promise;
  }

  /** Resolves when more is durable, when something was reverted, and when the end has come. */
  changed(): Promise<void> {
    if (this.#failure !== undefined || this.#isClosed) return Promise.resolve();
    this.#change ??= waiting();
    return this.#change.promise;
  }

  /** Entries from `from` on are no longer in the log. */
  revertTo(from: Index): void {
    const last = plus(from, -1);
    if (this.durableIndex > last) this.durableIndex = last;
    if (this.#syncingIndex > last) this.#syncingIndex = last;
    this.#tellChange();
  }

  /** Writes what was gathered, now. */
  write(): void {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      this.#options.committer.commitGroup();
    } catch (cause) {
      throw this.fail(cause);
    }
    this.#toWrite?.resolve();
    this.#toWrite = undefined;
  }

  /** Syncs what is left, seals the segment, and tells everybody how it ended. Throws what went wrong just now. */
  async close(): Promise<void> {
    assert(!this.#isClosed, 'a group commit is closed once');
    this.#isClosed = true;
    while (this.#syncing !== undefined) await this.#syncing;
    const failedBefore = this.#failure;
    try {
      this.#options.committer.close();
    } catch (cause) {
      throw this.fail(cause);
    }
    if (failedBefore !== undefined) return;
    this.#syncedAll();
    this.#tellChange();
  }

  /** Something of the disk failed: the first failure is what everybody is told, now and later. */
  fail(cause: unknown): StoreError {
    if (this.#failure === undefined) {
      this.#failure = asFailure(cause);
      this.#options.committer.poison(this.#failure);
    }
    for (const waiting of [this.#toWrite, this.#inSync, this.#toSync]) waiting?.reject(this.#failure);
    this.#toWrite = undefined;
    this.#inSync = undefined;
    this.#toSync = undefined;
    this.#tellChange();
    return this.#failure;
  }

  #plan(): void {
    if (this.#isPlanned || this.#isClosed) return;
    // While a sync is under way what comes is gathered for the next, unless somebody waits for the write alone.
    if (this.#syncing !== undefined && this.#toWrite === undefined) return;
    this.#isPlanned = true;
    // A tick behind a job: after all the promise jobs of this turn, whose appends then are in the group too.
    queueMicrotask(() => process.nextTick(this.#turn));
  }

  readonly #turn = (): void => {
    this.#isPlanned = false;
    if (this.#failure !== undefined || this.#isClosed) return;
    const { committer } = this.#options;
    try {
      this.write();
      if (this.#syncing !== undefined) return;
      const { segment } = committer;
      committer.turn();
      // It has synced all of the segment that it left.
      if (committer.segment !== segment) this.#syncedAll();
      else if (this.#wantsSync || committer.unsyncedBytes >= SYNC_AHEAD_BYTES) this.#sync();
    } catch (cause) {
      this.fail(cause);
    }
  };

  #sync(): void {
    this.#syncingLsn = this.#options.committer.logged;
    this.#syncingIndex = this.#options.committer.lastIndex;
    this.#inSync = this.#toSync;
    this.#toSync = undefined;
    this.#wantsSync = false;
    this.syncs++;
    this.#syncing = this.#options.sync().then(this.#synced, (cause: unknown) => {
      this.#syncing = undefined;
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.fail(new StoreError('DISK_FAILED', `a sync of the WAL failed: ${reason}; it is not tried again`, { cause }));
    });
  }

  readonly #synced = (): void => {
    this.#syncing = undefined;
    // A write may have failed meanwhile; what it said is final.
    if (this.#failure !== undefined) return;
    this.durableLsn = this.#syncingLsn;
    this.durableIndex = this.#syncingIndex;
    this.#options.committer.learn();
    this.#inSync?.resolve();
    this.#inSync = undefined;
    this.#tellChange();
    this.#plan();
  };

  #syncedAll(): void {
    const { committer } = this.#options;
    this.durableLsn = committer.logged;
    this.durableIndex = committer.lastIndex;
    this.#toWrite?.resolve();
    this.#toSync?.resolve();
    this.#wantsSync = false;
    this.#toWrite = undefined;
    this.#toSync = undefined;
    this.#tellChange();
  }

  #tellChange(): void {
    this.#change?.resolve();
    this.#change = undefined;
  }
}
