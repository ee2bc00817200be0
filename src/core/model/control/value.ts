/**
 * Values: what a field of a row holds, in one form for commands and rows, so that a value goes from a client's frame
 * into the row as the bytes that it came in.
 *
 *   value = 0                          null
 *         | 1  i64, little-endian      a whole number, all 64 bits of it
 *         | 2  f64, little-endian      any other finite number
 *         | 3  length varint, UTF-8    text
 *         | 4  length varint, bytes    bytes
 *
 * In JavaScript a whole number is a `number` as long as that is exact, and a `bigint` beyond. A number that is not
 * exact any more (2 ** 53 and up) is never taken for a whole one: whoever means it writes a bigint or its digits.
 */
import { type ByteReader, type ByteWriter, text } from '../../base/bytes.ts';
import { StoreError } from '../../base/errors.ts';

/** As it is read. */
export type Value = null | number | bigint | string | Uint8Array;
/** As it may be given: a boolean is 1 or 0. */
export type GivenValue = Value | boolean;

/** A value's bytes, tag first. */
export type TaggedValue = Uint8Array;

export const TAG: Readonly<Record<'null' | 'integer' | 'decimal' | 'text' | 'bytes', number>> = {
  null: 0,
  integer: 1,
  decimal: 2,
  text: 3,
  bytes: 4,
};

export const INTEGER_MIN: bigint = -(2n ** 63n);
export const INTEGER_MAX: bigint = 2n ** 63n - 1n;

const TWO_32 = 0x1_0000_0000;

/** Throws BAD_REQUEST for what no field can hold. */
export function encodeValue(writer: ByteWriter, value: GivenValue): void {
  if (value === null) writer.u8(TAG.null);
  else if (typeof value === 'string') writer.u8(TAG.text).string(checkText(value));
  else if (typeof value === 'number') encodeNumber(writer, value);
  else if (typeof value === 'bigint') encodeInteger(writer, value);
  else if (typeof value === 'boolean') encodeInteger(writer, value ? 1 : 0);
  else if (value instanceof Uint8Array) writer.u8(TAG.bytes).blob(value);
  else throw new StoreError('BAD_REQUEST', `a field holds no ${typeof value}`);
}

function encodeNumber(writer: ByteWriter, value: number): void {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) encodeInteger(writer, value);
  else if (Number.isFinite(value)) writer.u8(TAG.decimal).f64(value);
  else throw new StoreError('BAD_REQUEST', `a field holds no ${value}`);
}

/** `value`: a safe integer, or a bigint of 64 bits; throws BAD_REQUEST beyond them. */
export function encodeInteger(writer: ByteWriter, value: number | bigint): void {
  writer.u8(TAG.integer);
  if (typeof value === 'number') {
    writer.u32(value >>> 0).u32(Math.floor(value / TWO_32) >>> 0);
    return;
  }
  if (value < INTEGER_MIN || value > INTEGER_MAX) {
    throw new StoreError('BAD_REQUEST', `an integer has 64 bits; ${value} has more`);
  }
  writer.u32(Number(value & 0xffff_ffffn)).u32(Number((value >> 32n) & 0xffff_ffffn));
}

/** A lone surrogate would come back as another character. */
export function checkText(value: string): string {
  if (/\p{Surrogate}/u.test(value)) throw new StoreError('BAD_REQUEST', 'a text holds half a surrogate pair');
  return value;
}

/** The next value; text and bytes in memory of their own. */
export function readValue(reader: ByteReader): Value {
  const tag = reader.u8();
  switch (tag) {
    case TAG.null:
      return null;
    case TAG.integer:
      return readInteger(reader);
    case TAG.decimal:
      return reader.f64();
    case TAG.text:
      return text(reader.blob());
    case TAG.bytes:
      return reader.blob().slice();
    default:
      throw badTag(tag);
  }
}

/** A number where that is exact, a bigint beyond. */
function readInteger(reader: ByteReader): number | bigint {
  const low = reader.u32();
  const high = reader.u32() | 0;
  const value = high * TWO_32 + low;
  return Number.isSafeInteger(value) ? value : (BigInt(high) << 32n) | BigInt(low);
}

/** The bytes of the next value, in place (a view of the reader's buffer). */
export function readTagged(reader: ByteReader): TaggedValue {
  const begin = reader.at;
  const tag = reader.u8();
  if (tag === TAG.integer || tag === TAG.decimal) reader.raw(8);
  else if (tag === TAG.text || tag === TAG.bytes) reader.blob();
  else if (tag !== TAG.null) throw badTag(tag);
  return reader.since(begin);
}

const badTag = (tag: number): StoreError => new StoreError('PROTOCOL_ERROR', `unknown value ${tag} in a row`);
