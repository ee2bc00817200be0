/**
 * SimClient: a process that uses the cluster, one call at a time, by the frames of the client protocol through the
 * gateway of some node, as the SDK does: a session, numbered writes, the same number again when the outcome is not
 * known, another node when one is gone.
 *
 * What it is told is compared with the committed log at once: a write that was acked stands there, as it was asked for,
 * after everything that was known when it was asked; a linearizable read saw a state between its call and its answer.
 */
import { sha256 } from '../../src/actors/gateway/control-reads.ts';
import type { Connection } from '../../src/actors/gateway/connection.ts';
import { assert } from '../../src/core/base/assert.ts';
import { ByteReader, ByteWriter, equalBytes } from '../../src/core/base/bytes.ts';
import type { StoreError } from '../../src/core/base/errors.ts';
import { COMMAND_HEADER_BYTES } from '../../src/core/model/commands.ts';
import { seal } from '../../src/core/model/control/commands.ts';
import * as wire from '../../src/core/wire/client.ts';
import type { HistoryRecorder, Pending } from '../../src/testing/index.ts';
import type { Chance } from './chance.ts';
import type { SimNode } from './node.ts';
import type { SimDoor } from './node-world.ts';
import { type Call, nextCall, readsKey } from './workload.ts';
import type { Oracle } from './oracle.ts';
import type { EventQueue } from './queue.ts';
import { textOf } from './reference.ts';
import type { Trace } from './trace.ts';

export interface ClientWorld {
  readonly queue: EventQueue;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly oracle: Oracle;
  readonly history: HistoryRecorder;
  readonly nodes: readonly SimNode[];
  /** Clients between calls wait about this long. */
  readonly thinkMs: () => number;
  /** A planted bug: reads do not wait for the barrier. */
  readonly readsSkipBarrier: boolean;
  /**
   * It only reads: a client that writes waits for its write as soon as its node is cut off, and sees nothing of what
   * reads there say.
   */
  readonly readsOnly: boolean;
  /** It makes, fills, clears and drops tables, too. */
  readonly hasControl: boolean;
  /** It moves stages, too. */
  readonly hasStages: boolean;
}

const LATENCY_MS = 0.2;
const SESSION_TTL_MS = 8_000;
const CALL_MS = 4_000;
const RETRY_MS = 30;
/** Without a sign of life for so long it goes elsewhere. */
const ANSWER_MS = 1_200;

interface UnderWay {
  readonly call: Call;
  readonly seq: number;
  readonly session: number;
  /**
   * What some node knew to be committed when it was asked, told to anybody or not: who leads later has it, and says no
   * earlier index to a reader.
   */
  readonly floor: number;
  readonly deadlineMs: number;
  inDoubt: boolean;
  attempts: number;
  /** In the history of the run. */
  readonly pending: Pending | undefined;
}

/** One connection to one life of a node; frames take their time both ways, in order. */
class Socket implements SimDoor {
  readonly node: SimNode;
  readonly life: number;
  readonly #client: SimClient;
  readonly #world: ClientWorld;
  #connection: Connection | undefined;
  #isClosed = false;
  #outMs = 0;
  #inMs = 0;
  readonly bufferedBytes: number = 0;

  constructor(client: SimClient, world: ClientWorld, node: SimNode, life: number) {
    this.#client = client;
    this.#world = world;
    this.node = node;
    this.life = life;
    this.#connection = node.accept(this);
  }

  get isThere(): boolean {
    return this.#connection !== undefined;
  }

  /** To the node. */
  say(frame: Uint8Array): void {
    const { queue, chance } = this.#world;
    this.#outMs = Math.max(this.#outMs, queue.nowMs + chance.delay(LATENCY_MS));
    const connection = this.#connection;
    queue.after(this.#outMs - queue.nowMs, () => {
      if (connection !== undefined && !this.#isClosed) this.node.frame(this.life, connection, frame);
    });
  }

  /** From the node. */
  send(frame: Uint8Array): void {
    const { queue, chance } = this.#world;
    this.#inMs = Math.max(this.#inMs, queue.nowMs + chance.delay(LATENCY_MS));
    queue.after(this.#inMs - queue.nowMs, () => {
      if (!this.#isClosed) this.#client.hear(this, frame);
    });
  }

  /** The node ends it. */
  close(): void {
    const { queue } = this.#world;
    queue.after(Math.max(0, this.#inMs - queue.nowMs), () => this.#gone());
  }

  /** The node is gone. */
  lost(): void {
    this.#world.queue.after(this.#world.chance.delay(LATENCY_MS), () => this.#gone());
  }

  /** The client leaves, or its wire breaks. */
  drop(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#connection !== undefined) this.node.left(this.life, this.#connection, this);
  }

  #gone(): void {
    if (this.#isClosed) return;
    this.drop();
    this.#client.disconnected(this);
  }
}

export class SimClient {
  readonly name: string;
  readonly #world: ClientWorld;
  #socket: Socket | undefined;
  #isGreeted = false;
  #session = 0;
  #nextSeq = 1;
  #nextId = 1;
  #id = 0;
  #calls = 0;
  #underWay: UnderWay | undefined;
  #isStopped = false;
  /** Nodes that it may use; all when there is none in it. */
  among: readonly SimNode[] = [];
  acked = 0;
  reads = 0;
  unknown = 0;
  failed = 0;

  constructor(name: string, world: ClientWorld) {
    this.name = name;
    this.#world = world;
  }

  begin(): void {
    const { queue, chance } = this.#world;
    queue.after(chance.delay(50), () => this.#think());
  }

  /** It makes no new calls. */
  stop(): void {
    this.#isStopped = true;
  }

  /** After a stop it makes calls again. */
  goOn(): void {
    this.#isStopped = false;
    this.#think();
  }

  get isIdle(): boolean {
    return this.#underWay === undefined;
  }

  /** Its wire breaks. */
  cut(): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    socket.drop();
    this.disconnected(socket);
  }

  // ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────

  #think(): void {
    if (this.#isStopped || this.#underWay !== undefined) return;
    const { queue, chance, oracle, trace } = this.#world;
    const isWithSession = this.#session !== 0;
    const call: Call = isWithSession
      ? nextCall(chance, oracle.reference, `${this.name}.${++this.#calls}`, this.#world)
      : { kind: wire.REQUEST.openSession, isWrite: true, body: new ByteWriter(8).varint(SESSION_TTL_MS).take() };
    this.#underWay = {
      call,
      session: this.#session,
      seq: call.isWrite && isWithSession ? this.#nextSeq++ : 0,
      floor: oracle.reference.last,
      deadlineMs: queue.nowMs + CALL_MS,
      inDoubt: false,
      attempts: 0,
      pending: call.history && this.#world.history.invoke(call.history.f, call.history),
    };
    trace.note(queue.nowMs, 'call', this.name, call.kind, this.#underWay.seq, this.#session);
    const underWay = this.#underWay;
    queue.after(CALL_MS, () => {
      if (this.#underWay === underWay) this.#giveUp(underWay);
    });
    this.#ask();
  }

  /** Asks, or asks again. */
  #ask(): void {
    const underWay = this.#underWay;
    if (underWay === undefined) return;
    if (this.#socket === undefined) {
      this.#connect();
      return;
    }
    if (!this.#isGreeted) return;
    const { queue, chance } = this.#world;
    const socket = this.#socket;
    const id = this.#nextId++;
    this.#id = id;
    underWay.attempts++;
    socket.say(this.#frame(id, underWay));
    // A copy on its way twice: the client took fright, and sent it elsewhere as well.
    if (underWay.call.isWrite && underWay.seq !== 0 && chance.is(0.02)) this.#sendElsewhere(underWay);
    queue.after(ANSWER_MS, () => {
      if (this.#id !== id || this.#underWay !== underWay || this.#socket !== socket) return;
      underWay.inDoubt = true;
      this.cut();
    });
  }

  #frame(id: number, { call, session, seq, deadlineMs }: UnderWay): Uint8Array {
    const { queue } = this.#world;
    const writer = new ByteWriter(128).u8(wire.FRAME.requests);
    const left = Math.max(1, Math.ceil(deadlineMs - queue.nowMs));
    const at = wire.beginRequest(writer, { id, kind: call.kind, deadlineMs: left });
    if (call.isWrite)
      writer
        .varint(session)
        .varint(seq)
        .varint(Math.max(0, seq - 1));
    if (call.read !== undefined) {
      const isLocal = call.read.isLocal || this.#world.readsSkipBarrier;
      wire.encodeGet(writer, { isLocal, atLeast: call.read.atLeast, key: call.read.key });
    } else writer.raw(call.body);
    wire.endRequest(writer, at);
    return writer.take();
  }

  #sendElsewhere(underWay: UnderWay): void {
    const { chance, queue } = this.#world;
    const node = chance.of(this.#nodes);
    const { life } = node;
    if (life === undefined) return;
    const socket = new Socket(this, this.#world, node, life);
    if (!socket.isThere) return;
    underWay.inDoubt = true;
    socket.say(wire.encodeHello({ versionMin: 1, versionMax: wire.PROTOCOL_VERSION, client: this.name }));
    socket.say(this.#frame(this.#nextId++, underWay));
    queue.after(200, () => socket.drop());
  }

  #giveUp(underWay: UnderWay): void {
    this.#gone(underWay, underWay.attempts > 0 || underWay.inDoubt);
  }

  /** It ends without an answer; what may have happened all the same is not known. */
  #gone({ call, pending }: UnderWay, mayHaveHappened: boolean): void {
    const isUnknown = call.isWrite && mayHaveHappened;
    if (isUnknown) this.unknown++;
    else this.failed++;
    if (isUnknown) pending?.info();
    else pending?.fail();
    this.#settled();
  }

  #settled(): void {
    const { queue } = this.#world;
    this.#underWay = undefined;
    this.#id = 0;
    queue.after(this.#world.thinkMs(), () => this.#think());
  }

  // ── the connection ────────────────────────────────────────────────────────────────────────────────────────

  get #nodes(): readonly SimNode[] {
    return this.among.length > 0 ? this.among : this.#world.nodes;
  }

  #connect(): void {
    const { queue, chance } = this.#world;
    const node = chance.of(this.#nodes);
    const { life } = node;
    const socket = life === undefined ? undefined : new Socket(this, this.#world, node, life);
    if (socket?.isThere !== true) {
      queue.after(chance.delay(RETRY_MS), () => {
        if (this.#socket === undefined) this.#ask();
      });
      return;
    }
    this.#socket = socket;
    this.#isGreeted = false;
    socket.say(wire.encodeHello({ versionMin: 1, versionMax: wire.PROTOCOL_VERSION, client: this.name }));
  }

  disconnected(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.#isGreeted = false;
    const { queue, chance } = this.#world;
    if (this.#underWay !== undefined && this.#underWay.attempts > 0) this.#underWay.inDoubt = true;
    queue.after(chance.delay(RETRY_MS), () => {
      if (this.#socket === undefined) this.#ask();
    });
  }

  // ── answers ───────────────────────────────────────────────────────────────────────────────────────────────

  hear(socket: Socket, frame: Uint8Array): void {
    if (socket !== this.#socket) return;
    const reader = new ByteReader(frame);
    const type = reader.u8();
    if (type === wire.FRAME.welcome) {
      this.#isGreeted = true;
      this.#ask();
    } else if (type === wire.FRAME.replies) {
      while (reader.left > 0) {
        const reply = wire.decodeReply(reader);
        if (reply.id !== this.#id || this.#underWay === undefined) continue;
        if (reply.error === undefined) this.#answered(this.#underWay, reply);
        else this.#refused(this.#underWay, reply.error);
      }
    }
  }

  #answered(underWay: UnderWay, { revision, extra }: wire.ReplyOk): void {
    const { trace, queue, oracle } = this.#world;
    const { call } = underWay;
    trace.note(queue.nowMs, 'ok', this.name, call.kind, revision);
    if (call.kind === wire.REQUEST.openSession) {
      this.#session = revision;
      this.#nextSeq = 1;
    }
    if (call.isWrite) {
      this.#checkWrite(underWay, revision, extra);
      oracle.told(revision);
      this.acked++;
      // A txn whose conditions did not hold has done nothing.
      if (call.kind === wire.REQUEST.txn && extra[0] === 0) underWay.pending?.fail();
      else underWay.pending?.ok(call.history?.value);
    } else {
      this.#checkRead(underWay, revision, extra);
      this.reads++;
      underWay.pending?.ok(revision === 0 ? null : textOf(extra.subarray(8)));
    }
    this.#settled();
  }

  /** Failed for good, or to be tried again. */
  #refused(underWay: UnderWay, error: StoreError): void {
    const { trace, queue, chance } = this.#world;
    const { call } = underWay;
    trace.note(queue.nowMs, error.code, this.name, call.kind);
    this.#id = 0;
    if (error.code === 'OUTCOME_UNKNOWN' || error.data['mayHappen'] === true) underWay.inDoubt = true;
    if (error.code === 'SESSION_EXPIRED') {
      this.#session = 0;
      this.#gone(underWay, underWay.inDoubt || underWay.attempts > 1);
      return;
    }
    // A call without a number must not go twice; opening a session may.
    const isSafe = !call.isWrite || underWay.seq !== 0 || call.kind === wire.REQUEST.openSession;
    if (error.retry === 'never' || !isSafe) {
      // The number was answered, to nobody: a late copy of this very call came first.
      const mayBe = call.mayBeRefused === true || underWay.inDoubt;
      assert(error.code !== 'BAD_REQUEST' || mayBe, `a call in order is not refused: ${error.message}`);
      this.#gone(underWay, underWay.inDoubt);
      return;
    }
    queue.after(chance.delay(RETRY_MS), () => {
      if (this.#underWay === underWay) this.#ask();
    });
  }

  // ── what must be true of answers ──────────────────────────────────────────────────────────────────────────

  /** An acked write stands in the log where it was said, and behind everything that was known before it was asked. */
  #checkWrite({ call, session, seq, floor }: UnderWay, revision: number, extra: Uint8Array): void {
    const { reference } = this.#world.oracle;
    assert(reference.has(revision), `${this.name}: a write was acked at ${revision}, which is not committed`);
    assert(revision > floor, `${this.name}: a write was acked at ${revision}, and ${floor} was known before it`);
    const { data, answer } = reference.at(revision);
    const reader = new ByteReader(data.subarray(COMMAND_HEADER_BYTES));
    const isItsOwn = reader.varint() === session && reader.varint() === seq;
    assert(isItsOwn, `${this.name}: a write was acked at ${revision}, where another one stands`);
    reader.varint();
    // In the log a secret's hash stands in its place.
    const asked = call.kind === wire.REQUEST.control ? seal(call.body, 0, sha256) : call.body;
    assert(equalBytes(reader.raw(reader.left), asked), `${this.name}: what was acked is what was asked for`);
    assert(answer !== undefined && answer.code === 0 && answer.revision === revision, 'the model acks it there too');
    assert(equalBytes(answer.extra, extra), `${this.name}: the answer of ${revision} is another than the model's`);
  }

  /** A linearizable read saw the state of some moment between its call and its answer; a local one of some moment. */
  #checkRead({ call, floor }: UnderWay, revision: number, extra: Uint8Array): void {
    const { oracle } = this.#world;
    const read = readsKey(call);
    const value = revision === 0 ? undefined : extra.subarray(8);
    const from = read.isLocal ? read.atLeast : floor;
    const seen = oracle.reference.whenHad(textOf(read.key), revision, value, from, oracle.reference.last);
    const what = value === undefined ? 'nothing' : textOf(value);
    assert(
      seen !== undefined,
      `${this.name}: a ${read.isLocal ? 'local' : 'linearizable'} read of ${textOf(read.key)} saw ${what} of ${revision}, which it had not been since ${from}`,
    );
    if (!read.isLocal) oracle.told(Math.max(seen, revision));
  }
}
