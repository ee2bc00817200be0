/**
 * Families and tables: made, extended, shown, dropped.
 */
import type { Control, TableView } from '../../client/control-types.ts';
import { StoreError } from '../../core/base/errors.ts';
import { parseFamilyName } from '../../core/model/control/names.ts';
import type { Route } from '../http/route.ts';
import { bodyOf, done, json, param } from './answers.ts';
import * as bodies from './bodies.ts';

export function tableRoutes(control: Control): Route[] {
  const empty = { kind: 'empty' } as const;
  return [
    {
      ...{ method: 'POST', path: '/families/{family}', group: 'Families and tables' },
      summary: 'Create a family',
      answer: empty,
      errors: ['ALREADY_EXISTS'],
      handle: (call) => done(control.createFamily(param(call, 'family'), call.options)),
    },
    {
      ...{ method: 'POST', path: '/families/{family}/tables/{table}', group: 'Families and tables' },
      summary: 'Create a table',
      body: { kind: 'json', schema: bodies.newTable },
      answer: empty,
      errors: ['NOT_FOUND', 'ALREADY_EXISTS'],
      handle: (call) => {
        const { fields, keyFields: key } = bodyOf(bodies.newTable, call);
        return done(control.createTable(param(call, 'family'), param(call, 'table'), { fields, key }, call.options));
      },
    },
    {
      ...{ method: 'PUT', path: '/families/{family}/tables/{table}', group: 'Families and tables' },
      summary: 'Add fields to a table, all of them or none',
      body: { kind: 'json', schema: bodies.newFields },
      answer: empty,
      errors: ['NOT_FOUND', 'ALREADY_EXISTS'],
      handle: (call) => {
        const { fields } = bodyOf(bodies.newFields, call);
        return done(control.addFields(param(call, 'family'), param(call, 'table'), fields, call.options));
      },
    },
    {
      ...{ method: 'DELETE', path: '/families/{family}/tables/{table}', group: 'Families and tables' },
      summary: 'Drop a table and its rows',
      answer: empty,
      errors: ['NOT_FOUND', 'DISABLED'],
      handle: (call) => done(control.dropTable(param(call, 'family'), param(call, 'table'), call.options)),
    },
    {
      ...{ method: 'GET', path: '/tables', group: 'Families and tables' },
      summary: 'All tables: what they hold, and what they may',
      answer: { kind: 'json', schema: bodies.tableSizes },
      errors: [],
      handle: async ({ options }) => {
        const tables = await control.tableSizes(options);
        return json(
          tables.map(({ family, table: name, rows, bytes: size, limit }) => ({
            ...{ family, name, rows, size },
            'max-size': limit?.maxBytes ?? null,
            'warn-size': limit?.warnBytes ?? null,
          })),
        );
      },
    },
    {
      ...{ method: 'POST', path: '/tables', group: 'Families and tables' },
      summary: 'Create many tables, all of them or none',
      body: { kind: 'json', schema: bodies.newTables },
      answer: empty,
      errors: ['NOT_FOUND', 'ALREADY_EXISTS'],
      handle: (call) => {
        const tables = bodyOf(bodies.newTables, call).map(({ family, name: table, fields, keyFields: key }) => ({
          ...{ family, table, fields, key },
        }));
        return done(control.createTables(tables, call.options));
      },
    },
    {
      ...{ method: 'DELETE', path: '/clear-rows/families/{family}/tables/{table}', group: 'Families and tables' },
      summary: 'Delete all rows of a table',
      answer: empty,
      errors: ['NOT_FOUND', 'DISABLED'],
      handle: (call) => done(control.clearTable(param(call, 'family'), param(call, 'table'), call.options)),
    },
    {
      ...{ method: 'DELETE', path: '/clear-rows/families/{family}', group: 'Families and tables' },
      summary: 'Delete all rows of all tables of a family',
      answer: empty,
      errors: ['NOT_FOUND', 'DISABLED'],
      handle: (call) => done(control.clearFamily(param(call, 'family'), call.options)),
    },
    {
      ...{ method: 'GET', path: '/schema/table/{family}/{table}', group: 'Schemas' },
      summary: 'The schema of a table',
      answer: { kind: 'json', schema: bodies.tableSchema },
      errors: ['NOT_FOUND'],
      handle: async (call) => {
        const [family, table] = [param(call, 'family'), param(call, 'table')];
        const view = await control.schema(family, table, call.options);
        if (view === undefined) throw new StoreError('NOT_FOUND', `${family}.${table}: table does not exist`);
        return json(shown(view));
      },
    },
    {
      ...{ method: 'GET', path: '/schema/family/{family}', group: 'Schemas' },
      summary: 'The schemas of all tables of a family',
      answer: { kind: 'json', schema: bodies.tableSchemas },
      errors: ['NOT_FOUND'],
      handle: async (call) => json((await tablesOf(control, param(call, 'family'), call.options)).map(shown)),
    },
    {
      ...{ method: 'GET', path: '/families', group: 'Schemas' },
      summary: 'Names of all families',
      answer: { kind: 'json', schema: bodies.names },
      errors: [],
      handle: async ({ options }) => json(await control.families(options)),
    },
    {
      ...{ method: 'GET', path: '/families/{family}/tables', group: 'Schemas' },
      summary: 'Names of the tables of a family',
      answer: { kind: 'json', schema: bodies.names },
      errors: ['NOT_FOUND'],
      handle: async (call) => {
        const tables = await tablesOf(control, param(call, 'family'), call.options);
        return json(tables.map(({ table }) => table));
      },
    },
  ];
}

/** Throws NOT_FOUND for a family that is not there: it has no tables, and is not empty either. */
async function tablesOf(control: Control, given: string, options: { deadlineMs: number }): Promise<TableView[]> {
  const tables = await control.tables(given, options);
  if (tables.length > 0) return tables;
  const family = parseFamilyName(given);
  if ((await control.families(options)).includes(family)) return [];
  throw new StoreError('NOT_FOUND', `Family not found: ${family}`, { data: { family } });
}

const shown = ({ family, table, fields, key }: TableView): Record<string, unknown> => ({
  ...{ family, name: table, keyFields: key },
  fields: fields.map(({ name, type }) => [name, type]),
});
