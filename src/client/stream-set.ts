/**
 * StreamSet: the ranges, watches and ledgers of a client, over whatever connection there is.
 *
 * A stream is (re)started on each new connection from where it is, gives back credit as its parts are consumed,
 * and is cancelled at the server when its consumer leaves.
 */
import { type ByteReader, ByteWriter } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import * as wire from '../core/wire/client.ts';
import { isRetried, retryDelayMs } from './calls.ts';
import type { QueueEvents } from './queue.ts';
import type { Stream } from './streams.ts';
import type { Timer, Timing } from './timing.ts';

export interface StreamWorld {
  readonly isReady: () => boolean;
  readonly send: (frame: Uint8Array<ArrayBuffer>) => void;
  readonly nextId: () => number;
  /** How long a server may take to begin a stream, and a range may bring nothing while its consumer waits. */
  readonly deadlineMs: number;
  readonly timing: Timing;
}

export interface OpenOptions {
  readonly signal: AbortSignal | undefined;
  /** For the whole of the stream; undefined: as long as it takes, but a range does not stand still for long. */
  readonly deadlineMs: number | undefined;
}

/** What a stream may have received and not consumed. */
const CREDIT_BYTES = 1024 * 1024;
const CREDIT_STEP_BYTES = 128 * 1024;

interface Live {
  readonly stream: Stream;
  /** Takes the consumer's signal and deadline away. */
  finish: () => void;
  /** When the whole of it must be over; undefined: see OpenOptions. */
  readonly untilMs: number | undefined;
  id: number;
  /** Consumed, and not yet given back as credit. */
  consumed: number;
  isStarted: boolean;
  /** Something came or was taken since it was last looked at. */
  hasMoved: boolean;
  attempts: number;
  retry: Timer | undefined;
}

export class StreamSet {
  readonly #world: StreamWorld;
  readonly #live = new Map<number, Live>();

  constructor(world: StreamWorld) {
    this.#world = world;
  }

  get isIdle(): boolean {
    return this.#live.size === 0;
  }

  open<S extends Stream & { readonly queue: AsyncIterable<unknown> & { readonly isAwaited: boolean } }>(
    make: (events: QueueEvents) => S,
    { signal, deadlineMs }: OpenOptions,
  ): S['queue'] {
    const stream = make({
      onConsumed: (bytes) => this.#consumed(live, bytes),
      onReturn: () => this.#drop(live),
    });
    const cancel = (error: StoreError): void => {
      this.#drop(live);
      stream.end(error);
    };
    const onAbort = (): void =>
      cancel(new StoreError('CANCELLED', 'the stream was cancelled', { cause: signal?.reason }));
    const late = (ms: number): void =>
      cancel(new StoreError('DEADLINE_EXCEEDED', `the stream took longer than ${ms} ms`));
    const { timing } = this.#world;
    let timer: Timer | undefined;
    /** While no node answers, nobody else ends a range: a watch may wait for ever, a range may not. */
    const look = (ms: number): void => {
      if (!live.hasMoved && stream.queue.isAwaited) return late(ms);
      live.hasMoved = false;
      timer = timing.after(ms, () => look(ms));
    };
    if (deadlineMs !== undefined) timer = timing.after(deadlineMs, () => late(deadlineMs));
    else if (stream.kind === wire.REQUEST.range) {
      const ms = this.#world.deadlineMs;
      timer = timing.after(ms, () => look(ms));
    }
    const live: Live = {
      stream,
      finish: () => {
        timer?.cancel();
        signal?.removeEventListener('abort', onAbort);
      },
      untilMs: deadlineMs === undefined ? undefined : timing.nowMs() + deadlineMs,
      id: 0,
      consumed: 0,
      isStarted: false,
      hasMoved: false,
      attempts: 0,
      retry: undefined,
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#start(live);
    return stream.queue;
  }

  /** A new connection: every stream goes on there. */
  connected(): void {
    for (const live of [...this.#live.values()]) this.#start(live);
  }

  disconnected(): void {
    for (const live of this.#live.values()) live.isStarted = false;
  }

  /** A STREAM frame. */
  part(reader: ByteReader): void {
    const frameBytes = reader.at + reader.left;
    const live = this.#live.get(reader.varint());
    if (live === undefined) return;
    live.attempts = 0;
    live.hasMoved = true;
    live.stream.part(reader.raw(reader.left), frameBytes);
    // A range with a limit knows by itself that it is complete.
    if (!live.stream.isLive) this.#drop(live);
  }

  /** An END frame. */
  ended(reply: wire.Reply): void {
    const live = this.#live.get(reply.id);
    if (live === undefined) return;
    const { error } = reply;
    if (error !== undefined && this.#isMeanwhile(live, error)) {
      live.isStarted = false;
      live.attempts++;
      const { timing } = this.#world;
      live.retry = timing.after(retryDelayMs(live.attempts, timing.random), () => {
        if (this.#live.has(live.id)) this.#start(live);
      });
      return;
    }
    this.#live.delete(live.id);
    live.finish();
    live.stream.end(error);
  }

  close(error: StoreError): void {
    for (const live of this.#live.values()) {
      live.retry?.cancel();
      live.finish();
      live.stream.end(error);
    }
    this.#live.clear();
  }

  /** A watch goes on for as long as it is wanted; a range has tried for a whole deadline. */
  #isMeanwhile(live: Live, error: StoreError): boolean {
    if (error.code === 'DEADLINE_EXCEEDED') return live.stream.kind !== wire.REQUEST.range;
    return isRetried(error);
  }

  #start(live: Live): void {
    live.retry?.cancel();
    this.#live.delete(live.id);
    live.id = this.#world.nextId();
    // What an earlier connection brought and is not consumed yet counts on.
    const creditBytes = CREDIT_BYTES - live.stream.heldBytes;
    live.consumed = Math.min(0, creditBytes);
    this.#live.set(live.id, live);
    if (!this.#world.isReady()) return;
    live.isStarted = true;
    const writer = new ByteWriter(128).u8(wire.FRAME.requests);
    const { untilMs } = live;
    // A server that is asked for less time says sooner, and in its own words, why it cannot.
    const deadlineMs =
      untilMs === undefined ? this.#world.deadlineMs : Math.max(1, Math.ceil(untilMs - this.#world.timing.nowMs()));
    const at = wire.beginRequest(writer, { id: live.id, kind: live.stream.kind, deadlineMs });
    live.stream.request(writer, Math.max(0, creditBytes));
    wire.endRequest(writer, at);
    this.#world.send(writer.take());
    const { id } = live;
    live.stream.attached?.((body) => {
      if (live.id !== id || !live.isStarted || !this.#live.has(id) || !this.#world.isReady()) return;
      this.#world.send(new ByteWriter(32).u8(wire.FRAME.report).varint(id).raw(body.view()).take());
    });
  }

  #consumed(live: Live, bytes: number): void {
    live.consumed += bytes;
    live.hasMoved = true;
    if (live.consumed < CREDIT_STEP_BYTES || !live.isStarted || !this.#world.isReady()) return;
    const frame = new ByteWriter(16).u8(wire.FRAME.credit).varint(live.id).varint(live.consumed);
    live.consumed = 0;
    this.#world.send(frame.take());
  }

  #drop(live: Live): void {
    live.retry?.cancel();
    live.finish();
    if (!this.#live.delete(live.id) || !live.isStarted || !this.#world.isReady()) return;
    this.#world.send(new ByteWriter(16).u8(wire.FRAME.cancel).varint(live.id).take());
  }
}
