/**
 * Rows: a row's values in the order of its table's fields, key fields too, so that a reader decodes one place.
 *
 *   row = format varint (1) | count varint | value*        (value.ts)
 *
 * A row has as many values as its table had fields when it was written: fields that were added later are missing at the
 * end, and are null.
 */
import { ByteReader, type ByteWriter } from '../../base/bytes.ts';
import { StoreError } from '../../base/errors.ts';
import type { TableSchema } from './schema.ts';
import { readTagged, readValue, type TaggedValue, type Value } from './value.ts';

const FORMAT = 1;
const NULL: TaggedValue = new Uint8Array(1);

/** A row as its reader gets it: every field of the table by name. */
export type Row = Record<string, Value>;

export function encodeRow(writer: ByteWriter, values: readonly TaggedValue[]): void {
  writer.varint(FORMAT).varint(values.length);
  for (const value of values) writer.raw(value);
}

/** Every field by name; text and bytes in memory of their own. Throws PROTOCOL_ERROR. */
export function decodeRow({ fields }: Pick<TableSchema, 'fields'>, bytes: Uint8Array): Row {
  const reader = new ByteReader(bytes);
  const count = readCount(reader);
  const row: Row = {};
  for (const [i, { name }] of fields.entries()) row[name] = i < count ? readValue(reader) : null;
  for (let i = fields.length; i < count; i++) readValue(reader);
  reader.end();
  return row;
}

/** The values as they lie there, one for each of `fields`; missing ones are null. */
export function splitRow({ fields }: Pick<TableSchema, 'fields'>, bytes: Uint8Array): TaggedValue[] {
  const reader = new ByteReader(bytes);
  const count = readCount(reader);
  const values: TaggedValue[] = [];
  for (let i = 0; i < count; i++) values.push(readTagged(reader));
  reader.end();
  while (values.length < fields.length) values.push(NULL);
  return values;
}

function readCount(reader: ByteReader): number {
  const format = reader.varint();
  if (format !== FORMAT) throw new StoreError('PROTOCOL_ERROR', `a row of format ${format}; ${FORMAT} is known`);
  return reader.varint();
}
