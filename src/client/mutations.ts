/**
 * Mutations: a batch of rows as the log takes it (core/model/control/batch.ts). Rows that name the same fields of one
 * table share a shape.
 */
import { ByteWriter } from '../core/base/bytes.ts';
import { isStoreError, StoreError } from '../core/base/errors.ts';
import { type Batch, type BatchRow, MUTATIONS_MAX, type RowOp, type Shape } from '../core/model/control/batch.ts';
import { encodeValue, type TaggedValue } from '../core/model/control/value.ts';
import type { MutateRequest, Mutation, Values } from './control-types.ts';
import { toBytes } from './entry.ts';

/** Throws BAD_REQUEST, with the mutation that holds what no field can; TXN_TOO_LARGE. */
export function batchOf(request: MutateRequest): Batch {
  const { family, writer, mutations, cookie, checkCookie, base64 = false } = request;
  const { length: size } = mutations;
  if (size > MUTATIONS_MAX) {
    throw new StoreError('TXN_TOO_LARGE', `a batch may have ${MUTATIONS_MAX} mutations; this one has ${size}`, {
      data: { limit: MUTATIONS_MAX, size },
    });
  }
  const shapes: Shape[] = [];
  const known = new Map<string, number>();
  const rows: BatchRow[] = [];
  const bytes = new ByteWriter(256);
  for (const [i, mutation] of mutations.entries()) {
    const { op, values } = changeOf(mutation, i);
    const fields = Object.keys(values);
    const name = `${op} ${mutation.table} ${fields.join(' ')}`;
    let shape = known.get(name);
    if (shape === undefined) {
      shape = shapes.push({ op, table: mutation.table, fields }) - 1;
      known.set(name, shape);
    }
    rows.push({ shape, values: fields.map((field) => taggedValue(bytes, values, field, i)) });
  }
  return {
    ...{ family, writer, shapes, rows, isBase64: base64 },
    cookie: cookie === undefined ? undefined : toBytes(cookie),
    check: checkCookie === undefined ? undefined : toBytes(checkCookie),
  };
}

function changeOf(mutation: Mutation, i: number): { readonly op: RowOp; readonly values: Values } {
  if (mutation.upsert !== undefined) return { op: 'upsert', values: mutation.upsert };
  if (mutation.patch !== undefined) return { op: 'patch', values: mutation.patch };
  if (mutation.delete !== undefined) return { op: 'delete', values: mutation.delete };
  throw new StoreError('BAD_REQUEST', `mutation ${i} is no upsert, patch or delete`, { data: { mutation: i } });
}

function taggedValue(bytes: ByteWriter, values: Values, field: string, mutation: number): TaggedValue {
  bytes.reset();
  const value = values[field];
  try {
    // A field that is there and undefined is a caller's mistake more often than a null.
    if (value === undefined) throw new StoreError('BAD_REQUEST', 'the value is undefined; null is written as null');
    encodeValue(bytes, value);
  } catch (error) {
    if (!isStoreError(error)) throw error;
    throw new StoreError(error.code, `mutation ${mutation}: field ${field}: ${error.message}`, {
      data: { ...error.data, field, mutation },
    });
  }
  return bytes.take();
}
