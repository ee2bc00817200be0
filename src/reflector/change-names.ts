/**
 * ChangeNames: what a commit changed, by names: rows by family, table and primary key, users' keys as they are.
 *
 * Rows in the ledger say their table by number. Which number is which is learnt from schemas as they pass, and, once at the
 * beginning and behind each snapshot, from the LDB. A schema that changed is told as its table: fields came, or it was
 * cleared or dropped, so that any row of it may be another. What is swept up behind a clear or a drop is then no news: rows
 * of a number, or of an epoch, that no schema has.
 */
import type { LdbChanges } from '../actors/ldb-changes.ts';
import { unreachable } from '../core/base/assert.ts';
import { compareBytes, text } from '../core/base/bytes.ts';
import { decodeRowKey } from '../core/model/control/row-key.ts';
import {
  decodeSchema,
  type FieldType,
  isControlKey,
  namesOfTableKey,
  ROWS_PREFIX,
  TABLES_PREFIX,
  type TableSchema,
} from '../core/model/control/schema.ts';
import type { Value } from '../core/model/control/value.ts';

export interface KeyField {
  readonly name: string;
  readonly type: FieldType;
  readonly value: Value;
}

/** In the order of revisions; what changed twice in one commit is told once, at its last revision. */
export type LdbChange =
  | {
      readonly kind: 'row';
      readonly revision: number;
      readonly family: string;
      readonly table: string;
      /** The primary key, in its order. */
      readonly key: readonly KeyField[];
    }
  /** A key that is no row's. */
  | { readonly kind: 'key'; readonly revision: number; readonly key: Uint8Array }
  /** Made, given fields, cleared or dropped: any row of it may be another. */
  | { readonly kind: 'table'; readonly revision: number; readonly family: string; readonly table: string }
  /** Anything up to `revision` may have changed without being told: read anew what is remembered. */
  | { readonly kind: 'out-of-sync'; readonly revision: number };

export class ChangeNames {
  readonly #readTables: () => readonly TableSchema[];
  #schemas: Map<number, TableSchema> | undefined;

  /** `readTables`: those of the LDB, as it is at that moment. */
  constructor(readTables: () => readonly TableSchema[]) {
    this.#readTables = readTables;
  }

  /** Nobody listened to the last ones: the LDB is asked again. */
  forget(): void {
    this.#schemas = undefined;
  }

  named({ revision, changes }: LdbChanges): LdbChange[] {
    if (changes === undefined) {
      this.#schemas = undefined;
      return [{ kind: 'out-of-sync', revision }];
    }
    const schemas = this.#learnt(changes);
    const named: LdbChange[] = [];
    for (const { key, revision: at } of changes) {
      if (!isControlKey(key)) named.push({ kind: 'key', revision: at, key });
      else if (key[1] === TABLES_PREFIX[1]) named.push({ kind: 'table', revision: at, ...namesOfTableKey(key) });
      else if (key[1] === ROWS_PREFIX[1]) {
        const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
        const schema = schemas.get(view.getUint32(ROWS_PREFIX.length));
        if (schema?.epoch === view.getUint32(ROWS_PREFIX.length + 4)) named.push(rowOf(schema, key, at));
      }
    }
    return named;
  }

  /** The tables as they are behind the commit. */
  #learnt(changes: NonNullable<LdbChanges['changes']>): ReadonlyMap<number, TableSchema> {
    if (this.#schemas === undefined) {
      this.#schemas = new Map(this.#readTables().map((schema) => [schema.id, schema]));
      return this.#schemas;
    }
    for (const { kind, key, value } of changes) {
      if (!isControlKey(key) || key[1] !== TABLES_PREFIX[1]) continue;
      if (kind === 'shown') {
        this.forget();
        return this.#learnt([]);
      }
      if (kind === 'put') {
        const schema = decodeSchema(key, value);
        this.#schemas.set(schema.id, schema);
        continue;
      }
      const { family, table } = namesOfTableKey(key);
      for (const [id, other] of this.#schemas) {
        if (other.family === family && other.table === table) this.#schemas.delete(id);
      }
    }
    return this.#schemas;
  }
}

function rowOf(schema: TableSchema, key: Uint8Array, revision: number): LdbChange {
  const { family, table, fields } = schema;
  const values = decodeRowKey(key);
  const named = schema.key.map((place, i): KeyField => {
    const field = fields[place];
    return { name: field?.name ?? '', type: field?.type ?? 'string', value: values[i] ?? null };
  });
  return { kind: 'row', revision, family, table, key: named };
}

/** What of the changes is wanted: rows of a family, or of one table of it; or keys that begin with `prefix`. Default: all. */
export interface ChangesFilter {
  readonly family?: string;
  /** With `family`. */
  readonly table?: string;
  readonly prefix?: Uint8Array | string;
}

/** Being out of sync is everybody's. */
export function isWanted(change: LdbChange, { family, table, prefix }: ChangesFilter): boolean {
  if (change.kind === 'out-of-sync') return true;
  if (prefix !== undefined) return change.kind === 'key' && begins(change.key, prefix);
  if (family === undefined) return true;
  if (change.kind === 'key' || change.family !== family.toLowerCase()) return false;
  return table === undefined || change.table === table.toLowerCase();
}

function begins(key: Uint8Array, prefix: Uint8Array | string): boolean {
  const wanted = typeof prefix === 'string' ? Buffer.from(prefix) : prefix;
  return key.length >= wanted.length && compareBytes(key.subarray(0, wanted.length), wanted) === 0;
}

/**
 * A change as a line of JSON, without its end:
 *
 *   {"revision":12,"family":"billing","table":"plans","key":[{"name":"id","type":"string","value":"pro"}]}
 *   {"revision":12,"key":"flags/new-ui"}             "keyBase64" for one that is not UTF-8
 *   {"revision":12,"family":"billing","table":"plans"}        any row of it
 *   {"revision":12,"outOfSync":true}                          anything
 *
 * Bytes are base64; whole numbers from 2 ** 53 on are texts of digits.
 */
export function lineOf(change: LdbChange): string {
  const { revision } = change;
  switch (change.kind) {
    case 'out-of-sync':
      return JSON.stringify({ revision, outOfSync: true });
    case 'table':
      return JSON.stringify({ revision, family: change.family, table: change.table });
    case 'row': {
      const key = change.key.map(({ name, type, value }) => ({ name, type, value: jsonOf(value) }));
      return JSON.stringify({ revision, family: change.family, table: change.table, key });
    }
    case 'key':
      return JSON.stringify({ revision, ...keyOf(change.key) });
    default:
      return unreachable(change);
  }
}

function jsonOf(value: Value): string | number | null {
  if (typeof value === 'bigint') return value.toString();
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
}

function keyOf(key: Uint8Array): Readonly<Record<string, string>> {
  const shown = Buffer.from(key).toString('utf8');
  const isText = Buffer.compare(Buffer.from(shown), key) === 0;
  return isText ? { key: text(key) } : { keyBase64: Buffer.from(key).toString('base64') };
}
