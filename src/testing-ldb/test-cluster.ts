/**
 * TestCluster: a cluster's model without the cluster: commands in, ledger records out, judged by the machine that every
 * node has. So a test's tables are made, checked and refused just as the real ones are, and its records are theirs.
 */
import { assert } from '../core/base/assert.ts';
import { ByteReader, ByteWriter } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import { plus } from '../core/base/position.ts';
import { checkBody, type CommandKind, encodeClock, encodeCommandHeader, stampTime } from '../core/model/commands.ts';
import { type ControlCommand, decodeRefusal, encodeControl } from '../core/model/control/commands.ts';
import { errorOfResult, Machine } from '../core/model/machine.ts';
import { MemoryStore } from './memory-store.ts';

/** Answers are for this client. */
const ORIGIN = 1;
const NO_SESSION = 0;
/** In the log stands a hash of so many bytes in the place of a secret; any will do. */
const SEALED = '0123456789abcdef0123456789abcdef';

/** An entry makes a record also when its command was refused: an empty one, as in every cluster. */
export interface Entry {
  readonly record: Uint8Array;
  readonly refusal: StoreError | undefined;
}

export class TestCluster {
  readonly #machine = new Machine(new MemoryStore(), ORIGIN);
  #nowMs: number;

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  control(command: ControlCommand, needsSecret = false): Entry {
    return this.run('control', (writer) => encodeControl(writer, command, needsSecret ? SEALED : ''));
  }

  /** Throws the typed error of what a node would not let into the log; that makes no entry. */
  run(kind: CommandKind, encode: (body: ByteWriter) => void): Entry {
    const body = new ByteWriter(256);
    encode(body);
    checkBody(kind, new ByteReader(body.take()));
    const entry = new ByteWriter(body.length + 64);
    encodeCommandHeader(entry, { kind, origin: ORIGIN, token: 0 });
    entry.varint(NO_SESSION).varint(0).varint(0).raw(body.view());
    return this.#apply(entry.take());
  }

  /** Time passes; what is due by then is deleted. */
  pass(ms: number): Entry {
    assert(ms >= 0, 'time does not go back');
    this.#nowMs += ms;
    const clock = new ByteWriter(32);
    encodeClock(clock);
    return this.#apply(clock.take());
  }

  /** What a leader's term begins with; from it on, time counts. */
  begin(): Entry {
    return this.#apply(new Uint8Array(0));
  }

  #apply(entry: Uint8Array): Entry {
    const machine = this.#machine;
    if (entry.length > 0) stampTime(entry, this.#nowMs);
    machine.apply(plus(machine.applied, 1), entry);
    const record = machine.records.take();
    machine.resetRecords();
    const result = machine.results.take();
    machine.results.reset();
    return { record, refusal: result.length === 0 ? undefined : refusalIn(new ByteReader(result)) };
  }
}

/** result = token u32 | code u8 | revision u64 | extra blob */
function refusalIn(result: ByteReader): StoreError | undefined {
  result.u32();
  const code = errorOfResult(result.u8());
  result.u64();
  const extra = result.blob();
  if (code === undefined) return undefined;
  const { message, data } = extra.length === 0 ? { message: code, data: {} } : decodeRefusal(extra);
  return new StoreError(code, message, { data });
}
