/**
 * Membership: who belongs to the cluster, as an entry of the log says it, and how one membership becomes another.
 *
 * Voters change by joint consensus (paper §6): first an entry with both sets of voters, where everything needs a
 * majority of each; once that is committed, an entry with the new set alone. So at no time can two majorities exist that
 * share nobody, whatever the step: one voter more, one less, one for another. Learners get the log and count for nothing;
 * they come and go with one entry.
 *
 * A voter whose directory is damaged *returns* with an empty one, under its name: it gives up its vote (a joint step),
 * is a learner with the new directory (one entry), and votes again once it has caught up (a joint step). Each of these
 * is a membership like any other, so whoever leads meanwhile can go on from it.
 *
 *   entry = 0x80 | version u8 (1, or 2 when somebody returns) | members | voters | outgoing | learners | returning (2)
 *   members = count varint, (id string, mesh string, client string, http string, dir string)*
 *   voters, outgoing, learners, returning = count varint, (place in members varint)*
 *
 * The first byte is none of a command's (core/model/commands.ts): Raft knows its own entries by it.
 */
import { assert } from '../base/assert.ts';
import { ByteReader, ByteWriter } from '../base/bytes.ts';
import { StoreError } from '../base/errors.ts';
import type { NodeId } from './types.ts';

/**
 * Where a member is reached: `mesh` and `http` are "host:port" (http may be ""), `client` is a ws:// address. `dir` is the
 * identity of its data directory, once the leader has heard of it. Who comes under its name with another
 * directory has forgotten what it promised, and is not let in.
 */
export interface Member {
  readonly id: NodeId;
  readonly mesh: string;
  readonly client: string;
  readonly http: string;
  readonly dir?: string;
}

export interface Membership {
  readonly voters: readonly NodeId[];
  /** The voters before, while a change of voters is under way; else nobody. */
  readonly outgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Of the learners, those that voted until their directory was lost, and will again; left out: nobody. */
  readonly returning?: readonly NodeId[];
  /** Everybody named above, once. */
  readonly members: readonly Member[];
}

/** How the identity begins of a directory that an operator restored: it is another one, and on purpose. */
export const RESTORED_DIR = 'restored-';
/** The same of one that a node began, empty, because its own was damaged. It counts only where the members name it. */
export const REPAIRED_DIR = 'repaired-';

const CONFIG_ENTRY = 0x80;
const VERSION = 1;
/** With the list of those that return: what older nodes cannot read is written only where it says something. */
const VERSION_RETURNING = 2;
/** More than that is a mistake: every entry goes to everybody. */
export const MEMBERS_MAX = 64;

export const isMembershipEntry = (data: Uint8Array): boolean => data[0] === CONFIG_ENTRY;

/** Members that all vote: what a cluster begins with. */
export function initialMembership(members: readonly Member[]): Membership {
  return { voters: members.map(({ id }) => id), outgoing: [], learners: [], members };
}

/** The same of ids alone, where nobody asks for addresses. */
export function votersOnly(voters: readonly NodeId[]): Membership {
  return initialMembership(voters.map((id) => ({ id, mesh: '', client: '', http: '' })));
}

export const isJoint = (membership: Membership): boolean => membership.outgoing.length > 0;

export function encodeMembership(membership: Membership): Uint8Array {
  const { members, voters, outgoing, learners, returning = [] } = membership;
  const version = returning.length > 0 ? VERSION_RETURNING : VERSION;
  const writer = new ByteWriter(256).u8(CONFIG_ENTRY).u8(version).varint(members.length);
  for (const { id, mesh, client, http, dir = '' } of members) {
    writer.string(id).string(mesh).string(client).string(http).string(dir);
  }
  const place = new Map(members.map(({ id }, i) => [id, i]));
  for (const ids of [voters, outgoing, learners, ...(version === VERSION ? [] : [returning])]) {
    writer.varint(ids.length);
    for (const id of ids) {
      const at = place.get(id);
      assert(at !== undefined, 'whoever is named is a member');
      writer.varint(at);
    }
  }
  return writer.take();
}

/** Throws PROTOCOL_ERROR. */
export function decodeMembership(data: Uint8Array): Membership {
  const reader = new ByteReader(data);
  if (reader.u8() !== CONFIG_ENTRY) throw new StoreError('PROTOCOL_ERROR', 'this is no entry of members');
  const version = reader.u8();
  if (version !== VERSION && version !== VERSION_RETURNING) {
    throw new StoreError('PROTOCOL_ERROR', `members of version ${version}; ${VERSION_RETURNING} is known`);
  }
  const count = reader.varint();
  if (count > MEMBERS_MAX) throw new StoreError('PROTOCOL_ERROR', `${count} members; ${MEMBERS_MAX} at most`);
  const members: Member[] = [];
  for (let i = 0; i < count; i++) {
    const [id, mesh, client] = [reader.string(), reader.string(), reader.string()];
    const http = reader.string();
    const dir = reader.string();
    members.push({ id, mesh, client, http, ...(dir === '' ? {} : { dir }) });
  }
  const ids = (): NodeId[] => {
    const length = reader.varint();
    if (length > count) throw new StoreError('PROTOCOL_ERROR', 'more are named than there are members');
    return Array.from({ length }, () => {
      const member = members[reader.varint()];
      if (member === undefined) throw new StoreError('PROTOCOL_ERROR', 'somebody is named who is no member');
      return member.id;
    });
  };
  const membership = { voters: ids(), outgoing: ids(), learners: ids(), members };
  const returning = version === VERSION ? [] : ids();
  reader.end();
  return returning.length === 0 ? membership : { ...membership, returning };
}

// ── changes ─────────────────────────────────────────────────────────────────────────────────────────────────────

const refused = (message: string): StoreError => new StoreError('MEMBER_REFUSED', message);

/** A new member begins as a learner. */
export function withLearner(now: Membership, member: Member): Membership {
  if (now.members.some(({ id }) => id === member.id)) throw refused(`${member.id} is a member already`);
  if (now.members.length >= MEMBERS_MAX) throw refused(`a cluster has ${MEMBERS_MAX} members at most`);
  const taken = now.members.find(({ mesh }) => mesh !== '' && mesh === member.mesh);
  if (taken !== undefined) throw refused(`${member.mesh} is the address of ${taken.id}`);
  return { ...now, learners: [...now.learners, member.id], members: [...now.members, member] };
}

/** What is known now of the members' directories; of the others nothing changes. */
export function withDirs(now: Membership, dirs: ReadonlyMap<NodeId, string>): Membership {
  return { ...now, members: now.members.map((member) => withDir(member, dirs.get(member.id))) };
}

const withDir = (member: Member, dir: string | undefined): Member => (dir === undefined ? member : { ...member, dir });

/** A learner votes from now on. */
export function withVoter(now: Membership, id: NodeId): Membership {
  if (now.voters.includes(id)) throw refused(`${id} votes already`);
  if (!now.learners.includes(id)) throw refused(`${id} is not a member; add it first`);
  return joint(now, [...now.voters, id]);
}

export function withoutMember(now: Membership, id: NodeId): Membership {
  if (now.learners.includes(id)) return settled(ofLearners(now, (learner) => learner !== id));
  if (!now.voters.includes(id)) throw refused(`${id} is not a member`);
  const voters = now.voters.filter((voter) => voter !== id);
  if (voters.length === 0) throw refused(`${id} is the last voter; nobody would be left to decide anything`);
  return joint(now, voters);
}

/** A learner votes in the place of a voter, who leaves: one change, so that the number of voters stays the same. */
export function withReplacement(now: Membership, old: NodeId, by: NodeId): Membership {
  if (!now.voters.includes(old)) throw refused(`${old} does not vote`);
  if (!now.learners.includes(by)) throw refused(`${by} is not a learner; add it first, and let it catch up`);
  return joint(now, [...now.voters.filter((voter) => voter !== old), by]);
}

/** A voter whose directory is lost gives up its vote, and returns. Its old directory is the one named until it is replaced. */
export function withoutVote(now: Membership, id: NodeId): Membership {
  const { learners, returning = [], ...rest } = withoutMember(now, id);
  return { ...rest, learners: [...learners, id], returning: [...returning, id] };
}

function joint(now: Membership, voters: readonly NodeId[]): Membership {
  if (isJoint(now)) throw refused('a change of members is under way');
  return ofLearners({ ...now, voters, outgoing: now.voters }, (id) => !voters.includes(id));
}

/** With those of the learners that `isLeft`; nobody returns who is not among them. */
function ofLearners({ returning = [], ...now }: Membership, isLeft: (id: NodeId) => boolean): Membership {
  const learners = now.learners.filter(isLeft);
  const left = returning.filter((id) => learners.includes(id));
  return { ...now, learners, ...(left.length === 0 ? {} : { returning: left }) };
}

/** What a joint membership ends in: the old voters that are not among the new ones are gone. */
export const withoutOutgoing = (now: Membership): Membership => settled({ ...now, outgoing: [] });

function settled(now: Membership): Membership {
  const named = new Set([...now.voters, ...now.outgoing, ...now.learners]);
  return { ...now, members: now.members.filter(({ id }) => named.has(id)) };
}
