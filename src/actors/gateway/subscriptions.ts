/**
 * Subscriptions: the watches and ledgers of clients, between their connections and the shipper that feeds them.
 *
 * Each has a number of its own towards the shipper, which knows no connection. Parts go on as they are; credit is passed
 * on as far as memory allows; and what has left the sockets is told, since the shipper decides who is sent more.
 */
import { StoreError } from '../../core/base/errors.ts';
import type * as wire from '../../core/wire/client.ts';
import { SharedFrame } from '../shipment.ts';
import type { EndReason, FromShipper, ToShipper, Wishes } from '../shipper-messages.ts';
import type { Connection } from './connection.ts';
import { Undelivered } from './undelivered.ts';

/** A watch or a ledger, as the shipper numbers it. */
interface Sub {
  readonly connection: Connection;
  readonly request: number;
  /** Credit passed on to the shipper and not used yet. */
  credit: number;
}

/**
 * Credit is what a client asks for, memory is ours: parts on their way from the shipper's thread are in no socket
 * yet. A client's streams share one budget, each with at least two of the SDK's credit steps.
 */
const CREDIT_BYTES_SHARED = 16 * 1024 * 1024;
const CREDIT_BYTES_MAX = 1024 * 1024;
const CREDIT_BYTES_MIN = 256 * 1024;

export class Subscriptions {
  readonly #toShipper: (message: ToShipper) => void;
  readonly #onEnded: (sub: number) => void;
  readonly #subs = new Map<number, Sub>();
  readonly #undelivered = new Undelivered();
  readonly #monotonicMs: () => number;
  #nextSub = 1;
  /** What the slice that comes in has taken so far. */
  #sliceMs = 0;

  constructor(world: {
    readonly toShipper: (message: ToShipper) => void;
    readonly onEnded: (sub: number) => void;
    readonly monotonicMs: () => number;
  }) {
    this.#toShipper = world.toShipper;
    this.#onEnded = world.onEnded;
    this.#monotonicMs = world.monotonicMs;
  }

  /** Gives the number that it has from now on. */
  add(
    connection: Connection,
    request: number,
    mode: 'watch' | 'ledger',
    options: wire.WatchRequest,
    more: Wishes = {},
  ): number {
    if (options.fromRevision < 1) throw new StoreError('BAD_REQUEST', 'the first revision is 1');
    const sub = this.#nextSub++;
    connection.subs.set(request, sub);
    const { fromRevision } = options;
    const creditBytes = Math.min(options.creditBytes, creditMax(connection));
    this.#subs.set(sub, { connection, request, credit: creditBytes });
    // Copies: what goes to another thread must not drag the socket's buffer along.
    const from = options.from.slice();
    const to = options.to.slice();
    const { bookmarks = false, tellSlow = false } = options;
    const goOn = more.goOn && { revision: more.goOn.revision, after: more.goOn.after.slice() };
    const what = { sub, request, mode, fromRevision, from, to, creditBytes, bookmarks, tellSlow, ...more, goOn };
    this.#toShipper({ kind: 'subscribe', ...what, reader: this.#undelivered.readerOf(connection) });
    return sub;
  }

  /** From the shipper: parts go on as they are. */
  ship(message: FromShipper): void {
    if (message.kind === 'end') return this.#end(message.sub, message.error);
    const { to, endsSlice } = message;
    const beganMs = this.#monotonicMs();
    const frames = message.frames.map((bytes) => new SharedFrame(bytes));
    for (let at = 0; at < to.length; at += 3) {
      this.#hand(to[at] as number, to[at + 1] as number, frames[to[at + 2] as number] as SharedFrame);
    }
    this.#sliceMs += this.#monotonicMs() - beganMs;
    if (!endsSlice) return;
    this.#toShipper({ kind: 'sent', tookMs: this.#sliceMs });
    this.#sliceMs = 0;
  }

  #hand(sub: number, reader: number, frame: SharedFrame): void {
    const owner = this.#subs.get(sub);
    const { length } = frame.bytes;
    if (owner === undefined) return this.#undelivered.dropped(reader, length);
    owner.credit -= length;
    this.#undelivered.given(owner.connection, length);
    owner.connection.sendShared(frame);
  }

  #end(sub: number, { code, message, data }: EndReason): void {
    const owner = this.#subs.get(sub);
    if (owner === undefined) return;
    this.#subs.delete(sub);
    this.#onEnded(sub);
    owner.connection.subs.delete(owner.request);
    owner.connection.endStream(owner.request, new StoreError(code, message, { data }));
  }

  /** All end with `error`, which says to ask again: the shipper is gone, and its positions with it. */
  endAll(error: StoreError): void {
    this.#undelivered.forget();
    this.#sliceMs = 0;
    const subs = [...this.#subs];
    this.#subs.clear();
    for (const [sub, { connection, request }] of subs) {
      this.#onEnded(sub);
      connection.subs.delete(request);
      connection.endStream(request, error);
    }
  }

  /** False: the request is none of these. */
  credit(connection: Connection, request: number, bytes: number): boolean {
    const number = connection.subs.get(request);
    const sub = number === undefined ? undefined : this.#subs.get(number);
    if (number === undefined || sub === undefined) return false;
    const granted = Math.min(bytes, creditMax(connection) - sub.credit);
    if (granted <= 0) return true;
    sub.credit += granted;
    this.#toShipper({ kind: 'credit', sub: number, bytes: granted });
    return true;
  }

  cancel(connection: Connection, request: number): void {
    const sub = connection.subs.get(request);
    if (sub !== undefined) this.#remove(connection, request, sub);
  }

  /** The connection is gone. */
  closed(connection: Connection): void {
    for (const [request, sub] of connection.subs) this.#remove(connection, request, sub);
    this.#undelivered.closed(connection);
  }

  /** Says what has left the sockets. */
  sweep(): void {
    const taken = this.#undelivered.take();
    if (taken.length > 0) this.#toShipper({ kind: 'taken', taken });
  }

  #remove(connection: Connection, request: number, sub: number): void {
    connection.subs.delete(request);
    this.#subs.delete(sub);
    this.#onEnded(sub);
    this.#toShipper({ kind: 'cancel', sub });
  }
}

/** What one stream of `connection` may have on its way. */
function creditMax(connection: Connection): number {
  const share = Math.floor(CREDIT_BYTES_SHARED / Math.max(1, connection.subs.size));
  return Math.min(CREDIT_BYTES_MAX, Math.max(CREDIT_BYTES_MIN, share));
}
