/**
 * Ending: how one life of an actor comes to its end, and who hears of it.
 *
 * An end has two moments. When it begins, its reason is known, and nothing more is handled. When it is over (everything
 * released, or the deadline past) watchers are told, and a successor may start. Between the two stands a deadline: what
 * is orderly has so long, then it is done by force.
 *
 * Invariants:
 *  - the first reason stays;
 *  - watchers hear of it once, after all that was to be released is, or was given up.
 */
import type { ActorClock } from './clock.ts';
import { tellWatchers, type World } from './target.ts';
import type { DeathNotice, EndReason } from './types.ts';

export type EndingWorld = Pick<World, 'clock' | 'log'>;

/** What is done between the two moments. */
export interface EndSteps {
  /** Ends children, releases what the actor took. */
  readonly orderly: () => Promise<void>;
  /** The same without asking anybody. */
  readonly byForce: () => Promise<void>;
}

export class Ending {
  /** Resolves when it is over; never rejects. */
  readonly ended: Promise<EndReason>;
  readonly #clock: ActorClock;
  readonly #world: EndingWorld;
  readonly #who: { readonly path: string; readonly incarnation: number };
  readonly #watchers = new Set<(notice: DeathNotice) => void>();
  #reason: EndReason | undefined;
  #isOver = false;
  #tellEnded: (reason: EndReason) => void = () => {};
  #force: () => void = () => {};
  /** Resolves when it takes too long. */
  readonly #forced: Promise<void>;
  #cancelForce: (() => void) | undefined;

  constructor(world: EndingWorld, who: { readonly path: string; readonly incarnation: number }) {
    this.#world = world;
    this.#clock = world.clock;
    this.#who = who;
    this.ended = new Promise((resolve) => {
      this.#tellEnded = resolve;
    });
    this.#forced = new Promise((resolve) => {
      this.#force = resolve;
    });
  }

  /** Once it has begun. */
  get reason(): EndReason | undefined {
    return this.#reason;
  }

  /** A deadline has been set. */
  get isTimed(): boolean {
    return this.#cancelForce !== undefined;
  }

  /** From now on nothing is waited for. */
  force(): void {
    this.#force();
  }

  /** Force after a while, of which `onForced` is told; the last one that was set counts. */
  forceAfter(deadlineMs: number, onForced: () => void): void {
    this.#cancelForce?.();
    this.#cancelForce = this.#clock.after(deadlineMs, () => {
      this.#force();
      onForced();
    });
  }

  begin(reason: EndReason): void {
    this.#reason ??= reason;
  }

  /** From one moment to the other; `leave` is the last thing before anybody is told. */
  async finish(reason: EndReason, { orderly, byForce }: EndSteps, leave: () => void): Promise<void> {
    const isForced = await Promise.race([orderly().then(() => false), this.#forced.then(() => true)]);
    if (isForced) {
      await byForce();
      if (reason.kind !== 'killed') this.#world.log('warn', 'actor.stop.forced', { path: this.#who.path });
    }
    this.#cancelForce?.();
    this.#isOver = true;
    leave();
    tellWatchers(this.#watchers, this.#notice(), this.#world.log);
    this.#tellEnded(reason);
  }

  /** Calls once when it is over, at once if it is. The result ends the watch. */
  watch(listener: (notice: DeathNotice) => void): () => void {
    if (this.#isOver) listener(this.#notice());
    else this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  #notice(): DeathNotice {
    const { path, incarnation } = this.#who;
    return { path, incarnation, reason: this.#reason ?? { kind: 'stopped' } };
  }
}
