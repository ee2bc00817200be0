/**
 * Coerce: a given value as its field holds it, without ever making another value of it.
 *
 *   string, text         text
 *   integer              a whole number; or its digits, as a text; or a decimal that is one, exactly
 *   decimal              any number (a whole one as the nearest double, as a database does)
 *   binary, bytestring   bytes; or their base64, where the batch says so
 *   all                  null
 */
import { unreachable } from '../../base/assert.ts';
import { ByteReader, ByteWriter, text } from '../../base/bytes.ts';
import { decodeBase64 } from './base64.ts';
import type { FieldType } from './schema.ts';
import { encodeInteger, INTEGER_MAX, INTEGER_MIN, readValue, TAG, type TaggedValue } from './value.ts';

/** Undefined: a field of this type cannot hold it. */
export function coerce(value: TaggedValue, type: FieldType, isBase64: boolean): TaggedValue | undefined {
  const tag = value[0];
  if (tag === TAG.null) return value;
  switch (type) {
    case 'string':
    case 'text':
      return tag === TAG.text ? value : undefined;
    case 'integer':
      return tag === TAG.integer ? value : integerOf(value);
    case 'decimal':
      return tag === TAG.decimal ? value : decimalOf(value);
    case 'binary':
    case 'bytestring':
      return tag === TAG.bytes ? value : isBase64 ? bytesOf(value) : undefined;
    default:
      return unreachable(type);
  }
}

function integerOf(value: TaggedValue): TaggedValue | undefined {
  const given = readValue(new ByteReader(value));
  if (typeof given === 'number' && Number.isSafeInteger(given)) return taggedInteger(given);
  if (typeof given !== 'string' || !/^-?[0-9]{1,19}$/.test(given)) return undefined;
  const whole = BigInt(given);
  return whole < INTEGER_MIN || whole > INTEGER_MAX ? undefined : taggedInteger(whole);
}

function taggedInteger(value: number | bigint): TaggedValue {
  const writer = new ByteWriter(16);
  encodeInteger(writer, value);
  return writer.take();
}

function decimalOf(value: TaggedValue): TaggedValue | undefined {
  if (value[0] !== TAG.integer) return undefined;
  return new ByteWriter(16)
    .u8(TAG.decimal)
    .f64(Number(readValue(new ByteReader(value))))
    .take();
}

function bytesOf(value: TaggedValue): TaggedValue | undefined {
  if (value[0] !== TAG.text) return undefined;
  const bytes = decodeBase64(text(new ByteReader(value, 1).blob()));
  return bytes && new ByteWriter(bytes.length + 8).u8(TAG.bytes).blob(bytes).take();
}
