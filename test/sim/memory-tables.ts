/**
 * MemoryTables: the tables of an LDB in memory, all or nothing as LMDB's are; and, for a replica that feeds others, what
 * production reads of LMDB there (src/engine/ldb/ldb-state.ts, kept-ledger.ts), in the same words: so those two run here too.
 */
import { must } from '../../src/core/base/assert.ts';
import { equalBytes } from '../../src/core/base/bytes.ts';
import type { Environment, Table } from '../../src/engine/ldb/environment.ts';
import { decodePosition, POSITION_KEY } from '../../src/engine/ldb/format.ts';
import { KeptLedger } from '../../src/engine/ldb/kept-ledger.ts';
import { LdbState } from '../../src/engine/ldb/ldb-state.ts';
import type { ServedOptions } from '../../src/engine/ldb/lmdb-store.ts';
import {
  type LdbStore,
  MARK_KEY,
  type MetaWrite,
  type RowView,
  type RowWrite,
  type SnapshotCounts,
} from '../../src/engine/ldb/store.ts';
import type { ServedLdb } from './ldb-platter.ts';
import { textOf } from './reference.ts';

const bytesOf = (key: string): Uint8Array => new Uint8Array(Buffer.from(key, 'latin1'));

export class MemoryTables implements LdbStore {
  rows: Map<string, Uint8Array> = new Map();
  readonly values: Map<string, Uint8Array> = new Map();
  /** Of a replica that feeds others: the newest records (src/engine/ldb/kept-ledger.ts). */
  readonly ledger: Map<string, Uint8Array> = new Map();
  #incoming = new Map<string, Uint8Array>();

  readonly meta = (key: Uint8Array): Uint8Array | undefined => this.values.get(textOf(key));

  view(of: 'rows' | 'incoming'): RowView {
    const table = of === 'rows' ? this.rows : this.#incoming;
    return {
      get: (key) => table.get(textOf(key)),
      *range(from, to) {
        const found = [...table.keys()].filter((key) => key >= textOf(from) && (to === undefined || key < textOf(to)));
        for (const key of found.sort())
          yield { key: new Uint8Array(Buffer.from(key, 'latin1')), row: table.get(key) as Uint8Array };
      },
    };
  }

  commit(rows: readonly RowWrite[], meta: readonly MetaWrite[]): Promise<void> {
    put(this.rows, rows);
    this.#putMeta(meta);
    return Promise.resolve();
  }

  addIncoming(rows: readonly RowWrite[]): Promise<void> {
    put(this.#incoming, rows);
    return Promise.resolve();
  }

  dropIncoming(): Promise<void> {
    this.#incoming = new Map();
    return Promise.resolve();
  }

  adoptIncoming(meta: readonly MetaWrite[]): Promise<SnapshotCounts> {
    const before = this.rows;
    this.#incoming.delete(textOf(MARK_KEY));
    this.rows = this.#incoming;
    this.#incoming = new Map();
    this.#putMeta(meta);
    const isNew = ([key, row]: [string, Uint8Array]): boolean => {
      const old = before.get(key);
      return old === undefined || !equalBytes(old, row);
    };
    const removed = [...before.keys()].filter((key) => !this.rows.has(key)).length;
    return Promise.resolve({ rows: this.rows.size, put: [...this.rows].filter(isNew).length, removed });
  }

  flushed(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #putMeta(meta: readonly MetaWrite[]): void {
    for (const { key, value } of meta) {
      if (value === undefined) this.values.delete(textOf(key));
      else this.values.set(textOf(key), value.slice());
    }
  }
}

/** The writer's bytes are its own again once a transaction is over. */
function put(into: Map<string, Uint8Array>, rows: readonly RowWrite[]): void {
  for (const { key, row } of rows) {
    if (row === undefined) into.delete(textOf(key));
    else into.set(textOf(key), row.slice());
  }
}

/** As openServedStore in src/engine/ldb/lmdb-store.ts. */
export async function openServedTables(
  tables: MemoryTables,
  { ledgerBytes, onClose, monotonicMs }: ServedOptions,
): Promise<ServedLdb> {
  const stored = tables.meta(POSITION_KEY);
  const position = stored === undefined ? 0 : decodePosition(stored, stored.length, 'memory').revision;
  const ledger = new StandIn(() => tables.ledger);
  const kept = await KeptLedger.open(ledger.table, { bytesMax: ledgerBytes, position });
  const state = new LdbState('memory', environmentOf(tables), kept, monotonicMs);
  const store: LdbStore = {
    meta: tables.meta,
    view: (of) => tables.view(of),
    commit: (rows, meta) => {
      ledger.commit();
      return tables.commit(rows, meta);
    },
    addIncoming: (rows) => tables.addIncoming(rows),
    dropIncoming: () => tables.dropIncoming(),
    adoptIncoming: (meta) => {
      kept.clearSync();
      return tables.adoptIncoming(meta);
    },
    flushed: () => tables.flushed(),
    close: () => {
      onClose();
      state.close();
      return tables.close();
    },
  };
  return { store, state, prepare: (records) => kept.append(records) };
}

/** A read transaction: the tables as they were when it began. */
type Then = ReadonlyMap<StandIn, ReadonlyMap<string, Uint8Array>>;

interface Bounds {
  readonly start: Uint8Array;
  readonly end?: Uint8Array;
  readonly transaction?: Then;
}

function environmentOf(tables: MemoryTables): Environment {
  const all: StandIn[] = [];
  const begin = (): Then => new Map(all.map((one) => [one, one.copy()]));
  const kv = new StandIn(() => tables.rows, begin);
  const meta = new StandIn(() => tables.values, begin);
  all.push(kv, meta);
  const root = { resetReadTxn: () => {} };
  return { root: root as unknown as Environment['root'], kv: kv.table, meta: meta.table, close: () => tables.close() };
}

/** What LdbState and KeptLedger call of a table of lmdb-js. */
class StandIn {
  readonly #now: () => Map<string, Uint8Array>;
  readonly #begin: (() => Then) | undefined;
  readonly #underWay: (() => void)[] = [];
  lastSize = 0;

  constructor(now: () => Map<string, Uint8Array>, begin?: () => Then) {
    this.#now = now;
    this.#begin = begin;
  }

  /** Whoever calls another method of it than these has a TypeError. */
  get table(): Table {
    return this as unknown as Table;
  }

  copy(): ReadonlyMap<string, Uint8Array> {
    return new Map(this.#now());
  }

  useReadTransaction(): object {
    const then = must(this.#begin, 'rows are read in a transaction')();
    // As lmdb-js has it: one object, and whoever uses it says when it is done.
    return Object.assign(then, { use: () => {}, done: () => {} });
  }

  get(key: Uint8Array | string, options?: { readonly transaction?: Then }): Uint8Array | undefined {
    return this.#at(options?.transaction).get(textOf(Buffer.from(key)));
  }

  getBinary(key: Uint8Array): Uint8Array | undefined {
    return this.get(key);
  }

  getBinaryFast(key: Uint8Array): Uint8Array | undefined {
    const value = this.get(key);
    this.lastSize = value?.length ?? 0;
    return value;
  }

  *getRange({ start, end, transaction }: Bounds): Generator<{ key: Uint8Array; value: Uint8Array }> {
    const [first, behind] = [textOf(start), end && textOf(end)];
    const rows = this.#at(transaction);
    const keys = [...rows.keys()].filter((key) => key >= first && (behind === undefined || key < behind));
    for (const key of keys.sort()) yield { key: bytesOf(key), value: must(rows.get(key), 'it was there') };
  }

  /** Nobody sees it before `commit`, and nobody ever when that does not come. */
  put(key: Uint8Array, value: Uint8Array): void {
    const own = value.slice();
    this.#underWay.push(() => this.#now().set(textOf(key), own));
  }

  remove(key: Uint8Array): void {
    const at = textOf(key);
    this.#underWay.push(() => this.#now().delete(at));
  }

  commit(): void {
    for (const write of this.#underWay.splice(0)) write();
  }

  clearSync(): void {
    this.#now().clear();
  }

  clearAsync(): Promise<void> {
    this.clearSync();
    return Promise.resolve();
  }

  #at(then: Then | undefined): ReadonlyMap<string, Uint8Array> {
    return then === undefined ? this.#now() : must(then.get(this), 'a transaction is of its own tables');
  }
}
