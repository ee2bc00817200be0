/**
 * Strategy: OTP's rules of supervision: who is started again with a child that failed, after what pause, and when it is
 * enough. A supervisor of another mind (the node’s own: actors/node-decider.ts) brings a decider of its own.
 */
import type { Random } from '../../../core/base/env.ts';
import { StoreError } from '../../../core/base/errors.ts';
import type { LogFunction } from '../thread.ts';
import type { ActorClock } from './clock.ts';
import type { Incarnation, Spec } from './target.ts';
import type { EndReason, Restart, Strategy, SuperviseOptions } from './types.ts';

export type SuperviseRules = Required<SuperviseOptions>;

export function superviseRules(options: SuperviseOptions = {}): SuperviseRules {
  return {
    strategy: 'one-for-one',
    restartsMax: 5,
    withinMs: 30_000,
    backoffMinMs: 50,
    backoffMaxMs: 10_000,
    resetMs: 30_000,
    restartsAtOnce: 0,
    ...options,
  };
}

export const isFailure = (reason: EndReason): boolean => reason.kind === 'failed' || reason.kind === 'killed';

/** Whether a child that ended by itself is started again. */
export function isRestarted(restart: Restart, reason: EndReason): boolean {
  if (restart === 'temporary') return false;
  return restart === 'permanent' || isFailure(reason);
}

/** The children, in the order of their start, that are started again with the one at `failed`. */
export function groupOf<T>(strategy: Strategy, children: readonly T[], failed: T): readonly T[] {
  if (strategy === 'one-for-one') return [failed];
  return strategy === 'one-for-all' ? children : children.slice(children.indexOf(failed));
}

/** Counts restarts in a window of time. */
export class Intensity {
  readonly #rules: SuperviseRules;
  #timesMs: number[] = [];

  constructor(rules: SuperviseRules) {
    this.#rules = rules;
  }

  /** Counts one; false when it is one too many. */
  take(nowMs: number): boolean {
    this.#timesMs = this.#timesMs.filter((atMs) => nowMs - atMs < this.#rules.withinMs);
    this.#timesMs.push(nowMs);
    return this.#timesMs.length <= this.#rules.restartsMax;
  }
}

/** Pauses before restarts: doubling, with full jitter in the upper half so that a pause is not nothing by chance. */
export class RestartBackoff {
  readonly #rules: SuperviseRules;
  readonly #random: Random;
  #attempts = 0;
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(rules: SuperviseRules, random: Random) {
    this.#rules = rules;
    this.#random = random;
  }

  next(nowMs: number): number {
    const { backoffMinMs, backoffMaxMs, resetMs, restartsAtOnce } = this.#rules;
    if (nowMs - this.#lastMs >= resetMs) this.#attempts = 0;
    const paused = this.#attempts - restartsAtOnce;
    this.#attempts++;
    const spanMs = paused < 0 ? 0 : Math.min(backoffMaxMs, backoffMinMs * 2 ** paused);
    const pauseMs = spanMs / 2 + (this.#random() * spanMs) / 2;
    // The time it runs counts from its restart.
    this.#lastMs = nowMs + pauseMs;
    return pauseMs;
  }
}

/** What becomes of a child that should not have ended: another life after a pause, or the end of its parent. */
export type Verdict =
  | { readonly kind: 'restart'; readonly afterMs: number }
  | { readonly kind: 'escalate'; readonly error: StoreError };

/** Who is asked by a nursery, and told what came of it. */
export interface Decider {
  /** It has failed, and nobody had asked it to end. Told before it is decided. */
  failed(life: Incarnation, reason: EndReason): void;
  decide(spec: Spec, reason: EndReason): Verdict;
  /** It runs again. */
  restarted(life: Incarnation): void;
}

/** OTP's: so many restarts of all children in a while, each after a pause that grows with the child's own. */
export class OtpDecider implements Decider {
  readonly #world: { readonly clock: ActorClock; readonly random: Random; readonly log: LogFunction };
  readonly #rules: SuperviseRules;
  readonly #intensity: Intensity;
  readonly #backoffs = new WeakMap<Spec, RestartBackoff>();

  constructor(rules: SuperviseRules, world: { clock: ActorClock; random: Random; log: LogFunction }) {
    this.#rules = rules;
    this.#world = world;
    this.#intensity = new Intensity(rules);
  }

  failed({ path, incarnation }: Incarnation, reason: EndReason): void {
    const message = reason.kind === 'failed' ? reason.error.message : reason.kind;
    const stack = reason.kind === 'failed' ? reason.error.stack : undefined;
    this.#world.log('error', 'actor.failed', { path, incarnation, message, stack });
  }

  decide(spec: Spec, reason: EndReason): Verdict {
    const { clock, random } = this.#world;
    const nowMs = clock.nowMs();
    if (!this.#intensity.take(nowMs)) return { kind: 'escalate', error: this.#tooOften(spec.path, reason) };
    const backoff = this.#backoffs.get(spec) ?? new RestartBackoff(this.#rules, random);
    this.#backoffs.set(spec, backoff);
    return { kind: 'restart', afterMs: backoff.next(nowMs) };
  }

  restarted({ path, incarnation }: Incarnation): void {
    this.#world.log('info', 'actor.restarted', { path, incarnation });
  }

  #tooOften(path: string, reason: EndReason): StoreError {
    const { restartsMax, withinMs } = this.#rules;
    const cause = reason.kind === 'failed' ? reason.error : undefined;
    const message = `${path} failed; more than ${restartsMax} restarts in ${withinMs} ms`;
    return new StoreError('ACTOR_STOPPED', message, { cause, data: { path } });
  }
}
