/**
 * Rows: changed in batches by writers, read by key.
 */
import type { Control, Mutation, Row } from '../../client/control-types.ts';
import { StoreError } from '../../core/base/errors.ts';
import { bytesOfBase64, jsonRow, stringifyJson } from '../http/json.ts';
import type { Answer, Call, Route } from '../http/route.ts';
import { bodyOf, done, json, param } from './answers.ts';
import * as bodies from './bodies.ts';

const ROWS_DEFAULT = 1_000;
const ROWS_MAX = 10_000;
/** Rows go to the socket in parts of about so much. */
const PART_CHARS = 16 * 1024;
const NDJSON = 'application/x-ndjson';

const KEY = {
  key: 'a value of the primary key, in its order, once for each; digits for an integer',
  key64: 'the same for a bytestring, as base64',
};
const CONSISTENCY = { consistency: "'local': what this node has now, also without a quorum; default 'linearizable'" };

export function rowRoutes(control: Control): Route[] {
  const mutate = {
    ...{ path: '/families/{family}/mutations', group: 'Rows', needsWriter: true },
    body: { kind: 'json', schema: bodies.mutations },
    answer: { kind: 'empty' },
    errors: [
      ...(['NOT_FOUND', 'FORBIDDEN', 'SCHEMA_MISMATCH', 'COOKIE_CONFLICT', 'RATE_LIMITED', 'TABLE_FULL'] as const),
      ...(['VALUE_TOO_LARGE', 'KEY_INVALID', 'STORE_FULL', 'OUTCOME_UNKNOWN'] as const),
    ],
  } satisfies Partial<Route>;
  return [
    {
      ...mutate,
      method: 'POST',
      summary: 'Change rows of a family, all of them or none: upserts (whole rows), deletes, patches',
      handle: (call) => done(control.mutate(batchOf(call, false), call.options)),
    },
    {
      ...mutate,
      method: 'PATCH',
      summary: 'The same, with patches where nothing else is said',
      handle: (call) => done(control.mutate(batchOf(call, true), call.options)),
    },
    {
      ...{ method: 'GET', path: '/row/{family}/{table}', group: 'Rows' },
      summary: 'The row with a primary key',
      query: { ...KEY, ...CONSISTENCY },
      answer: { kind: 'json', schema: bodies.row },
      errors: ['NOT_FOUND', 'SCHEMA_MISMATCH'],
      handle: async (call) => {
        const [family, table] = [param(call, 'family'), param(call, 'table')];
        const row = await control.getRow(family, table, keyOf(call), readOptions(call));
        if (row === undefined) throw new StoreError('NOT_FOUND', 'Not Found', { data: { family, table } });
        return json(jsonRow(row));
      },
    },
    {
      ...{ method: 'GET', path: '/rows/{family}/{table}', group: 'Rows' },
      summary: `Rows with these leading key values, in key order; accept: ${NDJSON} streams all of them`,
      query: { ...KEY, limit: `1 to ${ROWS_MAX}, default ${ROWS_DEFAULT}; as a stream: no limit`, ...CONSISTENCY },
      answer: { kind: 'json', schema: bodies.rows },
      errors: ['NOT_FOUND', 'SCHEMA_MISMATCH'],
      handle: (call) => (call.accepts(NDJSON) ? streamed(control, call) : listed(control, call)),
    },
  ];
}

function batchOf(call: Call, patchesByDefault: boolean): Parameters<Control['mutate']>[0] {
  const { cookie, check_cookie: check, mutations } = bodyOf(bodies.mutations, call);
  return {
    ...call.credentials(),
    family: param(call, 'family'),
    base64: true,
    ...(typeof cookie === 'string' ? { cookie: bytesOfBase64(cookie, 'cookie') } : {}),
    ...(typeof check === 'string' ? { checkCookie: bytesOfBase64(check, 'check_cookie') } : {}),
    mutations: mutations.map((one, i) => mutationOf(one, i, patchesByDefault)),
  };
}

function mutationOf(given: bodies.GivenMutation, i: number, patchesByDefault: boolean): Mutation {
  const { table, delete: isDelete, patch, values } = given;
  if (isDelete === true && patch === true) {
    throw new StoreError('BAD_REQUEST', `mutation ${i}: delete or patch, not both`, { data: { mutation: i } });
  }
  if (isDelete === true) return { table, delete: values ?? {} };
  return (patch ?? patchesByDefault) ? { table, patch: values ?? {} } : { table, upsert: values ?? {} };
}

function keyOf({ query }: Call): (string | Uint8Array)[] {
  const key: (string | Uint8Array)[] = [];
  for (const [name, value] of query) {
    if (name === 'key') key.push(value);
    else if (name === 'key64') key.push(bytesOfBase64(value, 'key64'));
  }
  return key;
}

function readOptions({ query, options }: Call): Call['options'] & { readonly consistency: 'local' | 'linearizable' } {
  const consistency = query.get('consistency') ?? 'linearizable';
  if (consistency === 'local' || consistency === 'linearizable') return { ...options, consistency };
  throw new StoreError('BAD_REQUEST', "consistency is 'linearizable' or 'local'");
}

function limitOf({ query }: Call): number | undefined {
  const given = query.get('limit');
  if (given === null) return undefined;
  const limit = Number(given);
  if (Number.isInteger(limit) && limit >= 1 && limit <= ROWS_MAX) return limit;
  throw new StoreError('BAD_REQUEST', `limit is a whole number from 1 to ${ROWS_MAX}`);
}

const rowsOf = (control: Control, call: Call, limit: number | undefined): AsyncIterable<Row> =>
  control.rows(param(call, 'family'), param(call, 'table'), keyOf(call), {
    ...readOptions(call),
    ...(limit === undefined ? {} : { limit }),
  });

async function listed(control: Control, call: Call): Promise<Answer> {
  const limit = limitOf(call) ?? ROWS_DEFAULT;
  const rows: Record<string, unknown>[] = [];
  for await (const row of rowsOf(control, call, limit + 1)) rows.push(jsonRow(row));
  return json({ rows: rows.slice(0, limit), more: rows.length > limit });
}

const streamed = (control: Control, call: Call): Answer => ({
  contentType: NDJSON,
  body: linesOf(rowsOf(control, call, limitOf(call))),
});

async function* linesOf(rows: AsyncIterable<Row>): AsyncGenerator<string> {
  let part = '';
  for await (const row of rows) {
    part += `${stringifyJson(jsonRow(row))}\n`;
    if (part.length < PART_CHARS) continue;
    yield part;
    part = '';
  }
  if (part !== '') yield part;
}
