/**
 * Changes of an LDB by their names, and the lines of a changelog that say them (src/reflector/changelog.ts writes them,
 * changelog-follower.ts reads them).
 */
import { unreachable } from '../../core/base/assert.ts';
import { compareBytes, text, utf8 } from '../../core/base/bytes.ts';
import { StoreError } from '../../core/base/errors.ts';
import { FIELD_TYPES, type FieldType } from '../../core/model/control/schema.ts';
import type { Value } from '../../core/model/control/value.ts';

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
  const wanted = typeof prefix === 'string' ? utf8(prefix) : prefix;
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

/** The change that a line says. Throws PROTOCOL_ERROR for one that says none. */
export function changeOfLine(line: string): LdbChange {
  const said = parsed(line);
  const { revision } = said;
  if (typeof revision !== 'number' || !Number.isSafeInteger(revision) || revision < 0) throw noLine();
  if (said['outOfSync'] === true) return { kind: 'out-of-sync', revision };
  const { family, table, key, keyBase64 } = said;
  if (typeof family === 'string' && typeof table === 'string') {
    if (key === undefined) return { kind: 'table', revision, family, table };
    if (Array.isArray(key)) return { kind: 'row', revision, family, table, key: key.map(fieldOf) };
  }
  if (family === undefined && typeof key === 'string') return { kind: 'key', revision, key: utf8(key) };
  if (typeof keyBase64 === 'string') return { kind: 'key', revision, key: Buffer.from(keyBase64, 'base64') };
  throw noLine();
}

function parsed(line: string): Readonly<Record<string, unknown>> {
  try {
    const said: unknown = JSON.parse(line);
    if (typeof said === 'object' && said !== null) return said as Readonly<Record<string, unknown>>;
  } catch (cause) {
    throw noLine(cause);
  }
  throw noLine();
}

/** A field of a key, with the value that `jsonOf` made its JSON of. */
function fieldOf(said: unknown): KeyField {
  const { name, type, value } = (said ?? {}) as Readonly<Record<string, unknown>>;
  const known = FIELD_TYPES.find((one) => one === type);
  if (typeof name !== 'string' || known === undefined) throw noLine();
  return { name, type: known, value: valueOf(known, value) };
}

function valueOf(type: FieldType, value: unknown): Value {
  if (value === null || typeof value === 'number') return value;
  if (typeof value !== 'string') throw noLine();
  if (type === 'binary' || type === 'bytestring') return Buffer.from(value, 'base64');
  return type === 'integer' ? bigintOf(value) : value;
}

function bigintOf(digits: string): bigint {
  if (!/^-?\d{1,20}$/.test(digits)) throw noLine();
  return BigInt(digits);
}

const noLine = (cause?: unknown): StoreError => new StoreError('PROTOCOL_ERROR', 'no line of a changelog', { cause });
