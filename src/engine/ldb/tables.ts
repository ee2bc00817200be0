/**
 * Tables: the schemas of an LDB, as its reader needs them for each row.
 *
 * A schema is a row of the catalog, and its revision says whether it is still what was read before. Looking at it costs a
 * read, as much as the row itself; so it is looked at once per run of code between two awaits (LMDB's read transaction
 * lives at least as long), and when the reader moves on. Names are lower-cased once: the cache knows them as they were
 * given.
 */
import { StoreError } from '../../core/base/errors.ts';
import { parseFamilyName, parseTableName } from '../../core/model/control/names.ts';
import { COLUMN, rowKey, rowKeyPrefix } from '../../core/model/control/row-key.ts';
import {
  decodeSchema,
  type Field,
  type FieldType,
  ROWS_PREFIX,
  ROWS_PREFIX_BYTES,
  tableKey,
  type TableSchema,
} from '../../core/model/control/schema.ts';
import type { GivenValue } from '../../core/model/control/value.ts';
import type { Table } from './environment.ts';
import { ROW_HEADER_BYTES, rowRevision } from './format.ts';

/** A table as it is at the reader's state. */
export interface TableView {
  readonly schema: TableSchema;
  /** In the order in which rows have them. */
  readonly names: readonly string[];
  /** Types of the key fields, in the order of the key. */
  readonly keyTypes: readonly FieldType[];
}

interface Known extends TableView {
  readonly revision: number;
}

interface Slot {
  readonly catalogKey: Uint8Array;
  known: Known | undefined;
  /** The run in which it was looked at. */
  run: number;
}

const TWO_31 = 0x8000_0000;
const TWO_32 = 0x1_0000_0000;

/** Names as they were given; more of them than any schema has tables are somebody's mistake. */
const SLOTS_MAX = 10_000;

export class Tables {
  readonly #kv: Table;
  /** Each read looks at the catalog: the writer is in this thread, and may commit between two lines of code. */
  readonly #looksAlways: boolean;
  readonly #slots = new Map<string, Map<string, Slot>>();
  #slotCount = 0;
  /** Number of the run of code that is under way; 0 between runs. */
  #run = 0;
  #runs = 0;

  constructor(kv: Table, looksAlways: boolean) {
    this.#kv = kv;
    this.#looksAlways = looksAlways;
  }

  /** The reader has moved on: what was read before may have changed. */
  moved(): void {
    this.#run = 0;
  }

  /** NOT_FOUND when there is no such table here; BAD_REQUEST for what is no name. */
  of(family: string, table: string): TableView {
    const slot = this.#slots.get(family)?.get(table) ?? this.#newSlot(family, table);
    if (slot.known === undefined || slot.run !== this.#run || this.#run === 0 || this.#looksAlways) this.#look(slot);
    if (slot.known !== undefined) return slot.known;
    throw new StoreError('NOT_FOUND', `Table not found: ${family}/${table}`, { data: { family, table } });
  }

  #newSlot(family: string, table: string): Slot {
    const slot = { catalogKey: tableKey(parseFamilyName(family), parseTableName(table)), known: undefined, run: 0 };
    if (this.#slotCount++ >= SLOTS_MAX) {
      this.#slots.clear();
      this.#slotCount = 1;
    }
    const tables = this.#slots.get(family) ?? new Map<string, Slot>();
    this.#slots.set(family, tables);
    tables.set(table, slot);
    return slot;
  }

  #look(slot: Slot): void {
    if (this.#run === 0) {
      this.#run = ++this.#runs;
      queueMicrotask(() => this.moved());
    }
    slot.run = this.#run;
    const row = this.#kv.getBinaryFast(slot.catalogKey);
    if (row === undefined) {
      slot.known = undefined;
      return;
    }
    const revision = rowRevision(row, 0);
    if (slot.known?.revision === revision) return;
    const bytes = new Uint8Array(row.subarray(ROW_HEADER_BYTES, this.#kv.lastSize));
    const schema = decodeSchema(slot.catalogKey, bytes);
    const names = schema.fields.map(({ name }) => name);
    const keyTypes = schema.key.map((place) => (schema.fields[place] as Field).type);
    slot.known = { schema, names, keyTypes, revision };
  }
}

/**
 * The key of one row; valid until the next call. BAD_REQUEST: too few or too many values, or of another type.
 *
 * Keys of short ASCII texts and safe whole numbers, as most are, are encoded here into a buffer that is used again: the
 * general way makes a dozen objects, and costs twice as much as the read.
 */
export function fullKey(view: TableView, key: readonly GivenValue[]): Uint8Array {
  const { schema, keyTypes } = view;
  const count = keyTypes.length;
  if (key.length !== count) {
    // Its error says that there are too many, and not that there must be all.
    return key.length > count ? rowKeyPrefix(schema, key) : rowKey(schema, key);
  }
  let at = writePrefix(schema);
  for (let i = 0; i < count; i++) {
    const value = key[i];
    if (typeof value === 'string' && keyTypes[i] === 'string') at = writeText(value, at);
    else if (typeof value === 'number' && keyTypes[i] === 'integer') at = writeInteger(value, at);
    else return rowKey(schema, key);
    if (at < 0) return rowKey(schema, key);
  }
  return VIEWS[at] as Uint8Array;
}

const SCRATCH_BYTES = 256;
const SCRATCH = new Uint8Array(SCRATCH_BYTES);
const SCRATCH_VIEW = new DataView(SCRATCH.buffer);
const VIEWS: readonly Uint8Array[] = Array.from({ length: SCRATCH_BYTES + 1 }, (_, end) => SCRATCH.subarray(0, end));
SCRATCH.set(ROWS_PREFIX);

function writePrefix({ id, epoch }: TableSchema): number {
  SCRATCH_VIEW.setUint32(ROWS_PREFIX.length, id);
  SCRATCH_VIEW.setUint32(ROWS_PREFIX.length + 4, epoch);
  return ROWS_PREFIX_BYTES;
}

/** Where it ends, or -1: the general way must do it. */
function writeText(value: string, from: number): number {
  const { length } = value;
  if (from + length + 3 > SCRATCH_BYTES) return -1;
  let at = from;
  SCRATCH[at++] = COLUMN.text;
  for (let i = 0; i < length; i++) {
    const unit = value.charCodeAt(i);
    if (unit === 0 || unit > 0x7f) return -1;
    SCRATCH[at++] = unit;
  }
  SCRATCH[at++] = 0;
  SCRATCH[at++] = 0;
  return at;
}

function writeInteger(value: number, from: number): number {
  if (from + 9 > SCRATCH_BYTES || !Number.isSafeInteger(value)) return -1;
  SCRATCH[from] = COLUMN.integer;
  // The sign flipped: 2 ** 63 is added, which is 2 ** 31 in the upper half.
  SCRATCH_VIEW.setUint32(from + 1, Math.floor(value / TWO_32) + TWO_31);
  SCRATCH_VIEW.setUint32(from + 5, value >>> 0);
  return from + 9;
}

/** What the keys of the wanted rows begin with. BAD_REQUEST: too many values, or of another type. */
export const keyPrefix = ({ schema }: TableView, key: readonly GivenValue[]): Uint8Array => rowKeyPrefix(schema, key);
