/**
 * The SDK's public types of control data: families of tables with typed rows, and who may write them.
 */
import type { Revision } from '../core/base/position.ts';
import type { TableLimit, WriterLimit } from '../core/model/control/commands.ts';
import type { Row } from '../core/model/control/row.ts';
import type { FieldType } from '../core/model/control/schema.ts';
import type { GivenValue } from '../core/model/control/value.ts';
import type { Stages } from './stage-types.ts';
import type { Bytes, CallOptions, GetOptions, WriteOptions, WriteResult } from './call-types.ts';

export type { TableLimit, WriterLimit } from '../core/model/control/commands.ts';
export type { Row } from '../core/model/control/row.ts';
export type { FieldType } from '../core/model/control/schema.ts';
export type { GivenValue, Value } from '../core/model/control/value.ts';

/** Values by field name. */
export type Values = Readonly<Record<string, GivenValue>>;

/** Fields with their types, in their order. */
export type Fields = Readonly<Record<string, FieldType>> | readonly (readonly [name: string, type: string])[];

export interface TableSpec {
  readonly fields: Fields;
  /** The fields of the primary key, in its order: of type string, integer or bytestring. */
  readonly key: readonly string[];
}

/** One change of one row. */
export type Mutation = { readonly table: string } & (
  | { readonly upsert: Values; readonly patch?: undefined; readonly delete?: undefined }
  | { readonly patch: Values; readonly upsert?: undefined; readonly delete?: undefined }
  | { readonly delete: Values; readonly upsert?: undefined; readonly patch?: undefined }
);

/** Rows of one family that change together: all of them, or none. At most 1000, and 4 MiB. */
export interface MutateRequest {
  readonly family: string;
  readonly writer: string;
  readonly secret: string;
  /**
   * `upsert`: the whole row; fields that were added to the table later may be missing, and are null.
   * `patch`: the key and what changes; NOT_FOUND when there is no such row. `delete`: the key.
   */
  readonly mutations: readonly Mutation[];
  /** What the writer's cookie is to be, at most 1024 bytes; default: as it was. */
  readonly cookie?: Bytes;
  /** Refused with COOKIE_CONFLICT unless the writer's cookie is this. */
  readonly checkCookie?: Bytes;
  /** Texts for binary and bytestring fields are base64; default false: such fields want bytes. */
  readonly base64?: boolean;
}

export interface TableView {
  readonly family: string;
  readonly table: string;
  /** 1, and one more with each change of its fields. */
  readonly version: number;
  /** In the order in which they were declared. `added`: the revision that added it; 0: it came with the table. */
  readonly fields: readonly { readonly name: string; readonly type: FieldType; readonly added: number }[];
  /** Names of the primary key's fields, in its order. */
  readonly key: readonly string[];
}

export interface WriterView {
  readonly name: string;
  /** The revision that registered it. */
  readonly created: number;
  /** Its own limit, or null. */
  readonly limit: WriterLimit | null;
}

export interface LimitsView {
  /** For those that have none of their own; null: none. */
  readonly defaults: { readonly writers: WriterLimit | null; readonly tables: TableLimit | null };
  readonly writers: readonly { readonly name: string; readonly limit: WriterLimit }[];
  readonly tables: readonly { readonly family: string; readonly table: string; readonly limit: TableLimit | null }[];
}

export interface TableSizeView {
  readonly family: string;
  readonly table: string;
  readonly rows: number;
  /** Of live keys and values. */
  readonly bytes: number;
  /** Its own, or the one for all that have none; null: none. */
  readonly limit: TableLimit | null;
}

/**
 * Families, tables, rows and writers. Names of families, tables and fields are the same in any case. Beside what every
 * call may fail with: BAD_REQUEST (a name or a declaration), NOT_FOUND, ALREADY_EXISTS.
 */
export interface Control {
  /** Data that hosts are shown ring by ring. */
  readonly stages: Stages;
  createFamily(family: string, options?: CallOptions): Promise<WriteResult>;
  createTable(family: string, table: string, spec: TableSpec, options?: CallOptions): Promise<WriteResult>;
  /** All of them or none. At most 256. */
  createTables(
    tables: readonly ({ readonly family: string; readonly table: string } & TableSpec)[],
    options?: CallOptions,
  ): Promise<WriteResult>;
  /** All of them or none; null in the rows that are there. */
  addFields(family: string, table: string, fields: Fields, options?: CallOptions): Promise<WriteResult>;
  /** DISABLED unless the cluster's config has `destructiveSchemaChanges`; so are the next two. */
  dropTable(family: string, table: string, options?: CallOptions): Promise<WriteResult>;
  clearTable(family: string, table: string, options?: CallOptions): Promise<WriteResult>;
  /** All its tables at once. */
  clearFamily(family: string, options?: CallOptions): Promise<WriteResult>;
  /**
   * Changes rows. Happens once, however often it is sent. SCHEMA_MISMATCH, VALUE_TOO_LARGE and KEY_INVALID say in
   * `data.mutation` which; also NOT_FOUND, FORBIDDEN (the secret), COOKIE_CONFLICT, RATE_LIMITED, TABLE_FULL, TXN_TOO_LARGE.
   */
  mutate(request: MutateRequest, options?: WriteOptions): Promise<WriteResult>;

  /** The row with this primary key; undefined when there is none. NOT_FOUND when there is no such table. */
  getRow(family: string, table: string, key: readonly GivenValue[], options?: GetOptions): Promise<Row | undefined>;
  /** Rows with these values in their leading key fields (none: all rows), in the order of their keys, of one state. */
  rows(
    family: string,
    table: string,
    keyPrefix?: readonly GivenValue[],
    options?: GetOptions & { readonly limit?: number },
  ): AsyncIterable<Row>;
  /** Undefined: there is no such table. */
  schema(family: string, table: string, options?: GetOptions): Promise<TableView | undefined>;
  families(options?: GetOptions): Promise<string[]>;
  /** Of one family, or of all. */
  tables(family?: string, options?: GetOptions): Promise<TableView[]>;

  /** The same name and secret (3 to 100 bytes) again change nothing; with another secret: ALREADY_EXISTS. */
  registerWriter(writer: string, secret: string, options?: CallOptions): Promise<WriteResult>;
  /** Gives it another secret. */
  rotateWriter(writer: string, secret: string, options?: CallOptions): Promise<WriteResult>;
  deleteWriter(writer: string, options?: CallOptions): Promise<WriteResult>;
  writers(options?: ControlReadOptions): Promise<WriterView[]>;
  /** What the writer remembered last; empty before. NOT_FOUND, FORBIDDEN. */
  cookie(writer: string, secret: string, options?: ControlReadOptions): Promise<Uint8Array>;
  setCookie(writer: string, secret: string, cookie: Bytes, options?: CallOptions): Promise<WriteResult>;

  limits(options?: ControlReadOptions): Promise<LimitsView>;
  /** What each table holds, as its limit is judged by, by family and name. */
  tableSizes(options?: ControlReadOptions): Promise<TableSizeView[]>;
  /** Rows in each window of log time; `undefined` for the writer: all that have none of their own; for the limit: none. */
  limitWriter(writer: string | undefined, limit: WriterLimit | undefined, options?: CallOptions): Promise<WriteResult>;
  /** Bytes of live keys and values; `undefined` for the table: all that have none of their own; for the limit: none. */
  limitTable(
    table: { readonly family: string; readonly table: string } | undefined,
    limit: TableLimit | undefined,
    options?: CallOptions,
  ): Promise<WriteResult>;
}

export interface ControlReadOptions extends CallOptions {
  readonly consistency?: 'linearizable' | 'local';
  readonly atLeast?: Revision | number;
}
