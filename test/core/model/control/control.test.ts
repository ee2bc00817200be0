import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../../src/core/base/bytes.ts';
import { StoreError } from '../../../../src/core/base/errors.ts';
import { INTEGER_MAX } from '../../../../src/core/model/control/value.ts';
import { rowsPrefix } from '../../../../src/core/model/control/schema.ts';
import { clock, openSession, put } from '../model.ts';
import { batchOf, billing, control, ControlBench, patch, PLANS, remove, SECRET, upsert } from './bench.ts';

const PRO = { id: 'pro', seats: 5, price: 9.5 };

describe('families and tables', () => {
  test('are created once; a name is the same in any case', () => {
    const bench = new ControlBench();
    expect(bench.run({ kind: 'createFamily', family: 'Billing' }).code).toBe('OK');
    expect(bench.run({ kind: 'createFamily', family: 'billing' })).toMatchObject({
      code: 'ALREADY_EXISTS',
      message: 'Family already exists: billing',
      data: { family: 'billing' },
    });
    expect(bench.createTable('Plans', PLANS, ['ID'], 'BILLING').code).toBe('OK');
    const again = bench.createTable('plans', PLANS, ['id']);
    expect(again).toMatchObject({ code: 'ALREADY_EXISTS', message: 'Table already exists: billing.plans' });
    expect(again.record.changes).toEqual([]);
    expect(bench.createTable('plans', PLANS, ['id'], 'nobody')).toMatchObject({
      code: 'NOT_FOUND',
      message: 'Family not found: nobody',
    });
    expect(bench.schema('billing', 'plans')).toMatchObject({ id: 1, epoch: 0, version: 1, key: [0] });
  });

  test('many tables are created at once or not at all', () => {
    const bench = billing();
    const table = (name: string): Parameters<ControlBench['run']>[0] & { kind: 'createTables' } => ({
      kind: 'createTables',
      tables: [
        { family: 'billing', table: 'prices', fields: PLANS, key: ['id'] },
        { family: 'billing', table: name, fields: PLANS, key: ['id'] },
      ],
    });
    expect(bench.run(table('plans')).code).toBe('ALREADY_EXISTS');
    expect(bench.run(table('prices')).code).toBe('ALREADY_EXISTS');
    expect(bench.schema('billing', 'prices')).toBeUndefined();
    expect(bench.run(table('taxes')).code).toBe('OK');
    expect(bench.schema('billing', 'taxes')?.id).toBe(3);
  });

  test('a bad declaration never enters the log', () => {
    const declare = (fields: typeof PLANS, key: string[], table = 'plans'): void => {
      control({ kind: 'createTables', tables: [{ family: 'billing', table, fields, key }] });
    };
    expect(() => declare(PLANS, [])).toThrow('table must have at least one key field');
    expect(() => declare(PLANS, ['nope'])).toThrow("Primary key field 'nope' not specified as a field");
    expect(() => declare(PLANS, ['price'])).toThrow("Fields of type 'decimal' cannot be a key field");
    expect(() => declare([['id', 'uuid']], ['id'])).toThrow("Type 'uuid' unknown");
    expect(() => declare(PLANS, ['id'], 'a__b')).toThrow('Table names must be only letters');
    expect(() => control({ kind: 'createTables', tables: [] })).toThrow('no table is named');
    expect(() => control({ kind: 'createFamily', family: 'ab' })).toThrow('at least 3 characters');
  });

  test('a field that is added is null in the rows that are there, and old writers go on', () => {
    const bench = billing();
    bench.mutate([upsert('plans', PRO)]);
    const added = bench.run({
      kind: 'addFields',
      family: 'billing',
      table: 'plans',
      fields: [
        ['note', 'text'],
        ['logo', 'binary'],
      ],
    });
    expect(added.code).toBe('OK');
    expect(added.record.changes).toHaveLength(1);
    expect(bench.rows('plans')).toEqual([{ ...PRO, note: null, logo: null }]);
    expect(bench.mutate([upsert('plans', { id: 'old', seats: 1, price: 1 })]).code).toBe('OK');
    expect(bench.mutate([upsert('plans', { ...PRO, note: 'n', logo: Uint8Array.of(0) })]).code).toBe('OK');
    expect(bench.rows('plans')).toEqual([
      { id: 'old', seats: 1, price: 1, note: null, logo: null },
      { ...PRO, note: 'n', logo: Uint8Array.of(0) },
    ]);
    const again = { kind: 'addFields', family: 'billing', table: 'plans', fields: [['NOTE', 'text']] } as const;
    expect(bench.run(again)).toMatchObject({ code: 'ALREADY_EXISTS', message: 'Column already exists: note' });
    expect(bench.schema('billing', 'plans')).toMatchObject({ version: 2 });
    expect(bench.run({ ...again, table: 'nope' }).code).toBe('NOT_FOUND');
  });
});

describe('a batch', () => {
  test('writes, replaces, patches and deletes rows, in one record', () => {
    const bench = billing();
    const made = bench.mutate([upsert('plans', PRO), upsert('plans', { id: 'free', seats: 1, price: 0 })]);
    expect(made.code).toBe('OK');
    expect(made.record.changes).toHaveLength(2);
    bench.mutate([upsert('plans', { ...PRO, seats: 6 }), patch('plans', { id: 'free', price: 1.5 })]);
    expect(bench.rows('plans')).toEqual([
      { id: 'free', seats: 1, price: 1.5 },
      { id: 'pro', seats: 6, price: 9.5 },
    ]);
    expect(
      bench.mutate([remove('plans', { id: 'free' }), remove('plans', { id: 'nobody' })]).record.changes,
    ).toHaveLength(1);
    expect(bench.rows('plans')).toEqual([{ id: 'pro', seats: 6, price: 9.5 }]);
  });

  test('sees its own earlier mutations, and a key stands once in its record', () => {
    const bench = billing();
    const { record } = bench.mutate([
      upsert('plans', PRO),
      patch('plans', { id: 'pro', seats: 7 }),
      upsert('plans', { id: 'gone', seats: 1, price: 1 }),
      remove('plans', { id: 'gone' }),
      patch('plans', { id: 'pro', price: 1 }),
    ]);
    expect(bench.rows('plans')).toEqual([{ id: 'pro', seats: 7, price: 1 }]);
    expect(record.changes).toHaveLength(1);
  });

  test('keeps every value as it is', () => {
    const bench = billing();
    bench.createTable(
      'all',
      [
        ['k', 'integer'],
        ['s', 'string'],
        ['i', 'integer'],
        ['d', 'decimal'],
        ['t', 'text'],
        ['b', 'binary'],
        ['y', 'bytestring'],
      ],
      ['k'],
    );
    const rows = [
      { k: 1, s: 'a\0b', i: INTEGER_MAX, d: -0.5, t: '\\\\n 😀', b: Uint8Array.of(0, 255), y: Uint8Array.of() },
      { k: 2, s: '', i: 2n ** 53n + 1n, d: 1e300, t: 'e\u0301', b: Uint8Array.of(), y: Uint8Array.of(1) },
      { k: 3, s: null, i: null, d: null, t: null, b: null, y: null },
      { k: -(2n ** 63n), s: '\u{10ffff}', i: -1, d: 7, t: 'x', b: Uint8Array.of(1), y: Uint8Array.of(2) },
    ];
    expect(bench.mutate(rows.map((row) => upsert('all', row))).code).toBe('OK');
    expect(bench.rows('all')).toEqual([rows[3], rows[0], rows[1], rows[2]]);
  });

  test('takes digits for an integer, a whole number for a decimal and base64 for bytes where it says so', () => {
    const bench = billing();
    bench.createTable(
      'loose',
      [
        ['k', 'integer'],
        ['d', 'decimal'],
        ['b', 'binary'],
      ],
      ['k'],
    ); // prettier-ignore
    const loose = upsert('loose', { k: '9223372036854775807', d: 3, b: 'AP8=' });
    expect(bench.mutate([loose], { isBase64: true }).code).toBe('OK');
    expect(bench.rows('loose')).toEqual([{ k: INTEGER_MAX, d: 3, b: Uint8Array.of(0, 255) }]);
    expect(bench.mutate([loose])).toMatchObject({ code: 'SCHEMA_MISMATCH', data: { field: 'b', mutation: 0 } });
    for (const b of ['AP8', 'AP9=', 'A===', '*P8=']) {
      expect(bench.mutate([upsert('loose', { k: 1, d: 1, b })], { isBase64: true }).code).toBe('SCHEMA_MISMATCH');
    }
    for (const k of ['9223372036854775808', '1.0', '', ' 1', 1.5, 2 ** 53, 'x']) {
      expect(bench.mutate([upsert('loose', { k, d: 1, b: null })]).code).toBe('SCHEMA_MISMATCH');
    }
  });

  test('is refused whole, with the mutation that was at fault', () => {
    const bench = billing();
    const good = upsert('plans', PRO);
    const before = JSON.stringify(bench.all());
    const cases: [Parameters<ControlBench['mutate']>[0][number], string, string][] = [
      [upsert('plans', { id: 'x', seats: 1 }), 'SCHEMA_MISMATCH', 'Missing field price'],
      [upsert('plans', { ...PRO, color: 'red' }), 'SCHEMA_MISMATCH', 'Unknown field color'],
      [upsert('plans', { ...PRO, seats: 'many' }), 'SCHEMA_MISMATCH', 'mutation 1: Field seats'],
      [upsert('nope', PRO), 'NOT_FOUND', 'Table not found: billing.nope'],
      [patch('plans', { id: 'absent', seats: 1 }), 'NOT_FOUND', 'mutation 1: there is no such row'],
      [patch('plans', { seats: 1 }), 'SCHEMA_MISMATCH', 'Missing field id'],
      [remove('plans', { seats: 1 }), 'SCHEMA_MISMATCH', 'Missing field id'],
      [upsert('plans', { ...PRO, id: 'x'.repeat(1100) }), 'KEY_INVALID', 'may have 1024 bytes'],
    ];
    for (const [bad, code, message] of cases) {
      const refused = bench.mutate([good, bad]);
      expect(refused.code).toBe(code);
      expect(refused.message).toContain(message);
      expect(refused.record.changes).toEqual([]);
    }
    expect(JSON.stringify(bench.all())).toBe(before);
    expect(bench.mutate([good], { family: 'nobody' })).toMatchObject({ code: 'NOT_FOUND' });
  });

  test('has bounds: of mutations, of a row, of its bytes, and it is not empty', () => {
    const bench = billing();
    bench.createTable(
      'docs',
      [
        ['k', 'integer'],
        ['t', 'text'],
      ],
      ['k'],
    ); // prettier-ignore
    const many = (count: number): ReturnType<typeof upsert>[] =>
      Array.from({ length: count }, (_, k) => upsert('docs', { k, t: '' }));
    expect(bench.mutate(many(1000)).code).toBe('OK');
    expect(bench.rows('docs')).toHaveLength(1000);
    expect(() => bench.mutate(many(1001))).toThrow('a batch may have 1000 shapes; this one has 1001');
    expect(() => bench.mutate([])).toThrow('at least one mutation');
    expect(bench.mutate([upsert('docs', { k: 1, t: 'x'.repeat(768 * 1024) })])).toMatchObject({
      code: 'VALUE_TOO_LARGE',
      data: { limit: 786_432, mutation: 0, table: 'docs' },
    });
    const big = Array.from({ length: 6 }, (_, k) => upsert('docs', { k, t: 'x'.repeat(700 * 1024) }));
    expect(() => bench.mutate(big)).toThrow('a batch may have 4194304 bytes');
    expect(bench.mutate(big.slice(0, 3)).code).toBe('OK');
    bench.run({ kind: 'addFields', family: 'billing', table: 'docs', fields: [['n', 'integer']] });
    expect(bench.mutate([0, 1].map((k) => patch('docs', { k, n: 1 }))).code).toBe('TXN_TOO_LARGE');
    expect(bench.mutate([patch('docs', { k: 0, n: 1 })]).code).toBe('OK');
  });
});

describe('a writer', () => {
  test('is registered once with a secret; the same again is no fault', () => {
    const bench = billing();
    const register = { kind: 'registerWriter', writer: 'loader' } as const;
    expect(bench.run(register, { secret: SECRET }).code).toBe('OK');
    expect(bench.run(register, { secret: 'another' })).toMatchObject({
      code: 'ALREADY_EXISTS',
      message: 'Writer already exists with different credentials: loader',
    });
    expect(() => control(register, { secret: 'ab' })).toThrow('has 3 to 100 bytes; this one has 2');
    expect(() => control(register, { secret: 'x'.repeat(101) })).toThrow('3 to 100');
    expect(() => control(register)).toThrow('3 to 100');
  });

  test('is known by its secret, which can be changed, and no more once it is deleted', () => {
    const bench = billing();
    const rows = [upsert('plans', PRO)];
    expect(bench.mutate(rows, { writer: 'nobody' })).toMatchObject({
      code: 'NOT_FOUND',
      message: 'Writer not found: nobody',
    });
    expect(bench.mutate(rows, { secret: 'wrong' })).toMatchObject({ code: 'FORBIDDEN' });
    expect(bench.run({ kind: 'rotateWriter', writer: 'loader' }, { secret: 'new one' }).code).toBe('OK');
    expect(bench.mutate(rows).code).toBe('FORBIDDEN');
    expect(bench.mutate(rows, { secret: 'new one' }).code).toBe('OK');
    expect(bench.run({ kind: 'deleteWriter', writer: 'loader' }).code).toBe('OK');
    expect(bench.run({ kind: 'deleteWriter', writer: 'loader' }).code).toBe('NOT_FOUND');
    expect(bench.mutate(rows, { secret: 'new one' }).code).toBe('NOT_FOUND');
  });

  test('leaves its secret in no entry, no record and no row', () => {
    const bench = billing();
    bench.mutate([upsert('plans', PRO)]);
    const everything = Buffer.concat([...bench.log, ...bench.table.privates.values()]).toString('latin1');
    expect(everything).not.toContain(SECRET);
    expect(JSON.stringify(bench.all())).not.toContain('loader');
  });

  test('has a cookie that changes with its rows, or not at all', () => {
    const bench = billing();
    const rows = [upsert('plans', PRO)];
    expect(bench.mutate(rows, { check: utf8(''), cookie: utf8('one') }).code).toBe('OK');
    const refused = bench.mutate([remove('plans', { id: 'pro' })], { check: utf8('zero'), cookie: utf8('two') });
    expect(refused).toMatchObject({ code: 'COOKIE_CONFLICT', record: { changes: [] } });
    expect(bench.rows('plans')).toHaveLength(1);
    expect(bench.mutate(rows, { check: utf8('one'), cookie: utf8('one') }).code).toBe('OK');
    // Without a cookie it stays.
    expect(bench.mutate(rows).code).toBe('OK');
    expect(bench.mutate(rows, { check: utf8('one') }).code).toBe('OK');
    const set = { kind: 'setCookie', writer: 'loader', cookie: utf8('three') } as const;
    expect(bench.run(set, { secret: 'wrong' }).code).toBe('FORBIDDEN');
    expect(bench.run(set, { secret: SECRET }).code).toBe('OK');
    expect(bench.mutate(rows, { check: utf8('three') }).code).toBe('OK');
    expect(() => bench.mutate(rows, { cookie: new Uint8Array(1025) })).toThrow('Maximum cookie length is 1024 bytes');
    expect(() => bench.mutate(rows, { check: new Uint8Array(1025) })).toThrow('Maximum cookie length is 1024 bytes');
    expect(bench.mutate(rows, { cookie: new Uint8Array(1024) }).code).toBe('OK');
  });
});

describe('limits', () => {
  test('a writer may change so many rows in each window of log time; what was refused does not count', () => {
    const bench = billing();
    const limit = { kind: 'limitWriter', writer: 'loader', limit: { rows: 5, periodMs: 1000 } } as const;
    expect(bench.run(limit, { timeMs: 100_000 }).code).toBe('OK');
    const rows = (count: number): ReturnType<typeof upsert>[] =>
      Array.from({ length: count }, () => upsert('plans', PRO));
    expect(bench.mutate(rows(6), { timeMs: 100_001 })).toMatchObject({
      code: 'RATE_LIMITED',
      data: { limit: 5, periodMs: 1000, used: 0, size: 6, retryMs: 999 },
    });
    expect(bench.mutate(rows(5), { timeMs: 100_002 }).code).toBe('OK');
    expect(bench.mutate(rows(1), { timeMs: 100_999 }).code).toBe('RATE_LIMITED');
    expect(bench.mutate(rows(5), { timeMs: 101_000 }).code).toBe('OK');
    bench.restart();
    expect(bench.mutate(rows(1), { timeMs: 101_001 }).code).toBe('RATE_LIMITED');
    expect(bench.run({ ...limit, limit: undefined }).code).toBe('OK');
    expect(bench.mutate(rows(1), { timeMs: 101_002 }).code).toBe('OK');
    expect(bench.run({ ...limit, limit: undefined }).code).toBe('NOT_FOUND');
    expect(bench.run({ ...limit, writer: 'nobody' }).code).toBe('NOT_FOUND');
  });

  test('one that is said of nobody holds for all who have none of their own', () => {
    const bench = billing();
    bench.run({ kind: 'limitWriter', writer: '', limit: { rows: 1, periodMs: 60_000 } }, { timeMs: 1000 });
    expect(bench.mutate([upsert('plans', PRO), upsert('plans', PRO)], { timeMs: 1001 }).code).toBe('RATE_LIMITED');
    bench.run({ kind: 'limitWriter', writer: 'loader', limit: { rows: 2, periodMs: 60_000 } });
    expect(bench.mutate([upsert('plans', PRO), upsert('plans', PRO)], { timeMs: 1002 }).code).toBe('OK');
  });

  test('a table that is full takes what makes it no larger', () => {
    const bench = billing();
    bench.mutate([upsert('plans', PRO), upsert('plans', { ...PRO, id: 'two' })]);
    const limit = {
      kind: 'limitTable',
      family: 'billing',
      table: 'plans',
      limit: { warnBytes: 1, maxBytes: 80 },
    } as const;
    expect(bench.run(limit).code).toBe('OK');
    const more = bench.mutate([upsert('plans', { ...PRO, id: 'more' })]);
    expect(more).toMatchObject({ code: 'TABLE_FULL', data: { family: 'billing', table: 'plans', limit: 80 } });
    expect(bench.mutate([upsert('plans', { ...PRO, seats: 9 })]).code).toBe('OK');
    expect(bench.mutate([remove('plans', { id: 'two' })]).code).toBe('OK');
    expect(bench.mutate([upsert('plans', { ...PRO, id: 'two' }), remove('plans', { id: 'pro' })]).code).toBe('OK');
    expect(bench.run({ ...limit, limit: undefined }).code).toBe('OK');
    expect(bench.mutate([upsert('plans', { ...PRO, id: 'more' })]).code).toBe('OK');
    expect(bench.run({ ...limit, limit: undefined }).code).toBe('NOT_FOUND');
    expect(bench.run({ ...limit, table: 'nope' }).code).toBe('NOT_FOUND');
    bench.run({ ...limit, family: '', table: '' });
    expect(bench.mutate([upsert('plans', { ...PRO, id: 'last' })]).code).toBe('TABLE_FULL');
  });

  test('that make no sense are refused', () => {
    const table = { kind: 'limitTable', family: 'billing', table: 'plans' } as const;
    expect(() => control({ ...table, limit: { warnBytes: 2, maxBytes: 1 } })).toThrow('0 < warn ≤ max');
    expect(() => control({ ...table, limit: { warnBytes: 0, maxBytes: 1 } })).toThrow(StoreError);
    const writer = { kind: 'limitWriter', writer: 'loader' } as const;
    expect(() => control({ ...writer, limit: { rows: 1, periodMs: 0 } })).toThrow(StoreError);
  });
});

describe('dropped and cleared tables', () => {
  const filled = (rows: number): ControlBench => {
    const bench = billing();
    for (let begin = 0; begin < rows; begin += 1000) {
      const count = Math.min(1000, rows - begin);
      const mutations = Array.from({ length: count }, (_, i) => upsert('plans', { ...PRO, id: `p${begin + i}` }));
      bench.mutate(mutations);
    }
    return bench;
  };
  const litter = (bench: ControlBench, epoch: number): number =>
    bench.table.keys(rowsPrefix({ id: 1, epoch }), rowsPrefix({ id: 1, epoch: epoch + 1 }), 10_000).length;

  test('have no rows at once; the rows go with later entries, so many with each', () => {
    const bench = filled(2500);
    const cleared = bench.run({ kind: 'clearTable', family: 'billing', table: 'plans' });
    expect(cleared.record.changes).toHaveLength(1);
    expect(bench.rows('plans')).toEqual([]);
    expect(litter(bench, 0)).toBe(2500);
    // It is writable at once, and what is swept is not what is written.
    expect(bench.mutate([upsert('plans', PRO)]).record.changes).toHaveLength(65);
    expect(bench.entry(clock(5)).record.changes).toHaveLength(1024);
    bench.restart();
    expect(bench.entry(put('k', 'v')).record.changes).toHaveLength(65);
    expect(bench.entry(clock(6)).record.changes).toHaveLength(1024);
    expect(bench.machine.nextExpiryMs).toBe(6);
    expect(bench.entry(clock(7)).record.changes).toHaveLength(2500 - 2 * 1024 - 2 * 64);
    expect(bench.entry(clock(8)).record.changes).toEqual([]);
    expect(bench.machine.nextExpiryMs).toBe(Number.POSITIVE_INFINITY);
    expect(litter(bench, 0)).toBe(0);
    expect(bench.rows('plans')).toEqual([PRO]);
  });

  test('count for no limit, and a new table of the name is another one', () => {
    const bench = filled(10);
    bench.run({ kind: 'limitTable', family: 'billing', table: 'plans', limit: { warnBytes: 1, maxBytes: 100 } });
    bench.run({ kind: 'clearTable', family: 'billing', table: 'plans' });
    expect(bench.mutate([upsert('plans', PRO)]).code).toBe('OK');
    expect(bench.run({ kind: 'dropTable', family: 'billing', table: 'plans' }).code).toBe('OK');
    expect(bench.schema('billing', 'plans')).toBeUndefined();
    expect(bench.mutate([upsert('plans', PRO)]).code).toBe('NOT_FOUND');
    bench.createTable('plans', PLANS, ['id']);
    expect(bench.schema('billing', 'plans')).toMatchObject({ id: 2, epoch: 0 });
    expect(bench.rows('plans')).toEqual([]);
    // The limit went with the table.
    expect(bench.mutate(Array.from({ length: 10 }, (_, i) => upsert('plans', { ...PRO, id: `${i}` }))).code).toBe('OK');
    for (const kind of ['dropTable', 'clearTable'] as const) {
      expect(bench.run({ kind, family: 'billing', table: 'nope' }).code).toBe('NOT_FOUND');
    }
  });

  test("a family is cleared of all its tables and of no other one's", () => {
    const bench = billing();
    bench.run({ kind: 'createFamily', family: 'billing_x' });
    bench.createTable('plans', PLANS, ['id'], 'billing_x');
    bench.createTable('more', PLANS, ['id']);
    for (const table of ['plans', 'more']) bench.mutate([upsert(table, PRO)]);
    bench.mutate([upsert('plans', PRO)], { family: 'billing_x' });
    expect(bench.run({ kind: 'clearFamily', family: 'billing' }).code).toBe('OK');
    expect([bench.rows('plans'), bench.rows('more')]).toEqual([[], []]);
    expect(bench.rows('plans', 'billing_x')).toEqual([PRO]);
    expect(bench.run({ kind: 'clearFamily', family: 'nobody' }).code).toBe('NOT_FOUND');
  });
});

test('a batch that is sent again in its session is done once, and refused as it was', () => {
  const bench = billing();
  const session = bench.machine.applied + 1;
  bench.entry(openSession(60_000));
  const write = (seq: number, id: string): ReturnType<ControlBench['entry']> =>
    bench.run({ kind: 'mutate', batch: batchOf([patch('plans', { id, seats: 1 })]) }, { secret: SECRET, session, seq });
  expect(write(1, 'pro').code).toBe('NOT_FOUND');
  bench.mutate([upsert('plans', PRO)]);
  expect(write(1, 'pro')).toMatchObject({ code: 'NOT_FOUND', message: 'mutation 0: there is no such row to patch' });
  bench.restart();
  expect(write(1, 'pro')).toMatchObject({ code: 'NOT_FOUND', message: 'mutation 0: there is no such row to patch' });
  expect(write(2, 'pro').record.changes).toHaveLength(1);
  expect(write(2, 'pro').record.changes).toHaveLength(0);
});

test('what a client sends that is no command is refused, cut anywhere', () => {
  const bench = billing();
  const entry = control({ kind: 'mutate', batch: batchOf([upsert('plans', PRO)]) }, { secret: SECRET });
  const before = JSON.stringify(bench.all());
  for (let end = 24; end < entry.length; end++) {
    expect(bench.apply(entry.slice(0, end)).answer).toMatchObject({ extra: new Uint8Array(0) });
  }
  expect(JSON.stringify(bench.all())).toBe(before);
  expect(bench.apply(entry).answer?.code).toBe(0);
});

test('keys of control data are not for clients to write', () => {
  const reserved = Uint8Array.of(0xff, 0x66);
  expect(() => control({ kind: 'createFamily', family: '\u00ff' })).toThrow(StoreError);
  const bench = new ControlBench();
  // What is in an old log was allowed then, and is applied.
  expect(bench.entry(put(reserved, 'v')).code).toBe('OK');
});
