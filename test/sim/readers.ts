/**
 * Readers: who may follow the ledger in the simulator, and which replicas there are.
 */
import type { ReaderGrant } from '../../src/actors/gateway/readers.ts';
import { sha256 } from '../../src/actors/gateway/control-reads.ts';
import { parseFilter } from '../../src/core/model/ledger-filter.ts';
import type { ReplicaKind } from './replica.ts';

const ALL = 'the token of who may have everything';
const PART = 'the token of who may have a part';

const PART_GRANT = parseFilter({ tables: ['fam/tab_a', 'odd/tab_b'], prefixes: ['key-2', 'key-3', 'list-'] });

export const READERS: readonly ReaderGrant[] = [
  { name: 'all', tokenSha256: hexOf(ALL), filter: undefined },
  { name: 'part', tokenSha256: hexOf(PART), filter: PART_GRANT },
];

export const REPLICAS: readonly Omit<ReplicaKind, 'platter'>[] = [
  { name: 'r1', token: ALL, grant: undefined, wishes: [undefined] },
  {
    name: 'r2',
    token: PART,
    grant: PART_GRANT,
    wishes: [undefined, { families: ['fam'], prefixes: ['key-'] }, { tables: ['odd/tab_b'], prefixes: ['list-1'] }],
  },
];

function hexOf(token: string): string {
  return Buffer.from(sha256(new TextEncoder().encode(token))).toString('hex');
}
