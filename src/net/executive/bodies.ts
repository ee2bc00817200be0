/**
 * Bodies of the executive API, in and out, as ctlstore writes them: what checks a request is what the OpenAPI document
 * shows. Names, types and values are judged by the model (core/model/control), which alone knows the tables.
 */
import { z } from 'zod';
import { MUTATIONS_MAX } from '../../core/model/control/batch.ts';

const pair = z.tuple([z.string(), z.string()]).meta({ description: 'name, type' });
const fields = z.array(pair).meta({
  description: 'types: string, integer, decimal, text, binary, bytestring',
  examples: [[['id', 'string']]],
});
const keyFields = z.array(z.string()).meta({ description: 'the primary key, in its order' });

export interface NewFields {
  readonly fields: readonly (readonly [name: string, type: string])[];
}

export interface NewTable extends NewFields {
  readonly keyFields: readonly string[];
}

export interface NamedTable extends NewTable {
  readonly family: string;
  readonly name: string;
}

export const newTable: z.ZodType<NewTable> = z.object({ fields, keyFields });
export const newFields: z.ZodType<NewFields> = z.object({ fields });
const namedTable = z.object({ family: z.string(), name: z.string(), fields, keyFields });
export const newTables: z.ZodType<readonly NamedTable[]> = z.array(namedTable);

export const tableSchema: z.ZodType = namedTable;
export const tableSchemas: z.ZodType = z.array(namedTable);
export const tableSizes: z.ZodType = z.array(
  z.object({
    family: z.string(),
    name: z.string(),
    rows: z.int(),
    size: z.int().meta({ description: 'bytes of live keys and values: what the limit is judged by' }),
    'max-size': z.int().nullable().meta({ description: 'its own limit, or that of all tables; null: none' }),
    'warn-size': z.int().nullable(),
  }),
);
export const names: z.ZodType = z.array(z.string());

const value = z.union([z.null(), z.string(), z.number(), z.bigint(), z.boolean()], {
  error: 'a value is null, a text, a finite number, true or false',
});

export interface GivenMutation {
  readonly table: string;
  readonly delete?: boolean | null | undefined;
  readonly patch?: boolean | null | undefined;
  readonly values?: Readonly<Record<string, null | string | number | bigint | boolean>> | null | undefined;
}

export interface Mutations {
  readonly cookie?: string | null | undefined;
  readonly check_cookie?: string | null | undefined;
  readonly mutations: readonly GivenMutation[];
}

const mutation = z.object({
  table: z.string(),
  delete: z.boolean().nullish().meta({ description: 'deletes the row; its key is enough' }),
  patch: z.boolean().nullish().meta({ description: 'changes what is given of a row that is there' }),
  values: z
    .record(z.string(), value)
    .nullish()
    .meta({ description: 'by field; all of them, unless it is a delete or a patch; binary and bytestring: base64' }),
});

export const mutations: z.ZodType<Mutations> = z.object({
  cookie: z.string().nullish().meta({ description: "base64: what the writer's cookie is to be; left out: as it is" }),
  check_cookie: z.string().nullish().meta({ description: 'base64: refused unless the cookie is this one' }),
  mutations: z.array(mutation).meta({ maxItems: MUTATIONS_MAX }),
});

const shownRow = z.record(z.string(), value).meta({ description: 'by field; bytes are base64' });
export const row: z.ZodType = shownRow;
export const rows: z.ZodType = z.object({
  rows: z.array(shownRow),
  more: z.boolean().meta({ description: 'there are more than the limit' }),
});

export interface Sizes {
  readonly 'max-size': number;
  readonly 'warn-size': number;
}

const size = z.int().min(0);
const sizes = z.object({ 'max-size': size, 'warn-size': size }).meta({ description: 'bytes' });
export const tableLimit: z.ZodType<Sizes> = sizes;
export const tableLimits: z.ZodType = z.object({
  global: sizes.nullable().meta({ description: 'for tables that have none of their own' }),
  tables: z.array(z.object({ ...sizes.shape, family: z.string(), table: z.string() })),
});

export interface Rate {
  readonly amount: number;
  readonly period: string | number | bigint;
}

export const writerLimit: z.ZodType<Rate> = z.object({
  amount: z.int().min(0).meta({ description: 'rows' }),
  period: z
    .union([z.string(), z.number(), z.bigint()], { error: "a period is a text like '1m', or a number of nanoseconds" })
    .meta({ description: "in which it may write so many: '1m', '1h30m', or nanoseconds" }),
});

const shownRate = z.object({ amount: z.int(), period: z.int().meta({ description: 'nanoseconds' }) });
export const writerLimits: z.ZodType = z.object({
  global: shownRate.nullable().meta({ description: 'for writers that have none of their own' }),
  writers: z.array(z.object({ writer: z.string(), 'rate-limit': shownRate })),
});
export const writers: z.ZodType = z.array(
  z.object({
    name: z.string(),
    created: z.int().meta({ description: 'the revision that registered it' }),
    'rate-limit': shownRate.nullable(),
  }),
);
