/**
 * LdbReader: reads a local replica, synchronously, from any process or thread, with the cluster up or down.
 *
 * What a reader sees, and when:
 *  - All reads of one turn of the event loop see one state: rows, `revision` and `timeMs` belong together.
 *    (lmdb-js renews its read transaction on a timer of 0 ms, so a turn here lasts until timers run.)
 *  - In the next turn the newest commit of any process is visible, without a call.
 *  - A loop that never yields keeps its state as long as it likes; `refresh()` moves it to the newest one.
 *  - A range keeps its state until it ends, even if the caller awaits between two rows: see `range`.
 *
 * Time is log time (see core/model): a row whose expiry the log has passed is not there. With the cluster down
 * log time stands still, and so does expiry; `lagMs` grows.
 *
 * The hot path is `get`: text keys go straight into LMDB's key buffer, most rows never look at the position, and
 * nothing is allocated but the entry.
 */
import { assert } from '../../core/base/assert.ts';
import { compareBytes, EMPTY, prefixEnd, utf8 } from '../../core/base/bytes.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { Revision } from '../../core/base/position.ts';
import type { KeyOf, KeyPrefixOf, RowOf, Table as TableDefinition } from '../../core/model/control/define.ts';
import type { Row } from '../../core/model/control/row.ts';
import { decodeSchema, TABLES_PREFIX, type TableSchema } from '../../core/model/control/schema.ts';
import type { GivenValue } from '../../core/model/control/value.ts';
import type { LedgerFilter, TableName } from '../../core/model/ledger-filter.ts';
import { boundToUserKeys, checkKey, LIMITS } from '../../core/model/limits.ts';
import { copyEntry, LdbEntry } from './entry.ts';
import { type Environment, openToRead, type Table } from './environment.ts';
import {
  type Key,
  decodePosition,
  decodeStoredFilter,
  EXPIRY_TOP_AT,
  FILTER_KEY,
  FIRST_KEY,
  LDB_KEY_BYTES_MAX,
  type LdbPosition,
  POSITION_KEY,
  ROW_HEADER_BYTES,
  rowExpiryMs,
} from './format.ts';
import { readRow } from './row-decoder.ts';
import { fullKey, keyPrefix, Tables } from './tables.ts';

export interface OpenLdbOptions {
  /** The clock that `lagMs` and `maxStalenessMs` compare with log time; default Date.now. */
  readonly nowMs?: () => number;
  /**
   * Needed when this process also runs the LDB's writer (LMDB has one environment per file and process, so one
   * that was opened read-only could not be written). Such a reader waits for a commit under way when it opens.
   */
  readonly besideWriter?: boolean;
  /** How long a range that stands still keeps its state; default 1000. See `LdbReader.range`. */
  readonly rangeHoldMs?: number;
}

export interface LdbGetOptions {
  /** Not older than this revision, or TOO_STALE: read your own write on any host. */
  readonly atLeast?: Revision | number;
  /** The copy's log time is at most this old, or TOO_STALE. */
  readonly maxStalenessMs?: number;
}

export interface LdbRangeOptions {
  /** Keys that begin with this. Not together with from/to. */
  readonly prefix?: Key;
  /** First key, inclusive. */
  readonly from?: Key;
  /** End, exclusive. */
  readonly to?: Key;
  readonly limit?: number;
  readonly reverse?: boolean;
}

const RANGE_HOLD_MS = 1000;
const KEY_LIMITS = { ...LIMITS, keyBytesMax: LDB_KEY_BYTES_MAX };
/** A text of this many units is at most LDB_KEY_BYTES_MAX bytes, as a UTF-16 unit is at most 3 bytes of UTF-8. */
const KEY_UNITS_SAFE = Math.floor(LDB_KEY_BYTES_MAX / 3);

/** Opens the LDB in `dir`. LDB_MISSING when there is none (nothing is created), LDB_CORRUPT when it is no LDB. */
export function openLdb(dir: string, options: OpenLdbOptions = {}): LdbReader {
  return new LdbReader(dir, options);
}

export class LdbReader {
  readonly dir: string;
  readonly #env: Environment;
  readonly #kv: Table;
  readonly #nowMs: () => number;
  readonly #rangeHoldMs: number;
  readonly #ranges = new Set<RangeCursor>();
  readonly #tables: Tables;
  #isOpen = true;

  constructor(dir: string, options: OpenLdbOptions) {
    this.dir = dir;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#rangeHoldMs = options.rangeHoldMs ?? RANGE_HOLD_MS;
    this.#env = openToRead(dir, options.besideWriter ?? false);
    this.#kv = this.#env.kv;
    this.#tables = new Tables(this.#kv, options.besideWriter ?? false);
    try {
      assert(this.position.revision >= 0, 'the position can be read');
      // The caller's first read has a state of its own, not the one of this check.
      this.refresh();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The row of `key`, or undefined. */
  get(key: Key, options?: LdbGetOptions): LdbEntry | undefined {
    this.#checkOpen();
    if (options !== undefined) this.#require(options);
    const row = this.#find(key);
    if (row === undefined) return undefined;
    const entry = copyEntry(key, row, this.#kv.lastSize);
    return row[EXPIRY_TOP_AT] !== 0 && (entry.expiryMs ?? 0) <= this.timeMs ? undefined : entry;
  }

  /**
   * Just the value, in place: valid until the next read of any LDB in this thread, which puts another one there.
   * The fastest read, for who decodes at once.
   */
  getBytes(key: Key): Uint8Array | undefined {
    this.#checkOpen();
    let row = this.#find(key);
    if (row === undefined) return undefined;
    if (row[EXPIRY_TOP_AT] !== 0) {
      if (rowExpiryMs(row, 0) <= this.timeMs) return undefined;
      // Reading the position has overwritten the row.
      row = this.#find(key);
      if (row === undefined) return undefined;
    }
    return new Uint8Array(row.buffer, row.byteOffset + ROW_HEADER_BYTES, this.#kv.lastSize - ROW_HEADER_BYTES);
  }

  /**
   * The rows of a range in key order (or the reverse), all of one state: that of the first `next()`.
   *
   * It is read row by row, so a long range costs no memory, and a caller who stops early pays for what it took.
   * While it runs it holds an LMDB read transaction, and that keeps old pages from reuse: the file grows. So a
   * caller who awaits between rows has `rangeHoldMs`; then the transaction is let go. If nothing has been
   * committed meanwhile the range goes on as if nothing was; else the next row is TOO_STALE, as its state is gone.
   */
  range(options: LdbRangeOptions = {}): Iterable<LdbEntry> {
    this.#checkOpen();
    const bounds = boundsOf(options);
    return { [Symbol.iterator]: () => this.#rows(bounds) };
  }

  /**
   * The row of a table with this primary key: all key fields, in the order of the key. Names are not case-sensitive; a
   * text stands for the bytes of a bytestring, and digits for an integer. Undefined: there is none. NOT_FOUND: this
   * replica has no such table. BAD_REQUEST: too few or too many key fields, or of another type.
   */
  getRowByKey<T extends TableDefinition>(table: T, key: KeyOf<T>): RowOf<T> | undefined;
  getRowByKey(family: string, table: string, key: readonly GivenValue[]): Row | undefined;
  getRowByKey(first: string | TableDefinition, second?: unknown, third?: unknown): unknown {
    this.#checkOpen();
    const { family, table, key } = namesOf(first, second, third);
    const view = this.#tables.of(family, table);
    const row = this.#kv.getBinaryFast(fullKey(view, key));
    return row === undefined ? undefined : readRow(view.names, row, ROW_HEADER_BYTES, this.#kv.lastSize);
  }

  /**
   * The rows whose leading key fields have these values, in the order of the primary key; no values: all of the table.
   * It is streamed, of one state, and holds it, all as `range`. Errors as of `getRowByKey`, but for too few.
   */
  getRowsByKeyPrefix<T extends TableDefinition>(table: T, key?: KeyPrefixOf<T>): Iterable<RowOf<T>>;
  getRowsByKeyPrefix(family: string, table: string, key?: readonly GivenValue[]): Iterable<Row>;
  getRowsByKeyPrefix(first: string | TableDefinition, second?: unknown, third?: unknown): unknown {
    this.#checkOpen();
    const { family, table, key } = namesOf(first, second, third);
    // What is wrong with the question is said now, and not at the first row.
    keyPrefix(this.#tables.of(family, table), key);
    return { [Symbol.iterator]: () => this.#rowsOf(family, table, key) };
  }

  *#rowsOf(family: string, table: string, key: readonly GivenValue[]): Generator<Row, void, undefined> {
    const view = this.#tables.of(family, table);
    for (const { value } of this.#rows(boundsOf({ prefix: keyPrefix(view, key) }))) {
      yield readRow(view.names, Buffer.from(value.buffer, value.byteOffset, value.length), 0, value.length);
    }
  }

  /** The tables that are here, by family and name. */
  tables(): TableSchema[] {
    return Array.from(this.range({ prefix: TABLES_PREFIX }), ({ key, value }) => decodeSchema(key, value));
  }

  /** True once the replica was filled. */
  ping(): boolean {
    return this.revision > 0;
  }

  /** Cluster, revision and log time, of one state. */
  get position(): LdbPosition {
    this.#checkOpen();
    const { meta } = this.#env;
    const stored = meta.getBinaryFast(POSITION_KEY);
    if (stored === undefined) throw new StoreError('LDB_MISSING', `the LDB in ${this.dir} is being made`);
    return decodePosition(stored, meta.lastSize, this.dir);
  }

  /** What of the cluster's data is here; undefined: everything. */
  get filter(): LedgerFilter | undefined {
    this.#checkOpen();
    const { meta } = this.#env;
    const stored = meta.getBinaryFast(FILTER_KEY);
    return stored === undefined ? undefined : decodeStoredFilter(stored, meta.lastSize, this.dir);
  }

  get cluster(): string {
    return this.position.cluster;
  }

  /** Everything up to here is in, and nothing after; 0 for an LDB that was never filled. */
  get revision(): Revision {
    return this.position.revision;
  }

  /** Log time of the revision. */
  get timeMs(): number {
    return this.position.timeMs;
  }

  /**
   * Age of the newest log time the copy has. Grows while the cluster is silent or out of reach, as nobody here
   * can tell the two apart. Infinity for an LDB that was never filled. As good as the two hosts' clocks agree.
   */
  lagMs(nowMs: number = this.#nowMs()): number {
    const { timeMs } = this.position;
    // Before the first entry with a time (the very first is an election's, without one) there is no age to tell.
    return timeMs === 0 ? Number.POSITIVE_INFINITY : Math.max(0, nowMs - timeMs);
  }

  /** The age of what is here, in ms, as ctlstore calls it: `lagMs()`. Infinity until the replica was filled. */
  ledgerLatency(): number {
    return this.lagMs();
  }

  /** As ctlstore calls it: `revision`. */
  lastRevision(): Revision {
    return this.revision;
  }

  /** Rows in the file, those included whose expiry has passed. */
  count(): number {
    this.#checkOpen();
    const { entryCount } = this.#kv.getStats() as { readonly entryCount: number };
    return entryCount;
  }

  /** Moves on to the newest commit now, without waiting for the next turn. */
  refresh(): void {
    this.#checkOpen();
    this.#env.root.resetReadTxn();
    this.#tables.moved();
  }

  /** May be called twice. Ranges under way end with CLOSED. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    // Before the environment: LMDB does not survive a cursor that outlives it.
    for (const cursor of this.#ranges) cursor.release();
    void this.#env.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #checkOpen(): void {
    if (!this.#isOpen) throw new StoreError('CLOSED', `the LDB in ${this.dir} was closed`);
  }

  #find(key: Key): Buffer | undefined {
    if (key.length === 0 || key.length > KEY_UNITS_SAFE) checkKey(bytesOf(key), KEY_LIMITS);
    return this.#kv.getBinaryFast(key);
  }

  /** What the turn's state cannot show, the newest one may. */
  #require(options: LdbGetOptions): void {
    if (this.#shortfall(options) === undefined) return;
    this.refresh();
    const shortfall = this.#shortfall(options);
    if (shortfall === undefined) return;
    const { revision } = this.position;
    const data = { revision, lagMs: this.lagMs(), ...options };
    throw new StoreError('TOO_STALE', `the LDB in ${this.dir} is ${shortfall}`, { data });
  }

  #shortfall({ atLeast, maxStalenessMs }: LdbGetOptions): string | undefined {
    if (atLeast !== undefined && !(this.revision >= atLeast)) {
      return `at revision ${this.revision}; ${atLeast} was asked for`;
    }
    if (maxStalenessMs !== undefined && !(this.lagMs() <= maxStalenessMs)) {
      return `${this.lagMs()} ms old; at most ${maxStalenessMs} ms was asked for`;
    }
    return undefined;
  }

  *#rows(bounds: Bounds): Generator<LdbEntry, void, undefined> {
    this.#checkOpen();
    if (bounds.isEmpty) return;
    const { revision, timeMs } = this.position;
    let left = bounds.limit;
    const cursor = new RangeCursor(this.#kv, bounds);
    this.#ranges.add(cursor);
    const watchdog = setInterval(() => cursor.releaseIfIdle(), this.#rangeHoldMs);
    watchdog.unref();
    try {
      while (left > 0) {
        this.#checkOpen();
        if (cursor.isReleased && this.revision !== revision) throw this.#rangeLost(revision);
        const row = cursor.next();
        if (row === undefined) return;
        const entry = new LdbEntry(row.key, row.value, 0, row.value.length);
        if ((entry.expiryMs ?? Number.POSITIVE_INFINITY) <= timeMs) continue;
        left--;
        yield entry;
      }
    } finally {
      clearInterval(watchdog);
      cursor.release();
      this.#ranges.delete(cursor);
    }
  }

  #rangeLost(revision: Revision): StoreError {
    const message = `a range stood still for more than ${this.#rangeHoldMs} ms and its state is gone; begin it again`;
    return new StoreError('TOO_STALE', message, { data: { rangeRevision: revision, revision: this.revision } });
  }
}

interface Wanted extends TableName {
  readonly key: readonly GivenValue[];
}

/** As the overloads say; the values of the key are checked one by one when they are encoded. */
function namesOf(first: string | TableDefinition, second: unknown, third: unknown): Wanted {
  const isDefined = typeof first !== 'string';
  const table = isDefined ? first.table : second;
  const key = isDefined ? second : third;
  if (typeof table !== 'string' || !(key === undefined || Array.isArray(key))) {
    throw new StoreError('BAD_REQUEST', 'a row is named by family, table and a list of key values');
  }
  return { family: isDefined ? first.family : first, table, key: (key ?? []) as readonly GivenValue[] };
}

interface Held {
  readonly rows: Iterator<{ key: Key; value: Uint8Array }>;
  readonly done: () => void;
}

/** A place in a range: an LMDB cursor in its own read transaction, which can be given up and taken again. */
class RangeCursor {
  readonly #kv: Table;
  readonly #bounds: Bounds;
  #last: Uint8Array | undefined;
  #held: Held | undefined;
  #hasMoved = true;

  constructor(kv: Table, bounds: Bounds) {
    this.#kv = kv;
    this.#bounds = bounds;
    this.#hold();
  }

  get isReleased(): boolean {
    return this.#held === undefined;
  }

  next(): { readonly key: Uint8Array; readonly value: Uint8Array } | undefined {
    this.#hasMoved = true;
    const { rows } = this.#held ?? this.#hold();
    const step = rows.next();
    if (step.done === true) return undefined;
    const { key, value } = step.value;
    assert(typeof key !== 'string', 'LMDB gives keys as bytes');
    this.#last = key;
    return { key, value };
  }

  /** Called each hold time: lets go of a cursor that has not moved since the last call. */
  releaseIfIdle(): void {
    if (!this.#hasMoved) this.release();
    this.#hasMoved = false;
  }

  release(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.rows.return?.();
    held?.done();
  }

  #hold(): Held {
    const transaction = this.#kv.useReadTransaction();
    const { from, to, reverse } = this.#bounds;
    const last = this.#last;
    // In reverse LMDB starts at the upper bound, which is ours not to include, and ends at the lower one, which is.
    const options = reverse
      ? { start: last ?? to, exclusiveStart: true, end: from, inclusiveEnd: true, reverse, transaction }
      : { start: last ?? from, exclusiveStart: last !== undefined, end: to, transaction };
    const rows = this.#kv.getRange(options as Parameters<Table['getRange']>[0])[Symbol.iterator]();
    const held = { rows, done: () => transaction.done() };
    this.#held = held;
    return held;
  }
}

interface Bounds {
  readonly from: Uint8Array;
  /** Undefined: to the last key. */
  readonly to: Uint8Array | undefined;
  readonly limit: number;
  readonly reverse: boolean;
  readonly isEmpty: boolean;
}

function boundsOf({ prefix, from, to, limit = Number.POSITIVE_INFINITY, reverse = false }: LdbRangeOptions): Bounds {
  if (prefix !== undefined && (from !== undefined || to !== undefined)) {
    throw new StoreError('BAD_REQUEST', 'a range is given by a prefix or by from and to, not by both');
  }
  if (!(limit >= 0)) throw new StoreError('BAD_REQUEST', `the limit of a range must be at least 0, not ${limit}`);
  const first = bytesOf(prefix ?? from ?? FIRST_KEY);
  const wanted = prefix !== undefined ? prefixEnd(bytesOf(prefix)) : to === undefined ? undefined : bytesOf(to);
  // Rows of tables lie behind users' keys, and are asked for as such.
  const bound = wanted?.length === 0 ? wanted : boundToUserKeys(first, wanted ?? EMPTY);
  const end = wanted === undefined && bound.length === 0 ? undefined : bound;
  const low = first.length === 0 ? FIRST_KEY : first;
  // An empty `to` is an end before all keys, but to LMDB no end at all.
  const isEmpty = limit === 0 || (end !== undefined && compareBytes(low, end) >= 0);
  for (const bound of [low, end]) if (bound !== undefined && bound.length > 0) checkKey(bound, KEY_LIMITS);
  return { from: low, to: end, limit, reverse, isEmpty };
}

function bytesOf(key: Key): Uint8Array {
  return typeof key === 'string' ? utf8(key) : key;
}
