/**
 * Peer: the near end of what actors here and on one other node say to each other.
 *
 * A message leaves at once or not at all: while the peer is out of reach, or does not take what it was sent, whoever
 * sends is told so, and nothing is kept for later. What is under way is bounded by windows, in messages and bytes, for each
 * actor and for the peer; there is room again when an ask is settled, or a tell has left its mailbox over there.
 *
 * Invariants:
 *  - every message that was sent is settled once: answered, taken, failed, given up, or lost with the connection;
 *  - when a batch may have been lost, either way, nobody goes on waiting for what was in it: `lost` settles all.
 */
import { isStoreError, StoreError } from '../../../core/base/errors.ts';
import type { ActorClock } from '../core/clock.ts';
import type { DeadLetters } from '../core/dead-letters.ts';
import type { Answer, Envelope, Waiting } from '../core/envelope.ts';
import type { EndReason } from '../core/types.ts';
import type { LogFunction } from '../thread.ts';
import { decodeValue, encodeValue } from './codec.ts';
import {
  type Batch,
  encodeBatch,
  type Frame,
  fromFailure,
  type Say,
  type To,
  type ToActor,
  toFailure,
} from './frames.ts';

/** Messages and bytes under way to a peer, and messages to one actor. */
const PEER_MESSAGES_MAX = 4_096;
const PEER_BYTES_MAX = 8 * 1024 * 1024;
export const ACTOR_MESSAGES_MAX: number = 1_024;
export const MESSAGE_BYTES_MAX: number = 1024 * 1024;
/** Watches of a peer's actors, and of ours by a peer. */
const WATCHES_MAX = 4_096;

export interface PeerWorld {
  readonly clock: ActorClock;
  readonly log: LogFunction;
  readonly deadLetters: DeadLetters;
  /** Another one each time. */
  readonly newSession: () => string;
  readonly send: (batch: Uint8Array<ArrayBuffer>) => void;
  /** Hands a message to whoever it is for; throws a StoreError: why not. */
  readonly deliver: (say: Say, waiting: Waiting) => void;
  /** Watches an actor here for the peer. */
  readonly watch: (to: ToActor, hasEnded: (reason: EndReason) => void) => () => void;
  /** Calls when this turn is over. */
  readonly soon: (call: () => void) => void;
}

export interface Saying {
  readonly to: To;
  /** For dead letters: the actor, as this node names it. */
  readonly path: string;
  /** The message, its refs as tokens. */
  readonly message: unknown;
  /** Checks an answer. */
  readonly parse: (value: unknown) => unknown;
}

interface Open extends Pick<Saying, 'path' | 'parse'> {
  readonly envelope: Envelope;
  readonly bytes: number;
  readonly key: string;
}

interface Watch {
  readonly hasEnded: (reason: EndReason) => void;
}

export class Peer {
  readonly id: string;
  readonly #world: PeerWorld;
  readonly #open = new Map<number, Open>();
  readonly #underWay = new Map<string, number>();
  #openBytes = 0;
  readonly #watches = new Map<number, Watch>();
  readonly #served = new Map<number, Served>();
  readonly #watchedHere = new Map<number, () => void>();
  #isConnected = false;
  /** The peer has heard of this session. Before that it may yet settle, as lost, what would be sent now. */
  #isWelcome = false;
  #calls = 0;
  #session: string;
  #sent = 0;
  #outbox: string[] = [];
  #outboxBytes = 0;
  #taken: number[] = [];
  #isFlushPlanned = false;
  /** What the peer's next batch has to be; undefined: nothing was heard yet. */
  #expected: { readonly session: string; readonly number: number } | undefined;

  constructor(id: string, world: PeerWorld) {
    this.id = id;
    this.#world = world;
    this.#session = world.newSession();
  }

  /** Nothing would be lost with it. */
  get isIdle(): boolean {
    return !this.#isConnected && this.#open.size === 0 && this.#watches.size === 0;
  }

  get isUp(): boolean {
    return this.#isConnected && this.#isWelcome;
  }

  /** Messages sent and not settled. */
  get underWay(): number {
    return this.#open.size;
  }

  // ── the connection ──

  up(): void {
    if (this.#isConnected) return;
    this.#isConnected = true;
    // The peer hears by it that what went before is over.
    if (this.#expected !== undefined) this.#welcome(this.#expected.session);
    this.#flush();
  }

  down(): void {
    this.#isConnected = false;
    this.#isWelcome = false;
    this.#outbox = [];
    this.#outboxBytes = 0;
    this.#taken = [];
    // The peer hears by it that something is missing.
    this.#session = this.#world.newSession();
    this.#sent = 0;
    this.lost('the connection broke');
  }

  /** Something may be missing of what it said, or was told. Settles everything that was under way. */
  lost(why: string): void {
    const error = new StoreError('OUTCOME_UNKNOWN', `${this.id}: ${why}; it may have been handled, or not`, {
      data: { peer: this.id },
    });
    const served = [...this.#served.values()];
    this.#served.clear();
    for (const answer of served) answer.giveUp(error);
    for (const end of this.#watchedHere.values()) end();
    this.#watchedHere.clear();
    const open = [...this.#open.values()];
    this.#open.clear();
    this.#underWay.clear();
    this.#openBytes = 0;
    for (const { envelope, path } of open) this.#unhandled(envelope, path, error);
    const watches = [...this.#watches.values()];
    this.#watches.clear();
    for (const watch of watches) watch.hasEnded({ kind: 'failed', error });
  }

  // ── out ──

  /** Sends a message now, or says why not; BAD_REQUEST: it is no plain data. */
  say(envelope: Envelope, { to, path, message, parse }: Saying): 'sent' | 'away' | 'full' | 'too-large' {
    if (!this.isUp) return 'away';
    const { answer, trace } = envelope.waiting;
    const call = ++this.#calls;
    const text = JSON.stringify({
      frame: 'say',
      call,
      how: answer === undefined ? 'tell' : 'ask',
      to,
      message: encodeValue(message),
      ...(answer === undefined ? {} : { remainingMs: Math.max(0, answer.deadlineAtMs - this.#world.clock.nowMs()) }),
      ...(trace === undefined ? {} : { trace }),
    } satisfies Say);
    const bytes = text.length;
    if (bytes > MESSAGE_BYTES_MAX) return 'too-large';
    const key = 'address' in to ? to.address : String(to.id);
    const underWay = this.#underWay.get(key) ?? 0;
    if (underWay >= ACTOR_MESSAGES_MAX || this.#open.size >= PEER_MESSAGES_MAX) return 'full';
    if (this.#openBytes + bytes > PEER_BYTES_MAX && this.#open.size > 0) return 'full';
    this.#underWay.set(key, underWay + 1);
    this.#openBytes += bytes;
    this.#open.set(call, { envelope, bytes, key, path, parse });
    if (answer !== undefined) answer.onGiveUp = () => this.#giveUp(call);
    this.#put(text);
    return 'sent';
  }

  /** Tells once that an actor over there has ended, or cannot be heard of any more. The result ends the watch. */
  watch(to: ToActor, hasEnded: (reason: EndReason) => void): () => void {
    if (!this.isUp || this.#watches.size >= WATCHES_MAX) {
      const code = this.isUp ? 'OVERLOADED' : 'UNAVAILABLE';
      hasEnded({ kind: 'failed', error: new StoreError(code, `${to.path} on ${this.id} cannot be watched now`) });
      return () => {};
    }
    const call = ++this.#calls;
    this.#watches.set(call, { hasEnded });
    this.#frame({ frame: 'watch', call, to });
    return () => {
      if (this.#watches.delete(call)) this.#frame({ frame: 'unwatch', call });
    };
  }

  #giveUp(call: number): void {
    if (this.#settle(call) !== undefined) this.#frame({ frame: 'giveUp', call });
  }

  #settle(call: number): Open | undefined {
    const open = this.#open.get(call);
    if (open === undefined) return undefined;
    this.#open.delete(call);
    this.#openBytes -= open.bytes;
    const left = (this.#underWay.get(open.key) ?? 1) - 1;
    if (left === 0) this.#underWay.delete(open.key);
    else this.#underWay.set(open.key, left);
    return open;
  }

  #unhandled(envelope: Envelope, path: string, error: StoreError): void {
    if (envelope.waiting.answer === undefined) {
      this.#world.deadLetters.add('unreachable', path, envelope.message.kind);
    }
    envelope.discard(error);
  }

  #frame(frame: Frame): void {
    this.#put(JSON.stringify(frame));
  }

  #put(text: string): void {
    if (!this.#isConnected) return;
    this.#outbox.push(text);
    this.#outboxBytes += text.length;
    if (this.#outboxBytes >= MESSAGE_BYTES_MAX) this.#flush();
    else this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    this.#world.soon(() => {
      this.#isFlushPlanned = false;
      if (this.#isConnected && (this.#outbox.length > 0 || this.#taken.length > 0)) this.#flush();
    });
  }

  #flush(): void {
    if (this.#taken.length > 0) {
      this.#outbox.push(JSON.stringify({ frame: 'taken', calls: this.#taken } satisfies Frame));
      this.#taken = [];
    }
    this.#world.send(encodeBatch(this.#session, this.#sent, this.#outbox));
    this.#sent++;
    this.#outbox = [];
    this.#outboxBytes = 0;
  }

  // ── in ──

  heard({ session, number, frames }: Batch): void {
    const expected = this.#expected;
    this.#expected = { session, number: number + 1 };
    const isNext = expected === undefined ? number === 0 : expected.session === session && expected.number === number;
    if (!isNext) this.lost('something it said was lost');
    if (expected?.session !== session) this.#welcome(session);
    for (const frame of frames) this.#hear(frame);
  }

  #welcome(session: string): void {
    this.#frame({ frame: 'welcome', session });
  }

  #hear(frame: Frame): void {
    switch (frame.frame) {
      case 'welcome':
        if (frame.session === this.#session) this.#isWelcome = true;
        return;
      case 'say':
        this.#said(frame);
        return;
      case 'answer':
        this.#answered(frame.call, frame.value);
        return;
      case 'failed': {
        const open = this.#settle(frame.call);
        if (open === undefined) return;
        const error = fromFailure(frame.failure);
        if (open.envelope.waiting.answer === undefined) this.#unhandled(open.envelope, open.path, error);
        else open.envelope.discard(error);
        return;
      }
      case 'taken':
        for (const call of frame.calls) this.#settle(call)?.envelope.waiting.admission?.resolve();
        return;
      case 'giveUp': {
        const answer = this.#served.get(frame.call);
        this.#served.delete(frame.call);
        answer?.giveUp(new StoreError('CANCELLED', 'whoever asked has given up'));
        return;
      }
      case 'watch':
        this.#watchHere(frame.call, frame.to);
        return;
      case 'unwatch':
        this.#watchedHere.get(frame.call)?.();
        this.#watchedHere.delete(frame.call);
        return;
      case 'ended': {
        const watch = this.#watches.get(frame.call);
        this.#watches.delete(frame.call);
        const { failure } = frame;
        watch?.hasEnded(failure === undefined ? { kind: 'stopped' } : { kind: 'failed', error: fromFailure(failure) });
        return;
      }
    }
  }

  #answered(call: number, value: unknown): void {
    const open = this.#settle(call);
    if (open === undefined) {
      // Given up here before it came.
      this.#world.deadLetters.add('late-answer', this.id, 'answer');
      return;
    }
    const { answer } = open.envelope.waiting;
    try {
      answer?.resolve(open.parse(decodeValue(value)));
    } catch (cause) {
      const { code, message } = told(cause);
      answer?.reject(new StoreError(code, `the answer of ${open.path}: ${message}`, { cause }));
    }
  }

  #said(say: Say): void {
    const { call, how, remainingMs = 0 } = say;
    const fail = (error: StoreError): void => this.#frame({ frame: 'failed', call, failure: toFailure(error) });
    if (this.#served.size >= PEER_MESSAGES_MAX * 2 || this.#served.has(call)) {
      fail(new StoreError('OVERLOADED', 'more is under way than this node agreed to'));
      return;
    }
    const waiting: Waiting = { trace: say.trace };
    try {
      if (how === 'tell') {
        this.#world.deliver(say, { ...waiting, onTaken: () => this.#tookOut(call) });
        return;
      }
      const answer = new Served(this, call, this.#world.clock, remainingMs);
      this.#served.set(call, answer);
      this.#world.deliver(say, { ...waiting, answer });
    } catch (error) {
      this.#served.delete(call);
      fail(told(error));
    }
  }

  #tookOut(call: number): void {
    this.#taken.push(call);
    this.#flushSoon();
  }

  /** For Served: an answer to the peer. */
  answer(served: Served, outcome: { readonly value: unknown } | { readonly error: Error }): void {
    const { call } = served;
    if (this.#served.get(call) !== served) return;
    this.#served.delete(call);
    if ('error' in outcome) {
      this.#frame({ frame: 'failed', call, failure: toFailure(outcome.error) });
      return;
    }
    try {
      const text = JSON.stringify({ frame: 'answer', call, value: encodeValue(outcome.value) } satisfies Frame);
      if (text.length > MESSAGE_BYTES_MAX) throw new StoreError('VALUE_TOO_LARGE', 'the answer is too large');
      this.#put(text);
    } catch (error) {
      if (!isStoreError(error)) throw error;
      this.#frame({ frame: 'failed', call, failure: toFailure(error) });
    }
  }

  #watchHere(call: number, to: ToActor): void {
    const tell = (reason: EndReason): void => {
      this.#watchedHere.delete(call);
      const failure = reason.kind === 'failed' ? { failure: toFailure(reason.error) } : {};
      this.#frame({ frame: 'ended', call, ...failure });
    };
    if (this.#watchedHere.size >= WATCHES_MAX) {
      tell({ kind: 'failed', error: new StoreError('OVERLOADED', 'too many watches') });
      return;
    }
    // An actor that has ended tells at once, before there is anything to end.
    let isOver = false;
    const end = this.#world.watch(to, (reason) => {
      isOver = true;
      tell(reason);
    });
    if (!isOver) this.#watchedHere.set(call, end);
  }
}

/** Why it did not go on. Schemas are the application's: what they throw is told to who asked, and ends nobody here. */
const told = (error: unknown): StoreError =>
  isStoreError(error) ? error : new StoreError('INTERNAL', error instanceof Error ? error.message : 'it threw');

/** Who asked, over there. */
export class Served implements Answer {
  readonly call: number;
  readonly deadlineAtMs: number;
  onGiveUp: ((reason: StoreError) => void) | undefined;
  readonly #peer: Peer;
  readonly #clock: ActorClock;
  #isSettled = false;

  constructor(peer: Peer, call: number, clock: ActorClock, remainingMs: number) {
    this.#peer = peer;
    this.call = call;
    this.#clock = clock;
    this.deadlineAtMs = clock.nowMs() + remainingMs;
  }

  /** Past the deadline nobody waits over there, whether or not that was said. */
  get isSettled(): boolean {
    return this.#isSettled || this.#clock.nowMs() > this.deadlineAtMs;
  }

  resolve(value: unknown): void {
    this.#settle({ value });
  }

  reject(error: Error): void {
    this.#settle({ error });
  }

  giveUp(reason: StoreError): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.onGiveUp?.(reason);
  }

  #settle(outcome: { readonly value: unknown } | { readonly error: Error }): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#peer.answer(this, outcome);
  }
}
