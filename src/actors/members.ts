/**
 * Members: replication's side of who belongs to the cluster. It tells the mesh whom to reach and the gateway who is who,
 * takes requests about members, from this node's clients or from a node that does not lead, and answers each when its
 * change is committed.
 *
 * A node is spoken of by a number in shared memory and rings: its place in `known`, which begins with the founders in
 * their order and only ever grows at its end.
 *
 * Bounds: REQUESTS_MAX under way here, and as many handed to the leader; each ends with its change, with a change of
 * leader, or after REQUEST_MS.
 */
import { ByteWriter, utf8 } from '../core/base/bytes.ts';
import type { Clock } from '../core/base/env.ts';
import { type ErrorCode, isStoreError, StoreError } from '../core/base/errors.ts';
import { type Index, toIndex } from '../core/base/position.ts';
import { resultCode } from '../core/model/machine.ts';
import {
  type Member,
  type Membership,
  RESTORED_DIR,
  withDirs,
  withLearner,
  withoutMember,
  withReplacement,
  withVoter,
} from '../core/raft/membership.ts';
import type { Raft } from '../core/raft/raft.ts';
import type { NodeId } from '../core/raft/types.ts';
import { decodeMemberRequest, type MemberRequest, type MembersReply } from '../core/wire/members.ts';
import type { MeshMessage } from '../core/wire/mesh.ts';
import { TO_GATEWAY } from './messages.ts';
import { BEHIND_MAX, Returns } from './returns.ts';
import type { LogFunction } from './runtime/thread.ts';
import type { ROLES } from './shared.ts';

export interface MembersWorld {
  readonly raft: Raft;
  /** Identity of this node's data directory. */
  readonly dir: string;
  /** The founders, in the order that gives them their numbers. */
  readonly founders: readonly Member[];
  readonly clock: Clock;
  /** `index`: of the entry that names them. */
  readonly setPeers: (
    peers: readonly { readonly id: NodeId; readonly mesh: string; readonly dir: string; readonly votes: boolean }[],
    index: number,
  ) => void;
  readonly post: (to: NodeId, message: MeshMessage) => void;
  readonly tell: (frame: ByteWriter) => void;
  readonly log?: LogFunction | undefined;
}

/** Who asked: a client of this node, by token, or another node, by its own number of the request. */
interface Asker {
  readonly from: NodeId | undefined;
  readonly id: number;
}

/** A change whose entry is in the log, or a handing over. */
interface Change extends Asker {
  readonly term: number;
  /** Of its first entry; 0: it is a handing over. */
  readonly index: Index;
  readonly untilMs: number;
}

const REQUESTS_MAX = 64;
const REQUEST_MS = 60_000;
/** How long founders that have not come are waited for before those that have are remembered. */
const DIRS_WAIT_MS = 5_000;

export class Members {
  readonly #world: MembersWorld;
  readonly #known: Member[];
  #version = -1;
  /** Under way at this leader. */
  #changes: Change[] = [];
  /** Handed to a leader, by number: the token of the client who asked. */
  readonly #handed = new Map<number, { readonly token: number; readonly to: NodeId; readonly untilMs: number }>();
  #nextId = 1;
  /** Data directories by node, as they said in their hellos. */
  readonly #seenDirs = new Map<NodeId, string>();
  #dirsSinceMs: number | undefined;
  readonly #returns: Returns;

  constructor(world: MembersWorld) {
    this.#world = world;
    this.#returns = new Returns({ ...world, connectedDir: (id) => this.#seenDirs.get(id) });
    this.#known = [...world.founders];
    if (world.dir !== '') this.#seenDirs.set(world.raft.id, world.dir);
  }

  /** The number that stands for `id`; 0 is nobody. */
  numberOf(id: NodeId): number {
    return id === '' ? 0 : this.#known.findIndex((member) => member.id === id) + 1;
  }

  /** Looks what has come of the log: tells whom it concerns, answers who waited. Once per turn. */
  look(): void {
    const { raft } = this.#world;
    if (raft.configuration.version !== this.#version) this.#publish();
    if (this.#changes.length > 0) this.#answerDone();
    this.#returns.look();
  }

  /** A peer was let in, with this data directory: if it is not known, or was restored, the members are told. */
  sawDir(peer: NodeId, dir: string): void {
    this.#seenDirs.set(peer, dir);
  }

  /** It is gone, and may come back with another directory. */
  peerLeft(peer: NodeId): void {
    this.#seenDirs.delete(peer);
  }

  /**
   * Has the log remember whose data directory is which, so that a wiped disk under an old name is known for one. Of the
   * founders all at once, or those that came in a while.
   */
  #recordDirs(nowMs: number): void {
    const { raft } = this.#world;
    const { configuration, log } = raft;
    const { members } = configuration.current;
    const unknown = members.filter(({ id, dir }) => isNews(dir, this.#seenDirs.get(id)));
    const isTime = raft.isLeader && raft.hasCommittedInTerm && !raft.isTransferring && members.length > 1;
    if (!isTime || unknown.length === 0 || configuration.isJoint || configuration.index > log.committed) {
      this.#dirsSinceMs = undefined;
      return;
    }
    this.#dirsSinceMs ??= nowMs;
    const isAll = members.every(({ id, dir }) => dir !== undefined || this.#seenDirs.has(id));
    if (!isAll && nowMs - this.#dirsSinceMs < DIRS_WAIT_MS) return;
    this.#dirsSinceMs = undefined;
    const dirs = new Map(unknown.map(({ id }) => [id, this.#seenDirs.get(id) as string]));
    raft.changeMembers((now) => withDirs(now, dirs));
  }

  /** Ends what has waited too long. */
  tick(): void {
    this.#recordDirs(this.#world.clock.monotonicMs());
    this.#returns.tick();
    if (this.#handed.size === 0 && this.#changes.length === 0) return;
    const nowMs = this.#world.clock.monotonicMs();
    for (const [id, { token, untilMs }] of this.#handed) {
      if (untilMs > nowMs) continue;
      this.#handed.delete(id);
      this.#reply({ from: undefined, id: token }, unknownOutcome());
    }
    const late = this.#changes.filter(({ untilMs }) => untilMs <= nowMs);
    if (late.length === 0) return;
    this.#changes = this.#changes.filter((change) => !late.includes(change));
    for (const change of late) this.#reply(change, unknownOutcome());
  }

  /** A client of this node asks. */
  ask(token: number, request: Uint8Array): void {
    const { raft, post, clock } = this.#world;
    if (raft.isLeader) this.#take({ from: undefined, id: token }, request);
    else if (raft.leader === '') this.#reply({ from: undefined, id: token }, noLeader());
    else if (this.#handed.size >= REQUESTS_MAX) this.#reply({ from: undefined, id: token }, tooMany());
    else {
      const id = this.#nextId++;
      this.#handed.set(id, { token, to: raft.leader, untilMs: clock.monotonicMs() + REQUEST_MS });
      post(raft.leader, { kind: 'member', id, request });
    }
  }

  /** A node asks, for a client of its own. It is not handed on again. */
  asked(from: NodeId, id: number, request: Uint8Array): void {
    if (this.#world.raft.isLeader) this.#take({ from, id }, request);
    else this.#reply({ from, id }, noLeader());
  }

  /** The leader has answered what was handed to it. */
  replied(id: number, code: number, body: Uint8Array): void {
    const handed = this.#handed.get(id);
    if (handed === undefined) return;
    this.#handed.delete(id);
    this.#tell(handed.token, code, body);
  }

  /** Nobody knows whether what was handed to `peer` has arrived. */
  lost(peer: NodeId): void {
    for (const [id, { token, to }] of this.#handed) {
      if (to !== peer) continue;
      this.#handed.delete(id);
      this.#reply({ from: undefined, id: token }, unknownOutcome());
    }
  }

  #take(asker: Asker, bytes: Uint8Array): void {
    const { raft, clock } = this.#world;
    try {
      const request = decodeMemberRequest(bytes);
      if (request.op === 'list') return this.#reply(asker);
      if (request.op === 'readmit') return this.#returns.ask(request, (error) => this.#reply(asker, error));
      if (this.#changes.length >= REQUESTS_MAX) throw tooMany();
      const index = request.op === 'transfer' ? this.#handOver(request.to) : this.#change(request);
      this.#changes.push({ ...asker, term: raft.term, index, untilMs: clock.monotonicMs() + REQUEST_MS });
    } catch (error) {
      if (!isStoreError(error)) throw error;
      this.#reply(asker, error);
    }
  }

  #handOver(to: NodeId | undefined): Index {
    const { raft } = this.#world;
    if (to === raft.id) throw new StoreError('MEMBER_REFUSED', `${to} leads already`);
    if (raft.isTransferring) throw new StoreError('MEMBER_REFUSED', 'the leader is handing over already');
    if (!raft.transfer(to)) {
      const why = to === undefined ? 'there is no other voter that follows' : `${to} is not a voter`;
      throw new StoreError('MEMBER_REFUSED', `nobody to hand over to: ${why}`);
    }
    return toIndex(0);
  }

  #change(request: Exclude<MemberRequest, { op: 'list' | 'transfer' | 'readmit' }>): Index {
    const { raft, log } = this.#world;
    const index = raft.changeMembers((now) => this.#next(now, request));
    if (index === undefined) throw noLeader();
    log?.('info', 'members.change', { ...request, index });
    return index;
  }

  #next(now: Membership, request: Exclude<MemberRequest, { op: 'list' | 'transfer' | 'readmit' }>): Membership {
    if (request.op === 'add') return withLearner(now, request.member);
    if (request.op === 'remove') return withoutMember(now, request.id);
    const isPromotion = request.op === 'promote';
    const next = isPromotion ? withVoter(now, request.id) : withReplacement(now, request.id, request.with);
    this.#checkCaughtUp(isPromotion ? request.id : request.with);
    return next;
  }

  #checkCaughtUp(id: NodeId): void {
    const { raft } = this.#world;
    const progress = raft.progressOf(id);
    if (progress === undefined || progress.match === 0) {
      throw new StoreError('MEMBER_REFUSED', `${id} has not been heard of yet; start it, and try again`);
    }
    const behind = raft.log.last - progress.match;
    if (behind <= BEHIND_MAX) return;
    throw new StoreError('MEMBER_REFUSED', `${id} is ${behind} entries behind; promote it when it has caught up`);
  }

  #answerDone(): void {
    const { raft } = this.#world;
    const { configuration, log, term } = raft;
    const isSettled = !configuration.isJoint && configuration.index <= log.committed;
    const left: Change[] = [];
    for (const change of this.#changes) {
      const isHandedOver = change.index === 0 && !raft.isLeader && raft.leader !== '' && raft.leader !== raft.id;
      // Whoever removed the leader hears of it from the leader that was.
      if (change.index > 0 && isSettled && log.term(change.index) === change.term && change.index <= log.committed) {
        this.#reply(change);
      } else if (isHandedOver) this.#reply(change);
      else if (change.index === 0 && raft.isLeader && !raft.isTransferring) {
        this.#reply(
          change,
          new StoreError('MEMBER_REFUSED', 'the successor did not take over in time; nothing changed'),
        );
      } else if (change.index > 0 && term !== change.term && !isSettled && !raft.isLeader) {
        this.#reply(change, unknownOutcome());
      } else left.push(change);
    }
    this.#changes = left;
  }

  // ── what others hear ──────────────────────────────────────────────────────────────────────────────────────

  #publish(): void {
    const { raft, setPeers, tell, log } = this.#world;
    const { current, index, version } = raft.configuration;
    this.#version = version;
    for (const member of current.members) {
      const at = this.#known.findIndex(({ id }) => id === member.id);
      if (at === -1) this.#known.push(member);
      // Founders without an entry have the addresses of the config.
      else if (member.mesh !== '') this.#known[at] = member;
    }
    // Whoever comes under the name of one that left has another directory.
    const isMember = (id: NodeId): boolean => id === raft.id || current.members.some((member) => member.id === id);
    for (const id of this.#seenDirs.keys()) if (!isMember(id)) this.#seenDirs.delete(id);
    setPeers(
      current.members.map(({ id, mesh, dir = '' }) => ({ id, mesh, dir, votes: raft.configuration.isVoter(id) })),
      index,
    );
    tell(jsonFrame(new ByteWriter(512).u8(TO_GATEWAY.members), { known: this.#known }));
    const { voters, outgoing, learners } = current;
    if (index > 0) log?.('info', 'members.now', { index, voters, outgoing, learners });
  }

  /** This node as others see it: whoever has no vote is a learner to them. */
  get role(): (typeof ROLES)[number] {
    const { role, configuration, id, hasForgotten } = this.#world.raft;
    if (role === 'follower') return configuration.isVoter(id) && !hasForgotten ? 'follower' : 'learner';
    return role === 'leader' ? 'leader' : 'candidate';
  }

  #view(): MembersReply {
    const { raft } = this.#world;
    const { current, index } = raft.configuration;
    const progress: Record<NodeId, { match: number; isActive: boolean; state: string }> = {
      [raft.id]: { match: raft.log.stable, isActive: true, state: 'leader' },
    };
    const stranded = raft.logHolders?.stranded ?? [];
    for (const { id } of current.members) {
      const of = raft.progressOf(id);
      if (of === undefined) continue;
      const state = stranded.includes(id) ? 'snapshot' : of.state;
      progress[id] = { match: of.match, isActive: of.isActive, state };
    }
    return { ...current, index, leader: raft.leader, term: raft.term, progress };
  }

  #reply(asker: Asker, error?: StoreError): void {
    const code = error === undefined ? 0 : resultCode(error.code);
    const body = utf8(JSON.stringify(error === undefined ? this.#view() : { message: error.message }));
    if (asker.from === undefined) this.#tell(asker.id, code, body);
    else this.#world.post(asker.from, { kind: 'memberReply', id: asker.id, code, body });
  }

  #tell(token: number, code: number, body: Uint8Array): void {
    this.#world.tell(new ByteWriter(64 + body.length).u8(TO_GATEWAY.member).u32(token).u8(code).raw(body));
  }
}

function jsonFrame(writer: ByteWriter, value: unknown): ByteWriter {
  return writer.raw(utf8(JSON.stringify(value)));
}

/** A directory that is not known yet, or one that an operator has restored in the place of another. */
const isNews = (known: string | undefined, seen: string | undefined): boolean =>
  seen !== undefined && seen !== known && (known === undefined || seen.startsWith(RESTORED_DIR));

const failure = (code: ErrorCode, message: string): StoreError => new StoreError(code, message);
const noLeader = (): StoreError => failure('UNAVAILABLE', 'nobody leads at the moment');
const tooMany = (): StoreError => failure('OVERLOADED', `${REQUESTS_MAX} requests about members are under way`);
const unknownOutcome = (): StoreError =>
  failure('OUTCOME_UNKNOWN', 'it may or may not have happened; list the members to see');
