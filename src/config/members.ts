/**
 * Members, as a config has them: what a cluster begins with, and whom a node that joins lets in.
 *
 * A config says who founds a cluster. Who belongs to it later is said by the log alone: a file on one machine cannot
 * know it, and two files could disagree.
 */
import type { Member } from '../core/raft/membership.ts';
import type { ClusterConfig, NodeConfig } from './types.ts';
import { parseAddress } from './url.ts';

/** One node with the addresses at which the others find it. */
export function memberOf(id: string, node: NodeConfig): Member {
  return { id, mesh: hostPort(node.peer), client: node.client, http: hostPort(node.http) };
}

/** What the cluster begins with: the nodes that do not join, in the order of the config. */
export function foundingMembers(config: ClusterConfig): Member[] {
  return Object.entries(config.nodes)
    .filter(([, node]) => node.join !== true)
    .map(([id, node]) => memberOf(id, node));
}

/** Whom node `id` lets in though its log does not name them: everybody else, while it waits to be told. */
export function guestsOf(config: ClusterConfig, id: string): Member[] {
  if (config.nodes[id]?.join !== true) return [];
  return Object.entries(config.nodes)
    .filter(([other]) => other !== id)
    .map(([other, node]) => memberOf(other, node));
}

function hostPort(url: string): string {
  const address = parseAddress(url);
  if (address === undefined) return '';
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}
