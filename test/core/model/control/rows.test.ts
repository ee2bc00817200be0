/**
 * Keys and rows of control data, as properties: what goes in comes out, and keys sort as their values do.
 */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteWriter, compareBytes, prefixEnd } from '../../../../src/core/base/bytes.ts';
import { StoreError } from '../../../../src/core/base/errors.ts';
import { decodeRow, encodeRow, splitRow } from '../../../../src/core/model/control/row.ts';
import { decodeRowKey, encodeColumn, rowKey, rowKeyPrefix } from '../../../../src/core/model/control/row-key.ts';
import {
  decodeSchema,
  encodeSchema,
  FAMILY_VALUE,
  familyKey,
  familyOfKey,
  FIELD_TYPES,
  type FieldType,
  isControlKey,
  namesOfTableKey,
  parseFields,
  parseKey,
  rowsPrefix,
  tableKey,
  type TableSchema,
} from '../../../../src/core/model/control/schema.ts';
import {
  encodeValue,
  type GivenValue,
  INTEGER_MAX,
  INTEGER_MIN,
  type TaggedValue,
  type Value,
} from '../../../../src/core/model/control/value.ts';

const schemaOf = (types: readonly FieldType[], keyFields = types.length): TableSchema => ({
  family: 'fam',
  table: 'tab',
  id: 7,
  epoch: 2,
  version: 1,
  created: 3,
  fields: types.map((type, i) => ({ name: `f${i}`, type, added: 0 })),
  key: types.slice(0, keyFields).map((_, i) => i),
});

const tagged = (value: GivenValue): TaggedValue => {
  const writer = new ByteWriter();
  encodeValue(writer, value);
  return writer.take();
};

const integer = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.bigInt({ min: INTEGER_MIN, max: INTEGER_MAX }),
  fc.constantFrom<number | bigint>(0, -1, 2 ** 53 - 1, -(2 ** 53) + 1, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n),
  fc.constantFrom(INTEGER_MIN, INTEGER_MAX, 2n ** 32n, -(2n ** 32n)),
);
/** Any text: NUL, four-byte characters, none at all. */
const unicode = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.string({ unit: fc.constantFrom('\0', 'a', '\u{10ffff}', '\x01', '\u00ff'), maxLength: 6 }),
);
const blob = fc.oneof(
  fc.uint8Array({ maxLength: 12 }),
  fc.array(fc.constantFrom(0, 1, 0xfe, 0xff), { maxLength: 6 }).map((bytes) => Uint8Array.from(bytes)),
);
const column: Record<'integer' | 'string' | 'bytestring', fc.Arbitrary<Value>> = {
  integer: fc.option(integer, { nil: null }),
  string: fc.option(unicode, { nil: null }),
  bytestring: fc.option(blob, { nil: null }),
};
/** A number where that is exact: as it is read. */
const asRead = (value: Value): Value =>
  typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value;

/** How two values of one type sort: null first, then by value; texts by their UTF-8. */
function compareValues(a: Value, b: Value): number {
  if (a === null || b === null) return (a === null ? 0 : 1) - (b === null ? 0 : 1);
  if (typeof a === 'string' || a instanceof Uint8Array) return compareBytes(bytesOf(a), bytesOf(b as string));
  return a < (b as number) ? -1 : a > (b as number) ? 1 : 0;
}
const bytesOf = (value: string | Uint8Array): Uint8Array =>
  typeof value === 'string' ? new TextEncoder().encode(value) : value;

const keyTypes = fc.array(fc.constantFrom('integer' as const, 'string' as const, 'bytestring' as const), {
  minLength: 1,
  maxLength: 3,
});
const twoKeys = keyTypes.chain((types) => {
  const values = fc.tuple(...types.map((type) => column[type]));
  return fc.tuple(fc.constant(types), values, values);
});

describe('the key of a row', () => {
  test('sorts as its values do, column by column', () => {
    fc.assert(
      fc.property(twoKeys, ([types, a, b]) => {
        const schema = schemaOf(types);
        const byValue = a.map((value, i) => compareValues(value, b[i] as Value)).find((order) => order !== 0) ?? 0;
        expect(Math.sign(compareBytes(rowKey(schema, a), rowKey(schema, b)))).toBe(
          byValue < 0 ? -1 : Math.min(byValue, 1),
        );
      }),
      { numRuns: 2000 },
    );
  });

  test('gives its values back', () => {
    fc.assert(
      fc.property(twoKeys, ([types, values]) => {
        expect(decodeRowKey(rowKey(schemaOf(types), values))).toEqual(values.map(asRead));
      }),
      { numRuns: 1000 },
    );
  });

  test('begins with the bytes of its leading columns just when it has them', () => {
    fc.assert(
      fc.property(twoKeys, fc.nat(), ([types, a, b], n) => {
        const schema = schemaOf(types);
        const count = n % (types.length + 1);
        const prefix = rowKeyPrefix(schema, a.slice(0, count));
        const key = rowKey(schema, b);
        const has = compareBytes(key.subarray(0, prefix.length), prefix) === 0;
        expect(has).toBe(a.slice(0, count).every((value, i) => compareValues(value, b[i] as Value) === 0));
      }),
      { numRuns: 1000 },
    );
  });

  test('is the same from a value in a row', () => {
    fc.assert(
      fc.property(twoKeys, ([types, values]) => {
        const schema = schemaOf(types);
        const writer = new ByteWriter().raw(rowsPrefix(schema));
        for (const value of values) encodeColumn(writer, tagged(value));
        expect(writer.take()).toEqual(rowKey(schema, values));
      }),
    );
  });

  test('lies behind every text, and before the next table', () => {
    const schema = schemaOf(['string']);
    const key = rowKey(schema, ['\u{10ffff}']);
    expect(isControlKey(key)).toBe(true);
    expect(compareBytes(new TextEncoder().encode('\u{10ffff}'.repeat(9)), key)).toBeLessThan(0);
    expect(compareBytes(key, rowsPrefix({ id: 7, epoch: 3 }))).toBeLessThan(0);
    expect(compareBytes(key, prefixEnd(rowsPrefix(schema)) as Uint8Array)).toBeLessThan(0);
  });

  test('takes digits for an integer and a text for bytes, and refuses what its field cannot hold', () => {
    const integers = schemaOf(['integer']);
    expect(rowKey(integers, ['9223372036854775807'])).toEqual(rowKey(integers, [INTEGER_MAX]));
    expect(rowKey(integers, [-0])).toEqual(rowKey(integers, [0]));
    expect(rowKey(schemaOf(['bytestring']), ['aé'])).toEqual(
      rowKey(schemaOf(['bytestring']), [new TextEncoder().encode('aé')]),
    );
    for (const value of [1.5, 2 ** 53, 'x', Number.NaN, INTEGER_MAX + 1n, '9223372036854775808', new Uint8Array(1)]) {
      expect(() => rowKey(integers, [value])).toThrow(StoreError);
    }
    for (const value of [1, true, new Uint8Array(1), '\ud800']) {
      expect(() => rowKey(schemaOf(['string']), [value])).toThrow(StoreError);
    }
  });

  test('needs all columns, a prefix no more than there are, and both fit a key', () => {
    const schema = schemaOf(['string', 'integer', 'text'], 2);
    expect(() => rowKey(schema, ['a'])).toThrow('All primary key fields are required: f0, f1');
    expect(() => rowKeyPrefix(schema, ['a', 1, 2])).toThrow('too many keys supplied');
    expect(rowKeyPrefix(schema, [])).toEqual(rowsPrefix(schema));
    const room = 1024 - rowsPrefix(schema).length - 3;
    expect(rowKeyPrefix(schema, ['x'.repeat(room)])).toHaveLength(1024);
    expect(() => rowKeyPrefix(schema, ['x'.repeat(room + 1)])).toThrow('may have 1024 bytes; this one has 1025');
  });
});

describe('a row', () => {
  const value: fc.Arbitrary<Value> = fc.oneof(
    integer,
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    unicode,
    blob,
    fc.constant(null),
  );

  test('gives its values back, all bits of them', () => {
    fc.assert(
      fc.property(fc.array(value, { maxLength: 8 }), (values) => {
        const schema = schemaOf(values.map(() => 'text'));
        const writer = new ByteWriter();
        encodeRow(writer, values.map(tagged));
        const row = decodeRow(schema, writer.take());
        expect(Object.values(row)).toEqual(values.map(asRead));
        expect(
          Object.values(row).every((got, i) => Object.is(got, asRead(values[i] as Value)) || typeof got === 'object'),
        ).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test('has null in fields that were added since, and forgets none that its reader does not know', () => {
    const writer = new ByteWriter();
    encodeRow(writer, [tagged('k'), tagged(1)]);
    const bytes = writer.take();
    expect(decodeRow(schemaOf(['string', 'integer', 'text']), bytes)).toEqual({ f0: 'k', f1: 1, f2: null });
    expect(decodeRow(schemaOf(['string']), bytes)).toEqual({ f0: 'k' });
    expect(splitRow(schemaOf(['string', 'integer', 'text']), bytes)).toEqual([tagged('k'), tagged(1), tagged(null)]);
  });

  test('cut anywhere, or with a byte too many, is refused', () => {
    const writer = new ByteWriter();
    encodeRow(writer, [tagged('key'), tagged(1), tagged(1.5), tagged(null), tagged(Uint8Array.of(1, 2))]);
    const bytes = writer.take();
    const schema = schemaOf(['string', 'integer', 'decimal', 'text', 'binary'], 1);
    for (let end = 0; end < bytes.length; end++) {
      expect(() => decodeRow(schema, bytes.subarray(0, end))).toThrow(StoreError);
      expect(() => splitRow(schema, bytes.subarray(0, end))).toThrow(StoreError);
    }
    expect(() => decodeRow(schema, Uint8Array.of(...bytes, 0))).toThrow(StoreError);
  });

  test('holds no number that is none, and no half of a character', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, INTEGER_MAX + 1n, INTEGER_MIN - 1n, '\ud83d']) {
      expect(() => tagged(bad)).toThrow(StoreError);
    }
    expect(() => tagged(undefined as unknown as null)).toThrow(StoreError);
  });
});

describe('a schema', () => {
  test('gives back what went in', () => {
    const types = fc.array(fc.constantFrom(...FIELD_TYPES), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(types, fc.nat(), fc.nat(), (all, id, epoch) => {
        const schema: TableSchema = { ...schemaOf(all), id, epoch, key: [all.length - 1] };
        expect(decodeSchema(tableKey('fam', 'tab'), encodeSchema(schema))).toEqual(schema);
      }),
    );
    expect(namesOfTableKey(tableKey('billing', 'plans_2'))).toEqual({ family: 'billing', table: 'plans_2' });
    expect(familyOfKey(familyKey('billing'))).toBe('billing');
    expect(FAMILY_VALUE).toHaveLength(1);
  });

  test('is declared with known types, each field once, and a key of fields that can be one', () => {
    const fields = parseFields([
      ['ID', 'string'],
      ['price', 'DECIMAL'],
    ]);
    expect(fields).toEqual([
      { name: 'id', type: 'string' },
      { name: 'price', type: 'decimal' },
    ]);
    expect(parseKey(['Id'], fields)).toEqual([0]);
    expect(() => parseKey([], fields)).toThrow('table must have at least one key field');
    expect(() => parseKey(['nope'], fields)).toThrow("Primary key field 'nope' not specified as a field");
    expect(() => parseKey(['price'], fields)).toThrow("Fields of type 'decimal' cannot be a key field");
    expect(() => parseKey(['id', 'id'], fields)).toThrow('named twice');
    expect(() => parseFields([['a', 'float']])).toThrow("Field #0: Type 'float' unknown");
    expect(() =>
      parseFields([
        ['a', 'text'],
        ['A', 'text'],
      ]),
    ).toThrow("Field 'a' is declared twice");
    expect(() => parseFields(Array.from({ length: 257 }, (_, i) => [`f${i}`, 'text'] as const))).toThrow('256');
  });
});
