import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ByteWriter, utf8 } from '../../src/core/base/bytes.ts';
import { encodeRow } from '../../src/core/model/control/row.ts';
import { rowKey } from '../../src/core/model/control/row-key.ts';
import { encodeSchema, tableKey, type TableSchema } from '../../src/core/model/control/schema.ts';
import { encodeValue, type GivenValue } from '../../src/core/model/control/value.ts';
import { LdbWriter } from '../../src/engine/ldb/writer.ts';
import { type Sidecar, startSidecar } from '../../src/sidecar/sidecar.ts';
import { put, records, temporaryDir } from '../engine/ldb/ledger.ts';
import { openApiOf } from '../../src/net/http/openapi.ts';
import { sidecarRoutes } from '../../src/sidecar/routes.ts';
import { bodyFor, isAnswer, type Operation, operationsIn } from '../support/openapi-fuzz.ts';

const SCHEMA: TableSchema = {
  family: 'billing',
  table: 'prices',
  id: 3,
  epoch: 1,
  version: 1,
  created: 1,
  fields: [
    { name: 'plan', type: 'bytestring', added: 0 },
    { name: 'n', type: 'integer', added: 0 },
    { name: 'note', type: 'text', added: 0 },
  ],
  key: [0, 1],
};

function row(values: readonly GivenValue[]): ReturnType<typeof put> {
  const writer = new ByteWriter();
  const tagged = values.map((value) => {
    const one = new ByteWriter();
    encodeValue(one, value);
    return one.take();
  });
  encodeRow(writer, tagged);
  return put(rowKey(SCHEMA, values.slice(0, 2)), writer.take());
}

let dir: ReturnType<typeof temporaryDir>;
let writer: LdbWriter;
let sidecar: Sidecar;

const serve = (rowsMax = 0): Promise<Sidecar> =>
  startSidecar({ dir: dir.path, url: 'http://127.0.0.1:0', rowsMax, besideWriter: true });

beforeEach(async () => {
  dir = temporaryDir();
  writer = await LdbWriter.open(dir.path);
  sidecar = await serve();
});

afterEach(async () => {
  await sidecar.close();
  await writer.close();
  dir.remove();
});

/** Log time is now, so that latency is small. */
async function fill(): Promise<void> {
  const rows = [
    row([utf8('pro'), 2n ** 60n, 'é']),
    row([utf8('pro'), 7, null]),
    row([Uint8Array.of(0xff, 0), -1, 'x']),
  ];
  await writer.apply(records(1, [put(tableKey('billing', 'prices'), encodeSchema(SCHEMA))], rows), 'c');
}

async function ask(path: string, body?: unknown): Promise<{ status: number; text: string; headers: Headers }> {
  const init =
    body === undefined ? {} : { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) };
  const response = await fetch(sidecar.url + path, init);
  return { status: response.status, text: await response.text(), headers: response.headers };
}

describe('get-row-by-key', () => {
  const path = '/get-row-by-key/billing/prices';
  beforeEach(fill);

  test('gives the row, all digits of its numbers, and bytes as base64', async () => {
    const body = '{"Key":[{"Value":"pro"},{"Value":1152921504606846976}]}';
    const { status, text } = await ask(path, body);
    expect([status, text]).toEqual([200, '{"plan":"cHJv","n":1152921504606846976,"note":"é"}']);
    expect(await ask('/get-row-by-key/BILLING/Prices', body.toUpperCase().replace('PRO', 'pro'))).toMatchObject({
      status,
    });
  });

  test('a key of bytes', async () => {
    const { text } = await ask(path, { Key: [{ Binary: '/wA=' }, { Value: -1 }] });
    expect(JSON.parse(text)).toEqual({ plan: '/wA=', n: -1, note: 'x' });
  });

  test('no such row is 404 with a header, and nothing in its body', async () => {
    const { status, text, headers } = await ask(path, { key: [{ value: 'pro' }, { value: 8 }] });
    expect([status, text, headers.get('x-ctlstore')]).toEqual([404, '', 'Not Found']);
  });

  test.each([
    ['no such table', '/get-row-by-key/billing/nothing', { Key: [{ Value: 1 }] }, 404, 'NOT_FOUND'],
    ['too few keys', path, { Key: [{ Value: 'pro' }] }, 400, 'BAD_REQUEST'],
    ['too many', path, { Key: [{ Value: 'pro' }, { Value: 1 }, { Value: 1 }] }, 400, 'BAD_REQUEST'],
    ['another type', path, { Key: [{ Value: 'pro' }, { Value: 'x' }] }, 400, 'BAD_REQUEST'],
    ['no JSON', path, '{', 400, 'BAD_REQUEST'],
    ['another shape', path, { Keys: [] }, 400, 'BAD_REQUEST'],
    ['no base64', path, { Key: [{ Binary: '!' }, { Value: 1 }] }, 400, 'BAD_REQUEST'],
    ['a name that is none', '/get-row-by-key/x/prices', { Key: [] }, 400, 'BAD_REQUEST'],
  ])('%s is told', async (_what, at, body, status, code) => {
    const answer = await ask(at, body);
    expect([answer.status, answer.headers.get('ctlmesh-code'), answer.headers.get('x-ctlstore')]).toEqual([
      status,
      code,
      null,
    ]);
  });
});

describe('get-rows-by-key-prefix', () => {
  const path = '/get-rows-by-key-prefix/billing/prices';
  const numbers = (text: string): unknown[] => (JSON.parse(text) as { note: string }[]).map(({ note }) => note);

  test('gives an array, also of nothing, in the order of the key', async () => {
    await fill();
    expect(numbers((await ask(path, { Key: [{ Value: 'pro' }] })).text)).toEqual([null, 'é']);
    expect((await ask(path, { Key: [{ Value: 'none' }] })).text).toBe('[]');
    expect(numbers((await ask(path, {})).text)).toEqual([null, 'é', 'x']);
  });

  test('more rows than it may give are 416, and not the first of them', async () => {
    await fill();
    await sidecar.close();
    sidecar = await serve(2);
    expect(await ask(path, {})).toMatchObject({ status: 416, text: '' });
    expect(numbers((await ask(path, { Key: [{ Value: 'pro' }] })).text)).toHaveLength(2);
  });

  test('many rows come in pieces, and all of them', async () => {
    await fill();
    const rows = Array.from({ length: 3_000 }, (_, i) => row([utf8('many'), i, 'x'.repeat(100)]));
    await writer.apply(records(3, rows), 'c');
    const { text } = await ask(path, { Key: [{ Value: 'many' }] });
    expect(text.length).toBeGreaterThan(300_000);
    expect(JSON.parse(text)).toHaveLength(3_000);
  });
});

test('a replica that is not there, or was never filled, is told apart; then it is served, without a restart', async () => {
  expect(await ask('/get-ledger-latency')).toMatchObject({
    status: 500,
    text: 'no ledger updates have been received yet',
  });
  expect((await ask('/ping')).status).toBe(500);
  await fill();
  const { status, text } = await ask('/get-ledger-latency');
  expect([status, JSON.parse(text)]).toEqual([200, { value: expect.any(Number) as number, unit: 'seconds' }]);
  for (const path of ['/ping', '/healthcheck']) expect(await ask(path)).toMatchObject({ status: 200, text: '' });
  await sidecar.close();
  const nowhere = temporaryDir();
  sidecar = await startSidecar({ dir: nowhere.path, url: 'http://127.0.0.1:0' });
  expect((await ask('/ping')).status).toBe(503);
  expect(await ask('/nothing')).toMatchObject({ status: 404 });
  nowhere.remove();
});

test('whatever is asked, the answer is one of the sidecar’s own', async () => {
  await fill();
  const unused = (): never => {
    throw new Error('only their document is wanted');
  };
  const operations = operationsIn(openApiOf(sidecarRoutes({ ldb: unused, rowsMax: 0 }), 'sidecar'));
  expect(operations).toHaveLength(5);
  const name = fc.oneof(fc.constantFrom('billing', 'prices', 'PRICES'), fc.string({ unit: 'binary', minLength: 1 }));
  const asked = fc
    .nat(operations.length - 1)
    .map((n) => operations[n] as Operation)
    .chain((operation) => fc.tuple(fc.constant(operation), name, name, bodyFor(operation, ['pro', 'value', 'cHJv'])));
  await fc.assert(
    fc.asyncProperty(asked, async ([{ request }, family, table, body]) => {
      const [method = '', path = ''] = request
        .replace('{family}', encodeURIComponent(family.toWellFormed()))
        .replace('{table}', encodeURIComponent(table.toWellFormed()))
        .split(' ');
      const response = await fetch(sidecar.url + path, method === 'GET' ? {} : { method, body: body as string });
      await response.arrayBuffer();
      const { status, headers } = response;
      // A row that is not there has a header instead of a code.
      const isMissing = status === 404 && headers.get('x-ctlstore') === 'Not Found';
      const code = headers.get('ctlmesh-code') ?? '';
      expect([request, status, code, isMissing || isAnswer({ status, code })]).toEqual([request, status, code, true]);
    }),
    { numRuns: Number(process.env['CTLMESH_HTTP_FUZZ'] ?? 150) },
  );
});
