/**
 * Limits: what one request may hold. Past one, the caller gets a typed error that names the limit and the
 * size, and nothing is written.
 */
import { StoreError } from '../base/errors.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

export interface Limits {
  readonly keyBytesMax: number;
  readonly valueBytesMax: number;
  readonly txnOpsMax: number;
  readonly txnBytesMax: number;
  readonly frameBytesMax: number;
}

export const LIMITS: Limits = {
  keyBytesMax: KIB,
  valueBytesMax: MIB,
  txnOpsMax: 128,
  txnBytesMax: 4 * MIB,
  frameBytesMax: 8 * MIB,
};

export function checkKey(key: Uint8Array, limits: Limits = LIMITS): void {
  if (key.length === 0) throw new StoreError('KEY_INVALID', 'a key must have at least 1 byte', { data: { size: 0 } });
  if (key.length > limits.keyBytesMax) {
    throw new StoreError('KEY_INVALID', `a key may have ${limits.keyBytesMax} bytes; this one has ${key.length}`, {
      data: { limit: limits.keyBytesMax, size: key.length },
    });
  }
}

/** First byte of the keys of control data (control/schema.ts). */
export const CONTROL_BYTE = 0xff;

/** A key that clients write as they like. */
export function checkUserKey(key: Uint8Array, limits: Limits = LIMITS): void {
  checkKey(key, limits);
  if (key[0] !== CONTROL_BYTE) return;
  throw new StoreError('KEY_INVALID', 'keys that begin with the byte 0xff are reserved for families and tables');
}

/**
 * Bounds of a range or watch, as they are meant: whoever begins among users' keys does not run into control data behind
 * them; whoever asks for control data begins there. An empty `to`: to the end.
 */
export function boundToUserKeys(from: Uint8Array, to: Uint8Array): Uint8Array {
  if (from[0] === CONTROL_BYTE) return to;
  return to.length === 0 || to[0] === CONTROL_BYTE ? USER_END : to;
}

const USER_END = Uint8Array.of(CONTROL_BYTE);

export function checkValue(value: Uint8Array, limits: Limits = LIMITS): void {
  if (value.length > limits.valueBytesMax) {
    throw new StoreError(
      'VALUE_TOO_LARGE',
      `a value may have ${limits.valueBytesMax} bytes; this one has ${value.length}`,
      { data: { limit: limits.valueBytesMax, size: value.length } },
    );
  }
}
