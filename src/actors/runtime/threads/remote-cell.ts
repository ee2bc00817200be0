/**
 * Remote cell: an incarnation in another thread, as its supervisor in the main thread holds it. It ends when the thread
 * says so, or with the thread.
 *
 * A thread that does not answer in time is stuck: something in it does not give it back. It is ended by force, with all
 * that lives in it; one that holds native handles cannot be, and then only the process can go.
 */
import { StoreError } from '../../../core/base/errors.ts';
import { mailboxLimits } from '../core/mailbox.ts';
import { tableOf } from '../core/table.ts';
import { type ActorReport, type Incarnation, type Spec, stopped, type World } from '../core/target.ts';
import type { Envelope } from '../core/envelope.ts';
import type { EndReason, StopOptions } from '../core/types.ts';
import type { Link } from './link.ts';
import { Remote } from './remote.ts';

/** The thread that it is in. */
export interface HomeThread {
  readonly name: string;
  readonly link: Link;
  readonly reports: () => Promise<readonly ActorReport[]>;
  /** It does not answer. */
  readonly stuck: (why: string) => void;
  /** The actor has ended: the thread may not be needed any more. Resolves when it is not, or has gone. */
  readonly leave: (cell: RemoteCell) => Promise<void>;
}

/** What a thread may take longer than an actor's own deadline. */
const GRACE_MS = 2_000;

export class RemoteCell extends Remote implements Incarnation {
  readonly spec: Spec;
  isStopAsked = false;
  readonly #home: HomeThread;
  readonly #world: World;
  #started: (() => void) | undefined;
  #hasStarted = false;
  #cancelGuard: (() => void) | undefined;

  constructor(world: World, spec: Spec, incarnation: number, id: number, home: HomeThread) {
    const table = tableOf(spec.definition.protocol);
    const limits = mailboxLimits(spec.definition.mailbox);
    super({ id, path: spec.path, incarnation, table, limits }, home.link, world);
    this.spec = spec;
    this.#world = world;
    this.#home = home;
  }

  async start(): Promise<void> {
    const { spec, incarnation, id } = this;
    const { definition, args, name, path, startDeadlineMs, stopDeadlineMs } = spec;
    const { module = '' } = definition;
    this.#world.join(this);
    const started = new Promise<void>((resolve) => {
      this.#started = resolve;
    });
    const plain = { module, definition: definition.name, args, name, path, startDeadlineMs, stopDeadlineMs };
    this.link.control({ kind: 'spawn', id, incarnation, spec: plain }, this);
    this.#guard(startDeadlineMs + GRACE_MS, 'start');
    await Promise.race([started, this.ended]);
    if (this.reason === undefined) {
      this.#cancelGuard?.();
      return;
    }
    throw this.reason.kind === 'failed' ? this.reason.error : stopped(path);
  }

  /** The thread says that it runs. */
  hasStarted(): void {
    this.#hasStarted = true;
    this.#started?.();
  }

  override async stop(options?: StopOptions): Promise<void> {
    this.isStopAsked = true;
    await this.end(options);
  }

  async end(options: StopOptions = {}): Promise<void> {
    if (this.reason === undefined) {
      const deadlineMs = options.deadlineMs ?? this.spec.stopDeadlineMs;
      this.link.control({ kind: 'end', id: this.id, options: { ...options, deadlineMs } });
      this.#guard(deadlineMs + GRACE_MS, 'stop');
    }
    await this.ended;
  }

  override kill(): void {
    super.kill();
    if (this.reason === undefined) this.#guard(GRACE_MS, 'end');
  }

  override hasEnded(reason: EndReason): void {
    if (this.reason !== undefined) return;
    this.#cancelGuard?.();
    this.#world.leave(this);
    super.hasEnded(reason);
    void this.#home.leave(this);
  }

  /** Its arguments cannot be cloned. */
  override unsent(envelope: Envelope | undefined, error: StoreError): void {
    if (envelope !== undefined) super.unsent(envelope, error);
    else
      this.hasEnded({ kind: 'failed', error: new StoreError('BAD_REQUEST', `args of ${this.path}: ${error.message}`) });
  }

  async report(): Promise<ActorReport> {
    const hasEnded = this.reason !== undefined;
    const reports = hasEnded ? [] : await this.#home.reports();
    const { messages, bytes } = this.waiting;
    const found = reports.find(({ path }) => path === this.path);
    const own = {
      path: this.path,
      name: this.spec.definition.name,
      incarnation: this.incarnation,
      thread: this.#home.name,
    };
    if (found === undefined) {
      const { limits } = this;
      const waits = { mailbox: messages, mailboxBytes: bytes, limits };
      const phase = hasEnded ? 'ended' : this.#hasStarted ? 'unknown' : 'starting';
      return { ...own, ...waits, phase, handled: 0, handling: [], children: [] };
    }
    return {
      ...found,
      ...own,
      mailbox: Math.max(messages, found.mailbox),
      mailboxBytes: Math.max(bytes, found.mailboxBytes),
      mailboxMost: Math.max(messages, found.mailboxMost ?? 0),
    };
  }

  #guard(deadlineMs: number, what: string): void {
    this.#cancelGuard?.();
    this.#cancelGuard = this.#world.clock.after(deadlineMs, () =>
      this.#home.stuck(`${this.path} did not ${what} in ${deadlineMs} ms`),
    );
  }
}
