/**
 * FilteredLedger: what one replica with a filter gets of the ledger and of the state.
 *
 * Records keep their revisions, and are empty where nothing is left, so that the replica can count as all others do. A
 * snapshot reads only the ranges that it is made of: a small part of a large state costs what is small.
 *
 * Rows say their table by number. Numbers are learnt from schemas as they pass and from the state's catalog; a table
 * that was dropped before this node started is in neither. A replica that goes on from the middle may have rows of it,
 * so it then gets a snapshot, once; behind that it can have none, and they are left out.
 */
import type { Revision } from '../core/base/position.ts';
import { ByteWriter, compareBytes } from '../core/base/bytes.ts';
import { type Change, decodeRecords, encodeRecord } from '../core/model/ledger.ts';
import { isUndoKey } from '../core/model/control/stage-keys.ts';
import { decodeSchema, rowsPrefix, TABLES_PREFIX } from '../core/model/control/schema.ts';
import { type KeyRange, type LedgerFilter, Sieve, type TableDirectory, under } from '../core/model/ledger-filter.ts';
import type { StateCursor, StateEntry, StateReader } from '../engine/state/state-reader.ts';

type State = Pick<StateReader, 'scan'>;

export class FilteredLedger {
  readonly #state: State;
  readonly #sieve: Sieve;
  readonly #directory: TableDirectory;
  /** The replica has no row of a table that is unknown here. */
  #hasOnlyKnown: boolean;
  #hasCatalog = false;

  constructor(
    filter: LedgerFilter,
    state: State,
    directory: TableDirectory,
    { fromStart }: { readonly fromStart: boolean },
  ) {
    this.#state = state;
    this.#sieve = new Sieve(filter, directory);
    this.#directory = directory;
    this.#hasOnlyKnown = fromStart;
  }

  /** Whole records with what is left of them; undefined: only a snapshot can tell. */
  sift(records: Uint8Array): Uint8Array | undefined {
    this.#readCatalog();
    const writer = new ByteWriter(1024);
    for (const record of decodeRecords(records)) {
      for (const { kind, key, value } of record.changes) if (kind === 'put') this.#directory.learn(key, value);
      const changes: Change[] = [];
      for (const change of record.changes) {
        const lets = this.#sieve.lets(change.key);
        if (lets === 'unknown' && !this.#hasOnlyKnown) return undefined;
        if (lets === true) changes.push(change);
      }
      encodeRecord(writer, { ...record, changes });
    }
    return writer.take();
  }

  /** Once: what the tables of now are called. Later ones are learnt as they pass. */
  #readCatalog(): void {
    if (this.#hasCatalog) return;
    this.#hasCatalog = true;
    const catalog = this.#state.scan({ ...under(TABLES_PREFIX), reverse: false });
    try {
      for (let entry = catalog.next(); entry !== undefined; entry = catalog.next()) {
        this.#directory.learn(entry.key, entry.value);
      }
    } finally {
      catalog.close();
    }
  }

  /**
   * All that it lets through, of one state, in the order of keys; or what of it is behind `after`, for a replica that has the
   * rest from before, and may so have rows of tables that nobody here has heard of. Close it.
   */
  scan(after?: Uint8Array): StateCursor {
    this.#hasCatalog = true;
    const catalog = this.#state.scan({ ...under(TABLES_PREFIX), reverse: false });
    try {
      const rows: KeyRange[] = [];
      for (let entry = catalog.next(); entry !== undefined; entry = catalog.next()) {
        this.#directory.learn(entry.key, entry.value);
        const schema = decodeSchema(entry.key, entry.value);
        if (this.#sieve.wants(schema)) rows.push(under(rowsPrefix(schema)));
      }
      this.#hasOnlyKnown ||= after === undefined;
      const ranges = [...this.#sieve.ranges(), ...rows].toSorted((a, b) => compareBytes(a.from, b.from));
      return new RangesCursor(this.#state, catalog, after === undefined ? ranges : behind(after, ranges), this.#sieve);
    } catch (error) {
      catalog.close();
      throw error;
    }
  }
}

/** What of `ranges` is behind the key `after`. */
function behind(after: Uint8Array, ranges: readonly KeyRange[]): KeyRange[] {
  const next = Uint8Array.of(...after, 0);
  return ranges
    .filter(({ to }) => compareBytes(to, next) > 0)
    .map(({ from, to }) => ({ from: compareBytes(from, next) < 0 ? next : from, to }));
}

/** Several ranges of one state, one after the other. */
class RangesCursor implements StateCursor {
  readonly revision: Revision;
  readonly #state: State;
  /** Holds the revision, from the first range to the last. */
  readonly #holder: StateCursor;
  readonly #ranges: KeyRange[];
  readonly #sieve: Sieve;
  #current: StateCursor | undefined;

  constructor(state: State, holder: StateCursor, ranges: readonly KeyRange[], sieve: Sieve) {
    this.#state = state;
    this.#holder = holder;
    this.revision = holder.revision;
    this.#ranges = [...ranges];
    this.#sieve = sieve;
  }

  next(): StateEntry | undefined {
    for (;;) {
      const entry = this.#current?.next();
      if (entry !== undefined && isUndoKey(entry.key) && this.#sieve.lets(entry.key) !== true) continue;
      if (entry !== undefined) return entry;
      this.#current?.close();
      this.#current = undefined;
      const range = this.#ranges.shift();
      if (range === undefined) return undefined;
      this.#current = this.#state.scan({ ...range, reverse: false }, this.revision);
    }
  }

  close(): void {
    this.#current?.close();
    this.#current = undefined;
    this.#holder.close();
  }
}
