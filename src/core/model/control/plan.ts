/**
 * Plan: what a batch will do, worked out whole before the first row is touched, so that one bad row leaves everything as
 * it was. Rows are taken in order, each seeing what those before it in the batch did.
 *
 *   upsert   the whole row: every field that came with the table must be given; one that was added later may be missing,
 *            and is null, so that writers who do not know it go on as they are
 *   patch    the key and whatever else is given; the row must be there
 *   delete   the key; other fields may be given and mean nothing; a row that is not there is no fault
 */
import { ByteWriter } from '../../base/bytes.ts';
import { StoreError } from '../../base/errors.ts';
import type { Batch, BatchRow, RowOp, Shape } from './batch.ts';
import { coerce } from './coerce.ts';
import { parseFieldName } from './names.ts';
import { encodeRow, splitRow } from './row.ts';
import { checkRowKey, encodeColumn } from './row-key.ts';
import { rowsPrefix, type TableSchema } from './schema.ts';
import { TAG, type TaggedValue } from './value.ts';

/** As ctlstore's: what one row may have, encoded. */
const ROW_BYTES_MAX: number = 768 * 1024;
/**
 * What patches of one batch may write, beyond their own bytes: a few bytes of a patch write a whole row, and the memtable
 * makes room for an entry by the entry's size.
 */
const PATCHED_BYTES_MAX: number = ROW_BYTES_MAX;

export interface PlannedRow {
  readonly schema: TableSchema;
  readonly key: Uint8Array;
  /** Undefined: it is to go. */
  value: Uint8Array | undefined;
  /** Of key and value before the batch; 0: it was not there. */
  readonly bytesBefore: number;
}

export interface PlanWorld {
  readonly table: (family: string, table: string) => TableSchema;
  readonly get: (key: Uint8Array) => Uint8Array | undefined;
}

/** A shape beside its table's schema. */
interface Fitted {
  readonly op: RowOp;
  readonly schema: TableSchema;
  readonly prefix: Uint8Array;
  /** Of each field of the shape, its place in the schema. */
  readonly places: readonly number[];
  /** Of each key field, its place in the shape. */
  readonly key: readonly number[];
}

const NULL: TaggedValue = Uint8Array.of(TAG.null);

/** In the order in which rows were first named. Throws the typed error that the writer gets. */
export function planBatch(batch: Batch, world: PlanWorld): PlannedRow[] {
  const fitted = batch.shapes.map((shape) => fit(shape, world.table(batch.family, shape.table)));
  const planned = new Map<string, PlannedRow>();
  const writer = new ByteWriter(1024);
  let patchedBytes = 0;
  for (const [i, row] of batch.rows.entries()) {
    const shape = fitted[row.shape] as Fitted;
    try {
      const values = fitValues(shape, row, batch.isBase64);
      const before = find(planned, world, shape, keyOf(writer, shape, values));
      before.value = change(writer, shape, values, before.value);
      if (shape.op === 'patch') patchedBytes += before.value?.length ?? 0;
    } catch (error) {
      throw error instanceof StoreError ? inRow(error, i, shape.schema) : error;
    }
  }
  if (patchedBytes > PATCHED_BYTES_MAX) {
    throw new StoreError(
      'TXN_TOO_LARGE',
      `patches of a batch may write ${PATCHED_BYTES_MAX} bytes, not ${patchedBytes}`,
      {
        data: { limit: PATCHED_BYTES_MAX, size: patchedBytes },
      },
    );
  }
  return [...planned.values()];
}

function fit({ op, fields }: Shape, schema: TableSchema): Fitted {
  const places: number[] = [];
  for (const given of fields) {
    const name = parseFieldName(given);
    const place = schema.fields.findIndex((field) => field.name === name);
    if (place === -1) throw mismatch(schema, name, `Unknown field ${name}`);
    if (places.includes(place)) throw mismatch(schema, name, `Field ${name} is given twice`);
    places.push(place);
  }
  for (const [place, { name, added }] of schema.fields.entries()) {
    const isNeeded = schema.key.includes(place) || (op === 'upsert' && added === 0);
    if (isNeeded && !places.includes(place)) throw mismatch(schema, name, `Missing field ${name}`);
  }
  return { op, schema, places, prefix: rowsPrefix(schema), key: schema.key.map((place) => places.indexOf(place)) };
}

/** The row's values, in the order of its shape, as their fields hold them. */
function fitValues({ schema, places }: Fitted, { values }: BatchRow, isBase64: boolean): TaggedValue[] {
  return values.map((value, i) => {
    const field = schema.fields[places[i] as number] as TableSchema['fields'][number];
    const fitting = coerce(value, field.type, isBase64);
    if (fitting !== undefined) return fitting;
    throw mismatch(schema, field.name, `Field ${field.name} is of type '${field.type}', and cannot hold what is given`);
  });
}

function keyOf(writer: ByteWriter, { prefix, key }: Fitted, values: readonly TaggedValue[]): Uint8Array {
  writer.reset();
  writer.raw(prefix);
  for (const at of key) encodeColumn(writer, values[at] as TaggedValue);
  checkRowKey(writer.length);
  return writer.take();
}

function find(planned: Map<string, PlannedRow>, world: PlanWorld, { schema }: Fitted, key: Uint8Array): PlannedRow {
  const name = nameOf(key);
  const known = planned.get(name);
  if (known !== undefined) return known;
  const value = world.get(key);
  const row = { schema, key, value, bytesBefore: value === undefined ? 0 : key.length + value.length };
  planned.set(name, row);
  return row;
}

/**
 * A text for each key, for a Map: two bytes a character. An odd byte at the end needs no mark, because no row's key is a
 * prefix of another one's.
 */
function nameOf(key: Uint8Array): string {
  let name = '';
  const even = key.length & ~1;
  for (let i = 0; i < even; i += 2) name += String.fromCharCode((key[i] as number) | ((key[i + 1] as number) << 8));
  return even === key.length ? name : name + String.fromCharCode(key[even] as number);
}

/** What the row will hold. */
function change(
  writer: ByteWriter,
  { op, schema, places }: Fitted,
  values: readonly TaggedValue[],
  before: Uint8Array | undefined,
): Uint8Array | undefined {
  if (op === 'delete') return undefined;
  if (op === 'patch' && before === undefined) throw new StoreError('NOT_FOUND', 'there is no such row to patch');
  const row = op === 'patch' && before !== undefined ? splitRow(schema, before) : schema.fields.map(() => NULL);
  for (const [i, value] of values.entries()) row[places[i] as number] = value;
  writer.reset();
  encodeRow(writer, row);
  const { length: size } = writer;
  if (size > ROW_BYTES_MAX) {
    throw new StoreError('VALUE_TOO_LARGE', `a row may have ${ROW_BYTES_MAX} bytes; this one has ${size}`, {
      data: { limit: ROW_BYTES_MAX, size },
    });
  }
  return writer.take();
}

function mismatch({ family, table }: TableSchema, field: string, message: string): StoreError {
  return new StoreError('SCHEMA_MISMATCH', `${message} (table ${family}.${table})`, { data: { family, table, field } });
}

/** Which of the batch's mutations it was. */
function inRow({ code, message, data }: StoreError, mutation: number, { family, table }: TableSchema): StoreError {
  return new StoreError(code, `mutation ${mutation}: ${message}`, { data: { family, table, ...data, mutation } });
}
