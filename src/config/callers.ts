/**
 * Callers, as a config has them and as a node's doors want them: by the hash of their token.
 *
 * Nodes of a cluster that names callers are callers too: one that was repaired asks the others to be let in again. They
 * share a config and nothing else, so their token is made from it: from the hashes of all callers' tokens. Whoever can
 * read the config has it, and with it what the role `node` may, not what an admin may.
 */
import { createHash } from 'node:crypto';
import type { CallerRole } from '../core/wire/access.ts';
import { tokenHash } from './readers.ts';
import type { ClusterConfig } from './types.ts';
import { isLoopback, parseAddress } from './url.ts';

interface CallerGrant {
  readonly name: string;
  readonly tokenSha256: string;
  readonly role: CallerRole | 'node';
}

type Env = Readonly<Record<string, string | undefined>>;

/** Empty: everybody may everything. Throws CONFIG_INVALID for a token that is not in the environment, or too short. */
export function callerGrants(config: Pick<ClusterConfig, 'callers'>, env: Env): CallerGrant[] {
  const named = namedGrants(config, env);
  if (named.length === 0) return [];
  return [...named, { name: 'a node', role: 'node', tokenSha256: sha256(tokenOfNodes(named)) }];
}

/** What a node shows the others; undefined: they do not ask. */
export function nodeToken(config: Pick<ClusterConfig, 'callers'>, env: Env): string | undefined {
  const named = namedGrants(config, env);
  return named.length === 0 ? undefined : tokenOfNodes(named);
}

/** Where other machines may ask a node for everything, as nobody is asked who he is: its addresses; mostly none. */
export function openAddresses({ callers, nodes }: Pick<ClusterConfig, 'callers' | 'nodes'>, id: string): string[] {
  const node = nodes[id];
  if (node === undefined || Object.keys(callers).length > 0) return [];
  return [node.client, node.http].filter((address) => !isLoopback(parseAddress(address)?.host ?? ''));
}

const namedGrants = ({ callers }: Pick<ClusterConfig, 'callers'>, env: Env): CallerGrant[] =>
  Object.entries(callers).map(([name, { role, ...token }]) => {
    return { name, role, tokenSha256: tokenHash(`callers.${name}`, token, env) };
  });

const tokenOfNodes = (grants: readonly CallerGrant[]): string =>
  sha256(['ctlmesh node', ...grants.map(({ tokenSha256 }) => tokenSha256.toLowerCase()).toSorted()].join(' '));

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
