/**
 * Part decider: what becomes of a part that has ended. A bug is no reason to stop: it comes back, by the runtime's rules.
 * An error that says what the world is like (another process writes the replica; it belongs to another cluster) would be
 * the same in each life: that is the end of the reflector, with that error.
 */
import { OtpDecider, type Decider, superviseRules, type Verdict } from '../../actors/runtime/core/strategy.ts';
import type { ActorClock } from '../../actors/runtime/core/clock.ts';
import type { Incarnation, Spec } from '../../actors/runtime/core/target.ts';
import type { EndReason } from '../../actors/runtime/core/types.ts';
import type { LogFunction } from '../../actors/runtime/thread.ts';
import { isStoreError, type StoreError } from '../../core/base/errors.ts';

export interface PartNews {
  readonly kind: 'part';
  /** Its name; '' when all of them are meant. */
  readonly part: string;
  /** `warned`: something else went wrong with it, such as its end. */
  readonly state: 'failed' | 'back' | 'warned';
  /** What went wrong; '' when it is back. */
  readonly reason: string;
}

export class PartDecider implements Decider {
  readonly #otp: OtpDecider;
  readonly #tell: (news: PartNews) => void;

  constructor(clock: ActorClock, tell: (news: PartNews) => void) {
    this.#otp = new OtpDecider(superviseRules(), { clock, random: Math.random, log: () => {} });
    this.#tell = tell;
  }

  failed({ spec }: Incarnation, reason: EndReason): void {
    if (finalOf(reason) === undefined) {
      this.#tell({ kind: 'part', part: spec.name, state: 'failed', reason: textOf(reason) });
    }
  }

  decide(spec: Spec, reason: EndReason): Verdict {
    const final = finalOf(reason);
    return final === undefined ? this.#otp.decide(spec, reason) : { kind: 'escalate', error: final };
  }

  restarted({ spec }: Incarnation): void {
    this.#tell({ kind: 'part', part: spec.name, state: 'back', reason: '' });
  }
}

/** What the runtime has to say besides. */
export function newsOf(tell: (news: PartNews) => void): LogFunction {
  return (level, event, { path = '', ...fields } = {}) => {
    if (level !== 'error' && level !== 'warn') return;
    const part = String(path).slice(String(path).lastIndexOf('/') + 1);
    tell({ kind: 'part', part, state: 'warned', reason: `${event} ${JSON.stringify(fields)}` });
  };
}

function finalOf(reason: EndReason): StoreError | undefined {
  return reason.kind === 'failed' && isStoreError(reason.error) ? reason.error : undefined;
}

const textOf = (reason: EndReason): string => (reason.kind === 'failed' ? reason.error.message : reason.kind);
