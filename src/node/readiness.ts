/**
 * Readiness: what /readyz says of a node. It is ready when whoever is sent to it is served: it is healthy, its doors are
 * open, it knows who leads, and its state is not far behind. A "no" says why, because somebody waits for it.
 */
import type { NodeStatus } from '../client/types.ts';
import type { Member } from '../core/raft/membership.ts';
import type { Readiness } from '../net/http-door.ts';
import { FED_LAG_MS } from './repair-watch.ts';

export interface ReadinessFacts {
  readonly isHealthy: boolean;
  readonly status: Pick<NodeStatus, 'role' | 'leader' | 'committed' | 'applied' | 'lagMs' | 'repair'>;
  /** This node, at the addresses of its config. */
  readonly own: Member;
  /** Clients can connect. */
  readonly isOpen: boolean;
  readonly isStopping: boolean;
}

/** Committed entries not yet applied above which a node is not ready to serve. */
const BACKLOG_MAX = 10_000;
const NO_STATE = 'it has no state yet';

export function readinessOf(facts: ReadinessFacts): Readiness {
  const { isHealthy, isOpen, isStopping } = facts;
  const { leader, committed, applied } = facts.status;
  const learner = whyLearning(facts);
  // Nothing was ever applied: the cluster is being born, or it is not fed (its disk was wiped, and nobody lets it in).
  const hasState = facts.status.lagMs !== null;
  return {
    ok:
      isHealthy &&
      isOpen &&
      !isStopping &&
      leader !== null &&
      committed - applied < BACKLOG_MAX &&
      hasState &&
      learner === undefined,
    checks: {
      health: isHealthy ? 'ok' : 'not healthy',
      leader: leader ?? 'none known',
      ...(learner === undefined ? {} : { learner }),
      applied: `${applied} of ${committed}`,
      ...(hasState || learner !== undefined ? {} : { state: NO_STATE }),
      ...(isOpen ? {} : { clients: 'not yet' }),
      ...(isStopping ? { stopping: 'yes' } : {}),
    },
  };
}

/** Why a node without a vote is not ready; undefined for one that has caught up with the leader, and for voters. */
function whyLearning({ status, own }: ReadinessFacts): string | undefined {
  const { role, leader, lagMs, repair } = status;
  if (repair !== undefined) return `in repair, ${repair}`;
  if (role !== 'learner') return undefined;
  if (leader === null) {
    const http = own.http === '' ? '' : ` --http ${own.http}`;
    const add = `kvctl member add ${own.id} --mesh ${own.mesh} --client ${own.client}${http}`;
    return `no leader speaks to it: it waits to be added (${add}), or was removed`;
  }
  if (lagMs === null) return NO_STATE;
  return lagMs > FED_LAG_MS ? `catching up: its state is ${lagMs} ms old` : undefined;
}
