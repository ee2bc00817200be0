/**
 * SimSubscriber: a watch, over many nodes and connections. What it is sent is compared with the committed log record by record:
 * in order, each once, none left out.
 */
import type { Connection } from '../../src/actors/gateway/connection.ts';
import { assert } from '../../src/core/base/assert.ts';
import { ByteReader, ByteWriter, compareBytes, equalBytes, utf8 } from '../../src/core/base/bytes.ts';
import { isControlKey } from '../../src/core/model/control/schema.ts';
import type { StoreError } from '../../src/core/base/errors.ts';
import { type Change, decodeRecords, encodeRecord } from '../../src/core/model/ledger.ts';
import * as wire from '../../src/core/wire/client.ts';
import type { Chance } from './chance.ts';
import type { SimNode } from './node.ts';
import type { SimDoor } from './node-world.ts';
import type { Oracle } from './oracle.ts';
import type { EventQueue } from './queue.ts';
import type { Trace } from './trace.ts';

export interface SubscriberWorld {
  readonly queue: EventQueue;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly oracle: Oracle;
  readonly nodes: readonly SimNode[];
}

const LATENCY_MS = 0.2;
const RETRY_MS = 50;
const CREDIT_BYTES = 64 * 1024;
const REQUEST = 1;

/** One stream, from one life of a node. */
class Stream implements SimDoor {
  readonly node: SimNode;
  readonly life: number;
  readonly #owner: SimSubscriber;
  readonly #world: SubscriberWorld;
  readonly connection: Connection | undefined;
  #isClosed = false;
  #inMs = 0;
  readonly bufferedBytes: number = 0;

  constructor(owner: SimSubscriber, world: SubscriberWorld, node: SimNode, life: number) {
    this.#owner = owner;
    this.#world = world;
    this.node = node;
    this.life = life;
    this.connection = node.accept(this);
  }

  say(frame: Uint8Array): void {
    const { connection } = this;
    // What a subscriber says is little, and needs no order of its own.
    if (connection !== undefined && !this.#isClosed) this.node.frame(this.life, connection, frame);
  }

  send(frame: Uint8Array): void {
    const { queue, chance } = this.#world;
    this.#inMs = Math.max(this.#inMs, queue.nowMs + chance.delay(LATENCY_MS));
    queue.after(this.#inMs - queue.nowMs, () => {
      if (!this.#isClosed) this.#owner.hear(this, frame);
    });
  }

  close(): void {
    this.#world.queue.after(Math.max(0, this.#inMs - this.#world.queue.nowMs), () => this.#gone());
  }

  lost(): void {
    this.#world.queue.after(LATENCY_MS, () => this.#gone());
  }

  drop(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.connection !== undefined) this.node.left(this.life, this.connection, this);
  }

  #gone(): void {
    if (this.#isClosed) return;
    this.drop();
    this.#owner.broken(this);
  }
}

export class SimSubscriber {
  readonly name: string;
  readonly #world: SubscriberWorld;
  /** Keys from here on, before there; an empty one is no bound. */
  readonly #from: Uint8Array;
  readonly #to: Uint8Array;
  #stream: Stream | undefined;
  #credit = 0;
  /** Everything up to here has been seen. */
  revision = 0;
  among: readonly SimNode[] = [];
  records = 0;
  compacted = 0;

  constructor(name: string, world: SubscriberWorld) {
    this.name = name;
    this.#world = world;
    const isPart = world.chance.is(0.5);
    this.#from = utf8(isPart ? 'key-2' : '');
    this.#to = utf8(isPart ? 'key-5' : '');
  }

  begin(): void {
    this.#subscribe();
  }

  /** Its wire breaks, or it leaves a node that is slow. */
  cut(): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    stream.drop();
    this.broken(stream);
  }

  /** Told of the end of a stream: begins another, elsewhere, after what it has. */
  broken(stream: Stream): void {
    if (this.#stream !== stream) return;
    this.#stream = undefined;
    this.#again();
  }

  #again(): void {
    const { queue, chance } = this.#world;
    queue.after(chance.delay(RETRY_MS), () => this.#subscribe());
  }

  #subscribe(): void {
    if (this.#stream !== undefined) return;
    const { queue, chance, nodes, trace } = this.#world;
    const node = chance.of(this.among.length > 0 ? this.among : nodes);
    const { life } = node;
    const stream = life === undefined ? undefined : new Stream(this, this.#world, node, life);
    if (stream?.connection === undefined) {
      this.#again();
      return;
    }
    trace.note(queue.nowMs, 'subscribe', this.name, this.revision + 1);
    this.#stream = stream;
    this.#credit = CREDIT_BYTES;
    stream.say(wire.encodeHello({ versionMin: 1, versionMax: wire.PROTOCOL_VERSION, client: this.name }));
    const writer = new ByteWriter(64).u8(wire.FRAME.requests);
    const at = wire.beginRequest(writer, { id: REQUEST, kind: wire.REQUEST.watch, deadlineMs: 0 });
    const fromRevision = this.revision + 1;
    wire.encodeWatch(writer, { fromRevision, from: this.#from, to: this.#to, creditBytes: CREDIT_BYTES });
    wire.endRequest(writer, at);
    stream.say(writer.take());
  }

  hear(stream: Stream, frame: Uint8Array): void {
    if (this.#stream !== stream) return;
    const reader = new ByteReader(frame);
    const type = reader.u8();
    if (type === wire.FRAME.end) {
      const reply = wire.decodeReply(reader);
      if (reply.error !== undefined) this.#ended(reply.error);
      stream.drop();
      this.broken(stream);
      return;
    }
    if (type !== wire.FRAME.stream) return;
    assert(reader.varint() === REQUEST, 'a part belongs to the stream');
    this.#part(reader.u8(), reader);
    this.#credit -= frame.length;
    if (this.#credit > CREDIT_BYTES / 2) return;
    const bytes = CREDIT_BYTES - this.#credit;
    this.#credit = CREDIT_BYTES;
    stream.say(new ByteWriter(16).u8(wire.FRAME.credit).varint(REQUEST).varint(bytes).take());
  }

  /** A watch that cannot go on is told from where it could. */
  #ended(error: StoreError): void {
    if (error.code !== 'COMPACTED') return;
    const oldest = error.data['oldestRevision'];
    assert(typeof oldest === 'number' && oldest > this.revision + 1, `${this.name}: COMPACTED names a later revision`);
    this.compacted++;
    this.revision = oldest - 1;
  }

  #part(part: number, reader: ByteReader): void {
    switch (part) {
      case wire.PART.progress:
        this.#seenTo(reader.u64());
        break;
      case wire.PART.records:
        this.#take(reader.raw(reader.left));
        break;
      default:
    }
  }

  #take(bytes: Uint8Array): void {
    const { reference } = this.#world.oracle;
    const { trace, queue } = this.#world;
    for (const { revision, timeMs, changes } of decodeRecords(bytes)) {
      assert(revision > this.revision, `${this.name}: record ${revision} comes after ${this.revision}`);
      assert(reference.has(revision), `${this.name}: record ${revision} is not committed`);
      this.#skipTo(revision - 1);
      const known = reference.at(revision);
      const writer = new ByteWriter(256);
      encodeRecord(writer, { revision, timeMs, changes });
      const wanted = new ByteWriter(256);
      encodeRecord(wanted, {
        revision,
        timeMs: reference.timeAt(revision),
        changes: known.changes.filter((c) => this.#wants(c)),
      });
      assert(equalBytes(writer.view(), wanted.view()), `${this.name}: record ${revision} is another than the log's`);
      this.revision = revision;
      this.records++;
    }
    trace.note(queue.nowMs, 'fed', this.name, this.revision);
  }

  #seenTo(revision: number): void {
    if (revision <= this.revision) return;
    assert(this.#world.oracle.reference.has(revision), `${this.name}: progress to ${revision}, which is not committed`);
    this.#skipTo(revision);
    this.revision = revision;
  }

  /** Nothing that it wants is in what it was not sent. */
  #skipTo(revision: number): void {
    const { reference } = this.#world.oracle;
    for (let at = this.revision + 1; at <= revision; at++) {
      const missed = reference.at(at).changes.some((change) => this.#wants(change));
      assert(!missed, `${this.name}: the record of ${at} was left out`);
    }
  }

  #wants(change: Change): boolean {
    // A watch of everything ends before control data.
    if (isControlKey(change.key)) return false;
    if (compareBytes(change.key, this.#from) < 0) return false;
    return this.#to.length === 0 || compareBytes(change.key, this.#to) < 0;
  }

  /** It has seen everything of interest up to `revision`. */
  sees(revision: number): boolean {
    const { reference } = this.#world.oracle;
    for (let at = this.revision + 1; at <= revision; at++) {
      if (reference.at(at).changes.some((change) => this.#wants(change))) return false;
    }
    return true;
  }
}
