import {
  type Arbitrary,
  array,
  assert,
  bigInt,
  constant,
  double,
  oneof,
  option,
  property,
  string,
  uint8Array,
} from 'fast-check';
import { afterEach, beforeEach, describe, expect, expectTypeOf, test } from 'vitest';
import { ByteWriter, utf8 } from '../../../src/core/base/bytes.ts';
import type { Change } from '../../../src/core/model/ledger.ts';
import { decodeRow, encodeRow } from '../../../src/core/model/control/row.ts';
import { rowKey } from '../../../src/core/model/control/row-key.ts';
import { encodeSchema, type FieldType, tableKey, type TableSchema } from '../../../src/core/model/control/schema.ts';
import { encodeValue, type GivenValue, type Value } from '../../../src/core/model/control/value.ts';
import { defineFamily, type KeyOf, type KeyPrefixOf, openLdb, type RowOf } from '../../../src/engine/ldb/index.ts';
import type { LdbReader } from '../../../src/engine/ldb/reader.ts';
import { readRow } from '../../../src/engine/ldb/row-decoder.ts';
import { fullKey, Tables } from '../../../src/engine/ldb/tables.ts';
import { LdbWriter } from '../../../src/engine/ldb/writer.ts';
import { CLUSTER, nextTurn, put, records, revisionOf, temporaryDir } from './ledger.ts';

const schemaOf = (
  fields: readonly (readonly [name: string, type: FieldType])[],
  key: readonly number[],
  more: Partial<TableSchema> = {},
): TableSchema => ({
  family: 'billing',
  table: 'prices',
  id: 7,
  epoch: 1,
  version: 1,
  created: 1,
  fields: fields.map(([name, type]) => ({ name, type, added: 0 })),
  key,
  ...more,
});

function rowBytes(values: readonly GivenValue[]): Uint8Array {
  const writer = new ByteWriter(64);
  const tagged = values.map((value) => {
    const one = new ByteWriter(16);
    encodeValue(one, value);
    return one.take();
  });
  encodeRow(writer, tagged);
  return writer.take();
}

const catalog = (schema: TableSchema): Change => put(tableKey(schema.family, schema.table), encodeSchema(schema));
const row = (schema: TableSchema, values: readonly GivenValue[]): Change =>
  put(
    rowKey(
      schema,
      schema.key.map((place) => values[place] as GivenValue),
    ),
    rowBytes(values),
  );

/** The key is not in the order of the fields, on purpose. */
const PRICES = schemaOf(
  [
    ['amount', 'decimal'],
    ['currency', 'string'],
    ['plan', 'string'],
    ['cents', 'integer'],
    ['seal', 'binary'],
  ],
  [2, 1],
);
const pro = [9.5, 'EUR', 'pro', 950, Uint8Array.of(1, 0, 2)];
const asRow = ([amount, currency, plan, cents, seal]: readonly GivenValue[]): object => ({
  amount,
  currency,
  plan,
  cents,
  seal,
});

let dir: ReturnType<typeof temporaryDir>;
let writer: LdbWriter;
let ldb: LdbReader;

beforeEach(async () => {
  dir = temporaryDir();
  writer = await LdbWriter.open(dir.path);
  const rows = [pro, [10, 'USD', 'pro', 1000, null], [5, 'EUR', 'probe', null, null], [0, 'EUR', 'free', 0, null]];
  await writer.apply(
    records(
      1,
      [catalog(PRICES)],
      rows.map((values) => row(PRICES, values)),
    ),
    CLUSTER,
  );
  ldb = openLdb(dir.path, { besideWriter: true });
});

afterEach(async () => {
  ldb.close();
  await writer.close();
  dir.remove();
});

const error = (code: string, message: string): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(message) as string });

describe('getRowByKey', () => {
  test('gives the row as an object, by all key fields in the order of the key', () => {
    expect(ldb.getRowByKey('billing', 'prices', ['pro', 'EUR'])).toEqual(asRow(pro));
    expect(ldb.getRowByKey('billing', 'prices', ['EUR', 'pro'])).toBeUndefined();
    expect(ldb.getRowByKey('billing', 'prices', ['nope', 'EUR'])).toBeUndefined();
  });

  test('names are not case-sensitive, values are', () => {
    expect(ldb.getRowByKey('BILLING', 'Prices', ['pro', 'EUR'])).toEqual(asRow(pro));
    expect(ldb.getRowByKey('billing', 'prices', ['PRO', 'EUR'])).toBeUndefined();
  });

  test('what is wrong with the question is a typed error', () => {
    const ask =
      (family: string, table: string, key: readonly GivenValue[]): (() => unknown) =>
      () =>
        ldb.getRowByKey(family, table, key);
    expect(ask('billing', 'nothing', ['a'])).toThrow(error('NOT_FOUND', 'Table not found: billing/nothing'));
    expect(ask('nothing', 'prices', ['a'])).toThrow(error('NOT_FOUND', 'Table not found'));
    expect(ask('billing', 'prices', ['pro'])).toThrow(error('BAD_REQUEST', 'All primary key fields are required'));
    expect(ask('billing', 'prices', [])).toThrow(error('BAD_REQUEST', 'All primary key fields are required'));
    expect(ask('billing', 'prices', ['a', 'b', 'c'])).toThrow(error('BAD_REQUEST', 'too many keys supplied'));
    expect(ask('billing', 'prices', ['pro', 5])).toThrow(
      error('BAD_REQUEST', "Key field 'currency' is of type 'string'"),
    );
    expect(ask('no name', 'prices', [])).toThrow(error('BAD_REQUEST', 'Family names must be'));
    expect(() => ldb.getRowByKey('billing', 'prices', 'pro' as unknown as string[])).toThrow(
      error('BAD_REQUEST', 'a list of key values'),
    );
  });

  test('bytes and texts in binary key fields, digits in whole ones, and whole numbers beyond 2 ** 53', async () => {
    const schema = schemaOf(
      [
        ['n', 'integer'],
        ['b', 'bytestring'],
      ],
      [0, 1],
      { table: 'odd', id: 8 },
    );
    const large = 2n ** 63n - 1n;
    const rows = [
      [large, utf8('a\0b')],
      [-5, Uint8Array.of(0xff, 0)],
      [2n ** 53n, utf8('')],
    ];
    await writer.apply(records(3, [catalog(schema), ...rows.map((values) => row(schema, values))]), CLUSTER);
    ldb.refresh();
    expect(ldb.getRowByKey('billing', 'odd', [large, 'a\0b'])).toEqual({ n: large, b: utf8('a\0b') });
    expect(ldb.getRowByKey('billing', 'odd', [String(large), utf8('a\0b')])).toEqual({ n: large, b: utf8('a\0b') });
    expect(ldb.getRowByKey('billing', 'odd', [-5, Uint8Array.of(0xff, 0)])).toMatchObject({ n: -5 });
    expect(ldb.getRowByKey('billing', 'odd', [2n ** 53n, ''])).toMatchObject({ n: 2n ** 53n });
    expect([...ldb.getRowsByKeyPrefix('billing', 'odd')].map(({ n }) => n)).toEqual([-5, 2n ** 53n, large]);
  });

  test('what it gives is the caller’s own', () => {
    const first = ldb.getRowByKey('billing', 'prices', ['pro', 'EUR']) as { seal: Uint8Array };
    ldb.getRowByKey('billing', 'prices', ['free', 'EUR']);
    expect(first.seal).toEqual(Uint8Array.of(1, 0, 2));
    expect(first.seal.buffer.byteLength).toBeLessThan(64);
  });
});

describe('getRowsByKeyPrefix', () => {
  const plans = (key?: readonly GivenValue[]): unknown[] =>
    Array.from(
      ldb.getRowsByKeyPrefix('billing', 'prices', key),
      ({ plan, currency }) => `${String(plan)}/${String(currency)}`,
    );

  test('is equality on the leading key fields, and no prefix of their texts', () => {
    expect(plans(['pro'])).toEqual(['pro/EUR', 'pro/USD']);
    expect(plans(['pro', 'USD'])).toEqual(['pro/USD']);
    expect(plans(['pr'])).toEqual([]);
    expect(plans([''])).toEqual([]);
  });

  test('no value is all of the table, in the order of the key, and no row of another table', async () => {
    const other = schemaOf([['id', 'string']], [0], { table: 'prices2', id: 8 });
    await writer.apply(records(3, [catalog(other), row(other, ['x'])]), CLUSTER);
    ldb.refresh();
    expect(plans()).toEqual(['free/EUR', 'pro/EUR', 'pro/USD', 'probe/EUR']);
    expect(plans([])).toHaveLength(4);
  });

  test('errors come with the call, and not with the first row', () => {
    expect(() => ldb.getRowsByKeyPrefix('billing', 'nothing')).toThrow(error('NOT_FOUND', 'Table not found'));
    expect(() => ldb.getRowsByKeyPrefix('billing', 'prices', ['a', 'b', 'c'])).toThrow(
      error('BAD_REQUEST', 'too many keys supplied'),
    );
    expect(() => ldb.getRowsByKeyPrefix('billing', 'prices', [1])).toThrow(error('BAD_REQUEST', "Key field 'plan'"));
  });

  test('is of one state, whatever is committed while it runs', async () => {
    const rows = ldb.getRowsByKeyPrefix('billing', 'prices')[Symbol.iterator]();
    expect(rows.next().value).toMatchObject({ plan: 'free' });
    await writer.apply(
      records(3, [row(PRICES, [1, 'EUR', 'gold', 1, null]), row(PRICES, [7, 'USD', 'pro', 700, null])]),
      CLUSTER,
    );
    ldb.refresh();
    const rest: unknown[] = [];
    for (let step = rows.next(); step.done !== true; step = rows.next())
      rest.push([step.value['plan'], step.value['amount']]);
    expect(rest).toEqual([
      ['pro', 9.5],
      ['pro', 10],
      ['probe', 5],
    ]);
    expect(plans()).toContain('gold/EUR');
  });
});

describe('the schema changes under an open handle', () => {
  test('fields that are added, a table that is cleared, one that is dropped', async () => {
    expect(ldb.getRowByKey('billing', 'prices', ['pro', 'EUR'])).toEqual(asRow(pro));
    const more = {
      ...PRICES,
      version: 2,
      fields: [...PRICES.fields, { name: 'note', type: 'text' as const, added: 3 }],
    };
    await writer.apply(records(3, [catalog(more)]), CLUSTER);
    await nextTurn();
    expect(ldb.getRowByKey('billing', 'prices', ['pro', 'EUR'])).toEqual({ ...asRow(pro), note: null });
    await writer.apply(records(4, [row(more, [...pro, 'new'])]), CLUSTER);
    await nextTurn();
    expect(ldb.getRowByKey('billing', 'prices', ['pro', 'EUR'])).toEqual({ ...asRow(pro), note: 'new' });
    // Cleared: the rows under the old epoch are nobody's, though they are there still.
    await writer.apply(records(5, [catalog({ ...more, epoch: 2 })]), CLUSTER);
    await nextTurn();
    expect(ldb.getRowByKey('billing', 'prices', ['pro', 'EUR'])).toBeUndefined();
    expect([...ldb.getRowsByKeyPrefix('billing', 'prices')]).toEqual([]);
    // Dropped.
    const dropped: Change = {
      kind: 'delete',
      key: tableKey('billing', 'prices'),
      value: new Uint8Array(0),
      expiryMs: 0,
    };
    await writer.apply(records(6, [dropped]), CLUSTER);
    await nextTurn();
    expect(() => ldb.getRowByKey('billing', 'prices', ['pro', 'EUR'])).toThrow(error('NOT_FOUND', 'Table not found'));
  });

  test('with the writer elsewhere the catalog is looked at once between two awaits, and when the reader moves on', async () => {
    let looks = 0;
    let revision = 1;
    const encoded = encodeSchema(PRICES);
    const kv = {
      lastSize: 16 + encoded.length,
      getBinaryFast: () => {
        looks++;
        const bytes = Buffer.alloc(16 + encoded.length);
        bytes.writeUInt32LE(revision, 0);
        bytes.set(encoded, 16);
        return bytes;
      },
    };
    const tables = new Tables(kv as unknown as ConstructorParameters<typeof Tables>[0], false);
    const first = tables.of('billing', 'prices');
    expect(tables.of('billing', 'prices')).toBe(first);
    expect(looks).toBe(1);
    await Promise.resolve();
    expect(tables.of('billing', 'prices')).toBe(first);
    expect(looks).toBe(2);
    revision = 2;
    expect(tables.of('billing', 'prices')).toBe(first);
    tables.moved();
    expect(tables.of('billing', 'prices')).not.toBe(first);
    expect(looks).toBe(3);
  });

  test('a snapshot takes the place of everything, and the handle goes on', async () => {
    ldb.getRowByKey('billing', 'prices', ['pro', 'EUR']);
    const schema = { ...PRICES, id: 9, epoch: 4 };
    const change = row(schema, pro);
    await writer.beginSnapshot({ cluster: CLUSTER, revision: revisionOf(50), timeMs: 5 });
    await writer.addSnapshot(
      [catalog(schema), change].map(({ key, value }) => ({ key, value, revision: revisionOf(50), expiryMs: 0 })),
    );
    await writer.finishSnapshot();
    // In the same run of code, even: the writer is in this thread.
    ldb.refresh();
    expect([...ldb.getRowsByKeyPrefix('billing', 'prices')]).toEqual([asRow(pro)]);
    expect(ldb.getRowByKey('billing', 'prices', ['pro', 'EUR'])).toEqual(asRow(pro));
  });
});

test('tables() lists the schemas; ping() says whether there is anything', async () => {
  expect(ldb.tables()).toEqual([PRICES]);
  expect(ldb.ping()).toBe(true);
  const empty = temporaryDir();
  const other = await LdbWriter.open(empty.path);
  const reader = openLdb(empty.path, { besideWriter: true });
  expect([reader.ping(), reader.tables(), reader.lagMs()]).toEqual([false, [], Number.POSITIVE_INFINITY]);
  reader.close();
  await other.close();
  empty.remove();
});

describe('the fast ways are the general ways', () => {
  const strings = oneof(
    string({ maxLength: 12 }),
    string({ maxLength: 300 }),
    string({ unit: 'binary', maxLength: 8 }),
    constant('a\0b'),
    constant('€\u{1f600}'),
  ).filter((value) => value.isWellFormed());
  const whole = bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) =>
    Number.isSafeInteger(Number(value)) ? Number(value) : value,
  );
  const small = bigInt({ min: -(2n ** 53n) + 1n, max: 2n ** 53n - 1n }).map(Number);

  test('keys', () => {
    const schema = schemaOf(
      [
        ['a', 'string'],
        ['b', 'integer'],
        ['c', 'bytestring'],
        ['d', 'string'],
      ],
      [3, 1, 0],
      { id: 0xffff_fffe, epoch: 0x8000_0001 },
    );
    const keyTypes = schema.key.map((place) => schema.fields[place]?.type as FieldType);
    const view = { schema, names: [], keyTypes };
    assert(
      property(option(strings), option(oneof(whole, small)), option(strings), (d, b, a) => {
        expect(Uint8Array.from(fullKey(view, [d, b, a]))).toEqual(Uint8Array.from(rowKey(schema, [d, b, a])));
      }),
      { numRuns: 500 },
    );
  });

  test('rows', () => {
    const values: Arbitrary<Value> = oneof(
      strings,
      whole,
      small,
      uint8Array({ maxLength: 20 }),
      constant(null),
      double({ noNaN: true, noDefaultInfinity: true }),
    );
    const names = ['a', 'b', 'c', 'd'];
    const fields = names.map((name) => ({ name, type: 'text' as const, added: 0 }));
    assert(
      property(array(values, { maxLength: 6 }), (given) => {
        const bytes = rowBytes(given);
        const around = Buffer.concat([Buffer.from('before'), bytes, Buffer.from('after')]);
        expect(readRow(names, around, 6, 6 + bytes.length)).toEqual(decodeRow({ fields }, bytes));
      }),
      { numRuns: 500 },
    );
  });

  test('a row that is cut or longer at any byte is LDB_CORRUPT, and never reads beyond itself', () => {
    const bytes = rowBytes([...pro, 'some text that is longer than the others, and by far, as it has to be']);
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const around = Buffer.concat([bytes, Buffer.alloc(100, 0x41)]);
    for (let end = 0; end <= bytes.length + 3; end++) {
      if (end === bytes.length) expect(() => readRow(names, around, 0, end)).not.toThrow();
      else expect(() => readRow(names, around, 0, end)).toThrow(expect.objectContaining({ code: 'LDB_CORRUPT' }));
    }
    for (const at of bytes.keys()) {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] as number) ^ 0x80;
      try {
        readRow(names, damaged, 0, damaged.length);
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: 'LDB_CORRUPT' });
      }
    }
  });
});

describe('defineFamily', () => {
  const billing = defineFamily('Billing', {
    prices: {
      fields: { amount: 'decimal', currency: 'string', plan: 'string', cents: 'integer', seal: 'binary' },
      key: ['plan', 'currency'],
    },
    odd: { fields: { n: 'integer', b: 'bytestring' }, key: ['n', 'b'] },
  });

  test('a definition stands for its names, and its rows have types', () => {
    const price = ldb.getRowByKey(billing.prices, ['pro', 'EUR']);
    expect(price).toEqual(asRow(pro));
    expectTypeOf(price?.amount).toEqualTypeOf<number | null | undefined>();
    expectTypeOf(price?.cents).toEqualTypeOf<number | bigint | null | undefined>();
    expectTypeOf(price?.seal).toEqualTypeOf<Uint8Array | null | undefined>();
    for (const one of ldb.getRowsByKeyPrefix(billing.prices, ['pro'])) {
      expectTypeOf(one).toEqualTypeOf<RowOf<typeof billing.prices>>();
      expectTypeOf(one.plan).toEqualTypeOf<string | null>();
    }
    expect([...ldb.getRowsByKeyPrefix(billing.prices)]).toHaveLength(4);
  });

  test('keys have types, and prefixes of them', () => {
    expectTypeOf<KeyOf<typeof billing.prices>>().toEqualTypeOf<readonly [string | null, string | null]>();
    expectTypeOf<KeyOf<typeof billing.odd>>().toEqualTypeOf<
      readonly [number | bigint | null, Uint8Array | string | null]
    >();
    expectTypeOf<readonly ['a']>().toExtend<KeyPrefixOf<typeof billing.prices>>();
    expectTypeOf<readonly []>().toExtend<KeyPrefixOf<typeof billing.prices>>();
    expectTypeOf<readonly [1]>().not.toExtend<KeyPrefixOf<typeof billing.prices>>();
    expectTypeOf<readonly ['a', 'b', 'c']>().not.toExtend<KeyPrefixOf<typeof billing.prices>>();
    expectTypeOf<readonly ['a']>().not.toExtend<KeyOf<typeof billing.prices>>();
  });

  test('what no table can be is refused at once', () => {
    expect(() => defineFamily('x', {})).toThrow(error('BAD_REQUEST', 'Family names must be'));
    const key = ['price'] as const;
    expect(() => defineFamily('billing', { plans: { fields: { price: 'decimal' }, key } })).toThrow(
      error('BAD_REQUEST', "Fields of type 'decimal' cannot be a key field"),
    );
  });
});
