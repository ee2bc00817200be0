/**
 * Rows, cookies, writers and limits over HTTP, a real node behind.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Got } from '../../support/http-client.ts';
import { writerHeaders } from '../../support/http-client.ts';
import {
  BAD,
  base64,
  HttpFixture,
  type HttpNode,
  OK,
  type Outcome,
  outcome,
  startHttpNode,
} from '../../support/http-node.ts';

let node: HttpNode;
let fixture: HttpFixture;

const SECRET = 'planted-secret-7461';

beforeAll(async () => {
  node = await startHttpNode({ destructiveSchemaChanges: true });
  fixture = await HttpFixture.create(node.ask, SECRET);
});
afterAll(() => node.stop());

describe('rows', () => {
  const fields = [
    ['id', 'string'],
    ['n', 'integer'],
    ['d', 'decimal'],
    ['t', 'text'],
    ['b', 'binary'],
    ['s', 'bytestring'],
  ] as const;
  const full = { id: 'a', n: 1, d: 1.5, t: 'x', b: base64('hi'), s: base64('\0') };

  test('values come back as they were sent', async () => {
    const name = await fixture.family(['plans', fields]);
    const values = [
      full,
      { id: '😀 \\n \\', n: -1, d: -0.1, t: 'nul \0 inside 😀', b: '', s: base64('x'.repeat(255)) },
      { id: '', n: null, d: null, t: null, b: null, s: null },
      { id: 'true', n: true, d: 7, t: '', b: null, s: null },
    ];
    for (const row of values)
      expect(await outcome(fixture.mutate(name, [{ table: 'plans', values: row }]))).toEqual(OK);
    const rows = await fixture.rowsOf(name, 'plans');
    expect(rows).toHaveLength(4);
    expect(rows).toEqual(expect.arrayContaining([values[0], values[1], values[2], { ...values[3], n: 1 }]));
  });

  test('64-bit numbers keep every digit, in and out', async () => {
    const name = await fixture.family(['plans', fields]);
    const digits = ['9007199254740993', '-9223372036854775808', '9223372036854775807'];
    for (const [i, n] of digits.entries()) {
      const body = `{"mutations":[{"table":"plans","values":{"id":"${i}","n":${n},"d":null,"t":null,"b":null,"s":null}}]}`;
      expect(await outcome(node.ask(`POST /families/${name}/mutations`, { body, headers: fixture.headers }))).toEqual(
        OK,
      );
      expect((await node.ask(`GET /row/${name}/plans?key=${i}`)).body).toContain(`"n":${n},`);
    }
    const beyond =
      '{"mutations":[{"table":"plans","values":{"id":"x","n":9223372036854775808,"d":1,"t":"","b":"","s":""}}]}';
    expect(
      (await node.ask(`POST /families/${name}/mutations`, { body: beyond, headers: fixture.headers })).status,
    ).toBe(400);
  });

  test.each([
    ['a field is missing', { id: 'a' }, 400, 'Missing field n'],
    ['a field is unknown', { ...full, more: 1 }, 400, 'Unknown field more'],
    ['a value of another type', { ...full, n: 'many' }, 400, 'Field n'],
    ['what is no base64', { ...full, b: 'not base64!' }, 400, 'Field b'],
    ['a list', { ...full, t: ['x'] }, 400, 'a value is null'],
    ['an object', { ...full, t: { x: 1 } }, 400, 'a value is null'],
    ['half a character', { ...full, t: '\ud800' }, 400, ''],
    ['too much', { ...full, t: 'x'.repeat(768 * 1024) }, 413, 'bytes'],
    ['a key that is too long', { ...full, id: 'k'.repeat(2000) }, 400, 'key'],
  ])('%s: refused, and nothing of the batch is written', async (_what, values, status, message) => {
    const name = await fixture.family(['plans', fields]);
    const got = await fixture.mutate(name, [
      { table: 'plans', values: full },
      { table: 'plans', values },
    ]);
    expect(got.status).toBe(status);
    expect(got.body).toContain(message);
    expect(await fixture.rowsOf(name, 'plans')).toEqual([]);
  });

  test('a batch is one change over several tables; the same row again replaces the first', async () => {
    const name = await fixture.family(
      [
        'plans',
        [
          ['id', 'string'],
          ['price', 'decimal'],
        ],
      ],
      [
        'limits',
        [
          ['id', 'string'],
          ['rps', 'integer'],
        ],
      ],
    );
    const both = await fixture.mutate(name, [
      { table: 'plans', values: { id: 'pro', price: 10 } },
      { table: 'limits', values: { id: 'pro', rps: 5 } },
      { table: 'plans', values: { id: 'pro', price: 12.5 } },
    ]);
    expect([both.status, both.body]).toEqual([200, '']);
    expect(Number(both.headers.get('ctlmesh-revision'))).toBeGreaterThan(0);
    expect(await fixture.rowsOf(name, 'plans')).toEqual([{ id: 'pro', price: 12.5 }]);
    const deletes = [
      { table: 'plans', delete: true, values: { id: 'pro' } },
      { table: 'limits', delete: true, values: { id: 'none' } },
    ];
    expect(await outcome(fixture.mutate(name, deletes))).toEqual(OK);
    expect([await fixture.rowsOf(name, 'plans'), await fixture.rowsOf(name, 'limits')]).toEqual([
      [],
      [{ id: 'pro', rps: 5 }],
    ]);
  });

  test('a patch changes what it names, of a row that is there', async () => {
    const name = await fixture.family([
      'plans',
      [
        ['id', 'string'],
        ['a', 'integer'],
        ['b', 'integer'],
      ],
    ]);
    await fixture.mutate(name, [{ table: 'plans', values: { id: 'pro', a: 1, b: 2 } }]);
    expect(await outcome(fixture.mutate(name, [{ table: 'plans', patch: true, values: { id: 'pro', a: 7 } }]))).toEqual(
      OK,
    );
    const body = { mutations: [{ table: 'plans', values: { id: 'pro', b: 8 } }] };
    expect(await outcome(node.ask(`PATCH /families/${name}/mutations`, { body, headers: fixture.headers }))).toEqual(
      OK,
    );
    expect(await fixture.rowsOf(name, 'plans')).toEqual([{ id: 'pro', a: 7, b: 8 }]);
    const none = { table: 'plans', patch: true, values: { id: 'none', a: 7 } };
    expect(await outcome(fixture.mutate(name, [none]))).toEqual([404, 'NOT_FOUND']);
    expect(await outcome(fixture.mutate(name, [{ ...none, delete: true }]))).toEqual(BAD);
  });

  test('what a batch names must be there, and there are at most a thousand', async () => {
    const name = await fixture.family(['plans', [['id', 'string']]]);
    const one = { table: 'plans', values: { id: 'a' } };
    expect(await outcome(fixture.mutate('nowhere', [one]))).toEqual([404, 'NOT_FOUND']);
    expect(await outcome(fixture.mutate(name, [one, { table: 'none', values: { id: 'a' } }]))).toEqual([
      404,
      'NOT_FOUND',
    ]);
    expect(await outcome(fixture.mutate(name, []))).toEqual(BAD);
    const many = (count: number): object[] =>
      Array.from({ length: count }, (_, i) => ({ table: 'plans', values: { id: `${i}` } }));
    expect(await outcome(fixture.mutate(name, many(1001)))).toEqual([413, 'TXN_TOO_LARGE']);
    expect(await outcome(fixture.mutate(name, many(1000)))).toEqual(OK);
    const listed = JSON.parse((await node.ask(`GET /rows/${name}/plans`)).body) as { rows: unknown[]; more: boolean };
    expect([listed.rows.length, listed.more]).toEqual([1000, false]);
    const few = JSON.parse((await node.ask(`GET /rows/${name}/plans?limit=2`)).body) as {
      rows: unknown[];
      more: boolean;
    };
    expect([few.rows, few.more]).toEqual([[{ id: '0' }, { id: '1' }], true]);
    const lines = (await node.ask(`GET /rows/${name}/plans`, { headers: { accept: 'application/x-ndjson' } })).body;
    expect(lines.trimEnd().split('\n')).toHaveLength(1000);
  });

  test('are read by key and by its leading parts, of every type of key', async () => {
    const name = await fixture.family();
    const keyed = [
      ['a', 'string'],
      ['n', 'integer'],
      ['s', 'bytestring'],
      ['v', 'text'],
    ];
    await node.ask(`POST /families/${name}/tables/deep`, { body: { fields: keyed, keyFields: ['a', 'n', 's'] } });
    const row = (a: string, n: number, s: string): object => ({ a, n, s: base64(s), v: `${a}${n}${s}` });
    const rows = [row('a', -1, 'x'), row('a', 10, 'x'), row('a', 10, 'y'), row('ab', 2, 'x')];
    await fixture.mutate(
      name,
      rows.map((values) => ({ table: 'deep', values })),
    );
    const read = async (query: string): Promise<unknown> =>
      (JSON.parse((await node.ask(`GET /rows/${name}/deep?${query}`)).body) as { rows: unknown }).rows;
    expect(await read('')).toEqual(rows);
    expect(await read('key=a')).toEqual(rows.slice(0, 3));
    expect(await read('key=a&key=10')).toEqual(rows.slice(1, 3));
    expect(await read(`key=a&key=10&key64=${encodeURIComponent(base64('y'))}&consistency=local`)).toEqual(
      rows.slice(2, 3),
    );
    expect(await read('key=')).toEqual([]);
    expect(JSON.parse((await node.ask(`GET /row/${name}/deep?key=a&key=-1&key=x`)).body)).toEqual(rows[0]);
    expect(await outcome(node.ask(`GET /row/${name}/deep?key=a&key=-2&key=x`))).toEqual([404, 'NOT_FOUND']);
    for (const query of [
      'key=a&key=1&key=x&key=y',
      'key=a&key=many',
      'limit=0',
      'consistency=none',
      'key=a&key=1&key64=.',
    ]) {
      expect([query, (await node.ask(`GET /rows/${name}/deep?${query}`)).status]).toEqual([query, 400]);
    }
    expect(await outcome(node.ask(`GET /row/${name}/deep?key=a`))).toEqual(BAD);
    expect(await outcome(node.ask(`GET /rows/${name}/none`))).toEqual([404, 'NOT_FOUND']);
  });
});

describe('writers and cookies', () => {
  test('a writer is who knows its secret', async () => {
    const name = await fixture.family(['plans', [['id', 'string']]]);
    const one = [{ table: 'plans', values: { id: 'a' } }];
    expect(await outcome(node.ask('POST /writers/owner', { body: 'first' }))).toEqual(OK);
    expect(await outcome(node.ask('POST /writers/owner', { body: 'first' }))).toEqual(OK);
    expect(await outcome(node.ask('POST /writers/owner', { body: 'second' }))).toEqual([409, 'ALREADY_EXISTS']);
    expect(await outcome(node.ask('POST /writers/owner', { body: 'ab' }))).toEqual(BAD);
    expect(await outcome(node.ask('POST /writers/owner', { body: 'x'.repeat(101) }))).toEqual(BAD);
    const as = (writer: string, secret: string): Promise<Outcome> =>
      outcome(fixture.mutate(name, one, {}, writerHeaders({ writer, secret })));
    expect(await as('owner', 'first')).toEqual(OK);
    expect(await as('owner', 'second')).toEqual([403, 'FORBIDDEN']);
    expect(await as('nobody', 'first')).toEqual([404, 'NOT_FOUND']);
    expect(await outcome(fixture.mutate(name, one, {}, {}))).toEqual(BAD);
    expect(await outcome(node.ask('PUT /writers/owner', { body: 'second' }))).toEqual(OK);
    expect([await as('owner', 'first'), await as('owner', 'second')]).toEqual([[403, 'FORBIDDEN'], OK]);
    expect((await node.ask('GET /writers')).body).toMatch(/"name":"owner"/);
    expect(await outcome(node.ask('DELETE /writers/owner'))).toEqual(OK);
    expect(await as('owner', 'second')).toEqual([404, 'NOT_FOUND']);
  });

  test('a cookie goes with its rows, and guards them', async () => {
    const name = await fixture.family([
      'plans',
      [
        ['id', 'string'],
        ['n', 'integer'],
      ],
    ]);
    const headers = writerHeaders({ writer: 'copier', secret: 'sesame' });
    await node.ask('POST /writers/copier', { body: 'sesame' });
    const batch = (n: number, more: object): Promise<Got> =>
      fixture.mutate(name, [{ table: 'plans', values: { id: 'a', n } }], more, headers);
    const cookie = async (): Promise<string> => (await node.ask('GET /cookie', { headers })).body;
    expect(await outcome(batch(1, { cookie: base64('one') }))).toEqual(OK);
    expect(await cookie()).toBe('one');
    expect(await outcome(batch(2, { cookie: base64('two'), check_cookie: base64('one') }))).toEqual(OK);
    expect(await outcome(batch(3, { cookie: base64('three'), check_cookie: base64('one') }))).toEqual([
      409,
      'COOKIE_CONFLICT',
    ]);
    expect([await cookie(), await fixture.rowsOf(name, 'plans')]).toEqual(['two', [{ id: 'a', n: 2 }]]);
    expect(await outcome(batch(4, { cookie: base64('two'), check_cookie: base64('two') }))).toEqual(OK);
    expect(await outcome(batch(5, { cookie: null, check_cookie: null }))).toEqual(OK);
    expect(await cookie()).toBe('two');
    expect(await outcome(batch(6, { cookie: base64('x'.repeat(1025)) }))).toEqual(BAD);
    expect(await outcome(batch(6, { check_cookie: base64('x'.repeat(1025)) }))).toEqual(BAD);
    expect(await outcome(batch(6, { cookie: '?' }))).toEqual(BAD);
    expect(await fixture.rowsOf(name, 'plans')).toEqual([{ id: 'a', n: 5 }]);

    expect(await outcome(node.ask('POST /cookie', { headers, body: Uint8Array.of(0, 255, 10) }))).toEqual(OK);
    expect(Buffer.from(await (await fetch(`${node.url}/cookie`, { headers })).arrayBuffer())).toEqual(
      Buffer.from([0, 255, 10]),
    );
    const long = await node.ask('POST /cookie', { headers, body: 'x'.repeat(1025) });
    expect([long.status, long.body]).toEqual([400, expect.stringContaining('Maximum cookie length is 1024 bytes')]);
  });

  test('who knows only the name of a writer learns nothing', async () => {
    for (const headers of [
      writerHeaders({ writer: 'loader', secret: 'wrong' }),
      writerHeaders({ writer: 'nobody', secret: 'wrong' }),
    ]) {
      for (const request of ['GET /cookie', 'POST /cookie']) {
        const got = await node.ask(request, { headers });
        expect([got.status, got.code]).toEqual([404, 'NOT_FOUND']);
        expect(got.body).toContain('Writer not found');
      }
    }
  });
});

describe('limits', () => {
  test('of writers: set, shown, enforced, forgotten', async () => {
    const name = await fixture.family(['plans', [['id', 'string']]]);
    const headers = writerHeaders({ writer: 'limited', secret: 'sesame' });
    await node.ask('POST /writers/limited', { body: 'sesame' });
    const write = (count: number): Promise<Got> =>
      fixture.mutate(
        name,
        Array.from({ length: count }, (_, i) => ({ table: 'plans', values: { id: `${i}` } })),
        {},
        headers,
      );
    const limit = (amount: number, period: unknown): Promise<Outcome> =>
      outcome(node.ask('POST /limits/writers/limited', { body: { amount, period } as object }));
    const shown = async (): Promise<unknown> => JSON.parse((await node.ask('GET /limits/writers')).body);

    expect(await limit(2, '1s')).toEqual(OK);
    expect(await shown()).toEqual({
      global: null,
      writers: [{ writer: 'limited', 'rate-limit': { amount: 120, period: 60e9 } }],
    });
    expect(await limit(5, '24h')).toEqual(OK);
    expect(await outcome(write(4))).toEqual(OK);
    const refused = await write(2);
    expect([refused.status, refused.code]).toEqual([429, 'RATE_LIMITED']);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await outcome(write(1))).toEqual(OK);
    expect(await outcome(write(1))).toEqual([429, 'RATE_LIMITED']);
    // A window that ends lets the next batch through.
    expect(await limit(1, '200ms')).toEqual(OK);
    await expect.poll(() => write(1).then(({ status }) => status)).toBe(200);

    expect(await limit(1, 60e9)).toEqual(OK);
    for (const period of ['a year', '', '1', '-1m', 0, '1ns', true, null])
      expect([period, await limit(1, period)]).toEqual([period, BAD]);
    expect(await limit(-1, '1m')).toEqual(BAD);
    expect(await outcome(node.ask('POST /limits/writers/limited', { body: '{' }))).toEqual(BAD);
    expect(await outcome(node.ask('POST /limits/writers/nobody', { body: { amount: 1, period: '1m' } }))).toEqual([
      404,
      'NOT_FOUND',
    ]);
    expect(await outcome(node.ask('DELETE /limits/writers/limited'))).toEqual(OK);
    expect(await outcome(node.ask('DELETE /limits/writers/limited'))).toEqual([404, 'NOT_FOUND']);
    expect(await outcome(write(100))).toEqual(OK);
    expect(await outcome(node.ask('PUT /limits/writers', { body: { amount: 1000, period: '1m' } }))).toEqual(OK);
    expect(await shown()).toEqual({ global: { amount: 1000, period: 60e9 }, writers: [] });
    expect(await outcome(node.ask('DELETE /limits/writers'))).toEqual(OK);
  });

  test('of tables: a full one takes deletes, and nothing that makes it larger', async () => {
    const name = await fixture.family([
      'plans',
      [
        ['id', 'string'],
        ['t', 'text'],
      ],
    ]);
    const put = (id: string, chars: number): Promise<Outcome> =>
      outcome(fixture.mutate(name, [{ table: 'plans', values: { id, t: 'x'.repeat(chars) } }]));
    const limit = (body: object): Promise<Outcome> => outcome(node.ask(`POST /limits/tables/${name}/plans`, { body }));
    expect(await limit({ 'max-size': 2000, 'warn-size': 1000 })).toEqual(OK);
    expect(JSON.parse((await node.ask('GET /limits/tables')).body)).toEqual({
      global: { 'max-size': 100 * 1024 * 1024, 'warn-size': 50 * 1024 * 1024 },
      tables: [{ 'max-size': 2000, 'warn-size': 1000, family: name, table: 'plans' }],
    });
    expect(await put('a', 1500)).toEqual(OK);
    const shown = JSON.parse((await node.ask('GET /tables')).body) as { family: string }[];
    const size = expect.toSatisfy((bytes: number) => bytes > 1500 && bytes < 1600) as number;
    expect(shown.filter(({ family }) => family === name)).toEqual([
      { family: name, name: 'plans', rows: 1, size, 'max-size': 2000, 'warn-size': 1000 },
    ]);
    expect(await put('b', 1500)).toEqual([507, 'TABLE_FULL']);
    expect(await outcome(fixture.mutate(name, [{ table: 'plans', delete: true, values: { id: 'a' } }]))).toEqual(OK);
    expect(await put('b', 1500)).toEqual(OK);
    expect(await limit({ 'max-size': 1, 'warn-size': 2 })).toEqual(BAD);
    expect(await limit({ 'max-size': 'x' })).toEqual(BAD);
    expect(await limit({ 'max-size': -1, 'warn-size': -1 })).toEqual(BAD);
    expect(
      await outcome(node.ask(`POST /limits/tables/${name}/none`, { body: { 'max-size': 2, 'warn-size': 1 } })),
    ).toEqual([404, 'NOT_FOUND']);
    expect(await outcome(node.ask(`DELETE /limits/tables/${name}/plans`))).toEqual(OK);
    expect(await outcome(node.ask(`DELETE /limits/tables/${name}/plans`))).toEqual([404, 'NOT_FOUND']);
  });
});
