/**
 * Judgement: an actor of a node is gone; do its parts start again, when, or does the node stop?
 *
 * It stops (the error that is thrown says why) when starting again mends nothing: the disk or a table is damaged, the
 * log is in doubt, the actor has died too often. Whoever runs the process then starts it again, with a back-off of his
 * own, and the node rejoins.
 */
import { type Death, mayComeBack, type Restarts } from '../actors/restarts.ts';
import type { Supervisor } from '../actors/supervisor.ts';
import { RECOVERY } from '../actors/topology.ts';
import { StoreError } from '../core/base/errors.ts';

/** Resolves with the pause before the parts start again, in ms; rejects with the reason why they must not. */
export async function judge(
  death: Death,
  world: { readonly supervisor: Supervisor; readonly restarts: Restarts },
): Promise<number> {
  const { actor, failure } = death;
  if (!mayComeBack(death)) throw failure;
  if (RECOVERY[actor] === 'unless-in-doubt') {
    const doubt = await world.supervisor.settleWal(actor);
    if (doubt !== undefined) {
      throw new StoreError('ACTOR_STOPPED', `${failure.message}; ${doubt}: the node stops, and rejoins`, {
        cause: failure,
      });
    }
  }
  return world.restarts.note(death);
}
