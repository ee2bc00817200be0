/**
 * System: a tree of actors in this thread (and, given a way to incarnate them there, in others), from its root's first
 * child to its end.
 *
 * The root has no code of its own. When its children fail more often than its rules allow, the system stops and says so
 * by `failed`: whoever made it decides what that means for the process.
 */
import type { Random } from '../../../core/base/env.ts';
import { StoreError } from '../../../core/base/errors.ts';
import type { LogFunction } from '../thread.ts';
import { Cell } from './cell.ts';
import { type ActorClock, realClock } from './clock.ts';
import { DeadLetters } from './dead-letters.ts';
import type { ActorDefinition, SpawnArguments } from './define.ts';
import { Nursery } from './nursery.ts';
import type { Protocol } from './protocol.ts';
import { Ref } from './ref.ts';
import { RunQueue, type RunQueueOptions } from './run-queue.ts';
import { type Decider, superviseRules } from './strategy.ts';
import { type ActorReport, type Incarnation, type Spec, type Target, THREADS_MAX, type World } from './target.ts';
import type { ActorRef, AnyRef, DeathNotice, SuperviseOptions, WatchdogOptions } from './types.ts';
import { Watchdog } from './watchdog.ts';

export interface SystemOptions {
  /** Default: nowhere. */
  readonly log?: LogFunction;
  /** How the root looks after its children. */
  readonly supervise?: SuperviseOptions;
  /** Actors at once: 10 000. One more is OVERLOADED. */
  readonly actorsMax?: number;
  /** Bound of each thread's heap, as far as V8 keeps it (docs/actors.md): Node's. */
  readonly threadHeapMiB?: number;
  /** What looks for handlers that do not return. */
  readonly watchdog?: WatchdogOptions;
}

/** What a system is built on; tests and threads have their own. */
export interface SystemGround {
  readonly clock?: ActorClock;
  readonly random?: Random;
  readonly queue?: RunQueueOptions;
  readonly thread?: number;
  readonly threadName?: string;
  readonly beacon?: Int32Array | undefined;
  /** This thread's ids begin behind this one. */
  readonly idBase?: number;
  /** There are no other threads: what was to run in one runs here. */
  readonly isAlone?: boolean;
  /** Makes incarnations in other threads. */
  readonly elsewhere?: Elsewhere;
  /** What the root's children are below: '/'. */
  readonly path?: string;
  /** Decides for the root; default: OTP's rules. */
  readonly decider?: Decider;
  /** Another system, shown with this one: its rows are below `/name`, which is nobody else's. */
  readonly beside?: { readonly name: string; readonly report: () => Promise<readonly ActorReport[]> };
  /** What is done when the root gives up; default: the system stops and says so by `failed`. */
  readonly escalate?: (error: StoreError, child: Spec) => void;
}

export interface Elsewhere {
  /** Before anything else: the system it is for. */
  begin(system: ActorSystem): void;
  incarnate(spec: Spec, incarnation: number): Incarnation;
  /** Ends the threads; all actors in them have ended. */
  close(): Promise<void>;
}

const ACTORS_MAX = 10_000;
const DEPTH_MAX = 32;
const STOP_DEADLINE_MS = 20_000;

export class ActorSystem {
  readonly deadLetters: DeadLetters;
  /** Resolves with the reason when it had to stop by itself: more restarts than the root's rules allow. */
  readonly failed: Promise<StoreError>;
  /** For the runtime. */
  readonly world: World;
  readonly #root: Nursery;
  readonly #watchdog: Watchdog;
  readonly #elsewhere: Elsewhere | undefined;
  readonly #actorsMax: number;
  readonly #isAlone: boolean;
  readonly #beside: SystemGround['beside'];
  readonly #log: LogFunction;
  readonly #targets = new Map<number, Target>();
  #actors = 0;
  #ids: number;
  /** Cells whose supervisor is in another thread. */
  readonly #adopted = new Set<Cell>();
  #stopping: Promise<void> | undefined;
  #tellFailed: (error: StoreError) => void = () => {};

  constructor(options: SystemOptions = {}, ground: SystemGround = {}) {
    const { log = () => {}, actorsMax = ACTORS_MAX } = options;
    const { clock = realClock, random = Math.random, thread = 0, threadName = 'main', beacon } = ground;
    this.#log = log;
    this.#ids = ground.idBase ?? 0;
    this.#actorsMax = actorsMax;
    this.#isAlone = ground.isAlone ?? false;
    this.#elsewhere = ground.elsewhere;
    this.#beside = ground.beside;
    this.deadLetters = new DeadLetters(log, clock);
    const queue = new RunQueue(ground.queue);
    this.failed = new Promise((resolve) => {
      this.#tellFailed = resolve;
    });
    this.world = {
      thread,
      threadName,
      clock,
      random,
      log,
      deadLetters: this.deadLetters,
      beacon,
      running: { cell: undefined },
      wake: (actor) => queue.wake(actor),
      nextId: () => ++this.#ids * THREADS_MAX + thread,
      incarnate: (spec, incarnation) => this.#incarnate(spec, incarnation),
      admit: (path) => this.#admit(path),
      join: (target) => this.#targets.set(target.id, target),
      leave: (target) => this.#targets.delete(target.id),
    };
    const { path = '/', decider, escalate = (error: StoreError) => this.fail(error) } = ground;
    this.#root = new Nursery(this.world, path, superviseRules(options.supervise), escalate, decider);
    this.#watchdog = new Watchdog(clock, log, options.watchdog, {
      cells: () => [...this.#targets.values()].filter((target) => target instanceof Cell),
      escalate: (error) => this.fail(error),
    });
    this.#elsewhere?.begin(this);
  }

  /**
   * Starts an actor below the root. Resolves when its `start` has ended; rejects with what that threw, BAD_REQUEST (the
   * name is taken or no name; a thread was wanted for a definition without `module`), OVERLOADED (too many actors),
   * ACTOR_STOPPED (the system is stopping).
   */
  spawn<P extends Protocol, Args>(
    definition: ActorDefinition<P, Args>,
    ...[options]: SpawnArguments<Args>
  ): Promise<ActorRef<P>> {
    if (options?.name !== undefined && options.name === this.#beside?.name) {
      return Promise.reject(new StoreError('BAD_REQUEST', `/${options.name} is taken`));
    }
    return this.#root.spawn(definition, options);
  }

  /** Calls once when that actor has ended, at once if it has. The result ends the watch. */
  watch(ref: AnyRef, listener: (notice: DeathNotice) => void): () => void {
    if (!(ref instanceof Ref)) throw new StoreError('BAD_REQUEST', 'only a ref can be watched');
    return ref.target.watch(listener);
  }

  /** All actors as they are now, as a tree; on a node its own as well, below `/node`. */
  async inspect(): Promise<readonly ActorReport[]> {
    const adopted = await Promise.all([...this.#adopted].map((cell) => cell.report()));
    const beside = (await this.#beside?.report()) ?? [];
    return [...beside, ...(await this.#root.report()), ...adopted];
  }

  /** How many actors there are. */
  get actors(): number {
    return this.#actors;
  }

  /**
   * Stops all actors, the newest first: each handles what is in its mailbox and releases what it has. What has not
   * ended by the deadline (20 s) is killed. May be called twice.
   */
  stop({ deadlineMs = STOP_DEADLINE_MS }: { readonly deadlineMs?: number } = {}): Promise<void> {
    this.#stopping ??= this.#stop(deadlineMs);
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** For the runtime: it cannot go on. */
  fail(error: StoreError): void {
    this.#log('error', 'actors.failed', { code: error.code, message: error.message });
    this.#tellFailed(error);
    void this.stop();
  }

  /** For the runtime: an actor of this thread, by its address. */
  find(id: number): Target | undefined {
    return this.#targets.get(id);
  }

  /** For the runtime: an incarnation for a supervisor in another thread, which starts it. */
  adopt(spec: Spec, incarnation: number, id: number): Cell {
    if (this.#stopping !== undefined) throw new StoreError('ACTOR_STOPPED', `${spec.path}: the thread is stopping`);
    const cell = new Cell(this.world, spec, incarnation, id);
    this.#adopted.add(cell);
    void cell.ended.then(() => this.#adopted.delete(cell));
    return cell;
  }

  async #stop(deadlineMs: number): Promise<void> {
    this.deadLetters.silence();
    let cancel = (): void => {};
    const forced = new Promise<void>((resolve) => {
      cancel = this.world.clock.after(deadlineMs, () => {
        this.#log('warn', 'actors.stop.forced', { deadlineMs });
        resolve(this.#root.kill());
      });
    });
    const adopted = [...this.#adopted].map((cell) => cell.end({ deadlineMs }));
    await Promise.race([Promise.all([this.#root.stop(), ...adopted]), forced]);
    cancel();
    this.#watchdog.stop();
    await this.#elsewhere?.close();
  }

  #incarnate(spec: Spec, incarnation: number): Incarnation {
    if (spec.thread === 'same' || this.#isAlone) return new Cell(this.world, spec, incarnation, this.world.nextId());
    if (this.#elsewhere !== undefined) return this.#elsewhere.incarnate(spec, incarnation);
    throw new StoreError('BAD_REQUEST', `${spec.path}: only actors of the main thread start others in threads`);
  }

  #admit(path: string): () => void {
    if (this.#actors >= this.#actorsMax) {
      throw new StoreError('OVERLOADED', `${path}: there are ${this.#actors} actors`, {
        data: { limit: this.#actorsMax },
      });
    }
    if (path.split('/').length - 1 > DEPTH_MAX) {
      throw new StoreError('OVERLOADED', `${path}: a tree is at most ${DEPTH_MAX} deep`, {
        data: { limit: DEPTH_MAX },
      });
    }
    this.#actors++;
    return () => {
      this.#actors--;
    };
  }
}
