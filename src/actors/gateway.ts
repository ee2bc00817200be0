/**
 * Gateway: between the doors and the log. Bytes of a client in, bytes for it out.
 *
 * It checks every request before anything is done for it, gives it a token and a deadline, and keeps it until
 * it is answered: by the memtable (applied), by replication (refused), or by the clock. Reads are answered
 * here, from shared memory. What arrives together leaves together: one ring frame per client frame, one reply
 * frame per connection and turn.
 *
 * A write past its deadline is OUTCOME_UNKNOWN: it may yet commit. So is one that was on its way to a leader
 * that has changed since; the SDK then sends it again under the same session and sequence, and it happens once.
 *
 * Bounds: requests and bytes of writes under way per node, streams per connection, bytes waiting on a socket.
 *
 * On the put path: stops 2 and 8 of 9. From net (a door); to replication; from memtable; to the door.
 */
import { ByteReader, ByteWriter } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import type { Revision } from '../core/base/position.ts';
import { checkBody, commandKind, encodeCommandHeader } from '../core/model/commands.ts';
import { checkKey } from '../core/model/limits.ts';
import { errorOfResult } from '../core/model/machine.ts';
import * as wire from '../core/wire/client.ts';
import type { Memtable } from '../engine/lsm/memtable.ts';
import { Connection, type Door, type RangeStream } from './gateway-connection.ts';
import { TO_GATEWAY, TO_REPLICATION } from './messages.ts';
import { ReadBarrier, type Waiter } from './read-barrier.ts';
import type { RingReader, RingWriter } from './runtime/ring.ts';
import type { Shared } from './shared.ts';
import type { FromShipper, ToShipper } from './shipper.ts';

export interface GatewayWorld {
  readonly shared: Shared;
  readonly memtable: Memtable;
  /** To replication. */
  readonly outbox: RingWriter;
  readonly fromReplication: RingReader;
  readonly answers: RingReader;
  readonly toShipper: (message: ToShipper) => void;
  readonly node: string;
  readonly cluster: string;
  readonly nodes: number;
  /** This boot's number in commands. */
  readonly origin: number;
  readonly monotonicMs: () => number;
  readonly leader: () => { readonly name: string; readonly url: string };
  readonly status: () => object;
  /** Requests that the node holds at once, over all connections. */
  readonly inFlightMax: number;
}

/** A write on its way, by token. */
interface PendingWrite {
  readonly connection: Connection;
  readonly request: number;
  readonly deadlineMs: number;
  readonly bytes: number;
  /** Term in which it was handed to a leader; 0 while nobody led (it is then held, not in doubt). */
  readonly term: number;
}

/** A read, a range or a new watch that waits for the barrier. */
interface PendingRead extends Waiter {
  readonly connection: Connection;
  readonly request: number;
  readonly deadlineMs: number;
  readonly get: wire.GetRequest | undefined;
  readonly range: wire.RangeRequest | undefined;
  readonly watch: wire.WatchRequest | undefined;
  needs: number;
}

const WRITE_BYTES_MAX = 64 * 1024 * 1024;
const PROPOSE_FRAME_BYTES = 1024 * 1024;
const DEADLINE_MS_MAX = 10 * 60 * 1000;
/** Share of the memtable kept for deletes, expiries and what is on its way. */
const RESERVE = 0.1;
const NONE = new Uint8Array(0);

export class Gateway {
  readonly #world: GatewayWorld;
  readonly #connections = new Set<Connection>();
  readonly #writes = new Map<number, PendingWrite>();
  #writeBytes = 0;
  #nextToken = 1;
  readonly #proposals = new ByteWriter(256 * 1024);
  /** Proposal frames that found no room: bounded by WRITE_BYTES_MAX. */
  #backlog: Uint8Array[] = [];
  readonly #barrier: ReadBarrier<PendingRead>;
  readonly #subs = new Map<number, { connection: Connection; request: number }>();
  #nextSub = 1;
  readonly #applied: () => number;
  #leaderTerm = 0;
  #leaderNumber = 0;

  /** Counters for metrics. */
  readonly counts = { requests: 0, writes: 0, reads: 0, refused: 0, expired: 0 };

  constructor(world: GatewayWorld) {
    this.#world = world;
    this.#applied = world.shared.reader('applied');
    this.#barrier = new ReadBarrier({
      ask: (id) => this.#askRead(id),
      nowMs: world.monotonicMs,
    });
    this.#proposals.u8(TO_REPLICATION.propose);
  }

  get connections(): number {
    return this.#connections.size;
  }

  get inFlight(): number {
    return this.#writes.size + this.#barrier.waiting;
  }

  open(door: Door): Connection {
    const connection = new Connection(door, this.#world.monotonicMs());
    this.#connections.add(connection);
    return connection;
  }

  /** A connection is gone: what it waited for has nobody to hear of it. Its writes go on. */
  closed(connection: Connection): void {
    if (!this.#connections.delete(connection)) return;
    connection.isClosed = true;
    this.#barrier.remove((read) => read.connection === connection);
    for (const [sub, { connection: owner }] of this.#subs) {
      if (owner !== connection) continue;
      this.#subs.delete(sub);
      this.#world.toShipper({ kind: 'cancel', sub });
    }
  }

  /** One frame of a client. A bad one ends its connection, with a reason; nobody else notices. */
  receive(connection: Connection, bytes: Uint8Array): void {
    if (connection.isClosed) return;
    try {
      this.#frame(connection, new ByteReader(bytes));
      this.#sendProposals();
      this.#barrier.flush();
      connection.flush();
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.#drop(connection, error);
    }
  }

  /** The bell rang: answers, refusals, news of leadership, entries applied. */
  turn(): void {
    this.#sendBacklog();
    this.#takeAnswers();
    this.#takeNews();
    this.#releaseReads();
    this.#barrier.flush();
    for (const connection of this.#connections) connection.flush();
  }

  /** Looks for what is past its deadline; every few dozen milliseconds. */
  sweep(): void {
    const nowMs = this.#world.monotonicMs();
    for (const [token, write] of this.#writes) {
      if (write.deadlineMs > nowMs) continue;
      this.counts.expired++;
      this.#settle(token, write);
      write.connection.fail(
        write.request,
        write.term === 0
          ? new StoreError('UNAVAILABLE', 'no leader took the write before its deadline; it may yet be taken up', {
              data: { mayHappen: true },
            })
          : new StoreError('OUTCOME_UNKNOWN', 'the deadline passed before a quorum answered; the write may yet happen'),
      );
    }
    for (const read of this.#barrier.remove((waiter) => waiter.deadlineMs <= nowMs)) {
      this.counts.expired++;
      const what = read.get === undefined && read.range === undefined ? 'watch' : 'read';
      const message = `no quorum confirmed the ${what} before its deadline`;
      this.#fail(read, new StoreError('DEADLINE_EXCEEDED', message));
    }
    this.#barrier.flush();
    for (const connection of this.#connections) {
      const lateness = connection.checkDeadlines(nowMs);
      if (lateness === undefined) connection.flush();
      else this.#drop(connection, lateness);
    }
  }

  /** Says goodbye to every client. */
  close(): void {
    for (const connection of this.#connections) {
      this.#drop(connection, new StoreError('UNAVAILABLE', `${this.#world.node} is stopping`));
    }
  }

  // ── frames ────────────────────────────────────────────────────────────────────────────────────────────────

  #frame(connection: Connection, reader: ByteReader): void {
    const type = reader.u8();
    if (!connection.isGreeted) {
      if (type !== wire.FRAME.hello) throw new StoreError('PROTOCOL_ERROR', 'the first frame must be a hello');
      this.#greet(connection, wire.decodeHello(reader));
      return;
    }
    switch (type) {
      case wire.FRAME.requests:
        while (reader.left > 0) {
          const request = reader.varint();
          const kind = reader.u8();
          const deadlineMs = reader.varint();
          this.#request(connection, request, kind, deadlineMs, reader.raw(reader.u32()));
        }
        break;
      case wire.FRAME.credit:
        this.#credit(connection, reader.varint(), reader.varint());
        break;
      case wire.FRAME.cancel:
        this.#cancel(connection, reader.varint());
        break;
      default:
        throw new StoreError('PROTOCOL_ERROR', `a client does not send frames of type ${type}`);
    }
  }

  #greet(connection: Connection, hello: wire.Hello): void {
    const version = wire.PROTOCOL_VERSION;
    if (hello.versionMin > version || hello.versionMax < version) {
      const asked = `${hello.versionMin} to ${hello.versionMax}`;
      throw new StoreError('PROTOCOL_VERSION', `this node speaks version ${version}; the client ${asked}`);
    }
    connection.isGreeted = true;
    const { node, cluster, inFlightMax } = this.#world;
    const leader = this.#world.leader();
    connection.door.send(
      wire.encodeWelcome({ version, node, cluster, leader: leader.name, leaderUrl: leader.url, inFlightMax }),
    );
  }

  #request(connection: Connection, request: number, kind: number, deadlineMs: number, body: Uint8Array): void {
    this.counts.requests++;
    try {
      if (this.inFlight >= this.#world.inFlightMax) {
        const limit = this.#world.inFlightMax;
        throw new StoreError('OVERLOADED', `a node holds ${limit} requests at once`, { data: { limit } });
      }
      const untilMs =
        this.#world.monotonicMs() + Math.min(deadlineMs === 0 ? DEADLINE_MS_MAX : deadlineMs, DEADLINE_MS_MAX);
      if (wire.isCommand(kind)) this.#write(connection, request, kind, untilMs, body);
      else this.#read(connection, request, kind, untilMs, new ByteReader(body));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.counts.refused++;
      if (kind === wire.REQUEST.range || kind === wire.REQUEST.watch || kind === wire.REQUEST.ledger) {
        connection.endStream(request, error);
      } else connection.fail(request, error);
    }
  }

  // ── writes ────────────────────────────────────────────────────────────────────────────────────────────────

  #write(connection: Connection, request: number, code: number, deadlineMs: number, call: Uint8Array): void {
    const kind = commandKind(code);
    if (kind === undefined) throw new StoreError('BAD_REQUEST', `unknown request ${code}`);
    const reader = new ByteReader(call);
    reader.varint();
    reader.varint();
    reader.varint();
    checkBody(kind, reader);
    this.#admit(kind === 'put' || kind === 'txn', call.length);

    const token = this.#nextToken;
    this.#nextToken = (token + 1) >>> 0;
    // Not yet handed to anybody who leads: then it is held, and a change of leader does not put it in doubt.
    const term = this.#leaderNumber === 0 ? 0 : this.#leaderTerm;
    this.#writes.set(token, { connection, request, deadlineMs, bytes: call.length, term });
    this.#writeBytes += call.length;
    connection.inFlight++;
    this.counts.writes++;

    const lengthAt = this.#proposals.length;
    this.#proposals.u32(0);
    encodeCommandHeader(this.#proposals, { kind, origin: this.#world.origin, token });
    this.#proposals.raw(call);
    this.#proposals.patchU32(lengthAt, this.#proposals.length - lengthAt - 4);
    if (this.#proposals.length >= PROPOSE_FRAME_BYTES) this.#sendProposals();
  }

  /** Refuses what there is no room for, before it enters the log: what is in the log must apply. */
  #admit(addsData: boolean, bytes: number): void {
    if (this.#writeBytes + bytes > WRITE_BYTES_MAX) {
      throw new StoreError('OVERLOADED', `a node may have ${WRITE_BYTES_MAX} bytes of writes under way`, {
        data: { limit: WRITE_BYTES_MAX },
      });
    }
    if (!addsData) return;
    const { memtable, nodes } = this.#world;
    // Other gateways admit too; each counts as if all took what this one takes.
    const used = memtable.usedBytes + (this.#writeBytes + bytes) * 2 * nodes;
    const limit = Math.floor(memtable.capacityBytes * (1 - RESERVE));
    if (used > limit) {
      throw new StoreError('STORE_FULL', `the memtable holds ${used} of ${limit} bytes; deletes are still taken`, {
        data: { limit, size: used },
      });
    }
  }

  #sendProposals(): void {
    if (this.#proposals.length <= 1) return;
    const { outbox, shared } = this.#world;
    if (this.#backlog.length > 0 || !outbox.write(this.#proposals.view())) this.#backlog.push(this.#proposals.take());
    this.#proposals.reset();
    this.#proposals.u8(TO_REPLICATION.propose);
    shared.bell('replication').ring();
  }

  #sendBacklog(): void {
    while (this.#backlog.length > 0 && this.#world.outbox.write(this.#backlog[0] as Uint8Array)) {
      this.#backlog.shift();
      this.#world.shared.bell('replication').ring();
    }
  }

  #takeAnswers(): void {
    const { answers } = this.#world;
    for (let frame = answers.peek(); frame !== undefined; frame = answers.peek()) {
      const reader = new ByteReader(frame);
      while (reader.left > 0) {
        const token = reader.u32();
        const code = reader.u8();
        const revision = reader.u64();
        const extra = reader.blob();
        const write = this.#writes.get(token);
        // Nobody waits any more: it was past its deadline.
        if (write === undefined) continue;
        this.#settle(token, write);
        if (code === 0) write.connection.ok(write.request, revision, extra);
        else write.connection.fail(write.request, appliedError(code));
      }
      answers.pop();
    }
  }

  #settle(token: number, write: PendingWrite): void {
    this.#writes.delete(token);
    this.#writeBytes -= write.bytes;
    write.connection.inFlight--;
  }

  #takeNews(): void {
    const { fromReplication } = this.#world;
    for (let frame = fromReplication.peek(); frame !== undefined; frame = fromReplication.peek()) {
      const reader = new ByteReader(frame.slice());
      fromReplication.pop();
      const kind = reader.u8();
      if (kind === TO_GATEWAY.read) this.#barrier.answer(reader.u32(), reader.u64());
      else if (kind === TO_GATEWAY.refused) this.#refused(reader);
      else this.#leaderChanged(reader.u64(), reader.u32());
    }
  }

  #refused(reader: ByteReader): void {
    const code = errorOfResult(reader.u8()) ?? 'INTERNAL';
    const error = new StoreError(code, code === 'OVERLOADED' ? 'too much is uncommitted' : 'no leader took the write');
    while (reader.left > 0) {
      const token = reader.u32();
      const write = this.#writes.get(token);
      if (write === undefined) continue;
      this.#settle(token, write);
      write.connection.fail(write.request, error);
    }
  }

  #leaderChanged(term: number, leader: number): void {
    const isNew = leader !== 0 && term !== this.#leaderTerm;
    if (leader !== 0) this.#leaderTerm = term;
    this.#leaderNumber = leader;
    if (isNew) {
      for (const [token, write] of this.#writes) {
        if (write.term === 0 || write.term === term) continue;
        this.#settle(token, write);
        write.connection.fail(
          write.request,
          new StoreError('OUTCOME_UNKNOWN', 'the leader changed while the write was on its way'),
        );
      }
    }
    const notice = this.#world.leader();
    for (const connection of this.#connections) connection.notice(notice.name, notice.url);
  }

  // ── reads ─────────────────────────────────────────────────────────────────────────────────────────────────

  #read(connection: Connection, request: number, kind: number, deadlineMs: number, reader: ByteReader): void {
    const pending = { connection, request, deadlineMs, get: undefined, range: undefined, watch: undefined };
    switch (kind) {
      case wire.REQUEST.get: {
        const get = wire.decodeGet(reader);
        reader.end();
        checkKey(get.key);
        this.#await({ ...pending, get, needs: get.atLeast }, get.isLocal);
        break;
      }
      case wire.REQUEST.range: {
        const range = wire.decodeRange(reader);
        reader.end();
        connection.checkNewStream(request);
        // A named revision is settled already: it needs no confirmation, only to be applied here.
        const needs = Math.max(range.atLeast, range.revision);
        this.#await({ ...pending, range, needs }, range.isLocal || range.revision !== 0);
        break;
      }
      case wire.REQUEST.watch: {
        const watch = wire.decodeWatch(reader);
        reader.end();
        connection.checkNewStream(request);
        // "From now on" needs to know what now is; a position says it itself.
        if (watch.fromRevision === 0) this.#await({ ...pending, watch, needs: 0 }, false);
        else this.#subscribe(connection, request, 'watch', watch);
        break;
      }
      case wire.REQUEST.ledger: {
        const ledger = wire.decodeLedger(reader);
        reader.end();
        connection.checkNewStream(request);
        if (ledger.cluster !== '' && ledger.cluster !== this.#world.cluster) {
          const message = `the replica belongs to cluster "${ledger.cluster}"; this is "${this.#world.cluster}"`;
          throw new StoreError('LDB_FOREIGN', message);
        }
        this.#subscribe(connection, request, 'ledger', { ...ledger, from: NONE, to: NONE });
        break;
      }
      case wire.REQUEST.status:
        reader.end();
        connection.ok(request, this.#applied(), new TextEncoder().encode(JSON.stringify(this.#world.status())));
        break;
      default:
        throw new StoreError('BAD_REQUEST', `unknown request ${kind}`);
    }
  }

  /** Answers now if it may, or puts it behind the barrier. */
  #await(read: PendingRead, isLocal: boolean): void {
    this.counts.reads++;
    if (isLocal && read.needs <= this.#applied()) {
      this.#answerRead(read);
      return;
    }
    read.connection.inFlight++;
    if (isLocal) this.#barrier.addApplied(read);
    else this.#barrier.add(read);
  }

  #releaseReads(): void {
    for (const read of this.#barrier.release(this.#applied())) {
      read.connection.inFlight--;
      this.#answerRead(read);
    }
  }

  #answerRead(read: PendingRead): void {
    const { connection, request } = read;
    const revision = this.#applied() as Revision;
    if (read.get !== undefined) {
      const stored = this.#world.memtable.get(read.get.key, revision);
      if (stored === undefined) connection.ok(request, 0, NONE);
      else connection.okValue(request, stored);
    } else if (read.range !== undefined) {
      const at = read.range.revision === 0 ? revision : (read.range.revision as Revision);
      this.#startRange(connection, request, read.range, at);
    } else if (read.watch !== undefined) {
      const fromRevision = Math.max(read.needs, revision) + 1;
      this.#subscribe(connection, request, 'watch', { ...read.watch, fromRevision });
    }
  }

  #fail(read: PendingRead, error: StoreError): void {
    read.connection.inFlight--;
    if (read.get !== undefined) read.connection.fail(read.request, error);
    else read.connection.endStream(read.request, error);
  }

  #askRead(id: number): void {
    const { outbox, shared } = this.#world;
    // No room: the round is asked again when its deadline passes.
    outbox.write(new ByteWriter(8).u8(TO_REPLICATION.read).u32(id).view());
    shared.bell('replication').ring();
  }

  #startRange(connection: Connection, request: number, range: wire.RangeRequest, revision: Revision): void {
    const stream: RangeStream = {
      cursor: this.#world.memtable.scan(
        { from: range.from, to: range.to.length === 0 ? undefined : range.to, reverse: range.reverse },
        revision,
      ),
      revision,
      left: range.limit === 0 ? Number.POSITIVE_INFINITY : range.limit,
      credit: range.creditBytes,
    };
    connection.startRange(request, stream);
  }

  // ── streams ───────────────────────────────────────────────────────────────────────────────────────────────

  #subscribe(
    connection: Connection,
    request: number,
    mode: 'watch' | 'ledger',
    options: { fromRevision: number; from: Uint8Array; to: Uint8Array; creditBytes: number },
  ): void {
    if (options.fromRevision < 1) throw new StoreError('BAD_REQUEST', 'the first revision is 1');
    const sub = this.#nextSub++;
    this.#subs.set(sub, { connection, request });
    connection.subs.set(request, sub);
    const { fromRevision, creditBytes } = options;
    // Copies: what goes to another thread must not drag the socket's buffer along.
    const from = options.from.slice();
    const to = options.to.slice();
    this.#world.toShipper({ kind: 'subscribe', sub, request, mode, fromRevision, from, to, creditBytes });
  }

  /** From the shipper. */
  ship(message: FromShipper): void {
    const owner = this.#subs.get(message.sub);
    if (owner === undefined) return;
    if (message.kind === 'part') {
      owner.connection.door.send(message.frame);
      return;
    }
    this.#subs.delete(message.sub);
    owner.connection.subs.delete(owner.request);
    const { code, message: text, data } = message.error;
    owner.connection.endStream(owner.request, new StoreError(code, text, { data }));
    owner.connection.flush();
  }

  #credit(connection: Connection, request: number, bytes: number): void {
    const sub = connection.subs.get(request);
    if (sub !== undefined) this.#world.toShipper({ kind: 'credit', sub, bytes });
    else connection.creditRange(request, bytes);
  }

  #cancel(connection: Connection, request: number): void {
    const sub = connection.subs.get(request);
    if (sub !== undefined) {
      connection.subs.delete(request);
      this.#subs.delete(sub);
      this.#world.toShipper({ kind: 'cancel', sub });
    }
    connection.cancelRange(request);
    for (const read of this.#barrier.remove((r) => r.connection === connection && r.request === request)) {
      read.connection.inFlight--;
    }
  }

  #drop(connection: Connection, error: StoreError): void {
    if (connection.isClosed) return;
    connection.goodbye(error);
    this.closed(connection);
  }
}

const APPLIED_MESSAGES: Partial<Record<StoreError['code'], string>> = {
  SESSION_EXPIRED: 'the session has expired; whether earlier unanswered writes happened is not known',
  OVERLOADED: 'the session has too many unacknowledged writes',
  BAD_REQUEST: 'the write was answered before, or cannot be read',
};

function appliedError(code: number): StoreError {
  const name = errorOfResult(code) ?? 'INTERNAL';
  return new StoreError(name, APPLIED_MESSAGES[name] ?? 'the write was refused when it was applied');
}
