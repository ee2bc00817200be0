/**
 * A cluster that wants to know who asks: every route of the HTTP API with every role, the client port and kvctl; and no
 * token in what the node says.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect } from '../../../src/client/index.ts';
import { startReflector } from '../../../src/reflector/index.ts';
import { until } from '../../support/cluster-process.ts';
import { type HttpNode, startHttpNode } from '../../support/http-node.ts';
import { kvctl } from '../../cli/fixtures/fake-kvctl.ts';

const TOKENS = { read: 'planted-token-of-read', write: 'planted-token-of-write', admin: 'planted-token-of-admin' };
type Role = keyof typeof TOKENS;
const ROLES: readonly Role[] = ['read', 'write', 'admin'];

let node: HttpNode;
let dir: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'ctlmesh-callers-'));
  const callers = ROLES.map((role) => {
    return [role, { role, tokenSha256: createHash('sha256').update(TOKENS[role]).digest('hex') }] as const;
  });
  node = await startHttpNode({ callers: Object.fromEntries(callers) });
});
afterAll(async () => {
  await node.stop();
  rmSync(dir, { recursive: true, force: true });
});

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

test('every route says what it needs, and is refused to whoever may not', async () => {
  const { paths } = JSON.parse((await node.ask('GET /openapi.json')).body) as {
    paths: Record<string, Record<string, { 'x-role'?: Role }>>;
  };
  const open: string[] = [];
  const of: Record<Role, string[]> = { read: [], write: [], admin: [] };
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, { 'x-role': role }] of Object.entries(methods)) {
      const operation = `${method.toUpperCase()} ${path}`;
      (role === undefined ? open : of[role]).push(operation);
      const request = operation.replace(/\{\w+\}/g, 'none');
      const body = method === 'get' ? {} : { body: 'x' };
      const outcome = async (headers: Record<string, string>): Promise<string> =>
        (await node.ask(request, { ...body, headers: { ...headers, 'ctlmesh-deadline-ms': '5000' } })).code;
      if (role === undefined || path === '/sleep') continue;
      expect([operation, await outcome({}), await outcome(bearer('planted-token-of-nobody'))]).toEqual([
        operation,
        'TOKEN_INVALID',
        'TOKEN_INVALID',
      ]);
      for (const [rank, asking] of ROLES.entries()) {
        const isForbidden = (await outcome(bearer(TOKENS[asking]))) === 'FORBIDDEN';
        expect([operation, asking, isForbidden]).toEqual([operation, asking, rank < ROLES.indexOf(role)]);
      }
    }
  }
  expect(open.toSorted()).toEqual([
    'GET /',
    'GET /healthz',
    'GET /metrics',
    'GET /openapi.json',
    'GET /readyz',
    'GET /status',
  ]);
  expect(of.write.toSorted()).toEqual([
    'PATCH /families/{family}/mutations',
    'POST /cookie',
    'POST /families/{family}/mutations',
  ]);
  expect(of.read.every((operation) => operation.startsWith('GET '))).toBe(true);
  expect(of.admin.some((operation) => operation.startsWith('GET '))).toBe(false);
});

test('who is refused is told how to ask, before anything of the body is read', async () => {
  const got = await node.ask('POST /families/billing', { body: 'x'.repeat(2_000_000) });
  expect([got.status, got.code, got.headers.get('www-authenticate')]).toEqual([401, 'TOKEN_INVALID', 'Bearer']);
  expect((await node.ask('POST /families/billing', { headers: bearer(TOKENS.read) })).status).toBe(403);
  expect((await node.ask('POST /families/billing', { headers: bearer(TOKENS.admin) })).status).toBe(200);
  expect((await node.ask('GET /families', { headers: bearer(TOKENS.read) })).body).toContain('"billing"');
});

test('the client port asks the same, and the node’s own calls are not asked', async () => {
  const anonymous = await connect(node.client);
  await expect(anonymous.get('k')).rejects.toMatchObject({ code: 'TOKEN_INVALID' });
  await expect(anonymous.range()[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'TOKEN_INVALID' });
  expect(await anonymous.status()).toMatchObject({ node: 'n1' });
  await anonymous.close();
  const writer = await connect(node.client, { token: TOKENS.write });
  await writer.put('k', 'v');
  await expect(writer.control.createFamily('other')).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await writer.close();
});

test('a replica follows with the token of whoever may read, where no readers are named', async () => {
  const endpoints = [node.client];
  await using anonymous = await startReflector({ endpoints, dir: join(dir, 'anonymous') });
  expect(await anonymous.failed).toMatchObject({ code: 'TOKEN_INVALID' });
  await using reflector = await startReflector({ endpoints, dir: join(dir, 'ldb'), token: TOKENS.read });
  await until('the replica is filled', () => reflector.status.revision > 0);
});

test('kvctl shows a token from a file or the environment', async () => {
  const file = join(dir, 'token');
  writeFileSync(file, `${TOKENS.read}\n`);
  const run = (words: string, token?: string): ReturnType<typeof kvctl> =>
    kvctl(['--endpoints', node.client, ...words.split(' ')], {
      env: token === undefined ? {} : { CTLMESH_TOKEN: token },
      connect: (urls, options) => connect(urls, options),
    });
  expect(await run('get k')).toMatchObject({ code: 1, err: expect.stringContaining('TOKEN_INVALID') });
  expect(await run('get k', TOKENS.read)).toMatchObject({ code: 0, out: 'v\n' });
  expect(await run(`--token-file ${file} get k`, 'another')).toMatchObject({ code: 0, out: 'v\n' });
  expect(await run(`--token-file ${file} put k w`)).toMatchObject({
    code: 1,
    err: expect.stringContaining('FORBIDDEN'),
  });
  expect(await run(`--token-file ${file}.none get k`)).toMatchObject({ code: 2 });
});

test('no token is in a log line or a metric', async () => {
  const { body } = await node.ask('GET /metrics', { headers: bearer(TOKENS.admin) });
  for (const said of [body, ...node.logged]) expect(said.includes('planted-token')).toBe(false);
});
