/**
 * LdbWriter: the one writer of an LDB. It plays the ledger into LMDB, many revisions per transaction.
 *
 * Rows and position change together or not at all, so after a kill the position says exactly what the rows
 * hold, and the ledger goes on from there: no gap, no replay. Two guards keep it so:
 *  - gap: records must begin at position + 1 at the latest and have no holes, else LDB_GAP and nothing is applied;
 *  - replay: records that the position already covers are skipped.
 *
 * A snapshot is gathered in a table of its own, over many transactions; then one transaction makes the rows
 * equal to it. Both are walked in key order and only what differs is written: the pages of unchanged rows stay
 * as they are, and warm, for the readers. (Writing all rows anew, or renaming tables, was simpler; it makes each
 * reader of the host fault in the whole file again.) That last transaction holds its thread while it runs, about
 * a second per 300 000 changed rows.
 *
 * Invariants:
 *  - The position never goes back.
 *  - One call at a time; nothing is handed to LMDB before all of it has been checked.
 *  - After a failed commit the writer refuses all work: open it again and go on from the position that is there.
 *
 * On the put path: stop 9 of 9. From the reflector; to readers.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { assert, must } from '../../core/base/assert.ts';
import { compareBytes, equalBytes } from '../../core/base/bytes.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { Revision } from '../../core/base/position.ts';
import { decodeRecords, type LedgerRecord } from '../../core/model/ledger.ts';
import { isSameFilter, type LedgerFilter, showFilter } from '../../core/model/ledger-filter.ts';
import { checkKey, LIMITS } from '../../core/model/limits.ts';
import { type DirLock, lockDir } from '../disk/lock.ts';
import { type Environment, openToWrite, type Table } from './environment.ts';
import { decodeHash, encodeHash, foldRecords, type HashMark } from './ledger-hash.ts';
import {
  type Key,
  decodePosition,
  decodeStoredFilter,
  encodePosition,
  encodeStoredFilter,
  FILTER_KEY,
  FIRST_KEY,
  HASH_KEY,
  LDB_KEY_BYTES_MAX,
  type LdbPosition,
  NO_POSITION,
  POSITION_KEY,
  ROW_HEADER_BYTES,
  RowArena,
} from './format.ts';
import { recordsAfter } from './succession.ts';

/** A row as a snapshot brings it. */
export interface SnapshotRow {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly revision: Revision;
  readonly expiryMs: number;
}

export interface Applied {
  /** The position after it. */
  readonly revision: Revision;
  readonly timeMs: number;
  /** Records applied now; 0 when all were old. */
  readonly records: number;
}

export interface SnapshotApplied {
  readonly revision: Revision;
  /** Rows of the snapshot. */
  readonly rows: number;
  /** Rows that were new or different. */
  readonly put: number;
  /** Rows that the snapshot did not have. */
  readonly removed: number;
}

const KEY_LIMITS = { ...LIMITS, keyBytesMax: LDB_KEY_BYTES_MAX };

/** Commits between two looks for reader slots of dead processes: those keep old pages from reuse. */
const READER_CHECK_COMMITS = 1024;

const COMMIT_REASON_MS = 1000;

/** A key and its row, ready for LMDB; no row: delete. */
interface Write {
  readonly key: Uint8Array;
  readonly row: Uint8Array | undefined;
}

export class LdbWriter {
  readonly dir: string;
  readonly #lock: DirLock;
  readonly #env: Environment & { readonly incoming: Table };
  #position: LdbPosition;
  /** What it holds; undefined: everything. */
  #filter: LedgerFilter | undefined;
  /** The cluster's state hash at the position; undefined: not known. */
  #hash: number | undefined;
  #snapshot: (LdbPosition & { readonly filter: LedgerFilter | undefined }) | undefined;
  #commits = 0;
  #isBusy = false;
  #failure: unknown;
  #closed: Promise<void> | undefined;

  private constructor(dir: string, lock: DirLock, env: Environment & { readonly incoming: Table }) {
    this.dir = dir;
    this.#lock = lock;
    this.#env = env;
    const stored = env.meta.getBinaryFast(POSITION_KEY);
    this.#position = stored === undefined ? NO_POSITION : decodePosition(stored, env.meta.lastSize, dir);
    const hash = env.meta.getBinaryFast(HASH_KEY);
    if (this.revision === 0) this.#hash = 0;
    else if (hash !== undefined) this.#hash = decodeHash(hash, env.meta.lastSize, this.revision);
    const filter = env.meta.getBinaryFast(FILTER_KEY);
    this.#filter = filter === undefined ? undefined : decodeStoredFilter(filter, env.meta.lastSize, dir);
  }

  /** Opens or makes the LDB in `dir`. DIR_LOCKED when it has a writer. On the main thread only. */
  static async open(dir: string): Promise<LdbWriter> {
    const lock = await lockDir(dir);
    try {
      const env = await openToWrite(dir);
      try {
        const writer = new LdbWriter(dir, lock, env);
        await writer.#start();
        return writer;
      } catch (error) {
        await env.close();
        throw error;
      }
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  async #start(): Promise<void> {
    await this.#dropIncoming();
    // So that readers find a position, if only "nothing yet".
    if (this.#env.meta.get(POSITION_KEY) === undefined) await this.#commit([], NO_POSITION, 0);
  }

  get position(): LdbPosition {
    return this.#position;
  }

  get cluster(): string {
    return this.#position.cluster;
  }

  get revision(): Revision {
    return this.#position.revision;
  }

  /** Log time of the position. */
  get timeMs(): number {
    return this.#position.timeMs;
  }

  /**
   * Applies whole records (encoded as in core/model/ledger.ts; several pieces are one batch) in one transaction.
   * Resolves once they are on disk and every reader can see them. When a mark says that the cluster's state is another
   * one, LDB_CORRUPT, and nothing is applied.
   */
  apply(given: Uint8Array | readonly Uint8Array[], cluster: string, marks: readonly HashMark[] = []): Promise<Applied> {
    return this.#exclusively(async () => {
      assert(this.#snapshot === undefined, 'no records come inside a snapshot');
      this.checkCluster(cluster);
      const pieces = given instanceof Uint8Array ? [given] : given;
      const records = pieces.flatMap(decodeRecords);
      const fresh = recordsAfter(this.revision, records);
      const last = fresh.at(-1);
      if (last === undefined) return { revision: this.revision, timeMs: this.timeMs, records: 0 };
      const timeMs = Math.max(this.timeMs, last.timeMs);
      const hash = this.#filter === undefined ? foldRecords(this.#hash, this.revision, pieces, marks) : undefined;
      await this.#commit(writesOf(fresh), { cluster, revision: last.revision, timeMs }, hash);
      return { revision: last.revision, timeMs, records: fresh.length };
    });
  }

  /** What the LDB holds; undefined: everything. */
  get filter(): LedgerFilter | undefined {
    return this.#filter;
  }

  /**
   * Says what the LDB is to hold. One that holds something is not turned into another one by what comes next: then
   * LDB_FOREIGN, and only a snapshot with that filter can.
   */
  adoptFilter(filter: LedgerFilter | undefined): void {
    if (isSameFilter(this.#filter, filter)) return;
    if (this.cluster === '') {
      this.#filter = filter;
      return;
    }
    const message = `the LDB in ${this.dir} holds ${showFilter(this.#filter)}, and what comes is ${showFilter(filter)}: rebuild it, or choose another directory`;
    throw new StoreError('LDB_FOREIGN', message, {
      data: { dir: this.dir, holds: showFilter(this.#filter), offered: showFilter(filter) },
    });
  }

  /**
   * Begins a snapshot: the state of `cluster` at `revision`, or what `filter` leaves of it. One that was under way is
   * void.
   */
  beginSnapshot(position: LdbPosition, filter?: LedgerFilter): Promise<void> {
    return this.#exclusively(async () => {
      this.checkCluster(position.cluster);
      if (position.revision < this.revision) {
        throw new StoreError('LDB_GAP', `a snapshot at revision ${position.revision} is behind ${this.revision}`, {
          data: { position: this.revision, revision: position.revision },
        });
      }
      this.#snapshot = undefined;
      await this.#dropIncoming();
      this.#snapshot = { ...position, filter };
    });
  }

  /** Adds rows, in any order; their bytes may be reused once it resolves. */
  addSnapshot(rows: readonly SnapshotRow[]): Promise<void> {
    return this.#exclusively(async () => {
      assert(this.#snapshot !== undefined, 'snapshot rows come inside a snapshot');
      const arena = new RowArena(rows.reduce((bytes, row) => bytes + ROW_HEADER_BYTES + row.value.length, 0));
      const writes = rows.map((row) => ({
        key: checkedKey(row.key),
        row: arena.add(row.value, row.revision, row.expiryMs),
      }));
      const { incoming } = this.#env;
      await this.#batch(() => {
        for (const { key, row } of writes) void incoming.put(key, row);
      });
    });
  }

  /** Makes the LDB equal to the snapshot, position included, in one transaction. */
  finishSnapshot(): Promise<SnapshotApplied> {
    return this.#exclusively(async () => {
      const { filter, ...position } = must(this.#snapshot, 'a snapshot was begun');
      const result = this.#adopt(position, filter);
      this.#snapshot = undefined;
      return result;
    });
  }

  /** Forgets a snapshot that will not be finished. */
  abandonSnapshot(): Promise<void> {
    return this.#exclusively(async () => {
      this.#snapshot = undefined;
      await this.#dropIncoming();
    });
  }

  /** Resolves once all that was applied is on disk: at once, as commits are durable when they are visible. */
  async flushed(): Promise<void> {
    await this.#env.root.flushed;
  }

  /** Waits for the commit under way. May be called twice. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      await this.#env.close();
      await this.#lock.release();
    })();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** LDB_FOREIGN when the LDB already belongs to another cluster. */
  checkCluster(cluster: string): void {
    assert(cluster !== '', 'a ledger says which cluster it is of');
    if (this.cluster === '' || this.cluster === cluster) return;
    throw new StoreError('LDB_FOREIGN', `the LDB in ${this.dir} belongs to cluster ${this.cluster}, not ${cluster}`, {
      data: { dir: this.dir, cluster: this.cluster, offered: cluster },
    });
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed !== undefined) throw new StoreError('CLOSED', `the LDB in ${this.dir} was closed`);
    if (this.#failure !== undefined) throw this.#failed(this.#failure);
    assert(!this.#isBusy, 'a writer is given one thing to do at a time');
    this.#isBusy = true;
    try {
      return await work();
    } finally {
      this.#isBusy = false;
    }
  }

  /** The cluster's state hash at the position, when it is known. */
  get hash(): number | undefined {
    return this.#hash;
  }

  /** It is learnt anew, from the next mark. */
  forgetHash(): void {
    this.#hash = undefined;
  }

  async #commit(writes: readonly Write[], position: LdbPosition, hash: number | undefined): Promise<void> {
    assert(position.revision >= this.revision, 'the position never goes back');
    const { kv, meta } = this.#env;
    const record = encodePosition(position);
    // Not with every commit: it changes with the first one only, or with a snapshot.
    const isFirst = this.cluster === '' && this.#filter !== undefined;
    await this.#batch(() => {
      for (const { key, row } of writes) void (row === undefined ? kv.remove(key) : kv.put(key, row));
      void meta.put(POSITION_KEY, record);
      if (hash !== undefined) void meta.put(HASH_KEY, encodeHash({ revision: position.revision, hash }));
      if (isFirst && this.#filter !== undefined) void meta.put(FILTER_KEY, encodeStoredFilter(this.#filter));
    });
    this.#position = position;
    this.#hash = hash;
  }

  /** One transaction, on LMDB's own thread. `write` must not throw: what it has queued by then would be committed. */
  async #batch(write: () => void): Promise<void> {
    try {
      await this.#env.root.batch(write);
    } catch (error) {
      this.#failure = (await reasonOf(error)) ?? error;
      throw this.#failed(this.#failure);
    }
    if (++this.#commits % READER_CHECK_COMMITS === 0) this.#env.root.readerCheck();
  }

  #failed(cause: unknown): StoreError {
    return new StoreError('DISK_FAILED', `the LDB in ${this.dir} could not be written: ${String(cause)}`, { cause });
  }

  async #dropIncoming(): Promise<void> {
    const { incoming } = this.#env;
    if (incoming.getKeysCount({ start: FIRST_KEY, limit: 1 }) > 0) await incoming.clearAsync();
  }

  /** Reads both tables as they were before the transaction: it changes them under a cursor of its own. */
  #adopt(position: LdbPosition, filter: LedgerFilter | undefined): SnapshotApplied {
    const { root, kv, meta, incoming } = this.#env;
    const before = root.useReadTransaction();
    try {
      const counts = root.transactionSync(() => {
        const current = kv.getRange({ start: FIRST_KEY, transaction: before })[Symbol.iterator]();
        const wanted = incoming.getRange({ start: FIRST_KEY, transaction: before })[Symbol.iterator]();
        try {
          const result = makeEqual(kv, current, wanted);
          incoming.clearSync();
          meta.putSync(POSITION_KEY, encodePosition(position));
          if (filter === undefined) meta.removeSync(FILTER_KEY);
          else meta.putSync(FILTER_KEY, encodeStoredFilter(filter));
          return result;
        } finally {
          // LMDB does not survive a cursor that outlives its transaction.
          current.return?.();
          wanted.return?.();
        }
      });
      this.#position = position;
      this.#filter = filter;
      this.#hash = undefined;
      return { revision: position.revision, ...counts };
    } catch (error) {
      this.#failure = error;
      throw this.#failed(error);
    } finally {
      before.done();
    }
  }
}

/** lmdb-js keeps the reason in a promise of its own: unheard it would end the process, and it may never come. */
async function reasonOf(failure: unknown): Promise<unknown> {
  const { commitError } = failure as { readonly commitError?: Promise<never> };
  const reason = commitError?.catch((cause: unknown) => cause);
  return Promise.race([reason, sleep(COMMIT_REASON_MS, undefined, { ref: false })]);
}

type Rows = Iterator<{ key: Key; value: Uint8Array }>;

/** Merge of two sorted streams: writes into `kv` what turns `current` into `wanted`. */
function makeEqual(kv: Table, current: Rows, wanted: Rows): { rows: number; put: number; removed: number } {
  const counts = { rows: 0, put: 0, removed: 0 };
  let old = nextRow(current);
  let next = nextRow(wanted);
  while (old !== undefined || next !== undefined) {
    const order = old === undefined ? 1 : next === undefined ? -1 : compareBytes(old.key, next.key);
    if (old !== undefined && order < 0) {
      kv.removeSync(old.key);
      counts.removed++;
    }
    if (next !== undefined && order >= 0) {
      if (old === undefined || order > 0 || !equalBytes(old.value, next.value)) {
        kv.putSync(next.key, next.value);
        counts.put++;
      }
      counts.rows++;
      next = nextRow(wanted);
    }
    if (order <= 0) old = nextRow(current);
  }
  return counts;
}

function nextRow(rows: Rows): { readonly key: Uint8Array; readonly value: Uint8Array } | undefined {
  const step = rows.next();
  if (step.done === true) return undefined;
  const { key, value } = step.value;
  assert(typeof key !== 'string', 'LMDB gives keys as bytes');
  return { key, value };
}

function writesOf(records: readonly LedgerRecord[]): readonly Write[] {
  let arenaBytes = 0;
  for (const { changes } of records) {
    for (const { value } of changes) arenaBytes += ROW_HEADER_BYTES + value.length;
  }
  const arena = new RowArena(arenaBytes);
  const writes: Write[] = [];
  for (const { revision, changes } of records) {
    for (const { kind, key, value, expiryMs } of changes) {
      const row = kind === 'put' ? arena.add(value, revision, expiryMs) : undefined;
      writes.push({ key: checkedKey(key), row });
    }
  }
  return writes;
}

function checkedKey(key: Uint8Array): Uint8Array {
  checkKey(key, KEY_LIMITS);
  return key;
}
