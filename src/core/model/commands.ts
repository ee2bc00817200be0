/**
 * Commands: what a log entry says. Deterministic: time and everything else that two nodes could see
 * differently is in the bytes.
 *
 *   command = kind u8 | timeMs f64 | origin u64 | token u32 | call
 *   call    = session varint | seq varint | acked varint | body
 *
 *   timeMs   log time: stamped by the leader when it proposes (0 until then)
 *   origin   the boot of the node whose client asked: only there is the answer of use
 *   token    the request at that node
 *   session  0 = none; seq: the request in its session; acked: every seq up to here needs no answer any more
 *
 *   put         = ttlMs varint (0: none) | key blob | value blob
 *   delete      = key blob
 *   txn         = count varint, condition* | count varint, operation* | count varint, operation*   (then, else)
 *   control     = families, tables, writers and rows: control/commands.ts
 *   openSession = ttlMs varint
 *   keepAlive, closeSession, clock = (nothing)
 *
 *   condition = 0 key blob, revision varint   the newest version has this revision (0: absent)
 *             | 1 key blob                    present
 *             | 2 key blob, value blob        present, with these bytes
 *   operation = 0 ttlMs varint, key blob, value blob   put
 *             | 1 key blob                             delete
 *             | 2 key blob                             get
 *
 * A `call` is the same bytes on the client's socket and in the log: the gateway checks it and copies it.
 */
import { type ByteReader, type ByteWriter, equalBytes } from '../base/bytes.ts';
import { StoreError } from '../base/errors.ts';
import { checkControl } from './control/commands.ts';
import { type Limits, LIMITS, checkUserKey, checkValue } from './limits.ts';

export type CommandKind = 'put' | 'delete' | 'txn' | 'openSession' | 'keepAlive' | 'closeSession' | 'clock' | 'control';

const KINDS: readonly (CommandKind | undefined)[] = [
  undefined,
  'put',
  'delete',
  'txn',
  'openSession',
  'keepAlive',
  'closeSession',
  'clock',
  'control',
];

export const commandCode = (kind: CommandKind): number => KINDS.indexOf(kind);
export const commandKind = (code: number): CommandKind | undefined => KINDS[code];

/** Bytes before the call. */
export const COMMAND_HEADER_BYTES = 21;
const TIME_AT = 1;
const TOKEN_AT = 17;

export interface CommandHeader {
  readonly kind: CommandKind;
  readonly origin: number;
  readonly token: number;
}

export function encodeCommandHeader(writer: ByteWriter, header: CommandHeader): void {
  writer.u8(commandCode(header.kind)).f64(0).u64(header.origin).u32(header.token);
}

const CLOCK_WAS_SET = 1;

/** A whole command that advances log time and does nothing else. `wasSet`: the leader's clock was, before this stamp. */
export function encodeClock(writer: ByteWriter, wasSet = false): void {
  encodeCommandHeader(writer, { kind: 'clock', origin: 0, token: 0 });
  writer.varint(0).varint(0).varint(0);
  if (wasSet) writer.u8(CLOCK_WAS_SET);
}

/** Of a clock's call, read from its beginning. */
export const saysClockWasSet = (reader: ByteReader): boolean => reader.left === 4 && reader.raw(4)[3] === CLOCK_WAS_SET;

/** The leader's stamp: log time in milliseconds. */
export function stampTime(command: Uint8Array, timeMs: number): void {
  new DataView(command.buffer, command.byteOffset, command.byteLength).setFloat64(TIME_AT, timeMs, true);
}

/** A command's token, by which the node that took it knows it again. */
export function tokenOf(command: Uint8Array): number {
  return new DataView(command.buffer, command.byteOffset, command.byteLength).getUint32(TOKEN_AT, true);
}

export const SESSION_TTL_MS_MIN = 1_000;
export const SESSION_TTL_MS_MAX: number = 24 * 60 * 60 * 1000;
/** Longest time to live of a value: a hundred years, so that sums stay exact. */
export const TTL_MS_MAX: number = 100 * 366 * 24 * 60 * 60 * 1000;

export interface Condition {
  readonly kind: 'revision' | 'exists' | 'value';
  readonly key: Uint8Array;
  readonly revision: number;
  readonly value: Uint8Array;
}

export interface Operation {
  readonly kind: 'put' | 'delete' | 'get';
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly ttlMs: number;
}

export interface Txn {
  readonly conditions: readonly Condition[];
  readonly then: readonly Operation[];
  readonly otherwise: readonly Operation[];
}

const NONE = new Uint8Array(0);

export function encodeTxn(writer: ByteWriter, txn: Txn): void {
  writer.varint(txn.conditions.length);
  for (const condition of txn.conditions) {
    if (condition.kind === 'revision') writer.u8(0).blob(condition.key).varint(condition.revision);
    else if (condition.kind === 'exists') writer.u8(1).blob(condition.key);
    else writer.u8(2).blob(condition.key).blob(condition.value);
  }
  for (const branch of [txn.then, txn.otherwise]) {
    writer.varint(branch.length);
    for (const operation of branch) {
      if (operation.kind === 'put') writer.u8(0).varint(operation.ttlMs).blob(operation.key).blob(operation.value);
      else writer.u8(operation.kind === 'delete' ? 1 : 2).blob(operation.key);
    }
  }
}

/** Past `opsMax` conditions and operations it stops with TXN_TOO_LARGE, before it makes anything of them. */
export function decodeTxn(reader: ByteReader, opsMax: number = Number.POSITIVE_INFINITY): Txn {
  let total = 0;
  const count = (): number => {
    const more = reader.varint();
    total += more;
    if (total > opsMax) {
      throw new StoreError('TXN_TOO_LARGE', `a txn may have ${opsMax} operations; this one has ${total} or more`, {
        data: { limit: opsMax, size: total },
      });
    }
    return more;
  };
  const conditions: Condition[] = [];
  for (let left = count(); left > 0; left--) conditions.push(decodeCondition(reader));
  const branches: Operation[][] = [[], []];
  for (const branch of branches) {
    for (let left = count(); left > 0; left--) branch.push(decodeOperation(reader));
  }
  return { conditions, then: branches[0] ?? [], otherwise: branches[1] ?? [] };
}

function decodeCondition(reader: ByteReader): Condition {
  const code = reader.u8();
  const key = reader.blob();
  switch (code) {
    case 0:
      return { kind: 'revision', key, revision: reader.varint(), value: NONE };
    case 1:
      return { kind: 'exists', key, revision: 0, value: NONE };
    case 2:
      return { kind: 'value', key, revision: 0, value: reader.blob() };
    default:
      throw new StoreError('PROTOCOL_ERROR', `unknown condition ${code} in a txn`);
  }
}

function decodeOperation(reader: ByteReader): Operation {
  const code = reader.u8();
  if (code === 0) {
    const ttlMs = reader.varint();
    return { kind: 'put', ttlMs, key: reader.blob(), value: reader.blob() };
  }
  if (code === 1 || code === 2) {
    return { kind: code === 1 ? 'delete' : 'get', key: reader.blob(), value: NONE, ttlMs: 0 };
  }
  throw new StoreError('PROTOCOL_ERROR', `unknown operation ${code} in a txn`);
}

/**
 * Checks a call's body against the limits, before it may enter the log: what is in the log always applies.
 * Throws the typed error that the caller gets.
 */
export function checkBody(kind: CommandKind, reader: ByteReader, limits: Limits = LIMITS): void {
  switch (kind) {
    case 'put':
      checkTtl(reader.varint());
      checkUserKey(reader.blob(), limits);
      checkValue(reader.blob(), limits);
      break;
    case 'delete':
      checkUserKey(reader.blob(), limits);
      break;
    case 'txn':
      checkTxn(reader, limits);
      break;
    case 'openSession': {
      const ttlMs = reader.varint();
      if (ttlMs < SESSION_TTL_MS_MIN || ttlMs > SESSION_TTL_MS_MAX) {
        throw new StoreError('BAD_REQUEST', `a session lives ${SESSION_TTL_MS_MIN} to ${SESSION_TTL_MS_MAX} ms`);
      }
      break;
    }
    case 'control':
      checkControl(reader);
      break;
    case 'keepAlive':
    case 'closeSession':
      break;
    case 'clock':
      throw new StoreError('BAD_REQUEST', "log time is the leader's to set");
  }
  reader.end();
}

function checkTtl(ttlMs: number): void {
  if (ttlMs > TTL_MS_MAX) throw new StoreError('BAD_REQUEST', `a ttl may be ${TTL_MS_MAX} ms; this one is ${ttlMs}`);
}

function checkTxn(reader: ByteReader, limits: Limits): void {
  const { left: bytes } = reader;
  if (bytes > limits.txnBytesMax) {
    throw new StoreError('TXN_TOO_LARGE', `a txn may have ${limits.txnBytesMax} bytes; this one has ${bytes}`, {
      data: { limit: limits.txnBytesMax, size: bytes },
    });
  }
  const txn = decodeTxn(reader, limits.txnOpsMax);
  for (const condition of txn.conditions) checkUserKey(condition.key, limits);
  for (const branch of [txn.then, txn.otherwise]) {
    const written: Uint8Array[] = [];
    for (const operation of branch) {
      checkUserKey(operation.key, limits);
      checkValue(operation.value, limits);
      checkTtl(operation.ttlMs);
      if (operation.kind === 'get') continue;
      if (written.some((key) => equalBytes(key, operation.key))) {
        throw new StoreError('BAD_REQUEST', 'a txn may write a key once in a branch');
      }
      written.push(operation.key);
    }
  }
}
