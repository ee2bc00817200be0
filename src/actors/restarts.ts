/**
 * Restarts: how often actors came back, and whether one may once more.
 *
 * An actor that dies again and again is not mended by starting it: past so many times within a span the node gives up,
 * and whoever runs its process decides. The first time it starts again at once; from then on after a pause that doubles
 * and is jittered, so that nodes that die of one cause do not come back in step.
 */
import { StoreError } from '../core/base/errors.ts';
import { Intensity, RestartBackoff, superviseRules } from './runtime/core/strategy.ts';
import type { ActorName } from './shared.ts';
import { RESTARTS } from './topology.ts';

/** An actor ended that should not have. */
export interface Death {
  readonly actor: ActorName;
  readonly failure: StoreError;
}

/** Its thread vanished, or it broke. Whatever has another code is told by the disk or the cluster: starting again mends none of it. */
export const mayComeBack = ({ failure }: Death): boolean => failure.code === 'ACTOR_STOPPED';

/** What `actor` threw, or its thread ended with, as its death. */
export function deathBy(actor: ActorName, error: unknown): Death {
  if (error instanceof StoreError) return { actor, failure: error };
  const message = error instanceof Error ? error.message : String(error);
  return { actor, failure: new StoreError('ACTOR_STOPPED', `${actor}: ${message}`, { cause: error }) };
}

const RULES = superviseRules(RESTARTS);

export interface RestartsWorld {
  readonly monotonicMs: () => number;
  readonly random: () => number;
}

export class Restarts {
  readonly #world: RestartsWorld;
  readonly #ofEach = new Map<ActorName, { readonly intensity: Intensity; readonly backoff: RestartBackoff }>();
  readonly #counts = new Map<ActorName, number>();

  constructor(world: RestartsWorld) {
    this.#world = world;
  }

  /** By actor: how often it was started again. */
  get counts(): ReadonlyMap<ActorName, number> {
    return this.#counts;
  }

  /** `death` has come: how many ms to wait before the actor starts again. ACTOR_STOPPED: it has died too often. */
  note({ actor, failure }: Death): number {
    const nowMs = this.#world.monotonicMs();
    const { intensity, backoff } = this.#of(actor);
    if (!intensity.take(nowMs)) {
      const often = `${actor} died ${RULES.restartsMax + 1} times within ${RULES.withinMs / 1000} s`;
      throw new StoreError('ACTOR_STOPPED', `${often}; the last: ${failure.message}`, { cause: failure });
    }
    this.#counts.set(actor, (this.#counts.get(actor) ?? 0) + 1);
    return Math.round(backoff.next(nowMs));
  }

  #of(actor: ActorName): { readonly intensity: Intensity; readonly backoff: RestartBackoff } {
    const known = this.#ofEach.get(actor);
    if (known !== undefined) return known;
    const made = { intensity: new Intensity(RULES), backoff: new RestartBackoff(RULES, this.#world.random) };
    this.#ofEach.set(actor, made);
    return made;
  }
}
