/**
 * Status: what a node says of itself, read from the shared block when it is asked.
 */
import { ROLES, type Shared } from '../actors/shared.ts';
import type { NodeStatus } from '../client/types.ts';
import { VERSION } from '../core/base/version.ts';
import type { Member } from '../core/raft/membership.ts';
import { repairState } from './repair-watch.ts';

export interface StatusFacts {
  readonly node: string;
  readonly cluster: string;
  readonly shared: Shared;
  /** Everybody who ever was a member, in the order of their numbers. */
  readonly known: readonly Member[];
  readonly memtableBytesMax: number;
  readonly uptimeMs: number;
  /** Its directory took the place of a damaged one. */
  readonly isRepaired: boolean;
}

export function statusOf(facts: StatusFacts): NodeStatus {
  const { node, cluster, shared, memtableBytesMax, uptimeMs } = facts;
  const leader = leaderOf(shared, facts.known);
  const timeMs = shared.get('timeMs');
  const status: NodeStatus = {
    node,
    cluster,
    role: ROLES[shared.get('role')] ?? 'follower',
    term: shared.get('term'),
    leader: leader.name === '' ? null : leader.name,
    leaderUrl: leader.url === '' ? null : leader.url,
    committed: shared.get('committed'),
    applied: shared.get('applied'),
    lastIndex: shared.get('lastIndex'),
    lagMs: timeMs === 0 ? null : Math.max(0, Date.now() - timeMs),
    keys: Math.max(0, shared.get('tableKeys') + shared.get('memtableKeys')),
    memtableBytes: shared.get('memtableBytes'),
    memtableBytesMax,
    tableBytes: shared.get('tableBytes'),
    flushed: shared.get('flushed'),
    version: VERSION,
    uptimeMs: Math.round(uptimeMs),
  };
  const snapshot = { bytes: shared.get('snapshotBytes'), received: shared.get('snapshotReceived') };
  const repair = repairState({ isRepaired: facts.isRepaired, status, snapshot });
  return repair === undefined ? status : { ...status, repair };
}

/** Who leads, as far as this node knows; empty strings when it knows of nobody. */
export function leaderOf(shared: Shared, known: readonly Member[]): { readonly name: string; readonly url: string } {
  const leader = known[shared.get('leader') - 1];
  return leader === undefined ? { name: '', url: '' } : { name: leader.id, url: leader.client };
}
