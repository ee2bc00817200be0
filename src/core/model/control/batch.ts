/**
 * Batches: rows that are written, changed and deleted as one: all of them, or none.
 *
 *   batch = writer string | family string | flags u8 | [cookie blob] | [check blob]
 *         | shapes varint, shape* | rows varint, row*
 *   shape = op u8 (0 upsert, 1 patch, 2 delete) | table string | fields varint, name string*
 *   row   = shape varint | value*                     one value for each field of its shape (value.ts)
 *   flags = 1 a cookie is set · 2 a cookie is checked · 4 texts for fields of bytes are base64
 *
 * Rows of one table mostly name the same fields: a shape says them once, so that a batch of a hundred rows costs the
 * machine one look at the schema, and a value goes into its row as the bytes that came.
 */
import { ByteReader, type ByteWriter, text } from '../../base/bytes.ts';
import { StoreError } from '../../base/errors.ts';
import { parseFamilyName, parseFieldName, parseTableName, parseWriterName } from './names.ts';
import { FIELDS_MAX } from './schema.ts';
import { readTagged, TAG, type TaggedValue } from './value.ts';

export type RowOp = 'upsert' | 'patch' | 'delete';
const OPS: readonly RowOp[] = ['upsert', 'patch', 'delete'];

export interface Shape {
  readonly op: RowOp;
  readonly table: string;
  readonly fields: readonly string[];
}

export interface BatchRow {
  /** Place in the batch's shapes. */
  readonly shape: number;
  readonly values: readonly TaggedValue[];
}

export interface Batch {
  readonly writer: string;
  readonly family: string;
  /** The writer's cookie becomes this one; undefined: it stays. */
  readonly cookie: Uint8Array | undefined;
  /** The batch is refused unless the writer's cookie is this one. */
  readonly check: Uint8Array | undefined;
  readonly isBase64: boolean;
  readonly shapes: readonly Shape[];
  readonly rows: readonly BatchRow[];
}

export const MUTATIONS_MAX = 1000;
export const COOKIE_BYTES_MAX = 1024;

const SETS_COOKIE = 1;
const CHECKS_COOKIE = 2;
const BASE64 = 4;

export function encodeBatch(writer: ByteWriter, batch: Batch): void {
  const { cookie, check } = batch;
  writer.string(batch.writer).string(batch.family);
  writer.u8(
    (cookie === undefined ? 0 : SETS_COOKIE) |
      (check === undefined ? 0 : CHECKS_COOKIE) |
      (batch.isBase64 ? BASE64 : 0),
  );
  if (cookie !== undefined) writer.blob(cookie);
  if (check !== undefined) writer.blob(check);
  writer.varint(batch.shapes.length);
  for (const { op, table, fields } of batch.shapes) {
    writer.u8(OPS.indexOf(op)).string(table).varint(fields.length);
    for (const name of fields) writer.string(name);
  }
  writer.varint(batch.rows.length);
  for (const { shape, values } of batch.rows) {
    writer.varint(shape);
    for (const value of values) writer.raw(value);
  }
}

/** To the end of the reader's bytes; values are views of them. Throws PROTOCOL_ERROR, TXN_TOO_LARGE. */
export function decodeBatch(reader: ByteReader): Batch {
  const names = { writer: reader.string(), family: reader.string() };
  const flags = reader.u8();
  const cookie = (flags & SETS_COOKIE) === 0 ? undefined : reader.blob();
  const check = (flags & CHECKS_COOKIE) === 0 ? undefined : reader.blob();
  const shapes: Shape[] = [];
  for (let left = count(reader, 'shapes'); left > 0; left--) shapes.push(decodeShape(reader));
  const rows: BatchRow[] = [];
  for (let left = count(reader, 'mutations'); left > 0; left--) {
    const shape = reader.varint();
    const { fields } = shapes[shape] ?? unknownShape(shape);
    const values: TaggedValue[] = [];
    for (let i = 0; i < fields.length; i++) values.push(readTagged(reader));
    rows.push({ shape, values });
  }
  return { ...names, cookie, check, isBase64: (flags & BASE64) !== 0, shapes, rows };
}

/** Before anything is made of so many. */
function count(reader: ByteReader, what: string): number {
  const size = reader.varint();
  if (size <= MUTATIONS_MAX) return size;
  throw new StoreError('TXN_TOO_LARGE', `a batch may have ${MUTATIONS_MAX} ${what}; this one has ${size}`, {
    data: { limit: MUTATIONS_MAX, size },
  });
}

function decodeShape(reader: ByteReader): Shape {
  const code = reader.u8();
  const op = OPS[code];
  if (op === undefined) throw new StoreError('PROTOCOL_ERROR', `unknown operation ${code} in a batch`);
  const table = reader.string();
  const size = reader.varint();
  if (size > FIELDS_MAX) {
    throw new StoreError('BAD_REQUEST', `a row has ${FIELDS_MAX} fields at most, not ${size}`, {
      data: { limit: FIELDS_MAX, size },
    });
  }
  const fields: string[] = [];
  for (let left = size; left > 0; left--) fields.push(reader.string());
  return { op, table, fields };
}

function unknownShape(shape: number): never {
  throw new StoreError('PROTOCOL_ERROR', `a row of shape ${shape}, which the batch does not have`);
}

/** What can be said of a batch without the schemas. Throws BAD_REQUEST. */
export function checkBatch({ writer, family, cookie, check, shapes, rows }: Batch): void {
  parseWriterName(writer);
  parseFamilyName(family);
  for (const bytes of [cookie, check]) if (bytes !== undefined) checkCookie(bytes);
  if (rows.length === 0) throw new StoreError('BAD_REQUEST', 'a batch needs at least one mutation');
  for (const { table, fields } of shapes) {
    parseTableName(table);
    for (const name of fields) parseFieldName(name);
  }
  for (const { values } of rows) for (const value of values) checkValueBytes(value);
}

/** What enters a row is read back by every replica. */
function checkValueBytes(value: TaggedValue): void {
  const reader = new ByteReader(value, 1);
  if (value[0] === TAG.text) text(reader.blob());
  else if (value[0] === TAG.decimal && !Number.isFinite(reader.f64())) {
    throw new StoreError('BAD_REQUEST', 'a number is infinite, or none');
  }
}

export function checkCookie({ length: size }: Uint8Array): void {
  if (size <= COOKIE_BYTES_MAX) return;
  throw new StoreError('BAD_REQUEST', `Maximum cookie length is ${COOKIE_BYTES_MAX} bytes; this one has ${size}`, {
    data: { limit: COOKIE_BYTES_MAX, size },
  });
}
