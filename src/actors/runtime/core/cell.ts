/**
 * Cell: one incarnation of an actor in this thread: its mailbox, its state, and the turns that bring the two together.
 *
 *   starting → running → (draining →) ending → ended
 *
 * One message is handled at a time. While a handler's promise is open the cell is busy and takes nothing. When the end
 * begins, everybody who waits for it is told in that same turn; then its children end, newest first, its stop hook
 * releases what `start` took, and only after that watchers hear of it and a successor may start.
 *
 * Invariants:
 *  - no handler runs before `start` has returned, or after the end has begun;
 *  - at most one handler is open; a stream's generator runs beside it, between its own awaits;
 *  - every envelope that was offered and taken is handled or discarded once.
 */
import { isStoreError, StoreError } from '../../../core/base/errors.ts';
import { askCycle, asker, type Asker, waitsIn } from './asker.ts';
import { CellContext } from './cell-context.ts';
import { type AnyHandler, STASHED } from './define.ts';
import type { DeadLetterReason } from './dead-letters.ts';
import { Ending } from './ending.ts';
import { Envelope } from './envelope.ts';
import { Hand } from './hand.ts';
import { Handling } from './handling.ts';
import { Mailbox, type MailboxLimits, mailboxLimits, type Offered } from './mailbox.ts';
import { Nursery } from './nursery.ts';
import type { AnyMessage } from './protocol.ts';
import type { Runnable } from './run-queue.ts';
import { superviseRules } from './strategy.ts';
import { isAbort, Streams } from './streams.ts';
import { type Table, tableOf } from './table.ts';
import { type ActorReport, type Incarnation, shortOf, type Spec, stopped, type World } from './target.ts';
import { ActorTimers } from './timers.ts';
import type { DeathNotice, EndReason, StopOptions } from './types.ts';

type Phase = 'starting' | 'running' | 'draining' | 'ending' | 'ended';

export class Cell implements Incarnation, Runnable {
  readonly path: string;
  readonly incarnation: number;
  readonly id: number;
  readonly limits: MailboxLimits;
  readonly table: Table;
  readonly spec: Spec;
  readonly world: World;
  readonly mailbox: Mailbox;
  readonly nursery: Nursery;
  readonly timers: ActorTimers;
  readonly stash: Envelope[] = [];
  isQueued = false;
  isStopAsked = false;
  /** It stops itself after the message in hand. */
  isDone = false;
  handlers: Readonly<Record<string, AnyHandler>>;
  readonly #context: CellContext;
  readonly #hand: Hand;
  readonly #ending: Ending;
  readonly #streams: Streams;
  readonly #beacon: Int32Array | undefined;
  readonly #handling: Handling;
  #phase: Phase = 'starting';
  #state: { readonly value: unknown } | undefined;
  #isEndAsked = false;
  #handled = 0;
  /** What those are told whose messages will not be handled. */
  #clearing: StoreError | undefined;

  constructor(world: World, spec: Spec, incarnation: number, id: number) {
    this.world = world;
    this.spec = spec;
    this.path = spec.path;
    this.incarnation = incarnation;
    this.id = id;
    this.limits = mailboxLimits(spec.definition.mailbox);
    this.table = tableOf(spec.definition.protocol);
    this.handlers = spec.definition.parts.handlers['on'] ?? {};
    this.#beacon = world.beacon;
    this.#handling = new Handling(world.clock);
    this.mailbox = new Mailbox(spec.path, this.limits, this.#discarded);
    this.timers = new ActorTimers({
      clock: world.clock,
      tick: (message, onTaken) => this.#tick(message, onTaken),
    });
    this.nursery = new Nursery(world, spec.path, superviseRules(spec.definition.supervise), (error) =>
      this.fail(error),
    );
    this.#streams = new Streams(spec.path, (error) => this.fail(error));
    this.#hand = new Hand(world.clock);
    this.#ending = new Ending(world, { path: this.path, incarnation });
    this.#context = new CellContext(this);
  }

  // ── life ──

  async start(): Promise<void> {
    const { definition, args, startDeadlineMs } = this.spec;
    this.world.join(this);
    const late = (): void =>
      this.fail(new StoreError('DEADLINE_EXCEEDED', `${this.path} did not start in ${startDeadlineMs} ms`));
    const cancel = this.world.clock.after(startDeadlineMs, late);
    const starting = (async () => definition.parts.start(this.#context, args))();
    try {
      await Promise.race([starting.then((value) => this.#started(value)), this.ended]);
    } catch (error) {
      this.fail(error);
    } finally {
      cancel();
    }
    const { reason } = this.#ending;
    if (reason === undefined) return;
    void this.#releaseLate(starting, reason);
    await this.ended;
    throw reason.kind === 'failed' ? reason.error : stopped(this.path);
  }

  /** A start that was given up may yet take something: it is released when it does. */
  async #releaseLate(starting: Promise<unknown>, reason: EndReason): Promise<void> {
    try {
      const value = await starting;
      if (this.#state === undefined) await this.#release(value, reason);
    } catch {
      // It threw: it has nothing, and whoever spawned it was told.
    }
  }

  #started(value: unknown): void {
    if (this.#phase !== 'starting') return;
    this.#state = { value };
    this.#phase = this.#isEndAsked ? 'draining' : 'running';
    if (this.isReady) this.world.wake(this);
  }

  stop(options?: StopOptions): Promise<void> {
    this.isStopAsked = true;
    return this.end(options);
  }

  async end({ drain = true, deadlineMs = this.spec.stopDeadlineMs }: StopOptions = {}): Promise<void> {
    if (!this.isEnding) {
      this.#isEndAsked = true;
      this.#forceAfter(deadlineMs);
      if (!drain) {
        this.#clear('stopped', { kind: 'stopped' });
        this.isDone = true;
      }
      if (this.#phase === 'running') this.#phase = 'draining';
      if (this.isReady) this.world.wake(this);
    }
    await this.ended;
  }

  kill(): void {
    this.#ending.force();
    this.#end({ kind: 'killed' });
  }

  /** Something of it threw: it ends, and its supervisor decides. */
  fail(error: unknown): void {
    this.#end({ kind: 'failed', error: error instanceof Error ? error : new StoreError('INTERNAL', String(error)) });
  }

  watch(listener: (notice: DeathNotice) => void): () => void {
    return this.#ending.watch(listener);
  }

  /** Resolves when it is over; never rejects. */
  get ended(): Promise<EndReason> {
    return this.#ending.ended;
  }

  get isEnding(): boolean {
    return this.#phase === 'ending' || this.#phase === 'ended';
  }

  /** Nothing of this actor is wanted any more: whoever waits hears it now, the rest takes its time. */
  #end(reason: EndReason): void {
    if (this.isEnding) return;
    this.#phase = 'ending';
    this.#ending.begin(reason);
    const error = stopped(this.path, reason);
    this.#hand.envelope?.discard(error);
    this.#hand.abort(error);
    this.#streams.close(error);
    this.#clear('stopped', reason);
    this.timers.close();
    if (!this.#ending.isTimed) this.#forceAfter(this.spec.stopDeadlineMs);
    const orderly = async (): Promise<void> => {
      await this.nursery.stop();
      if (this.#state !== undefined && reason.kind !== 'killed') await this.#release(this.#state.value, reason);
    };
    void this.#ending.finish(reason, { orderly, byForce: () => this.nursery.kill() }, () => {
      this.#phase = 'ended';
      this.world.leave(this);
    });
  }

  async #release(value: unknown, reason: EndReason): Promise<void> {
    try {
      await this.spec.definition.parts.stop?.(value, reason);
    } catch (error) {
      this.world.log('error', 'actor.stop.failed', { path: this.path, message: String(error) });
    }
  }

  #forceAfter(deadlineMs: number): void {
    this.#ending.forceAfter(deadlineMs, () => this.#end({ kind: 'killed' }));
  }

  #clear(why: DeadLetterReason, reason: EndReason): void {
    this.#clearing = stopped(this.path, reason);
    for (const envelope of this.stash.splice(0)) this.#discarded(envelope, why);
    this.mailbox.clear(why);
  }

  readonly #discarded = (envelope: Envelope, reason: DeadLetterReason): void => {
    this.world.deadLetters.add(reason, this.path, envelope.message.kind);
    envelope.discard(this.#clearing ?? stopped(this.path));
  };

  // ── turns ──

  offer(envelope: Envelope, mayWait: boolean): Offered | 'ended' {
    if (this.#isEndAsked || this.isEnding) return 'ended';
    const offered = this.mailbox.offer(envelope, mayWait);
    if (offered === 'taken' && !this.isQueued && this.isReady) this.world.wake(this);
    return offered;
  }

  /** A message from another thread, whose sender has counted it. */
  accept(envelope: Envelope): void {
    if (envelope.waiting.asker !== undefined && this.refusesCircle(envelope)) {
      envelope.waiting.onTaken?.(envelope.bytes);
      return;
    }
    this.mailbox.accept(envelope);
    if (this.isEnding) this.#clear('stopped', this.#ending.reason ?? { kind: 'stopped' });
    else if (this.isReady) this.world.wake(this);
  }

  /** Who asks for the message in hand, and this actor after it. */
  get asker(): Asker | undefined {
    const { envelope, turn } = this.#hand;
    return envelope === undefined
      ? undefined
      : asker({ boot: '', id: this.id, path: this.path, turn }, envelope.waiting.asker);
  }

  /** An ask that its own open handler waits for, over whatever others, would never be handled: it is refused. */
  refusesCircle(envelope: Envelope): boolean {
    const line = envelope.waiting.asker;
    const hand = this.#hand;
    if (line === undefined || hand.envelope === undefined || !waitsIn(line, this.id, hand.turn)) return false;
    // Its handler may yet return, and wait for nothing.
    if (hand.isBusy) this.#refuseCircle(envelope);
    else hand.askOfItself = { envelope, turn: hand.turn };
    return hand.isBusy;
  }

  #refuseCircle(envelope: Envelope): void {
    const { asker: line } = envelope.waiting;
    if (line !== undefined) envelope.discard(askCycle(line, this.path));
  }

  get isReady(): boolean {
    if (this.#hand.isBusy || (this.#phase !== 'running' && this.#phase !== 'draining')) return false;
    return this.#phase === 'draining' || this.isDone || !this.mailbox.isEmpty;
  }

  run(messagesMax: number): number {
    let handled = 0;
    while (handled < messagesMax && !this.#hand.isBusy && !this.isEnding) {
      if (this.isDone) {
        this.#end({ kind: this.#phase === 'draining' ? 'stopped' : 'done' });
        break;
      }
      const envelope = this.mailbox.take();
      if (envelope === undefined) {
        if (this.#phase === 'draining') this.#end({ kind: 'stopped' });
        break;
      }
      handled++;
      this.#handle(envelope);
    }
    return handled;
  }

  #handle(envelope: Envelope): void {
    const { message } = envelope;
    const { sink } = envelope.waiting;
    if (envelope.isGivenUp && envelope.waiting.admission === undefined) {
      this.world.deadLetters.add('given-up', this.path, message.kind);
      return;
    }
    const handler = this.handlers[message.kind];
    if (handler === undefined) {
      this.world.deadLetters.add('unhandled', this.path, message.kind);
      envelope.discard(new StoreError('BAD_REQUEST', `${this.path} has no "${message.kind}"`));
      return;
    }
    this.#hand.take(envelope);
    const beacon = this.#beacon;
    if (beacon !== undefined) this.#mark(beacon, message.kind);
    // Left there when it is done: a cell with nothing in hand asks for nobody.
    this.world.running.cell = this;
    const isTimed = this.#hand.turn === this.#handling.timedTurn;
    const beganMs = isTimed ? this.#handling.begin() : 0;
    let result: unknown;
    try {
      if (sink === undefined) result = handler(this.#state?.value, message, this.#context);
      else this.#streams.begin(sink, (signal) => this.#itemsOf(handler, message, signal));
    } catch (error) {
      this.#threw(envelope, error);
      return;
    } finally {
      if (beacon !== undefined) beacon[0] = 0;
    }
    if (isThenable(result)) void this.#wait(envelope, result);
    else {
      if (isTimed) this.#handling.returned(message.kind, beganMs);
      this.#finish(envelope, result);
    }
  }

  #itemsOf(handler: AnyHandler, message: AnyMessage, signal: AbortSignal): AsyncIterable<unknown> {
    // The definition's types say that a stream's handler gives items.
    return handler(this.#state?.value, message, this.#context, signal) as AsyncIterable<unknown>;
  }

  async #wait(envelope: Envelope, promise: PromiseLike<unknown>): Promise<void> {
    this.#hand.wait(envelope);
    // From here on others run.
    this.world.running.cell = undefined;
    const { askOfItself, turn } = this.#hand;
    if (askOfItself?.turn === turn) this.#refuseCircle(askOfItself.envelope);
    try {
      this.#finish(envelope, await promise);
    } catch (error) {
      this.#threw(envelope, error);
    }
    this.#handling.settled(envelope.message.kind, this.#hand.sinceMs);
    this.#hand.isBusy = false;
    if (this.isReady) this.world.wake(this);
  }

  #finish(envelope: Envelope, value: unknown): void {
    this.#hand.envelope = undefined;
    if (this.isEnding) return;
    if (value === STASHED) this.#putAside(envelope);
    else {
      this.#handled++;
      envelope.waiting.answer?.resolve(value);
    }
  }

  /** A StoreError to an asker is an answer; anything else is a bug, and the end of this incarnation. */
  #threw(envelope: Envelope, error: unknown): void {
    this.#hand.envelope = undefined;
    if (this.isEnding) return;
    const { answer, sink } = envelope.waiting;
    const isGivenUp = this.#hand.isAborted && isAbort(error);
    const asker = answer ?? sink;
    if (asker !== undefined && (isStoreError(error) || isGivenUp)) {
      this.#handled++;
      if (!isGivenUp) asker.reject(error as StoreError);
      return;
    }
    envelope.discard(stopped(this.path, { kind: 'failed', error: error as Error }));
    this.fail(error);
  }

  #putAside(envelope: Envelope): void {
    if (this.stash.length < this.mailbox.limits.messagesMax) {
      this.stash.push(envelope);
      return;
    }
    this.world.deadLetters.add('stash-full', this.path, envelope.message.kind);
    envelope.discard(new StoreError('OVERLOADED', `${this.path} has put aside as much as it can`));
  }

  #tick(message: AnyMessage, onTaken: () => void): void {
    const envelope = new Envelope(message, 0, { onTaken });
    if (this.offer(envelope, false) === 'taken') return;
    onTaken();
    this.world.deadLetters.add('full', this.path, message.kind);
  }

  /** A death that it watches: before all messages. */
  notice(message: AnyMessage): void {
    if (this.isEnding) return;
    this.mailbox.notify(new Envelope(message, 0));
    if (this.isReady) this.world.wake(this);
  }

  /** For another thread's watchdog: whose handler runs, and which. */
  #mark(beacon: Int32Array, kind: string): void {
    beacon[1] = this.table.byKind[kind]?.number ?? -1;
    beacon[2] = ((beacon[2] ?? 0) + 1) | 0;
    beacon[0] = shortOf(this.id);
  }

  // ── the message in hand ──

  get current(): Envelope | undefined {
    return this.#hand.envelope;
  }

  get signal(): AbortSignal {
    return this.#hand.signal(() => {
      const isOver = this.isEnding || this.current?.isGivenUp === true;
      return isOver ? stopped(this.path, this.#ending.reason) : undefined;
    });
  }

  /** Since when its handler has not returned; undefined when none is open. */
  get busy(): { readonly kind: string; readonly forMs: number } | undefined {
    return this.#hand.busy;
  }

  async report(): Promise<ActorReport> {
    return {
      path: this.path,
      name: this.spec.definition.name,
      incarnation: this.incarnation,
      thread: this.world.threadName,
      phase: this.#phase,
      mailbox: this.mailbox.length,
      mailboxBytes: this.mailbox.bytes,
      mailboxMost: this.mailbox.most,
      limits: this.limits,
      handled: this.#handled,
      handling: this.#handling.report(),
      busyWith: this.busy,
      children: await this.nursery.report(),
    };
  }
}

/** Libraries have promises of their own. */
const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { readonly then?: unknown }).then === 'function';
