/**
 * Workload: what clients do. Few keys, so that calls meet; every value that is written is unlike all others, so that
 * each can be told from where it came.
 */
import { must, unreachable } from '../../src/core/base/assert.ts';
import { ByteWriter, utf8 } from '../../src/core/base/bytes.ts';
import { type Condition, encodeTxn, type Operation } from '../../src/core/model/commands.ts';
import * as wire from '../../src/core/wire/client.ts';
import type { Chance } from './chance.ts';
import type { Reference } from './reference.ts';

export interface Read {
  readonly key: Uint8Array;
  readonly isLocal: boolean;
  readonly atLeast: number;
}

/** One request: what its body says behind session and number. */
export interface Call {
  readonly kind: wire.RequestKind;
  readonly isWrite: boolean;
  readonly body: Uint8Array;
  readonly read?: Read;
}

/** What is asked, and how often. */
const KINDS = [
  [30, 'put'],
  [8, 'delete'],
  [6, 'expiring'],
  [20, 'append'],
  [8, 'swap'],
  [6, 'pair'],
  [25, 'read'],
  [10, 'local'],
] as const;

const KEYS = 6;
const NONE = new Uint8Array(0);
const LIST_BYTES_MAX = 300;

const keyAt = (n: number): Uint8Array => utf8(`key-${n}`);
const put = (key: Uint8Array, value: Uint8Array, ttlMs: number = 0): Operation => ({ kind: 'put', key, value, ttlMs });
const remove = (key: Uint8Array): Operation => ({ kind: 'delete', key, value: NONE, ttlMs: 0 });
const read = (key: Uint8Array): Operation => ({ kind: 'get', key, value: NONE, ttlMs: 0 });

/** `tag` is in no other call. */
export function nextCall(chance: Chance, reference: Reference, tag: string): Call {
  const key = keyAt(chance.below(KEYS));
  // Some are long, so that memtables fill and records cross blocks and segments.
  const value = utf8(chance.is(0.2) ? tag.padEnd(50 + chance.below(700), '.') : tag);
  const kind = chance.weighted(KINDS);
  switch (kind) {
    case 'put':
      return write(wire.REQUEST.put, (writer) => writer.varint(0).blob(key).blob(value));
    case 'expiring':
      return write(wire.REQUEST.put, (writer) =>
        writer
          .varint(1 + chance.below(3_000))
          .blob(key)
          .blob(value),
      );
    case 'delete':
      return write(wire.REQUEST.delete, (writer) => writer.blob(key));
    case 'append':
      return append(chance, reference, tag);
    case 'swap': {
      const now = newest(reference, key);
      const conditions: Condition[] =
        now === undefined || chance.is(0.2)
          ? [{ kind: 'exists', key, revision: 0, value: NONE }]
          : [{ kind: 'value', key, revision: 0, value: now }];
      return txn(conditions, [put(key, value)], [read(key)]);
    }
    case 'pair': {
      const other = keyAt((KEYS + chance.below(KEYS)) % (2 * KEYS));
      return txn([], [put(key, value), chance.is(0.7) ? put(other, value) : remove(other), read(keyAt(0))], []);
    }
    case 'read':
      return { kind: wire.REQUEST.get, isWrite: false, body: NONE, read: { key, isLocal: false, atLeast: 0 } };
    case 'local':
      return { kind: wire.REQUEST.get, isWrite: false, body: NONE, read: { key, isLocal: true, atLeast: 0 } };
    default:
      return unreachable(kind);
  }
}

export const readsKey = (call: Call): Read => must(call.read, 'a call that is no write reads');

/** Appends to a list if it is still as it was seen: of two who saw the same, one does. */
function append(chance: Chance, reference: Reference, tag: string): Call {
  const key = utf8(`list-${chance.below(2)}`);
  const now = reference.state.get(Buffer.from(key).toString('latin1'));
  const item = utf8(`${tag},`);
  const list = now === undefined || now.value.length > LIST_BYTES_MAX ? item : Buffer.concat([now.value, item]);
  const condition: Condition = { kind: 'revision', key, revision: now?.revision ?? 0, value: NONE };
  return txn([condition], [put(key, new Uint8Array(list))], [read(key)]);
}

function newest(reference: Reference, key: Uint8Array): Uint8Array | undefined {
  return reference.state.get(Buffer.from(key).toString('latin1'))?.value;
}

function txn(conditions: readonly Condition[], then: readonly Operation[], otherwise: readonly Operation[]): Call {
  return write(wire.REQUEST.txn, (writer) => encodeTxn(writer, { conditions, then, otherwise }));
}

function write(kind: wire.RequestKind, body: (writer: ByteWriter) => unknown): Call {
  const writer = new ByteWriter(256);
  body(writer);
  return { kind, isWrite: true, body: writer.take() };
}
