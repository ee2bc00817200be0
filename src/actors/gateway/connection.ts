/**
 * Connection: one client, as the gateway sees it: what it is owed, and how much may wait for it.
 *
 * Replies of a turn are gathered in one frame. Ranges are read here, part by part, while the client gives
 * credit. A client that does not read fills its socket: past the bound it is cut off, and nobody else notices.
 */
import { ByteWriter } from '../../core/base/bytes.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { StoredValue } from '../../core/model/store.ts';
import * as wire from '../../core/wire/client.ts';
import type { Caller } from './callers.ts';
import type { StateCursor } from '../../engine/state/state-reader.ts';
import type { SharedFrame } from '../shipment.ts';

/** A client's socket, or an embedding application. */
export interface Door {
  /** Sends one frame; the bytes are the door's from now on. */
  send(frame: Uint8Array): void;
  /** Sends one that other doors send as well. Without this each gets a copy to itself. */
  sendShared?(frame: SharedFrame): void;
  /** Ends the connection after what was sent. */
  close(): void;
  /** Sent and not yet taken by the network. */
  readonly bufferedBytes: number;
}

export interface RangeStream {
  readonly cursor: StateCursor;
  readonly revision: number;
  left: number;
  credit: number;
}

const HELLO_DEADLINE_MS = 5_000;
const BUFFERED_BYTES_MAX = 16 * 1024 * 1024;
/** Above this, values are refused (OVERLOADED; the SDK asks again): a client that does read is never cut off by them. */
const VALUES_BYTES_MAX = 8 * 1024 * 1024;
/** Above this, ranges wait for the socket, whatever credit they have. */
const RANGES_BYTES_MAX = 4 * 1024 * 1024;
const STREAMS_MAX = 256;
const PART_BYTES = 64 * 1024;
const REPLY_FRAME_BYTES = 1024 * 1024;
const NONE = new Uint8Array(0);

export class Connection {
  readonly door: Door;
  readonly #openedMs: number;
  readonly #replies = new ByteWriter(16 * 1024);
  readonly #ranges = new Map<number, RangeStream>();
  /** Watches and ledgers: the shipper's number by request. */
  readonly subs: Map<number, number> = new Map();
  isGreeted = false;
  /** Who it is, from its greeting on. */
  caller: Caller = { hasToken: false };
  isClosed = false;
  /** More waits for it than may: it must end. */
  isOverrun = false;
  inFlight = 0;
  /** Connections that have something to send: looked at once per turn, instead of all of them. */
  readonly #dirty: Set<Connection>;

  constructor(door: Door, nowMs: number, dirty: Set<Connection>) {
    this.door = door;
    this.#openedMs = nowMs;
    this.#dirty = dirty;
    this.#replies.u8(wire.FRAME.replies);
  }

  ok(request: number, revision: number, extra: Uint8Array): void {
    wire.encodeOk(this.#replies, request, revision, extra);
    this.#dirty.add(this);
    if (this.#replies.length >= REPLY_FRAME_BYTES) this.flush();
  }

  /** Why no value may be added to what waits for the client already. Asked before the value is looked for. */
  refusesValue(): StoreError | undefined {
    const size = this.door.bufferedBytes + this.#replies.length;
    if (size <= VALUES_BYTES_MAX) return undefined;
    return new StoreError('OVERLOADED', `${size} bytes wait for the client to read them`, {
      data: { limit: VALUES_BYTES_MAX, size },
    });
  }

  /** A get's answer: expiry f64, then the value. */
  okValue(request: number, stored: StoredValue): void {
    this.#replies.varint(request).u8(0).u64(stored.revision);
    this.#replies
      .varint(8 + stored.value.length)
      .f64(stored.expiryMs)
      .raw(stored.value);
    this.#dirty.add(this);
    if (this.#replies.length >= REPLY_FRAME_BYTES) this.flush();
  }

  fail(request: number, error: StoreError): void {
    wire.encodeFailure(this.#replies, request, error);
    this.#dirty.add(this);
    if (this.#replies.length >= REPLY_FRAME_BYTES) this.flush();
  }

  /** Sends the turn's replies, and range parts that there is credit for. */
  flush(): void {
    this.#dirty.delete(this);
    if (this.isClosed) return;
    if (this.#replies.length > 1) {
      this.door.send(this.#replies.take());
      this.#replies.reset();
      this.#replies.u8(wire.FRAME.replies);
      this.isOverrun = this.door.bufferedBytes > BUFFERED_BYTES_MAX;
    }
    for (const [request, stream] of this.#ranges) this.#pump(request, stream);
  }

  /** One that others get as well. */
  sendShared(frame: SharedFrame): void {
    const { door } = this;
    if (door.sendShared === undefined) door.send(frame.bytes.slice());
    else door.sendShared(frame);
  }

  notice(leader: string, leaderUrl: string): void {
    if (!this.isGreeted || this.isClosed) return;
    this.door.send(new ByteWriter(64).u8(wire.FRAME.notice).string(leader).string(leaderUrl).take());
  }

  goodbye(error: StoreError): void {
    this.flush();
    this.door.send(wire.encodeGoodbye(error));
    this.door.close();
  }

  /** Why this connection must end, if it must. */
  checkDeadlines(nowMs: number): StoreError | undefined {
    if (!this.isGreeted && nowMs - this.#openedMs > HELLO_DEADLINE_MS) {
      return new StoreError('DEADLINE_EXCEEDED', `no hello within ${HELLO_DEADLINE_MS} ms`);
    }
    if (this.door.bufferedBytes > BUFFERED_BYTES_MAX) return this.overrun();
    // Those that waited for the socket go on.
    if (this.#ranges.size > 0) this.#dirty.add(this);
    return undefined;
  }

  /** Why a client that does not read is cut off. */
  overrun(): StoreError {
    const { bufferedBytes } = this.door;
    return new StoreError('OVERLOADED', `the client does not read: ${bufferedBytes} bytes wait for it`, {
      data: { limit: BUFFERED_BYTES_MAX, size: bufferedBytes },
    });
  }

  // ── streams ──

  checkNewStream(request: number): void {
    if (this.#ranges.has(request) || this.subs.has(request)) {
      throw new StoreError('BAD_REQUEST', `request ${request} is a stream already`);
    }
    if (this.#ranges.size + this.subs.size >= STREAMS_MAX) {
      throw new StoreError('OVERLOADED', `a connection may have ${STREAMS_MAX} streams`, {
        data: { limit: STREAMS_MAX },
      });
    }
  }

  get hasRanges(): boolean {
    return this.#ranges.size > 0;
  }

  startRange(request: number, stream: RangeStream): void {
    this.#ranges.set(request, stream);
    this.#pump(request, stream);
  }

  creditRange(request: number, bytes: number): void {
    const stream = this.#ranges.get(request);
    if (stream === undefined) return;
    stream.credit += bytes;
    this.#dirty.add(this);
  }

  cancelRange(request: number): void {
    this.#ranges.get(request)?.cursor.close();
    this.#ranges.delete(request);
  }

  /** Nobody reads on: cursors keep old versions from being forgotten. */
  cancelRanges(): void {
    for (const request of [...this.#ranges.keys()]) this.cancelRange(request);
  }

  endStream(request: number, error: StoreError | undefined, revision = 0): void {
    const writer = new ByteWriter(64).u8(wire.FRAME.end);
    if (error === undefined) wire.encodeOk(writer, request, revision, NONE);
    else wire.encodeFailure(writer, request, error);
    this.door.send(writer.take());
  }

  #pump(request: number, stream: RangeStream): void {
    try {
      this.#pumpRange(request, stream);
    } catch (error) {
      // A damaged table: the client may go on at another node.
      if (!(error instanceof StoreError)) throw error;
      this.cancelRange(request);
      this.endStream(request, error);
    }
  }

  #pumpRange(request: number, stream: RangeStream): void {
    while (stream.credit > 0 && this.door.bufferedBytes < RANGES_BYTES_MAX) {
      const writer = new ByteWriter(4096).u8(wire.FRAME.stream).varint(request).u64(stream.revision);
      const empty = writer.length;
      let isDone = false;
      while (writer.length < PART_BYTES) {
        const entry = stream.left > 0 ? stream.cursor.next() : undefined;
        if (entry === undefined) {
          isDone = true;
          break;
        }
        stream.left--;
        wire.encodeEntry(writer, entry);
      }
      if (writer.length > empty) {
        stream.credit -= writer.length;
        this.door.send(writer.take());
      }
      if (!isDone) continue;
      this.cancelRange(request);
      this.endStream(request, undefined, stream.revision);
      return;
    }
  }
}
