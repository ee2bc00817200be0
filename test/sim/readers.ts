/**
 * Readers: who may follow the ledger in the simulator, and which replicas there are.
 */
import type { ReaderGrant } from '../../src/actors/gateway/readers.ts';
import { sha256 } from '../../src/actors/gateway/control-reads.ts';
import { parseFilter } from '../../src/core/model/ledger-filter.ts';
import type { Chance } from './chance.ts';
import type { ReplicaKind } from './replica-world.ts';

const ALL = 'the token of who may have everything';
const PART = 'the token of who may have a part';

const PART_GRANT = parseFilter({ tables: ['fam/tab_a', 'odd/tab_b'], prefixes: ['key-2', 'key-3', 'list-'] });

export const READERS: readonly ReaderGrant[] = [
  { name: 'all', tokenSha256: hexOf(ALL), filter: undefined },
  { name: 'part', tokenSha256: hexOf(PART), filter: PART_GRANT },
];

type Kind = Omit<ReplicaKind, 'platter' | 'rings'>;

const WHOLE = { token: ALL, grant: undefined, wishes: [undefined] } as const;
const SHARE = {
  token: PART,
  grant: PART_GRANT,
  wishes: [undefined, { families: ['fam'], prefixes: ['key-'] }, { tables: ['odd/tab_b'], prefixes: ['list-1'] }],
} as const;

export const REPLICAS: readonly Kind[] = [
  { name: 'r1', ...WHOLE, isRelay: false },
  { name: 'r2', ...SHARE, isRelay: false },
];

/** Whom others may follow: one that has everything, and one that has that too, or only a part. */
export function relaysOf(chance: Chance): readonly Kind[] {
  const second = chance.is(0.7) ? WHOLE : { ...SHARE, wishes: [chance.of(SHARE.wishes)] };
  const relays = [
    { name: 'a1', ...WHOLE, isRelay: true },
    { name: 'a2', ...second, isRelay: true },
  ];
  return chance.is(0.3) ? relays.slice(0, 1) : relays;
}

function hexOf(token: string): string {
  return Buffer.from(sha256(new TextEncoder().encode(token))).toString('hex');
}
