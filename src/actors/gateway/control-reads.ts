/**
 * Control reads: what can be asked of private rows (writers, cookies, limits), and what tables hold. Everything else of control data is read
 * by the keys that it lies at, like any other key.
 *
 * Secrets are compared here, as hashes, and no hash ever leaves.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { utf8 } from '../../core/base/bytes.ts';
import { StoreError } from '../../core/base/errors.ts';
import { parseWriterName } from '../../core/model/control/names.ts';
import {
  decodeDefaults,
  decodeTableLimit,
  decodeWriter,
  DEFAULTS_KEY,
  TABLE_LIMITS_PREFIX,
  tableOfLimitKey,
  writerKey,
  writerOfKey,
  WRITERS_PREFIX,
} from '../../core/model/control/private.ts';
import type { ControlReadRequest, PrivateView } from '../../core/wire/control.ts';
import type { StateReader } from '../../engine/state/state-reader.ts';
import type { TableSizes } from './table-sizes.ts';

export const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

type PrivateState = Pick<StateReader, 'getPrivate' | 'privateRows'>;

export interface ControlReadsWorld {
  readonly state: PrivateState;
  /** What each table holds; without it nobody is told. */
  readonly tableSizes?: Pick<TableSizes, 'list'> | undefined;
}

/** What the answer carries. Throws the typed error that the client gets. */
export function readControl({ state, tableSizes }: ControlReadsWorld, request: ControlReadRequest): Uint8Array {
  if (request.what === 'cookie') return cookieOf(state, request.writer, request.secret);
  if (request.what === 'list') return utf8(JSON.stringify(viewOf(state)));
  if (tableSizes === undefined) throw new StoreError('DISABLED', 'this node does not count its tables');
  return utf8(JSON.stringify(tableSizes.list()));
}

function cookieOf(state: PrivateState, given: string, secret: string): Uint8Array {
  const name = parseWriterName(given);
  const value = state.getPrivate(writerKey(name));
  if (value === undefined) {
    throw new StoreError('NOT_FOUND', `Writer not found: ${name}`, { data: { writer: name } });
  }
  const writer = decodeWriter(value);
  if (timingSafeEqual(writer.hash, sha256(utf8(secret)))) return writer.cookie;
  throw new StoreError('FORBIDDEN', `the secret is not that of writer ${name}`, { data: { writer: name } });
}

function viewOf(state: PrivateState): PrivateView {
  const defaults = decodeDefaults(state.getPrivate(DEFAULTS_KEY));
  const writers = state.privateRows(WRITERS_PREFIX).map(({ key, value }) => {
    const { created, limit = null } = decodeWriter(value);
    return { name: writerOfKey(key), created, limit };
  });
  const tables = state.privateRows(TABLE_LIMITS_PREFIX).map(({ key, value }) => ({
    ...tableOfLimitKey(key),
    limit: decodeTableLimit(value) ?? null,
  }));
  return { writers, tables, defaults: { writers: defaults.writers ?? null, tables: defaults.tables ?? null } };
}
