/**
 * Private rows: what of control data no replica and no watch may see: writers with their secrets' hashes and cookies, and
 * limits. They lie in a keyspace of a node's tree beside the users' one and make no ledger records.
 *
 *   'd'                            what holds where nothing else is said   limit of writers | limit of tables
 *   't' family 00 table            a table's own limit                     limit of tables
 *   'w' writer                     a writer                                hash 32 | created varint | cookie blob | limit of writers
 *
 *   limit = 0 | 1, varint, varint      (rows, periodMs · warnBytes, maxBytes)
 *   every value begins with its format u8 (1)
 */
import { ByteReader, ByteWriter, text, utf8 } from '../../base/bytes.ts';
import { StoreError } from '../../base/errors.ts';
import { HASH_BYTES, type TableLimit, type WriterLimit } from './commands.ts';

export interface Writer {
  /** SHA-256 of its secret. */
  readonly hash: Uint8Array;
  /** The revision that registered it. */
  readonly created: number;
  readonly cookie: Uint8Array;
  /** Undefined: the default one. */
  readonly limit: WriterLimit | undefined;
}

export interface Defaults {
  /** Undefined: as much as they like. */
  readonly writers: WriterLimit | undefined;
  readonly tables: TableLimit | undefined;
}

const MIB = 1024 * 1024;
/** ctlstore's for tables. Its thousand rows a minute for writers were for a database that took a hundred a second. */
export const DEFAULTS: Defaults = { writers: undefined, tables: { warnBytes: 50 * MIB, maxBytes: 100 * MIB } };

const FORMAT = 1;
const LIMIT_BYTE = 0x74;
const WRITER_BYTE = 0x77;
const NAME_END = 0;

export const DEFAULTS_KEY: Uint8Array = Uint8Array.of(0x64);
export const TABLE_LIMITS_PREFIX: Uint8Array = Uint8Array.of(LIMIT_BYTE);
export const WRITERS_PREFIX: Uint8Array = Uint8Array.of(WRITER_BYTE);

export const writerKey = (writer: string): Uint8Array => new ByteWriter(64).u8(WRITER_BYTE).raw(utf8(writer)).take();
export const writerOfKey = (key: Uint8Array): string => text(key.subarray(1));

export const tableLimitKey = (family: string, table: string): Uint8Array =>
  new ByteWriter(96).u8(LIMIT_BYTE).raw(utf8(family)).u8(NAME_END).raw(utf8(table)).take();

export function tableOfLimitKey(key: Uint8Array): { readonly family: string; readonly table: string } {
  const end = key.indexOf(NAME_END);
  return { family: text(key.subarray(1, end)), table: text(key.subarray(end + 1)) };
}

export function encodeWriter({ hash, created, cookie, limit }: Writer): Uint8Array {
  const writer = new ByteWriter(96).u8(FORMAT).raw(hash).varint(created).blob(cookie);
  encodeWriterLimit(writer, limit);
  return writer.take();
}

export function decodeWriter(value: Uint8Array): Writer {
  const reader = open(value);
  const hash = reader.raw(HASH_BYTES);
  return { hash, created: reader.varint(), cookie: reader.blob(), limit: decodeWriterLimit(reader) };
}

export function encodeDefaults({ writers, tables }: Defaults): Uint8Array {
  const writer = new ByteWriter(32).u8(FORMAT);
  encodeWriterLimit(writer, writers);
  encodeTableLimitTo(writer, tables);
  return writer.take();
}

export function decodeDefaults(value: Uint8Array | undefined): Defaults {
  if (value === undefined) return DEFAULTS;
  const reader = open(value);
  return { writers: decodeWriterLimit(reader), tables: decodeTableLimitFrom(reader) };
}

export function encodeTableLimit(limit: TableLimit): Uint8Array {
  const writer = new ByteWriter(32).u8(FORMAT);
  encodeTableLimitTo(writer, limit);
  return writer.take();
}

export const decodeTableLimit = (value: Uint8Array): TableLimit | undefined => decodeTableLimitFrom(open(value));

function encodeWriterLimit(writer: ByteWriter, limit: WriterLimit | undefined): void {
  if (limit === undefined) writer.u8(0);
  else writer.u8(1).varint(limit.rows).varint(limit.periodMs);
}

function decodeWriterLimit(reader: ByteReader): WriterLimit | undefined {
  return reader.u8() === 0 ? undefined : { rows: reader.varint(), periodMs: reader.varint() };
}

function encodeTableLimitTo(writer: ByteWriter, limit: TableLimit | undefined): void {
  if (limit === undefined) writer.u8(0);
  else writer.u8(1).varint(limit.warnBytes).varint(limit.maxBytes);
}

function decodeTableLimitFrom(reader: ByteReader): TableLimit | undefined {
  return reader.u8() === 0 ? undefined : { warnBytes: reader.varint(), maxBytes: reader.varint() };
}

function open(value: Uint8Array): ByteReader {
  const reader = new ByteReader(value);
  const format = reader.u8();
  if (format === FORMAT) return reader;
  throw new StoreError('PROTOCOL_ERROR', `a private row of format ${format}; ${FORMAT} is known`);
}
