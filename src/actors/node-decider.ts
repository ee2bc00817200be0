/**
 * Node decider: what the runtime's supervision is to do when an actor of a node has ended. One that only reads what
 * others share starts again by itself; every other death is the whole life's (src/node/judgement.ts has the next word).
 */
import { StoreError } from '../core/base/errors.ts';
import { type Death, deathBy, mayComeBack, type Restarts } from './restarts.ts';
import type { Decider, Verdict } from './runtime/core/strategy.ts';
import type { Incarnation, Spec } from './runtime/core/target.ts';
import type { EndReason } from './runtime/core/types.ts';
import type { LogFunction } from './runtime/thread.ts';
import { actorNamed } from './shared.ts';
import { RECOVERY } from './topology.ts';

export interface NodeDeciderWorld {
  readonly log: LogFunction;
  readonly restarts: Restarts;
  /** It starts again alone: what it held is let go, and who was fed by it is told. */
  readonly onAlone: (death: Death) => void;
}

export class NodeDecider implements Decider {
  readonly #world: NodeDeciderWorld;
  readonly #diedMs = new Map<string, number>();
  /** All run. Before that nobody starts again alone: a start that fails is told by itself. */
  hasStarted = false;

  constructor(world: NodeDeciderWorld) {
    this.#world = world;
  }

  failed({ spec }: Incarnation, reason: EndReason): void {
    this.died(deathOf(spec, reason));
  }

  died({ actor, failure: { code, message } }: Death): void {
    this.#diedMs.set(actor, performance.now());
    this.#world.log('error', 'actor.died', { actor, code, message });
  }

  decide(spec: Spec, reason: EndReason): Verdict {
    const death = deathOf(spec, reason);
    const isAlone = RECOVERY[death.actor] === 'alone' && this.hasStarted && mayComeBack(death);
    if (!isAlone) return { kind: 'escalate', error: death.failure };
    try {
      const afterMs = this.#world.restarts.note(death);
      this.#world.onAlone(death);
      return { kind: 'restart', afterMs };
    } catch (error) {
      return { kind: 'escalate', error: deathBy(death.actor, error).failure };
    }
  }

  restarted({ spec: { name } }: Incarnation): void {
    const ms = Math.round(performance.now() - (this.#diedMs.get(name) ?? Number.NaN));
    this.#world.log('info', 'actor.back', { actor: name, ms });
  }
}

function deathOf({ name }: Spec, reason: EndReason): Death {
  const actor = actorNamed(name);
  if (reason.kind === 'failed') return deathBy(actor, reason.error);
  return { actor, failure: new StoreError('ACTOR_STOPPED', `${actor} vanished`) };
}
