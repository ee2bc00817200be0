/**
 * kvctl's commands for tables, rows and writers, against a node that runs in this process.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseExact, rowJson } from '../../src/cli/kvctl/control-values.ts';
import { connect } from '../../src/client/index.ts';
import { type RunningNode, startNode } from '../../src/node.ts';
import { kvctl, type Ran } from './fixtures/fake-kvctl.ts';

const dir = mkdtempSync(join(tmpdir(), 'ctlmesh-kvctl-'));
let node: RunningNode;
let url: string;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

beforeAll(async () => {
  const [client, peer, http] = await Promise.all([freePort(), freePort(), freePort()]);
  url = `ws://127.0.0.1:${client}`;
  const own = {
    client: url,
    peer: `ws://127.0.0.1:${peer}`,
    http: `http://127.0.0.1:${http}`,
    dataDir: join(dir, 'n1'),
  };
  node = await startNode({ cluster: 'test', nodes: { n1: own } }, 'n1', { logger: pino({ level: 'silent' }) });
});
afterAll(async () => {
  await node.stop();
  rmSync(dir, { recursive: true, force: true });
});

const ctl = (words: string, stdin = ''): Promise<Ran> =>
  kvctl(words.split(' '), { stdin, env: { CTLMESH_SECRET: 'a secret' }, connect: () => connect(url) });
const out = async (words: string, stdin = ''): Promise<string> => {
  const ran = await ctl(words, stdin);
  expect(ran, words).toMatchObject({ code: 0 });
  return ran.out;
};

describe('families, tables and rows', () => {
  test('are made, filled from NDJSON and shown', async () => {
    expect(await out('family create Billing')).toMatch(/^revision \d+\n$/);
    await out('table create billing plans --field id:string n:integer logo:binary --key id n');
    await out('table add-fields billing plans --field price:decimal');
    expect(await out('family list')).toBe('billing\n');
    expect(await out('table list')).toBe('billing plans\t0 rows, 0 B, 0.0 % of 100 MiB\n');
    expect(await out('schema billing plans')).toBe(
      'id\tstring\nn\tinteger\nlogo\tbinary\nprice\tdecimal\nprimary key\tid, n\n',
    );
    await out('writer register loader');
    const lines = [
      '{"table":"plans","upsert":{"id":"pro","n":9007199254740993,"logo":"AP8=","price":9.5}}',
      '{"table":"plans","values":{"id":"pro","n":"-1","logo":null}}',
      '',
      '{"table":"plans","upsert":{"id":"x","n":1,"logo":""}}',
      '{"table":"plans","delete":{"id":"x","n":1}}',
    ];
    const loaded = await ctl('mutate - --family billing --writer loader --batch 2', lines.join('\n'));
    expect(loaded).toMatchObject({ code: 0, out: '' });
    expect(loaded.err).toMatch(/^4 mutations in /);
    expect(await out('row list billing plans')).toBe(
      '{"id":"pro","n":-1,"logo":null,"price":null}\n{"id":"pro","n":"9007199254740993","logo":"AP8=","price":9.5}\n',
    );
    expect(await out('row get billing plans pro 9007199254740993')).toContain('"price":9.5');
    expect(await out('row list billing plans pro --limit 1')).toContain('"n":-1');
    expect(await ctl('row get billing plans pro 7')).toMatchObject({ code: 1, err: 'kvctl: no such row: pro 7\n' });
    expect(await ctl('row get billing plans pro seven')).toMatchObject({ code: 2 });
    expect(await ctl('schema billing nope')).toMatchObject({ code: 1 });
  });

  test('are refused with the line, and what was before it stays', async () => {
    const good = '{"table":"plans","upsert":{"id":"good","n":1,"logo":null}}';
    const bad = '{"table":"plans","upsert":{"id":"bad","n":1.5,"logo":null}}';
    const file = join(dir, 'rows.ndjson');
    writeFileSync(file, [good, good, bad].join('\n'));
    const ran = await ctl(`mutate ${file} --family billing --writer loader --batch 2`);
    expect(ran.code).toBe(1);
    expect(ran.err).toContain('kvctl: line 3: mutation 0: Field n is of type');
    expect(ran.err).toContain('2 mutations in ');
    expect(await out('row get billing plans good 1')).toContain('good');
    const wrong = ['{"table":"plans"}', '{"upsert":{}}', '[]', 'no json', '{"table":"plans","upsert":{"id":["x"]}}'];
    for (const line of wrong) {
      expect(await ctl('mutate - --family billing --writer loader', line)).toMatchObject({ code: 2 });
    }
    expect(await ctl('mutate /nope --family billing --writer loader')).toMatchObject({ code: 2 });
  });

  test('are dropped and cleared only where that is enabled', async () => {
    for (const words of ['table drop billing plans', 'table clear billing plans', 'family clear billing']) {
      const { code, err } = await ctl(words);
      expect([code, err.includes('DISABLED')]).toEqual([1, true]);
    }
  });
});

test('writers, cookies and limits are shown and changed', async () => {
  await out('writer register other');
  await out('cookie set other one');
  expect(await out('cookie get other')).toBe('one');
  await out('limit writer other --rows 5 --per 1m');
  await out('limit table billing plans --max 1MiB');
  await out('limit writer --rows 7');
  expect(await out('limit list')).toBe(
    'writers\t7 rows in 1.0 min\ntables\t100 MiB (warn 50.0 MiB)\nwriter other\t5 rows in 1.0 min\n' +
      'table billing.plans\t1.0 MiB (warn 512 KiB)\t3 rows, 142 B, 0.0 % of 1.0 MiB\n',
  );
  await out('limit table billing plans --max 150B --warn 100B');
  expect(await out('limit list')).toContain('3 rows, 142 B, 94.7 % of 150 B: past its warning at 100 B');
  // By the limit of all: shown only because it is past it.
  await out('limit table billing plans');
  await out('limit table --max 50B');
  expect(await out('limit list')).toContain(
    'table billing.plans\t50 B (warn 25 B)\t3 rows, 142 B, 284.0 % of 50 B: full\n',
  );
  expect(JSON.parse(await out('table list --json'))).toMatchObject({ rows: 3, bytes: 142, limit: { maxBytes: 50 } });
  await out('limit table --max 100MiB --warn 50MiB');
  expect(await out('writer list')).toBe('loader\nother\t5 rows in 1.0 min\n');
  await out('limit writer');
  const file = join(dir, 'secret');
  writeFileSync(file, 'another\n');
  await out(`writer rotate other --secret-file ${file}`);
  expect(await ctl('cookie get other')).toMatchObject({ code: 1 });
  expect(await out(`cookie get other --secret-file ${file}`)).toBe('one');
  await out('writer delete other');
  expect(await ctl(`writer register third --secret-file ${join(dir, 'nope')}`)).toMatchObject({ code: 2 });
  expect(await kvctl(['writer', 'register', 'third'])).toMatchObject({ code: 2 });
});

test('no whole number is rounded on its way through JSON', () => {
  expect(parseExact('[9007199254740993, 1, 1.5, 1e300, -9007199254740993, "9007199254740993"]')).toEqual([
    ...[9007199254740993n, 1, 1.5, 1e300, -9007199254740993n, '9007199254740993'],
  ]);
  expect(rowJson({ a: 2n ** 60n, b: 1 })).toBe('{"a":"1152921504606846976","b":1}');
});
