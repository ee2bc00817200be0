/**
 * A gateway with a real memtable and real rings; replication, the shipper and the doors are played by the test.
 */
import type { Caller, Callers } from '../../../src/actors/gateway/callers.ts';
import type { ReaderGrant } from '../../../src/actors/gateway/readers.ts';
import type { Connection, Door } from '../../../src/actors/gateway/connection.ts';
import { type PutTrace, PutTraces } from '../../../src/actors/gateway/put-traces.ts';
import { Gateway } from '../../../src/actors/gateway/gateway.ts';
import { TO_GATEWAY, TO_REPLICATION } from '../../../src/actors/messages.ts';
import { createRing, RingReader, RingWriter } from '../../../src/actors/runtime/ring.ts';
import { Shared } from '../../../src/actors/shared.ts';
import type { ToShipper } from '../../../src/actors/shipper-messages.ts';
import { ByteReader, ByteWriter, utf8 } from '../../../src/core/base/bytes.ts';
import { type ErrorCode, StoreError } from '../../../src/core/base/errors.ts';
import { type Revision, toIndex } from '../../../src/core/base/position.ts';
import { Machine, resultCode } from '../../../src/core/model/machine.ts';
import * as wire from '../../../src/core/wire/client.ts';
import { decodeFleetAsk, encodeFleet, type FleetAnswer, type FleetAsk } from '../../../src/core/wire/fleet.ts';
import { PlainState } from '../../support/plain-state.ts';

const MIB = 1024 * 1024;
export const ORIGIN = 9_000_000_000;

export type Heard =
  | { readonly kind: 'welcome'; readonly welcome: wire.Welcome }
  | { readonly kind: 'reply'; readonly id: number; readonly revision: number; readonly extra: Uint8Array }
  | { readonly kind: 'failure'; readonly id: number; readonly error: StoreError }
  | { readonly kind: 'part'; readonly id: number; readonly payload: Uint8Array; readonly bytes: number }
  | { readonly kind: 'end'; readonly id: number; readonly error: StoreError | undefined }
  | { readonly kind: 'notice'; readonly leader: string; readonly url: string }
  | { readonly kind: 'goodbye'; readonly error: StoreError };

/** A client on the other side of a door, by frames. */
export class Peer implements Door {
  readonly connection: Connection;
  readonly heard: Heard[] = [];
  /** Bytes per frame that came. */
  readonly frames: number[] = [];
  isClosed = false;
  /** What waits in its socket. */
  bufferedBytes = 0;
  readonly #gateway: Gateway;

  constructor(gateway: Gateway, isGreeted = true, caller?: Caller) {
    this.#gateway = gateway;
    this.connection = gateway.open(this, caller);
    if (isGreeted) {
      this.hello();
      this.heard.length = 0;
    }
  }

  send(frame: Uint8Array): void {
    this.#hear(frame);
  }

  close(): void {
    this.isClosed = true;
  }

  raw(frame: Uint8Array): void {
    this.#gateway.receive(this.connection, frame);
  }

  hello(versionMin: number = wire.PROTOCOL_VERSION, versionMax: number = versionMin): void {
    this.raw(wire.encodeHello({ versionMin, versionMax, client: 'test' }));
  }

  /** One frame of requests. */
  ask(...requests: readonly Ask[]): void {
    const writer = new ByteWriter(256).u8(wire.FRAME.requests);
    for (const { id, kind, deadlineMs = 1_000, body } of requests) {
      const at = wire.beginRequest(writer, { id, kind, deadlineMs });
      body(writer);
      wire.endRequest(writer, at);
    }
    this.raw(writer.take());
  }

  credit(id: number, bytes: number): void {
    this.raw(new ByteWriter(16).u8(wire.FRAME.credit).varint(id).varint(bytes).take());
  }

  cancel(id: number): void {
    this.raw(new ByteWriter(16).u8(wire.FRAME.cancel).varint(id).take());
  }

  /** The code with which request `id` failed; 'ok' when it did not; undefined while it is open. */
  outcome(id: number): ErrorCode | 'ok' | undefined {
    for (const heard of this.heard) {
      if (heard.kind === 'failure' && heard.id === id) return heard.error.code;
      if (heard.kind === 'reply' && heard.id === id) return 'ok';
      if (heard.kind === 'end' && heard.id === id) return heard.error?.code ?? 'ok';
    }
    return undefined;
  }

  errorOf(id: number): StoreError | undefined {
    for (const heard of this.heard) {
      if ((heard.kind === 'failure' || heard.kind === 'end') && heard.id === id) return heard.error;
    }
    return undefined;
  }

  /** How often `id` was settled. */
  settled(id: number): number {
    return this.heard.filter((heard) => heard.kind !== 'part' && 'id' in heard && heard.id === id).length;
  }

  get goodbye(): ErrorCode | undefined {
    const heard = this.heard.find((one) => one.kind === 'goodbye');
    return heard?.kind === 'goodbye' ? heard.error.code : undefined;
  }

  parts(id: number): { readonly payload: Uint8Array; readonly bytes: number }[] {
    return this.heard.filter((heard) => heard.kind === 'part').filter((part) => part.id === id);
  }

  /** Keys of the range `id` so far. */
  keys(id: number): string[] {
    return this.parts(id).flatMap(({ payload }) => {
      const reader = new ByteReader(payload);
      reader.u64();
      const keys: string[] = [];
      while (reader.left > 0) keys.push(Buffer.from(wire.decodeEntry(reader).key).toString());
      return keys;
    });
  }

  #hear(frame: Uint8Array): void {
    this.frames.push(frame.length);
    const reader = new ByteReader(frame);
    const type = reader.u8();
    if (type === wire.FRAME.welcome) this.heard.push({ kind: 'welcome', welcome: wire.decodeWelcome(reader) });
    else if (type === wire.FRAME.goodbye) this.heard.push({ kind: 'goodbye', error: wire.decodeGoodbye(reader) });
    else if (type === wire.FRAME.notice) {
      this.heard.push({ kind: 'notice', leader: reader.string(), url: reader.string() });
    } else if (type === wire.FRAME.stream) {
      this.heard.push({ kind: 'part', id: reader.varint(), payload: reader.raw(reader.left), bytes: frame.length });
    } else if (type === wire.FRAME.end) {
      const reply = wire.decodeReply(reader);
      this.heard.push({ kind: 'end', id: reply.id, error: reply.error });
    } else {
      while (reader.left > 0) {
        const reply = wire.decodeReply(reader);
        if (reply.error === undefined) {
          this.heard.push({ kind: 'reply', id: reply.id, revision: reply.revision, extra: reply.extra.slice() });
        } else this.heard.push({ kind: 'failure', id: reply.id, error: reply.error });
      }
    }
  }
}

export interface Ask {
  readonly id: number;
  readonly kind: number;
  readonly deadlineMs?: number;
  readonly body: (writer: ByteWriter) => unknown;
}

export const ask = {
  put: (id: number, key: string | Uint8Array, value: string | Uint8Array = 'v', deadlineMs = 1_000): Ask => ({
    id,
    kind: wire.REQUEST.put,
    deadlineMs,
    body: (writer) =>
      writer
        .varint(0)
        .varint(0)
        .varint(0)
        .varint(0)
        .blob(typeof key === 'string' ? utf8(key) : key)
        .blob(typeof value === 'string' ? utf8(value) : value),
  }),
  remove: (id: number, key: string): Ask => ({
    id,
    kind: wire.REQUEST.delete,
    body: (writer) => writer.varint(0).varint(0).varint(0).blob(utf8(key)),
  }),
  get: (
    id: number,
    key: string,
    options: Partial<Omit<wire.GetRequest, 'key'>> & { readonly deadlineMs?: number } = {},
  ): Ask => ({
    id,
    kind: wire.REQUEST.get,
    deadlineMs: options.deadlineMs ?? 1_000,
    body: (writer) => wire.encodeGet(writer, { isLocal: false, atLeast: 0, ...options, key: utf8(key) }),
  }),
  range: (
    id: number,
    options: Partial<Omit<wire.RangeRequest, 'from' | 'to'>> & { readonly from?: string; readonly to?: string } = {},
  ): Ask => ({
    id,
    kind: wire.REQUEST.range,
    body: (writer) =>
      wire.encodeRange(writer, {
        isLocal: true,
        reverse: false,
        atLeast: 0,
        revision: 0,
        limit: 0,
        creditBytes: MIB,
        ...options,
        from: utf8(options.from ?? ''),
        to: utf8(options.to ?? ''),
      }),
  }),
  watch: (
    id: number,
    fromRevision: number,
    creditBytes = 1_000,
    wishes: Pick<wire.WatchRequest, 'bookmarks' | 'tellSlow'> = {},
  ): Ask => ({
    id,
    kind: wire.REQUEST.watch,
    body: (writer) =>
      wire.encodeWatch(writer, { fromRevision, from: utf8('a'), to: utf8('b'), creditBytes, ...wishes }),
  }),
  ledger: (id: number, cluster = '', fromRevision = 1): Ask => ({
    id,
    kind: wire.REQUEST.ledger,
    body: (writer) => wire.encodeLedger(writer, { fromRevision, cluster, creditBytes: 1_000 }),
  }),
  status: (id: number): Ask => ({ id, kind: wire.REQUEST.status, body: () => {} }),
};

export class GatewayWorld {
  readonly shared: Shared = new Shared();
  readonly memtable: PlainState;
  readonly machine: Machine;
  readonly gateway: Gateway;
  readonly shipped: ToShipper[] = [];
  readonly traced: PutTrace[] = [];
  nowMs = 10_000;
  /** The disk is full. */
  isFull = false;
  /** The oldest state that can be read. */
  floor = 0;
  leader: { name: string; url: string } = { name: '', url: '' };
  readonly #inbox: RingReader;
  readonly #toGateway: RingWriter;
  readonly #answers: RingWriter;

  constructor(
    options: {
      readonly callers?: Callers;
      readonly readers?: readonly ReaderGrant[];
      readonly memtableBytes?: number;
      readonly inFlightMax?: number;
      readonly inboxBytes?: number;
    } = {},
  ) {
    const buffer = new SharedArrayBuffer(options.memtableBytes ?? 16 * MIB);
    this.memtable = new PlainState(buffer);
    this.machine = new Machine(this.memtable, ORIGIN);
    const inbox = createRing(options.inboxBytes ?? 16 * MIB);
    const toGateway = createRing(MIB);
    const answers = createRing(16 * MIB);
    this.#inbox = new RingReader(inbox);
    this.#toGateway = new RingWriter(toGateway);
    this.#answers = new RingWriter(answers);
    this.gateway = new Gateway({
      shared: this.shared,
      state: {
        get: (key) => this.memtable.get(key, this.#at()),
        scan: (bounds, revision) => {
          if (revision !== undefined && revision < this.floor) {
            throw new StoreError('COMPACTED', 'no longer kept', { data: { oldestRevision: this.floor } });
          }
          return this.memtable.scan(bounds, revision ?? this.#at());
        },
        getPrivate: (key) => this.memtable.getPrivate(key),
        privateRows: (prefix) => this.memtable.privateRows(prefix),
      },
      isFull: () => this.isFull,
      destructiveSchemaChanges: true,
      outbox: new RingWriter(inbox),
      fromReplication: new RingReader(toGateway),
      answers: new RingReader(answers),
      toShipper: (message) => this.shipped.push(message),
      node: 'n1',
      cluster: 'test',
      origin: ORIGIN,
      monotonicMs: () => this.nowMs,
      leader: () => this.leader,
      status: () => ({ node: 'n1', role: 'leader' }),
      onMembers: () => {},
      traces: new PutTraces(this.shared.stages, (trace) => this.traced.push(trace)),
      inFlightMax: options.inFlightMax ?? 10_000,
      ...(options.callers && { callers: options.callers }),
      ...(options.readers && { readers: options.readers }),
    });
  }

  /** What is applied, as the gateway is told it. */
  #at(): Revision {
    return toIndex(this.shared.get('applied'));
  }

  peer(isGreeted = true): Peer {
    return new Peer(this.gateway, isGreeted);
  }

  /** What replication was handed: commands of proposals, and ids of reads. */
  handed(): {
    readonly commands: Uint8Array[];
    readonly reads: number[];
    readonly fleetAsks: { readonly id: number; readonly ask: FleetAsk }[];
  } {
    const commands: Uint8Array[] = [];
    const reads: number[] = [];
    const fleetAsks: { id: number; ask: FleetAsk }[] = [];
    for (let frame = this.#inbox.peek(); frame !== undefined; frame = this.#inbox.peek()) {
      const reader = new ByteReader(frame.slice());
      this.#inbox.pop();
      const kind = reader.u8();
      if (kind === TO_REPLICATION.read) reads.push(reader.u32());
      else if (kind === TO_REPLICATION.fleetAsk) {
        fleetAsks.push({ id: reader.u32(), ask: decodeFleetAsk(reader.raw(reader.left)) });
      } else while (reader.left > 0) commands.push(reader.raw(reader.u32()));
    }
    return { commands, reads, fleetAsks };
  }

  /** The commands are committed, applied and answered. */
  apply(commands: readonly Uint8Array[]): void {
    for (const command of commands) this.machine.apply(toIndex(this.machine.applied + 1), command);
    this.shared.set('applied', this.machine.applied);
    if (this.machine.results.length > 0) this.#answers.write(this.machine.results.view());
    this.machine.results.reset();
    this.machine.resetRecords();
    this.gateway.turn();
  }

  /** Log entries that nobody here asked for. */
  write(keys: readonly string[], value: string | Uint8Array = 'v'): void {
    const bytes = typeof value === 'string' ? utf8(value) : value;
    for (const key of keys) {
      const index = toIndex(this.machine.applied + 1);
      this.memtable.put(utf8(key), bytes, index, 0);
      this.machine.applied = index;
    }
    this.shared.set('applied', this.machine.applied);
    this.gateway.turn();
  }

  leads(name: string, term: number): void {
    this.leader = name === '' ? { name: '', url: '' } : { name, url: `ws://${name}` };
    this.#toGateway.write(
      new ByteWriter(16)
        .u8(TO_GATEWAY.leader)
        .u64(term)
        .u32(name === '' ? 0 : 1)
        .view(),
    );
    this.gateway.turn();
  }

  confirm(id: number, index: number): void {
    this.#toGateway.write(new ByteWriter(16).u8(TO_GATEWAY.read).u32(id).u64(index).view());
    this.gateway.turn();
  }

  /** Replication has asked `asked`; `away` could not be. */
  fleetPeers(id: number, asked: readonly string[], away: readonly { id: string; awayMs: number }[] = []): void {
    const json = utf8(JSON.stringify({ asked, away }));
    this.#toGateway.write(new ByteWriter(64).u8(TO_GATEWAY.fleetPeers).u32(id).raw(json).view());
    this.gateway.turn();
  }

  fleetAnswer(id: number, from: string, answer: Partial<FleetAnswer>): void {
    const json = encodeFleet({ connected: 0, behind: [0], rows: [], found: [], ...answer });
    this.#toGateway.write(new ByteWriter(64).u8(TO_GATEWAY.fleetAnswer).u32(id).string(from).raw(json).view());
    this.gateway.turn();
  }

  refuse(code: ErrorCode, commands: readonly Uint8Array[]): void {
    const frame = new ByteWriter(64).u8(TO_GATEWAY.refused).u8(resultCode(code));
    for (const command of commands) frame.u32(tokenOf(command));
    this.#toGateway.write(frame.view());
    this.gateway.turn();
  }

  /** Time goes on, and the gateway looks. */
  pass(ms: number): void {
    this.nowMs += ms;
    this.gateway.sweep();
    this.gateway.turn();
  }
}

export const tokenOf = (command: Uint8Array): number =>
  new DataView(command.buffer, command.byteOffset, command.byteLength).getUint32(17, true);
