/**
 * Test actors: the real runtime in one thread, in virtual time, with the order of turns drawn from a seed. The same seed
 * gives the same run; another seed gives another of the orders that are possible, so a test that runs over many seeds
 * finds what depends on luck, and says with which seed.
 *
 *   const actors = new TestActors({ seed });
 *   const ref = await actors.spawn(counter);
 *   const probe = await actors.probe({ said: tell({ text: z.string() }) });
 *   ref.tell({ kind: 'greet', who: probe.ref });
 *   await actors.advance(1_000);                     // a second passes, with all that falls into it
 *   probe.messages;                                  // [{ kind: 'said', text: 'hello' }]
 *   await actors.run(ref.ask({ kind: 'total' }));    // time passes as far as the answer needs it
 *
 * One message of one actor is a turn. Code under test must wait for nothing but actors, its own promises and
 * `ctx.timers`: real sockets and timers have an order of their own. Threads are left out: all actors run here.
 */
import type { ActorDefinition, SpawnArguments } from '../../actors/runtime/core/define.ts';
import { defineActor } from '../../actors/runtime/core/define.ts';
import type { MessageOf, Protocol, ReplyOf, KindsOf } from '../../actors/runtime/core/protocol.ts';
import { ActorSystem, type SystemOptions } from '../../actors/runtime/core/system.ts';
import type { ActorRef } from '../../actors/runtime/core/types.ts';
import { StoreError } from '../../core/base/errors.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface TestActorsOptions extends SystemOptions {
  /** Which order of turns: 1. */
  readonly seed?: number;
}

/** A line that an actor or the runtime logged. */
export interface LoggedLine {
  readonly level: string;
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Turns without an end are a bug of the code under test. */
const TURNS_MAX = 1_000_000;
const RUN_MS_MAX = 24 * 60 * 60_000;

export class TestActors {
  readonly seed: number;
  readonly system: ActorSystem;
  readonly clock: VirtualClock = new VirtualClock();
  /** What was logged, in order. */
  readonly lines: LoggedLine[] = [];
  #tasks: (() => void)[] = [];
  #turns = 0;
  #state: number;

  constructor({ seed = 1, ...options }: TestActorsOptions = {}) {
    this.seed = seed;
    this.#state = seed >>> 0;
    const put = (task: () => void): void => {
      this.#tasks.push(task);
    };
    this.system = new ActorSystem(
      { log: (level, event, fields = {}) => void this.lines.push({ level, event, fields }), ...options },
      {
        clock: this.clock,
        random: () => this.#random(),
        isAlone: true,
        queue: { slice: 1, budget: 1, soon: put, later: put, pick: (count) => Math.floor(this.#random() * count) },
      },
    );
  }

  /** Starts an actor, and lets time pass as far as its start needs it. */
  spawn<P extends Protocol, Args>(
    definition: ActorDefinition<P, Args>,
    ...options: SpawnArguments<Args>
  ): Promise<ActorRef<P>> {
    return this.run(this.system.spawn(definition, ...options));
  }

  /** Lets all actors that have something to do do it; no time passes. Returns how many turns that took. */
  async settle(): Promise<number> {
    const before = this.#turns;
    for (;;) {
      await microtasks();
      const task = this.#tasks.shift();
      if (task === undefined) return this.#turns - before;
      this.#turns++;
      if (this.#turns > TURNS_MAX)
        throw new StoreError('INTERNAL', `seed ${this.seed}: ${TURNS_MAX} turns, and no end`);
      task();
    }
  }

  /** Lets so much time pass, from timer to timer, with all turns on the way. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.clock.nowMs() + ms;
    await this.settle();
    while (this.clock.step(untilMs)) await this.settle();
  }

  /**
   * Lets turns and time pass until a promise is settled, and gives what it gives. Throws when nothing is left that
   * could settle it.
   */
  async run<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settled = (): void => {
      isSettled = true;
    };
    promise.then(settled, settled);
    const untilMs = this.clock.nowMs() + RUN_MS_MAX;
    for (;;) {
      await this.settle();
      if (isSettled) return promise;
      const { nextMs } = this.clock;
      if (nextMs === undefined || nextMs > untilMs) {
        throw new StoreError('INTERNAL', `seed ${this.seed}: nothing is left to happen, and the promise is open`);
      }
      this.clock.step(nextMs);
    }
  }

  /** An actor that notes what it is told, and answers asks as it was told to. */
  async probe<P extends Protocol>(protocol: P, name?: string): Promise<Probe<P>> {
    const messages: MessageOf<P>[] = [];
    const answers = new Map<string, (message: never) => unknown>();
    const handle = (_state: unknown, message: MessageOf<P>): unknown => {
      messages.push(message);
      return answers.get(message.kind)?.(message as never);
    };
    const definition = defineActor({
      name: 'probe',
      protocol,
      start: () => ({}),
      // One handler for every kind: each does what its kind's does, to note the message.
      on: Object.fromEntries(Object.keys(protocol).map((kind) => [kind, handle])) as never,
    });
    const ref = await this.spawn(definition, ...(name === undefined ? [] : [{ name }]));
    return {
      ref,
      messages,
      answer: (kind, answer) => void answers.set(kind, answer),
    };
  }

  /** Stops all actors. */
  stop(): Promise<void> {
    return this.run(this.system.stop());
  }

  /** mulberry32: small, and the same everywhere. */
  #random(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
}

export interface Probe<P extends Protocol> {
  readonly ref: ActorRef<P>;
  /** What it was told and asked, in order. */
  readonly messages: MessageOf<P>[];
  /** Says what asks of a kind are answered with; what `answer` throws, the ask fails with. */
  answer<K extends KindsOf<P, 'ask'>>(
    kind: K,
    answer: (message: MessageOf<P, K>) => ReplyOf<P, K> | Promise<ReplyOf<P, K>>,
  ): void;
}

/** Lets everything run that promises have made ready. */
const microtasks = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
