/**
 * ChangeNames: what a commit changed, by names: rows by family, table and primary key, users' keys as they are.
 *
 * Rows in the ledger say their table by number. Which number is which is learnt from schemas as they pass, and, once at the
 * beginning and behind each snapshot, from the LDB. A schema that changed is told as its table: fields came, or it was
 * cleared or dropped, so that any row of it may be another. What is swept up behind a clear or a drop is then no news: rows
 * of a number, or of an epoch, that no schema has.
 */
import type { LdbChanges } from '../actors/ldb-changes.ts';
import { decodeRowKey } from '../core/model/control/row-key.ts';
import {
  decodeSchema,
  isControlKey,
  namesOfTableKey,
  ROWS_PREFIX,
  TABLES_PREFIX,
  type TableSchema,
} from '../core/model/control/schema.ts';
import type { KeyField, LdbChange } from '../engine/ldb/changes.ts';

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
