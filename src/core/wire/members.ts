/**
 * Requests about members, as a client says them, and what comes back. They are few and read by people as often as by
 * programs, so they are JSON; whoever takes one checks every field, because what is added goes into the log of every node.
 *
 *   list                       who belongs to the cluster, and how far each of them is
 *   add member                 as a learner: it gets the log, and counts for nothing
 *   promote id                 a learner that has caught up votes from now on
 *   remove id
 *   replace id, with           a learner votes in the place of a voter, who leaves
 *   transfer to?               the leader hands over, to `to` or to whom it chooses
 *   readmit id, dir, replaces  a member whose directory `replaces` is damaged goes on with the empty one `dir`; it votes
 *                              again, if it did, once it has caught up
 *
 * The reply comes when the change is committed.
 */
import { utf8 } from '../base/bytes.ts';
import { StoreError } from '../base/errors.ts';
import { type Member, REPAIRED_DIR } from '../raft/membership.ts';
import type { NodeId } from '../raft/types.ts';

export type MemberRequest =
  | { readonly op: 'list' }
  | { readonly op: 'add'; readonly member: Member }
  | { readonly op: 'promote'; readonly id: NodeId }
  | { readonly op: 'remove'; readonly id: NodeId }
  | { readonly op: 'replace'; readonly id: NodeId; readonly with: NodeId }
  | { readonly op: 'transfer'; readonly to?: NodeId }
  | { readonly op: 'readmit'; readonly id: NodeId; readonly dir: string; readonly replaces: string };

/** How far the leader knows a member to be. */
export interface MemberProgress {
  /** The last entry that it is known to have on its disk. */
  readonly match: number;
  /** It was heard within the last election timeout. */
  readonly isActive: boolean;
  /** How it is fed: 'probe', 'replicate', 'snapshot', … */
  readonly state: string;
}

export interface MembersReply {
  /** The entry of the log that says so. */
  readonly index: number;
  readonly voters: readonly NodeId[];
  /** The voters before, while a change is under way; else nobody. */
  readonly outgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Of the learners, those that vote again once they have caught up: their directories were damaged. */
  readonly returning?: readonly NodeId[];
  readonly members: readonly Member[];
  readonly leader: NodeId;
  readonly term: number;
  readonly progress: Readonly<Record<NodeId, MemberProgress>>;
}

const NODE_ID = /^[a-z0-9-]{1,32}$/;
const DIR_ID = /^[a-z0-9-]{1,64}$/;
/** A name or address longer than that is none. */
const ADDRESS_MAX = 255;

export function encodeMemberRequest(request: MemberRequest): Uint8Array {
  return utf8(JSON.stringify(request));
}

/** Throws BAD_REQUEST, with what is wrong in words for who typed it. */
export function decodeMemberRequest(bytes: Uint8Array): MemberRequest {
  return checkMemberRequest(parse(bytes));
}

/** The same request, with every field looked at, and none that is not known. */
export function checkMemberRequest(value: unknown): MemberRequest {
  const request = fieldsOf(value, 'a request about members is an object');
  switch (request['op']) {
    case 'list':
      return { op: 'list' };
    case 'add':
      return { op: 'add', member: checkMember(request['member']) };
    case 'promote':
      return { op: 'promote', id: checkId(request['id']) };
    case 'remove':
      return { op: 'remove', id: checkId(request['id']) };
    case 'replace':
      return { op: 'replace', id: checkId(request['id']), with: checkId(request['with']) };
    case 'transfer':
      return request['to'] === undefined ? { op: 'transfer' } : { op: 'transfer', to: checkId(request['to']) };
    case 'readmit':
      return { op: 'readmit', id: checkId(request['id']), ...checkDirs(request['dir'], request['replaces']) };
    default:
      throw new StoreError('BAD_REQUEST', `unknown request about members: ${String(request['op'])}`);
  }
}

/** The reply as it came: its shape is the node's word, but a node of another version may speak. Throws PROTOCOL_ERROR. */
export function decodeMembersReply(bytes: Uint8Array): MembersReply {
  const reply: unknown = JSON.parse(new TextDecoder().decode(bytes));
  const { members, voters, learners, outgoing, progress } = (reply ?? {}) as Partial<MembersReply>;
  const lists = [members, voters, learners, outgoing];
  if (!lists.every(Array.isArray) || typeof progress !== 'object') {
    throw new StoreError('PROTOCOL_ERROR', 'the reply says nothing of members');
  }
  return reply as MembersReply;
}

function checkMember(value: unknown): Member {
  const { id, mesh, client, http } = fieldsOf(value, 'a member is an object');
  return {
    id: checkId(id),
    mesh: checkHostPort('mesh', mesh),
    client: checkClientUrl(client),
    http: http === undefined || http === '' ? '' : checkHostPort('http', http),
  };
}

function checkId(id: unknown): NodeId {
  if (typeof id === 'string' && NODE_ID.test(id)) return id;
  throw new StoreError('BAD_REQUEST', `a node's id has 1 to 32 characters from a-z, 0-9 and '-'; this is ${show(id)}`);
}

/** Only a node that repairs itself begins such a directory: no other one can be put in a member's place. */
function checkDirs(dir: unknown, replaces: unknown): { readonly dir: string; readonly replaces: string } {
  const isDir = (value: unknown): value is string => typeof value === 'string' && DIR_ID.test(value);
  if (isDir(dir) && isDir(replaces) && dir !== replaces && dir.startsWith(REPAIRED_DIR)) return { dir, replaces };
  throw new StoreError('BAD_REQUEST', `no directory for a member that returns: ${show(dir)} for ${show(replaces)}`);
}

function checkHostPort(name: string, value: unknown): string {
  const url = urlOf(typeof value === 'string' ? `http://${value}` : value);
  // A port is asked for by its digits: a URL forgets the usual one.
  const isWhole = url !== undefined && /:\d+$/.test(value as string) && isBare(url) && url.username === '';
  if (isWhole && url.hostname !== '') return value as string;
  throw new StoreError('BAD_REQUEST', `the ${name} address is host:port; this is ${show(value)}`);
}

function checkClientUrl(value: unknown): string {
  const url = urlOf(value);
  // wss: a proxy may stand before the node.
  if (url !== undefined && /^wss?:$/.test(url.protocol) && url.hostname !== '' && url.username === '') {
    return value as string;
  }
  throw new StoreError('BAD_REQUEST', `the client address is a ws:// URL; this is ${show(value)}`);
}

const isBare = (url: URL): boolean => url.pathname === '/' && url.search === '' && url.hash === '';

function urlOf(value: unknown): URL | undefined {
  if (typeof value !== 'string' || value.length > ADDRESS_MAX || /[\s@]/.test(value)) return undefined;
  if (!URL.canParse(value)) return undefined;
  const url = new URL(value);
  return url.port === '0' ? undefined : url;
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new StoreError('BAD_REQUEST', 'a request about members is JSON', { cause });
  }
}

function fieldsOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  throw new StoreError('BAD_REQUEST', what);
}

const show = (value: unknown): string => (JSON.stringify(value) ?? String(value)).slice(0, 80);
