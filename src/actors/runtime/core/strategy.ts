/**
 * Strategy: OTP's rules of supervision as plain functions: who is started again with a child that failed, after what
 * pause, and when it is enough.
 */
import type { Random } from '../../../core/base/env.ts';
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

/** Pauses before restarts: doubling, with full jitter in the upper half so that a pause is never nothing. */
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
    const { backoffMinMs, backoffMaxMs, resetMs } = this.#rules;
    if (nowMs - this.#lastMs > resetMs) this.#attempts = 0;
    const spanMs = Math.min(backoffMaxMs, backoffMinMs * 2 ** this.#attempts);
    this.#attempts++;
    const pauseMs = spanMs / 2 + (this.#random() * spanMs) / 2;
    // The time it runs counts from its restart.
    this.#lastMs = nowMs + pauseMs;
    return pauseMs;
  }
}
