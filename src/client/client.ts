/**
 * Client: the SDK. One connection, many calls under way, each write exactly once.
 *
 * Calls made in the same turn of the event loop leave in one frame. Writes carry the session and a number; the
 * cluster keeps the answer of each number until it is acknowledged, so a write whose answer was lost is simply
 * sent again. The session is opened by the first write and kept alive while the client lives.
 *
 * Bounds: calls under way (`inFlightMax`, the rest wait in order), bytes of streams not consumed (credit),
 * every call its deadline.
 */
import { ByteReader, ByteWriter, prefixEnd } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import type { Revision } from '../core/base/position.ts';
import { encodeTxn } from '../core/model/commands.ts';
import { checkKey, checkValue } from '../core/model/limits.ts';
import * as wire from '../core/wire/client.ts';
import { type Answered, type Call, expiredError, isRetried, retryDelayMs } from './calls.ts';
import { Connector } from './connector.ts';
import { ClientEntry, toBytes } from './entry.ts';
import type { QueueEvents } from './queue.ts';
import { LedgerStream, RangeStream, type Stream, WatchStream } from './streams.ts';
import type { Dial } from './transport.ts';
import { Builder, checkTtl, decodeTxnResult } from './txn.ts';
import type * as api from './types.ts';

const DEADLINE_MS = 10_000;
const IN_FLIGHT_MAX = 1024;
const SESSION_TTL_MS = 60_000;
const KEEP_ALIVE_EVERY_MS = 20_000;
const SWEEP_EVERY_MS = 20;
const FRAME_BYTES = 1024 * 1024;
const CREDIT_STEP_BYTES = 128 * 1024;
const CLOSE_MS = 2_000;
const NONE = new Uint8Array(0);

/** Runs after everything that this turn of the event loop brings, so that it leaves together. */
const afterTurn: (work: () => void) => void =
  typeof setImmediate === 'function' ? (work) => void setImmediate(work) : (work) => void setTimeout(work, 0);

interface LiveStream {
  readonly stream: Stream;
  id: number;
  /** Consumed, and not yet given back as credit. */
  consumed: number;
  isStarted: boolean;
  attempts: number;
  retry: ReturnType<typeof setTimeout> | undefined;
}

export class StoreClient implements api.Client {
  readonly #options: api.ConnectOptions;
  readonly #connector: Connector;
  #state: api.ClientState = 'connecting';
  #nextId = 1;
  /** Under way, by request id, oldest first. */
  readonly #calls = new Map<number, Call>();
  /** Waiting for room. */
  #waiting: Call[] = [];
  readonly #streams = new Map<number, LiveStream>();
  readonly #inFlightMax: number;

  #session = 0;
  #isOpeningSession = false;
  #nextSeq = 1;

  readonly #out = new ByteWriter(64 * 1024);
  #flushPlanned = false;
  #sweeper: ReturnType<typeof setInterval> | undefined;
  #keepAlive: ReturnType<typeof setInterval> | undefined;
  #closing: Promise<void> | undefined;
  #fatal: StoreError | undefined;
  readonly #onceConnected: { resolve: () => void; reject: (error: StoreError) => void }[] = [];

  constructor(urls: readonly string[], options: api.ConnectOptions, dial: Dial) {
    if (urls.length === 0) throw new StoreError('BAD_REQUEST', 'connect needs at least one endpoint');
    this.#options = options;
    this.#inFlightMax = options.inFlightMax ?? IN_FLIGHT_MAX;
    this.#connector = new Connector({
      urls,
      dial,
      pinned: options.pinned ?? false,
      onConnected: () => this.#connected(),
      onFrame: (type, reader) => this.#frame(type, reader),
      onDisconnected: () => this.#disconnected(),
      onFatal: (error) => this.#die(error),
      onEvent: (event) => options.onEvent?.(event),
    });
  }

  get state(): api.ClientState {
    return this.#state;
  }

  get endpoint(): string | undefined {
    return this.#connector.endpoint;
  }

  /** Resolves when connected for the first time. */
  ready(deadlineMs: number): Promise<void> {
    if (this.#state === 'connected') return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new StoreError('UNAVAILABLE', `no endpoint answered in ${deadlineMs} ms (${this.#connector.lastReason})`, {
            data: { reason: this.#connector.lastReason },
          }),
        );
      }, deadlineMs);
      this.#onceConnected.push({
        resolve: () => {
          clearTimeout(timer);
          resolve();
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
    });
  }

  // ── the public face ───────────────────────────────────────────────────────────────────────────────────────

  async put(key: api.Bytes, value: api.Bytes, options: api.PutOptions = {}): Promise<api.WriteResult> {
    const keyBytes = toBytes(key);
    const valueBytes = toBytes(value);
    checkKey(keyBytes);
    checkValue(valueBytes);
    const body = new ByteWriter(keyBytes.length + valueBytes.length + 24);
    body.varint(checkTtl(options.ttlMs)).blob(keyBytes).blob(valueBytes);
    const { revision } = await this.#call(wire.REQUEST.put, true, body.view(), options);
    return { revision: revision as Revision };
  }

  async get(key: api.Bytes, options: api.GetOptions = {}): Promise<api.Entry | undefined> {
    const keyBytes = toBytes(key);
    checkKey(keyBytes);
    const body = new ByteWriter(keyBytes.length + 24);
    wire.encodeGet(body, {
      isLocal: options.consistency === 'local',
      atLeast: options.atLeast ?? 0,
      key: keyBytes,
    });
    const { revision, extra } = await this.#call(wire.REQUEST.get, false, body.view(), options);
    if (revision === 0) return undefined;
    const reader = new ByteReader(extra);
    const expiryMs = reader.f64();
    return new ClientEntry(keyBytes, extra.subarray(8), revision as Revision, expiryMs);
  }

  async delete(key: api.Bytes, options: api.CallOptions = {}): Promise<api.DeleteResult> {
    const keyBytes = toBytes(key);
    checkKey(keyBytes);
    const body = new ByteWriter(keyBytes.length + 8).blob(keyBytes);
    const { revision, extra } = await this.#call(wire.REQUEST.delete, true, body.view(), options);
    return { revision: revision as Revision, found: extra[0] === 1 };
  }

  async txn(build: (t: api.TxnBuilder) => unknown, options: api.CallOptions = {}): Promise<api.TxnResult> {
    const builder = new Builder();
    build(builder);
    const body = new ByteWriter(256);
    encodeTxn(body, builder.build());
    const { revision, extra } = await this.#call(wire.REQUEST.txn, true, body.view(), options);
    return decodeTxnResult(revision as Revision, extra);
  }

  async status(options: api.CallOptions = {}): Promise<api.NodeStatus> {
    const { extra } = await this.#call(wire.REQUEST.status, false, NONE, options);
    return JSON.parse(new TextDecoder().decode(extra)) as api.NodeStatus;
  }

  range(options: api.RangeOptions = {}): AsyncIterable<api.Entry> {
    const { from, to } = boundsOf(options);
    const range = {
      isLocal: options.consistency === 'local',
      reverse: options.reverse ?? false,
      atLeast: options.atLeast ?? 0,
      from,
      to,
      limit: options.limit ?? 0,
    };
    if (options.limit === 0) return emptyIterable();
    return this.#open((events) => new RangeStream(range, events), options.signal, options.deadlineMs);
  }

  watch(options: api.WatchOptions = {}): AsyncIterable<api.WatchEvent> {
    const { from, to } = boundsOf(options);
    const fromRevision = options.fromRevision ?? 0;
    return this.#open((events) => new WatchStream({ from, to, fromRevision }, events), options.signal, undefined);
  }

  ledger(options: api.LedgerOptions): AsyncIterable<api.LedgerFrame> {
    return this.#open((events) => new LedgerStream(options, events), options.signal, undefined);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────

  #call(kind: wire.RequestKind, isWrite: boolean, body: Uint8Array, options: api.CallOptions): Promise<Answered> {
    return new Promise((resolve, reject) => {
      const { signal } = options;
      const refusal = this.#refusal(signal);
      if (refusal !== undefined) {
        reject(refusal);
        return;
      }
      const deadlineMs = performance.now() + (options.deadlineMs ?? this.#options.deadlineMs ?? DEADLINE_MS);
      const onAbort = signal === undefined ? undefined : () => this.#abort(call);
      const call: Call = {
        kind,
        isWrite,
        body,
        deadlineMs,
        signal,
        onAbort,
        resolve,
        reject,
        id: 0,
        seq: 0,
        session: 0,
        isSent: false,
        inDoubt: false,
        attempts: 0,
        notBeforeMs: 0,
        lastError: undefined,
      };
      if (signal !== undefined && onAbort !== undefined) signal.addEventListener('abort', onAbort, { once: true });
      if (this.#calls.size >= this.#inFlightMax) this.#waiting.push(call);
      else this.#admit(call);
      this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_EVERY_MS);
    });
  }

  #refusal(signal: AbortSignal | undefined): StoreError | undefined {
    if (this.#fatal !== undefined) return this.#fatal;
    if (this.#closing !== undefined) return new StoreError('CLOSED', 'the client is closed');
    if (signal?.aborted === true)
      return new StoreError('CANCELLED', 'cancelled before it began', { cause: signal.reason });
    return undefined;
  }

  #admit(call: Call): void {
    call.id = this.#nextId++;
    this.#calls.set(call.id, call);
    this.#planFlush();
  }

  #planFlush(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    afterTurn(() => {
      this.#flushPlanned = false;
      this.#flush();
    });
  }

  /** Sends every call that is not on its way. */
  #flush(): void {
    if (!this.#connector.isReady) return;
    const nowMs = performance.now();
    this.#out.reset();
    this.#out.u8(wire.FRAME.requests);
    let acked = -1;
    for (const call of this.#calls.values()) {
      if (call.isSent || call.notBeforeMs > nowMs) continue;
      if (call.isWrite && call.kind !== wire.REQUEST.openSession) {
        if (this.#session === 0) {
          this.#openSession();
          continue;
        }
        if (acked === -1) acked = this.#acked();
        this.#number(call);
      }
      this.#writeCall(call, acked, nowMs);
      if (this.#out.length >= FRAME_BYTES) {
        this.#connector.send(this.#out.take());
        this.#out.reset();
        this.#out.u8(wire.FRAME.requests);
      }
    }
    if (this.#out.length > 1) this.#connector.send(this.#out.take());
  }

  #writeCall(call: Call, acked: number, nowMs: number): void {
    // 0 leaves it to the server.
    const left = Number.isFinite(call.deadlineMs) ? Math.max(1, Math.ceil(call.deadlineMs - nowMs)) : 0;
    const at = wire.beginRequest(this.#out, { id: call.id, kind: call.kind, deadlineMs: left });
    if (call.isWrite) this.#out.varint(call.session).varint(call.seq).varint(Math.max(0, acked));
    this.#out.raw(call.body);
    wire.endRequest(this.#out, at);
    call.isSent = true;
    call.attempts++;
  }

  /** Every write below the oldest one under way needs no answer any more. */
  #acked(): number {
    let lowest = this.#nextSeq;
    for (const call of this.#calls.values()) {
      if (call.session === this.#session && call.seq !== 0 && call.seq < lowest) lowest = call.seq;
    }
    return lowest - 1;
  }

  #number(call: Call): void {
    if (call.session === this.#session) return;
    call.session = this.#session;
    call.seq = this.#nextSeq++;
  }

  #answered(reply: wire.Reply): void {
    const call = this.#calls.get(reply.id);
    // Past its deadline, or cancelled.
    if (call === undefined) return;
    if (reply.error === undefined) {
      this.#settle(call);
      call.resolve({ revision: reply.revision, extra: reply.extra.slice() });
      return;
    }
    const { error } = reply;
    call.isSent = false;
    if (error.code === 'OUTCOME_UNKNOWN' || error.data['mayHappen'] === true) call.inDoubt = true;
    if (error.code === 'SESSION_EXPIRED' && call.isWrite && call.session !== 0) {
      this.#sessionExpired(call, error);
      return;
    }
    if (!isRetried(error)) {
      this.#settle(call);
      call.reject(error);
      return;
    }
    call.lastError = error;
    call.notBeforeMs = error.code === 'OUTCOME_UNKNOWN' ? 0 : performance.now() + retryDelayMs(call.attempts);
    this.#planFlush();
  }

  #settle(call: Call): void {
    this.#calls.delete(call.id);
    if (call.signal !== undefined && call.onAbort !== undefined) {
      call.signal.removeEventListener('abort', call.onAbort);
    }
    const next = this.#waiting.shift();
    if (next !== undefined) this.#admit(next);
    else if (this.#calls.size === 0 && this.#streams.size === 0) {
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }
  }

  #abort(call: Call): void {
    const mayHappen = call.isWrite && (call.isSent || call.inDoubt);
    this.#waiting = this.#waiting.filter((other) => other !== call);
    this.#settle(call);
    const message = mayHappen ? 'cancelled; the write may still happen' : 'cancelled; nothing was done';
    call.reject(new StoreError('CANCELLED', message, { cause: call.signal?.reason, data: { mayHappen } }));
  }

  #sweep(): void {
    const nowMs = performance.now();
    let isDue = false;
    for (const call of [...this.#calls.values()]) {
      if (call.deadlineMs <= nowMs) {
        this.#settle(call);
        call.reject(expiredError(call, this.#connector.isReady ? 'connected' : this.#connector.lastReason));
      } else if (!call.isSent && call.notBeforeMs <= nowMs) isDue = true;
    }
    const late = this.#waiting.filter((call) => call.deadlineMs <= nowMs);
    if (late.length > 0) {
      this.#waiting = this.#waiting.filter((call) => call.deadlineMs > nowMs);
      for (const call of late) call.reject(expiredError(call, 'it waited for earlier calls'));
    }
    if (isDue) this.#flush();
  }

  // ── the session ───────────────────────────────────────────────────────────────────────────────────────────

  #openSession(): void {
    if (this.#isOpeningSession) return;
    this.#isOpeningSession = true;
    const call: Call = {
      kind: wire.REQUEST.openSession,
      isWrite: true,
      body: new ByteWriter(8).varint(SESSION_TTL_MS).take(),
      // It waits as long as somebody needs it; they have deadlines of their own.
      deadlineMs: Number.POSITIVE_INFINITY,
      signal: undefined,
      onAbort: undefined,
      resolve: ({ revision }) => {
        this.#isOpeningSession = false;
        this.#session = revision;
        this.#nextSeq = 1;
        this.#keepAlive ??= setInterval(() => this.#sendKeepAlive(), KEEP_ALIVE_EVERY_MS);
        this.#planFlush();
      },
      reject: (error) => {
        this.#isOpeningSession = false;
        for (const other of [...this.#calls.values()]) {
          if (!other.isWrite || other.kind === wire.REQUEST.openSession || other.inDoubt) continue;
          this.#settle(other);
          other.reject(error);
        }
      },
      id: this.#nextId++,
      seq: 0,
      session: 0,
      isSent: false,
      inDoubt: false,
      attempts: 0,
      notBeforeMs: 0,
      lastError: undefined,
    };
    this.#calls.set(call.id, call);
    this.#planFlush();
  }

  /** A write that was sent once was not done, and goes again in a new session; any other is told. */
  #sessionExpired(call: Call, error: StoreError): void {
    if (call.session === this.#session) this.#session = 0;
    if (call.inDoubt || call.attempts > 1) {
      this.#settle(call);
      call.reject(error);
      return;
    }
    call.attempts = 0;
    this.#planFlush();
  }

  #sendKeepAlive(): void {
    if (this.#session === 0 || this.#closing !== undefined) return;
    this.#call(wire.REQUEST.keepAlive, true, NONE, { deadlineMs: KEEP_ALIVE_EVERY_MS }).catch(() => {
      // A session that expired is seen by the next write, which opens another.
    });
  }

  // ── the connection ────────────────────────────────────────────────────────────────────────────────────────

  #connected(): void {
    this.#state = 'connected';
    for (const waiter of this.#onceConnected.splice(0)) waiter.resolve();
    for (const live of [...this.#streams.values()]) this.#startStream(live);
    this.#flush();
  }

  #disconnected(): void {
    if (this.#state !== 'closed') this.#state = 'reconnecting';
    for (const call of this.#calls.values()) {
      if (!call.isSent) continue;
      call.isSent = false;
      call.inDoubt = true;
      call.notBeforeMs = 0;
    }
    for (const live of this.#streams.values()) live.isStarted = false;
  }

  #frame(type: number, reader: ByteReader): void {
    switch (type) {
      case wire.FRAME.replies:
        while (reader.left > 0) this.#answered(wire.decodeReply(reader));
        break;
      case wire.FRAME.stream: {
        const live = this.#streams.get(reader.varint());
        live?.stream.part(reader.raw(reader.left));
        if (live !== undefined) live.attempts = 0;
        break;
      }
      case wire.FRAME.end: {
        const reply = wire.decodeReply(reader);
        const live = this.#streams.get(reply.id);
        if (live !== undefined) this.#streamEnded(live, reply.error);
        break;
      }
      default:
        throw new StoreError('PROTOCOL_ERROR', `a server does not send frames of type ${type}`);
    }
  }

  /** It can never work: everything that waits is told. */
  #die(error: StoreError): void {
    this.#fatal = error;
    this.#end(error);
  }

  // ── streams ───────────────────────────────────────────────────────────────────────────────────────────────

  #open<S extends Stream & { readonly queue: AsyncIterable<unknown> }>(
    make: (events: QueueEvents) => S,
    signal: AbortSignal | undefined,
    deadlineMs: number | undefined,
  ): S['queue'] {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const finish = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
    const stream = make({
      onConsumed: (bytes) => this.#consumed(live, bytes),
      onReturn: () => {
        finish();
        this.#dropStream(live);
      },
    });
    const live: LiveStream = { stream, id: 0, consumed: 0, isStarted: false, attempts: 0, retry: undefined };
    const cancel = (error: StoreError): void => {
      finish();
      this.#dropStream(live);
      stream.end(error);
    };
    const onAbort = (): void =>
      cancel(new StoreError('CANCELLED', 'the stream was cancelled', { cause: signal?.reason }));
    const refusal = this.#refusal(signal);
    if (refusal !== undefined) {
      stream.end(refusal);
      return stream.queue;
    }
    signal?.addEventListener('abort', onAbort, { once: true });
    if (deadlineMs !== undefined || stream.kind === wire.REQUEST.range) {
      // A range ends; a watch does not. Its deadline is for the whole of it.
      const ms = deadlineMs ?? this.#options.deadlineMs ?? DEADLINE_MS;
      if (deadlineMs !== undefined) {
        timer = setTimeout(
          () => cancel(new StoreError('DEADLINE_EXCEEDED', `the range took longer than ${ms} ms`)),
          ms,
        );
      }
    }
    this.#startStream(live);
    return stream.queue;
  }

  #startStream(live: LiveStream): void {
    if (live.id !== 0) this.#streams.delete(live.id);
    live.id = this.#nextId++;
    live.consumed = 0;
    this.#streams.set(live.id, live);
    if (!this.#connector.isReady) return;
    live.isStarted = true;
    const writer = new ByteWriter(128).u8(wire.FRAME.requests);
    const deadlineMs = this.#options.deadlineMs ?? DEADLINE_MS;
    const at = wire.beginRequest(writer, { id: live.id, kind: live.stream.kind, deadlineMs });
    live.stream.request(writer);
    wire.endRequest(writer, at);
    this.#connector.send(writer.take());
  }

  #streamEnded(live: LiveStream, error: StoreError | undefined): void {
    const isMeanwhile = error !== undefined && (isRetried(error) || error.code === 'DEADLINE_EXCEEDED');
    // A watch goes on for as long as it is wanted; a range has tried for a whole deadline.
    if (isMeanwhile && !(error.code === 'DEADLINE_EXCEEDED' && live.stream.kind === wire.REQUEST.range)) {
      live.isStarted = false;
      live.attempts++;
      live.retry = setTimeout(() => {
        if (live.stream.isLive && this.#streams.has(live.id)) this.#startStream(live);
      }, retryDelayMs(live.attempts));
      return;
    }
    this.#streams.delete(live.id);
    live.stream.end(error);
  }

  #consumed(live: LiveStream, bytes: number): void {
    live.consumed += bytes;
    if (live.consumed < CREDIT_STEP_BYTES || !live.isStarted || !this.#connector.isReady) return;
    const frame = new ByteWriter(16).u8(wire.FRAME.credit).varint(live.id).varint(live.consumed);
    live.consumed = 0;
    this.#connector.send(frame.take());
  }

  #dropStream(live: LiveStream): void {
    clearTimeout(live.retry);
    if (!this.#streams.delete(live.id) || !live.isStarted || !this.#connector.isReady) return;
    this.#connector.send(new ByteWriter(16).u8(wire.FRAME.cancel).varint(live.id).take());
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────

  async #close(): Promise<void> {
    const isIdle = (): boolean => this.#calls.size === 0 && this.#waiting.length === 0;
    const untilMs = performance.now() + CLOSE_MS;
    while (!isIdle() && this.#connector.isReady && performance.now() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    if (this.#session !== 0 && this.#connector.isReady) {
      const writer = new ByteWriter(32).u8(wire.FRAME.requests);
      const at = wire.beginRequest(writer, {
        id: this.#nextId++,
        kind: wire.REQUEST.closeSession,
        deadlineMs: CLOSE_MS,
      });
      writer
        .varint(this.#session)
        .varint(this.#nextSeq)
        .varint(this.#nextSeq - 1);
      wire.endRequest(writer, at);
      this.#connector.send(writer.take());
    }
    this.#end(new StoreError('CLOSED', 'the client was closed'));
  }

  #end(error: StoreError): void {
    this.#state = 'closed';
    clearInterval(this.#sweeper);
    clearInterval(this.#keepAlive);
    this.#connector.close();
    for (const waiter of this.#onceConnected.splice(0)) waiter.reject(error);
    for (const call of [...this.#calls.values(), ...this.#waiting]) {
      call.signal?.removeEventListener('abort', call.onAbort ?? (() => {}));
      call.reject(call.isWrite && (call.isSent || call.inDoubt) ? expiredError(call, 'closed') : error);
    }
    this.#calls.clear();
    this.#waiting = [];
    for (const live of this.#streams.values()) {
      clearTimeout(live.retry);
      live.stream.end(error);
    }
    this.#streams.clear();
  }
}

function boundsOf(options: { prefix?: api.Bytes; key?: api.Bytes; from?: api.Bytes; to?: api.Bytes }): {
  from: Uint8Array;
  to: Uint8Array;
} {
  if (options.key !== undefined) {
    const key = toBytes(options.key);
    checkKey(key);
    return { from: key, to: Uint8Array.of(...key, 0) };
  }
  if (options.prefix !== undefined) {
    if (options.from !== undefined || options.to !== undefined) {
      throw new StoreError('BAD_REQUEST', 'give a prefix, or from and to, not both');
    }
    const prefix = toBytes(options.prefix);
    return { from: prefix, to: prefixEnd(prefix) ?? NONE };
  }
  return {
    from: options.from === undefined ? NONE : toBytes(options.from),
    to: options.to === undefined ? NONE : toBytes(options.to),
  };
}

function emptyIterable<T>(): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ value: undefined, done: true as const }) }),
  };
}
