/**
 * TestLdb as its users have it: through the package's own name, with a program under test that opens the replica itself.
 */
import { existsSync } from 'node:fs';
import { openLdb } from 'ctlmesh/ldb';
import { TestLdb, type TestLdbOptions } from 'ctlmesh/testing/ldb';
import { afterEach, expect, test } from 'vitest';

const BILLING = {
  plans: {
    fields: { id: 'string', seats: 'integer', price: 'decimal' },
    key: ['id'],
    rows: [
      { id: 'pro', seats: 2n ** 60n, price: 9.5 },
      { id: 'free', seats: null, price: 0 },
    ],
  },
} as const;

const made: TestLdb[] = [];
afterEach(() => Promise.all(made.splice(0).map((ldb) => ldb.close())));

async function create(options?: TestLdbOptions): Promise<TestLdb> {
  const ldb = await TestLdb.create(options);
  made.push(ldb);
  return ldb;
}

test('rows and entries are there, and each update is one revision that readers see', async () => {
  const ldb = await create({ families: { billing: BILLING }, entries: { 'flags/new-ui': 'on' } });
  const { reader } = ldb;
  expect(reader.getRowByKey('billing', 'plans', ['pro'])).toEqual({ id: 'pro', seats: 2n ** 60n, price: 9.5 });
  expect([reader.get('flags/new-ui')?.text(), reader.cluster]).toEqual(['on', 'test']);
  expect(reader.lagMs()).toBeLessThan(Number.POSITIVE_INFINITY);

  const before = reader.revision;
  const revision = await ldb.update({
    family: 'billing',
    mutations: [
      { table: 'plans', patch: { id: 'pro', price: 10 } },
      { table: 'plans', delete: { id: 'free' } },
      { table: 'plans', upsert: { id: 'team', seats: 5, price: 49 } },
    ],
  });
  expect([revision, reader.revision]).toEqual([before + 1, before + 1]);
  expect(Array.from(reader.getRowsByKeyPrefix('billing', 'plans'), ({ id, price }) => [id, price])).toEqual([
    ['pro', 10],
    ['team', 49],
  ]);
  await ldb.update({ entries: { 'flags/new-ui': null, 'flags/old-ui': Uint8Array.of(0xff) } });
  expect([reader.get('flags/new-ui'), reader.get('flags/old-ui')?.value]).toEqual([undefined, Uint8Array.of(0xff)]);
});

test('what a cluster refuses is refused with its error, and changes nothing', async () => {
  const ldb = await create({ families: { billing: BILLING } });
  const { revision } = ldb.reader;
  const refused = (mutation: object): Promise<unknown> =>
    ldb.update({ family: 'billing', mutations: [{ table: 'plans', ...mutation } as never] });
  await expect(refused({ upsert: { id: 'a', seats: 'many', price: 1 } })).rejects.toMatchObject({
    ...{ code: 'SCHEMA_MISMATCH', data: { mutation: 0 } },
  });
  await expect(refused({ patch: { id: 'none', seats: 1 } })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(ldb.update({ entries: { '': 'x' } })).rejects.toMatchObject({ code: 'KEY_INVALID' });
  await expect(ldb.createTable('billing', 'plans', BILLING.plans)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  await ldb.update({ entries: { fine: 'x' } });
  expect(Array.from(ldb.reader.getRowsByKeyPrefix('billing', 'plans'))).toHaveLength(2);
  expect(ldb.reader.revision).toBeGreaterThan(revision);
});

test('tables change under a program that reads; log time passes when it is told to', async () => {
  const ldb = await create({ families: { billing: BILLING }, timeMs: 1_000_000 });
  const program = openLdb(ldb.dir, { besideWriter: true, nowMs: () => 1_005_000 });
  expect(program.lagMs()).toBe(5000);
  await ldb.addFields('billing', 'plans', { note: 'text' });
  program.refresh();
  expect(program.getRowByKey('billing', 'plans', ['free'])).toEqual({ id: 'free', seats: null, price: 0, note: null });
  await ldb.clearTable('billing', 'plans');
  program.refresh();
  expect(Array.from(program.getRowsByKeyPrefix('billing', 'plans'))).toEqual([]);
  await ldb.dropTable('billing', 'plans');
  await ldb.pass(4000);
  program.refresh();
  expect(() => program.getRowByKey('billing', 'plans', ['pro'])).toThrow('Table not found');
  expect(program.lagMs()).toBe(1000);
  program.close();
});

test('closing removes it, twice is fine, and one that cannot be made leaves nothing', async () => {
  const ldb = await create();
  await ldb.close();
  await ldb.close();
  expect(existsSync(ldb.dir)).toBe(false);
  await expect(ldb.update({ entries: { a: 'b' } })).rejects.toMatchObject({ code: 'CLOSED' });
  const bad = { families: { billing: { plans: { fields: { id: 'decimal' }, key: ['id'] } } } } as const;
  await expect(TestLdb.create(bad)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
});
