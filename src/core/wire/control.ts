/**
 * Requests for private rows, on the client's socket: who may write, what a writer remembers, which limits there are.
 *
 *   controlRead = flags u8 (1: local) | atLeast varint | what u8
 *               | 0                                   list: the answer is a PrivateView as JSON
 *               | 1, writer string, secret string     cookie: the answer is the writer's cookie
 *               | 2                                   sizes: the answer is TableSizeRow[] as JSON
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import { StoreError } from '../base/errors.ts';
import type { TableLimit, WriterLimit } from '../model/control/commands.ts';

export type ControlReadRequest = { readonly isLocal: boolean; readonly atLeast: number } & (
  | { readonly what: 'list' | 'sizes' }
  | { readonly what: 'cookie'; readonly writer: string; readonly secret: string }
);

/** Writers without what only they know, and limits; null: none. */
export interface PrivateView {
  readonly writers: readonly { readonly name: string; readonly created: number; readonly limit: WriterLimit | null }[];
  readonly tables: readonly { readonly family: string; readonly table: string; readonly limit: TableLimit | null }[];
  /** For those that have none of their own. */
  readonly defaults: { readonly writers: WriterLimit | null; readonly tables: TableLimit | null };
}

/** A table, by its live rows: what its limit is judged by. */
export interface TableSizeRow {
  readonly family: string;
  readonly table: string;
  readonly rows: number;
  /** Of live keys and values. */
  readonly bytes: number;
  /** Its own, or the one for all that have none; null: it may be as large as it likes. */
  readonly limit: TableLimit | null;
}

const LOCAL = 1;
const LIST = 0;
const COOKIE = 1;
const SIZES = 2;

export function encodeControlRead(writer: ByteWriter, request: ControlReadRequest): void {
  writer.u8(request.isLocal ? LOCAL : 0).varint(request.atLeast);
  if (request.what === 'cookie') writer.u8(COOKIE).string(request.writer).string(request.secret);
  else writer.u8(request.what === 'list' ? LIST : SIZES);
}

export function decodeControlRead(reader: ByteReader): ControlReadRequest {
  const isLocal = (reader.u8() & LOCAL) !== 0;
  const atLeast = reader.varint();
  const what = reader.u8();
  if (what === LIST) return { isLocal, atLeast, what: 'list' };
  if (what === SIZES) return { isLocal, atLeast, what: 'sizes' };
  if (what === COOKIE) return { isLocal, atLeast, what: 'cookie', writer: reader.string(), secret: reader.string() };
  throw new StoreError('BAD_REQUEST', `unknown request ${what} for control data`);
}
