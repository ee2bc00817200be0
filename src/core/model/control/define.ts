/**
 * defineFamily: tables as TypeScript knows them, so that the rows that are read have types.
 *
 *   const billing = defineFamily('billing', {
 *     plans: { fields: { id: 'string', price: 'decimal', seats: 'integer' }, key: ['id'] },
 *   });
 *   type Plan = RowOf<typeof billing.plans>;      // { id: string | null; price: number | null; seats: number | bigint | null }
 *
 * A definition is a claim about tables that others make: fields that the table has beside these are read too, and ones
 * that it lacks are not there. Every field may be null, as rows that were written before a field was added have it so.
 */
import { parseFamilyName, parseFieldName, parseTableName } from './names.ts';
import { type FieldType, parseFields, parseKey } from './schema.ts';

/** What a field of each type is read as. */
export interface FieldValues {
  readonly string: string;
  readonly text: string;
  /** A bigint beyond 2 ** 53. */
  readonly integer: number | bigint;
  readonly decimal: number;
  readonly binary: Uint8Array;
  readonly bytestring: Uint8Array;
}

/** What a key field of each type may be given as. */
export interface KeyValues {
  readonly string: string;
  readonly integer: number | bigint;
  /** A text stands for its UTF-8. */
  readonly bytestring: Uint8Array | string;
}

export type FieldTypes = Readonly<Record<string, FieldType>>;

export interface TableInput<Fields extends FieldTypes, Key extends readonly (keyof Fields & string)[]> {
  readonly fields: Fields;
  /** In the order of the primary key. */
  readonly key: Key;
}

export interface Table<
  Fields extends FieldTypes = FieldTypes,
  Key extends readonly (keyof Fields & string)[] = readonly string[],
> extends TableInput<Fields, Key> {
  readonly family: string;
  readonly table: string;
}

/** A row of a table, every field of it. */
export type RowOf<T> =
  T extends Table<infer Fields, infer _> ? { [Name in keyof Fields]: FieldValues[Fields[Name]] | null } : never;

type KeyValue<Type> = Type extends keyof KeyValues ? KeyValues[Type] | null : never;

/** All key fields of a table, in their order. */
export type KeyOf<T> =
  T extends Table<infer Fields, infer Key> ? { readonly [Place in keyof Key]: KeyValue<Fields[Key[Place]]> } : never;

type Leading<Values extends readonly unknown[]> = Values extends readonly [infer First, ...infer Rest]
  ? readonly [] | readonly [First, ...Leading<Rest>]
  : readonly [];

/** None, some or all key fields of a table, the first ones first. */
export type KeyPrefixOf<T> = KeyOf<T> extends infer Values extends readonly unknown[] ? Leading<Values> : never;

type Tables<Input> = {
  readonly [Name in keyof Input]: Input[Name] extends {
    readonly fields: infer Fields extends FieldTypes;
    readonly key: infer Key extends readonly string[];
  }
    ? Key extends readonly (keyof Fields & string)[]
      ? Table<Fields, Key>
      : never
    : never;
};

/** Throws BAD_REQUEST for names, types and keys that no table can have. */
export function defineFamily<
  const Input extends Readonly<Record<string, { readonly fields: FieldTypes; readonly key: readonly string[] }>>,
>(family: string, tables: Input): Tables<Input> {
  const name = parseFamilyName(family);
  const defined = Object.entries(tables).map(([given, { fields, key }]) => {
    parseKey(key, parseFields(Object.entries(fields)));
    const table = parseTableName(given);
    return [given, { family: name, table, fields, key: key.map(parseFieldName) }];
  });
  return Object.fromEntries(defined) as Tables<Input>;
}
