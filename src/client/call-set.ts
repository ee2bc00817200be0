/**
 * CallSet: a client's calls, from the moment they are made to their one answer, and the session that makes its
 * writes happen once.
 *
 * Calls made in the same turn of the event loop leave in one frame. A write carries the session and a number,
 * and with them the number below which every answer has arrived; the cluster keeps the answers above it. After
 * a lost connection everything unanswered is sent again, in its order, with its number.
 *
 * Invariant: a write keeps its number for as long as it may have happened.
 */
import { ByteWriter } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import * as wire from '../core/wire/client.ts';
import { sampledTrace } from '../core/wire/trace.ts';
import { type Answered, type Call, checkDeadline, expiredError, isRetried, retryDelayMs } from './calls.ts';
import type { Timer, Timing } from './timing.ts';
import type { CallOptions } from './types.ts';

export interface CallWorld {
  readonly isReady: () => boolean;
  readonly send: (frame: Uint8Array<ArrayBuffer>) => void;
  readonly nextId: () => number;
  /** Why there is no connection, for an error's text. */
  readonly lastReason: () => string;
  readonly inFlightMax: number;
  readonly deadlineMs: number;
  readonly timing: Timing;
}

const SESSION_TTL_MS = 60_000;
const KEEP_ALIVE_EVERY_MS = 20_000;
const SWEEP_EVERY_MS = 20;
const FRAME_BYTES = 1024 * 1024;
const NONE = new Uint8Array(0);

/** Runs after everything that this turn of the event loop brings, so that it leaves together. */
const afterTurn: (work: () => void) => void =
  typeof setImmediate === 'function' ? (work) => void setImmediate(work) : (work) => void setTimeout(work, 0);

export class CallSet {
  readonly #world: CallWorld;
  /** Under way, by request id, oldest first. */
  readonly #calls = new Map<number, Call>();
  /** Waiting for room. */
  #waiting: Call[] = [];
  #session = 0;
  #isOpeningSession = false;
  #nextSeq = 1;
  readonly #out = new ByteWriter(64 * 1024);
  #flushPlanned = false;
  #sweeper: Timer | undefined;
  #keepAlive: Timer | undefined;

  constructor(world: CallWorld) {
    this.#world = world;
  }

  get isIdle(): boolean {
    return this.#calls.size === 0 && this.#waiting.length === 0;
  }

  /** Makes a call; settles once: answered, refused for good, past its deadline, cancelled or closed. */
  call(kind: wire.RequestKind, isWrite: boolean, body: Uint8Array, options: CallOptions): Promise<Answered> {
    return new Promise((resolve, reject) => {
      const { signal } = options;
      const deadlineMs = this.#world.timing.nowMs() + checkDeadline(options.deadlineMs ?? this.#world.deadlineMs);
      const onAbort = signal === undefined ? undefined : () => this.#abort(call);
      const call: Call = {
        kind,
        isWrite,
        body,
        trace: isWrite && sampledTrace(options.trace) !== undefined ? options.trace : undefined,
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
      if (this.#calls.size >= this.#world.inFlightMax) this.#waiting.push(call);
      else this.#admit(call);
      this.#sweeper ??= this.#world.timing.every(SWEEP_EVERY_MS, () => this.#sweep());
    });
  }

  #admit(call: Call): void {
    call.id = this.#world.nextId();
    this.#calls.set(call.id, call);
    this.#planFlush();
  }

  #planFlush(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    const flush = (): void => {
      this.#flushPlanned = false;
      this.flush();
    };
    // A call alone has nobody to wait for but those made in the same breath.
    if (this.#calls.size === 1) queueMicrotask(flush);
    else afterTurn(flush);
  }

  /** Sends every call that is not on its way. */
  flush(): void {
    if (!this.#world.isReady()) return;
    const nowMs = this.#world.timing.nowMs();
    this.#out.reset();
    this.#out.u8(wire.FRAME.requests);
    let acked = -1;
    for (const call of this.#calls.values()) {
      if (call.isSent || call.notBeforeMs > nowMs) continue;
      if (call.isWrite && call.kind !== wire.REQUEST.openSession) {
        if (call.inDoubt && call.session !== this.#session) {
          this.#outlived(call);
          continue;
        }
        if (this.#session === 0) {
          this.#openSession();
          continue;
        }
        if (acked === -1) acked = this.#acked();
        this.#number(call);
      }
      this.#writeCall(call, acked, nowMs);
      if (this.#out.length >= FRAME_BYTES) {
        this.#world.send(this.#out.take());
        this.#out.reset();
        this.#out.u8(wire.FRAME.requests);
      }
    }
    if (this.#out.length > 1) this.#world.send(this.#out.take());
  }

  #writeCall(call: Call, acked: number, nowMs: number): void {
    // 0 leaves it to the server.
    const left = Number.isFinite(call.deadlineMs) ? Math.max(1, Math.ceil(call.deadlineMs - nowMs)) : 0;
    const { id, trace } = call;
    const kind = trace === undefined ? call.kind : call.kind | wire.TRACED;
    const at = wire.beginRequest(this.#out, { id, kind, deadlineMs: left });
    if (trace !== undefined) this.#out.string(trace);
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

  /** A reply from the server. */
  answered(reply: wire.Reply): void {
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
    // What is in doubt stays so until the log answers: a node without room for it says nothing of the first time.
    const isOpen = call.isWrite && call.inDoubt && error.retry === 'later';
    if (!isOpen && !isRetried(error)) {
      this.#settle(call);
      call.reject(error);
      return;
    }
    call.lastError = error;
    call.notBeforeMs =
      error.code === 'OUTCOME_UNKNOWN'
        ? 0
        : this.#world.timing.nowMs() + retryDelayMs(call.attempts, this.#world.timing.random);
    this.#planFlush();
  }

  #settle(call: Call): void {
    this.#calls.delete(call.id);
    if (call.onAbort !== undefined) call.signal?.removeEventListener('abort', call.onAbort);
    // A call that waited, or the session's, made no room for another.
    while (this.#calls.size < this.#world.inFlightMax) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      this.#admit(next);
    }
    if (this.#calls.size > 0) return;
    this.#sweeper?.cancel();
    this.#sweeper = undefined;
  }

  #abort(call: Call): void {
    const mayHappen = call.isWrite && (call.isSent || call.inDoubt);
    this.#waiting = this.#waiting.filter((other) => other !== call);
    this.#settle(call);
    const message = mayHappen ? 'cancelled; the write may still happen' : 'cancelled; nothing was done';
    call.reject(new StoreError('CANCELLED', message, { cause: call.signal?.reason, data: { mayHappen } }));
  }

  #sweep(): void {
    const nowMs = this.#world.timing.nowMs();
    let isDue = false;
    // Those that wait first: none of them may be sent in the place of another that is late.
    const late = this.#waiting.filter((call) => call.deadlineMs <= nowMs);
    if (late.length > 0) {
      this.#waiting = this.#waiting.filter((call) => call.deadlineMs > nowMs);
      for (const call of late) {
        this.#settle(call);
        call.reject(expiredError(call, 'it waited for earlier calls'));
      }
    }
    for (const call of [...this.#calls.values()]) {
      if (call.deadlineMs <= nowMs) {
        this.#settle(call);
        call.reject(expiredError(call, this.#world.isReady() ? 'connected' : this.#world.lastReason()));
      } else if (!call.isSent && call.notBeforeMs <= nowMs) isDue = true;
    }
    if (isDue) this.flush();
  }

  #openSession(): void {
    if (this.#isOpeningSession) return;
    this.#isOpeningSession = true;
    const call: Call = {
      kind: wire.REQUEST.openSession,
      isWrite: true,
      body: new ByteWriter(8).varint(SESSION_TTL_MS).take(),
      trace: undefined,
      // It waits as long as somebody needs it; they have deadlines of their own.
      deadlineMs: Number.POSITIVE_INFINITY,
      signal: undefined,
      onAbort: undefined,
      resolve: ({ revision }) => {
        this.#isOpeningSession = false;
        this.#session = revision;
        this.#nextSeq = 1;
        this.#keepAlive ??= this.#world.timing.every(KEEP_ALIVE_EVERY_MS, () => this.#sendKeepAlive());
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
      id: this.#world.nextId(),
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

  /** Its session is gone, and with it the only number under which it could be sent again without harm. */
  #outlived(call: Call): void {
    this.#settle(call);
    const message = 'the session has expired; whether the write happened is not known';
    call.reject(new StoreError('SESSION_EXPIRED', message, { cause: call.lastError }));
  }

  #sendKeepAlive(): void {
    if (this.#session === 0) return;
    this.call(wire.REQUEST.keepAlive, true, NONE, { deadlineMs: KEEP_ALIVE_EVERY_MS }).catch(() => {
      // A session that expired is seen by the next write, which opens another.
    });
  }

  /** The connection is gone: what was on its way is in doubt, and goes again on the next one. */
  disconnected(): void {
    for (const call of this.#calls.values()) {
      if (!call.isSent) continue;
      call.isSent = false;
      call.inDoubt = true;
      call.notBeforeMs = 0;
    }
  }

  /** Gives the session back: its answers need not be kept any more. */
  closeSession(): void {
    if (this.#session === 0 || !this.#world.isReady()) return;
    const writer = new ByteWriter(32).u8(wire.FRAME.requests);
    const at = wire.beginRequest(writer, { id: this.#world.nextId(), kind: wire.REQUEST.closeSession, deadlineMs: 0 });
    writer
      .varint(this.#session)
      .varint(this.#nextSeq)
      .varint(this.#nextSeq - 1);
    wire.endRequest(writer, at);
    this.#world.send(writer.take());
  }

  /** Rejects everything that waits. */
  close(error: StoreError): void {
    this.#sweeper?.cancel();
    this.#keepAlive?.cancel();
    for (const call of [...this.#calls.values(), ...this.#waiting]) {
      if (call.onAbort !== undefined) call.signal?.removeEventListener('abort', call.onAbort);
      call.reject(call.isWrite && (call.isSent || call.inDoubt) ? expiredError(call, 'closed') : error);
    }
    this.#calls.clear();
    this.#waiting = [];
  }
}
