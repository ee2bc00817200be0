/**
 * Writes: what is on its way to the log, from its admission to its answer.
 *
 * A write is checked and admitted, gets a token, and goes to replication with everything else that its client
 * sent in the same frame. It is settled exactly once: by the memtable's answer, by a refusal (nothing happened),
 * by its deadline or by a change of leader (it may yet happen: OUTCOME_UNKNOWN).
 *
 * The secret of a writer of control data goes no further than here: its hash takes its place in the command.
 *
 * Bounds: bytes of writes under way. On a full disk, puts are refused (STORE_FULL) and deletes are taken: they are
 * what makes room.
 */
import { ByteReader, ByteWriter } from '../../core/base/bytes.ts';
import { StoreError } from '../../core/base/errors.ts';
import { checkBody, commandKind, encodeCommandHeader } from '../../core/model/commands.ts';
import { checkControl, decodeRefusal, seal } from '../../core/model/control/commands.ts';
import { errorOfResult } from '../../core/model/machine.ts';
import { TO_REPLICATION } from '../messages.ts';
import type { Bell } from '../runtime/bell.ts';
import type { RingReader, RingWriter } from '../runtime/ring.ts';
import type { Connection } from './connection.ts';
import type { OpenTrace, PutTraces } from './put-traces.ts';
import { sha256 } from './control-reads.ts';

export interface WritesWorld {
  /** The disk is full: puts are refused. */
  readonly isFull: () => boolean;
  /** Tables may be dropped and cleared. */
  readonly destructiveSchemaChanges: boolean;
  readonly outbox: RingWriter;
  readonly answers: RingReader;
  readonly replication: Bell;
  readonly origin: number;
  /** Follows those that somebody outside follows; without it nobody is. */
  readonly traces?: PutTraces | undefined;
}

interface PendingWrite {
  readonly connection: Connection;
  readonly request: number;
  readonly deadlineMs: number;
  readonly bytes: number;
  readonly trace: OpenTrace | undefined;
  /** Term in which it was handed to a leader; 0 while nobody led (it is then held, not in doubt). */
  term: number;
}

const WRITE_BYTES_MAX = 64 * 1024 * 1024;
const PROPOSE_FRAME_BYTES = 1024 * 1024;

export class Writes {
  readonly #world: WritesWorld;
  readonly #pending = new Map<number, PendingWrite>();
  #bytes = 0;
  /** Begins where no earlier boot did: what peers still say of that one's tokens is not about ours. */
  #nextToken: number;
  readonly #proposals = new ByteWriter(256 * 1024);
  /** Proposal frames that found no room: bounded by WRITE_BYTES_MAX. */
  #backlog: Uint8Array[] = [];
  #term = 0;
  #hasLeader = false;
  admitted = 0;
  expired = 0;

  constructor(world: WritesWorld) {
    this.#world = world;
    this.#nextToken = world.origin >>> 0;
    this.#proposals.u8(TO_REPLICATION.propose);
  }

  get underWay(): number {
    return this.#pending.size;
  }

  /** Admits a write; throws the typed error of one that may not enter. Leaves with `flush`. */
  submit(
    connection: Connection,
    request: number,
    code: number,
    deadlineMs: number,
    given: Uint8Array,
    traceparent?: string,
  ): void {
    const kind = commandKind(code);
    if (kind === undefined) throw new StoreError('BAD_REQUEST', `unknown request ${code}`);
    const reader = new ByteReader(given);
    reader.varint();
    reader.varint();
    reader.varint();
    const bodyAt = reader.at;
    let call = given;
    let addsData = kind === 'put' || kind === 'txn';
    if (kind === 'control') {
      addsData = this.#checkControl(reader);
      call = seal(given, bodyAt, sha256);
    } else checkBody(kind, reader);
    this.#admit(addsData, call.length);

    const token = this.#nextToken;
    this.#nextToken = (token + 1) >>> 0;
    const term = this.#hasLeader ? this.#term : 0;
    const { traces, origin } = this.#world;
    const bytes = call.length;
    const trace = traceparent === undefined ? undefined : traces?.begin(traceparent, { kind, token, origin, bytes });
    this.#pending.set(token, { connection, request, deadlineMs, bytes, trace, term });
    this.#bytes += call.length;
    connection.inFlight++;
    this.admitted++;

    const lengthAt = this.#proposals.length;
    this.#proposals.u32(0);
    encodeCommandHeader(this.#proposals, { kind, origin, token });
    this.#proposals.raw(call);
    this.#proposals.patchU32(lengthAt, this.#proposals.length - lengthAt - 4);
    if (this.#proposals.length >= PROPOSE_FRAME_BYTES) this.flush();
  }

  /** Hands what was admitted to replication. */
  flush(): void {
    const { outbox, replication } = this.#world;
    if (this.#proposals.length > 1) {
      if (this.#backlog.length > 0 || !outbox.write(this.#proposals.view())) this.#backlog.push(this.#proposals.take());
      this.#proposals.reset();
      this.#proposals.u8(TO_REPLICATION.propose);
      this.#world.traces?.sent();
      replication.ring();
    }
    while (this.#backlog.length > 0 && outbox.write(this.#backlog[0] as Uint8Array)) {
      this.#backlog.shift();
      replication.ring();
    }
  }

  /** Answers what the memtable has applied. */
  takeAnswers(): void {
    const { answers } = this.#world;
    for (let frame = answers.peek(); frame !== undefined; frame = answers.peek()) {
      const reader = new ByteReader(frame);
      while (reader.left > 0) {
        const token = reader.u32();
        const code = reader.u8();
        const revision = reader.u64();
        const extra = reader.blob();
        const error = code === 0 ? undefined : appliedError(code, extra);
        const write = this.#settle(token, error);
        // Nobody waits any more: it was past its deadline.
        if (write === undefined) continue;
        if (error === undefined) write.connection.ok(write.request, revision, extra);
        else write.connection.fail(write.request, error);
      }
      answers.pop();
    }
  }

  /** Replication did not propose these: nothing happened to them. */
  refused(reader: ByteReader): void {
    const code = errorOfResult(reader.u8()) ?? 'INTERNAL';
    const error = new StoreError(code, REFUSED_MESSAGES[code] ?? 'no leader took the write');
    while (reader.left > 0) {
      this.#fail(reader.u32(), error);
    }
  }

  /** Who leads has changed; what was on its way to somebody else is in doubt. */
  leaderChanged(term: number, hasLeader: boolean): void {
    const isNew = hasLeader && term !== this.#term;
    if (hasLeader) this.#term = term;
    this.#hasLeader = hasLeader;
    if (!isNew) return;
    for (const [token, write] of this.#pending) {
      // What was held goes to this leader now.
      if (write.term === 0) write.term = term;
      if (write.term === term) continue;
      this.#fail(token, new StoreError('OUTCOME_UNKNOWN', 'the leader changed while the write was on its way'));
    }
  }

  /** Everything that is on its way to a leader may be lost, or may yet happen. */
  doubt(reason: string): void {
    for (const [token, write] of this.#pending) {
      if (write.term === 0) continue;
      this.#fail(token, new StoreError('OUTCOME_UNKNOWN', `${reason} while the write was on its way`));
    }
  }

  /** Gives up what is past its deadline. */
  sweep(nowMs: number): void {
    for (const [token, write] of this.#pending) {
      if (write.deadlineMs > nowMs) continue;
      this.expired++;
      this.#fail(
        token,
        write.term === 0
          ? new StoreError('UNAVAILABLE', 'no leader took the write before its deadline; it may yet be taken up', {
              data: { mayHappen: true },
            })
          : new StoreError('OUTCOME_UNKNOWN', 'the deadline passed before a quorum answered; the write may yet happen'),
      );
    }
  }

  /** Says whether it takes room on the disk. */
  #checkControl(reader: ByteReader): boolean {
    const { isDestructive, addsData } = checkControl(reader);
    if (isDestructive && !this.#world.destructiveSchemaChanges) {
      throw new StoreError('DISABLED', 'dropping and clearing tables is not enabled (destructiveSchemaChanges)');
    }
    return addsData;
  }

  #admit(addsData: boolean, bytes: number): void {
    if (this.#bytes + bytes > WRITE_BYTES_MAX) {
      throw new StoreError('OVERLOADED', `a node may have ${WRITE_BYTES_MAX} bytes of writes under way`, {
        data: { limit: WRITE_BYTES_MAX },
      });
    }
    if (addsData && this.#world.isFull()) {
      throw new StoreError('STORE_FULL', 'the disk of this node is full; deletes are still taken');
    }
  }

  #fail(token: number, error: StoreError): void {
    const write = this.#settle(token, error);
    write?.connection.fail(write.request, error);
  }

  #settle(token: number, error: StoreError | undefined): PendingWrite | undefined {
    const write = this.#pending.get(token);
    if (write === undefined) return undefined;
    this.#pending.delete(token);
    this.#bytes -= write.bytes;
    write.connection.inFlight--;
    if (write.trace !== undefined) this.#world.traces?.end(write.trace, error);
    return write;
  }
}

const REFUSED_MESSAGES: Partial<Record<StoreError['code'], string>> = {
  OVERLOADED: 'too much is uncommitted',
  UPGRADE_PENDING:
    'a member of the cluster runs a version that does not know this command, or has not been seen since the leader started',
};

const APPLIED_MESSAGES: Partial<Record<StoreError['code'], string>> = {
  SESSION_EXPIRED: 'the session has expired; whether earlier unanswered writes happened is not known',
  OVERLOADED: 'the session has too many unacknowledged writes',
  BAD_REQUEST: 'the write was answered before, or cannot be read',
};

function appliedError(code: number, extra: Uint8Array): StoreError {
  const name = errorOfResult(code) ?? 'INTERNAL';
  if (extra.length > 0) {
    const { message, data } = decodeRefusal(extra);
    return new StoreError(name, message, { data });
  }
  return new StoreError(name, APPLIED_MESSAGES[name] ?? 'the write was refused when it was applied');
}
