/**
 * Catalog: families and tables, and how much the tables hold.
 *
 * Schemas are rows like others; those in use are kept decoded. Of each table it counts live rows and the bytes of their
 * keys and values: exactly, because every change of a row passes here, and as part of the replicated state.
 *
 * Invariant: a decoded schema is the one in the state.
 *
 *   saved = families varint | next id varint | tables varint, (id varint | rows varint | bytes varint)*
 */
import { assert } from '../../base/assert.ts';
import { type ByteReader, type ByteWriter, prefixEnd } from '../../base/bytes.ts';
import { StoreError } from '../../base/errors.ts';
import type { FieldPair, TableDeclaration } from './commands.ts';
import { parseFamilyName, parseTableName } from './names.ts';
import {
  decodeSchema,
  encodeSchema,
  FAMILY_VALUE,
  familyKey,
  FIELDS_MAX,
  namesOfTableKey,
  parseFields,
  parseKey,
  tableKey,
  type TableSchema,
  tablesPrefix,
} from './schema.ts';
import type { ControlState } from './state.ts';

export const FAMILIES_MAX = 1024;
export const TABLES_MAX = 8192;

export interface TableSize {
  readonly rows: number;
  /** Of live keys and values. */
  readonly bytes: number;
}

/** Told whenever a table's size is another one; undefined: the table is gone. */
export type OnTableSize = (id: number, size: TableSize | undefined) => void;

export class Catalog {
  readonly #state: ControlState;
  readonly #onSize: OnTableSize;
  readonly #schemas = new Map<string, TableSchema>();
  /** By table id; as many as there are tables. */
  readonly #sizes = new Map<number, TableSize>();
  #families = 0;
  #nextId = 1;

  constructor(state: ControlState, onSize: OnTableSize) {
    this.#state = state;
    this.#onSize = onSize;
  }

  /** The family's name as it is kept; throws NOT_FOUND. */
  family(given: string): string {
    const family = parseFamilyName(given);
    if (this.#state.get(familyKey(family)) !== undefined) return family;
    throw new StoreError('NOT_FOUND', `Family not found: ${family}`, { data: { family } });
  }

  /** Throws NOT_FOUND. */
  table(givenFamily: string, givenTable: string): TableSchema {
    const family = this.family(givenFamily);
    const table = parseTableName(givenTable);
    const schema = this.#find(family, table);
    if (schema !== undefined) return schema;
    throw new StoreError('NOT_FOUND', `Table not found: ${family}.${table}`, { data: { family, table } });
  }

  size({ id }: TableSchema): TableSize {
    const size = this.#sizes.get(id);
    assert(size !== undefined, 'every table is counted');
    return size;
  }

  /** Rows of it have come or gone. */
  grow(schema: TableSchema, more: TableSize): void {
    const { rows, bytes } = this.size(schema);
    this.#setSize(schema.id, { rows: rows + more.rows, bytes: bytes + more.bytes });
  }

  createFamily(given: string): void {
    const family = parseFamilyName(given);
    const key = familyKey(family);
    if (this.#state.get(key) !== undefined) {
      throw new StoreError('ALREADY_EXISTS', `Family already exists: ${family}`, { data: { family } });
    }
    if (this.#families >= FAMILIES_MAX) throw tooMany('families', FAMILIES_MAX);
    this.#families++;
    this.#state.put(key, FAMILY_VALUE);
  }

  /** All of them or none. */
  createTables(declarations: readonly TableDeclaration[], created: number): void {
    const schemas = declarations.map((declaration, i) => this.#declare(declaration, this.#nextId + i, created));
    if (this.#sizes.size + schemas.length > TABLES_MAX) throw tooMany('tables', TABLES_MAX);
    const names = new Set<string>();
    for (const { family, table } of schemas) {
      const name = `${family}.${table}`;
      if (names.has(name) || this.#find(family, table) !== undefined) {
        throw new StoreError('ALREADY_EXISTS', `Table already exists: ${name}`, { data: { family, table } });
      }
      names.add(name);
    }
    this.#nextId += schemas.length;
    for (const schema of schemas) {
      this.#setSize(schema.id, { rows: 0, bytes: 0 });
      this.#keep(schema);
    }
  }

  #declare(declaration: TableDeclaration, id: number, created: number): TableSchema {
    const table = parseTableName(declaration.table);
    const family = this.family(declaration.family);
    const fields = parseFields(declaration.fields).map((field) => ({ ...field, added: 0 }));
    return { family, table, id, epoch: 0, version: 1, created, fields, key: parseKey(declaration.key, fields) };
  }

  /** Rows that are there have null in them. */
  addFields(schema: TableSchema, given: readonly FieldPair[], added: number): void {
    const more = parseFields(given);
    const { family, table, fields, version } = schema;
    for (const { name } of more) {
      if (!fields.some((field) => field.name === name)) continue;
      throw new StoreError('ALREADY_EXISTS', `Column already exists: ${name}`, {
        data: { family, table, field: name },
      });
    }
    if (fields.length + more.length > FIELDS_MAX) throw tooMany('fields of a table', FIELDS_MAX);
    const all = [...fields, ...more.map((field) => ({ ...field, added }))];
    this.#keep({ ...schema, version: version + 1, fields: all });
  }

  drop(schema: TableSchema): void {
    const { family, table, id } = schema;
    this.#sizes.delete(id);
    this.#onSize(id, undefined);
    this.#schemas.delete(`${family}.${table}`);
    this.#state.remove(tableKey(family, table));
  }

  /** Rows of the epoch so far are nobody's any more. */
  clear(schema: TableSchema): void {
    this.#setSize(schema.id, { rows: 0, bytes: 0 });
    this.#keep({ ...schema, epoch: schema.epoch + 1 });
  }

  tablesOf(givenFamily: string): TableSchema[] {
    const family = this.family(givenFamily);
    const prefix = tablesPrefix(family);
    const end = prefixEnd(prefix);
    assert(end !== undefined, 'a prefix of tables has an end');
    return this.#state.keys(prefix, end, TABLES_MAX).map((key) => this.table(family, namesOfTableKey(key).table));
  }

  #find(family: string, table: string): TableSchema | undefined {
    const name = `${family}.${table}`;
    const known = this.#schemas.get(name);
    if (known !== undefined) return known;
    const key = tableKey(family, table);
    const value = this.#state.get(key);
    if (value === undefined) return undefined;
    const schema = decodeSchema(key, value);
    this.#schemas.set(name, schema);
    return schema;
  }

  #setSize(id: number, size: TableSize): void {
    this.#sizes.set(id, size);
    this.#onSize(id, size);
  }

  #keep(schema: TableSchema): void {
    const { family, table } = schema;
    this.#schemas.set(`${family}.${table}`, schema);
    this.#state.put(tableKey(family, table), encodeSchema(schema));
  }

  save(writer: ByteWriter): void {
    writer.varint(this.#families).varint(this.#nextId).varint(this.#sizes.size);
    for (const [id, { rows, bytes }] of this.#sizes) writer.varint(id).varint(rows).varint(bytes);
  }

  restore(reader: ByteReader): void {
    this.#families = reader.varint();
    this.#nextId = reader.varint();
    for (let left = reader.varint(); left > 0; left--) {
      this.#setSize(reader.varint(), { rows: reader.varint(), bytes: reader.varint() });
    }
  }
}

export function tooMany(what: string, limit: number): StoreError {
  return new StoreError('BAD_REQUEST', `there may be ${limit} ${what}`, { data: { limit } });
}
