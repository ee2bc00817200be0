/**
 * LdbOracle: what must hold of a replica at every revision that it shows, looked at after each of its transactions, and when
 * it is opened again.
 *
 *  - its revision is committed, and never falls, whatever dies;
 *  - its rows are the committed log's at that revision: those of its share, with their revisions and expiries, and no others;
 *  - the state hash that it knows is the cluster's at that revision;
 *  - its share is within what its token may have.
 *
 * Of staged keys it shows what its ring is shown, as history has it, and keeps what that is not aside; nothing else is aside.
 *
 * A filtered snapshot leaves out the rows of tables that were dropped or cleared and are not swept yet: nobody can read them.
 * So a share may have those or not. All else is exact.
 *
 * A replica that was fed a record with another value than the log's (`feedWrong`) may show it, as long as its hash is not the
 * cluster's: at the next mark it must be found out, and filled anew.
 */
import { assert } from '../../src/core/base/assert.ts';
import { equalBytes, text } from '../../src/core/base/bytes.ts';
import {
  decodeSchema,
  FAMILIES_PREFIX,
  isControlKey,
  namesOfTableKey,
  ROWS_PREFIX,
  tableKey,
  TABLES_PREFIX,
} from '../../src/core/model/control/schema.ts';
import {
  HELD_PREFIX,
  isStageKey,
  isUndoKey,
  keyOfUndo,
  STAGES_PREFIX,
  UNDO_PREFIX,
} from '../../src/core/model/control/stage-keys.ts';
import type { LedgerFilter } from '../../src/core/model/ledger-filter.ts';
import {
  decodePosition,
  decodeStoredFilter,
  FILTER_KEY,
  HASH_KEY,
  POSITION_KEY,
  RING_KEY,
  ROW_HEADER_BYTES,
  rowExpiryMs,
  rowRevision,
} from '../../src/engine/ldb/format.ts';
import { decodeHash } from '../../src/engine/ldb/ledger-hash.ts';
import type { LdbView } from './ldb-platter.ts';
import { CLUSTER } from './options.ts';
import { type Reference, type StageThen, textOf, type Version } from './reference.ts';

/** What the keys of rows begin with that are held back. */
const HELD = textOf(HELD_PREFIX);

const bytesOf = (key: string): Uint8Array => Buffer.from(key, 'latin1');

export class LdbOracle {
  readonly #name: string;
  readonly #reference: Reference;
  /** What its token may have; undefined: everything. */
  readonly #grant: LedgerFilter | undefined;
  revision = 0;
  /** Looks that knew a hash to compare. */
  hashes = 0;
  looks = 0;
  /** From here on a record was fed that the log does not have. */
  #wrongFrom: number | undefined;
  /** It shows what the log does not have. */
  isWrong = false;
  /** What it holds, when it was last looked at; undefined: everything. */
  holds: LedgerFilter | undefined;
  /** The ring whose view its rows are; '': of none. */
  ring = '';
  /** Looks that found something held back. */
  heldBack = 0;
  /** It knew the state hash when it was last looked at. */
  isHashKnown = false;

  constructor(name: string, reference: Reference, grant: LedgerFilter | undefined) {
    this.#name = name;
    this.#reference = reference;
    this.#grant = grant;
  }

  /** It is fed a record of this revision that the log does not have. */
  feedWrong(revision: number): void {
    this.#wrongFrom = revision;
  }

  get isFedWrong(): boolean {
    return this.#wrongFrom !== undefined;
  }

  /** Its LDB is gone: what it showed is no promise any more. */
  wiped(): void {
    this.revision = 0;
    this.isWrong = false;
    this.#wrongFrom = undefined;
  }

  look({ meta, rows }: LdbView): void {
    const name = this.#name;
    const reference = this.#reference;
    this.looks++;
    const storedRing = meta(RING_KEY);
    this.ring = storedRing === undefined ? '' : text(storedRing);
    const stored = meta(POSITION_KEY);
    if (stored === undefined) {
      assert(this.revision === 0 && rows.size === 0, `${name}: an LDB without a position has nothing`);
      return;
    }
    const { cluster, revision, timeMs } = decodePosition(stored, stored.length, name);
    assert(revision >= this.revision, `${name}: it showed ${this.revision} and shows ${revision}`);
    this.revision = revision;
    if (revision === 0) {
      assert(rows.size === 0, `${name}: an LDB of nothing yet has no rows`);
      return;
    }
    assert(cluster === CLUSTER, `${name}: it is of the cluster`);
    assert(reference.has(revision), `${name}: it shows ${revision}, which is not committed`);
    assert(timeMs <= reference.timeAt(revision), `${name}: at ${revision} it is not younger than the log`);

    const storedFilter = meta(FILTER_KEY);
    const filter = storedFilter && decodeStoredFilter(storedFilter, storedFilter.length, name);
    this.holds = filter;
    this.#checkShare(filter);
    const fault = this.#faultOf(rows, filter);
    const storedHash = meta(HASH_KEY);
    const hash =
      storedHash === undefined || filter !== undefined
        ? undefined
        : decodeHash(storedHash, storedHash.length, revision);
    this.isHashKnown = hash !== undefined;
    const isHashRight = hash === undefined ? undefined : hash === reference.hashAt(revision);
    if (isHashRight === true) this.hashes++;
    const mayBeWrong = this.#wrongFrom !== undefined && revision >= this.#wrongFrom && isHashRight !== true;
    this.isWrong = fault !== undefined;
    if (this.isWrong && mayBeWrong) return;
    assert(
      fault === undefined,
      `${name} at ${revision}: ${fault}${isHashRight === true ? ', and its hash is right' : ''}`,
    );
    assert(isHashRight !== false || mayBeWrong, `${name} at ${revision}: its rows are right and its hash is not`);
    // Filled anew, or the record never came to be applied.
    if (mayBeWrong && isHashRight === undefined) this.#wrongFrom = undefined;
    if (isHashRight === true && this.#wrongFrom !== undefined && revision >= this.#wrongFrom)
      this.#wrongFrom = undefined;
  }

  /** Whoever holds the token asked for this, so it is of the token's. */
  #checkShare(filter: LedgerFilter | undefined): void {
    const grant = this.#grant;
    if (grant === undefined) return;
    assert(filter !== undefined, `${this.#name}: it holds everything, and may have a part`);
    const tables = filter.tables.filter((name) => !lets(grant, name));
    const prefixes = filter.prefixes.filter(
      (prefix) => !grant.prefixes.some((of) => text(prefix).startsWith(text(of))),
    );
    const families = filter.families.filter((family) => !grant.families.includes(family));
    const beyond = tables.length + prefixes.length + families.length;
    assert(beyond === 0, `${this.#name}: it holds more than it may have`);
  }

  /** How its rows are not the log's; undefined: they are. */
  #faultOf(rows: LdbView['rows'], filter: LedgerFilter | undefined): string | undefined {
    const { revision } = this;
    const reference = this.#reference;
    const stages = reference.stagesAt(revision);
    let found = 0;
    let held = 0;
    for (const key of reference.keys) {
      const newest = reference.valueAt(key, revision);
      const row = rows.get(key);
      const mark = stages.length === 0 ? undefined : this.#markOf(stages, key);
      if (mark === undefined) {
        const fault = this.#faultOfRow(key, row, newest, filter);
        if (fault !== undefined) return fault;
        if (row !== undefined) found++;
        continue;
      }
      const aside = rows.get(HELD + key);
      if (row !== undefined) found++;
      if (aside !== undefined) held++;
      // Nobody can read it; whether its table was staged when it was dropped is not known here.
      if (this.#isDead(key)) continue;
      let fault: string | undefined = 'it is shown';
      for (const { version, isHeld } of reference.shownAt(key, mark, revision)) {
        fault = this.#faultOfRow(key, row, version, filter) ?? this.#faultAside(key, aside, isHeld, newest, filter);
        if (fault === undefined) break;
      }
      if (fault !== undefined) return `${fault}; its ring, ${this.ring || 'none'}, is shown ${mark}`;
    }
    if (held > 0) this.heldBack++;
    return found + held === rows.size
      ? undefined
      : `it has ${rows.size} rows, and ${found + held} of them are the log's`;
  }

  /** The revision whose state it is shown of the stage that this key is of; undefined: it is of none, or all is shown. */
  #markOf(stages: readonly StageThen[], key: string): number | undefined {
    const bytes = bytesOf(key);
    if (isStageKey(bytes) || isUndoKey(bytes)) return undefined;
    const stage = stages.find(({ scope }) => this.#isOf(scope, key));
    const mark = stage?.shownTo(this.ring);
    return mark === Number.POSITIVE_INFINITY ? undefined : mark;
  }

  #faultOfRow(
    key: string,
    row: Uint8Array | undefined,
    then: Version,
    filter: LedgerFilter | undefined,
  ): string | undefined {
    if (then.value === undefined)
      return row === undefined ? undefined : `${shown(key)} was deleted at ${then.revision}, and it has it`;
    if (filter !== undefined && !this.#isOf(filter, key))
      return row === undefined ? undefined : `${shown(key)} is not for it, and it has it`;
    if (row === undefined) {
      const isLeftOut = filter !== undefined && this.#isDead(key);
      return isLeftOut ? undefined : `it lacks ${shown(key)} of ${then.revision}`;
    }
    if (isRowOf(row, then)) return undefined;
    return `${shown(key)} is of ${rowRevision(row, 0)} or another, and the log has that of ${then.revision}`;
  }

  /** What is aside is the newest, as far as it is for this replica. */
  #faultAside(
    key: string,
    aside: Uint8Array | undefined,
    isHeld: boolean,
    newest: Version,
    filter: LedgerFilter | undefined,
  ): string | undefined {
    if (!isHeld || (filter !== undefined && !this.#isOf(filter, key)))
      return aside === undefined ? undefined : `${shown(key)} is held back, and it is shown`;
    if (aside === undefined) return `the newest ${shown(key)} is not kept aside`;
    const [flag] = aside.subarray(ROW_HEADER_BYTES);
    const row = flag === 0 ? undefined : aside.subarray(ROW_HEADER_BYTES + 1);
    const isNewest = row === undefined ? newest.value === undefined : isRowOf(row, newest);
    return isNewest ? undefined : `what is aside of ${shown(key)} is not that of ${newest.revision}`;
  }

  /** Worked out by names alone, beside the production sieve. */
  #isOf(filter: LedgerFilter, key: string): boolean {
    const bytes = bytesOf(key);
    if (!isControlKey(bytes)) return filter.prefixes.some((prefix) => key.startsWith(textOf(prefix)));
    switch (bytes[1]) {
      case STAGES_PREFIX[1]:
        return true;
      case UNDO_PREFIX[1]:
        return this.#isOf(filter, textOf(keyOfUndo(bytes)));
      case FAMILIES_PREFIX[1]: {
        const family = text(bytes.subarray(2));
        return filter.families.includes(family) || filter.tables.some((name) => name.family === family);
      }
      case TABLES_PREFIX[1]:
        return lets(filter, namesOfTableKey(bytes));
      case ROWS_PREFIX[1]: {
        const name = this.#reference.tableNames.get(idsOf(bytes).id);
        assert(name !== undefined, 'a row has a table');
        return lets(filter, name);
      }
      default:
        return false;
    }
  }

  /** A row of a table that was dropped, or cleared, by the revision that it is at. */
  #isDead(key: string): boolean {
    const given = bytesOf(key);
    const bytes = isUndoKey(given) ? keyOfUndo(given) : given;
    if (bytes[0] !== ROWS_PREFIX[0] || bytes[1] !== ROWS_PREFIX[1]) return false;
    const { id, epoch } = idsOf(bytes);
    const name = this.#reference.tableNames.get(id);
    assert(name !== undefined, 'a row has a table');
    const at = tableKey(name.family, name.table);
    const { value } = this.#reference.valueAt(textOf(at), this.revision);
    if (value === undefined) return true;
    const schema = decodeSchema(at, value);
    return schema.id !== id || schema.epoch !== epoch;
  }
}

const lets = ({ families, tables }: LedgerFilter, name: { readonly family: string; readonly table: string }): boolean =>
  families.includes(name.family) || tables.some(({ family, table }) => family === name.family && table === name.table);

function idsOf(key: Uint8Array): { readonly id: number; readonly epoch: number } {
  const view = new DataView(key.buffer, key.byteOffset + ROWS_PREFIX.length, 8);
  return { id: view.getUint32(0), epoch: view.getUint32(4) };
}

const isRowOf = (row: Uint8Array, { revision, expiryMs, value }: Version): boolean =>
  value !== undefined &&
  rowRevision(row, 0) === revision &&
  rowExpiryMs(row, 0) === expiryMs &&
  equalBytes(row.subarray(ROW_HEADER_BYTES), value);

const shown = (key: string): string => JSON.stringify(key);
