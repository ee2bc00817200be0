/**
 * Access: what each role may ask for, where a cluster wants to know who asks, and what each request of a client needs.
 *
 *   read    what is there: keys, rows, schemas, limits, members, the fleet, actors
 *   write   the same, and keys and rows
 *   admin   everything: families, tables, writers, limits, stages, members
 *   node    another node of the cluster: to be let in again after a repair, and nothing else
 *
 * Following the ledger is a matter of its own where the config names readers (actors/gateway/readers.ts).
 */
import { ByteReader, equalBytes } from '../base/bytes.ts';
import { controlKind } from '../model/control/commands.ts';
import { CONTROL_BYTE } from '../model/limits.ts';
import { decodeGet, REQUEST, type RequestKind } from './client.ts';
import { decodeMemberRequest } from './members.ts';

/** What a config may give. */
export type CallerRole = 'read' | 'write' | 'admin';
export const CALLER_ROLES: readonly CallerRole[] = ['read', 'write', 'admin'];
export type Role = CallerRole | 'node';
/** What a request needs. */
export type Need = 'read' | 'write' | 'admin' | 'members' | 'readmit';

const MAY: Readonly<Record<Role, readonly Need[]>> = {
  read: ['read', 'members'],
  write: ['read', 'members', 'write'],
  admin: ['read', 'members', 'write', 'readmit', 'admin'],
  node: ['members', 'readmit'],
};

export const mayAsk = (role: Role, need: Need): boolean => MAY[role].includes(need);

/** The least of a config's roles that may. */
export const roleFor = (need: Need): CallerRole => CALLER_ROLES.find((role) => mayAsk(role, need)) ?? 'admin';

/**
 * Nothing ever lies at this key. Who gets it `atLeast` some revision learns when a node has applied that far, and nothing
 * else: so it is asked for with requests about members.
 */
export const PROBE_KEY: Uint8Array = Uint8Array.of(CONTROL_BYTE, 0);

const READS: ReadonlySet<RequestKind> = new Set([
  REQUEST.range,
  REQUEST.watch,
  REQUEST.ledger,
  REQUEST.controlRead,
  REQUEST.actors,
  REQUEST.fleet,
]);

/**
 * Undefined: anybody may ask this. The body is only looked at; one that is no body of its kind is refused where it is
 * read. Throws BAD_REQUEST, PROTOCOL_ERROR for some of those.
 */
export function needOf(kind: RequestKind, body: Uint8Array): Need | undefined {
  if (kind === REQUEST.status) return undefined;
  if (kind === REQUEST.members) return needOfMembers(body);
  if (kind === REQUEST.get) return equalBytes(decodeGet(new ByteReader(body)).key, PROBE_KEY) ? 'members' : 'read';
  if (kind === REQUEST.control) return needOfControl(body);
  return READS.has(kind) ? 'read' : 'write';
}

function needOfMembers(body: Uint8Array): Need {
  const { op } = decodeMemberRequest(body);
  if (op === 'list') return 'members';
  return op === 'readmit' ? 'readmit' : 'admin';
}

/** Rows, and what a writer remembers with them, are what writers are for. */
function needOfControl(body: Uint8Array): Need {
  const reader = new ByteReader(body);
  for (let counters = 0; counters < 3; counters++) reader.varint();
  const kind = controlKind(reader.u8());
  return kind === 'mutate' || kind === 'setCookie' ? 'write' : 'admin';
}
