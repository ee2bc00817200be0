/**
 * Link: this thread's end of a port to another, over which its actors and those there speak.
 *
 * What leaves is gathered by an outbox; what comes is read here, op by op, and given to whom it is for.
 *
 * Invariants:
 *  - ops arrive in the order in which they were put, and so do the messages of one sender;
 *  - a call is open until it is answered, given up, or the other side is gone: then each is told.
 */
import { askersFrom, type Asker, plainAskers } from '../core/asker.ts';
import { unreachable } from '../../../core/base/assert.ts';
import type { StoreError } from '../../../core/base/errors.ts';
import { Cell } from '../core/cell.ts';
import type { ActorClock } from '../core/clock.ts';
import type { DeadLetters } from '../core/dead-letters.ts';
import { type Answer, Envelope, type Sink, type Waiting } from '../core/envelope.ts';
import type { AnyMessage } from '../core/protocol.ts';
import { bytesOf, type KindTable } from '../core/table.ts';
import { refusal, refusalReason, stopped, type Target } from '../core/target.ts';
import { fromPlain, type MessagePort, type PlainFailure, toPlain } from '../thread.ts';
import type { EndReason } from '../core/types.ts';
import { FarAnswer, FarSink, Inbox } from './far.ts';
import { type Control, KIND_UNIT, OP } from './ops.ts';
import { NOBODY, type OpOwner, Outbox } from './outbox.ts';
import { type Posted, Spin } from './spin.ts';

export interface LinkWorld {
  readonly clock: ActorClock;
  readonly deadLetters: DeadLetters;
  find(id: number): Target | undefined;
  /** A field that holds a ref, as it leaves and as it comes. */
  exportRef(value: unknown): unknown;
  importRef(value: unknown): unknown;
  control(control: Control): void;
  /** So many messages have left the mailbox over there. */
  taken(id: number, count: number): void;
}

/** An actor on the other side. */
export interface FarActor extends Target {
  hasEnded(reason: EndReason): void;
}

interface Call {
  readonly path: string;
  readonly waits: Answer | Sink;
}

export class Link {
  readonly #port: MessagePort;
  readonly #world: LinkWorld;
  readonly #outbox: Outbox;
  #calls = 0;
  /** Calls of this side. */
  readonly #open = new Map<number, Call>();
  /** Calls of the other side. */
  readonly #served = new Map<number, FarAnswer | FarSink>();
  readonly #attached = new Set<FarActor>();
  readonly #inboxes = new Map<number, Inbox>();
  /** Those whose senders have something to hear with the next message. */
  readonly #unacknowledged = new Set<Inbox>();
  #closed: StoreError | undefined;
  readonly #spin: Spin;
  /** What leaves next asks for something, or answers. */
  #expects = false;

  constructor(port: MessagePort, posted: Posted, world: LinkWorld) {
    this.#port = port;
    this.#world = world;
    this.#outbox = new Outbox(port, {
      onLeave: () => this.#acknowledge(),
      onUnsent: ({ waiting: { answer, sink } }) => this.#forget(answer ?? sink),
      onPosted: () => posted.add(),
      onLeft: () => {
        if (this.#expects) this.#spin.plan();
        this.#expects = false;
      },
    });
    this.#spin = new Spin(port, posted, (batch) => this.#receive(batch as unknown[]));
    port.on('message', (batch: unknown[]) => {
      this.#spin.came();
      this.#receive(batch);
    });
  }

  /** Puts one op, to leave with this turn's others. */
  put(owner: OpOwner, ...parts: readonly unknown[]): void {
    const batch = this.#outbox.begin(owner, undefined);
    if (parts[0] === OP.answer) this.#expects = true;
    for (const part of parts) batch.push(part);
  }

  control(control: Control, owner: OpOwner = NOBODY): void {
    this.put(owner, OP.control, control);
  }

  /** Puts a message for an actor over there. */
  message(owner: OpOwner, target: Target, envelope: Envelope): void {
    const { message, waiting } = envelope;
    const kind = target.table.byKind[message.kind] as KindTable;
    const { answer, sink, trace, transfer, asker } = waiting;
    const batch = this.#outbox.begin(owner, envelope);
    if (trace !== undefined) batch.push(OP.traced, trace);
    if (asker !== undefined) batch.push(OP.asked, plainAskers(asker));
    const head = kind.number * KIND_UNIT + kind.fields.length;
    const { id } = target;
    if (answer !== undefined) this.#expects = true;
    if (answer !== undefined) batch.push(OP.ask, id, head, this.#call(answer, target), this.#remainingMs(answer));
    else if (sink !== undefined) batch.push(OP.stream, id, head, this.#call(sink, target), sink.window);
    else batch.push(OP.tell, id, head);
    const fields = message as unknown as Readonly<Record<string, unknown>>;
    if (kind.refs.length === 0) for (const field of kind.fields) batch.push(fields[field]);
    else {
      for (const field of kind.fields) {
        batch.push(kind.refs.includes(field) ? this.#world.exportRef(fields[field]) : fields[field]);
      }
    }
    if (transfer !== undefined) this.#outbox.transfer(transfer);
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /** It is over there, and ends with the link. */
  attach(far: FarActor): void {
    this.#attached.add(far);
    far.watch(() => void this.#attached.delete(far));
  }

  /** An answer came here for somebody who had given up. */
  late(): void {
    this.#world.deadLetters.add('late-answer', 'another thread', 'unknown');
  }

  /** Nothing goes or comes any more: whoever waits is told. May be called twice. */
  close(reason: StoreError): void {
    if (this.#closed !== undefined) return;
    this.#outbox.close();
    this.#closed = reason;
    this.#spin.cancel();
    this.#port.close();
    for (const { waits, path } of this.#open.values()) waits.reject(stopped(path, { kind: 'failed', error: reason }));
    this.#open.clear();
    // Nobody is there to be answered; what is under way here may as well end.
    for (const served of this.#served.values()) served.gone(reason);
    this.#served.clear();
    for (const far of [...this.#attached]) far.hasEnded({ kind: 'failed', error: reason });
  }

  // ── out ──

  #call(waits: Answer | Sink, target: Target): number {
    const call = ++this.#calls;
    this.#open.set(call, { waits, path: target.path });
    waits.onGiveUp = (reason) => {
      if (this.#open.delete(call)) this.put(NOBODY, OP.giveUp, call, toPlain(reason));
    };
    if ('window' in waits) {
      let taken = 0;
      waits.onItemTaken = () => {
        taken++;
        if (taken < waits.window / 2) return;
        this.put(NOBODY, OP.want, call, taken);
        taken = 0;
      };
    }
    return call;
  }

  #remainingMs(answer: Answer): number {
    return Math.max(0, answer.deadlineAtMs - this.#world.clock.nowMs());
  }

  /** Who sent what has left a mailbox here hears of it with the next ops. */
  #acknowledge(): void {
    for (const inbox of this.#unacknowledged) {
      this.#outbox.begin(NOBODY, undefined).push(OP.taken, inbox.id, inbox.take());
    }
    this.#unacknowledged.clear();
  }

  /** It never left: what it was to answer is not open. */
  #forget(waits: Answer | Sink | undefined): void {
    for (const [call, open] of this.#open) if (open.waits === waits) this.#open.delete(call);
  }

  // ── in ──

  #receive(batch: readonly unknown[]): void {
    let at = 0;
    let trace: string | undefined;
    let asker: Asker | undefined;
    while (at < batch.length) {
      const op = batch[at] as (typeof OP)[keyof typeof OP];
      switch (op) {
        case OP.tell:
          at = this.#tell(batch, at + 1, trace);
          trace = undefined;
          break;
        case OP.ask:
        case OP.stream:
          at = this.#ask(batch, at + 1, op, { trace, asker });
          trace = undefined;
          asker = undefined;
          break;
        case OP.traced:
          trace = batch[at + 1] as string;
          at += 2;
          break;
        case OP.asked:
          asker = askersFrom(batch[at + 1] as (number | string)[]);
          at += 2;
          break;
        case OP.answer:
        case OP.failed:
        case OP.item:
          this.#answered(op, batch[at + 1] as number, batch[at + 2]);
          at += 3;
          break;
        case OP.end:
          this.#answered(op, batch[at + 1] as number, undefined);
          at += 2;
          break;
        case OP.giveUp:
          this.#served.get(batch[at + 1] as number)?.giveUp(fromPlain(batch[at + 2] as PlainFailure, 'asker'));
          this.#served.delete(batch[at + 1] as number);
          at += 3;
          break;
        case OP.want: {
          const sink = this.#served.get(batch[at + 1] as number);
          if (sink instanceof FarSink) sink.want(batch[at + 2] as number);
          at += 3;
          break;
        }
        case OP.taken:
          this.#world.taken(batch[at + 1] as number, batch[at + 2] as number);
          at += 3;
          break;
        case OP.control:
          this.#world.control(batch[at + 1] as Control);
          at += 2;
          break;
        default:
          unreachable(op);
      }
    }
  }

  #tell(batch: readonly unknown[], at: number, trace: string | undefined): number {
    const id = batch[at] as number;
    const head = batch[at + 1] as number;
    this.#deliver(id, head, batch, at + 2, trace === undefined ? {} : { trace });
    return at + 2 + (head % KIND_UNIT);
  }

  #ask(batch: readonly unknown[], at: number, op: number, given: Pick<Waiting, 'trace' | 'asker'>): number {
    const id = batch[at] as number;
    const head = batch[at + 1] as number;
    const call = batch[at + 2] as number;
    const amount = batch[at + 3] as number;
    const done = (): void => {
      this.#served.delete(call);
    };
    if (op === OP.ask) {
      const answer = new FarAnswer(this, call, done, this.#world.clock.nowMs() + amount);
      this.#served.set(call, answer);
      this.#deliver(id, head, batch, at + 4, { ...given, answer });
    } else {
      const sink = new FarSink(this, call, done, amount);
      this.#served.set(call, sink);
      this.#deliver(id, head, batch, at + 4, { ...given, sink });
    }
    return at + 4 + (head % KIND_UNIT);
  }

  #deliver(id: number, head: number, batch: readonly unknown[], at: number, waiting: Waiting): void {
    const target = this.#world.find(id);
    const kind = target?.table.byNumber[Math.floor(head / KIND_UNIT)];
    if (target === undefined || kind === undefined) {
      const path = `an actor (${id})`;
      this.#world.deadLetters.add('stopped', path, kind?.kind ?? 'unknown');
      new Envelope(NO_MESSAGE, 0, waiting).discard(stopped(path));
      return;
    }
    const message: Record<string, unknown> = { kind: kind.kind };
    for (let i = 0; i < kind.fields.length; i++) {
      const value = batch[at + i];
      if (value !== undefined) message[kind.fields[i] as string] = value;
    }
    for (const field of kind.refs) {
      if (message[field] !== undefined) message[field] = this.#world.importRef(message[field]);
    }
    const sent = message as unknown as AnyMessage;
    const onTaken = this.#inboxOf(target).onTaken;
    const envelope = new Envelope(sent, bytesOf(kind, sent), { ...waiting, onTaken });
    if (target instanceof Cell) target.accept(envelope);
    else this.#forward(target, envelope);
  }

  /** To a third thread: from here on it is a message like any other. */
  #forward(target: Target, envelope: Envelope): void {
    const offered = target.offer(envelope, true);
    if (offered === 'taken' || offered === 'waits') return;
    envelope.waiting.onTaken?.(envelope.bytes);
    this.#world.deadLetters.add(refusalReason[offered], target.path, envelope.message.kind);
    envelope.discard(refusal(offered, target.path, envelope.bytes));
  }

  #answered(op: number, call: number, value: unknown): void {
    const open = this.#open.get(call);
    if (open === undefined) {
      if (op === OP.answer) this.late();
      return;
    }
    const { waits, path } = open;
    if (op === OP.item) {
      (waits as Sink).item(value);
      return;
    }
    this.#open.delete(call);
    if (op === OP.failed) waits.reject(fromPlain(value as PlainFailure, path));
    else if ('resolve' in waits) waits.resolve(value);
    else waits.end();
  }

  #inboxOf(target: Target): Inbox {
    const { id } = target;
    const known = this.#inboxes.get(id);
    if (known !== undefined) return known;
    const inbox = new Inbox(target, (isMuch) => {
      this.#unacknowledged.add(inbox);
      if (isMuch) this.#outbox.plan();
    });
    this.#inboxes.set(id, inbox);
    target.watch(() => void this.#inboxes.delete(id));
    return inbox;
  }
}

const NO_MESSAGE: AnyMessage = { kind: 'unknown' };
