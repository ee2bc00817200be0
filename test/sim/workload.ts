/**
 * Workload: what clients do. Few keys, so that calls meet; every value that is written is unlike all others, so that
 * each can be told from where it came.
 */
import { must, unreachable } from '../../src/core/base/assert.ts';
import { ByteWriter, utf8 } from '../../src/core/base/bytes.ts';
import { type Condition, encodeTxn, type Operation } from '../../src/core/model/commands.ts';
import * as wire from '../../src/core/wire/client.ts';
import type { EventFunction, Json } from '../../src/testing/index.ts';
import type { Chance } from './chance.ts';
import { encodeControlCall } from './workload-control.ts';
import { encodeStageCall } from './workload-stages.ts';
import { type Reference, textOf } from './reference.ts';

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
  /** It may be nonsense by the time that it comes. */
  readonly mayBeRefused?: boolean;
  /** As a history says it (src/testing); left out of it otherwise. */
  readonly history?: { readonly f: EventFunction; readonly key?: string; readonly value?: Json };
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

/** Families, tables and rows as well. */
const CONTROL = [25, 'control'] as const;
const STAGES = [9, 'stage'] as const;

const KEYS = 6;
/** Its values expire, so that nobody can say from outside when: it is in no history. */
const BRIEF = 'key-5';
const NONE = new Uint8Array(0);
const LIST_BYTES_MAX = 300;

const keyAt = (n: number): Uint8Array => utf8(`key-${n}`);
const put = (key: Uint8Array, value: Uint8Array, ttlMs: number = 0): Operation => ({ kind: 'put', key, value, ttlMs });
const remove = (key: Uint8Array): Operation => ({ kind: 'delete', key, value: NONE, ttlMs: 0 });
const read = (key: Uint8Array): Operation => ({ kind: 'get', key, value: NONE, ttlMs: 0 });

/** What a client does, and what it does not. */
export interface Habits {
  readonly readsOnly: boolean;
  readonly hasControl: boolean;
  readonly hasStages: boolean;
}

/** `tag` is in no other call. */
export function nextCall(
  chance: Chance,
  reference: Reference,
  tag: string,
  { readsOnly, hasControl, hasStages }: Habits,
): Call {
  const key = keyAt(chance.below(KEYS));
  // Some are long, so that memtables fill and records cross blocks and segments.
  const value = utf8(chance.is(0.2) ? tag.padEnd(50 + chance.below(700), '.') : tag);
  const kind = readsOnly
    ? 'read'
    : chance.weighted([...KINDS, ...(hasControl ? [CONTROL] : []), ...(hasStages ? [STAGES] : [])]);
  switch (kind) {
    case 'put':
      return write(wire.REQUEST.put, (writer) => writer.varint(0).blob(key).blob(value), written(key, value));
    case 'expiring':
      return write(wire.REQUEST.put, (writer) =>
        writer
          .varint(1 + chance.below(3_000))
          .blob(utf8(BRIEF))
          .blob(value),
      );
    case 'delete':
      return write(wire.REQUEST.delete, (writer) => writer.blob(key), written(key, undefined));
    case 'append':
      return append(chance, reference, tag);
    case 'swap':
      return swap(chance, reference, key, value);
    case 'pair': {
      const other = keyAt((KEYS + chance.below(KEYS)) % (2 * KEYS));
      const second = chance.is(0.7) ? put(other, value) : remove(other);
      const parts = [[key, value] as const, [other, second.kind === 'put' ? value : undefined] as const];
      const said = parts.filter(([at]) => textOf(at) !== BRIEF).map(([at, to]) => ['w', textOf(at), jsonOf(to)]);
      return txn([], [put(key, value), second, read(keyAt(0))], [], { f: 'txn', value: said });
    }
    case 'read': {
      const history = textOf(key) === BRIEF ? {} : { history: { f: 'read', key: textOf(key) } as const };
      return {
        kind: wire.REQUEST.get,
        isWrite: false,
        body: NONE,
        read: { key, isLocal: false, atLeast: 0 },
        ...history,
      };
    }
    case 'control':
      return write(wire.REQUEST.control, (writer) => encodeControlCall(writer, chance, tag));
    case 'stage':
      return { ...write(wire.REQUEST.control, (writer) => encodeStageCall(writer, chance, tag)), mayBeRefused: true };
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
  const now = reference.state.get(textOf(key));
  const item = utf8(`${tag},`);
  const list = now === undefined || now.value.length > LIST_BYTES_MAX ? item : Buffer.concat([now.value, item]);
  const condition: Condition = { kind: 'revision', key, revision: now?.revision ?? 0, value: NONE };
  return txn([condition], [put(key, new Uint8Array(list))], [read(key)], swapped(key, now?.value, list));
}

/** Puts a value in the place of the one that was seen, or of any. */
function swap(chance: Chance, reference: Reference, key: Uint8Array, value: Uint8Array): Call {
  const now = reference.state.get(textOf(key))?.value;
  if (now === undefined || chance.is(0.2)) {
    const condition: Condition = { kind: 'exists', key, revision: 0, value: NONE };
    return txn([condition], [put(key, value)], [read(key)], written(key, value));
  }
  const condition: Condition = { kind: 'value', key, revision: 0, value: now };
  return txn([condition], [put(key, value)], [read(key)], swapped(key, now, value));
}

const jsonOf = (value: Uint8Array | undefined): Json => (value === undefined ? null : textOf(value));

const written = (key: Uint8Array, value: Uint8Array | undefined): Call['history'] =>
  textOf(key) === BRIEF ? undefined : { f: 'write', key: textOf(key), value: jsonOf(value) };

const swapped = (key: Uint8Array, from: Uint8Array | undefined, to: Uint8Array): Call['history'] =>
  textOf(key) === BRIEF ? undefined : { f: 'cas', key: textOf(key), value: [jsonOf(from), jsonOf(to)] };

function txn(
  conditions: readonly Condition[],
  then: readonly Operation[],
  otherwise: readonly Operation[],
  history: Call['history'],
): Call {
  return write(wire.REQUEST.txn, (writer) => encodeTxn(writer, { conditions, then, otherwise }), history);
}

function write(kind: wire.RequestKind, body: (writer: ByteWriter) => unknown, history?: Call['history']): Call {
  const writer = new ByteWriter(256);
  body(writer);
  return { kind, isWrite: true, body: writer.take(), ...(history === undefined ? {} : { history }) };
}
