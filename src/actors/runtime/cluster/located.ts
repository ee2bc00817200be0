/**
 * Located: what a ref speaks to that was looked up by its address: whoever is there when a message leaves, on whatever node.
 *
 * Messages leave in their order. While nobody is there (a host has died and its lease is not over; a singleton is on its
 * way; the peer is out of reach) they wait here, few and not for long. A question that is certainly unhandled is sent
 * again; one whose fate is unknown only to a durable actor, which remembers what it has answered.
 */
import { unreachable } from '../../../core/base/assert.ts';
import { isStoreError, StoreError } from '../../../core/base/errors.ts';
import { type Answer, Envelope, type Sink } from '../core/envelope.ts';
import { type MailboxLimits, mailboxLimits, type Offered } from '../core/mailbox.ts';
import type { Protocol } from '../core/protocol.ts';
import { type Table, tableOf } from '../core/table.ts';
import { refusal, refusalReason, type Target, type World } from '../core/target.ts';
import { parseReply } from '../core/trust.ts';
import type { DeathNotice } from '../core/types.ts';
import type { CallId } from '../mesh/frames.ts';
import { sayOrTell } from '../mesh/far-actor.ts';
import type { Peer } from '../mesh/peer.ts';
import { isElsewhere, isPassing } from './placement.ts';

/** Where a message goes now. */
export type Route =
  | { readonly kind: 'here'; readonly target: Target; readonly isDurable: boolean }
  | { readonly kind: 'there'; readonly peer: Peer }
  /** It is made ready here. */
  | { readonly kind: 'soon'; readonly ready: Promise<void> }
  | { readonly kind: 'nowhere' }
  /** This node's actors are stopping: it will not be reached from here any more. */
  | { readonly kind: 'closed' };

export interface LocatedWorld extends Pick<World, 'clock' | 'deadLetters' | 'nextId'> {
  readonly route: (address: string, attempt: number) => Route;
  readonly calls: Calls;
  readonly exportMessage: (table: Table, message: { readonly kind: string }) => unknown;
}

export interface LocatedOptions {
  readonly address: string;
  readonly protocol: Protocol;
  /** It remembers what it answered. */
  readonly isDurable: boolean;
}

/** What came of a try: a promise is settled when the next may do better; undefined: nobody is there now. */
type Sent = Offered | 'ended' | Promise<void> | undefined;

/** Messages that wait until somebody is there. */
const WAITING_MAX = 1_024;
/** How long a tell, or a stream's beginning, waits. An ask has its deadline. */
const TELL_WAITS_MS = 5_000;
const PAUSE_MIN_MS = 20;
const PAUSE_MAX_MS = 250;

export class Located implements Target {
  readonly id: number;
  readonly path: string;
  readonly incarnation = 1;
  readonly table: Table;
  readonly limits: MailboxLimits = mailboxLimits({ messagesMax: WAITING_MAX });
  readonly #world: LocatedWorld;
  readonly #options: LocatedOptions;
  readonly #waiting: Item[] = [];
  #isPumping = false;

  constructor(world: LocatedWorld, options: LocatedOptions) {
    this.#world = world;
    this.#options = options;
    this.id = world.nextId();
    this.path = options.address;
    this.table = tableOf(options.protocol);
  }

  offer(envelope: Envelope, _mayWait: boolean): Offered | 'ended' {
    const { sink, answer } = envelope.waiting;
    if (sink !== undefined && this.#options.isDurable) {
      envelope.discard(new StoreError('BAD_REQUEST', `${this.path} is a durable actor: those have no streams`));
      return 'taken';
    }
    if (this.#waiting.length >= WAITING_MAX) return 'full';
    const untilMs = answer?.deadlineAtMs ?? this.#world.clock.nowMs() + TELL_WAITS_MS;
    const item = new Item(this, envelope, untilMs, this.#world.calls, this.#options);
    if (this.#isPumping) {
      this.#waiting.push(item);
      return 'taken';
    }
    const sent = this.#send(item);
    if (typeof sent === 'string') {
      if (sent !== 'taken' && sent !== 'waits') item.over();
      return sent;
    }
    this.#waiting.push(item);
    void this.#pump(sent);
    return 'taken';
  }

  /** What was sent came back. */
  rejected(item: Item, error: Error): void {
    const { isDurable } = this.#options;
    const isInDoubt =
      isStoreError(error, 'OUTCOME_UNKNOWN') || (isStoreError(error, 'ACTOR_STOPPED') && error.data['failed'] !== true);
    const mayTryAgain = isElsewhere(error) || (isDurable && isInDoubt);
    if (!mayTryAgain || item.isOver(this.#world.clock.nowMs()) || this.#waiting.length >= WAITING_MAX) {
      item.fail(error);
      return;
    }
    item.again();
    this.#waiting.push(item);
    if (!this.#isPumping) void this.#pump(this.#pause(PAUSE_MIN_MS));
  }

  watch(listener: (notice: DeathNotice) => void): () => void {
    const error = new StoreError('BAD_REQUEST', `${this.path} is an address: it has no end that could be watched`);
    listener({ path: this.path, incarnation: this.incarnation, reason: { kind: 'failed', error } });
    return () => {};
  }

  stop(): Promise<void> {
    return Promise.reject(new StoreError('BAD_REQUEST', `${this.path} is an address; send it a message`));
  }

  kill(): void {
    throw new StoreError('BAD_REQUEST', `${this.path} is an address; send it a message`);
  }

  /** Sends what waits, in its order; `first` is what came of the first try with the first of them. */
  async #pump(first: Promise<void> | undefined): Promise<void> {
    this.#isPumping = true;
    let pauseMs = PAUSE_MIN_MS;
    let tried: { readonly sent: Promise<void> | undefined } | undefined = { sent: first };
    for (let item = this.#waiting[0]; item !== undefined; item = this.#waiting[0]) {
      const isOver = item.isOver(this.#world.clock.nowMs()) && tried === undefined;
      const sent: Sent | 'over' = isOver ? 'over' : tried === undefined ? this.#send(item) : tried.sent;
      tried = undefined;
      if (sent === undefined || sent instanceof Promise) {
        const isReady = sent !== undefined && (await this.#settled(item, sent));
        if (isReady) continue;
        await this.#pause(pauseMs);
        pauseMs = Math.min(PAUSE_MAX_MS, pauseMs * 2);
        continue;
      }
      this.#waiting.shift();
      pauseMs = PAUSE_MIN_MS;
      if (sent === 'over') this.#expire(item);
      else if (sent !== 'taken' && sent !== 'waits') {
        this.#world.deadLetters.add(refusalReason[sent], this.path, item.envelope.message.kind);
        item.fail(refusal(sent, this.path, item.envelope.bytes));
      }
    }
    this.#isPumping = false;
  }

  /** True: it may be there now. What cannot be helped by waiting is told to who asked first. */
  async #settled(item: Item, ready: Promise<void>): Promise<boolean> {
    try {
      await ready;
      return true;
    } catch (error) {
      if (isPassing(error)) return false;
      if (this.#waiting[0] === item) this.#waiting.shift();
      item.fail(error as Error);
      return true;
    }
  }

  #expire(item: Item): void {
    const { kind } = item.envelope.message;
    this.#world.deadLetters.add(item.isAwaited ? 'given-up' : 'unreachable', this.path, kind);
    item.fail(new StoreError('DEADLINE_EXCEEDED', `nobody was there for ${kind} to ${this.path}`));
  }

  #pause(pauseMs: number): Promise<void> {
    return new Promise((resolve) => void this.#world.clock.after(pauseMs, resolve));
  }

  #send(item: Item): Sent {
    const { address, protocol } = this.#options;
    const route = this.#world.route(address, item.attempt);
    switch (route.kind) {
      case 'here': {
        const envelope = item.forHere(route.isDurable);
        if (envelope.waiting.asker !== undefined && route.target.refusesCircle?.(envelope) === true) return 'taken';
        const offered = route.target.offer(envelope, item.isAwaited);
        return offered === 'ended' ? undefined : offered;
      }
      case 'there': {
        const { message } = item.envelope;
        if (!route.peer.isUp) return undefined;
        return sayOrTell(route.peer, item.outbound(), {
          to: { address, ...(item.isAsk && this.#options.isDurable ? { call: item.callId() } : {}) },
          path: this.path,
          message: () => this.#world.exportMessage(this.table, message),
          parse: (value) => parseReply(protocol, message.kind, value),
        });
      }
      case 'soon':
        return route.ready;
      case 'nowhere':
        return undefined;
      case 'closed':
        return 'ended';
      default:
        return unreachable(route);
    }
  }
}

/** A message on its way, as often as it is sent. Who waits for its answer sees one answer. */
class Item implements Answer {
  readonly envelope: Envelope;
  readonly untilMs: number;
  readonly #located: Located;
  readonly #calls: Calls;
  readonly #address: string;
  readonly #seq: number;
  #attempt = 1;
  #onGiveUp: ((reason: StoreError) => void) | undefined;

  constructor(located: Located, envelope: Envelope, untilMs: number, calls: Calls, options: LocatedOptions) {
    this.#located = located;
    this.envelope = envelope;
    this.untilMs = untilMs;
    this.#calls = calls;
    this.#address = options.address;
    const { answer } = envelope.waiting;
    this.#seq = answer === undefined || !options.isDurable ? 0 : calls.open(options.address);
    if (answer === undefined) return;
    answer.onGiveUp = (reason) => {
      this.over();
      this.#onGiveUp?.(reason);
    };
  }

  get isAsk(): boolean {
    return this.envelope.waiting.answer !== undefined;
  }

  /** Somebody is told what becomes of it. */
  get isAwaited(): boolean {
    return this.isAsk || this.envelope.waiting.sink !== undefined;
  }

  get attempt(): number {
    return this.#attempt;
  }

  isOver(nowMs: number): boolean {
    return nowMs > this.untilMs || this.envelope.isGivenUp;
  }

  again(): void {
    this.#attempt++;
    this.#onGiveUp = undefined;
  }

  callId(): CallId {
    const { asker } = this.#calls;
    return { asker, seq: this.#seq, floor: this.#calls.floor(this.#address), attempt: this.#attempt };
  }

  forHere(isDurable: boolean): Envelope {
    const { message, bytes } = this.envelope;
    const outbound = this.outbound();
    if (!isDurable) return outbound;
    const inner = this.isAsk ? { kind: 'ask', message, call: this.callId() } : { kind: 'tell', message };
    return new Envelope(inner, bytes, outbound.waiting);
  }

  outbound(): Envelope {
    const { message, bytes, waiting } = this.envelope;
    const { admission, trace, sink, asker } = waiting;
    const opening = sink === undefined ? undefined : new Opening(sink, (error) => this.#located.rejected(this, error));
    const answer = this.isAsk ? this : undefined;
    return new Envelope(message, bytes, { admission, trace, asker, answer, sink: opening });
  }

  /** Nobody waits for it any more. */
  over(): void {
    if (this.#seq > 0) this.#calls.close(this.#address, this.#seq);
  }

  fail(error: Error): void {
    this.over();
    this.envelope.discard(error);
  }

  // ── as an answer ──

  get isSettled(): boolean {
    return this.envelope.waiting.answer?.isSettled === true;
  }

  get deadlineAtMs(): number {
    return this.envelope.waiting.answer?.deadlineAtMs ?? Number.POSITIVE_INFINITY;
  }

  get onGiveUp(): ((reason: StoreError) => void) | undefined {
    return this.#onGiveUp;
  }

  set onGiveUp(call: ((reason: StoreError) => void) | undefined) {
    this.#onGiveUp = call;
  }

  resolve(value: unknown): void {
    this.over();
    this.envelope.waiting.answer?.resolve(value);
  }

  reject(error: Error): void {
    if (this.isSettled) this.over();
    else this.#located.rejected(this, error);
  }
}

/** A stream's taker, until its first item comes: the one who has the address may not be there any more. */
class Opening implements Sink {
  readonly #sink: Sink;
  readonly #refused: (error: Error) => void;
  #hasBegun = false;

  constructor(sink: Sink, refused: (error: Error) => void) {
    this.#sink = sink;
    this.#refused = refused;
  }

  get window(): number {
    return this.#sink.window;
  }

  get isSettled(): boolean {
    return this.#sink.isSettled;
  }

  get onItemTaken(): (() => void) | undefined {
    return this.#sink.onItemTaken;
  }

  set onItemTaken(call: (() => void) | undefined) {
    this.#sink.onItemTaken = call;
  }

  get onGiveUp(): ((reason: StoreError) => void) | undefined {
    return this.#sink.onGiveUp;
  }

  set onGiveUp(call: ((reason: StoreError) => void) | undefined) {
    this.#sink.onGiveUp = call;
  }

  wanted(): Promise<void> {
    return this.#sink.wanted();
  }

  item(value: unknown): void {
    this.#hasBegun = true;
    this.#sink.item(value);
  }

  end(): void {
    this.#sink.end();
  }

  reject(error: Error): void {
    if (this.#hasBegun || this.isSettled) this.#sink.reject(error);
    else this.#refused(error);
  }
}

/** This node's questions to durable actors: numbers, and for each actor the oldest that is open. */
export class Calls {
  readonly asker: string;
  readonly #open = new Map<string, Set<number>>();
  #last = 0;

  constructor(asker: string) {
    this.asker = asker;
  }

  open(address: string): number {
    const seq = ++this.#last;
    const open = this.#open.get(address);
    if (open === undefined) this.#open.set(address, new Set([seq]));
    else open.add(seq);
    return seq;
  }

  close(address: string, seq: number): void {
    const open = this.#open.get(address);
    if (open?.delete(seq) === true && open.size === 0) this.#open.delete(address);
  }

  /** Sets keep the order in which they were filled. */
  floor(address: string): number {
    const [first] = this.#open.get(address) ?? [];
    return first ?? this.#last;
  }
}
