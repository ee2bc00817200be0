/**
 * The executive as its users have it: HTTP in, HTTP out, a real node behind. In the order of the acceptance groups that
 * ctlstore's own tests make: names, tables, schemas, clearing; then what is ours. Rows, writers and limits are in
 * rows.test.ts.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Got } from '../../support/http-client.ts';
import { BAD, base64, HttpFixture, type HttpNode, OK, outcome, startHttpNode } from '../../support/http-node.ts';

let node: HttpNode;
let fixture: HttpFixture;

const SECRET = 'planted-secret-7461';

beforeAll(async () => {
  node = await startHttpNode({ destructiveSchemaChanges: true });
  fixture = await HttpFixture.create(node.ask, SECRET);
});
afterAll(() => node.stop());

describe('names', () => {
  test.each([
    ['abc', OK],
    ['ABC_9', OK],
    ['ab', BAD],
    ['a'.repeat(30), OK],
    ['b'.repeat(31), BAD],
    ['a__b', BAD],
    ['9abc', BAD],
    ['a%20b', BAD],
    ['_abc', BAD],
  ])('of a family: %s', async (name, expected) => {
    expect(await outcome(node.ask(`POST /families/${name}`))).toEqual(expected);
  });

  test('are one in any case; a message says what is wrong with one', async () => {
    await node.ask('POST /families/cased');
    const again = await node.ask('POST /families/CASED');
    expect([again.status, again.code, again.body]).toEqual([409, 'ALREADY_EXISTS', 'Family already exists: cased']);
    expect((await node.ask('POST /families/x')).body).toContain('must be at least 3 characters');
    const table = { fields: [['ID', 'String']], keyFields: ['Id'] };
    expect(await outcome(node.ask('POST /families/Cased/tables/Plans', { body: table }))).toEqual(OK);
    expect(JSON.parse((await node.ask('GET /schema/table/cASED/pLANS')).body)).toEqual({
      ...{ family: 'cased', name: 'plans', fields: [['id', 'string']], keyFields: ['id'] },
    });
    expect(await outcome(node.ask(`POST /families/cased/tables/${'t'.repeat(51)}`, { body: table }))).toEqual(BAD);
    const long = { fields: [[`f${'x'.repeat(64)}`, 'string']], keyFields: ['id'] };
    expect(await outcome(node.ask('POST /families/cased/tables/other', { body: long }))).toEqual(BAD);
  });

  test('of a writer: 3 to 50 characters, as it stands', async () => {
    expect(await outcome(node.ask('POST /writers/ab', { body: 'secret' }))).toEqual(BAD);
    expect(await outcome(node.ask(`POST /writers/${'w'.repeat(51)}`, { body: 'secret' }))).toEqual(BAD);
    expect(await outcome(node.ask('POST /writers/Some%20Writer%2F1', { body: 'secret' }))).toEqual(OK);
  });
});

describe('tables', () => {
  test.each([
    ['bad JSON', '{', 'JSON Error: '],
    ['no field is a key', { fields: [['id', 'string']], keyFields: [] }, 'table must have at least one key field'],
    [
      'a key that is no field',
      { fields: [['id', 'string']], keyFields: ['x'] },
      "Primary key field 'x' not specified as a field",
    ],
    [
      'a decimal as key',
      { fields: [['id', 'decimal']], keyFields: ['id'] },
      "Fields of type 'decimal' cannot be a key field",
    ],
    ['a type that is none', { fields: [['id', 'bool']], keyFields: ['id'] }, "Field #0: Type 'bool' unknown"],
    [
      'a field of one part',
      { fields: [['id', 'string'], ['a']], keyFields: ['id'] },
      'Field #1 is malformed: expected 2 elements, got 1',
    ],
    [
      'a field of three',
      { fields: [['id', 'string', 'x']], keyFields: ['id'] },
      'Field #0 is malformed: expected 2 elements, got 3',
    ],
    ['a field of a number', { fields: [['id', 7]], keyFields: ['id'] }, 'JSON Error: fields.0.1'],
    ['no fields at all', {}, 'JSON Error: fields'],
  ])('%s is refused with its reason, and leaves nothing', async (_what, body, message) => {
    const name = await fixture.family();
    const got = await node.ask(`POST /families/${name}/tables/plans`, { body });
    expect([got.status, got.code]).toEqual(BAD);
    expect(got.body).toContain(message);
    expect(JSON.parse((await node.ask(`GET /families/${name}/tables`)).body)).toEqual([]);
  });

  test('are there once, and only in a family that is there', async () => {
    const name = await fixture.family(['plans', [['id', 'string']]]);
    const body = { fields: [['id', 'string']], keyFields: ['id'] };
    expect(await outcome(node.ask(`POST /families/${name}/tables/plans`, { body }))).toEqual([409, 'ALREADY_EXISTS']);
    expect(await outcome(node.ask('POST /families/nowhere/tables/plans', { body }))).toEqual([404, 'NOT_FOUND']);
  });

  test('get more fields, all of them or none; rows that are there have null in them', async () => {
    const name = await fixture.family(['plans', [['id', 'string']]]);
    await fixture.mutate(name, [{ table: 'plans', values: { id: 'pro' } }]);
    const types = ['string', 'integer', 'decimal', 'text', 'binary', 'bytestring'];
    const fields = types.map((type, i) => [`f${i}`, type]);
    expect(await outcome(node.ask(`PUT /families/${name}/tables/plans`, { body: { fields } }))).toEqual(OK);
    const more = {
      fields: [
        ['fresh', 'text'],
        ['f3', 'text'],
      ],
    };
    expect(await outcome(node.ask(`PUT /families/${name}/tables/plans`, { body: more }))).toEqual([
      409,
      'ALREADY_EXISTS',
    ]);
    const schema = JSON.parse((await node.ask(`GET /schema/table/${name}/plans`)).body) as { fields: unknown };
    expect(schema.fields).toEqual([['id', 'string'], ...fields]);
    expect(await fixture.rowsOf(name, 'plans')).toEqual([
      { id: 'pro', f0: null, f1: null, f2: null, f3: null, f4: null, f5: null },
    ]);
    // Who does not know them goes on as before.
    expect(await outcome(fixture.mutate(name, [{ table: 'plans', values: { id: 'old' } }]))).toEqual(OK);
    expect(await outcome(node.ask(`PUT /families/${name}/tables/none`, { body: { fields } }))).toEqual([
      404,
      'NOT_FOUND',
    ]);
    expect(await outcome(node.ask('PUT /families/nowhere/tables/none', { body: { fields } }))).toEqual([
      404,
      'NOT_FOUND',
    ]);
  });

  test('many at once are made all or none', async () => {
    const name = await fixture.family();
    const table = (table: string): object => ({
      family: name,
      name: table,
      fields: [['id', 'string']],
      keyFields: ['id'],
    });
    expect(await outcome(node.ask('POST /tables', { body: [table('one'), table('two')] }))).toEqual(OK);
    expect(await outcome(node.ask('POST /tables', { body: [table('three'), table('two')] }))).toEqual([
      409,
      'ALREADY_EXISTS',
    ]);
    expect(JSON.parse((await node.ask(`GET /families/${name}/tables`)).body)).toEqual(['one', 'two']);
    expect(JSON.parse((await node.ask('GET /families')).body)).toContain(name);
  });

  test('many clients at once: each change is there, and has a revision of its own', async () => {
    const name = await fixture.family();
    const body = { fields: [['id', 'string']], keyFields: ['id'] };
    const made = Array.from({ length: 20 }, (_, i) => node.ask(`POST /families/${name}/tables/table${i}`, { body }));
    const revisions = (await Promise.all(made)).map(({ headers }) => Number(headers.get('ctlmesh-revision')));
    expect(new Set(revisions).size).toBe(20);
    expect(JSON.parse((await node.ask(`GET /schema/family/${name}`)).body)).toHaveLength(20);
  });

  test('a schema that is not there is 404', async () => {
    const got = await node.ask(`GET /schema/table/${await fixture.family()}/none`);
    expect([got.status, got.code]).toEqual([404, 'NOT_FOUND']);
    expect(got.body).toContain('table does not exist');
    expect(await outcome(node.ask('GET /schema/family/nowhere'))).toEqual([404, 'NOT_FOUND']);
    expect(await outcome(node.ask('GET /schema/family/%20'))).toEqual(BAD);
  });
});

describe('what takes rows away', () => {
  test('clears a table, a family, and drops a table', async () => {
    const name = await fixture.family(['one', [['id', 'string']]], ['two', [['id', 'string']]]);
    const fill = (): Promise<Got> =>
      fixture.mutate(
        name,
        ['one', 'two'].map((table) => ({ table, values: { id: 'a' } })),
      );
    await fill();
    expect(await outcome(node.ask(`DELETE /clear-rows/families/${name}/tables/one`))).toEqual(OK);
    expect([await fixture.rowsOf(name, 'one'), await fixture.rowsOf(name, 'two')]).toEqual([[], [{ id: 'a' }]]);
    await fill();
    expect(await outcome(node.ask(`DELETE /clear-rows/families/${name}`))).toEqual(OK);
    expect([await fixture.rowsOf(name, 'one'), await fixture.rowsOf(name, 'two')]).toEqual([[], []]);
    expect(await outcome(node.ask(`DELETE /families/${name}/tables/one`))).toEqual(OK);
    expect(await outcome(node.ask(`DELETE /families/${name}/tables/one`))).toEqual([404, 'NOT_FOUND']);
    for (const path of [`/clear-rows/families/${name}/tables/one`, '/clear-rows/families/nowhere']) {
      expect(await outcome(node.ask(`DELETE ${path}`))).toEqual([404, 'NOT_FOUND']);
    }
    for (const path of ['/clear-rows/families/a__b', `/families/${name}/tables/%20`]) {
      expect(await outcome(node.ask(`DELETE ${path}`))).toEqual(BAD);
    }
  });
});

test('each route of the table is answered, and the document names it', async () => {
  const document = JSON.parse((await node.ask('GET /openapi.json')).body) as {
    paths: Record<string, Record<string, object>>;
  };
  const page = (await node.ask('GET /')).body;
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(operations.length).toBeGreaterThan(35);
  for (const operation of operations.filter((one) => one !== 'GET /sleep')) {
    const request = operation.replace(/\{\w+\}/g, '%20');
    const { status } = await node.ask(request, operation.startsWith('GET') ? {} : { body: 'x' });
    expect([operation, status < 500 && status !== 404 && status !== 405]).toEqual([operation, true]);
    const [method = '', path = ''] = operation.split(' ');
    expect(page).toContain(`${method.padEnd(6)} ${path} `);
  }
  expect(JSON.stringify(document)).toContain('"maxItems":1000');
});

test('the node says that it can serve, and a long sleep ends at the deadline', async () => {
  expect(await outcome(node.ask('GET /status'))).toEqual(OK);
  const slept = await node.ask('GET /sleep', { headers: { 'ctlmesh-deadline-ms': '20' } });
  expect([slept.status, slept.body]).toEqual([200, 'cancelled']);
  expect(await outcome(node.ask('GET /families', { headers: { 'ctlmesh-deadline-ms': 'x' } }))).toEqual(BAD);
});

test('secrets are in no log line and no metric', async () => {
  await node.ask(`POST /writers/${'w'.repeat(60)}`, { body: SECRET });
  await node.ask('POST /writers/planted', { body: `{"${SECRET}"` });
  await fixture.mutate('nowhere', [{ table: 'plans', values: { id: SECRET } }]);
  await node.ask(`POST /families/nowhere/mutations`, { body: `{"mutations":[${SECRET}`, headers: fixture.headers });
  const metrics = await node.ask('GET /metrics');
  expect(metrics.body).toContain('ctlmesh_');
  expect(node.logged.some((line) => line.includes('http.request'))).toBe(true);
  for (const said of [metrics.body, ...node.logged]) {
    expect(said.includes(SECRET) || said.includes(base64(SECRET))).toBe(false);
  }
});
