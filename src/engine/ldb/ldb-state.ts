/**
 * LdbState: an LDB as the process that writes it reads it, to feed others: the rows of one state, and the newest records.
 *
 * A cursor holds an LMDB read transaction, which keeps the pages of its state from reuse: the file grows while it stands.
 * So there is a bound on how many stand at once, and one that nobody moved for a while is ended: its reader begins anew.
 */
import { must } from '../../core/base/assert.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { Revision } from '../../core/base/position.ts';
import type { LedgerFilter } from '../../core/model/ledger-filter.ts';
import type { Environment, Table } from './environment.ts';
import {
  decodePosition,
  decodeStoredFilter,
  FILTER_KEY,
  FIRST_KEY,
  type LdbPosition,
  NO_POSITION,
  POSITION_KEY,
  type StoredRow,
  storedRow,
} from './format.ts';
import type { KeptLedger } from './kept-ledger.ts';
import { viewOf } from './row-view.ts';
import { newestRows } from './showing.ts';

/** `use` counts one more holder; lmdb-js has it, its types have not. */
type Transaction = ReturnType<Table['useReadTransaction']> & { readonly use?: () => void };

interface Bounds {
  readonly from: Uint8Array;
  /** Exclusive; undefined: to the end. */
  readonly to: Uint8Array | undefined;
}

const CURSORS_MAX = 16;
const IDLE_MS = 30_000;

export class LdbState {
  readonly #dir: string;
  readonly #env: Environment;
  readonly #kept: KeptLedger;
  readonly #cursors = new Set<Cursor>();
  readonly #monotonicMs: () => number;

  constructor(dir: string, env: Environment, kept: KeptLedger, monotonicMs: () => number = () => performance.now()) {
    this.#dir = dir;
    this.#env = env;
    this.#kept = kept;
    this.#monotonicMs = monotonicMs;
  }

  /** As of the last commit. Readers of this process move on to it, too: for where a turn of theirs begins in any case. */
  get position(): LdbPosition {
    this.#env.root.resetReadTxn();
    return this.#positionIn(undefined);
  }

  /** What it holds; undefined: everything. */
  get filter(): LedgerFilter | undefined {
    const { meta } = this.#env;
    const stored = meta.getBinaryFast(FILTER_KEY);
    return stored === undefined ? undefined : decodeStoredFilter(stored, meta.lastSize, this.#dir);
  }

  /** The oldest revision of the ledger that is kept; undefined when none is. */
  get ledgerFrom(): Revision | undefined {
    return this.#kept.first;
  }

  /** Whole records from `from` on, at least one; undefined when they are not kept (any more, or yet). */
  readLedger(from: Revision): { readonly bytes: Uint8Array; readonly last: Revision } | undefined {
    return this.#kept.read(from);
  }

  /** Records that were committed since this was last asked, without a look into LMDB. */
  takeFresh(): readonly Uint8Array[] {
    return this.#kept.takeFresh();
  }

  /**
   * Rows in key order, as of this turn of the event loop, or of the revision of a cursor that stands: COMPACTED when none of it does. OVERLOADED
   * when too many stand. Close it.
   */
  scan({ from, to }: Bounds, revision?: Revision): Cursor {
    if (this.#cursors.size >= CURSORS_MAX) {
      throw new StoreError('OVERLOADED', `a relay gives ${CURSORS_MAX} snapshots at once`, {
        data: { limit: CURSORS_MAX },
      });
    }
    const transaction = this.#hold(revision);
    const start = from.length === 0 ? FIRST_KEY : from;
    // As the cluster has it, whatever this host's readers are shown of it.
    const rows = newestRows(viewOf(this.#env.kv, transaction), start, to);
    const cursor = new Cursor(rows, transaction, {
      revision: this.#positionIn(transaction).revision,
      movedMs: this.#monotonicMs(),
      onClose: () => this.#cursors.delete(cursor),
    });
    this.#cursors.add(cursor);
    return cursor;
  }

  /** Ends cursors that nobody moves; now and then. */
  endIdle(): void {
    const nowMs = this.#monotonicMs();
    for (const cursor of this.#cursors) cursor.look(nowMs);
  }

  /** Lets go of all cursors: LMDB does not survive one that outlives its environment. */
  close(): void {
    for (const cursor of this.#cursors) cursor.close();
  }

  #hold(revision: Revision | undefined): Transaction {
    // That of the turn: those of this process who read the LDB keep theirs.
    if (revision === undefined) return this.#env.kv.useReadTransaction();
    for (const cursor of this.#cursors) if (cursor.revision === revision) return cursor.share();
    throw new StoreError('COMPACTED', `the state of revision ${revision} is no longer held`);
  }

  #positionIn(transaction: Transaction | undefined): LdbPosition {
    const { meta } = this.#env;
    const stored = meta.get(POSITION_KEY, transaction && { transaction });
    return stored === undefined ? NO_POSITION : decodePosition(stored, stored.length, this.#dir);
  }
}

interface CursorOptions {
  readonly revision: Revision;
  readonly movedMs: number;
  readonly onClose: () => void;
}

class Cursor {
  readonly revision: Revision;
  readonly #transaction: Transaction;
  readonly #rows: Iterator<{ key: Uint8Array; row: Uint8Array }>;
  readonly #onClose: () => void;
  #movedMs: number;
  #hasMoved = true;
  #isOpen = true;

  constructor(
    rows: Iterator<{ key: Uint8Array; row: Uint8Array }>,
    transaction: Transaction,
    { revision, movedMs, onClose }: CursorOptions,
  ) {
    this.revision = revision;
    this.#transaction = transaction;
    this.#movedMs = movedMs;
    this.#onClose = onClose;
    this.#rows = rows;
  }

  /** For a second cursor over the same state. */
  share(): Transaction {
    must(this.#transaction.use, 'lmdb-js counts the holders of a transaction').call(this.#transaction);
    return this.#transaction;
  }

  next(): StoredRow | undefined {
    if (!this.#isOpen) throw new StoreError('DEADLINE_EXCEEDED', 'the snapshot stood still for too long and is gone');
    this.#hasMoved = true;
    const step = this.#rows.next();
    if (step.done === true) return undefined;
    const { key, row } = step.value;
    return storedRow(key, row);
  }

  look(nowMs: number): void {
    if (this.#hasMoved) this.#movedMs = nowMs;
    this.#hasMoved = false;
    if (nowMs - this.#movedMs >= IDLE_MS) this.close();
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#rows.return?.();
    this.#transaction.done();
    this.#onClose();
  }
}
