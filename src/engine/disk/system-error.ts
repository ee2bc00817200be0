/**
 * What both disks say alike: errors as the system words them, the order of names, the checks on numbers.
 */
import { assert } from '../../core/base/assert.ts';

/** An error in the shape of node:fs's own, so that callers ask `code` and need not know which disk they have. */
export function systemError(code: string, call: string, path: string, what: string): NodeJS.ErrnoException {
  const error: NodeJS.ErrnoException = new Error(`${code}: ${what}, ${call} '${path}'`);
  error.code = code;
  error.syscall = call;
  error.path = path;
  return error;
}

/** Byte order of names. Not JavaScript's own order, which compares UTF-16 units and differs above U+FFFF. */
export function byteOrder(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** A negative position would mean "where the descriptor stands" to node:fs, so it is a bug before it is a call. */
export function checkRange(value: number, what: string): void {
  assert(Number.isSafeInteger(value) && value >= 0, `${what} is a safe integer, zero or more (got ${value})`);
}
