/**
 * Health: what /healthz says of a node: every actor runs and answers, none is on its way back, and the log can be synced.
 */
import type { Supervisor } from '../actors/supervisor.ts';
import type { ActorName, Shared } from '../actors/shared.ts';
import type { Readiness } from '../net/http-door.ts';

export interface HealthFacts {
  readonly supervisor: Pick<Supervisor, 'actors'>;
  readonly shared: Shared;
  /** Who has died, until all are back. */
  readonly comingBack: ActorName | undefined;
  /** The node is stopping by itself. */
  readonly hasFailed: boolean;
}

export function healthOf({ supervisor, shared, comingBack, hasFailed }: HealthFacts): Readiness {
  const { actors } = supervisor;
  const isRunning = !hasFailed && comingBack === undefined && actors.every(([, state]) => state === 'running');
  const wal = shared.get('walFailed') === 0 ? 'ok' : 'a sync failed';
  const back = comingBack === undefined ? {} : { [comingBack]: 'coming back' };
  return { ok: isRunning && wal === 'ok', checks: { ...Object.fromEntries(actors), ...back, wal } };
}
