/**
 * A server played by the test: every dial is a connection whose frames are taken apart and answered by hand.
 */
import { StoreClient } from '../../src/client/client.ts';
import type { Dial, TransportEvents } from '../../src/client/transport.ts';
import type { ConnectOptions } from '../../src/client/types.ts';
import { ByteReader, ByteWriter } from '../../src/core/base/bytes.ts';
import { type ErrorCode, StoreError } from '../../src/core/base/errors.ts';
import { encodeRecord, type LedgerRecord } from '../../src/core/model/ledger.ts';
import * as wire from '../../src/core/wire/client.ts';

export interface Asked {
  readonly id: number;
  readonly kind: number;
  readonly deadlineMs: number;
  readonly body: Uint8Array;
}

/** A write as it stands on the wire. */
export interface AskedWrite extends Asked {
  readonly session: number;
  readonly seq: number;
  readonly acked: number;
  readonly rest: Uint8Array;
}

export const asWrite = (asked: Asked): AskedWrite => {
  const reader = new ByteReader(asked.body);
  const [session, seq, acked] = [reader.varint(), reader.varint(), reader.varint()];
  return { ...asked, session, seq, acked, rest: reader.raw(reader.left) };
};

const NONE = new Uint8Array(0);

export class Connection {
  readonly url: string;
  readonly events: TransportEvents;
  /** Requests, one list per frame. */
  readonly frames: Asked[][] = [];
  readonly credits: { readonly id: number; readonly bytes: number }[] = [];
  readonly cancels: number[] = [];
  isClosed = false;
  /** Answers openSession by itself with this session, when set. */
  autoSession: number | undefined;

  constructor(url: string, events: TransportEvents) {
    this.url = url;
    this.events = events;
  }

  get asked(): Asked[] {
    return this.frames.flat();
  }

  /** Requests but those that open sessions. */
  get calls(): Asked[] {
    return this.asked.filter(({ kind }) => kind !== wire.REQUEST.openSession);
  }

  get writes(): AskedWrite[] {
    return this.asked.filter(({ kind }) => kind >= 1 && kind <= 3).map(asWrite);
  }

  get streams(): Asked[] {
    return this.asked.filter(({ kind }) => wire.isStream(kind));
  }

  take(frame: Uint8Array): void {
    const reader = new ByteReader(frame);
    const type = reader.u8();
    if (type === wire.FRAME.credit) this.credits.push({ id: reader.varint(), bytes: reader.varint() });
    else if (type === wire.FRAME.cancel) this.cancels.push(reader.varint());
    else if (type === wire.FRAME.requests) {
      const asked: Asked[] = [];
      while (reader.left > 0) {
        const [id, kind, deadlineMs] = [reader.varint(), reader.u8(), reader.varint()];
        asked.push({ id, kind, deadlineMs, body: reader.raw(reader.u32()).slice() });
      }
      this.frames.push(asked);
      for (const { id, kind } of asked) {
        if (kind === wire.REQUEST.openSession && this.autoSession !== undefined) this.ok(id, this.autoSession);
      }
    }
  }

  /** Stands, and greets. */
  greet(welcome: Partial<wire.Welcome> = {}): this {
    this.events.onOpen();
    this.#give(
      wire.encodeWelcome({
        version: 1,
        node: 'n1',
        cluster: 'c',
        leader: 'n1',
        leaderUrl: this.url,
        inFlightMax: 100,
        ...welcome,
      }),
    );
    return this;
  }

  ok(id: number, revision: number, extra: Uint8Array = NONE): void {
    const writer = new ByteWriter(64).u8(wire.FRAME.replies);
    wire.encodeOk(writer, id, revision, extra);
    this.#give(writer.take());
  }

  fail(id: number, code: ErrorCode, data: Record<string, unknown> = {}): void {
    const writer = new ByteWriter(64).u8(wire.FRAME.replies);
    wire.encodeFailure(writer, id, new StoreError(code, `the server said ${code}`, { data }));
    this.#give(writer.take());
  }

  /** A range's part. Returns the bytes it cost. */
  entries(id: number, revision: number, keys: readonly string[], value = 'v'): number {
    const writer = new ByteWriter(64).u8(wire.FRAME.stream).varint(id).u64(revision);
    for (const key of keys) {
      wire.encodeEntry(writer, { key: Buffer.from(key), value: Buffer.from(value), revision: 1, expiryMs: 0 });
    }
    return this.#give(writer.take());
  }

  records(id: number, ...records: readonly LedgerRecord[]): number {
    const writer = new ByteWriter(64).u8(wire.FRAME.stream).varint(id).u8(wire.PART.records);
    for (const record of records) encodeRecord(writer, record);
    return this.#give(writer.take());
  }

  part(id: number, fill: (writer: ByteWriter) => unknown): number {
    const writer = new ByteWriter(64).u8(wire.FRAME.stream).varint(id);
    fill(writer);
    return this.#give(writer.take());
  }

  progress(id: number, revision: number): number {
    return this.part(id, (writer) => writer.u8(wire.PART.progress).u64(revision));
  }

  end(id: number, code?: ErrorCode, data: Record<string, unknown> = {}): void {
    const writer = new ByteWriter(64).u8(wire.FRAME.end);
    if (code === undefined) wire.encodeOk(writer, id, 1, NONE);
    else wire.encodeFailure(writer, id, new StoreError(code, `the server said ${code}`, { data }));
    this.#give(writer.take());
  }

  notice(leader: string, leaderUrl: string): void {
    this.#give(new ByteWriter(64).u8(wire.FRAME.notice).string(leader).string(leaderUrl).take());
  }

  goodbye(code: ErrorCode): void {
    this.#give(wire.encodeGoodbye(new StoreError(code, `goodbye: ${code}`)));
  }

  /** The connection is lost. */
  lose(reason = 'lost'): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.events.onClose(reason);
  }

  #give(frame: Uint8Array): number {
    this.events.onFrame(frame);
    return frame.length;
  }
}

export class FakeServer {
  readonly dials: Connection[] = [];
  /** What each new connection does by itself. */
  onDial: (connection: Connection) => void = () => {};

  readonly dial: Dial = (url, events) => {
    const connection = new Connection(url, events);
    this.dials.push(connection);
    queueMicrotask(() => this.onDial(connection));
    return {
      send: (frame) => {
        if (!connection.isClosed) connection.take(frame);
      },
      bufferedBytes: 0,
      close: () => connection.lose('closed by the client'),
    };
  };

  get last(): Connection {
    const connection = this.dials.at(-1);
    if (connection === undefined) throw new Error('nobody dialled');
    return connection;
  }

  /** A client of this server, greeted, with session 50 where it writes. */
  static async connected(
    options: ConnectOptions = {},
    urls: readonly string[] = ['ws://a'],
  ): Promise<{ server: FakeServer; client: StoreClient }> {
    const server = new FakeServer();
    server.onDial = (connection) => {
      connection.autoSession = 50;
      connection.greet();
    };
    const client = new StoreClient(urls, options, server.dial);
    await client.ready(5_000);
    return { server, client };
  }
}

/** A few rounds of the event loop: what was planned for "after this turn" has happened. */
export async function turns(count = 4): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** The settled state of a promise, now. */
export async function stateOf(promise: Promise<unknown>): Promise<'pending' | 'resolved' | 'rejected'> {
  const pending = Symbol('pending');
  await turns(1);
  try {
    return (await Promise.race([promise, Promise.resolve(pending)])) === pending ? 'pending' : 'resolved';
  } catch {
    return 'rejected';
  }
}

/** The code a promise rejects with. */
export async function codeOf(promise: Promise<unknown>): Promise<ErrorCode | 'resolved'> {
  try {
    await promise;
    return 'resolved';
  } catch (error) {
    if (error instanceof StoreError) return error.code;
    throw error;
  }
}
