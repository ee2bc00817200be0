/**
 * Threads: the worker threads of a system, by name, each as long as an actor is in it; and a watchdog over them, for
 * the handlers that keep a thread to themselves.
 *
 * Threads have numbers, which are used again, and ids of actors are made of both the number and how often it was used:
 * so an id is never given twice.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { ActorSystem, Elsewhere, SystemOptions } from '../core/system.ts';
import { type Incarnation, type Spec, THREADS_MAX } from '../core/target.ts';
import { watchdogRules } from '../core/watchdog.ts';
import { isPortActor } from '../ports/port-actor.ts';
import { Ports } from '../ports/ports.ts';
import type { PulseBounds } from '../ports/pulse-watchdog.ts';
import { ActorThread } from './actor-thread.ts';

/** Ids that one use of a number has: the first half for those that this side gives, the other for the thread's own. */
const IDS_PER_USE = 2 ** 24;
const ACTIVE_MAX = 256;
const LOOKS_PER_LIMIT = 4;
/** An actor with ports that does not answer is told of after 5 s and ended after 30 s. */
export const PULSE: PulseBounds = { tickMs: 1_000, reportTicks: 5, killTicks: 30 };

export class Threads implements Elsewhere {
  readonly #options: SystemOptions;
  readonly #byNumber = new Map<number, ActorThread>();
  readonly #byName = new Map<string, ActorThread>();
  readonly #looks = new Map<
    ActorThread,
    { readonly turn: number; readonly sinceMs: number; readonly isTold: boolean }
  >();
  readonly #ports: Ports;
  #system: ActorSystem | undefined;
  #made = 0;
  #cancelLook: () => void = () => {};

  constructor(options: SystemOptions, pulse: PulseBounds = PULSE) {
    this.#options = options;
    this.#ports = new Ports(options.log ?? (() => {}), pulse);
  }

  /** Its actors with ports. */
  get ports(): Pick<Ports, 'states'> {
    return this.#ports;
  }

  begin(system: ActorSystem): void {
    this.#system = system;
    this.#lookLater();
  }

  incarnate(spec: Spec, incarnation: number): Incarnation {
    const { world } = this.#system as ActorSystem;
    if (isPortActor(spec.definition)) return this.#ports.incarnate(world, spec, incarnation);
    if (spec.definition.module === undefined) {
      throw new StoreError('BAD_REQUEST', `${spec.definition.name} has no \`module\`: another thread cannot import it`);
    }
    return this.#threadFor(spec).incarnate(spec, incarnation);
  }

  async close(): Promise<void> {
    this.#cancelLook();
    this.#ports.close();
    await Promise.all([...this.#byNumber.values()].map((thread) => thread.close()));
  }

  #threadFor({ thread, path, definition }: Spec): ActorThread {
    if (typeof thread !== 'object') return this.#make(path, definition.native);
    const known = this.#byName.get(thread.name);
    if (known?.isClosing === false) {
      if (definition.native && !known.native) {
        throw new StoreError('BAD_REQUEST', `thread ${thread.name} was made for actors without native handles`);
      }
      return known;
    }
    const made = this.#make(thread.name, definition.native);
    this.#byName.set(thread.name, made);
    return made;
  }

  #make(name: string, native: boolean): ActorThread {
    const system = this.#system as ActorSystem;
    if (this.#byNumber.size >= ACTIVE_MAX) {
      throw new StoreError('OVERLOADED', `there are ${ACTIVE_MAX} threads`, { data: { limit: ACTIVE_MAX } });
    }
    let number: number;
    do number = (this.#made++ % (THREADS_MAX - 1)) + 1;
    while (this.#byNumber.has(number));
    const use = Math.floor(this.#made / (THREADS_MAX - 1));
    const { actorsMax, watchdog, threadHeapMiB } = this.#options;
    const thread = new ActorThread({
      system,
      name,
      thread: number,
      idBase: use * IDS_PER_USE,
      native,
      options: { ...(actorsMax === undefined ? {} : { actorsMax }), ...(watchdog === undefined ? {} : { watchdog }) },
      heapMiB: threadHeapMiB,
      linkTo: (wanted) => this.#byNumber.get(wanted)?.link,
      onEmpty: () => thread.close(),
      onHopeless: (error) => system.fail(error),
    });
    this.#byNumber.set(number, thread);
    void this.#forget(thread, number);
    return thread;
  }

  async #forget(thread: ActorThread, number: number): Promise<void> {
    await thread.ended;
    this.#byNumber.delete(number);
    this.#looks.delete(thread);
    if (this.#byName.get(thread.name) === thread) this.#byName.delete(thread.name);
  }

  #lookLater(): void {
    const { limitMs } = watchdogRules(this.#options.watchdog);
    const { clock } = (this.#system as ActorSystem).world;
    this.#cancelLook = clock.after(limitMs / LOOKS_PER_LIMIT, () => this.#look(), true);
  }

  /** A thread that handles the same message as long ago as the limit does not give itself back. */
  #look(): void {
    this.#lookLater();
    const { world } = this.#system as ActorSystem;
    const { limitMs, policy } = watchdogRules(this.#options.watchdog);
    const nowMs = world.clock.nowMs();
    for (const thread of this.#byNumber.values()) {
      const [actor = 0, kind = 0, turn = 0] = thread.beacon;
      const before = this.#looks.get(thread);
      if (actor === 0) this.#looks.delete(thread);
      else if (before?.turn !== turn) this.#looks.set(thread, { turn, sinceMs: nowMs, isTold: false });
      else if (nowMs - before.sinceMs >= limitMs && !before.isTold) {
        this.#looks.set(thread, { ...before, isTold: true });
        const stuck = thread.nameOf(actor, kind);
        world.log('error', 'actor.stuck', { ...stuck, forMs: Math.round(nowMs - before.sinceMs), policy });
        const why = `${stuck.path} did not return from ${stuck.kind} in ${limitMs} ms`;
        if (policy === 'restart') thread.stuck(why);
        if (policy === 'escalate') (this.#system as ActorSystem).fail(new StoreError('DEADLINE_EXCEEDED', why));
      }
    }
  }
}
