/**
 * Nursery: an actor's children, in the order of their start, and what becomes of them when one ends.
 *
 * The rules are OTP's (strategy.ts). A child that failed is started again with those its strategy says, after a pause
 * that grows; when there were too many restarts in a while, the fault is not the child's, and the parent itself fails:
 * its own supervisor has the next word. One repair at a time where children depend on each other; a child that failed
 * meanwhile and was started again by that repair needs none of its own.
 *
 * Invariants:
 *  - a child has one life at a time: the next starts when the last has ended;
 *  - a child that somebody stopped is not started again;
 *  - when `stop` has resolved, no child is left and none can come.
 */
import { StoreError } from '../../../core/base/errors.ts';
import { type ActorDefinition, checkName } from './define.ts';
import type { Protocol } from './protocol.ts';
import { Ref } from './ref.ts';
import { type Decider, groupOf, isFailure, isRestarted, OtpDecider, type SuperviseRules } from './strategy.ts';
import { type ActorReport, type Incarnation, type Spec, stopped, type World } from './target.ts';
import type { ActorRef, EndReason, SpawnOptions } from './types.ts';

const START_DEADLINE_MS = 30_000;
const STOP_DEADLINE_MS = 5_000;

interface Child {
  readonly spec: Spec;
  /** The newest life, ended or not. */
  life: Incarnation;
  /** This nursery ends it, to start it again or for good. */
  isHeld: boolean;
  isGone: boolean;
  /** Gives its place in the system back. */
  readonly release: () => void;
}

export class Nursery {
  readonly #world: World;
  readonly #path: string;
  readonly #rules: SuperviseRules;
  readonly #escalate: (error: StoreError, child: Spec) => void;
  readonly #decider: Decider;
  #children: Child[] = [];
  readonly #pauses = new Set<() => void>();
  /** Repairs of children that depend on each other, one after another. */
  #repairs: Promise<void> = Promise.resolve();
  #spawned = 0;
  #restarts = 0;
  #isClosed = false;
  #stopping: Promise<void> | undefined;

  constructor(
    world: World,
    path: string,
    rules: SuperviseRules,
    escalate: (error: StoreError, child: Spec) => void,
    decider: Decider = new OtpDecider(rules, world),
  ) {
    this.#world = world;
    this.#path = path;
    this.#rules = rules;
    this.#escalate = escalate;
    this.#decider = decider;
  }

  /** Restarts so far. */
  get restarts(): number {
    return this.#restarts;
  }

  async spawn<P extends Protocol, Args>(
    definition: ActorDefinition<P, Args>,
    options: SpawnOptions<Args> = {} as SpawnOptions<Args>,
  ): Promise<ActorRef<P>> {
    if (this.#isClosed) throw stopped(this.#path);
    const spec = this.#specOf(definition, options);
    if (this.#children.some((child) => child.spec.name === spec.name)) {
      throw new StoreError('BAD_REQUEST', `${spec.path} is taken`);
    }
    const release = this.#world.admit(spec.path);
    let child: Child;
    try {
      const life = this.#world.incarnate(spec, 1);
      child = { spec, life, isHeld: false, isGone: false, release };
    } catch (error) {
      release();
      throw error;
    }
    const { life } = child;
    this.#children.push(child);
    try {
      await life.start();
    } catch (error) {
      this.#remove(child);
      throw error;
    }
    void this.#watch(child, life);
    return new Ref<P>(
      this.#world,
      () => life,
      () => child.life,
    );
  }

  /** Ends all children, the newest first. */
  stop(): Promise<void> {
    this.#close();
    this.#stopping ??= (async () => {
      for (const child of this.#children.toReversed()) await child.life.end({ deadlineMs: child.spec.stopDeadlineMs });
      for (const child of [...this.#children]) this.#remove(child);
    })();
    return this.#stopping;
  }

  /** Ends all children at once. */
  async kill(): Promise<void> {
    this.#close();
    for (const child of this.#children) child.life.kill();
    await Promise.all(this.#children.map((child) => child.life.ended));
    for (const child of [...this.#children]) this.#remove(child);
  }

  report(): Promise<ActorReport[]> {
    return Promise.all(this.#children.map((child) => child.life.report()));
  }

  #specOf<P extends Protocol, Args>(definition: ActorDefinition<P, Args>, options: SpawnOptions<Args>): Spec {
    this.#spawned++;
    const name = options.name ?? `${definition.name}-${this.#spawned}`;
    checkName(name);
    return {
      definition,
      name,
      path: `${this.#path === '/' ? '' : this.#path}/${name}`,
      args: options.args,
      thread: options.thread ?? 'same',
      restart: options.restart ?? 'transient',
      startDeadlineMs: options.startDeadlineMs ?? START_DEADLINE_MS,
      stopDeadlineMs: options.stopDeadlineMs ?? STOP_DEADLINE_MS,
    };
  }

  async #watch(child: Child, life: Incarnation): Promise<void> {
    const reason = await life.ended;
    if (this.#isClosed || child.isHeld || child.isGone || child.life !== life) return;
    if (isFailure(reason) && !life.isStopAsked) this.#decider.failed(life, reason);
    if (life.isStopAsked || !isRestarted(child.spec.restart, reason)) this.#remove(child);
    else this.#repair(child, life, reason);
  }

  #repair(child: Child, life: Incarnation, reason: EndReason): void {
    const verdict = this.#decider.decide(child.spec, reason);
    if (verdict.kind === 'escalate') {
      this.#escalate(verdict.error, child.spec);
      return;
    }
    if (this.#rules.strategy === 'one-for-one') void this.#restart(child, verdict.afterMs);
    else {
      this.#repairs = this.#repairAfter(this.#repairs, child, life, verdict.afterMs);
    }
  }

  async #repairAfter(earlier: Promise<void>, child: Child, life: Incarnation, afterMs: number): Promise<void> {
    await earlier;
    // A repair before this one may have started it again.
    if (child.life === life && !child.isGone) await this.#restart(child, afterMs);
  }

  async #restart(failed: Child, afterMs: number): Promise<void> {
    const group = [...groupOf(this.#rules.strategy, this.#children, failed)];
    for (const child of group) child.isHeld = true;
    for (const child of group.toReversed()) {
      if (child !== failed) await child.life.end({ deadlineMs: child.spec.stopDeadlineMs });
    }
    await this.#pause(afterMs);
    for (const child of group) {
      if (this.#isClosed) return;
      const isUnwanted = child.life.isStopAsked || (child !== failed && child.spec.restart === 'temporary');
      if (isUnwanted) this.#remove(child);
      if (child.isGone) continue;
      if (!(await this.#again(child))) return;
    }
  }

  /** Starts a child's next life, as often as it takes and may be; false when it may not any more. */
  async #again(child: Child): Promise<boolean> {
    for (;;) {
      let { life } = child;
      try {
        life = this.#world.incarnate(child.spec, life.incarnation + 1);
        child.life = life;
        this.#restarts++;
        await life.start();
        child.isHeld = false;
        this.#decider.restarted(life);
        void this.#watch(child, life);
        return true;
      } catch (error) {
        if (this.#isClosed) return false;
        if (life.isStopAsked) {
          this.#remove(child);
          return true;
        }
        const reason: EndReason = { kind: 'failed', error: error instanceof Error ? error : new Error(String(error)) };
        this.#decider.failed(life, reason);
        const verdict = this.#decider.decide(child.spec, reason);
        if (verdict.kind === 'escalate') {
          this.#escalate(verdict.error, child.spec);
          return false;
        }
        await this.#pause(verdict.afterMs);
        if (this.#isClosed) return false;
      }
    }
  }

  #pause(pauseMs: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        this.#pauses.delete(end);
        resolve();
      };
      const cancel = this.#world.clock.after(pauseMs, end);
      this.#pauses.add(end);
      if (this.#isClosed) end();
    });
  }

  #remove(child: Child): void {
    if (child.isGone) return;
    child.isGone = true;
    this.#children = this.#children.filter((other) => other !== child);
    child.release();
  }

  #close(): void {
    this.#isClosed = true;
    for (const end of [...this.#pauses]) end();
  }
}
