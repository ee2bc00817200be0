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

export function checkValue(value: Uint8Array, limits: Limits = LIMITS): void {
  if (value.length > limits.valueBytesMax) {
    throw new StoreError(
      'VALUE_TOO_LARGE',
      `a value may have ${limits.valueBytesMax} bytes; this one has ${value.length}`,
      { data: { limit: limits.valueBytesMax, size: value.length } },
    );
  }
}
