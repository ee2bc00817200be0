/**
 * Row keys: a primary key as bytes that sort as its values do.
 *
 *   key    = ff 'r' | id u32 BE | epoch u32 BE | column*          in the order of the primary key
 *   column = 01                                                   null
 *          | 02 | i64, sign flipped, big-endian                   integer
 *          | 03 | UTF-8, each 00 written 00 ff | 00 00            string
 *          | 04 | bytes, each 00 written 00 ff | 00 00            bytestring
 *
 * A column says itself where it ends, so the bytes of the leading columns are a prefix of just those rows that have
 * them: equality on leading key fields is a range. A text is never a prefix of another one's bytes ("a" is not of
 * "ab"), because 00 00 sorts before every byte that can follow. Null sorts first.
 */
import { assert } from '../../base/assert.ts';
import { ByteReader, ByteWriter, text, utf8 } from '../../base/bytes.ts';
import { StoreError } from '../../base/errors.ts';
import { LIMITS } from '../limits.ts';
import { type FieldType, ROWS_PREFIX_BYTES, rowsPrefix, type TableSchema } from './schema.ts';
import { checkText, encodeInteger, type GivenValue, TAG, type TaggedValue, type Value } from './value.ts';

export const COLUMN: Readonly<Record<'null' | 'integer' | 'text' | 'bytes', number>> = {
  null: 1,
  integer: 2,
  text: 3,
  bytes: 4,
};

const NUL = 0;
const ESCAPED = 0xff;
const SIGN = 0x80;

/** The key of the row with these values, one per key field, in their order. Throws BAD_REQUEST. */
export function rowKey(schema: TableSchema, values: readonly GivenValue[]): Uint8Array {
  if (values.length !== schema.key.length) {
    throw new StoreError('BAD_REQUEST', `All primary key fields are required: ${keyNames(schema)}`, {
      data: { wanted: schema.key.length, given: values.length },
    });
  }
  return rowKeyPrefix(schema, values);
}

/** What the keys of all rows with these values in their leading key fields begin with. Throws BAD_REQUEST. */
export function rowKeyPrefix(schema: TableSchema, values: readonly GivenValue[]): Uint8Array {
  if (values.length > schema.key.length) {
    throw new StoreError('BAD_REQUEST', `too many keys supplied for table's primary key: ${keyNames(schema)}`, {
      data: { wanted: schema.key.length, given: values.length },
    });
  }
  const writer = new ByteWriter(64).raw(rowsPrefix(schema));
  for (const [i, value] of values.entries()) {
    const field = schema.fields[schema.key[i] as number];
    assert(field !== undefined, 'a key field is a field');
    encodeGiven(writer, field.name, field.type, value);
  }
  checkRowKey(writer.length);
  return writer.take();
}

const keyNames = ({ fields, key }: TableSchema): string => key.map((place) => fields[place]?.name).join(', ');

export function checkRowKey(bytes: number): void {
  const limit = LIMITS.keyBytesMax;
  if (bytes <= limit) return;
  throw new StoreError('KEY_INVALID', `a row's key may have ${limit} bytes; this one has ${bytes}`, {
    data: { limit, size: bytes },
  });
}

/** A text where bytes are wanted stands for its UTF-8, and digits for a whole number. */
function encodeGiven(writer: ByteWriter, name: string, type: FieldType, value: GivenValue): void {
  if (value === null) writer.u8(COLUMN.null);
  else if (type === 'integer') encodeIntegerColumn(writer, integerOf(name, value));
  else if (typeof value === 'string' && type === 'string') encodeBytesColumn(writer, 'text', utf8(checkText(value)));
  else if (typeof value === 'string') encodeBytesColumn(writer, 'bytes', utf8(checkText(value)));
  else if (value instanceof Uint8Array && type === 'bytestring') encodeBytesColumn(writer, 'bytes', value);
  else throw mismatch(name, type, value);
}

function integerOf(name: string, value: GivenValue): TaggedValue {
  const writer = new ByteWriter(16);
  if (typeof value === 'string' && /^-?[0-9]{1,19}$/.test(value)) encodeInteger(writer, BigInt(value));
  else if (typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value))) {
    encodeInteger(writer, value);
  } else if (typeof value === 'boolean') encodeInteger(writer, value ? 1 : 0);
  else throw mismatch(name, 'integer', value);
  return writer.take();
}

function mismatch(name: string, type: FieldType, value: GivenValue): StoreError {
  const given = value instanceof Uint8Array ? 'bytes' : typeof value;
  return new StoreError('BAD_REQUEST', `Key field '${name}' is of type '${type}', and no ${given} of this value`, {
    data: { field: name, type },
  });
}

/** One more column, of a value in the form of its field's type (or null). */
export function encodeColumn(writer: ByteWriter, value: TaggedValue): void {
  const tag = value[0];
  if (tag === TAG.null) writer.u8(COLUMN.null);
  else if (tag === TAG.integer) encodeIntegerColumn(writer, value);
  else {
    assert(tag === TAG.text || tag === TAG.bytes, 'a key field holds an integer, text or bytes');
    encodeBytesColumn(writer, tag === TAG.text ? 'text' : 'bytes', new ByteReader(value, 1).blob());
  }
}

/** The value's eight bytes turned round, and the sign flipped: negative numbers sort before the others. */
function encodeIntegerColumn(writer: ByteWriter, value: TaggedValue): void {
  writer.u8(COLUMN.integer).u8((value[8] as number) ^ SIGN);
  for (let at = 7; at >= 1; at--) writer.u8(value[at] as number);
}

function encodeBytesColumn(writer: ByteWriter, kind: 'text' | 'bytes', bytes: Uint8Array): void {
  writer.u8(COLUMN[kind]);
  let begin = 0;
  for (let nul = bytes.indexOf(NUL); nul !== -1; nul = bytes.indexOf(NUL, begin)) {
    writer.raw(bytes.subarray(begin, nul + 1)).u8(ESCAPED);
    begin = nul + 1;
  }
  writer.raw(bytes.subarray(begin)).u8(NUL).u8(NUL);
}

/** The primary key of a row's key, whole numbers as in rows. Throws PROTOCOL_ERROR. */
export function decodeRowKey(key: Uint8Array): Value[] {
  const reader = new ByteReader(key, ROWS_PREFIX_BYTES);
  const values: Value[] = [];
  while (reader.left > 0) values.push(decodeColumn(reader));
  return values;
}

function decodeColumn(reader: ByteReader): Value {
  const tag = reader.u8();
  if (tag === COLUMN.null) return null;
  if (tag === COLUMN.integer) return decodeInteger(reader.raw(8));
  if (tag === COLUMN.text) return text(unescape(reader));
  if (tag === COLUMN.bytes) return unescape(reader);
  throw new StoreError('PROTOCOL_ERROR', `unknown column ${tag} in the key of a row`);
}

function decodeInteger(bytes: Uint8Array): number | bigint {
  let value = BigInt((bytes[0] as number) ^ SIGN);
  for (const byte of bytes.subarray(1)) value = (value << 8n) | BigInt(byte);
  const signed = BigInt.asIntN(64, value);
  const small = Number(signed);
  return Number.isSafeInteger(small) ? small : signed;
}

function unescape(reader: ByteReader): Uint8Array {
  const writer = new ByteWriter(32);
  for (;;) {
    const byte = reader.u8();
    if (byte !== NUL) {
      writer.u8(byte);
      continue;
    }
    const next = reader.u8();
    if (next === NUL) return writer.take();
    if (next !== ESCAPED) throw new StoreError('PROTOCOL_ERROR', `00 ${next} in the key of a row`);
    writer.u8(NUL);
  }
}
