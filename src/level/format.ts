/**
 * Formats: keys and values between level's three (`utf8`, `buffer`, `view`) and the engine's bytes.
 *
 * All three are native here, so that nothing is converted twice: a string goes straight to bytes, and bytes that were
 * copied out of the engine anyway are given away as they are.
 */
import { KeyEncoder } from '../core/base/bytes.ts';

export type Format = 'utf8' | 'buffer' | 'view';

/** What abstract-level hands over, and gets. */
export type Encoded = string | Uint8Array;

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const keys = new KeyEncoder();
const values = new KeyEncoder();

/** Bytes of a key, lent until the next call. */
export function lentKey(key: Encoded): Uint8Array {
  return typeof key === 'string' ? (keys.encode(key) ?? Buffer.from(key)) : key;
}

/** Bytes of a value, lent until the next call. */
export function lentValue(value: Encoded): Uint8Array {
  return typeof value === 'string' ? (values.encode(value) ?? Buffer.from(value)) : value;
}

/** Bytes that stay, whatever becomes of `key`. */
export function keptKey(key: Encoded): Uint8Array {
  return typeof key === 'string' ? Buffer.from(key) : Uint8Array.from(key);
}

/** `bytes`, which are given away, in a format. */
export function fromBytes(bytes: Uint8Array, format: Format): Encoded {
  if (format === 'utf8') return decoder.decode(bytes);
  return format === 'buffer' ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) : bytes;
}
