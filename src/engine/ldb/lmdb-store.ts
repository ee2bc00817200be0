/**
 * The LdbStore that programs of a host read: LMDB.
 *
 * A commit is one transaction on LMDB's own thread, and on disk when it is visible (environment.ts). Adopting a snapshot
 * walks both tables in key order and writes only what differs: the pages of unchanged rows stay as they are, and warm, for
 * the readers. (Writing all rows anew, or renaming tables, was simpler; it makes each reader of the host fault in the whole
 * file again.) That one transaction holds its thread while it runs, about a second per 300 000 changed rows.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { assert, must } from '../../core/base/assert.ts';
import { compareBytes, equalBytes } from '../../core/base/bytes.ts';
import { type DirLock, lockDir } from '../disk/lock.ts';
import { type Environment, openLedgerTable, openToWrite, type Table } from './environment.ts';
import { decodePosition, FIRST_KEY, type Key, POSITION_KEY } from './format.ts';
import { KeptLedger } from './kept-ledger.ts';
import { LdbState } from './ldb-state.ts';
import { viewOf } from './row-view.ts';
import { type LdbStore, MARK_KEY, type MetaWrite, type RowView, type RowWrite, type SnapshotCounts } from './store.ts';

/** Commits between two looks for reader slots of dead processes: those keep old pages from reuse. */
const READER_CHECK_COMMITS = 1024;

const COMMIT_REASON_MS = 1000;

/** Opens or makes the LDB in `dir`. DIR_LOCKED when it has a writer. On the main thread only. */
export async function openLmdbStore(dir: string): Promise<LdbStore> {
  return openLocked(dir, async (env) => {
    // What an LDB kept that served others then would only take room.
    await openLedgerTable(env, { create: false })?.clearAsync();
    return undefined;
  });
}

export interface ServedOptions {
  /** Of the newest records that are kept, about. */
  readonly ledgerBytes: number;
  /** Before it is closed: nobody may read it any more. */
  readonly onClose: () => void;
  /** For tests: the clock that idle readers are told by. */
  readonly monotonicMs?: (() => number) | undefined;
}

/** The same for one that is to feed others: it keeps the newest records. */
export async function openServedStore(
  dir: string,
  { ledgerBytes, onClose, monotonicMs }: ServedOptions,
): Promise<{ readonly store: LdbStore; readonly state: LdbState }> {
  let state: LdbState | undefined;
  const store = await openLocked(dir, async (env) => {
    const { meta } = env;
    const stored = meta.getBinaryFast(POSITION_KEY);
    const position = stored === undefined ? 0 : decodePosition(stored, meta.lastSize, dir).revision;
    const table = must(openLedgerTable(env, { create: true }), 'the writer makes its tables');
    const kept = await KeptLedger.open(table, { bytesMax: ledgerBytes, position });
    state = new LdbState(dir, env, kept, monotonicMs);
    return { kept, state, onClose };
  });
  return { store, state: must(state, 'it was made with the store') };
}

type Writable = Environment & { readonly incoming: Table };

interface Served {
  readonly kept: KeptLedger;
  readonly state: LdbState;
  readonly onClose: () => void;
}

async function openLocked(dir: string, serve: (env: Writable) => Promise<Served | undefined>): Promise<LdbStore> {
  const lock = await lockDir(dir);
  try {
    const env = await openToWrite(dir);
    try {
      return new LmdbStore(lock, env, await serve(env));
    } catch (error) {
      await env.close();
      throw error;
    }
  } catch (error) {
    await lock.release();
    throw error;
  }
}

class LmdbStore implements LdbStore {
  readonly #lock: DirLock;
  readonly #env: Writable;
  readonly #served: Served | undefined;
  #commits = 0;

  constructor(lock: DirLock, env: Writable, served: Served | undefined) {
    this.#lock = lock;
    this.#env = env;
    this.#served = served;
  }

  meta(key: Uint8Array): Uint8Array | undefined {
    const { meta } = this.#env;
    // LMDB's own buffer, longer than what it holds, and used again.
    const bytes = meta.getBinaryFast(key);
    return bytes === undefined ? undefined : new Uint8Array(bytes.subarray(0, meta.lastSize));
  }

  view(of: 'rows' | 'incoming'): RowView {
    const { root, kv, incoming } = this.#env;
    // lmdb-js goes on reading the state of this turn's first read, which may be older than the last commit.
    root.resetReadTxn();
    return viewOf(of === 'rows' ? kv : incoming);
  }

  commit(rows: readonly RowWrite[], values: readonly MetaWrite[], records: readonly Uint8Array[]): Promise<void> {
    const { kv, meta } = this.#env;
    return this.#batch(() => {
      for (const { key, row } of rows) void (row === undefined ? kv.remove(key) : kv.put(key, row));
      for (const { key, value } of values) void (value === undefined ? meta.remove(key) : meta.put(key, value));
      this.#served?.kept.append(records);
    });
  }

  addIncoming(rows: readonly RowWrite[]): Promise<void> {
    const { incoming } = this.#env;
    return this.#batch(() => {
      for (const { key, row } of rows) void (row === undefined ? incoming.remove(key) : incoming.put(key, row));
    });
  }

  async dropIncoming(): Promise<void> {
    const { incoming } = this.#env;
    if (incoming.getKeysCount({ start: FIRST_KEY, limit: 1 }) > 0) await incoming.clearAsync();
  }

  /** Reads both tables as they were before the transaction: it changes them under a cursor of its own. */
  async adoptIncoming(values: readonly MetaWrite[]): Promise<SnapshotCounts> {
    const { root, kv, meta, incoming } = this.#env;
    const before = root.useReadTransaction();
    try {
      return root.transactionSync(() => {
        const current = kv.getRange({ start: FIRST_KEY, transaction: before })[Symbol.iterator]();
        const wanted = incoming.getRange({ start: FIRST_KEY, end: MARK_KEY, transaction: before })[Symbol.iterator]();
        try {
          const counts = makeEqual(kv, current, wanted);
          incoming.clearSync();
          this.#served?.kept.clearSync();
          for (const { key, value } of values)
            void (value === undefined ? meta.removeSync(key) : meta.putSync(key, value));
          return counts;
        } finally {
          // LMDB does not survive a cursor that outlives its transaction.
          current.return?.();
          wanted.return?.();
        }
      });
    } finally {
      before.done();
    }
  }

  async flushed(): Promise<void> {
    await this.#env.root.flushed;
  }

  async close(): Promise<void> {
    this.#served?.onClose();
    this.#served?.state.close();
    await this.#env.close();
    await this.#lock.release();
  }

  /** One transaction, on LMDB's own thread. `write` must not throw: what it has queued by then would be committed. */
  async #batch(write: () => void): Promise<void> {
    try {
      await this.#env.root.batch(write);
    } catch (error) {
      throw (await reasonOf(error)) ?? error;
    }
    if (++this.#commits % READER_CHECK_COMMITS === 0) this.#env.root.readerCheck();
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
function makeEqual(kv: Table, current: Rows, wanted: Rows): SnapshotCounts {
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
