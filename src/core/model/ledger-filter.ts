/**
 * LedgerFilter: which part of the data a replica may have and wants: families, tables, and keys by prefix.
 *
 *   filter = families varint, string* | tables varint, (family string | table string)* | prefixes varint, blob*
 *
 * A filter is always in one form (names lower-cased, sorted, nothing said twice), so that two are the same if and only
 * if their bytes are. No filter (undefined) is everything; a filter of nothing lets nothing through.
 *
 * Of control data a replica gets what it may read and no more: the rows of its tables, their schemas, and the names of
 * their families; and of stages (control/stages.ts) their names and what they are of. Rows carry their table's number and not its name, so whoever filters knows a directory of numbers.
 */
import { assert } from '../base/assert.ts';
import { type ByteReader, ByteWriter, compareBytes, equalBytes, prefixEnd, text, utf8 } from '../base/bytes.ts';
import { StoreError } from '../base/errors.ts';
import { parseFamilyName, parseTableName } from './control/names.ts';
import {
  decodeSchema,
  familyKey,
  familyOfKey,
  FAMILIES_PREFIX,
  isControlKey,
  namesOfTableKey,
  ROWS_PREFIX,
  tableKey,
  TABLES_PREFIX,
  tablesPrefix,
} from './control/schema.ts';
import { keyOfUndo, STAGES_PREFIX, UNDO_PREFIX } from './control/stage-keys.ts';
import { CONTROL_BYTE, LIMITS } from './limits.ts';

export interface TableName {
  readonly family: string;
  readonly table: string;
}

export interface LedgerFilter {
  readonly families: readonly string[];
  readonly tables: readonly TableName[];
  /** Users' keys that begin with one of these. */
  readonly prefixes: readonly Uint8Array[];
}

/** As somebody writes it: tables as `family/table`, an empty prefix for all of the users' keys. */
export interface FilterInput {
  readonly families?: readonly string[];
  readonly tables?: readonly string[];
  readonly prefixes?: readonly (Uint8Array | string)[];
}

/** Families, tables and prefixes together. */
export const FILTER_ITEMS_MAX = 256;

/** Throws BAD_REQUEST. */
export function parseFilter(given: FilterInput): LedgerFilter {
  return normal({
    families: given.families ?? [],
    tables: (given.tables ?? []).map(parseTable),
    prefixes: (given.prefixes ?? []).map((prefix) => (typeof prefix === 'string' ? utf8(prefix) : prefix)),
  });
}

function parseTable(name: string): TableName {
  const [family, table, ...more] = name.split('/');
  if (family !== undefined && table !== undefined && more.length === 0) return { family, table };
  throw new StoreError('BAD_REQUEST', `a table is named family/table, not ${JSON.stringify(name.slice(0, 100))}`);
}

function normal(filter: LedgerFilter): LedgerFilter {
  const count = filter.families.length + filter.tables.length + filter.prefixes.length;
  if (count > FILTER_ITEMS_MAX) {
    throw new StoreError('BAD_REQUEST', `a filter names at most ${FILTER_ITEMS_MAX} things; this one ${count}`, {
      data: { limit: FILTER_ITEMS_MAX, size: count },
    });
  }
  const families = [...new Set(filter.families.map(parseFamilyName))].sort();
  const tables = new Map<string, TableName>();
  for (const given of filter.tables) {
    const name = { family: parseFamilyName(given.family), table: parseTableName(given.table) };
    if (!families.includes(name.family)) tables.set(`${name.family}/${name.table}`, name);
  }
  const prefixes: Uint8Array[] = [];
  for (const prefix of filter.prefixes.toSorted(compareBytes)) {
    if (prefix[0] === CONTROL_BYTE) {
      throw new StoreError('BAD_REQUEST', 'a prefix that begins with ff is reserved: name families or tables');
    }
    if (prefix.length > LIMITS.keyBytesMax) {
      throw new StoreError('BAD_REQUEST', `a prefix has at most ${LIMITS.keyBytesMax} bytes`);
    }
    // Sorted, so what covers it came just before it, or nothing does.
    const last = prefixes.at(-1);
    if (last === undefined || !begins(prefix, last)) prefixes.push(prefix);
  }
  const sorted = [...tables].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, name]) => name);
  return { families, tables: sorted, prefixes };
}

const begins = (bytes: Uint8Array, prefix: Uint8Array): boolean =>
  bytes.length >= prefix.length && equalBytes(bytes.subarray(0, prefix.length), prefix);

export function encodeFilter({ families, tables, prefixes }: LedgerFilter): Uint8Array {
  const writer = new ByteWriter(64).varint(families.length);
  for (const family of families) writer.string(family);
  writer.varint(tables.length);
  for (const { family, table } of tables) writer.string(family).string(table);
  writer.varint(prefixes.length);
  for (const prefix of prefixes) writer.blob(prefix);
  return writer.take();
}

/** Of a client's bytes: checked as if they were given. */
export function decodeFilter(reader: ByteReader): LedgerFilter {
  const families = list(reader, () => reader.string());
  const tables = list(reader, () => ({ family: reader.string(), table: reader.string() }));
  const prefixes = list(reader, () => new Uint8Array(reader.blob()));
  return normal({ families, tables, prefixes });
}

function list<T>(reader: ByteReader, read: () => T): T[] {
  const items: T[] = [];
  for (let left = reader.varint(); left > 0; left--) {
    if (items.length === FILTER_ITEMS_MAX) throw new StoreError('BAD_REQUEST', 'a filter names too many things');
    items.push(read());
  }
  return items;
}

/** Undefined: everything. */
export function isSameFilter(a: LedgerFilter | undefined, b: LedgerFilter | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return equalBytes(encodeFilter(a), encodeFilter(b));
}

export const isNothing = ({ families, tables, prefixes }: LedgerFilter): boolean =>
  families.length + tables.length + prefixes.length === 0;

/** What both let through. Undefined: everything. */
export function intersect(a: LedgerFilter | undefined, b: LedgerFilter | undefined): LedgerFilter | undefined {
  if (a === undefined) return b;
  if (b === undefined) return a;
  const inFamilies =
    ({ families }: LedgerFilter) =>
    ({ family }: TableName): boolean =>
      families.includes(family);
  return normal({
    families: a.families.filter((family) => b.families.includes(family)),
    tables: [
      ...a.tables.filter(inFamilies(b)),
      ...b.tables.filter(inFamilies(a)),
      ...a.tables.filter((name) =>
        b.tables.some(({ family, table }) => family === name.family && table === name.table),
      ),
    ],
    prefixes: a.prefixes.flatMap((one) =>
      b.prefixes.flatMap((other) => (begins(one, other) ? [one] : begins(other, one) ? [other] : [])),
    ),
  });
}

/** For people. */
export function showFilter(filter: LedgerFilter | undefined): string {
  if (filter === undefined) return 'everything';
  const parts = [
    ...filter.families.map((family) => `family ${family}`),
    ...filter.tables.map(({ family, table }) => `table ${family}/${table}`),
    ...filter.prefixes.map((prefix) => `keys ${JSON.stringify(text(prefix))}`),
  ];
  return parts.length === 0 ? 'nothing' : parts.join(', ');
}

/**
 * Which table has which number, as schemas said that passed by. Numbers are never used again, so what was true once
 * stays true; a table that was dropped long ago may be missing. Bounded: the longest known goes first.
 */
export class TableDirectory {
  readonly #names = new Map<number, TableName>();

  readonly #countMax: number;

  constructor(countMax = 65_536) {
    this.#countMax = countMax;
  }

  /** Looks at a put; only a table's schema says something. */
  learn(key: Uint8Array, value: Uint8Array): void {
    if (key[0] !== CONTROL_BYTE || key[1] !== TABLES_PREFIX[1]) return;
    const { id, family, table } = decodeSchema(key, value);
    if (this.#names.has(id)) return;
    if (this.#names.size === this.#countMax) this.#names.delete(this.#names.keys().next().value as number);
    this.#names.set(id, { family, table });
  }

  nameOf(id: number): TableName | undefined {
    return this.#names.get(id);
  }
}

/** One replica's filter, made fast to ask. */
export class Sieve {
  readonly #filter: LedgerFilter;
  readonly #families: ReadonlySet<string>;
  /** Families of which something is wanted. */
  readonly #known: ReadonlySet<string>;
  readonly #tables: ReadonlySet<string>;
  readonly #directory: TableDirectory;

  constructor(filter: LedgerFilter, directory: TableDirectory) {
    this.#filter = filter;
    this.#directory = directory;
    this.#families = new Set(filter.families);
    this.#known = new Set([...filter.families, ...filter.tables.map(({ family }) => family)]);
    this.#tables = new Set(filter.tables.map(({ family, table }) => `${family}/${table}`));
  }

  /** 'unknown': a row of a table that nobody here has heard of. */
  lets(key: Uint8Array): boolean | 'unknown' {
    if (!isControlKey(key)) return this.#filter.prefixes.some((prefix) => begins(key, prefix));
    switch (key[1]) {
      case FAMILIES_PREFIX[1]:
        return this.#known.has(familyOfKey(key));
      case TABLES_PREFIX[1]:
        return this.wants(namesOfTableKey(key));
      case ROWS_PREFIX[1]: {
        const name = this.#directory.nameOf(tableIdOf(key));
        return name === undefined ? 'unknown' : this.wants(name);
      }
      case STAGES_PREFIX[1]:
        // What is staged, by name, and which revision which ring is shown: whoever has some of it needs it.
        return true;
      case UNDO_PREFIX[1]:
        return this.lets(keyOfUndo(key));
      default:
        // Of a kind that came later than this node: nobody has said that it may be told.
        return false;
    }
  }

  wants({ family, table }: TableName): boolean {
    return this.#families.has(family) || this.#tables.has(`${family}/${table}`);
  }

  /** Where in the keyspace that lies which it lets through, but for rows: they are where `rowsPrefix` says. */
  ranges(): KeyRange[] {
    const { families, tables, prefixes } = this.#filter;
    return [
      ...prefixes.map((from) => ({ from, to: prefixEnd(from) ?? Uint8Array.of(CONTROL_BYTE) })),
      ...[...this.#known].map((family) => justKey(familyKey(family))),
      ...families.map((family) => under(tablesPrefix(family))),
      ...tables.map(({ family, table }) => justKey(tableKey(family, table))),
      under(STAGES_PREFIX),
      // Of all keys: whoever reads it asks `lets` of each.
      under(UNDO_PREFIX),
    ];
  }
}

export interface KeyRange {
  readonly from: Uint8Array;
  /** Exclusive. */
  readonly to: Uint8Array;
}

const justKey = (key: Uint8Array): KeyRange => ({ from: key, to: Uint8Array.of(...key, 0) });

/** All keys that begin with one of control data's prefixes. */
export function under(prefix: Uint8Array): KeyRange {
  const to = prefixEnd(prefix);
  assert(to !== undefined, 'prefixes of control data have an end');
  return { from: prefix, to };
}

function tableIdOf(key: Uint8Array): number {
  if (key.length < ROWS_PREFIX.length + 4) return -1;
  return new DataView(key.buffer, key.byteOffset + ROWS_PREFIX.length, 4).getUint32(0);
}
