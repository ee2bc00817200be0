/**
 * Raft: consensus as a pure machine. A message in, a Ready out; time is `tick()`; chance is injected.
 *
 * The driver's loop, whole:
 *
 *   raft.step(message) | raft.propose(datas) | raft.readIndex(id) | raft.tick()   any number, then once:
 *   const ready = raft.ready(budget)
 *     → WAL writes ready.persist; later, once synced: raft.persisted(seq), in order
 *     → ready.send leaves now; ready.sendOnceSynced leaves after `promisedAfter` is synced
 *     → ready.apply is applied
 *
 * Everything that happened in a turn is gathered by ready(): proposals made together share one persist and one
 * append per follower, which is where throughput comes from.
 *
 * Elections ask first (PreVote, thesis §9.6), so a node that was cut off does not raise terms; a leader that
 * hears from no quorum for an election timeout steps down (CheckQuorum, §6.2); nobody votes while it hears
 * from a leader. Only entries of the current term are committed by counting (§5.4.2, figure 8); the no-op at
 * the head of each term makes that happen at once.
 *
 * Invariants:
 *  - term never falls; at most one vote per term;
 *  - a promise (candidacy, vote, ack) leaves only after what it promises is synced;
 *  - the leader counts itself only up to `log.stable`.
 */
import { assert, unreachable } from '../base/assert.ts';
import { type Index, plus, type Term, toIndex, toTerm } from '../base/position.ts';
import { Acceptor } from './acceptor.ts';
import { Configuration } from './configuration.ts';
import { Leadership, type LogHolders } from './leadership.ts';
import { RaftLog } from './log.ts';
import { isMembershipEntry, type Membership } from './membership.ts';
import type { RaftOptions } from './options.ts';
import { Persists } from './persists.ts';
import type { Progress } from './progress.ts';
import { ReadQueue } from './reads.ts';
import type { HardState, Heartbeat, Message, NodeId, Ready, VoteReply, VoteRequest } from './types.ts';
import { NOBODY } from './types.ts';

export type { RaftOptions } from './options.ts';

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';

export class Raft {
  readonly id: NodeId;
  readonly log: RaftLog;
  role: Role = 'follower';
  leader: NodeId = NOBODY;
  term: Term;
  #vote: NodeId;

  readonly configuration: Configuration;

  readonly #options: RaftOptions;
  #leadership: Leadership | undefined;
  #votes = new Map<NodeId, boolean>();
  readonly #reads = new ReadQueue();

  #electionElapsed = 0;
  #heartbeatElapsed = 0;
  #electionTimeout = 0;

  #send: Message[] = [];
  #promises: Message[] = [];

  readonly #persists: Persists;
  readonly #acceptor: Acceptor;

  constructor(options: RaftOptions) {
    assert(options.heartbeatTicks < options.electionTicks, 'heartbeats come faster than elections');
    this.#options = options;
    this.id = options.id;
    const { membership, membershipIndex = toIndex(0), laterMemberships } = options;
    this.configuration = new Configuration({ index: membershipIndex, membership }, laterMemberships);
    this.term = options.hardState.term;
    this.#vote = options.hardState.vote;
    const { baseIndex = toIndex(0), baseTerm = toTerm(0), appliedIndex = baseIndex } = options;
    const { commit: committed } = options.hardState;
    this.log = new RaftLog({ ...options, baseIndex, baseTerm, appliedIndex, committed });
    assert(this.log.lastTerm <= this.term, 'no entry is of a later term than the node has seen');
    this.#persists = new Persists(this.log.last, this.hardState);
    const promise = (message: Message): void => void this.#promises.push(message);
    this.#acceptor = new Acceptor({ raft: this, persists: this.#persists, promise });
    this.#resetTimer();
  }

  get hardState(): HardState {
    return { term: this.term, vote: this.#vote, commit: this.log.committed };
  }

  get isLeader(): boolean {
    return this.role === 'leader';
  }

  /** The vote under its name is another directory's, whose promises are not known here. */
  get hasForgotten(): boolean {
    return this.configuration.hasForgotten(this.id, this.#options.dir);
  }

  /** The leader knows its commit index only after an entry of its own term is committed. */
  get hasCommittedInTerm(): boolean {
    return this.log.term(this.log.committed) === this.term;
  }

  /** A successor is being waited for; nothing is proposed meanwhile. */
  get isTransferring(): boolean {
    return this.#leadership?.transferee !== undefined;
  }

  progressOf(peer: NodeId): Progress | undefined {
    return this.#leadership?.progressOf(peer);
  }

  /** Who keeps the log long; only a leader knows. */
  get logHolders(): LogHolders | undefined {
    return this.#leadership?.holders;
  }

  // ── what may happen in a turn ─────────────────────────────────────────────────────────────────────────────

  tick(): void {
    this.#electionElapsed++;
    if (this.role !== 'leader') {
      if (this.#electionElapsed >= this.#electionTimeout) this.campaign();
      return;
    }
    if (this.#electionElapsed >= this.#options.electionTicks) {
      this.#electionElapsed = 0;
      if (this.#leadership?.hearsQuorum() === false) {
        this.#becomeFollower(this.term, NOBODY);
        return;
      }
      // Whoever was to take over has not: this node leads on.
      this.#leadership?.endTransfer();
    }
    this.#leadership?.tellCommits();
    if (++this.#heartbeatElapsed < this.#options.heartbeatTicks) return;
    this.#heartbeatElapsed = 0;
    this.#leadership?.heartbeat();
  }

  /** Stands for election now, if it votes: asks first, unless it is alone. */
  campaign(): void {
    if (this.role === 'leader') return;
    this.#resetTimer();
    if (!this.configuration.mayStand(this.id) || this.hasForgotten) return;
    this.leader = NOBODY;
    if (this.configuration.isAlone(this.id)) {
      this.#becomeCandidate();
      return;
    }
    this.role = 'preCandidate';
    this.#votes = new Map([[this.id, true]]);
    this.#requestVotes('preVote', plus(this.term, 1), this.#send);
    this.#countVotes();
  }

  /**
   * Takes commands into the log; all or none. Returns the first index, or undefined when this node is not the
   * leader or too much is under way already.
   */
  propose(datas: readonly Uint8Array[]): Index | undefined {
    if (this.role !== 'leader' || datas.length === 0) return undefined;
    if (this.isUncommittedFull || this.isTransferring) return undefined;
    assert(!datas.some(isMembershipEntry), 'members change by changeMembers');
    const first = plus(this.log.last, 1);
    this.log.append(datas.map((data, i) => ({ index: plus(first, i), term: this.term, data })));
    return first;
  }

  /**
   * Begins a change of members: `change` makes the next membership of the one in force. Returns the index of its entry;
   * the change is done when the configuration in force is not joint and committed. Throws MEMBER_REFUSED while
   * another change is under way, UNAVAILABLE when this leader cannot yet, or no longer, and whatever `change` throws; undefined: not the leader.
   */
  changeMembers(change: (now: Membership) => Membership): Index | undefined {
    return this.#leadership?.changeMembers(change);
  }

  /** Hands over to a voter (the most advanced one, when none is named). False: not the leader, or nobody to hand over to. */
  transfer(to?: NodeId): boolean {
    if (this.role !== 'leader') return false;
    const target = to ?? this.#leadership?.mostAdvanced();
    if (target === undefined || target === this.id || !this.configuration.isVoter(target)) return false;
    this.#electionElapsed = 0;
    this.#leadership?.transferTo(target);
    return true;
  }

  /** Too much waits for a quorum, or for this node's disk (a quorum can commit without it, and it must not drown). */
  get isUncommittedFull(): boolean {
    const { uncommittedBytes, unstableBytes } = this.log;
    return Math.max(uncommittedBytes, unstableBytes) > this.#options.uncommittedBytesMax;
  }

  /** Asks for a linearizable read; the answer comes in Ready.reads under `id`. False: not the leader. */
  readIndex(id: number): boolean {
    if (this.role !== 'leader') return false;
    this.#reads.ask(id);
    return true;
  }

  /** Someone at `peer` waits for the entry at `index` to be committed (a proposal that came from there). */
  awaitCommit(peer: NodeId, index: Index): void {
    this.#leadership?.awaitCommit(peer, index);
  }

  /** True while a follower could apply something at or below `index` and was not told so. See `tellCommits`. */
  hasUntoldCommit(index: Index): boolean {
    return this.#leadership?.hasUntoldCommit(index) ?? false;
  }

  /** Has the next Ready tell followers what is committed; a tick does so too. */
  tellCommits(): void {
    this.#leadership?.tellCommits();
  }

  /** The channel to `peer` was broken: what was under way may be lost. */
  unreachable(peer: NodeId): void {
    this.#leadership?.unreachable(peer);
  }

  /**
   * The leader's connection broke: it may be dead. Stands soon (after a short random wait, so that survivors do
   * not all stand at once) instead of after a whole timeout. A wrong guess costs nothing: the others still hear
   * from it and answer no pre-vote.
   */
  suspectLeader(peer: NodeId): void {
    if (this.role !== 'follower' || this.leader !== peer) return;
    this.leader = NOBODY;
    const waitTicks = 1 + Math.floor(this.#options.random() * Math.max(1, this.#options.electionTicks / 5));
    this.#electionElapsed = Math.max(this.#electionElapsed, this.#electionTimeout - waitTicks);
  }

  /** Everything up to persist `seq` is synced. Seqs come in order; some may be skipped (a later covers them). */
  persisted(seq: number): void {
    const index = this.#persists.synced(seq);
    if (index === undefined) return;
    this.log.stableTo(index);
    this.#leadership?.advanceCommit();
  }

  step(message: Message): void {
    if (message.term > this.term) {
      const isRequest = (message.kind === 'preVote' || message.kind === 'vote') && !message.isTransfer;
      // Whoever hears from a leader helps nobody to depose it (thesis §4.2.3), unless it asked for that itself.
      if (isRequest && this.leader !== NOBODY && this.#electionElapsed < this.#options.electionTicks) return;
      // A pre-vote, or a yes to ours, names a term that nobody has entered yet.
      const isHypothetical = message.kind === 'preVote' || (message.kind === 'preVoteReply' && message.granted);
      if (!isHypothetical) {
        const isFromLeader = message.kind === 'append' || message.kind === 'heartbeat' || message.kind === 'commit';
        this.#becomeFollower(message.term, isFromLeader ? message.from : NOBODY);
      }
    } else if (message.term < this.term) {
      this.#stepStale(message);
      return;
    }
    switch (message.kind) {
      case 'preVote':
      case 'vote':
        this.#stepVoteRequest(message);
        break;
      case 'preVoteReply':
        if (this.role === 'preCandidate') this.#takeVote(message);
        break;
      case 'voteReply':
        if (this.role === 'candidate') this.#takeVote(message);
        break;
      case 'append':
        this.#heardLeader(message.from);
        this.#acceptor.append(message);
        break;
      case 'commit':
        this.#heardLeader(message.from);
        this.#acceptor.told(message);
        break;
      case 'heartbeat':
        this.#heardLeader(message.from);
        this.#stepHeartbeat(message);
        break;
      case 'appendReply':
        this.#leadership?.appendReply(message);
        break;
      case 'heartbeatReply':
        this.#leadership?.heartbeatReply(message.from, message.readRound);
        break;
      case 'timeoutNow':
        if (this.role === 'follower' && this.leader === message.from && this.configuration.isVoter(this.id)) {
          if (!this.hasForgotten) this.#becomeCandidate(true);
        }
        break;
      default:
        unreachable(message);
    }
  }

  /** Gathers what the turn asks for. `applyBytesMax` bounds `apply`; the rest is handed out whole. */
  ready(applyBytesMax: number): Ready {
    this.configuration.committed(this.log.committed);
    if (this.#leadership?.steerMembers() === true) this.#becomeFollower(this.term, NOBODY);
    if (this.#leadership !== undefined) {
      if (this.hasCommittedInTerm) this.#leadership.startReads();
      this.#leadership.sendAppends();
    }
    const persist = this.#persists.take(this.log, this.hardState);
    const ready: Ready = {
      persist,
      send: this.#send,
      sendOnceSynced: this.#promises,
      promisedAfter: this.#persists.newest,
      apply: this.log.takeApply(applyBytesMax),
      reads: this.#reads.takeDone(),
    };
    this.#send = [];
    this.#promises = [];
    return ready;
  }

  checkInvariants(): void {
    this.log.checkInvariants();
    assert(this.role !== 'leader' || this.leader === this.id, 'a leader follows itself');
    assert((this.role === 'leader') === (this.#leadership !== undefined), 'a leader has its leadership');
    this.#leadership?.checkInvariants();
  }

  // ── elections ─────────────────────────────────────────────────────────────────────────────────────────────

  #requestVotes(kind: VoteRequest['kind'], term: Term, into: Message[], isTransfer = false): void {
    const { last: lastIndex, lastTerm } = this.log;
    for (const to of this.configuration.electorateOf(this.id)) {
      into.push({ kind, from: this.id, to, term, lastIndex, lastTerm, isTransfer });
    }
  }

  #stepVoteRequest(message: VoteRequest): void {
    // Who asks with an empty log founds a cluster, by the founders of long ago: who waits to be added to one does not help.
    const mayHelp = message.lastIndex > 0 || this.configuration.isVoter(this.id);
    const isUpToDate = mayHelp && !this.hasForgotten && this.log.isUpToDate(message.lastIndex, message.lastTerm);
    const reply = { from: this.id, to: message.from, lastIndex: this.log.last };
    if (message.kind === 'preVote') {
      const granted = message.term > this.term && isUpToDate;
      // A yes carries the asked-for term, so that it is not stale at the asker; a no carries ours, to teach it.
      const term = granted ? message.term : this.term;
      this.#send.push({ ...reply, kind: 'preVoteReply', term, granted });
      return;
    }
    const mayVote = this.#vote === message.from || (this.#vote === NOBODY && this.leader === NOBODY);
    const granted = mayVote && isUpToDate;
    if (granted) {
      this.#vote = message.from;
      this.#electionElapsed = 0;
    }
    this.#promises.push({ ...reply, kind: 'voteReply', term: this.term, granted });
  }

  /**
   * Whoever lacks what all members held has lost its disk, or has an old copy of it: it does not know what it promised,
   * and its yes is worth nothing.
   */
  #takeVote({ from, granted, lastIndex }: VoteReply): void {
    if (!this.#votes.has(from)) this.#votes.set(from, granted && lastIndex >= this.configuration.heldByMembers);
    this.#countVotes();
  }

  #countVotes(): void {
    const state = this.configuration.tally(this.#votes);
    if (state === 'lost') this.#becomeFollower(this.term, NOBODY);
    else if (state === 'won') this.role === 'preCandidate' ? this.#becomeCandidate() : this.#becomeLeader();
  }

  #becomeCandidate(isTransfer = false): void {
    this.role = 'candidate';
    this.leader = NOBODY;
    this.term = plus(this.term, 1);
    this.#vote = this.id;
    this.#votes = new Map();
    this.#resetTimer();
    // A yes may arrive late, at a later life of this node. It must not elect a log that was lost in between, nor the
    // same node twice in one term: so the others are asked once the log and the own vote are on disk, and only
    // then does the own vote count, like anybody's.
    this.#requestVotes('vote', this.term, this.#promises, isTransfer);
    const { last: lastIndex } = this.log;
    this.#promises.push({ kind: 'voteReply', from: this.id, to: this.id, term: this.term, granted: true, lastIndex });
  }

  #becomeLeader(): void {
    assert(this.role === 'candidate', 'only a candidate is elected');
    this.role = 'leader';
    this.leader = this.id;
    this.#resetTimer();
    this.#heartbeatElapsed = 0;
    const { appendBytesMax, inflightMessagesMax: messagesMax, inflightBytesMax: bytesMax } = this.#options;
    this.#leadership = new Leadership(
      {
        id: this.id,
        term: this.term,
        configuration: this.configuration,
        log: this.log,
        appendBytesMax,
        window: { messagesMax, bytesMax },
        send: (message) => this.#send.push(message),
      },
      this.#reads,
    );
    this.log.append([{ index: plus(this.log.last, 1), term: this.term, data: new Uint8Array(0) }]);
  }

  #becomeFollower(term: Term, leader: NodeId): void {
    assert(term >= this.term, 'a term never falls');
    if (term > this.term) {
      this.term = term;
      this.#vote = NOBODY;
    }
    this.role = 'follower';
    this.leader = leader;
    this.#leadership = undefined;
    this.#reads.failAll();
    this.#resetTimer();
  }

  #heardLeader(from: NodeId): void {
    assert(this.role !== 'leader', 'a term has one leader');
    if (this.role !== 'follower' || this.leader !== from) this.#becomeFollower(this.term, from);
    this.#electionElapsed = 0;
  }

  /** From an earlier term. A node that is ahead says so, or a stuck leader would never learn of it. */
  #stepStale(message: Message): void {
    if (message.kind === 'append' || message.kind === 'heartbeat') {
      this.#acceptor.reject(message.from);
    } else if (message.kind === 'preVote') {
      const { id: from, term } = this;
      const { last: lastIndex } = this.log;
      this.#promises.push({ kind: 'preVoteReply', from, to: message.from, term, granted: false, lastIndex });
    }
  }

  #resetTimer(): void {
    const { electionTicks, random } = this.#options;
    this.#electionElapsed = 0;
    this.#electionTimeout = electionTicks + Math.floor(random() * electionTicks);
  }

  #stepHeartbeat(message: Heartbeat): void {
    this.#acceptor.told(message);
    this.log.matchedByAllTo(message.matchedByAll);
    this.configuration.holds(message.members, message.held);
    const { id: from, term } = this;
    this.#send.push({ kind: 'heartbeatReply', from, to: message.from, term, readRound: message.readRound });
  }
}
