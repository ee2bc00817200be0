/**
 * SimSubscriber: a watch, or a replica, over many nodes and connections. What it is sent is compared with the committed
 * log record by record: in order, each once, none left out; and a replica's copy with the state at its revision.
 */
import type { Connection } from '../../src/actors/gateway/connection.ts';
import { assert } from '../../src/core/base/assert.ts';
import { ByteReader, ByteWriter, compareBytes, equalBytes, utf8 } from '../../src/core/base/bytes.ts';
import { isControlKey } from '../../src/core/model/control/schema.ts';
import { isStoreError, type StoreError } from '../../src/core/base/errors.ts';
import { toIndex } from '../../src/core/base/position.ts';
import { type Change, decodeRecords, encodeRecord, type LedgerRecord } from '../../src/core/model/ledger.ts';
import * as wire from '../../src/core/wire/client.ts';
import { recordsAfter } from '../../src/engine/ldb/succession.ts';
import type { Chance } from './chance.ts';
import type { SimNode } from './node.ts';
import type { SimDoor } from './node-world.ts';
import type { Oracle } from './oracle.ts';
import { CLUSTER } from './options.ts';
import type { EventQueue } from './queue.ts';
import { textOf } from './reference.ts';
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
/** Of the kind of a part in its frame: behind the frame's kind and the request's number. */
const PART_AT = 2;

interface Row {
  readonly value: Uint8Array;
  readonly revision: number;
}

/** One stream, from one life of a node. */
class Stream implements SimDoor {
  readonly node: SimNode;
  readonly life: number;
  readonly #owner: SimSubscriber;
  readonly #world: SubscriberWorld;
  readonly connection: Connection | undefined;
  #isClosed = false;
  #inMs = 0;
  /** Something of what was sent never arrives. */
  hasLost = false;
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
    for (let copies = this.#copiesOf(frame); copies > 0; copies--) {
      queue.after(this.#inMs - queue.nowMs, () => {
        if (!this.#isClosed) this.#owner.hear(this, frame);
      });
    }
  }

  #copiesOf(frame: Uint8Array): number {
    const isRecords = frame[0] === wire.FRAME.stream && frame[PART_AT] === wire.PART.records;
    if (!this.#owner.isWireBad || !isRecords) return 1;
    const copies = this.#world.chance.weighted([
      [96, 1],
      [2, 0],
      [2, 2],
    ]);
    this.hasLost ||= copies === 0;
    return copies;
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
  readonly #mode: 'watch' | 'ledger';
  /** Watch: keys from here on, before there; an empty one is no bound. */
  readonly #from: Uint8Array;
  readonly #to: Uint8Array;
  #stream: Stream | undefined;
  #credit = 0;
  /** Everything up to here has been seen. */
  revision = 0;
  #rows = new Map<string, Row>();
  #snapshot: { readonly revision: number; readonly rows: Map<string, Row> } | undefined;
  among: readonly SimNode[] = [];
  records = 0;
  snapshots = 0;
  compacted = 0;
  /** Holes in what came that it noticed. */
  gaps = 0;
  /** Parts of its stream are lost, or come twice: no socket does that, whoever stands between may. */
  isWireBad: boolean;

  constructor(name: string, mode: 'watch' | 'ledger', world: SubscriberWorld) {
    this.name = name;
    this.#mode = mode;
    this.#world = world;
    this.isWireBad = mode === 'ledger' && world.chance.is(0.5);
    const isPart = mode === 'watch' && world.chance.is(0.5);
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
    this.#snapshot = undefined;
    this.#credit = CREDIT_BYTES;
    stream.say(wire.encodeHello({ versionMin: 1, versionMax: wire.PROTOCOL_VERSION, client: this.name }));
    const writer = new ByteWriter(64).u8(wire.FRAME.requests);
    const kind = this.#mode === 'watch' ? wire.REQUEST.watch : wire.REQUEST.ledger;
    const at = wire.beginRequest(writer, { id: REQUEST, kind, deadlineMs: 0 });
    const fromRevision = this.revision + 1;
    if (this.#mode === 'ledger')
      wire.encodeLedger(writer, { fromRevision, cluster: CLUSTER, creditBytes: CREDIT_BYTES });
    else wire.encodeWatch(writer, { fromRevision, from: this.#from, to: this.#to, creditBytes: CREDIT_BYTES });
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
    assert(this.#mode === 'watch', 'a replica gets a snapshot');
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
      case wire.PART.snapshotBegin:
        this.#snapshot = { revision: reader.u64(), rows: new Map() };
        break;
      case wire.PART.snapshotEntries:
        while (reader.left > 0) {
          const { key, value, revision } = wire.decodeEntry(reader);
          this.#snapshot?.rows.set(textOf(key), { value: value.slice(), revision });
        }
        break;
      case wire.PART.snapshotEnd:
        this.#install(reader.u64());
        break;
      default:
    }
  }

  #install(revision: number): void {
    const snapshot = this.#snapshot;
    assert(snapshot?.revision === revision, 'a snapshot ends as it began');
    assert(revision >= this.revision, `${this.name}: a snapshot of ${revision} is older than what it has`);
    this.#snapshot = undefined;
    this.#rows = snapshot.rows;
    this.revision = revision;
    this.snapshots++;
    this.checkRows();
  }

  /** What of it is next. A replica goes by the production rule, which is all that saves it where its wire does not. */
  #next(records: readonly LedgerRecord[]): readonly LedgerRecord[] {
    if (this.#mode === 'watch') return records;
    try {
      return recordsAfter(toIndex(this.revision), records);
    } catch (error) {
      if (!isStoreError(error, 'LDB_GAP')) throw error;
      assert(this.#stream?.hasLost === true, `${this.name}: it was fed with a hole: ${error.message}`);
      this.gaps++;
      this.cut();
      return [];
    }
  }

  #take(bytes: Uint8Array): void {
    const { reference } = this.#world.oracle;
    const { trace, queue } = this.#world;
    for (const { revision, timeMs, changes } of this.#next(decodeRecords(bytes))) {
      assert(revision > this.revision, `${this.name}: record ${revision} comes after ${this.revision}`);
      assert(reference.has(revision), `${this.name}: record ${revision} is not committed`);
      this.#skipTo(revision - 1);
      const known = reference.at(revision);
      const writer = new ByteWriter(256);
      encodeRecord(writer, { revision, timeMs, changes });
      const wanted = new ByteWriter(256);
      encodeRecord(wanted, {
        revision,
        timeMs: timeOf(known.record),
        changes: known.changes.filter((c) => this.#wants(c)),
      });
      assert(equalBytes(writer.view(), wanted.view()), `${this.name}: record ${revision} is another than the log's`);
      for (const change of changes) {
        const key = textOf(change.key);
        if (change.kind === 'delete') this.#rows.delete(key);
        else this.#rows.set(key, { value: change.value.slice(), revision });
      }
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

  /** Nothing that it wants is in what it was not sent; a replica is sent all. */
  #skipTo(revision: number): void {
    if (this.#mode === 'ledger') assert(revision === this.revision, `${this.name}: a hole before ${revision + 1}`);
    const { reference } = this.#world.oracle;
    for (let at = this.revision + 1; at <= revision; at++) {
      const missed = reference.at(at).changes.some((change) => this.#wants(change));
      assert(!missed, `${this.name}: the record of ${at} was left out`);
    }
  }

  #wants(change: Change): boolean {
    if (this.#mode === 'ledger') return true;
    // A watch of everything ends before control data.
    if (isControlKey(change.key)) return false;
    if (compareBytes(change.key, this.#from) < 0) return false;
    return this.#to.length === 0 || compareBytes(change.key, this.#to) < 0;
  }

  /** It has seen everything of interest up to `revision`. */
  sees(revision: number): boolean {
    const { reference } = this.#world.oracle;
    for (let at = this.revision + 1; at <= revision; at++) {
      if (this.#mode === 'ledger' || reference.at(at).changes.some((change) => this.#wants(change))) return false;
    }
    return true;
  }

  /** A replica's copy is the state at its revision. */
  checkRows(): void {
    if (this.#mode !== 'ledger') return;
    const { reference } = this.#world.oracle;
    for (const [key, row] of this.#rows) {
      const then = reference.valueAt(key, this.revision);
      const isSame = then.value !== undefined && then.revision === row.revision && equalBytes(then.value, row.value);
      assert(isSame, `${this.name}: ${key} at ${this.revision} is another in the replica`);
    }
    assert(
      this.#rows.size === reference.countAt(this.revision),
      `${this.name}: a replica has the keys of ${this.revision}`,
    );
  }
}

const timeOf = (record: Uint8Array): number =>
  new DataView(record.buffer, record.byteOffset, record.byteLength).getFloat64(8, true);
