/**
 * Fuzzed requests: whatever comes, the answer is one of the API's own, never a 500, and the node goes on. A real node is
 * behind it, so what the door lets through is judged by the model too.
 */
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Ask, writerHeaders } from '../../support/http-client.ts';
import { type HttpNode, startHttpNode } from '../../support/http-node.ts';
import { bodyFor, isAnswer, type Operation, operationsOf, stringify } from '../../support/openapi-fuzz.ts';

let node: HttpNode;
let ask: Ask;
let operations: Operation[] = [];

const RUNS = Number(process.env['CTLMESH_HTTP_FUZZ'] ?? 60);
/** What takes a minute, and what would turn the fuzzer itself away. */
const SPARED = new Set(['GET /sleep', 'PUT /writers/{writer}', 'DELETE /writers/{writer}']);
const auth = writerHeaders({ writer: 'fuzzer', secret: 'sesame' });

beforeAll(async () => {
  node = await startHttpNode();
  ask = node.ask;
  await ask('POST /writers/fuzzer', { body: 'sesame' });
  await ask('POST /families/fam');
  const fields = ['string', 'integer', 'decimal', 'text', 'binary', 'bytestring'].map((type) => [type, type]);
  await ask('POST /families/fam/tables/tab', { body: { fields, keyFields: ['string', 'integer'] } });
  operations = await operationsOf(ask, SPARED);
});

afterAll(() => node.stop());

async function isAnswered(request: string, body: string | Uint8Array | undefined): Promise<void> {
  const hasBody = body !== undefined && !request.startsWith('GET');
  const got = await ask(request, { headers: auth, ...(hasBody ? { body } : {}) });
  expect([request, got.status, got.code, isAnswer(got)]).toEqual([request, got.status, got.code, true]);
}

const name = fc.oneof(fc.constantFrom('fam', 'tab', 'fuzzer'), fc.string({ unit: 'binary', minLength: 1 }));
const scalar = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
  fc.bigInt(),
  fc.base64String(),
);
const odd = fc.oneof(scalar, fc.anything({ maxDepth: 1 }));

/** Names that are there, or mean something. */
const KNOWN = [
  'fam',
  'tab',
  'fuzzer',
  'string',
  'integer',
  'decimal',
  'text',
  'binary',
  'bytestring',
  '__proto__',
  '1m',
];

test('every route, with bodies that its own schema nearly allows, and any others', async () => {
  const names = fc.array(name, { minLength: 3, maxLength: 3 });
  const asked = fc
    .nat(operations.length - 1)
    .map((n) => operations[n] as Operation)
    .chain((operation) => fc.tuple(fc.constant(operation), names, bodyFor(operation, KNOWN), fc.string()));
  await fc.assert(
    fc.asyncProperty(asked, async ([{ request }, given, bytes, query]) => {
      let at = 0;
      const path = request.replace(/\{\w+\}/g, () => encodeURIComponent((given[at++] as string).toWellFormed()));
      await isAnswered(`${path}?key=${encodeURIComponent(query.toWellFormed())}`, bytes);
    }),
    { numRuns: RUNS * 2 },
  );
});

const field = fc.constantFrom(
  'string',
  'integer',
  'decimal',
  'text',
  'binary',
  'bytestring',
  'STRING',
  'none',
  '__proto__',
);
const mutation = fc.record(
  {
    table: fc.oneof(fc.constantFrom('tab', 'TAB', 'none'), odd),
    delete: odd,
    patch: odd,
    values: fc.oneof(fc.dictionary(field, odd), odd),
  },
  { requiredKeys: [] },
);
const nearly = fc.record(
  { table: fc.constant('tab'), delete: fc.boolean(), values: fc.dictionary(field, scalar, { minKeys: 6, maxKeys: 6 }) },
  { requiredKeys: ['table', 'values'] },
);

test('batches that are nearly right', async () => {
  const batch = fc.record(
    { mutations: fc.array(fc.oneof(nearly, mutation), { maxLength: 5 }), cookie: odd, check_cookie: odd },
    { requiredKeys: ['mutations'] },
  );
  await fc.assert(
    fc.asyncProperty(batch, (given) => isAnswered('POST /families/fam/mutations', stringify(given))),
    { numRuns: RUNS * 2 },
  );
});

test('declarations and limits that are nearly right', async () => {
  const pairs = fc.array(fc.oneof(fc.tuple(fc.string(), field), fc.array(odd, { maxLength: 3 })), { maxLength: 4 });
  const table = fc.record(
    { fields: fc.oneof(pairs, odd), keyFields: fc.oneof(fc.array(fc.string()), odd) },
    { requiredKeys: [] },
  );
  const number = fc.oneof({ weight: 3, arbitrary: fc.integer() }, fc.maxSafeInteger(), odd);
  const period = fc.oneof(fc.constantFrom('1m', '1h30m', '0.5ms', '-1s'), number);
  const limit = fc.record({ amount: number, period, 'max-size': number, 'warn-size': number });
  const asked = fc.oneof(
    fc.tuple(fc.constantFrom('POST /families/fam/tables/new', 'PUT /families/fam/tables/tab', 'POST /tables'), table),
    fc.tuple(fc.constantFrom('POST /limits/writers/fuzzer', 'POST /limits/tables/fam/tab'), limit),
  );
  await fc.assert(
    fc.asyncProperty(asked, ([request, given]) => isAnswered(request, stringify(given))),
    { numRuns: RUNS * 2 },
  );
});

test('the node is what it was', async () => {
  expect((await ask('GET /readyz')).status).toBe(200);
  const values = { string: 'a', integer: 1, decimal: 1, text: '', binary: '', bytestring: '' };
  for (const path of ['writers/fuzzer', 'tables/fam/tab', 'writers', 'tables']) await ask(`DELETE /limits/${path}`);
  const got = await ask('POST /families/fam/mutations', {
    headers: auth,
    body: { mutations: [{ table: 'tab', values }] },
  });
  expect([got.status, got.body]).toEqual([200, '']);
});
