/**
 * Client: the SDK's face. It turns what a caller says into calls and streams, and puts the parts together: one
 * connection (connector.ts), calls that happen once (call-set.ts), streams that go on (stream-set.ts).
 *
 * Bounds: calls under way (`inFlightMax`, the rest wait in order), bytes of streams not consumed (credit),
 * every call its deadline.
 */
import { ByteReader, ByteWriter, prefixEnd } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import type { Revision } from '../core/base/position.ts';
import { encodeTxn } from '../core/model/commands.ts';
import { checkKey, checkUserKey, checkValue } from '../core/model/limits.ts';
import { decodeActorsView } from '../core/wire/actors.ts';
import { PROBE_KEY } from '../core/wire/access.ts';
import * as wire from '../core/wire/client.ts';
import { CallSet } from './call-set.ts';
import { type Answered, checkDeadline } from './calls.ts';
import { Connector } from './connector.ts';
import { ClientControl } from './control.ts';
import type { Control } from './control-types.ts';
import { ClientEntry, toBytes } from './entry.ts';
import { checkWanted, ClientFleet } from './fleet.ts';
import { ClientMembers } from './members.ts';
import { Locks } from './locks.ts';
import type { QueueEvents } from './queue.ts';
import { type OpenOptions, StreamSet } from './stream-set.ts';
import { LedgerStream, RangeStream, type Stream, WatchStream } from './streams.ts';
import { PLATFORM, type Timer, type Timing } from './timing.ts';
import type { Dial } from './transport.ts';
import { Builder, checkCounter, checkTtl, checkTxnBytes, decodeTxnResult } from './txn.ts';
import type * as api from './types.ts';

const DEADLINE_MS = 10_000;
const IN_FLIGHT_MAX = 1024;
const CLOSE_MS = 2_000;
/** With something to wait for: silence after which the server is asked, and silence after that that ends it. */
const ASK_AFTER_MS = 500;
const LOST_AFTER_MS = 1_500;
const WATCH_EVERY_MS = 250;
const NONE = new Uint8Array(0);

export class StoreClient implements api.Client {
  readonly #timing: Timing;
  readonly #connector: Connector;
  #state: api.ClientState = 'connecting';
  #nextId = 1;
  readonly #calls: CallSet;
  readonly #streams: StreamSet;
  readonly #locks: Locks;
  readonly members: api.Members;
  readonly control: Control;
  readonly fleet: ClientFleet;
  #heardMs = 0;
  #askedMs = 0;
  #watchdog: Timer | undefined;
  #closing: Promise<void> | undefined;
  #fatal: StoreError | undefined;
  readonly #onceConnected: { resolve: () => void; reject: (error: StoreError) => void }[] = [];

  constructor(urls: readonly string[], options: api.ConnectOptions, dial: Dial, timing: Timing = PLATFORM) {
    this.#timing = timing;
    if (urls.length === 0) throw new StoreError('BAD_REQUEST', 'connect needs at least one endpoint');
    const world = {
      isReady: () => this.#connector.isReady,
      send: (frame: Uint8Array<ArrayBuffer>) => this.#connector.send(frame),
      // Calls and streams are numbered together: an id is a request on the wire.
      nextId: () => this.#nextId++,
      lastReason: () => this.#connector.lastReason,
      inFlightMax: options.inFlightMax ?? IN_FLIGHT_MAX,
      deadlineMs: checkDeadline(options.deadlineMs ?? DEADLINE_MS),
      timing,
    };
    this.#calls = new CallSet(world);
    this.#streams = new StreamSet(world);
    this.members = new ClientMembers({
      ask: (body, call) => this.#call(wire.REQUEST.members, false, body, call),
      // The answer comes once the node has applied that far.
      applied: (index, call) => this.get(PROBE_KEY, { ...call, consistency: 'local', atLeast: index }),
      deadlineMs: world.deadlineMs,
    });
    this.fleet = new ClientFleet({ ask: (body, call) => this.#call(wire.REQUEST.fleet, false, body, call) });
    this.control = new ClientControl({
      call: (kind, isWrite, body, call) => this.#call(kind, isWrite, body, call),
      client: this,
      fleet: this.fleet,
      timing,
    });
    this.#locks = new Locks(this, world.deadlineMs);
    this.#connector = new Connector({
      urls,
      dial,
      timing,
      token: options.token,
      pinned: options.pinned ?? false,
      followLeader: options.followLeader ?? true,
      onConnected: () => this.#connected(),
      onFrame: (type, reader) => this.#frame(type, reader),
      onDisconnected: () => this.#disconnected(),
      onFatal: (error) => this.#die(error),
      onEvent: (event) => options.onEvent?.(event),
    });
    this.#connector.start();
  }

  get state(): api.ClientState {
    return this.#state;
  }

  get endpoint(): string | undefined {
    return this.#connector.endpoint;
  }

  /** Resolves when connected for the first time. */
  ready(deadlineMs: number): Promise<void> {
    if (this.#fatal !== undefined) return Promise.reject(this.#fatal);
    if (this.#state === 'connected') return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = this.#timing.after(checkDeadline(deadlineMs), () => {
        reject(
          new StoreError('UNAVAILABLE', `no endpoint answered in ${deadlineMs} ms (${this.#connector.lastReason})`, {
            data: { reason: this.#connector.lastReason },
          }),
        );
      });
      this.#onceConnected.push({
        resolve: () => {
          timer.cancel();
          resolve();
        },
        reject: (error) => {
          timer.cancel();
          reject(error);
        },
      });
    });
  }

  // ── the public face ───────────────────────────────────────────────────────────────────────────────────────

  async put(key: api.Bytes, value: api.Bytes, options: api.PutOptions = {}): Promise<api.WriteResult> {
    const keyBytes = toBytes(key);
    const valueBytes = toBytes(value);
    checkUserKey(keyBytes);
    checkValue(valueBytes);
    const body = new ByteWriter(keyBytes.length + valueBytes.length + 24);
    body.varint(checkTtl(options.ttlMs)).blob(keyBytes).blob(valueBytes);
    return this.#write({ kind: wire.REQUEST.put, body }, options, (revision) => ({ revision }));
  }

  async get(key: api.Bytes, options: api.GetOptions = {}): Promise<api.Entry | undefined> {
    const keyBytes = toBytes(key);
    checkKey(keyBytes);
    const body = new ByteWriter(keyBytes.length + 24);
    wire.encodeGet(body, {
      isLocal: options.consistency === 'local',
      atLeast: checkCounter('atLeast', options.atLeast),
      maxStalenessMs: stalenessOf(options),
      revision: checkCounter('revision', options.revision),
      key: keyBytes,
    });
    const { revision, extra } = await this.#call(wire.REQUEST.get, false, body.view(), options);
    if (revision === 0) return undefined;
    const reader = new ByteReader(extra);
    const expiryMs = reader.f64();
    return new ClientEntry(keyBytes, extra.subarray(8), revision as Revision, expiryMs);
  }

  async delete(key: api.Bytes, options: api.WriteOptions = {}): Promise<api.DeleteResult> {
    const keyBytes = toBytes(key);
    checkUserKey(keyBytes);
    const body = new ByteWriter(keyBytes.length + 8).blob(keyBytes);
    return this.#write({ kind: wire.REQUEST.delete, body }, options, (revision, extra) => ({
      revision,
      found: extra[0] === 1,
    }));
  }

  async txn(build: (t: api.TxnBuilder) => unknown, options: api.WriteOptions = {}): Promise<api.TxnResult> {
    const builder = new Builder();
    build(builder);
    const body = new ByteWriter(256);
    encodeTxn(body, builder.build());
    checkTxnBytes(body.length);
    return this.#write({ kind: wire.REQUEST.txn, body }, options, decodeTxnResult);
  }

  async #write<R extends api.WriteResult>(
    { kind, body }: { readonly kind: wire.RequestKind; readonly body: ByteWriter },
    { visible, ...call }: api.WriteOptions,
    decode: (revision: Revision, extra: Uint8Array) => R,
  ): Promise<R> {
    if (visible !== undefined) checkWanted(visible);
    const { revision, extra } = await this.#call(kind, true, body.view(), call);
    const result = decode(revision as Revision, extra);
    return visible === undefined ? result : this.fleet.afterWrite(result, visible, call.signal);
  }

  async status(options: api.CallOptions = {}): Promise<api.NodeStatus> {
    const { extra } = await this.#call(wire.REQUEST.status, false, NONE, options);
    return JSON.parse(new TextDecoder().decode(extra)) as api.NodeStatus;
  }

  async listActors(options: api.CallOptions = {}): Promise<api.ActorsView> {
    const { extra } = await this.#call(wire.REQUEST.actors, false, NONE, options);
    return decodeActorsView(extra);
  }

  range(options: api.RangeOptions = {}): AsyncIterable<api.Entry> {
    const { from, to } = boundsOf(options);
    const range = {
      isLocal: options.consistency === 'local',
      reverse: options.reverse ?? false,
      atLeast: checkCounter('atLeast', options.atLeast),
      maxStalenessMs: stalenessOf(options),
      revision: checkCounter('revision', options.revision),
      from,
      to,
      limit: checkCounter('limit', options.limit),
    };
    if (options.limit === 0) return emptyIterable();
    const { signal } = options;
    const deadlineMs = options.deadlineMs === undefined ? undefined : checkDeadline(options.deadlineMs);
    return this.#open((events) => new RangeStream(range, events), { signal, deadlineMs });
  }

  watch<O extends api.WatchOptions = api.WatchOptions>(options?: O): AsyncIterable<api.WatchItem<O>> {
    const { signal, onSlow, bookmarks = false, ...rest }: api.WatchOptions = options ?? {};
    const fromRevision = checkCounter('fromRevision', rest.fromRevision);
    const wishes = { ...boundsOf(rest), fromRevision, bookmarks, onSlow };
    // A stream gives bookmarks only where they were wished for, which is what the type says.
    return this.#open((events) => new WatchStream(wishes, events), {
      signal,
      deadlineMs: undefined,
    }) as AsyncIterable<api.WatchItem<O>>;
  }

  ledger(options: api.LedgerOptions): AsyncIterable<api.LedgerFrame> {
    const { signal } = options;
    checkCounter('fromRevision', options.fromRevision);
    return this.#open((events) => new LedgerStream(options, events), { signal, deadlineMs: undefined });
  }

  lock(name: string, options?: api.LockOptions): Promise<api.Lock> {
    return this.#locks.lock(name, options);
  }

  election(name: string): api.Election {
    return this.#locks.election(name);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #call(kind: wire.RequestKind, isWrite: boolean, body: Uint8Array, options: api.CallOptions): Promise<Answered> {
    const refusal = this.#refusal(options.signal);
    return refusal === undefined ? this.#calls.call(kind, isWrite, body, options) : Promise.reject(refusal);
  }

  #refusal(signal: AbortSignal | undefined): StoreError | undefined {
    if (this.#fatal !== undefined) return this.#fatal;
    if (this.#closing !== undefined) return new StoreError('CLOSED', 'the client is closed');
    if (signal?.aborted === true)
      return new StoreError('CANCELLED', 'cancelled before it began', { cause: signal.reason });
    return undefined;
  }

  // ── the connection ────────────────────────────────────────────────────────────────────────────────────────

  #connected(): void {
    this.#state = 'connected';
    this.#heardMs = this.#timing.nowMs();
    this.#watchdog ??= this.#timing.every(WATCH_EVERY_MS, () => this.#watchSilence());
    for (const waiter of this.#onceConnected.splice(0)) waiter.resolve();
    this.#streams.connected();
    this.#calls.flush();
  }

  #disconnected(): void {
    if (this.#state !== 'closed') this.#state = 'reconnecting';
    this.#calls.disconnected();
    this.#streams.disconnected();
  }

  /**
   * A server whose host is gone says nothing, not even that it is gone. While something is waited for, a silent
   * one is asked for its status, and one that stays silent is left for another.
   */
  #watchSilence(): void {
    if (!this.#connector.isReady || (this.#calls.isIdle && this.#streams.isIdle)) {
      this.#heardMs = this.#timing.nowMs();
      return;
    }
    const nowMs = this.#timing.nowMs();
    const silentMs = nowMs - this.#heardMs;
    if (this.#askedMs > this.#heardMs) {
      // Counted from the question: after a pause of our own the answer may be waiting in the socket.
      if (nowMs - this.#askedMs > LOST_AFTER_MS) this.#connector.drop(`silent for ${Math.round(silentMs)} ms`);
    } else if (silentMs > ASK_AFTER_MS) {
      this.#askedMs = nowMs;
      const writer = new ByteWriter(16).u8(wire.FRAME.requests);
      const request = { id: this.#nextId++, kind: wire.REQUEST.status, deadlineMs: LOST_AFTER_MS };
      wire.endRequest(writer, wire.beginRequest(writer, request));
      this.#connector.send(writer.take());
    }
  }

  #frame(type: number, reader: ByteReader): void {
    this.#heardMs = this.#timing.nowMs();
    switch (type) {
      case wire.FRAME.replies:
        while (reader.left > 0) this.#calls.answered(wire.decodeReply(reader));
        break;
      case wire.FRAME.stream:
        this.#streams.part(reader);
        break;
      case wire.FRAME.end:
        this.#streams.ended(wire.decodeReply(reader));
        break;
      default:
        throw new StoreError('PROTOCOL_ERROR', `a server does not send frames of type ${type}`);
    }
  }

  /** It can never work: everything that waits is told. */
  #die(error: StoreError): void {
    this.#fatal = error;
    this.#end(error);
  }

  #open<S extends Stream & { readonly queue: AsyncIterable<unknown> & { readonly isAwaited: boolean } }>(
    make: (events: QueueEvents) => S,
    options: OpenOptions,
  ): S['queue'] {
    const refusal = this.#refusal(options.signal);
    if (refusal === undefined) return this.#streams.open(make, options);
    const refused = make({ onConsumed: () => {}, onReturn: () => {} });
    refused.end(refusal);
    return refused.queue;
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────

  async #close(): Promise<void> {
    const untilMs = this.#timing.nowMs() + CLOSE_MS;
    // These are calls like others, and are waited for like others.
    this.#locks.close();
    while (!this.#calls.isIdle && this.#connector.isReady && this.#timing.nowMs() < untilMs) {
      await new Promise<void>((resolve) => void this.#timing.after(5, resolve));
    }
    this.#calls.closeSession();
    this.#end(new StoreError('CLOSED', 'the client was closed'));
  }

  #end(error: StoreError): void {
    this.#state = 'closed';
    this.#watchdog?.cancel();
    this.#connector.close();
    for (const waiter of this.#onceConnected.splice(0)) waiter.reject(error);
    this.#calls.close(error);
    this.#streams.close(error);
  }
}

/** How old a read may be, in ms; undefined: it asks for no less than everything. */
function stalenessOf({ consistency, maxStalenessMs }: api.GetOptions): number | undefined {
  if (maxStalenessMs === undefined) return undefined;
  const checked = checkCounter('maxStalenessMs', maxStalenessMs);
  return consistency === 'linearizable' ? undefined : checked;
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
