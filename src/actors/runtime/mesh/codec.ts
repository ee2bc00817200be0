/**
 * Codec: values of messages as JSON, with a form for what JSON has none for. It is written for strangers: what is no
 * plain data is refused where it is sent, and what is read becomes plain data and nothing else.
 *
 *   { "$": "bigint", "v": "12" }     { "$": "number", "v": "NaN" }      { "$": "undefined" }
 *   { "$": "bytes", "v": base64 }    { "$": "date", "v": ms | null }
 *   { "$": "map", "v": [[k, v]…] }   { "$": "set", "v": [v…] }          { "$": "record", "v": [[k, v]…] }   one with a field "$"
 *
 * (v8.serialize has all of that, and is not made to read what strangers wrote.)
 */
import { StoreError } from '../../../core/base/errors.ts';

const DEPTH_MAX = 64;

export function encodeValue(value: unknown, depth = 0): unknown {
  if (depth > DEPTH_MAX) throw unfit(`is more than ${DEPTH_MAX} deep`);
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0) ? value : tagged('number', numberText(value));
    case 'bigint':
      return tagged('bigint', value.toString());
    case 'undefined':
      return { $: 'undefined' };
    case 'object':
      return value === null ? null : encodeObject(value, depth + 1);
    default:
      throw unfit(`holds a ${typeof value}`);
  }
}

function encodeObject(value: object, depth: number): unknown {
  const each = (part: unknown): unknown => encodeValue(part, depth);
  if (Array.isArray(value)) return value.map(each);
  if (value instanceof Uint8Array) return tagged('bytes', Buffer.from(value).toString('base64'));
  if (value instanceof Date) return tagged('date', Number.isNaN(value.getTime()) ? null : value.getTime());
  if (value instanceof Map) {
    const entries = [...value].map((entry) => entry.map(each));
    return tagged('map', entries);
  }
  if (value instanceof Set) return tagged('set', [...value].map(each));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw unfit(`holds a ${value.constructor?.name ?? 'thing of a class'}`);
  }
  const fields = Object.entries(value).filter(([, part]) => part !== undefined);
  const encoded = fields.map(([name, part]) => [name, each(part)] as const);
  return Object.hasOwn(value, '$') ? tagged('record', encoded) : Object.fromEntries(encoded);
}

/** PROTOCOL_ERROR: nothing that `encodeValue` makes. */
export function decodeValue(value: unknown, depth = 0): unknown {
  if (depth > DEPTH_MAX * 2) throw new StoreError('PROTOCOL_ERROR', `a value more than ${DEPTH_MAX} deep`);
  if (typeof value !== 'object' || value === null) return value;
  const each = (part: unknown): unknown => decodeValue(part, depth + 1);
  if (Array.isArray(value)) return value.map(each);
  if (Object.hasOwn(value, '$')) return decodeTagged(value as { $: unknown; v?: unknown }, each);
  // Fields are defined, never set: one called __proto__ is a field like others.
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, each(part)]));
}

function decodeTagged({ $: tag, v }: { readonly $: unknown; readonly v?: unknown }, each: (part: unknown) => unknown) {
  switch (tag) {
    case 'undefined':
      return undefined;
    case 'bigint':
      if (typeof v === 'string' && /^-?\d{1,4096}$/.test(v)) return BigInt(v);
      break;
    case 'number':
      if (v === 'NaN' || v === 'Infinity' || v === '-Infinity' || v === '-0') return Number(v);
      break;
    case 'bytes':
      if (typeof v === 'string') return new Uint8Array(Buffer.from(v, 'base64'));
      break;
    case 'date':
      if (typeof v === 'number' || v === null) return new Date(v ?? Number.NaN);
      break;
    case 'set':
      if (Array.isArray(v)) return new Set(v.map(each));
      break;
    case 'map':
      if (arePairs(v)) return new Map(v.map(([key, part]) => [each(key), each(part)]));
      break;
    case 'record':
      if (arePairs(v)) return Object.fromEntries(v.map(([name, part]) => [String(name), each(part)]));
      break;
  }
  throw new StoreError('PROTOCOL_ERROR', `no such value: ${JSON.stringify(tag)}`);
}

const tagged = (tag: string, v: unknown): { readonly $: string; readonly v: unknown } => ({ $: tag, v });

const numberText = (value: number): string => (Object.is(value, -0) ? '-0' : String(value));

const arePairs = (value: unknown): value is readonly (readonly [unknown, unknown])[] =>
  Array.isArray(value) && value.every((pair) => Array.isArray(pair) && pair.length === 2);

const unfit = (why: string): StoreError => new StoreError('BAD_REQUEST', `a message for another node ${why}`);
