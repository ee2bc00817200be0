import { describe, expect, test } from 'vitest';
import { parseTxn } from '../../src/cli/kvctl/txn-script.ts';
import { durationMs, showMs } from '../../src/cli/kvctl/duration.ts';

describe('a transaction script', () => {
  test('has conditions, operations, an else branch, comments and quotes', () => {
    const script = parseTxn(`
      # who may?
      if revision a 12     # as read
      if exists b
      if absent "c d"
      if value e "team \\"x\\" # 1"
      put a on ttl 60s
      put k# v#1
      delete b
      else
      get a
    `);
    expect(script).toEqual({
      conditions: [
        { kind: 'revision', key: 'a', revision: 12 },
        { kind: 'exists', key: 'b' },
        { kind: 'absent', key: 'c d' },
        { kind: 'value', key: 'e', value: 'team "x" # 1' },
      ],
      main: [
        { kind: 'put', key: 'a', value: 'on', ttlMs: 60_000 },
        { kind: 'put', key: 'k#', value: 'v#1' },
        { kind: 'delete', key: 'b' },
      ],
      otherwise: [{ kind: 'get', key: 'a' }],
    });
  });

  test('may be JSON', () => {
    const json = `{ "if": [{ "key": "a", "revision": 0 }, { "key": "b", "exists": false }], "then": [{ "put": "a", "value": "1", "ttlMs": 5 }], "else": [{ "get": "a" }, { "delete": "b" }] }`;
    expect(parseTxn(json)).toEqual({
      conditions: [
        { kind: 'revision', key: 'a', revision: 0 },
        { kind: 'absent', key: 'b' },
      ],
      main: [{ kind: 'put', key: 'a', value: '1', ttlMs: 5 }],
      otherwise: [
        { kind: 'get', key: 'a' },
        { kind: 'delete', key: 'b' },
      ],
    });
  });

  test.each([
    ['', 'has no operation'],
    ['if exists a', 'has no operation'],
    ['put a', "line 1: write 'put KEY VALUE'"],
    ['put a 1 ttl 60', "line 1: after the value only 'ttl 60s' may follow"],
    ['put a 1\nif exists b', "line 2: an 'if' stands before every operation"],
    ['get a\nelse\nif exists b', "line 3: an 'if' stands before every operation"],
    ['get a\nelse\nelse', "line 3: a second 'else'"],
    ['if revision a x', "line 1: 'x' is not a revision"],
    ['if like a', "line 1: 'if like' is not a condition"],
    ['get "a', 'line 1: cannot read "a: a quote that does not close?'],
    ['get "\\q"', 'an escape that JSON does not know'],
    ['{ "then": [', 'is not JSON'],
    ['{ "then": [{ "put": "a" }] }', 'at then.0: not a form that kvctl txn --help shows'],
    ['{ "them": [] }', 'at its top'],
  ])('%j is refused: %s', (text, expected) => {
    expect(() => parseTxn(text)).toThrow(expected);
  });
});

test('durations have a unit', () => {
  expect(['500ms', '60s', '1.5h', '7d', '5m'].map(durationMs)).toEqual([500, 60_000, 5_400_000, 604_800_000, 300_000]);
  expect(['60', '', '0s', '-1s', '1 day', 'abc', '1e3s'].map(durationMs)).toEqual(Array.from({ length: 7 }));
  expect([3, 999, 1500, 90_000, 7_200_000].map(showMs)).toEqual(['3 ms', '999 ms', '1.5 s', '1.5 min', '2.0 h']);
});
