/**
 * Control commands: what a log entry of kind `control` says of families, tables and writers.
 *
 *   control = what u8 | secret blob | body
 *
 *   1 createFamily    family string
 *   2 createTables    count varint, (family string | table string | fields | count varint, key field string*)*
 *   3 addFields       family string | table string | fields
 *   4 dropTable, 5 clearTable    family string | table string
 *   6 clearFamily     family string
 *   7 mutate          batch (batch.ts)
 *   8 registerWriter, 9 rotateWriter (the secret is the new one), 10 deleteWriter      writer string
 *   11 setCookie      writer string | cookie blob
 *   12 limitWriter    writer string ('': all that have none of their own) | 0, or 1, rows varint, periodMs varint
 *   13 limitTable     family string | table string ('' and '': all …)     | 0, or 1, warnBytes varint, maxBytes varint
 *   14 createStage    stage string | scope (ledger-filter.ts) | count varint, ring string*
 *   15 moveStage      stage string | move u8 (stages.ts) | ring string | reason string
 *   16 dropStage      stage string
 *   fields  = count varint, (name string | type string)*
 *
 * A client sends the secret itself; the node it speaks to puts the secret's SHA-256 in its place (`seal`), so that no log,
 * table or backup ever holds one. Names are as the client wrote them: whoever applies the entry lower-cases them.
 */
import { unreachable } from '../../base/assert.ts';
import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { StoreError } from '../../base/errors.ts';
import { type Batch, checkBatch, checkCookie, decodeBatch, encodeBatch } from './batch.ts';
import { parseFamilyName, parseTableName, parseWriterName } from './names.ts';
import { decodeFilter, encodeFilter, type LedgerFilter } from '../ledger-filter.ts';
import { FIELDS_MAX, KEY_FIELDS_MAX, parseFields, parseKey } from './schema.ts';
import {
  checkReason,
  checkScope,
  parseRings,
  parseStageName,
  RINGS_MAX,
  STAGE_MOVES,
  type StageMove,
} from './stages.ts';

export type FieldPair = readonly [name: string, type: string];

export interface TableDeclaration {
  readonly family: string;
  readonly table: string;
  readonly fields: readonly FieldPair[];
  readonly key: readonly string[];
}

/** So many rows may a writer change in each window of log time. */
export interface WriterLimit {
  readonly rows: number;
  readonly periodMs: number;
}

/** What a table's live keys and values may have: past `maxBytes` nothing is added; `warnBytes` is for watchers. */
export interface TableLimit {
  readonly warnBytes: number;
  readonly maxBytes: number;
}

interface OfTable {
  readonly family: string;
  readonly table: string;
}

export type ControlCommand =
  | { readonly kind: 'createFamily' | 'clearFamily'; readonly family: string }
  | { readonly kind: 'createTables'; readonly tables: readonly TableDeclaration[] }
  | ({ readonly kind: 'addFields'; readonly fields: readonly FieldPair[] } & OfTable)
  | ({ readonly kind: 'dropTable' | 'clearTable' } & OfTable)
  | { readonly kind: 'mutate'; readonly batch: Batch }
  | { readonly kind: 'registerWriter' | 'rotateWriter' | 'deleteWriter'; readonly writer: string }
  | { readonly kind: 'setCookie'; readonly writer: string; readonly cookie: Uint8Array }
  | { readonly kind: 'limitWriter'; readonly writer: string; readonly limit: WriterLimit | undefined }
  | ({ readonly kind: 'limitTable'; readonly limit: TableLimit | undefined } & OfTable)
  | {
      readonly kind: 'createStage';
      readonly stage: string;
      readonly scope: LedgerFilter;
      readonly rings: readonly string[];
    }
  | {
      readonly kind: 'moveStage';
      readonly stage: string;
      readonly move: StageMove;
      /** Of release and follow; of rollback '*': no further back than everybody is. Else ''. */
      readonly ring: string;
      /** Of halt; else ''. */
      readonly reason: string;
    }
  | { readonly kind: 'dropStage'; readonly stage: string };

export type ControlKind = ControlCommand['kind'];

/** By number: the place in this list is format, so new ones go to its end. */
const KINDS: readonly (ControlKind | undefined)[] = [
  undefined,
  'createFamily',
  'createTables',
  'addFields',
  'dropTable',
  'clearTable',
  'clearFamily',
  'mutate',
  'registerWriter',
  'rotateWriter',
  'deleteWriter',
  'setCookie',
  'limitWriter',
  'limitTable',
  'createStage',
  'moveStage',
  'dropStage',
];

export const controlKind = (code: number): ControlKind | undefined => KINDS[code];

/** These need a secret. */
const WITH_SECRET: ReadonlySet<ControlKind> = new Set(['mutate', 'registerWriter', 'rotateWriter', 'setCookie']);
/** These take rows away for good: off, unless the cluster's configuration says otherwise. */
const DESTRUCTIVE: ReadonlySet<ControlKind> = new Set(['dropTable', 'clearTable', 'clearFamily']);
/** These need no room on a full disk, or make some. */
const FREES: ReadonlySet<ControlKind> = new Set([
  ...(['dropTable', 'clearTable', 'clearFamily', 'deleteWriter'] as const),
  // Little, and what an emergency needs most.
  ...(['moveStage', 'dropStage'] as const),
]);

export const SECRET_BYTES_MIN = 3;
export const SECRET_BYTES_MAX = 100;
export const HASH_BYTES = 32;
export const TABLES_PER_COMMAND_MAX = 256;
const CONTROL_BYTES_MAX: number = 4 * 1024 * 1024;
const PERIOD_MS_MAX: number = 24 * 60 * 60 * 1000;

export function encodeControl(writer: ByteWriter, command: ControlCommand, secret = ''): void {
  writer.u8(KINDS.indexOf(command.kind)).string(secret);
  switch (command.kind) {
    case 'createFamily':
    case 'clearFamily':
      writer.string(command.family);
      break;
    case 'createTables':
      writer.varint(command.tables.length);
      for (const { family, table, fields, key } of command.tables) {
        encodeFields(writer.string(family).string(table), fields);
        writer.varint(key.length);
        for (const name of key) writer.string(name);
      }
      break;
    case 'addFields':
      encodeFields(writer.string(command.family).string(command.table), command.fields);
      break;
    case 'dropTable':
    case 'clearTable':
      writer.string(command.family).string(command.table);
      break;
    case 'mutate':
      encodeBatch(writer, command.batch);
      break;
    case 'registerWriter':
    case 'rotateWriter':
    case 'deleteWriter':
      writer.string(command.writer);
      break;
    case 'setCookie':
      writer.string(command.writer).blob(command.cookie);
      break;
    case 'limitWriter':
      encodeLimit(writer.string(command.writer), command.limit && [command.limit.rows, command.limit.periodMs]);
      break;
    case 'limitTable':
      encodeLimit(
        writer.string(command.family).string(command.table),
        command.limit && [command.limit.warnBytes, command.limit.maxBytes],
      );
      break;
    case 'createStage':
      writer.string(command.stage).raw(encodeFilter(command.scope)).varint(command.rings.length);
      for (const ring of command.rings) writer.string(ring);
      break;
    case 'moveStage':
      writer.string(command.stage).u8(STAGE_MOVES.indexOf(command.move)).string(command.ring).string(command.reason);
      break;
    case 'dropStage':
      writer.string(command.stage);
  }
}

function encodeFields(writer: ByteWriter, fields: readonly FieldPair[]): void {
  writer.varint(fields.length);
  for (const [name, type] of fields) writer.string(name).string(type);
}

function encodeLimit(writer: ByteWriter, limit: readonly [number, number] | undefined): void {
  if (limit === undefined) writer.u8(0);
  else writer.u8(1).varint(limit[0]).varint(limit[1]);
}

export interface SealedCommand {
  readonly command: ControlCommand;
  /** In the log, the SHA-256 of the secret; before it is sealed, the secret. Empty where there is none. */
  readonly secret: Uint8Array;
}

/** The bytes are only lent. Throws PROTOCOL_ERROR. */
export function decodeControl(reader: ByteReader): SealedCommand {
  const code = reader.u8();
  const kind = KINDS[code];
  if (kind === undefined) throw new StoreError('PROTOCOL_ERROR', `unknown control command ${code}`);
  const secret = reader.blob();
  return { command: decodeBody(kind, reader), secret };
}

function decodeBody(kind: ControlKind, reader: ByteReader): ControlCommand {
  switch (kind) {
    case 'createFamily':
    case 'clearFamily':
      return { kind, family: reader.string() };
    case 'createTables':
      return { kind, tables: decodeTables(reader) };
    case 'addFields':
      return { kind, family: reader.string(), table: reader.string(), fields: decodeFields(reader) };
    case 'dropTable':
    case 'clearTable':
      return { kind, family: reader.string(), table: reader.string() };
    case 'mutate':
      return { kind, batch: decodeBatch(reader) };
    case 'registerWriter':
    case 'rotateWriter':
    case 'deleteWriter':
      return { kind, writer: reader.string() };
    case 'setCookie':
      return { kind, writer: reader.string(), cookie: reader.blob() };
    case 'limitWriter': {
      const writer = reader.string();
      const limit = decodeLimit(reader);
      return { kind, writer, limit: limit && { rows: limit[0], periodMs: limit[1] } };
    }
    case 'limitTable': {
      const names = { family: reader.string(), table: reader.string() };
      const limit = decodeLimit(reader);
      return { kind, ...names, limit: limit && { warnBytes: limit[0], maxBytes: limit[1] } };
    }
    case 'createStage': {
      const [stage, scope] = [reader.string(), decodeFilter(reader)];
      const rings: string[] = [];
      for (let left = boundedCount(reader, RINGS_MAX, 'rings of a stage'); left > 0; left--)
        rings.push(reader.string());
      return { kind, stage, scope, rings };
    }
    case 'moveStage': {
      const stage = reader.string();
      const code = reader.u8();
      const move = STAGE_MOVES[code];
      if (move === undefined) throw new StoreError('PROTOCOL_ERROR', `unknown move ${code} of a stage`);
      return { kind, stage, move, ring: reader.string(), reason: reader.string() };
    }
    case 'dropStage':
      return { kind, stage: reader.string() };
    default:
      return unreachable(kind);
  }
}

/** A count that is within its bound, before anything is made of it. */
export function boundedCount(reader: ByteReader, limit: number, what: string): number {
  const size = reader.varint();
  if (size <= limit) return size;
  throw new StoreError('BAD_REQUEST', `${what}: ${limit} at most, not ${size}`, { data: { limit, size } });
}

function decodeTables(reader: ByteReader): TableDeclaration[] {
  const tables: TableDeclaration[] = [];
  for (let left = boundedCount(reader, TABLES_PER_COMMAND_MAX, 'tables in a command'); left > 0; left--) {
    const names = { family: reader.string(), table: reader.string() };
    const fields = decodeFields(reader);
    const key: string[] = [];
    for (let keys = boundedCount(reader, KEY_FIELDS_MAX, 'fields of a primary key'); keys > 0; keys--) {
      key.push(reader.string());
    }
    tables.push({ ...names, fields, key });
  }
  return tables;
}

function decodeFields(reader: ByteReader): FieldPair[] {
  const fields: FieldPair[] = [];
  for (let left = boundedCount(reader, FIELDS_MAX, 'fields of a table'); left > 0; left--) {
    fields.push([reader.string(), reader.string()]);
  }
  return fields;
}

function decodeLimit(reader: ByteReader): readonly [number, number] | undefined {
  return reader.u8() === 0 ? undefined : [reader.varint(), reader.varint()];
}

/** What a command asks of the node that takes it in. */
export interface ControlNature {
  readonly isDestructive: boolean;
  /** It may take room on the disk. */
  readonly addsData: boolean;
}

/**
 * Checks a client's command, before it is sealed and may enter the log: names, limits, the secret's length. Throws the
 * typed error that the caller gets.
 */
export function checkControl(reader: ByteReader): ControlNature {
  const { left: size } = reader;
  if (size > CONTROL_BYTES_MAX) {
    throw new StoreError('TXN_TOO_LARGE', `a batch may have ${CONTROL_BYTES_MAX} bytes; this one has ${size}`, {
      data: { limit: CONTROL_BYTES_MAX, size },
    });
  }
  const { command, secret } = decodeControl(reader);
  checkSecret(command.kind, secret);
  checkCommand(command);
  const { kind } = command;
  const onlyDeletes = kind === 'mutate' && command.batch.shapes.every(({ op }) => op === 'delete');
  return { isDestructive: DESTRUCTIVE.has(kind), addsData: !FREES.has(kind) && !onlyDeletes };
}

function checkSecret(kind: ControlKind, { length: size }: Uint8Array): void {
  if (!WITH_SECRET.has(kind)) {
    if (size > 0) throw new StoreError('BAD_REQUEST', `${kind} takes no secret`);
    return;
  }
  if (size >= SECRET_BYTES_MIN && size <= SECRET_BYTES_MAX) return;
  const bounds = `${SECRET_BYTES_MIN} to ${SECRET_BYTES_MAX}`;
  throw new StoreError('BAD_REQUEST', `a writer's secret has ${bounds} bytes; this one has ${size}`, {
    data: { limit: SECRET_BYTES_MAX, size },
  });
}

function checkCommand(command: ControlCommand): void {
  switch (command.kind) {
    case 'createFamily':
    case 'clearFamily':
      parseFamilyName(command.family);
      break;
    case 'createTables':
      if (command.tables.length === 0) throw new StoreError('BAD_REQUEST', 'no table is named');
      for (const { family, table, fields, key } of command.tables) {
        checkTable(family, table);
        parseKey(key, parseFields(fields));
      }
      break;
    case 'addFields':
      checkTable(command.family, command.table);
      if (parseFields(command.fields).length === 0) throw new StoreError('BAD_REQUEST', 'no field is named');
      break;
    case 'dropTable':
    case 'clearTable':
      checkTable(command.family, command.table);
      break;
    case 'mutate':
      checkBatch(command.batch);
      break;
    case 'registerWriter':
    case 'rotateWriter':
    case 'deleteWriter':
      parseWriterName(command.writer);
      break;
    case 'setCookie':
      parseWriterName(command.writer);
      checkCookie(command.cookie);
      break;
    case 'limitWriter':
      if (command.writer !== '') parseWriterName(command.writer);
      checkWriterLimit(command.limit);
      break;
    case 'limitTable':
      if (command.family !== '' || command.table !== '') checkTable(command.family, command.table);
      checkTableLimit(command.limit);
      break;
    case 'createStage':
      parseStageName(command.stage);
      checkScope(command.scope);
      parseRings(command.rings);
      break;
    case 'moveStage':
      parseStageName(command.stage);
      checkReason(command.move, command.reason);
      break;
    case 'dropStage':
      parseStageName(command.stage);
  }
}

function checkTable(family: string, table: string): void {
  parseFamilyName(family);
  parseTableName(table);
}

function checkWriterLimit(limit: WriterLimit | undefined): void {
  if (limit === undefined) return;
  if (limit.periodMs < 1 || limit.periodMs > PERIOD_MS_MAX) {
    throw new StoreError('BAD_REQUEST', `a limit's period is 1 to ${PERIOD_MS_MAX} ms, not ${limit.periodMs}`);
  }
}

function checkTableLimit(limit: TableLimit | undefined): void {
  if (limit === undefined) return;
  const { warnBytes, maxBytes } = limit;
  if (warnBytes < 1 || maxBytes < 1 || warnBytes > maxBytes) {
    throw new StoreError('BAD_REQUEST', `a table's limits are 0 < warn ≤ max, not ${warnBytes} and ${maxBytes}`);
  }
}

/** `call` with the SHA-256 in the place of the secret; the command begins at `at`. */
export function seal(call: Uint8Array, at: number, sha256: (secret: Uint8Array) => Uint8Array): Uint8Array {
  const reader = new ByteReader(call, at + 1);
  const secret = reader.blob();
  if (secret.length === 0) return call;
  return new ByteWriter(call.length + HASH_BYTES)
    .raw(call.subarray(0, at + 1))
    .blob(sha256(secret))
    .raw(call.subarray(reader.at))
    .take();
}

/** A refusal that was decided in the log, as the extra of its answer: message string | data string (JSON). */
export const encodeRefusal = ({ message, data }: StoreError): Uint8Array =>
  new ByteWriter(128).string(message).string(JSON.stringify(data)).take();

export function decodeRefusal(extra: Uint8Array): { readonly message: string; readonly data: Record<string, unknown> } {
  const reader = new ByteReader(extra);
  return { message: reader.string(), data: JSON.parse(reader.string()) as Record<string, unknown> };
}
