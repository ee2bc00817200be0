/**
 * What a Machine should do, said as simply as possible: plain maps, strings for keys, no cleverness. And helpers
 * that write commands and read what a machine made of them.
 */
import { ByteReader, ByteWriter, text, utf8 } from '../../../src/core/base/bytes.ts';
import { toIndex } from '../../../src/core/base/position.ts';
import {
  type CommandKind,
  type Condition,
  encodeCommandHeader,
  encodeTxn,
  type Operation,
  stampTime,
  type Txn,
} from '../../../src/core/model/commands.ts';
import { decodeRecords, type LedgerRecord } from '../../../src/core/model/ledger.ts';
import { Machine } from '../../../src/core/model/machine.ts';
import {
  createTableSizes,
  type SizeOfTable,
  TableSizesReader,
  TableSizesWriter,
} from '../../../src/actors/table-sizes.ts';
import { PlainState } from '../../support/plain-state.ts';

export const ORIGIN = 77;

export interface Call {
  readonly session?: number;
  readonly seq?: number;
  readonly acked?: number;
  readonly timeMs?: number;
  readonly origin?: number;
  readonly token?: number;
}

export function command(kind: CommandKind, call: Call, body: (writer: ByteWriter) => void = () => {}): Uint8Array {
  const writer = new ByteWriter();
  encodeCommandHeader(writer, { kind, origin: call.origin ?? ORIGIN, token: call.token ?? 0 });
  writer
    .varint(call.session ?? 0)
    .varint(call.seq ?? 0)
    .varint(call.acked ?? 0);
  body(writer);
  const bytes = writer.take();
  stampTime(bytes, call.timeMs ?? 0);
  return bytes;
}

const bytesOf = (value: string | Uint8Array): Uint8Array => (typeof value === 'string' ? utf8(value) : value);

export const put = (
  key: string | Uint8Array,
  value: string | Uint8Array,
  call: Call & { ttlMs?: number } = {},
): Uint8Array =>
  command('put', call, (writer) =>
    writer
      .varint(call.ttlMs ?? 0)
      .blob(bytesOf(key))
      .blob(bytesOf(value)),
  );
export const del = (key: string | Uint8Array, call: Call = {}): Uint8Array =>
  command('delete', call, (writer) => writer.blob(bytesOf(key)));
export const txn = (body: Partial<Txn>, call: Call = {}): Uint8Array =>
  command('txn', call, (writer) => encodeTxn(writer, { conditions: [], then: [], otherwise: [], ...body }));
export const openSession = (ttlMs: number, call: Call = {}): Uint8Array =>
  command('openSession', call, (writer) => writer.varint(ttlMs));
export const clock = (timeMs: number): Uint8Array => command('clock', { timeMs, origin: 0 });

const NONE: Uint8Array = new Uint8Array(0);

/** Conditions, by name. */
export const when = {
  revision: (key: string, revision: number): Condition => ({ kind: 'revision', key: utf8(key), revision, value: NONE }),
  exists: (key: string): Condition => ({ kind: 'exists', key: utf8(key), revision: 0, value: NONE }),
  value: (key: string, value: string): Condition => ({
    kind: 'value',
    key: utf8(key),
    revision: 0,
    value: utf8(value),
  }),
};

/** Operations, by name. */
export const op = {
  put: (key: string, value: string, ttlMs = 0): Operation => ({
    kind: 'put',
    key: utf8(key),
    value: utf8(value),
    ttlMs,
  }),
  delete: (key: string): Operation => ({ kind: 'delete', key: utf8(key), value: NONE, ttlMs: 0 }),
  get: (key: string): Operation => ({ kind: 'get', key: utf8(key), value: NONE, ttlMs: 0 }),
};

export interface Answer {
  readonly token: number;
  readonly code: number;
  readonly revision: number;
  readonly extra: Uint8Array;
}

/** A machine over a real memtable, applied entry by entry. */
export class Bench {
  readonly table: PlainState;
  readonly #origin: number;
  machine: Machine;
  #tableSizes = createTableSizes();

  constructor(options: { readonly origin?: number; readonly arenaBytes?: number } = {}) {
    const { origin = ORIGIN, arenaBytes = 4 * 1024 * 1024 } = options;
    this.table = new PlainState(new SharedArrayBuffer(arenaBytes));
    this.#origin = origin;
    this.machine = this.#newMachine();
  }

  /** A new machine over the same rows, from what the old one saved: what a restarted node does. */
  restart(): void {
    const saved = new ByteWriter(256);
    this.machine.save(saved);
    this.#tableSizes = createTableSizes();
    this.machine = this.#newMachine();
    const reader = new ByteReader(saved.take());
    this.machine.restore(reader);
    reader.end();
    for (const { key, expiryMs, revision } of this.table.expiries.values()) {
      this.machine.remember(key, expiryMs, revision);
    }
  }

  #newMachine(): Machine {
    const sizes = new TableSizesWriter(this.#tableSizes);
    return new Machine(this.table, this.#origin, (id, size) => sizes.note(id, size));
  }

  /** What everybody is told of the tables' sizes. */
  sizesTold(): SizeOfTable[] {
    return new TableSizesReader(this.#tableSizes).list();
  }

  /** Applies one entry at the next index; what it made. */
  apply(data: Uint8Array): { record: LedgerRecord; answer: Answer | undefined; recordBytes: Uint8Array } {
    const { machine } = this;
    machine.apply(toIndex(machine.applied + 1), data);
    const recordBytes = machine.records.take();
    const resultBytes = machine.results.take();
    machine.resetRecords();
    machine.results.reset();
    const records = decodeRecords(recordBytes);
    if (records.length !== 1) throw new Error(`an entry makes one record, this one made ${records.length}`);
    let answer: Answer | undefined;
    if (resultBytes.length > 0) {
      const reader = new ByteReader(resultBytes);
      answer = { token: reader.u32(), code: reader.u8(), revision: reader.u64(), extra: reader.blob().slice() };
      reader.end();
    }
    return { record: records[0]!, answer, recordBytes };
  }

  get(key: string): string | undefined {
    const stored = this.table.newest(utf8(key));
    return stored === undefined ? undefined : text(stored.value);
  }

  /** Everything there is, in order. */
  all(): { key: string; value: string; revision: number; expiryMs: number }[] {
    const cursor = this.table.scan({ from: NONE, to: undefined, reverse: false }, toIndex(Number.MAX_SAFE_INTEGER));
    const all = [];
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
      all.push({ ...entry, key: latin(entry.key), value: latin(entry.value) });
    }
    return all;
  }
}

/** Any bytes as text, one character each. */
const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/** A record's changes as short text: `+key=value@expiry` and `-key`. */
export const changesOf = (record: LedgerRecord): string[] =>
  record.changes.map((change) =>
    change.kind === 'delete'
      ? `-${text(change.key)}`
      : `+${text(change.key)}=${text(change.value)}${change.expiryMs === 0 ? '' : `@${change.expiryMs}`}`,
  );
