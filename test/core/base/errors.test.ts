import { expect, test } from 'vitest';
import { assert, InvariantViolation, must, unreachable } from '../../../src/core/base/assert.ts';
import { ERROR_CODE_LIST, ERROR_CODES, isStoreError, StoreError } from '../../../src/core/base/errors.ts';
import { errorOfResult, RESULT_OK, resultCode } from '../../../src/core/model/machine.ts';
import { plus, toIndex, toLsn, toTerm } from '../../../src/core/base/position.ts';

test('the table of errors is closed: each code is listed once and says what a caller may do', () => {
  expect([...ERROR_CODE_LIST].sort()).toEqual(Object.keys(ERROR_CODES).sort());
  expect(new Set(ERROR_CODE_LIST).size).toBe(ERROR_CODE_LIST.length);
  for (const code of ERROR_CODE_LIST) {
    expect(['elsewhere', 'later', 'same-id', 'never']).toContain(ERROR_CODES[code].retry);
    expect(ERROR_CODES[code].http).toBeGreaterThanOrEqual(400);
    expect(ERROR_CODES[code].http).toBeLessThan(600);
  }
});

test('the place of a code is protocol: old ones stay where they are', () => {
  // New codes go to the end; a change above it breaks peers of another version.
  expect(ERROR_CODE_LIST.slice(0, 42)).toEqual(
    [
      ['NOT_LEADER', 'UNAVAILABLE', 'OVERLOADED', 'STORE_FULL', 'DEADLINE_EXCEEDED', 'OUTCOME_UNKNOWN', 'CANCELLED'],
      ['CLOSED', 'KEY_INVALID', 'VALUE_TOO_LARGE', 'TXN_TOO_LARGE', 'BAD_REQUEST'],
      ['PROTOCOL_ERROR', 'PROTOCOL_VERSION', 'SESSION_EXPIRED', 'COMPACTED', 'CONFIG_INVALID'],
      ['DIR_LOCKED', 'DIR_FOREIGN', 'WAL_CORRUPT', 'DISK_FAILED', 'LDB_MISSING', 'LDB_FOREIGN', 'LDB_CORRUPT'],
      ['LDB_GAP', 'TOO_STALE', 'ACTOR_STOPPED', 'INTERNAL', 'TABLE_CORRUPT', 'READ_ONLY', 'MEMBER_REFUSED'],
      ['LOCK_LOST', 'DIVERGED'],
      ['NOT_FOUND', 'ALREADY_EXISTS', 'SCHEMA_MISMATCH', 'COOKIE_CONFLICT', 'FORBIDDEN', 'RATE_LIMITED'],
      ['TABLE_FULL', 'DISABLED', 'DIR_ROLLED_BACK'],
    ].flat(),
  );
  expect(ERROR_CODE_LIST.length + 1, 'a code and "ok" fit in one byte').toBeLessThan(256);
});

test('a result code names its error, and success is none', () => {
  expect(errorOfResult(RESULT_OK)).toBeUndefined();
  for (const code of ERROR_CODE_LIST) expect(errorOfResult(resultCode(code))).toBe(code);
});

test('an error keeps its origin and its facts', () => {
  const cause = new Error('origin');
  const error = new StoreError('OVERLOADED', 'too much', { cause, data: { limit: 3 } });
  expect(error).toMatchObject({ code: 'OVERLOADED', retry: 'later', http: 429, cause, data: { limit: 3 } });
  expect('cause' in new StoreError('CLOSED', 'no cause')).toBe(false);
  expect(isStoreError(error, 'OVERLOADED')).toBe(true);
  expect(isStoreError(error, 'CLOSED')).toBe(false);
  expect(isStoreError(cause)).toBe(false);
});

test('a broken invariant is no StoreError: nobody answers a client with it', () => {
  for (const act of [() => assert(false, 'x'), () => must(undefined, 'x'), () => unreachable('x' as never)]) {
    expect(act).toThrow(InvariantViolation);
  }
  expect(must(0, 'zero is there')).toBe(0);
  expect(isStoreError(new InvariantViolation('x'))).toBe(false);
});

test('positions are safe integers, zero or more', () => {
  for (const make of [toIndex, toTerm, toLsn]) {
    expect(make(Number.MAX_SAFE_INTEGER)).toBe(Number.MAX_SAFE_INTEGER);
    for (const value of [-1, 0.5, 2 ** 53, Number.NaN]) expect(() => make(value)).toThrow(InvariantViolation);
  }
  expect(plus(toIndex(3), -1)).toBe(2);
});
