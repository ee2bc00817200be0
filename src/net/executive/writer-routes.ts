/**
 * Writers: who they are, what they remember, how much they may write; and how large tables may get.
 */
import type { Control, TableLimit } from '../../client/control-types.ts';
import type { Route } from '../http/route.ts';
import { bodyOf, done, hideWriter, json, param, textOf } from './answers.ts';
import * as bodies from './bodies.ts';
import { parseRate, showRate } from './rates.ts';

const empty = { kind: 'empty' } as const;
const SECRET = { kind: 'bytes', what: 'the secret, 3 to 100 bytes of UTF-8' } as const;

export function writerRoutes(control: Control): Route[] {
  return [
    {
      ...{ method: 'POST', path: '/writers/{writer}', group: 'Writers' },
      summary: 'Register a writer; the same secret again changes nothing',
      body: SECRET,
      answer: empty,
      errors: ['ALREADY_EXISTS'],
      handle: (call) => done(control.registerWriter(param(call, 'writer'), textOf(call, 'the secret'), call.options)),
    },
    {
      ...{ method: 'PUT', path: '/writers/{writer}', group: 'Writers' },
      summary: 'Give a writer another secret',
      body: SECRET,
      answer: empty,
      errors: ['NOT_FOUND'],
      handle: (call) => done(control.rotateWriter(param(call, 'writer'), textOf(call, 'the secret'), call.options)),
    },
    {
      ...{ method: 'DELETE', path: '/writers/{writer}', group: 'Writers' },
      summary: 'Forget a writer',
      answer: empty,
      errors: ['NOT_FOUND'],
      handle: (call) => done(control.deleteWriter(param(call, 'writer'), call.options)),
    },
    {
      ...{ method: 'GET', path: '/writers', group: 'Writers' },
      summary: 'All writers, without their secrets',
      answer: { kind: 'json', schema: bodies.writers },
      errors: [],
      handle: async ({ options }) => {
        const writers = await control.writers(options);
        return json(writers.map(({ limit, ...rest }) => ({ ...rest, 'rate-limit': limit && showRate(limit) })));
      },
    },
    {
      ...{ method: 'GET', path: '/cookie', group: 'Writers', needsWriter: true },
      summary: "A writer's cookie",
      answer: { kind: 'bytes', what: 'the cookie' },
      errors: ['NOT_FOUND'],
      handle: async (call) => {
        const { writer, secret } = call.credentials();
        const body = await control.cookie(writer, secret, call.options).catch(hideWriter);
        return { contentType: 'application/octet-stream', body };
      },
    },
    {
      ...{ method: 'POST', path: '/cookie', group: 'Writers', needsWriter: true },
      summary: "Set a writer's cookie, whatever it was",
      body: { kind: 'bytes', what: 'the cookie, at most 1024 bytes' },
      answer: empty,
      errors: ['NOT_FOUND'],
      handle: (call) => {
        const { writer, secret } = call.credentials();
        return done(control.setCookie(writer, secret, call.body, call.options).catch(hideWriter));
      },
    },
  ];
}

export function limitRoutes(control: Control): Route[] {
  return [...tableLimitRoutes(control), ...writerLimitRoutes(control)];
}

function tableLimitRoutes(control: Control): Route[] {
  const body = { kind: 'json', schema: bodies.tableLimit } as const;
  return [
    {
      ...{ method: 'GET', path: '/limits/tables', group: 'Limits' },
      summary: 'How large tables may get',
      answer: { kind: 'json', schema: bodies.tableLimits },
      errors: [],
      handle: async ({ options }) => {
        const { defaults, tables } = await control.limits(options);
        const own = tables.flatMap(({ family, table, limit }) =>
          limit === null ? [] : [{ ...shown(limit), family, table }],
        );
        return json({ global: defaults.tables && shown(defaults.tables), tables: own });
      },
    },
    {
      ...{ method: 'PUT', path: '/limits/tables', group: 'Limits' },
      summary: 'For all tables that have no limit of their own',
      body,
      answer: empty,
      errors: [],
      handle: (call) => done(control.limitTable(undefined, limitOf(bodyOf(bodies.tableLimit, call)), call.options)),
    },
    {
      ...{ method: 'DELETE', path: '/limits/tables', group: 'Limits' },
      summary: 'No limit where a table has none of its own',
      answer: empty,
      errors: [],
      handle: (call) => done(control.limitTable(undefined, undefined, call.options)),
    },
    {
      ...{ method: 'POST', path: '/limits/tables/{family}/{table}', group: 'Limits' },
      summary: 'For one table',
      body,
      answer: empty,
      errors: ['NOT_FOUND'],
      handle: (call) => {
        const table = { family: param(call, 'family'), table: param(call, 'table') };
        return done(control.limitTable(table, limitOf(bodyOf(bodies.tableLimit, call)), call.options));
      },
    },
    {
      ...{ method: 'DELETE', path: '/limits/tables/{family}/{table}', group: 'Limits' },
      summary: 'As for tables that have none of their own',
      answer: empty,
      errors: ['NOT_FOUND'],
      handle: (call) => {
        const table = { family: param(call, 'family'), table: param(call, 'table') };
        return done(control.limitTable(table, undefined, call.options));
      },
    },
  ];
}

const shown = ({ warnBytes, maxBytes }: TableLimit): Record<string, number> => ({
  'max-size': maxBytes,
  'warn-size': warnBytes,
});

const limitOf = (given: { readonly 'max-size': number; readonly 'warn-size': number }): TableLimit => ({
  maxBytes: given['max-size'],
  warnBytes: given['warn-size'],
});

function writerLimitRoutes(control: Control): Route[] {
  const body = { kind: 'json', schema: bodies.writerLimit } as const;
  return [
    {
      ...{ method: 'GET', path: '/limits/writers', group: 'Limits' },
      summary: 'How many rows writers may change',
      answer: { kind: 'json', schema: bodies.writerLimits },
      errors: [],
      handle: async ({ options }) => {
        const { defaults, writers } = await control.limits(options);
        const own = writers.map(({ name, limit }) => ({ writer: name, 'rate-limit': showRate(limit) }));
        return json({ global: defaults.writers && showRate(defaults.writers), writers: own });
      },
    },
    {
      ...{ method: 'PUT', path: '/limits/writers', group: 'Limits' },
      summary: 'For all writers that have no limit of their own',
      body,
      answer: empty,
      errors: [],
      handle: (call) => done(control.limitWriter(undefined, parseRate(bodyOf(bodies.writerLimit, call)), call.options)),
    },
    {
      ...{ method: 'DELETE', path: '/limits/writers', group: 'Limits' },
      summary: 'No limit where a writer has none of its own',
      answer: empty,
      errors: [],
      handle: (call) => done(control.limitWriter(undefined, undefined, call.options)),
    },
    {
      ...{ method: 'POST', path: '/limits/writers/{writer}', group: 'Limits' },
      summary: 'For one writer',
      body,
      answer: empty,
      errors: ['NOT_FOUND'],
      handle: (call) => {
        const limit = parseRate(bodyOf(bodies.writerLimit, call));
        return done(control.limitWriter(param(call, 'writer'), limit, call.options));
      },
    },
    {
      ...{ method: 'DELETE', path: '/limits/writers/{writer}', group: 'Limits' },
      summary: 'As for writers that have none of their own',
      answer: empty,
      errors: ['NOT_FOUND'],
      handle: (call) => done(control.limitWriter(param(call, 'writer'), undefined, call.options)),
    },
  ];
}
