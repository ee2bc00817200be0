/**
 * Port cell: one incarnation of a port actor, as its supervisor holds it: a thread, and what may be asked of it.
 *
 * Its thread loads from its making on, so that actors which are spawned together load together, whatever order they
 * start in. Its end is that of its thread: however that came, whoever waits is told, and a successor may start.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { Envelope } from '../core/envelope.ts';
import { type MailboxLimits, mailboxLimits, type Offered } from '../core/mailbox.ts';
import { type Table, tableOf } from '../core/table.ts';
import { type ActorReport, type Incarnation, type Spec, stopped, tellWatchers, type World } from '../core/target.ts';
import type { DeathNotice, EndReason, StopOptions } from '../core/types.ts';
import { type BreakDown, Thread } from '../thread.ts';
import type { PortLife } from './port-actor.ts';
import type { Watched } from './pulse-watchdog.ts';

export class PortCell implements Incarnation, Watched {
  readonly path: string;
  readonly name: string;
  readonly incarnation: number;
  readonly id: number;
  readonly table: Table;
  readonly limits: MailboxLimits;
  readonly spec: Spec;
  readonly ended: Promise<EndReason>;
  readonly isKilledWhenStuck: boolean;
  isStopAsked = false;
  /** Its thread has not answered for long; kept by the watchdog. */
  isStuck = false;
  readonly #world: World;
  readonly #life: PortLife;
  readonly #thread: Thread<unknown>;
  readonly #args: Promise<unknown>;
  readonly #watchers = new Set<(notice: DeathNotice) => void>();
  #phase: 'starting' | 'running' | 'ending' | 'ended' = 'starting';
  #reason: EndReason | undefined;
  #isKilled = false;
  #asked = 0;

  constructor(world: World, spec: Spec, incarnation: number, id: number) {
    this.#world = world;
    this.spec = spec;
    this.path = spec.path;
    this.name = spec.name;
    this.incarnation = incarnation;
    this.id = id;
    this.table = tableOf(spec.definition.protocol);
    this.limits = mailboxLimits(spec.definition.mailbox);
    // portActor's type says so: nothing else is spawned with its definition.
    this.#life = spec.args as PortLife;
    this.isKilledWhenStuck = this.#life.isKilledWhenStuck;
    const { ports, args } = this.#life.begin();
    this.#args = args;
    // It may come to nothing before anybody waits for it.
    args.catch(() => {});
    this.#thread = new Thread<unknown>({
      name: spec.name,
      module: this.#life.url,
      ...(ports === undefined ? {} : { ports }),
      log: world.log,
      control: this.#life.control,
      startDeadlineMs: spec.startDeadlineMs,
    });
    this.ended = this.#watchThread();
  }

  async start(): Promise<void> {
    this.#world.join(this);
    try {
      const args = await Promise.race([this.#args, this.ended.then((reason) => Promise.reject(this.#why(reason)))]);
      const started = await this.#thread.start(args);
      if (this.#phase === 'starting') this.#phase = 'running';
      this.#life.started(started);
    } catch (error) {
      // Nothing of it is left when that is told.
      if (this.#phase !== 'ended') await this.end();
      throw error;
    }
  }

  stop(options?: StopOptions): Promise<void> {
    this.isStopAsked = true;
    return this.end(options);
  }

  async end({ deadlineMs = this.spec.stopDeadlineMs }: StopOptions = {}): Promise<void> {
    if (this.#phase !== 'ended') {
      this.#phase = 'ending';
      await this.#thread.stop(deadlineMs);
    }
    await this.ended;
  }

  kill(): void {
    this.#isKilled = true;
    void this.#thread.kill(new StoreError('ACTOR_STOPPED', `${this.spec.name} was killed`));
  }

  /** It does not give its thread back. */
  endByForce(reason: StoreError): void {
    void this.#thread.kill(reason);
  }

  offer(envelope: Envelope, _mayWait: boolean): Offered | 'ended' {
    if (this.#phase === 'ending' || this.#phase === 'ended') return 'ended';
    if (this.#asked >= this.limits.messagesMax) return 'full';
    void this.#answer(envelope);
    return 'taken';
  }

  watch(listener: (notice: DeathNotice) => void): () => void {
    if (this.#reason !== undefined && this.#phase === 'ended') listener(this.#notice(this.#reason));
    else this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  /** Resolves when the thread's event loop has gone round; rejects when it has ended. Without a deadline of use. */
  pulse(): Promise<unknown> {
    return this.#thread.inspect(PULSE_DEADLINE_MS);
  }

  get phase(): 'starting' | 'running' | 'stuck' | 'ending' | 'ended' {
    return this.#phase === 'running' && this.isStuck ? 'stuck' : this.#phase;
  }

  report(): Promise<ActorReport> {
    return Promise.resolve({
      path: this.path,
      name: this.spec.definition.name,
      incarnation: this.incarnation,
      thread: this.spec.name,
      phase: this.phase,
      ...this.#life.gauges(),
      children: [],
    });
  }

  async #answer({ message, bytes, waiting: { answer, onTaken } }: Envelope): Promise<void> {
    this.#asked++;
    onTaken?.(bytes);
    try {
      answer?.resolve(await this.#call(message as unknown as ControlMessage, answer.deadlineAtMs));
    } catch (error) {
      answer?.reject(error as StoreError);
    } finally {
      this.#asked--;
    }
  }

  #call(message: ControlMessage, deadlineAtMs: number): Promise<unknown> {
    const deadlineMs = Math.max(0, deadlineAtMs - this.#world.clock.nowMs());
    return message.kind === 'inspect'
      ? this.#thread.inspect(deadlineMs)
      : this.#thread.breakDown(message.how, deadlineMs);
  }

  async #watchThread(): Promise<EndReason> {
    const failure = await this.#thread.ended;
    const reason = this.#reasonFor(failure);
    this.#phase = 'ended';
    this.#reason = reason;
    this.#world.leave(this);
    tellWatchers(this.#watchers, this.#notice(reason), this.#world.log);
    return reason;
  }

  #reasonFor(failure: StoreError | undefined): EndReason {
    if (this.#isKilled) return { kind: 'killed' };
    return failure === undefined ? { kind: 'stopped' } : { kind: 'failed', error: failure };
  }

  #why(reason: EndReason): Error {
    return reason.kind === 'failed' ? reason.error : stopped(this.path, reason);
  }

  #notice(reason: EndReason): DeathNotice {
    return { path: this.path, incarnation: this.incarnation, reason };
  }
}

/** Longer than the watchdog waits for anybody. */
const PULSE_DEADLINE_MS = 3_600_000;

/** As portProtocol has it. */
type ControlMessage = { readonly kind: 'inspect' } | { readonly kind: 'breakDown'; readonly how: BreakDown };
