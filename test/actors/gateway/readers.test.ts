import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { Readers } from '../../../src/actors/gateway/readers.ts';
import { parseFilter } from '../../../src/core/model/ledger-filter.ts';

const sha256 = (token: string): string => createHash('sha256').update(token).digest('hex');
const forbidden = (message: string): unknown =>
  expect.objectContaining({ code: 'FORBIDDEN', message: expect.stringContaining(message) as string });

const open = new Readers([]);
const billing = parseFilter({ families: ['billing'] });
const readers = new Readers([
  { name: 'billing', tokenSha256: sha256('token-of-billing'), filter: billing },
  { name: 'backup', tokenSha256: sha256('token-of-backup'), filter: undefined },
]);

test('without readers everybody has what they ask for', () => {
  expect(open.grant(undefined, undefined)).toBeUndefined();
  expect(open.grant('any', billing)).toBe(billing);
  expect(() => open.grant(undefined, parseFilter({}))).toThrow(forbidden('names nothing'));
});

describe('with readers', () => {
  test('no token, a wrong one, and the hash itself are refused, and what is said does not hold the token', () => {
    expect(() => readers.grant(undefined, undefined)).toThrow(forbidden('a token is needed'));
    for (const token of ['', 'token-of-nobody', sha256('token-of-billing')]) {
      expect(() => readers.grant(token, undefined)).toThrow(forbidden('no reader of this cluster'));
    }
    expect(() => readers.grant('token-of-nobody', billing)).not.toThrow(forbidden('token-of-nobody'));
  });

  test('a reader has what it may have and asks for', () => {
    expect(readers.grant('token-of-billing', undefined)).toEqual(billing);
    expect(readers.grant('token-of-backup', undefined)).toBeUndefined();
    expect(readers.grant('token-of-backup', billing)).toEqual(billing);
    const plans = parseFilter({ tables: ['billing/plans'] });
    expect(readers.grant('token-of-billing', plans)).toEqual(plans);
    expect(readers.grant('token-of-billing', parseFilter({ families: ['billing', 'secret'] }))).toEqual(billing);
  });

  test('one that asks for nothing it may have is told so', () => {
    const secret = parseFilter({ families: ['secret'] });
    expect(() => readers.grant('token-of-billing', secret)).toThrow(forbidden('only family billing'));
  });
});
