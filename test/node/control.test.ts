/**
 * Families, tables, rows and writers through the SDK, on one node that runs in this process: black-box tests of what
 * ctlstore's executive does (and what it does not).
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Control, MutateRequest, TableSizeView } from '../../src/client/control-types.ts';
import type { ClusterConfigInput } from '../../src/config/index.ts';
import type { StoreError } from '../../src/core/base/errors.ts';
import { type RunningNode, startNode } from '../../src/node.ts';

const SECRET = 'a secret of the loader';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const dataDir = mkdtempSync(join(tmpdir(), 'ctlmesh-control-'));
let input: ClusterConfigInput;
let node: RunningNode;
let db: Control;

async function start(more: Partial<ClusterConfigInput> = {}): Promise<void> {
  node = await startNode({ ...input, ...more }, 'n1', { logger: pino({ level: 'silent' }) });
  db = node.control;
}

beforeAll(async () => {
  const [client, peer, http] = await Promise.all([freePort(), freePort(), freePort()]);
  const own = { client: `ws://127.0.0.1:${client}`, peer: `ws://127.0.0.1:${peer}`, http: `http://127.0.0.1:${http}` };
  input = { cluster: 'test', memtableBytes: 1024 * 1024, nodes: { n1: { ...own, dataDir } } };
  await start({ destructiveSchemaChanges: true });
  await db.createFamily('Billing');
  await db.createTable('billing', 'plans', {
    fields: { id: 'string', seats: 'integer', price: 'decimal' },
    key: ['id'],
  });
  await db.createTable('billing', 'prices', {
    fields: [
      ['plan', 'string'],
      ['region', 'bytestring'],
      ['n', 'integer'],
      ['note', 'text'],
    ],
    key: ['plan', 'region', 'n'],
  });
  await db.registerWriter('loader', SECRET);
});
afterAll(async () => {
  await node.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

const loader = (mutations: MutateRequest['mutations'], more: Partial<MutateRequest> = {}): MutateRequest => ({
  ...{ family: 'billing', writer: 'loader', secret: SECRET, mutations },
  ...more,
});

const sizeOf = async (table: string): Promise<TableSizeView | undefined> =>
  (await db.tableSizes()).find((one) => one.table === table);

const metrics = async (): Promise<string> => (await fetch(`${input.nodes['n1']?.http ?? ''}/metrics`)).text();

async function all<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const row of rows) list.push(row);
  return list;
}

describe('rows', () => {
  test('are written as one and read by key, names in any case', async () => {
    const { revision } = await db.mutate(
      loader([
        { table: 'PLANS', upsert: { ID: 'pro', seats: 2n ** 60n, price: 9.5 } },
        { table: 'plans', upsert: { id: 'free', seats: 1, price: 0 } },
        { table: 'prices', upsert: { plan: 'pro', region: Buffer.from('eu'), n: 1, note: 'a\0b 😀' } },
      ]),
    );
    expect(revision).toBeGreaterThan(0);
    expect(await db.getRow('billing', 'Plans', ['pro'])).toEqual({ id: 'pro', seats: 2n ** 60n, price: 9.5 });
    expect(await db.getRow('billing', 'prices', ['pro', 'eu', 1])).toMatchObject({ note: 'a\0b 😀' });
    expect(await db.getRow('billing', 'plans', ['nope'])).toBeUndefined();
    await expect(db.getRow('billing', 'nope', ['x'])).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(db.getRow('billing', 'prices', ['pro'])).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });

  test('are ranged by equality on leading key fields, in the order of their keys', async () => {
    const price = (plan: string, region: string, n: number): MutateRequest['mutations'][number] => ({
      table: 'prices',
      upsert: { plan, region: Buffer.from(region), n, note: null },
    });
    await db.mutate(loader([price('a', 'x', 2), price('a', 'x', -1), price('a', 'y', 0), price('ab', 'x', 0)]));
    const found = async (...prefix: (string | number)[]): Promise<string[]> =>
      (await all(db.rows('billing', 'prices', prefix))).map(({ plan, region, n }) =>
        [plan, Buffer.from(region as Uint8Array).toString(), n].join(' '),
      );
    expect(await found('a')).toEqual(['a x -1', 'a x 2', 'a y 0']);
    expect(await found('a', 'x')).toEqual(['a x -1', 'a x 2']);
    expect(await found('a', 'x', 2)).toEqual(['a x 2']);
    expect(await found('nope')).toEqual([]);
    expect(await all(db.rows('billing', 'prices', ['a'], { limit: 1 }))).toHaveLength(1);
    await expect(all(db.rows('billing', 'prices', ['a', 'x', 2, 3]))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });

  test('of a bad batch are not written, and the error says which and why', async () => {
    const bad = loader([
      { table: 'plans', upsert: { id: 'x1', seats: 1, price: 1 } },
      { table: 'plans', upsert: { id: 'x2', seats: 1.5, price: 1 } },
    ]);
    await expect(db.mutate(bad)).rejects.toMatchObject({
      code: 'SCHEMA_MISMATCH',
      http: 400,
      message: expect.stringContaining('mutation 1: Field seats is of type'),
      data: { mutation: 1, field: 'seats', table: 'plans', family: 'billing' },
    });
    expect(await db.getRow('billing', 'plans', ['x1'])).toBeUndefined();
    await expect(
      db.mutate(loader([{ table: 'plans', upsert: { id: '\ud800', seats: 1, price: 1 } }])),
    ).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      data: { field: 'id', mutation: 0 },
    });
    const many = Array.from({ length: 1001 }, () => ({ table: 'plans', delete: { id: 'x' } }));
    await expect(db.mutate(loader(many))).rejects.toMatchObject({ code: 'TXN_TOO_LARGE', http: 413 });
    await expect(db.mutate(loader([]))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });

  test('are what watches see, and ordinary ranges and watches of everything do not', async () => {
    const { revision } = await node.put('zzz', 'last');
    await db.mutate(loader([{ table: 'plans', patch: { id: 'free', seats: 2 } }]));
    const { revision: after } = await node.put('zzz', 'again');
    const seen: string[] = [];
    for await (const event of node.watch({ fromRevision: revision })) {
      seen.push(event.keyText());
      if (event.revision === after) break;
    }
    expect(seen).toEqual(['zzz', 'zzz']);
    for await (const event of node.watch({ prefix: Uint8Array.of(0xff), fromRevision: revision })) {
      expect(event.key[0]).toBe(0xff);
      break;
    }
    const keys = async (options: Parameters<RunningNode['range']>[0]): Promise<string[]> =>
      (await all(node.range(options))).map((entry) => Buffer.from(entry.key).toString('latin1'));
    expect(await keys({})).toEqual(['zzz']);
    expect(await keys({ reverse: true })).toEqual(['zzz']);
    expect(await keys({ from: 'z', to: Uint8Array.of(0xff, 0xff) })).toEqual(['zzz']);
    expect(node.rangeSync().map((entry) => entry.keyText())).toEqual(['zzz']);
    expect((await keys({ prefix: Uint8Array.of(0xff) })).length).toBeGreaterThan(3);
  });

  test('lie at keys that nobody else may write', async () => {
    const key = Uint8Array.of(0xff, 0x66, 0x78);
    await expect(node.put(key, 'v')).rejects.toMatchObject({ code: 'KEY_INVALID' });
    await expect(node.delete(key)).rejects.toMatchObject({ code: 'KEY_INVALID' });
    await expect(node.txn((t) => t.ifAbsent(key).put('k', 'v'))).rejects.toMatchObject({ code: 'KEY_INVALID' });
  });
});

describe('schemas', () => {
  test('are listed, and read as they were declared', async () => {
    expect(await db.families()).toEqual(['billing']);
    expect((await db.tables('billing')).map(({ table }) => table)).toEqual(['plans', 'prices']);
    expect(await db.tables('nobody')).toEqual([]);
    expect(await db.schema('BILLING', 'Plans')).toMatchObject({
      ...{ family: 'billing', table: 'plans', version: 1, key: ['id'] },
      fields: [
        { name: 'id', type: 'string', added: 0 },
        { name: 'seats', type: 'integer', added: 0 },
        { name: 'price', type: 'decimal', added: 0 },
      ],
    });
    expect(await db.schema('billing', 'nope')).toBeUndefined();
  });

  test('change under a reader who remembers the old one', async () => {
    await db.createTable('billing', 'moving', { fields: { id: 'integer', v: 'text' }, key: ['id'] });
    const write = (id: number, v: string): Promise<unknown> =>
      db.mutate(loader([{ table: 'moving', upsert: { id, v } }]));
    await write(1, 'one');
    expect(await db.getRow('billing', 'moving', [1])).toEqual({ id: 1, v: 'one' });
    await db.addFields('billing', 'moving', { more: 'integer' });
    expect(await db.getRow('billing', 'moving', [1])).toEqual({ id: 1, v: 'one', more: null });
    await db.clearTable('billing', 'moving');
    expect(await db.getRow('billing', 'moving', [1])).toBeUndefined();
    expect(await all(db.rows('billing', 'moving'))).toEqual([]);
    await write(2, 'two');
    expect(await all(db.rows('billing', 'moving'))).toEqual([{ id: 2, v: 'two', more: null }]);
    await db.dropTable('billing', 'moving');
    await expect(db.getRow('billing', 'moving', [2])).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(all(db.rows('billing', 'moving'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await db.createTable('billing', 'moving', { fields: { id: 'string' }, key: ['id'] });
    expect(await all(db.rows('billing', 'moving'))).toEqual([]);
    await db.dropTable('billing', 'moving');
  });

  test('that are refused say why', async () => {
    await expect(db.createFamily('billing')).rejects.toMatchObject({ code: 'ALREADY_EXISTS', http: 409 });
    const plans = { fields: { id: 'decimal' }, key: ['id'] } as const;
    await expect(db.createTable('billing', 'odd', plans)).rejects.toMatchObject({
      message: "Fields of type 'decimal' cannot be a key field",
      http: 400,
    });
    await expect(db.createTable('nobody', 'tab', { fields: { id: 'string' }, key: ['id'] })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      http: 404,
    });
  });
});

describe('writers', () => {
  test('are listed without their secrets, and keep a cookie', async () => {
    expect(await db.cookie('loader', SECRET)).toEqual(new Uint8Array(0));
    await db.mutate(loader([{ table: 'plans', delete: { id: 'none' } }], { cookie: 'one', checkCookie: '' }));
    expect(Buffer.from(await db.cookie('loader', SECRET)).toString()).toBe('one');
    await expect(
      db.mutate(loader([{ table: 'plans', delete: { id: 'free' } }], { cookie: 'two', checkCookie: 'zero' })),
    ).rejects.toMatchObject({ code: 'COOKIE_CONFLICT', http: 409 });
    expect(await db.getRow('billing', 'plans', ['free'])).toBeDefined();
    expect(Buffer.from(await db.cookie('loader', SECRET)).toString()).toBe('one');
    await expect(db.cookie('loader', 'wrong')).rejects.toMatchObject({ code: 'FORBIDDEN', http: 403 });
    await expect(db.cookie('nobody', 'wrong')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(db.registerWriter('loader', 'another')).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await db.registerWriter('loader', SECRET);
    expect(await db.writers()).toEqual([{ name: 'loader', created: expect.any(Number), limit: null }]);
    await db.registerWriter('passing', 'through');
    await db.rotateWriter('passing', 'changed');
    await expect(db.setCookie('passing', 'through', 'c')).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await db.setCookie('passing', 'changed', 'c');
    await db.deleteWriter('passing');
    expect(await db.writers({ consistency: 'local' })).toHaveLength(1);
  });

  test('have limits, and so have tables', async () => {
    await db.limitWriter('loader', { rows: 1, periodMs: 60_000 });
    const two = loader(['a', 'b'].map((id) => ({ table: 'plans', delete: { id } })));
    await expect(db.mutate(two)).rejects.toMatchObject({
      code: 'RATE_LIMITED',
      http: 429,
      data: { limit: 1, size: 2 },
    });
    await db.limitTable({ family: 'billing', table: 'plans' }, { warnBytes: 1, maxBytes: 2 });
    expect(await db.limits()).toEqual({
      defaults: { writers: null, tables: { warnBytes: 50 * 2 ** 20, maxBytes: 100 * 2 ** 20 } },
      writers: [{ name: 'loader', limit: { rows: 1, periodMs: 60_000 } }],
      tables: [{ family: 'billing', table: 'plans', limit: { warnBytes: 1, maxBytes: 2 } }],
    });
    for (const wrong of [-1, Number.NaN, 0.5]) {
      await expect(db.limitWriter('loader', { rows: wrong, periodMs: 1 })).rejects.toMatchObject({
        code: 'BAD_REQUEST',
      });
      const limit = { warnBytes: wrong, maxBytes: 2 };
      await expect(db.limitTable(undefined, limit)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    }
    await db.limitWriter('loader', undefined);
    const plans = await sizeOf('plans');
    expect(plans).toMatchObject({ rows: (await all(db.rows('billing', 'plans'))).length, limit: { maxBytes: 2 } });
    const series = await metrics();
    for (const line of [
      `ctlmesh_control_table_bytes{family="billing",table="plans",node="n1"} ${plans?.bytes}`,
      `ctlmesh_control_table_limit_bytes{family="billing",table="plans",node="n1"} 2`,
      `ctlmesh_control_tables{state="full",node="n1"} 1`,
      `ctlmesh_control_tables{state="warned",node="n1"} 0`,
    ]) {
      expect(series).toContain(line);
    }
    const more = loader([{ table: 'plans', upsert: { id: 'more', seats: 1, price: 1 } }]);
    const refusal = (await db.mutate(more).catch((error: unknown) => error)) as StoreError;
    expect(refusal).toMatchObject({ code: 'TABLE_FULL', http: 507, data: { limit: 2 } });
    await db.mutate(two);
    await db.limitTable({ family: 'billing', table: 'plans' }, undefined);
    await db.mutate(more);
    expect((await sizeOf('plans'))?.bytes).toBe(refusal.data['size']);
  });
});

test('all of it is there after a restart, and tables cannot be dropped where that is not enabled', async () => {
  const rows = await all(db.rows('billing', 'plans'));
  const sizes = await db.tableSizes();
  expect(sizes.length).toBeGreaterThan(1);
  // Enough for the memtable to be flushed: writers then come from tables, not from the log.
  for (let i = 0; i < 3; i++) await node.put('big', new Uint8Array(700_000));
  await node.stop();
  await start();
  expect(await all(db.rows('billing', 'plans'))).toEqual(rows);
  expect(await db.tableSizes({ consistency: 'local' })).toEqual(sizes);
  expect(Buffer.from(await db.cookie('loader', SECRET)).toString()).toBe('one');
  await db.mutate(loader([{ table: 'plans', patch: { id: 'pro', seats: 3 } }]));
  expect(await db.getRow('billing', 'plans', ['pro'])).toEqual({ id: 'pro', seats: 3, price: 9.5 });
  for (const refused of [
    db.dropTable('billing', 'plans'),
    db.clearTable('billing', 'plans'),
    db.clearFamily('billing'),
  ]) {
    await expect(refused).rejects.toMatchObject({ code: 'DISABLED', http: 403 });
  }
});

test('no secret is in any file of the node', () => {
  const files = readdirSync(dataDir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  expect(files.length).toBeGreaterThan(3);
  for (const { parentPath, name } of files) {
    expect(readFileSync(join(parentPath, name)).includes(SECRET), name).toBe(false);
  }
});
