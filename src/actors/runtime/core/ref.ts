/**
 * Ref: what a program holds of an actor. All it does is to put messages into envelopes and to say what became of those
 * that were not taken.
 */
import { StoreError } from '../../../core/base/errors.ts';
import { Envelope, type Waiting } from './envelope.ts';
import { Flow, STREAM_WINDOW, STREAM_WINDOW_MAX } from './flow.ts';
import { ASK_DEADLINE_MS, Pending } from './pending.ts';
import type { AnyMessage, ItemOf, KindsOf, MessageOf, Protocol, ReplyOf } from './protocol.ts';
import { bytesOf, type KindTable } from './table.ts';
import { refusal, refusalReason, type Target, type World } from './target.ts';
import type { ActorRef, AskOptions, StopOptions, StreamOptions, TellOptions } from './types.ts';

/** What a ref needs of its system. */
export type RefWorld = Pick<World, 'clock' | 'deadLetters'> & Partial<Pick<World, 'running'>>;

export class Ref<P extends Protocol> implements ActorRef<P> {
  readonly #world: RefWorld;
  readonly #target: () => Target;
  readonly #stable: () => Target;

  constructor(world: RefWorld, target: () => Target, stable: () => Target) {
    this.#world = world;
    this.#target = target;
    this.#stable = stable;
  }

  /** For the runtime: whom it speaks to now. */
  get target(): Target {
    return this.#target();
  }

  get path(): string {
    return this.#target().path;
  }

  get incarnation(): number {
    return this.#target().incarnation;
  }

  tell(message: MessageOf<P, KindsOf<P, 'tell'>>, options?: TellOptions): boolean {
    const target = this.#target();
    const kind = target.table.byKind[message.kind];
    if (kind?.how !== 'tell') {
      this.#world.deadLetters.add('unhandled', target.path, message.kind);
      return false;
    }
    const envelope = new Envelope(message, bytesOf(kind, message), options);
    const offered = target.offer(envelope, false);
    if (offered === 'taken') return true;
    this.#refused(target, envelope, offered);
    return false;
  }

  send(message: MessageOf<P, KindsOf<P, 'tell'>>, options: AskOptions = {}): Promise<void> {
    const target = this.#target();
    const kind = this.#kindOf(target, message, 'tell');
    if (kind instanceof Error) return Promise.reject(kind);
    const pending = new Pending<void>(this.#pendingOptions(target, message, options));
    const { trace, transfer } = options;
    this.#put(target, message, kind, { admission: pending, trace, transfer });
    return pending.promise;
  }

  ask<K extends KindsOf<P, 'ask'>>(message: MessageOf<P, K>, options: AskOptions = {}): Promise<ReplyOf<P, K>> {
    const target = this.#target();
    const kind = this.#kindOf(target, message, 'ask');
    if (kind instanceof Error) return Promise.reject(kind);
    const { from, transfer, deadlineMs = ASK_DEADLINE_MS } = options;
    const asked = from === undefined ? options : { ...options, deadlineMs: Math.min(deadlineMs, from.remainingMs) };
    const pending = new Pending<ReplyOf<P, K>>(this.#pendingOptions(target, message, asked));
    const trace = options.trace ?? from?.trace;
    const asker = from === undefined ? this.#world.running?.cell?.asker : from.asker;
    this.#put(target, message, kind, { answer: pending, trace, transfer, asker });
    return pending.promise;
  }

  stream<K extends KindsOf<P, 'stream'>>(
    message: MessageOf<P, K>,
    options: StreamOptions = {},
  ): AsyncIterableIterator<ItemOf<P, K>> {
    const { window = STREAM_WINDOW, signal, trace, transfer } = options;
    if (!(window >= 1 && window <= STREAM_WINDOW_MAX)) {
      throw new StoreError('BAD_REQUEST', `a stream's window must be 1 to ${STREAM_WINDOW_MAX}, not ${window}`);
    }
    const target = this.#target();
    const kind = this.#kindOf(target, message, 'stream');
    const open = (): void => {
      if (kind instanceof Error) flow.reject(kind);
      else if (!flow.isSettled) this.#put(target, message, kind, { sink: flow, trace, transfer });
    };
    const flow = new Flow<ItemOf<P, K>>({ path: target.path, kind: message.kind, window, signal, open });
    return flow;
  }

  stop(options?: StopOptions): Promise<void> {
    return this.#target().stop(options);
  }

  kill(): void {
    this.#target().kill();
  }

  stable(): ActorRef<P> {
    return new Ref<P>(this.#world, this.#stable, this.#stable);
  }

  /** Refs in logs. */
  toString(): string {
    return `${this.path}#${this.incarnation}`;
  }

  #kindOf(target: Target, message: AnyMessage, how: KindTable['how']): KindTable | StoreError {
    const kind = target.table.byKind[message.kind];
    if (kind?.how === how) return kind;
    return new StoreError('BAD_REQUEST', `${target.path} has no ${how} "${message.kind}"`);
  }

  #pendingOptions(target: Target, message: AnyMessage, options: AskOptions): ConstructorParameters<typeof Pending>[0] {
    const { clock, deadLetters } = this.#world;
    const { path } = target;
    const { kind } = message;
    return { clock, path, kind, ...options, onLate: () => deadLetters.add('late-answer', path, kind) };
  }

  #put(target: Target, message: AnyMessage, kind: KindTable, waiting: Waiting): void {
    const envelope = new Envelope(message, bytesOf(kind, message), waiting);
    // Given up before it was sent: nobody needs to see it.
    if (envelope.isGivenUp) return;
    if (waiting.asker !== undefined && target.refusesCircle?.(envelope) === true) return;
    const offered = target.offer(envelope, true);
    if (offered === 'taken' || offered === 'waits') return;
    this.#refused(target, envelope, offered);
  }

  #refused(target: Target, envelope: Envelope, offered: 'waits' | 'full' | 'too-large' | 'ended'): void {
    const why = offered === 'waits' ? 'full' : offered;
    this.#world.deadLetters.add(refusalReason[why], target.path, envelope.message.kind);
    envelope.discard(refusal(why, target.path, envelope.bytes));
  }
}
