/**
 * Schemas: what a table's rows hold, and where in the users' keyspace control data lies.
 *
 * Control data is keys and values like any other, behind the first byte 0xff, with which no UTF-8 text begins: so the
 * ledger, watches, replicas, snapshots, backups and the state's hash know it without a word of their own. Users' keys may
 * not begin so.
 *
 *   ff 'f' family                                        a family       value = format u8 (1)
 *   ff 't' family 00 table                               a table        value = schema
 *   ff 'r' id u32 BE | epoch u32 BE | primary key        a row          (row-key.ts, row.ts)
 *
 *   schema = format u8 (1) | id u32 | epoch u32 | version varint | created varint
 *          | fields varint, (name string | type u8 | added varint)* | key fields varint, (place varint)*
 *
 * A table has a new id when it is created again, and a new epoch when it is cleared: rows under another id or epoch are
 * nobody's any more, from that revision on, and are swept away later (sweep.ts).
 */
import { ByteReader, ByteWriter, text, utf8 } from '../../base/bytes.ts';
import { StoreError } from '../../base/errors.ts';
import { CONTROL_BYTE } from '../limits.ts';
import { parseFieldName } from './names.ts';

export type FieldType = 'string' | 'integer' | 'decimal' | 'text' | 'binary' | 'bytestring';
/** By number in a schema: the place in this list is format, so new types go to its end. */
export const FIELD_TYPES: readonly FieldType[] = ['string', 'integer', 'decimal', 'text', 'binary', 'bytestring'];
const KEY_TYPES: ReadonlySet<FieldType> = new Set(['string', 'integer', 'bytestring']);

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  /** The revision that added it; 0: it came with the table. */
  readonly added: number;
}

export interface TableSchema {
  readonly family: string;
  readonly table: string;
  readonly id: number;
  readonly epoch: number;
  /** 1, and one more with each change of the fields. */
  readonly version: number;
  /** The revision that created the table. */
  readonly created: number;
  /** In the order in which they were declared. */
  readonly fields: readonly Field[];
  /** Places in `fields`, in the order of the primary key. */
  readonly key: readonly number[];
}

export const FIELDS_MAX = 256;
export const KEY_FIELDS_MAX = 16;

const FAMILY_BYTE = 0x66;
const TABLE_BYTE = 0x74;
const ROW_BYTE = 0x72;
export const FAMILIES_PREFIX: Uint8Array = Uint8Array.of(CONTROL_BYTE, FAMILY_BYTE);
export const TABLES_PREFIX: Uint8Array = Uint8Array.of(CONTROL_BYTE, TABLE_BYTE);
export const ROWS_PREFIX: Uint8Array = Uint8Array.of(CONTROL_BYTE, ROW_BYTE);

export const isControlKey = (key: Uint8Array): boolean => key[0] === CONTROL_BYTE;

const FORMAT = 1;
const NAME_END = 0;

/** Of a valid name (names.ts), as all that follow. */
export const familyKey = (family: string): Uint8Array =>
  new ByteWriter(32).raw(FAMILIES_PREFIX).raw(utf8(family)).take();
export const familyOfKey = (key: Uint8Array): string => text(key.subarray(FAMILIES_PREFIX.length));
export const FAMILY_VALUE: Uint8Array = Uint8Array.of(FORMAT);

export const tableKey = (family: string, table: string): Uint8Array =>
  new ByteWriter(96).raw(tablesPrefix(family)).raw(utf8(table)).take();

/** What the keys of a family's tables begin with. */
export const tablesPrefix = (family: string): Uint8Array =>
  new ByteWriter(48).raw(TABLES_PREFIX).raw(utf8(family)).u8(NAME_END).take();

export function namesOfTableKey(key: Uint8Array): { readonly family: string; readonly table: string } {
  const names = key.subarray(TABLES_PREFIX.length);
  const end = names.indexOf(NAME_END);
  if (end === -1) throw new StoreError('PROTOCOL_ERROR', 'the key of a table names no family');
  return { family: text(names.subarray(0, end)), table: text(names.subarray(end + 1)) };
}

/** What the keys of a table's rows begin with. */
export function rowsPrefix({ id, epoch }: { readonly id: number; readonly epoch: number }): Uint8Array {
  const prefix = new Uint8Array(ROWS_PREFIX.length + 8);
  prefix.set(ROWS_PREFIX);
  const view = new DataView(prefix.buffer);
  view.setUint32(ROWS_PREFIX.length, id);
  view.setUint32(ROWS_PREFIX.length + 4, epoch);
  return prefix;
}
export const ROWS_PREFIX_BYTES: number = ROWS_PREFIX.length + 8;

export function encodeSchema(schema: TableSchema): Uint8Array {
  const { id, epoch, version, created, fields, key } = schema;
  const writer = new ByteWriter(256).u8(FORMAT).u32(id).u32(epoch).varint(version).varint(created);
  writer.varint(fields.length);
  for (const { name, type, added } of fields) writer.string(name).u8(FIELD_TYPES.indexOf(type)).varint(added);
  writer.varint(key.length);
  for (const place of key) writer.varint(place);
  return writer.take();
}

/** Of a table's key and value. Throws PROTOCOL_ERROR. */
export function decodeSchema(key: Uint8Array, value: Uint8Array): TableSchema {
  const reader = new ByteReader(value);
  const format = reader.u8();
  if (format !== FORMAT) throw new StoreError('PROTOCOL_ERROR', `a schema of format ${format}; ${FORMAT} is known`);
  const head = { id: reader.u32(), epoch: reader.u32(), version: reader.varint(), created: reader.varint() };
  const fields: Field[] = [];
  for (let left = reader.varint(); left > 0; left--) {
    fields.push({ name: reader.string(), type: fieldTypeOf(reader.u8()), added: reader.varint() });
  }
  const places: number[] = [];
  for (let left = reader.varint(); left > 0; left--) places.push(reader.varint());
  reader.end();
  if (places.some((place) => place >= fields.length)) {
    throw new StoreError('PROTOCOL_ERROR', 'a key field of a schema is none of its fields');
  }
  return { ...namesOfTableKey(key), ...head, fields, key: places };
}

export function fieldTypeOf(code: number): FieldType {
  const type = FIELD_TYPES[code];
  if (type === undefined) throw new StoreError('PROTOCOL_ERROR', `unknown type ${code} of a field`);
  return type;
}

/** Fields as somebody declares them. Throws BAD_REQUEST, with ctlstore's texts. */
export function parseFields(given: readonly (readonly [name: string, type: string])[]): Omit<Field, 'added'>[] {
  if (given.length > FIELDS_MAX) {
    throw new StoreError('BAD_REQUEST', `a table may have ${FIELDS_MAX} fields; this one has ${given.length}`, {
      data: { limit: FIELDS_MAX, size: given.length },
    });
  }
  const fields: Omit<Field, 'added'>[] = [];
  for (const [i, [rawName, rawType]] of given.entries()) {
    const name = parseFieldName(rawName);
    const type = FIELD_TYPES.find((known) => known === rawType.toLowerCase());
    if (type === undefined) throw new StoreError('BAD_REQUEST', `Field #${i}: Type '${rawType}' unknown`);
    if (fields.some((other) => other.name === name)) {
      throw new StoreError('BAD_REQUEST', `Field '${name}' is declared twice`, { data: { field: name } });
    }
    fields.push({ name, type });
  }
  return fields;
}

/** Places of the primary key's fields, in its order. Throws BAD_REQUEST, with ctlstore's texts. */
export function parseKey(names: readonly string[], fields: readonly Omit<Field, 'added'>[]): number[] {
  if (names.length === 0) throw new StoreError('BAD_REQUEST', 'table must have at least one key field');
  if (names.length > KEY_FIELDS_MAX) {
    throw new StoreError(
      'BAD_REQUEST',
      `a primary key may have ${KEY_FIELDS_MAX} fields; this one has ${names.length}`,
      {
        data: { limit: KEY_FIELDS_MAX, size: names.length },
      },
    );
  }
  const key: number[] = [];
  for (const rawName of names) {
    const name = parseFieldName(rawName);
    const place = fields.findIndex((field) => field.name === name);
    const field = fields[place];
    if (field === undefined) {
      throw new StoreError('BAD_REQUEST', `Primary key field '${name}' not specified as a field`, {
        data: { field: name },
      });
    }
    if (!KEY_TYPES.has(field.type)) {
      throw new StoreError('BAD_REQUEST', `Fields of type '${field.type}' cannot be a key field`, {
        data: { field: name },
      });
    }
    if (key.includes(place))
      throw new StoreError('BAD_REQUEST', `Key field '${name}' is named twice`, { data: { field: name } });
    key.push(place);
  }
  return key;
}
