/**
 * Rows of tables (core/model/control/row.ts) as objects, from LMDB's own buffer: the hot part of `getRowByKey`.
 *
 * The decoder of core is for all of the house, and checks each byte; it makes a view per value and decodes text through a
 * TextDecoder, which costs half a microsecond per field. Here a row is walked by numbers in the buffer where it lies,
 * and node's own slices make the texts. What was written is checked when it is written; what is found wrong here (a
 * length that leads out of the row, an unknown tag) is LDB_CORRUPT.
 */
import { StoreError } from '../../core/base/errors.ts';
import { type Row } from '../../core/model/control/row.ts';
import { TAG, type Value } from '../../core/model/control/value.ts';

const FORMAT = 1;
const TWO_32 = 0x1_0000_0000;
/** Texts up to this long are looked at for being ASCII, which is read at a third of UTF-8's cost. */
const ASCII_LOOK_MAX = 64;

/** Node's own, under `toString`, which costs twice as much; its types do not have them. */
interface Slices {
  latin1Slice(from: number, end: number): string;
  utf8Slice(from: number, end: number): string;
}

/** Where the walk is: one for all rows, as a row is walked in one go. */
let at = 0;

/** The row in `bytes[from, end)`: all of `names`, missing ones as null. */
export function readRow(names: readonly string[], bytes: Buffer, from: number, end: number): Row {
  at = from;
  const format = varint(bytes, end);
  if (format !== FORMAT) throw corrupt(`has format ${format}; ${FORMAT} is known`);
  const count = varint(bytes, end);
  const row: Row = {};
  const known = names.length;
  for (let i = 0; i < known; i++) row[names[i] as string] = i < count ? value(bytes, end) : null;
  // Fields that were added since the schema was read are of no meaning to it.
  for (let i = known; i < count; i++) value(bytes, end);
  if (at !== end) throw corrupt('does not end where it should');
  return row;
}

function value(bytes: Buffer, end: number): Value {
  const tag = bytes[at++];
  if (tag === TAG.text) return text(bytes, end);
  if (tag === TAG.integer) return integer(bytes, end);
  if (tag === TAG.null) return null;
  if (tag === TAG.decimal) {
    const begin = skip(8, end);
    return bytes.readDoubleLE(begin);
  }
  if (tag !== TAG.bytes) throw corrupt(`holds a value of kind ${tag}`);
  const length = varint(bytes, end);
  const begin = skip(length, end);
  return new Uint8Array(bytes.subarray(begin, begin + length));
}

function text(bytes: Buffer, end: number): string {
  const length = varint(bytes, end);
  const from = skip(length, end);
  const slices = bytes as Buffer & Slices;
  return isAscii(bytes, from, from + length)
    ? slices.latin1Slice(from, from + length)
    : slices.utf8Slice(from, from + length);
}

function isAscii(bytes: Uint8Array, from: number, end: number): boolean {
  if (end - from > ASCII_LOOK_MAX) return false;
  for (let i = from; i < end; i++) if ((bytes[i] as number) > 0x7f) return false;
  return true;
}

/** A number where that is exact, a bigint beyond. */
function integer(bytes: Buffer, end: number): number | bigint {
  const begin = skip(8, end);
  const low = bytes.readUInt32LE(begin);
  const high = bytes.readInt32LE(begin + 4);
  const whole = high * TWO_32 + low;
  return Number.isSafeInteger(whole) ? whole : (BigInt(high) << 32n) | BigInt(low);
}

function varint(bytes: Buffer, end: number): number {
  let made = 0;
  let scale = 1;
  for (;;) {
    if (at >= end) throw corrupt('ends in the middle of a number');
    const byte = bytes[at++] as number;
    made += (byte & 0x7f) * scale;
    if (byte < 0x80) return made;
    scale *= 0x80;
    if (scale > TWO_32) throw corrupt('holds a length beyond all bounds');
  }
}

/** Steps over `length` bytes; says where they begin. */
function skip(length: number, end: number): number {
  const begin = at;
  if (length > end - begin) throw corrupt('holds a length that leads out of it');
  at = begin + length;
  return begin;
}

const corrupt = (what: string): StoreError => new StoreError('LDB_CORRUPT', `a row of the LDB ${what}`);
