/**
 * Machine: what the log means. Entry in; state changed, one ledger record made, one answer made.
 *
 * Deterministic: the same entries in the same order give the same state, the same ledger bytes and the same
 * answers on every node and in every replay. No clock, no chance, no iteration over anything unordered.
 *
 * Time comes only from entries and never goes back; keys and sessions expire by the time that certainly passed
 * (log-time.ts). Before an entry acts, everything that it makes due is deleted, as part of the same revision: readers,
 * watchers and LDBs then need no rule of their own for expiry, a delete is a delete.
 *
 * On the put path: stop 7 of 9. From memtable (its actor); to gateway (answers) and shipper (ledger).
 */
import { assert } from '../base/assert.ts';
import { ByteReader, ByteWriter, equalBytes } from '../base/bytes.ts';
import { ERROR_CODE_LIST, type ErrorCode, isStoreError, StoreError } from '../base/errors.ts';
import { type Index, type Revision, toIndex } from '../base/position.ts';
import { checkLevel, FOREIGN_MIN } from './command-levels.ts';
import {
  type CommandKind,
  commandKind,
  type Condition,
  decodeTxn,
  type Operation,
  saysClockWasSet,
} from './commands.ts';
import type { OnTableSize } from './control/catalog.ts';
import { Control } from './control/control.ts';
import { encodeRefusal } from './control/commands.ts';
import type { ControlState } from './control/state.ts';
import { ExpiryQueue } from './expiry.ts';
import { type Change, encodeChange } from './ledger.ts';
import { LogTime } from './log-time.ts';
import { type Session, Sessions, type StoredResult } from './sessions.ts';
import { StateHash } from './state-hash.ts';
import type { Store } from './store.ts';

/** 0 is success; otherwise a place in the error table, plus one. */
export const RESULT_OK = 0;
export const resultCode = (code: ErrorCode): number => ERROR_CODE_LIST.indexOf(code) + 1;
export const errorOfResult = (code: number): ErrorCode | undefined => ERROR_CODE_LIST[code - 1];

/** Keys that one entry may expire, and rows that a clock entry may sweep (control/sweep.ts), together. */
const EXPIRED_PER_ENTRY_MAX = 1024;
/** Rows that any other entry may sweep: somebody waits for it. */
const SWEPT_PER_COMMAND_MAX = 64;
/**
 * Bytes that the gets of one txn may answer with: past it the txn is refused and changes nothing. A request of a
 * few kilobytes could otherwise ask for 128 values of a megabyte, which are kept until the client has them. Part
 * of what the log means, so no node's configuration changes it.
 */
export const TXN_ANSWER_BYTES_MAX: number = 4 * 1024 * 1024;

const NONE = new Uint8Array(0);
const FOUND = new Uint8Array([1]);
const NOT_FOUND = new Uint8Array([0]);

/** Of what `save` writes; its first byte. Without one, the number of `applied` stood there. */
const SAVED_VERSION = 3;
/** It had no control data. */
const SAVED_WITHOUT_CONTROL = 1;

export class Machine {
  readonly #store: Store;
  readonly #origin: number;
  readonly sessions: Sessions = new Sessions();
  /** By age (log-time.ts). */
  readonly #expiry = new ExpiryQueue();
  readonly #time = new LogTime();
  readonly #hash = new StateHash();
  readonly #control: Control;
  /** Bytes of `records` that the hash has. */
  #hashedBytes = 0;
  /** Changes of the entry in hand. */
  #changes: Change[] = [];

  applied: Index = toIndex(0);

  /** Ledger records, one per entry, as in ledger.ts. The driver takes them and calls `resetRecords`. */
  readonly records: ByteWriter = new ByteWriter(64 * 1024);
  /**
   * Answers for this node's own clients: token u32 | code u8 | revision u64 | extra blob. The driver takes and
   * resets it.
   */
  readonly results: ByteWriter = new ByteWriter(16 * 1024);

  constructor(store: Store, origin: number, onTableSize: OnTableSize = () => {}) {
    this.#store = store;
    this.#origin = origin;
    this.#control = new Control(this.#controlState(), onTableSize);
  }

  /** Log time: the greatest stamp applied, in ms. */
  get timeMs(): number {
    return this.#time.nowMs;
  }

  /** The stamp of the leader in charge at which the next key expires; Infinity when none does, or it has no stamp yet. */
  get nextExpiryMs(): number {
    return this.#time.stampAt(this.#control.sweeps ? this.#time.ageMs : this.#expiry.nextMs);
  }

  /** The hash of everything applied (state-hash.ts). Costs what was written since it was last asked for. */
  stateHash(): number {
    this.#foldRecords();
    return this.#hash.value;
  }

  /** The hash of all ledger records, which replicas know too. */
  ledgerHash(): number {
    this.#foldRecords();
    return this.#hash.ledger;
  }

  #foldRecords(): void {
    const { records } = this;
    assert(records.length >= this.#hashedBytes, 'records are reset by resetRecords');
    if (records.length > this.#hashedBytes) this.#hash.fold(records.view(), this.#hashedBytes, records.length);
    this.#hashedBytes = records.length;
  }

  /** The driver has taken the records. */
  resetRecords(): void {
    this.#foldRecords();
    this.records.reset();
    this.#hashedBytes = 0;
  }

  /** What is beside the store's rows: hash, log time, sessions, control data's counts. With the rows of the same moment, the whole state. */
  save(writer: ByteWriter): void {
    writer.u8(SAVED_VERSION).varint(this.applied).u32(this.ledgerHash()).u32(this.#hash.hidden);
    this.#time.save(writer);
    this.sessions.encode(writer);
    this.#control.save(writer);
  }

  /**
   * Begins where `save` was called. The expiries that the store remembers are told with `remember`. Throws DIR_FOREIGN
   * when another version wrote it.
   */
  restore(reader: ByteReader): void {
    assert(this.applied === 0, 'a machine is restored before it applies');
    const { version, revision } = readSaved(reader);
    this.applied = revision;
    const hasControl = version > SAVED_WITHOUT_CONTROL;
    const ledger = reader.u32();
    this.#hash.restore(ledger, hasControl ? reader.u32() : 0);
    this.#time.restore(reader);
    this.sessions.decode(reader);
    if (hasControl) this.#control.restore(reader);
  }

  /** The store remembers this expiry, by age. `key` is kept. */
  remember(key: Uint8Array, expiryMs: number, revision: Revision): void {
    this.#expiry.push({ expiryMs, revision, key });
  }

  /**
   * Applies the entry at `index`. Empty data is a no-op that still makes its (empty) ledger record. Throws DIR_FOREIGN,
   * before it changes anything, for a command of a later version.
   */
  apply(index: Index, data: Uint8Array): void {
    assert(index === this.applied + 1, 'entries are applied in order, each once');
    checkLevel(index, data);
    this.applied = index;
    this.#changes = [];
    if (data.length > 0) this.#command(index, data);
    // A leader begins its term with this entry: what is stamped from here on is stamped by another clock.
    else this.#time.beginClock();
    this.#writeRecord(index);
  }

  #command(index: Index, data: Uint8Array): void {
    const reader = new ByteReader(data);
    const header = readHeader(reader);
    // No command at all: every node passes over it alike, and keeps it for who knows what it says (the members).
    if (header === undefined) {
      if ((data[0] as number) >= FOREIGN_MIN) this.#store.keepForeign(data, index);
      return;
    }
    const { kind, timeMs, origin, token } = header;
    if (kind === 'clock' && saysClockWasSet(reader)) this.#time.beginClock();
    // Bytes of no known kind have no stamp.
    if (kind !== undefined) this.#time.advance(timeMs);
    // Also when time stood still: an earlier entry may have left some that were due.
    const expired = this.#expireKeys(index);
    this.#control.sweep(kind === 'clock' ? EXPIRED_PER_ENTRY_MAX - expired : SWEPT_PER_COMMAND_MAX);
    this.sessions.expire(this.#time.ageMs);
    if (kind === 'clock') return;
    const result = this.#answer(index, kind, reader);
    if (origin === this.#origin) {
      this.results
        .u32(token)
        .u8(result.code)
        .u64(result.revision)
        .blob(result.extra ?? NONE);
    }
  }

  #answer(index: Index, kind: CommandKind | undefined, reader: ByteReader): StoredResult {
    try {
      return this.#call(index, kind, reader);
    } catch (error) {
      // Gateways check every call; should one ever not, all nodes refuse the entry alike and nothing is half
      // done: decoding comes before the first change.
      if (!isStoreError(error, 'PROTOCOL_ERROR')) throw error;
      return failed('BAD_REQUEST', index);
    }
  }

  /** Runs a call once: a repeated one gets the answer of the first. */
  #call(index: Index, kind: CommandKind | undefined, reader: ByteReader): StoredResult {
    const id = reader.varint();
    const seq = reader.varint();
    const acked = reader.varint();
    if (kind === 'openSession') {
      const isOpen = this.sessions.open(index, reader.varint(), this.#time.ageMs);
      return { code: isOpen ? RESULT_OK : resultCode('OVERLOADED'), revision: index, extra: undefined };
    }
    if (id === 0) return this.#run(index, kind, reader);
    const session = this.sessions.get(id);
    if (session === undefined) return failed('SESSION_EXPIRED', index);
    session.lastActiveMs = this.#time.ageMs;
    session.ack(acked);
    if (kind === 'keepAlive') return { code: RESULT_OK, revision: index, extra: undefined };
    if (kind === 'closeSession') {
      this.sessions.close(id);
      return { code: RESULT_OK, revision: index, extra: undefined };
    }
    return this.#once(index, kind, reader, session, seq);
  }

  #once(index: Index, kind: CommandKind | undefined, reader: ByteReader, session: Session, seq: number): StoredResult {
    // Its answer was received or given up: whoever repeats it now is a late copy, and nobody waits for it.
    if (seq <= session.acked) return failed('BAD_REQUEST', index);
    const first = session.results.get(seq);
    if (first !== undefined) return first;
    if (session.isFull) return failed('OVERLOADED', index);
    const result = this.#run(index, kind, reader);
    session.keep(seq, result);
    return result;
  }

  #run(index: Index, kind: CommandKind | undefined, reader: ByteReader): StoredResult {
    if (kind === 'put') {
      const ttlMs = reader.varint();
      const key = reader.blob();
      const refusal = this.#control.staging.isEmpty ? undefined : this.#refusal([{ key, kind }]);
      if (refusal !== undefined) return failed(refusal, index);
      this.#put(index, key, reader.blob(), ttlMs);
      return { code: RESULT_OK, revision: index, extra: undefined };
    }
    if (kind === 'delete') {
      const key = reader.blob();
      const refusal = this.#control.staging.isEmpty ? undefined : this.#refusal([{ key, kind }]);
      if (refusal !== undefined) return failed(refusal, index);
      const found = this.#delete(index, key);
      return { code: RESULT_OK, revision: index, extra: found ? FOUND : NOT_FOUND };
    }
    if (kind === 'txn') return this.#txn(index, reader);
    if (kind === 'control') {
      const refusal = this.#control.run(reader, { index, ageMs: this.#time.ageMs });
      if (refusal === undefined) return { code: RESULT_OK, revision: index, extra: undefined };
      return { ...failed(refusal.code, index), extra: encodeRefusal(refusal) };
    }
    return failed('BAD_REQUEST', index);
  }

  #txn(index: Index, reader: ByteReader): StoredResult {
    const txn = decodeTxn(reader);
    const succeeded = txn.conditions.every((condition) => this.#holds(condition));
    const branch = succeeded ? txn.then : txn.otherwise;
    if (this.#answerBytes(branch) > TXN_ANSWER_BYTES_MAX) return failed('TXN_TOO_LARGE', index);
    const refusal = this.#control.staging.isEmpty ? undefined : this.#refusal(branch);
    if (refusal !== undefined) return failed(refusal, index);
    const answer = new ByteWriter(64).u8(succeeded ? 1 : 0);
    for (const operation of branch) this.#operate(index, operation, answer);
    return { code: RESULT_OK, revision: index, extra: answer.take() };
  }

  /** What a stage has against these writes. */
  #refusal(writes: readonly Pick<Operation, 'key' | 'kind'>[]): ErrorCode | undefined {
    const changes = writes.filter(({ kind }) => kind !== 'get');
    try {
      this.#control.staging.check(changes.map(({ key, kind }) => ({ key, adds: kind === 'put' })));
      return undefined;
    } catch (error) {
      if (!isStoreError(error)) throw error;
      return error.code;
    }
  }

  #holds(condition: Condition): boolean {
    if (condition.kind === 'revision') return this.#store.newestRevision(condition.key) === condition.revision;
    if (condition.kind === 'exists') return this.#store.newestRevision(condition.key) !== 0;
    const stored = this.#store.newest(condition.key);
    return stored !== undefined && equalBytes(stored.value, condition.value);
  }

  /** Bytes of keys and values that a branch's gets will answer with; a get sees what came before it. */
  #answerBytes(branch: readonly Operation[]): number {
    let bytes = 0;
    for (const [i, operation] of branch.entries()) {
      if (operation.kind !== 'get') continue;
      const { key } = operation;
      const write = branch.slice(0, i).findLast((other) => other.kind !== 'get' && equalBytes(other.key, key));
      const value = write === undefined ? this.#store.newest(key)?.value : write.value;
      bytes += key.length + (value?.length ?? 0);
    }
    return bytes;
  }

  /** Answer of one operation: put: 0 · delete: 1, found u8 · get: 2, found u8 [revision, expiry, value]. */
  #operate(index: Index, operation: Operation, answer: ByteWriter): void {
    if (operation.kind === 'put') {
      this.#put(index, operation.key, operation.value, operation.ttlMs);
      answer.u8(0);
    } else if (operation.kind === 'delete') {
      answer.u8(1).u8(this.#delete(index, operation.key) ? 1 : 0);
    } else {
      const stored = this.#store.newest(operation.key);
      answer
        .u8(2)
        .u8(stored === undefined ? 0 : 1)
        .blob(operation.key);
      if (stored !== undefined) answer.varint(stored.revision).f64(stored.expiryMs).blob(stored.value);
    }
  }

  #put(index: Index, key: Uint8Array, value: Uint8Array, ttlMs: number): void {
    this.#control.staging.before(key, index);
    // What readers are told: when it goes if log time runs on as it does. Not earlier.
    const expiryMs = ttlMs === 0 ? 0 : this.timeMs + ttlMs;
    this.#store.put(key, value, index, expiryMs);
    if (ttlMs !== 0) {
      const dueMs = Math.ceil(this.#time.ageMs) + ttlMs;
      // The queue outlives the entry's bytes, which are only lent.
      this.#expiry.push({ expiryMs: dueMs, revision: index, key: key.slice() });
      this.#store.expect(key, dueMs, index);
    }
    this.#change({ kind: 'put', key, value, expiryMs });
  }

  #delete(index: Index, key: Uint8Array): boolean {
    if (this.#store.newestRevision(key) === 0) return false;
    this.#control.staging.before(key, index);
    this.#store.remove(key, index);
    this.#change({ kind: 'delete', key, value: NONE, expiryMs: 0 });
    return true;
  }

  /** Deletes what is due, at most so many per entry: a record stays small, and the rest goes with the next. */
  #expireKeys(index: Revision): number {
    let count = 0;
    while (count < EXPIRED_PER_ENTRY_MAX) {
      const due = this.#expiry.popDue(this.#time.ageMs);
      if (due === undefined) break;
      this.#store.expected(due.key, due.expiryMs, due.revision, index);
      if (this.#store.newestRevision(due.key) !== due.revision) continue;
      this.#store.remove(due.key, index);
      this.#changes.push({ kind: 'delete', key: due.key, value: NONE, expiryMs: 0 });
      count++;
    }
    return count;
  }

  /** What control commands see of the state; a key of theirs is written once in an entry. */
  #controlState(): ControlState {
    const store = this.#store;
    return {
      get: (key) => store.newest(key)?.value,
      newest: (key) => store.newest(key),
      put: (key, value) => {
        store.put(key, value, this.applied, 0);
        this.#changes.push({ kind: 'put', key, value, expiryMs: 0 });
      },
      remove: (key) => {
        store.remove(key, this.applied);
        this.#changes.push({ kind: 'delete', key, value: NONE, expiryMs: 0 });
      },
      keys: (from, to, limit) => store.keys(from, to, limit),
      getPrivate: (key) => store.newestPrivate(key),
      putPrivate: (key, value) => {
        store.putPrivate(key, value, this.applied);
        this.#hash.foldPrivate(key, value);
      },
      removePrivate: (key) => {
        store.removePrivate(key, this.applied);
        this.#hash.foldPrivate(key, NONE);
      },
    };
  }

  /** A key stands once in a record: what an entry does to it outdoes its expiry in the same entry. */
  #change(change: Change): void {
    if (this.#changes.length > 0) {
      const at = this.#changes.findIndex((other) => equalBytes(other.key, change.key));
      if (at !== -1) this.#changes.splice(at, 1);
    }
    this.#changes.push(change);
  }

  #writeRecord(index: Index): void {
    this.records.u64(index).f64(this.timeMs);
    const lengthAt = this.records.length;
    this.records.u32(0);
    for (const change of this.#changes) encodeChange(this.records, change);
    this.records.patchU32(lengthAt, this.records.length - lengthAt - 4);
  }
}

/** Reads the beginning of what a machine saved: the revision that it is of. Throws DIR_FOREIGN. */
export const readSavedRevision = (reader: ByteReader): Index => readSaved(reader).revision;

function readSaved(reader: ByteReader): { readonly version: number; readonly revision: Index } {
  const version = reader.u8();
  if (version === SAVED_VERSION || version === SAVED_WITHOUT_CONTROL) {
    return { version, revision: toIndex(reader.varint()) };
  }
  throw new StoreError(
    'DIR_FOREIGN',
    `the state in the tables has format ${version}, and this version knows ${SAVED_VERSION}: ` +
      'start it with the version that wrote it; nothing was changed',
    { data: { version } },
  );
}

interface Header {
  readonly kind: CommandKind | undefined;
  readonly timeMs: number;
  readonly origin: number;
  readonly token: number;
}

/** What stands before the call, or undefined when the bytes are too few or no header. */
function readHeader(reader: ByteReader): Header | undefined {
  try {
    return { kind: commandKind(reader.u8()), timeMs: reader.f64(), origin: reader.u64(), token: reader.u32() };
  } catch (error) {
    if (isStoreError(error, 'PROTOCOL_ERROR')) return undefined;
    throw error;
  }
}

const failed = (code: ErrorCode, revision: Revision): StoredResult => ({
  code: resultCode(code),
  revision,
  extra: undefined,
});
