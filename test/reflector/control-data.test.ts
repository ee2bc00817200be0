/**
 * Tables, from the SDK through a node and reflectors into replicas: one of everything, one of a part, by their tokens.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openLdb } from '../../src/engine/ldb/index.ts';
import type { LdbReader } from '../../src/engine/ldb/reader.ts';
import { type RunningNode, startNode } from '../../src/index.ts';
import { type RunningReflector, startReflector } from '../../src/reflector/index.ts';
import { temporaryDir } from '../engine/ldb/ledger.ts';

const TOKENS = { all: 'the-token-of-the-backup', edge: 'the-token-of-the-edge' };
const sha256 = (token: string): string => createHash('sha256').update(token).digest('hex');
const SECRET = 'a-writer-secret-nobody-may-see';

let dir: ReturnType<typeof temporaryDir>;
let node: RunningNode;
let endpoint: string;
let reflectors: RunningReflector[] = [];
let readers: LdbReader[] = [];

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

beforeEach(async () => {
  dir = temporaryDir();
  const [client, peer, http] = [await freePort(), await freePort(), await freePort()];
  endpoint = `ws://127.0.0.1:${client}`;
  const n1 = {
    client: endpoint,
    peer: `ws://127.0.0.1:${peer}`,
    http: `http://127.0.0.1:${http}`,
    dataDir: join(dir.path, 'n1'),
  };
  const config = {
    nodes: { n1 },
    destructiveSchemaChanges: true,
    readers: {
      backup: { tokenSha256: sha256(TOKENS.all), all: true },
      edge: { tokenSha256: sha256(TOKENS.edge), tables: ['billing/plans'], prefixes: ['flags/'] },
    },
  };
  node = await startNode(config, 'n1', { logger: pino({ level: 'silent' }) });
});

afterEach(async () => {
  for (const reader of readers) reader.close();
  for (const reflector of reflectors) await reflector.stop();
  [readers, reflectors] = [[], []];
  await node.stop();
  dir.remove();
});

async function replica(
  name: string,
  token: string,
): Promise<{ ldb: () => LdbReader; reflector: RunningReflector; dir: string }> {
  const at = join(dir.path, name);
  const reflector = await startReflector({ endpoints: [endpoint], dir: at, token, retryDelayMs: 5 });
  reflectors.push(reflector);
  let reader: LdbReader | undefined;
  const ldb = (): LdbReader => {
    if (reader === undefined) readers.push((reader = openLdb(at, { besideWriter: true })));
    reader.refresh();
    return reader;
  };
  return { ldb, reflector, dir: at };
}

async function caughtUp(...all: readonly RunningReflector[]): Promise<void> {
  const { applied } = node.status();
  for (let i = 0; all.some(({ status }) => status.revision < applied); i++) {
    if (i > 2_000) throw new Error(`a replica never came to revision ${applied}`);
    await sleep(5);
  }
}

test('each replica has what it may have, at every revision it is at; secrets and others’ data never leave the node', async () => {
  const { control } = node;
  await control.createFamily('billing');
  await control.createTables([
    { family: 'billing', table: 'plans', fields: { id: 'string', price: 'decimal', seats: 'integer' }, key: ['id'] },
    { family: 'billing', table: 'internal', fields: { id: 'integer', margin: 'text' }, key: ['id'] },
  ]);
  await control.registerWriter('importer', SECRET);
  const writer = { family: 'billing', writer: 'importer', secret: SECRET };
  const plan = (id: string, seats: number | bigint): { table: string; upsert: Record<string, unknown> } => ({
    table: 'plans',
    upsert: { id, price: 9.5, seats },
  });
  const mutate = (...mutations: readonly object[]): Promise<unknown> =>
    control.mutate({ ...writer, mutations: mutations as never, cookie: 'place-1' });
  await mutate(plan('pro', 5), { table: 'internal', upsert: { id: 1, margin: 'the-margin' } });
  await node.put('flags/new-ui', 'on');
  await node.put('private/thing', 'not-for-the-edge');

  const everything = await replica('all', TOKENS.all);
  const edge = await replica('edge', TOKENS.edge);
  await caughtUp(everything.reflector, edge.reflector);
  const pro = { id: 'pro', price: 9.5, seats: 5 };
  for (const { ldb } of [everything, edge]) {
    expect(ldb().getRowByKey('billing', 'plans', ['pro'])).toEqual(pro);
    expect(ldb().get('flags/new-ui')?.text()).toBe('on');
  }
  expect(everything.ldb().getRowByKey('billing', 'internal', [1])).toEqual({ id: 1, margin: 'the-margin' });
  expect(() => edge.ldb().getRowByKey('billing', 'internal', [1])).toThrow(
    expect.objectContaining({ code: 'NOT_FOUND' }),
  );
  expect(edge.ldb().get('private/thing')).toBeUndefined();

  // What changes afterwards: rows, fields, the tables themselves; in enough revisions that hashes are compared.
  await control.addFields('billing', 'plans', { note: 'text' });
  for (let i = 0; i < 100; i++) await mutate(plan(`p${i}`, 2n ** 60n + BigInt(i)));
  await caughtUp(everything.reflector, edge.reflector);
  for (const { ldb } of [everything, edge]) {
    const rows = [...ldb().getRowsByKeyPrefix('billing', 'plans')];
    expect(rows).toHaveLength(101);
    expect(ldb().getRowByKey('billing', 'plans', ['p7'])).toMatchObject({ seats: 2n ** 60n + 7n, note: null });
  }
  await control.dropTable('billing', 'plans');
  await mutate({ table: 'internal', delete: { id: 1 } });
  await caughtUp(everything.reflector, edge.reflector);
  expect(() => edge.ldb().getRowByKey('billing', 'plans', ['pro'])).toThrow(
    expect.objectContaining({ code: 'NOT_FOUND' }),
  );
  expect(everything.reflector.status).toMatchObject({ divergences: 0, retries: 0, snapshots: 0 });

  const bytes = readFileSync(join(edge.dir, 'data.mdb')).toString('latin1');
  for (const never of ['the-margin', 'not-for-the-edge', 'internal', 'private/thing'])
    expect(bytes).not.toContain(never);
  for (const { dir: at } of [everything, edge]) {
    const file = readFileSync(join(at, 'data.mdb')).toString('latin1');
    for (const never of [SECRET, createHash('sha256').update(SECRET).digest().toString('latin1'), 'place-1']) {
      expect(file.includes(never)).toBe(false);
    }
  }
});

test('a replica without a valid token is refused, and told so', async () => {
  const nobody = await replica('nobody', 'a-token-that-nobody-has');
  expect(await nobody.reflector.failed).toMatchObject({ code: 'FORBIDDEN' });
});
