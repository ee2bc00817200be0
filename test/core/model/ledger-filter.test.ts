import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader, utf8 } from '../../../src/core/base/bytes.ts';
import {
  decodeFilter,
  encodeFilter,
  FILTER_ITEMS_MAX,
  type FilterInput,
  intersect,
  isNothing,
  isSameFilter,
  type LedgerFilter,
  parseFilter,
  showFilter,
  Sieve,
  TableDirectory,
} from '../../../src/core/model/ledger-filter.ts';
import { encodeSchema, familyKey, rowsPrefix, tableKey } from '../../../src/core/model/control/schema.ts';

const schema = (id: number, family: string, table: string): [key: Uint8Array, value: Uint8Array] => [
  tableKey(family, table),
  encodeSchema({
    family,
    table,
    id,
    epoch: 1,
    version: 1,
    created: 1,
    fields: [{ name: 'id', type: 'string', added: 0 }],
    key: [0],
  }),
];

const FAMILIES = ['aaa', 'bbb', 'ccc'];
const TABLES = ['ttt', 'uuu'];
const directory = new TableDirectory();
const keys: Uint8Array[] = ['a', 'ab', 'b', 'zz'].map(utf8);
for (const [i, family] of FAMILIES.entries()) {
  keys.push(familyKey(family));
  for (const [j, table] of TABLES.entries()) {
    const id = i * 10 + j + 1;
    const [key, value] = schema(id, family, table);
    directory.learn(key, value);
    keys.push(key, Uint8Array.of(...rowsPrefix({ id, epoch: 7 }), 1, 2));
  }
}

const given: fc.Arbitrary<FilterInput> = fc.record({
  families: fc.array(fc.constantFrom(...FAMILIES, 'AAA'), { maxLength: 3 }),
  tables: fc.array(
    fc.tuple(fc.constantFrom(...FAMILIES), fc.constantFrom(...TABLES)).map(([f, t]) => `${f}/${t}`),
    { maxLength: 3 },
  ),
  prefixes: fc.array(fc.constantFrom('', 'a', 'ab', 'abc', 'b', 'z'), { maxLength: 3 }),
});

const letThrough = (filter: LedgerFilter): boolean[] => {
  const sieve = new Sieve(filter, directory);
  return keys.map((key) => sieve.lets(key) === true);
};

test('a filter has one form: as bytes and back it is the same, and order and repetition do not matter', () => {
  fc.assert(
    fc.property(given, (input) => {
      const filter = parseFilter(input);
      expect(decodeFilter(new ByteReader(encodeFilter(filter)))).toEqual(filter);
      const turned = {
        families: [...(input.families ?? [])].reverse(),
        tables: [...(input.tables ?? []), ...(input.tables ?? [])],
        prefixes: [...(input.prefixes ?? [])].reverse(),
      };
      expect(isSameFilter(parseFilter(turned), filter)).toBe(true);
    }),
  );
});

test('the intersection lets through exactly what both let through', () => {
  fc.assert(
    fc.property(given, given, (one, other) => {
      const [a, b] = [parseFilter(one), parseFilter(other)];
      const both = intersect(a, b) as LedgerFilter;
      // The name of a family comes along with a table of it, so that of families alone may be told once too little.
      const isFamily = (i: number): boolean => keys[i]?.[1] === 0x66 && keys[i]?.[0] === 0xff;
      const [inA, inB, inBoth] = [letThrough(a), letThrough(b), letThrough(both)];
      for (const i of keys.keys()) {
        if (isFamily(i)) expect(inBoth[i] && !(inA[i] && inB[i])).toBe(false);
        else expect(inBoth[i]).toBe(inA[i] && inB[i]);
      }
      expect(isSameFilter(both, intersect(b, a))).toBe(true);
      expect(isSameFilter(intersect(a, a), a)).toBe(true);
    }),
  );
  const some = parseFilter({ families: ['aaa'] });
  expect(intersect(undefined, some)).toBe(some);
  expect(intersect(some, undefined)).toBe(some);
  expect(intersect(undefined, undefined)).toBeUndefined();
});

test('the ranges hold all it lets through but rows, and nothing else', () => {
  fc.assert(
    fc.property(given, (input) => {
      const filter = parseFilter(input);
      const sieve = new Sieve(filter, directory);
      const isIn = (key: Uint8Array): boolean =>
        sieve.ranges().some(({ from, to }) => Buffer.compare(key, from) >= 0 && Buffer.compare(key, to) < 0);
      for (const key of keys) {
        const isRow = key[0] === 0xff && key[1] === 0x72;
        expect(isIn(key)).toBe(!isRow && sieve.lets(key) === true);
      }
    }),
  );
});

describe('what is let through', () => {
  test('a table: its rows under any epoch, its schema and the name of its family, and no other table of it', () => {
    const sieve = new Sieve(parseFilter({ tables: ['bbb/ttt'] }), directory);
    expect(sieve.lets(familyKey('bbb'))).toBe(true);
    expect(sieve.lets(familyKey('aaa'))).toBe(false);
    expect(sieve.lets(tableKey('bbb', 'ttt'))).toBe(true);
    expect(sieve.lets(tableKey('bbb', 'uuu'))).toBe(false);
    expect(sieve.lets(Uint8Array.of(...rowsPrefix({ id: 11, epoch: 9 }), 5))).toBe(true);
    expect(sieve.lets(Uint8Array.of(...rowsPrefix({ id: 12, epoch: 1 }), 5))).toBe(false);
    expect(sieve.lets(utf8('bbb'))).toBe(false);
  });

  test('a row of a table that nobody has heard of is unknown, and a key of an unknown kind is not let through', () => {
    const sieve = new Sieve(parseFilter({ families: ['aaa'], prefixes: [''] }), directory);
    expect(sieve.lets(rowsPrefix({ id: 77, epoch: 1 }))).toBe('unknown');
    expect(sieve.lets(Uint8Array.of(0xff, 0x7a, 1))).toBe(false);
    expect(sieve.lets(Uint8Array.of(0xff))).toBe(false);
    expect(sieve.lets(Uint8Array.of(0xff, 0x72, 0))).toBe('unknown');
    expect(sieve.lets(Uint8Array.of(0xfe, 0xff))).toBe(true);
  });

  test('a family whose name begins another one is not that one', () => {
    const sieve = new Sieve(parseFilter({ families: ['aaa'] }), directory);
    expect(sieve.lets(tableKey('aaab', 'ttt'))).toBe(false);
    expect(sieve.lets(familyKey('aaab'))).toBe(false);
  });
});

test('the directory keeps what it knows and forgets the longest known first', () => {
  const small = new TableDirectory(3);
  for (let id = 1; id <= 4; id++) small.learn(...schema(id, 'aaa', 'ttt'));
  expect(small.nameOf(1)).toBeUndefined();
  expect(small.nameOf(2)).toEqual({ family: 'aaa', table: 'ttt' });
});

test('what is no filter is refused', () => {
  const refused = (input: FilterInput): void => {
    expect(() => parseFilter(input)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  };
  refused({ families: ['no spaces'] });
  refused({ tables: ['billing'] });
  refused({ tables: ['a/b/c'] });
  refused({ prefixes: [Uint8Array.of(0xff, 0x72)] });
  refused({ prefixes: ['x'.repeat(2_000)] });
  refused({ prefixes: Array.from({ length: FILTER_ITEMS_MAX + 1 }, (_, i) => `${i}/`) });
  // A count that is not followed by so much must not be believed.
  expect(() => decodeFilter(new ByteReader(Uint8Array.of(0xff, 0xff, 0x7f)))).toThrow();
});

test('it is shown as people say it', () => {
  expect(showFilter(undefined)).toBe('everything');
  expect(showFilter(parseFilter({ families: ['AAA'], tables: ['bbb/ttt'], prefixes: ['f/'] }))).toBe(
    'family aaa, table bbb/ttt, keys "f/"',
  );
  expect(showFilter(parseFilter({}))).toBe('nothing');
  expect(isNothing(parseFilter({}))).toBe(true);
});
