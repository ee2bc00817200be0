import { describe, expect, test } from 'vitest';
import { StoreError } from '../../../../src/core/base/errors.ts';
import {
  parseFamilyName,
  parseFieldName,
  parseTableName,
  parseWriterName,
} from '../../../../src/core/model/control/names.ts';

const refusal = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof StoreError && error.code === 'BAD_REQUEST') return error.message;
    throw error;
  }
  throw new Error('nothing was refused');
};

describe('a family or table name', () => {
  test.each([
    ['billing', 'billing'],
    ['Billing_V2', 'billing_v2'],
    ['abc', 'abc'],
    ['a_b', 'a_b'],
    ['a'.repeat(30), 'a'.repeat(30)],
  ])('%s is kept as %s', (given, kept) => {
    expect(parseFamilyName(given)).toBe(kept);
    expect(parseTableName(given)).toBe(kept);
  });

  test.each([
    ['', 'at least 3 characters'],
    ['ab', 'at least 3 characters'],
    ['a__b', 'only letters, numbers, and single underscore'],
    ['1abc', 'only letters, numbers, and single underscore'],
    ['_abc', 'only letters, numbers, and single underscore'],
    ['a-bc', 'only letters, numbers, and single underscore'],
    ['abc\0', 'only letters, numbers, and single underscore'],
    ['é'.repeat(5), 'only letters, numbers, and single underscore'],
    ['a'.repeat(51), 'can only be up to'],
    // Two faults: ctlstore tells of the underscores.
    [`a__${'b'.repeat(60)}`, 'only letters, numbers, and single underscore'],
  ])('%j is refused: %s', (given, reason) => {
    expect(refusal(() => parseFamilyName(given))).toContain(
      `Family names ${reason.startsWith('at') ? 'must be ' : ''}`,
    );
    expect(refusal(() => parseFamilyName(given))).toContain(reason);
    expect(refusal(() => parseTableName(given))).toContain(reason);
  });

  test('may have 30 characters for a family and 50 for a table', () => {
    expect(refusal(() => parseFamilyName('a'.repeat(31)))).toContain('can only be up to 30 characters');
    expect(parseTableName('a'.repeat(50))).toHaveLength(50);
    expect(refusal(() => parseTableName('a'.repeat(51)))).toContain('can only be up to 50 characters');
  });
});

test('a field name may have one to 64 characters, and two underscores together', () => {
  expect(parseFieldName('A')).toBe('a');
  expect(parseFieldName('a__b')).toBe('a__b');
  expect(parseFieldName('a'.repeat(64))).toHaveLength(64);
  expect(refusal(() => parseFieldName('a'.repeat(65)))).toContain('up to 64');
  expect(refusal(() => parseFieldName(''))).toContain('at least 1');
  expect(refusal(() => parseFieldName('__proto__'))).toContain('only letters');
});

test('a writer name is kept as it is; characters are counted, not their parts', () => {
  expect(parseWriterName('My Writer!')).toBe('My Writer!');
  expect(parseWriterName('😀'.repeat(50))).toBe('😀'.repeat(50));
  expect(refusal(() => parseWriterName('ab'))).toContain('at least 3');
  expect(refusal(() => parseWriterName('a'.repeat(51)))).toContain('up to 50');
  expect(refusal(() => parseWriterName('abc\0'))).toContain('control characters');
  expect(refusal(() => parseWriterName('abc\ud800'))).toContain('control characters');
});

test('a refusal shows no more of a long name than can be read', () => {
  expect(refusal(() => parseFamilyName('x'.repeat(1_000_000))).length).toBeLessThan(250);
});
