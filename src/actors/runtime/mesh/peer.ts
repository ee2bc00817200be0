/**
 * Peer: the near end of what actors here and on one other node say to each other.
 *
 * A message leaves at once or not at all: while the peer is out of reach, or does not take what it was sent, whoever
 * sends is told so, and nothing is kept for later. What is under way is bounded by windows, in messages and bytes, for each
 * actor and for the peer; there is room again when an ask is settled, or a tell has left its mailbox over there.
 *
 * Invariants:
 *  - every message that was sent is settled once: answered, taken, ended, failed, given up, or lost with the connection;
 *  - when a batch may have been lost, either way, nobody goes on waiting for what was in it: `lost` settles all.
 */
import { unreachable } from '../../../core/base/assert.ts';
import { isStoreError, StoreError } from '../../../core/base/errors.ts';
import type { ActorClock } from '../core/clock.ts';
import type { DeadLetters } from '../core/dead-letters.ts';
import type { Envelope, Sink, Waiting } from '../core/envelope.ts';
import type { EndReason, StopOptions } from '../core/types.ts';
import type { LogFunction } from '../thread.ts';
import { askersIn, askersOut, type Whose } from './askers.ts';
import { decodeValue, encodeValue } from './codec.ts';
import { type ActorsHere, Ends, endOf } from './ends.ts';
import {
  type Batch,
  type Frame,
  fromFailure,
  type Say,
  speaksAll,
  type To,
  type ToActor,
  toFailure,
} from './frames.ts';
import { PeerOutbox, type PeerOutboxWorld } from './outbox.ts';
import { type Asking, ItemRoom, type Served, ServedAnswer, ServedStream } from './served.ts';

/** Messages and bytes under way to a peer, and messages to one actor. */
const PEER_MESSAGES_MAX = 4_096;
const PEER_BYTES_MAX = 8 * 1024 * 1024;
export const ACTOR_MESSAGES_MAX: number = 1_024;
export const MESSAGE_BYTES_MAX: number = 1024 * 1024;
/** Streams that are open to a peer. */
export const PEER_STREAMS_MAX: number = 1_024;

export interface PeerWorld extends PeerOutboxWorld {
  readonly clock: ActorClock;
  readonly log: LogFunction;
  readonly deadLetters: DeadLetters;
  /** This node's actors, in their life. */
  readonly own: Whose;
  /** Hands a message to whoever it is for; throws a StoreError: why not. */
  readonly deliver: (say: Say, waiting: Waiting) => void;
  /** Whose ends the peer may watch, and want. */
  readonly here: ActorsHere;
}

export interface Saying {
  readonly to: To;
  /** For dead letters: the actor, as this node names it. */
  readonly path: string;
  /** The message, its refs as tokens. */
  readonly message: unknown;
  /** Checks an answer, or an item. */
  readonly parse: (value: unknown) => unknown;
}

interface Open extends Pick<Saying, 'path' | 'parse'> {
  readonly envelope: Envelope;
  bytes: number;
  readonly key: string;
  /** Of a stream: items that may come before others are wanted. */
  credit: number;
  /** Those that came and wait to be taken. */
  untaken: number;
}

export class Peer implements Asking {
  readonly id: string;
  readonly #world: PeerWorld;
  readonly #open = new Map<number, Open>();
  readonly #underWay = new Map<string, number>();
  #openBytes = 0;
  #streams = 0;
  readonly #ends: Ends;
  readonly #served = new Map<number, Served>();
  readonly #room = new ItemRoom();
  readonly #out: PeerOutbox;
  /** The peer has heard of this session. Before that it may yet settle, as lost, what would be sent now. */
  #isWelcome = false;
  #calls = 0;
  /** What the peer's next batch has to be; undefined: nothing was heard yet. */
  #expected: { readonly session: string; readonly number: number } | undefined;

  constructor(id: string, world: PeerWorld) {
    this.id = id;
    this.#world = world;
    this.#out = new PeerOutbox(world);
    this.#ends = new Ends({
      peer: id,
      newCall: () => ++this.#calls,
      put: (frame) => this.#out.frame(frame),
      here: world.here,
    });
  }

  get clock(): ActorClock {
    return this.#world.clock;
  }

  /** Nothing would be lost with it. */
  get isIdle(): boolean {
    return !this.#out.isOpen && this.#open.size === 0 && this.#ends.isIdle;
  }

  get isUp(): boolean {
    return this.#out.isOpen && this.#isWelcome;
  }

  /** Messages sent and not settled. */
  get underWay(): number {
    return this.#open.size;
  }

  // ── the connection ──

  up(): void {
    if (this.#out.isOpen) return;
    // The peer hears by it that what went before is over.
    this.#out.open(this.#expected === undefined ? [] : [welcome(this.#expected.session)]);
  }

  down(): void {
    this.#isWelcome = false;
    this.#out.close();
    this.lost('the connection broke');
  }

  /** Something may be missing of what it said, or was told. Settles everything that was under way. */
  lost(why: string): void {
    const error = new StoreError('OUTCOME_UNKNOWN', `${this.id}: ${why}; it may have been handled, or not`, {
      data: { peer: this.id },
    });
    const served = [...this.#served.values()];
    this.#served.clear();
    for (const one of served) one.giveUp(error);
    const open = [...this.#open.values()];
    this.#open.clear();
    this.#underWay.clear();
    this.#openBytes = 0;
    this.#streams = 0;
    for (const { envelope, path } of open) this.#unhandled(envelope, path, error);
    this.#ends.lost(error);
  }

  // ── out ──

  /** Sends a message now, or says why not; BAD_REQUEST: it is no plain data. */
  say(envelope: Envelope, { to, path, message, parse }: Saying): 'sent' | 'away' | 'full' | 'too-large' {
    if (!this.isUp) return 'away';
    const { answer, sink, trace, asker } = envelope.waiting;
    if (sink !== undefined) this.#checkVersion('streams');
    if (sink !== undefined && this.#streams >= PEER_STREAMS_MAX) return 'full';
    const call = ++this.#calls;
    const text = JSON.stringify({
      frame: 'say',
      call,
      how: answer !== undefined ? 'ask' : sink !== undefined ? 'stream' : 'tell',
      to,
      message: encodeValue(message),
      ...(answer === undefined ? {} : { remainingMs: Math.max(0, answer.deadlineAtMs - this.#world.clock.nowMs()) }),
      ...(sink === undefined ? {} : { window: sink.window }),
      ...(trace === undefined ? {} : { trace }),
      ...(asker === undefined || !this.#speaksAll ? {} : { askers: askersOut(asker, this.#world.own) }),
    } satisfies Say);
    const bytes = text.length;
    if (bytes > MESSAGE_BYTES_MAX) return 'too-large';
    // A stream is long: it takes no place from what is asked and told.
    const key = `${sink === undefined ? '' : 'stream '}${'address' in to ? to.address : String(to.id)}`;
    const underWay = this.#underWay.get(key) ?? 0;
    if (underWay >= ACTOR_MESSAGES_MAX || this.#open.size >= PEER_MESSAGES_MAX + this.#streams) return 'full';
    if (this.#openBytes + bytes > PEER_BYTES_MAX && this.#open.size > this.#streams) return 'full';
    this.#underWay.set(key, underWay + 1);
    this.#openBytes += bytes;
    const open: Open = { envelope, bytes, key, path, parse, credit: sink?.window ?? 0, untaken: 0 };
    this.#open.set(call, open);
    if (answer !== undefined) answer.onGiveUp = () => this.#giveUp(call);
    if (sink !== undefined) this.#take(call, open, sink);
    this.#out.put(text);
    return 'sent';
  }

  /**
   * Items are asked for half a window at a time; and when all that came is taken, as the maker may wait for room that
   * others have.
   */
  #take(call: number, open: Open, sink: Sink): void {
    this.#streams++;
    sink.onGiveUp = () => this.#giveUp(call);
    let taken = 0;
    let isPlanned = false;
    const want = (): void => {
      if (taken === 0 || !this.#open.has(call)) return;
      this.#out.frame({ frame: 'want', call, count: taken });
      open.credit += taken;
      taken = 0;
    };
    sink.onItemTaken = () => {
      taken++;
      open.untaken--;
      if (taken >= sink.window / 2) want();
      else if (open.untaken === 0 && !isPlanned) {
        isPlanned = true;
        this.#world.soon(() => {
          isPlanned = false;
          if (open.untaken === 0) want();
        });
      }
    };
  }

  /** Tells once that an actor over there has ended, or cannot be heard of any more. The result ends the watch. */
  watch(to: ToActor, hasEnded: (reason: EndReason) => void): () => void {
    return this.#ends.watch(to, hasEnded, this.isUp);
  }

  async stop(to: ToActor, options: StopOptions): Promise<void> {
    this.#checkVersion('stops');
    return this.#ends.stop(to, options, this.isUp);
  }

  kill(to: ToActor): void {
    this.#checkVersion('kills');
    this.#ends.kill(to, this.isUp);
  }

  /** What it said last shows how much it reads. */
  get #speaksAll(): boolean {
    return this.#expected !== undefined && speaksAll(this.#expected.session);
  }

  #checkVersion(what: string): void {
    // Out of reach it is refused for that.
    if (!this.isUp || this.#speaksAll) return;
    throw new StoreError('UPGRADE_PENDING', `${this.id} runs a version without ${what} between nodes`);
  }

  #giveUp(call: number): void {
    if (this.#settle(call) !== undefined) this.#out.frame({ frame: 'giveUp', call });
  }

  #settle(call: number): Open | undefined {
    const open = this.#open.get(call);
    if (open === undefined) return undefined;
    this.#open.delete(call);
    this.#openBytes -= open.bytes;
    if (open.envelope.waiting.sink !== undefined) this.#streams--;
    const left = (this.#underWay.get(open.key) ?? 1) - 1;
    if (left === 0) this.#underWay.delete(open.key);
    else this.#underWay.set(open.key, left);
    return open;
  }

  #unhandled(envelope: Envelope, path: string, error: StoreError): void {
    const { answer, sink } = envelope.waiting;
    if (answer === undefined && sink === undefined) {
      this.#world.deadLetters.add('unreachable', path, envelope.message.kind);
    }
    envelope.discard(error);
  }

  // ── in ──

  heard({ session, number, frames }: Batch): void {
    const expected = this.#expected;
    this.#expected = { session, number: number + 1 };
    const isNext = expected === undefined ? number === 0 : expected.session === session && expected.number === number;
    if (!isNext) this.lost('something it said was lost');
    if (expected?.session !== session) this.#out.frame(welcome(session));
    for (const frame of frames) this.#hear(frame);
  }

  #hear(frame: Frame): void {
    switch (frame.frame) {
      case 'welcome':
        if (frame.session === this.#out.session) this.#isWelcome = true;
        return;
      case 'say':
        this.#said(frame);
        return;
      case 'answer':
        this.#answered(frame.call, frame.value);
        return;
      case 'failed': {
        const error = fromFailure(frame.failure);
        const open = this.#settle(frame.call);
        if (open !== undefined) this.#unhandled(open.envelope, open.path, error);
        else this.#ends.failed(frame.call, error);
        return;
      }
      case 'taken':
        for (const call of frame.calls) this.#wasTaken(call);
        return;
      case 'item':
        this.#itemCame(frame.call, frame.value);
        return;
      case 'end':
        this.#settle(frame.call)?.envelope.waiting.sink?.end();
        return;
      case 'want': {
        const stream = this.#served.get(frame.call);
        if (stream instanceof ServedStream) stream.want(frame.count);
        return;
      }
      case 'giveUp': {
        const served = this.#served.get(frame.call);
        this.#served.delete(frame.call);
        served?.giveUp(new StoreError('CANCELLED', 'whoever asked has given up'));
        return;
      }
      case 'watch':
        this.#ends.watchHere(frame.call, frame.to);
        return;
      case 'unwatch':
        this.#ends.unwatchHere(frame.call);
        return;
      case 'stop':
        this.#ends.stopHere(frame);
        return;
      case 'kill':
        this.#ends.killHere(frame.to);
        return;
      case 'ended':
        this.#ends.ended(frame.call, endOf(frame));
        return;
      default:
        unreachable(frame);
    }
  }

  #wasTaken(call: number): void {
    const open = this.#open.get(call);
    if (open?.envelope.waiting.sink === undefined) {
      this.#settle(call)?.envelope.waiting.admission?.resolve();
      return;
    }
    // The stream goes on; the message that opened it is gone.
    this.#openBytes -= open.bytes;
    open.bytes = 0;
  }

  #itemCame(call: number, value: unknown): void {
    const open = this.#open.get(call);
    const sink = open?.envelope.waiting.sink;
    // Ended here before it came.
    if (open === undefined || sink === undefined) return;
    if (open.credit === 0) throw new StoreError('PROTOCOL_ERROR', `${open.path} sent more items than were wanted`);
    open.credit--;
    open.untaken++;
    try {
      sink.item(open.parse(decodeValue(value)));
    } catch (cause) {
      const { code, message } = told(cause);
      this.#giveUp(call);
      sink.reject(new StoreError(code, `an item of ${open.path}: ${message}`, { cause }));
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
    const { call, how, remainingMs = 0, window = 1 } = say;
    if (this.#served.size >= PEER_MESSAGES_MAX * 2 || this.#served.has(call)) {
      this.failed(call, new StoreError('OVERLOADED', 'more is under way than this node agreed to'));
      return;
    }
    const { trace, askers = [] } = say;
    const waiting: Waiting = { trace, asker: askersIn(askers, this.#world.own) };
    const onTaken = (): void => this.#out.took(call);
    try {
      if (how === 'tell') this.#world.deliver(say, { ...waiting, onTaken });
      else if (how === 'ask') {
        const answer = new ServedAnswer(this, call, remainingMs);
        this.#served.set(call, answer);
        this.#world.deliver(say, { ...waiting, answer });
      } else {
        const sink = new ServedStream(this, call, window, this.#room);
        this.#served.set(call, sink);
        this.#world.deliver(say, { ...waiting, sink, onTaken });
      }
    } catch (error) {
      this.#served.delete(call);
      this.failed(call, told(error));
    }
  }

  // ── for Served ──

  over(call: number, served: Served): boolean {
    return this.#served.get(call) === served && this.#served.delete(call);
  }

  failed(call: number, error: Error): void {
    this.#out.frame({ frame: 'failed', call, failure: toFailure(error) });
  }

  end(call: number): void {
    this.#out.frame({ frame: 'end', call });
  }

  value(frame: 'answer' | 'item', call: number, value: unknown): number {
    const text = JSON.stringify({ frame, call, value: encodeValue(value) } satisfies Frame);
    if (text.length > MESSAGE_BYTES_MAX) throw new StoreError('VALUE_TOO_LARGE', `the ${frame} is too large`);
    this.#out.put(text);
    return text.length;
  }
}

const welcome = (session: string): Frame => ({ frame: 'welcome', session });

/** Why it did not go on. Schemas are the application's: what they throw is told to who asked, and ends nobody here. */
const told = (error: unknown): StoreError =>
  isStoreError(error) ? error : new StoreError('INTERNAL', error instanceof Error ? error.message : 'it threw');
