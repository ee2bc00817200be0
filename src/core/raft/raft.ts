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
import { assert, must, unreachable } from '../base/assert.ts';
import type { Random } from '../base/env.ts';
import { type Index, plus, type Term, toIndex } from '../base/position.ts';
import { ENTRY_OVERHEAD_BYTES, type LogSource, RaftLog, type TermRun } from './log.ts';
import { Progress } from './progress.ts';
import { ReadQueue } from './reads.ts';
import {
  type Append,
  type AppendReply,
  type Entry,
  type HardState,
  type Message,
  type NodeId,
  NOBODY,
  type Persist,
  type Ready,
  type VoteRequest,
} from './types.ts';

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';

export interface RaftOptions {
  readonly id: NodeId;
  /** All voters, this node included. */
  readonly voters: readonly NodeId[];
  /** Ticks without a leader before standing; each wait is drawn from [1, 2) times this. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly random: Random;
  readonly hardState: HardState;
  readonly lastIndex: Index;
  readonly runs: readonly TermRun[];
  readonly source: LogSource;
  readonly cacheBytesMax: number;
  /** Bytes of entries in one append. */
  readonly appendBytesMax: number;
  /** Appends under way per follower. */
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
  /** Proposals are refused past this many uncommitted bytes: without a quorum the log must not grow for ever. */
  readonly uncommittedBytesMax: number;
}

export class Raft {
  readonly id: NodeId;
  readonly log: RaftLog;
  role: Role = 'follower';
  leader: NodeId = NOBODY;
  term: Term;
  #vote: NodeId;

  readonly #options: RaftOptions;
  readonly #peers: readonly NodeId[];
  readonly #quorum: number;
  #progress = new Map<NodeId, Progress>();
  #votes = new Map<NodeId, boolean>();
  readonly #reads = new ReadQueue();

  #electionElapsed = 0;
  #heartbeatElapsed = 0;
  #electionTimeout = 0;

  #send: Message[] = [];
  #promises: Message[] = [];

  /** Persists handed out and not yet synced, oldest first; a later revert lowers what they may prove. */
  #persists: { seq: number; lastIndex: Index }[] = [];
  #persistSeq = 0;
  /** Entries up to here were handed out to be persisted. */
  #handed: Index;
  #revertFrom: Index | undefined;
  #handedTerm: Term;
  #handedVote: NodeId;

  constructor(options: RaftOptions) {
    assert(options.voters.includes(options.id), 'a node is one of the voters');
    assert(options.heartbeatTicks < options.electionTicks, 'heartbeats come faster than elections');
    this.#options = options;
    this.id = options.id;
    this.#peers = options.voters.filter((voter) => voter !== options.id);
    this.#quorum = Math.floor(options.voters.length / 2) + 1;
    this.term = options.hardState.term;
    this.#vote = options.hardState.vote;
    this.#handedTerm = this.term;
    this.#handedVote = this.#vote;
    this.log = new RaftLog({
      lastIndex: options.lastIndex,
      runs: options.runs,
      committed: options.hardState.commit,
      source: options.source,
      cacheBytesMax: options.cacheBytesMax,
    });
    assert(this.log.lastTerm <= this.term, 'no entry is of a later term than the node has seen');
    this.#handed = this.log.last;
    this.#resetTimer();
  }

  get hardState(): HardState {
    return { term: this.term, vote: this.#vote, commit: this.log.committed };
  }

  get isLeader(): boolean {
    return this.role === 'leader';
  }

  /** The leader knows its commit index only after an entry of its own term is committed. */
  get hasCommittedInTerm(): boolean {
    return this.log.term(this.log.committed) === this.term;
  }

  progressOf(peer: NodeId): Progress | undefined {
    return this.#progress.get(peer);
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
      if (!this.#hearsQuorum()) {
        this.#becomeFollower(this.term, NOBODY);
        return;
      }
    }
    if (++this.#heartbeatElapsed >= this.#options.heartbeatTicks) this.#broadcastHeartbeat();
  }

  /** Stands for election now: asks first, unless it is alone. */
  campaign(): void {
    if (this.role === 'leader') return;
    this.#resetTimer();
    this.leader = NOBODY;
    if (this.#quorum === 1) {
      this.#becomeCandidate();
      return;
    }
    this.role = 'preCandidate';
    this.#votes = new Map([[this.id, true]]);
    this.#requestVotes('preVote', plus(this.term, 1), this.#send);
  }

  /**
   * Takes commands into the log; all or none. Returns the first index, or undefined when this node is not the
   * leader or too much is uncommitted already.
   */
  propose(datas: readonly Uint8Array[]): Index | undefined {
    if (this.role !== 'leader' || datas.length === 0) return undefined;
    if (this.log.uncommittedBytes > this.#options.uncommittedBytesMax) return undefined;
    const first = plus(this.log.last, 1);
    this.log.append(datas.map((data, i) => ({ index: plus(first, i), term: this.term, data })));
    return first;
  }

  get isUncommittedFull(): boolean {
    return this.log.uncommittedBytes > this.#options.uncommittedBytesMax;
  }

  /** Asks for a linearizable read; the answer comes in Ready.reads under `id`. False: not the leader. */
  readIndex(id: number): boolean {
    if (this.role !== 'leader') return false;
    this.#reads.ask(id);
    return true;
  }

  /** The channel to `peer` was broken: what was under way may be lost. */
  unreachable(peer: NodeId): void {
    const progress = this.#progress.get(peer);
    if (progress?.state === 'replicate') progress.becomeProbe();
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
    assert(seq <= this.#persistSeq, 'only what was handed out can be synced');
    let lastIndex: Index | undefined;
    let count = 0;
    while (count < this.#persists.length && must(this.#persists[count], 'inside').seq <= seq) {
      lastIndex = must(this.#persists[count], 'inside').lastIndex;
      count++;
    }
    if (count === 0 || lastIndex === undefined) return;
    this.#persists = this.#persists.slice(count);
    if (lastIndex > this.log.stable) this.log.stable = lastIndex;
    if (this.role === 'leader') this.#advanceCommit();
  }

  step(message: Message): void {
    if (message.term > this.term) {
      const isRequest = message.kind === 'preVote' || message.kind === 'vote';
      // Whoever hears from a leader helps nobody to depose it (thesis §4.2.3).
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
        if (this.role === 'preCandidate') this.#countVote(message.from, message.granted);
        break;
      case 'voteReply':
        if (this.role === 'candidate') this.#countVote(message.from, message.granted);
        break;
      case 'append':
        this.#heardLeader(message.from);
        this.#stepAppend(message);
        break;
      case 'commit':
        this.#heardLeader(message.from);
        this.log.commitTo(message.commit);
        break;
      case 'heartbeat':
        this.#heardLeader(message.from);
        this.log.commitTo(message.commit);
        this.#send.push({
          kind: 'heartbeatReply',
          from: this.id,
          to: message.from,
          term: this.term,
          readRound: message.readRound,
        });
        break;
      case 'appendReply':
        if (this.role === 'leader') this.#stepAppendReply(message);
        break;
      case 'heartbeatReply':
        if (this.role === 'leader') this.#stepHeartbeatReply(message.from, message.readRound);
        break;
      default:
        unreachable(message);
    }
  }

  /** Gathers what the turn asks for. `applyBytesMax` bounds `apply`; the rest is handed out whole. */
  ready(applyBytesMax: number): Ready {
    if (this.role === 'leader') {
      if (this.#reads.hasWaiting && this.hasCommittedInTerm) {
        this.#reads.startRound(this.log.committed);
        if (this.#quorum === 1) this.#reads.confirm(this.#reads.openRound);
        else this.#broadcastHeartbeat();
      }
      for (const peer of this.#peers) this.#sendAppends(peer);
    }
    const persist = this.#takePersist();
    const ready: Ready = {
      persist,
      send: this.#send,
      sendOnceSynced: this.#promises,
      promisedAfter: this.#persists.at(-1)?.seq ?? 0,
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
    for (const progress of this.#progress.values()) assert(progress.match < progress.next, 'match < next');
  }

  // ── elections ─────────────────────────────────────────────────────────────────────────────────────────────

  #requestVotes(kind: VoteRequest['kind'], term: Term, into: Message[]): void {
    const { last: lastIndex, lastTerm } = this.log;
    for (const to of this.#peers) into.push({ kind, from: this.id, to, term, lastIndex, lastTerm });
  }

  #stepVoteRequest(message: VoteRequest): void {
    const isUpToDate = this.log.isUpToDate(message.lastIndex, message.lastTerm);
    if (message.kind === 'preVote') {
      const granted = message.term > this.term && isUpToDate;
      // A yes carries the asked-for term, so that it is not stale at the asker; a no carries ours, to teach it.
      const term = granted ? message.term : this.term;
      this.#send.push({ kind: 'preVoteReply', from: this.id, to: message.from, term, granted });
      return;
    }
    const mayVote = this.#vote === message.from || (this.#vote === NOBODY && this.leader === NOBODY);
    const granted = mayVote && isUpToDate;
    if (granted) {
      this.#vote = message.from;
      this.#electionElapsed = 0;
    }
    this.#promises.push({ kind: 'voteReply', from: this.id, to: message.from, term: this.term, granted });
  }

  #countVote(from: NodeId, granted: boolean): void {
    if (!this.#votes.has(from)) this.#votes.set(from, granted);
    let yes = 0;
    let no = 0;
    for (const vote of this.#votes.values()) vote ? yes++ : no++;
    if (yes >= this.#quorum) {
      if (this.role === 'preCandidate') this.#becomeCandidate();
      else this.#becomeLeader();
    } else if (no >= this.#quorum) this.#becomeFollower(this.term, NOBODY);
  }

  #becomeCandidate(): void {
    this.role = 'candidate';
    this.leader = NOBODY;
    this.term = plus(this.term, 1);
    this.#vote = this.id;
    this.#votes = new Map();
    this.#resetTimer();
    // A yes may arrive late, at a later life of this node. It must not elect a log that was lost in between, nor the
    // same node twice in one term: so the others are asked once the log and the own vote are on disk, and only
    // then does the own vote count, like anybody's.
    this.#requestVotes('vote', this.term, this.#promises);
    this.#promises.push({ kind: 'voteReply', from: this.id, to: this.id, term: this.term, granted: true });
  }

  #becomeLeader(): void {
    assert(this.role === 'candidate', 'only a candidate is elected');
    this.role = 'leader';
    this.leader = this.id;
    this.#resetTimer();
    this.#heartbeatElapsed = 0;
    this.#progress = new Map();
    const window = { messagesMax: this.#options.inflightMessagesMax, bytesMax: this.#options.inflightBytesMax };
    for (const peer of this.#peers) {
      const progress = new Progress(plus(this.log.last, 1), window);
      progress.isActive = true;
      this.#progress.set(peer, progress);
    }
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
    this.#progress = new Map();
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
      const index = toIndex(0);
      this.#promises.push({
        kind: 'appendReply',
        from: this.id,
        to: message.from,
        term: this.term,
        rejected: true,
        index,
        hintIndex: index,
        hintTerm: 0 as Term,
      });
    } else if (message.kind === 'preVote') {
      this.#promises.push({
        kind: 'preVoteReply',
        from: this.id,
        to: message.from,
        term: this.term,
        granted: false,
      });
    }
  }

  #hearsQuorum(): boolean {
    let count = 1;
    for (const progress of this.#progress.values()) {
      if (progress.isActive) count++;
      progress.isActive = false;
    }
    return count >= this.#quorum;
  }

  #resetTimer(): void {
    const { electionTicks, random } = this.#options;
    this.#electionElapsed = 0;
    this.#electionTimeout = electionTicks + Math.floor(random() * electionTicks);
  }

  // ── replication ───────────────────────────────────────────────────────────────────────────────────────────

  #sendAppends(peer: NodeId): void {
    const progress = must(this.#progress.get(peer), 'a leader knows every peer');
    const { last, committed } = this.log;
    let sentEntries = false;
    while (progress.maySend && progress.next <= last) {
      const prevIndex = plus(progress.next, -1);
      const entries = this.log.slice(progress.next, plus(last, 1), this.#options.appendBytesMax);
      this.#sendAppend(peer, prevIndex, entries);
      const lastSent = must(entries.at(-1), 'an append in this loop has entries').index;
      let bytes = 0;
      for (const entry of entries) bytes += entry.data.length + ENTRY_OVERHEAD_BYTES;
      progress.sent(lastSent, bytes);
      sentEntries = true;
    }
    if (sentEntries) progress.toldCommit = committed;
    else if (committed > progress.toldCommit && progress.match > progress.toldCommit) {
      const commit = committed < progress.match ? committed : progress.match;
      this.#send.push({ kind: 'commit', from: this.id, to: peer, term: this.term, commit });
      progress.toldCommit = commit;
    }
  }

  #sendAppend(to: NodeId, prevIndex: Index, entries: readonly Entry[]): void {
    const prevTerm = must(this.log.term(prevIndex), 'the entry before an append is in the log');
    this.#send.push({
      kind: 'append',
      from: this.id,
      to,
      term: this.term,
      prevIndex,
      prevTerm,
      commit: this.log.committed,
      entries,
    });
  }

  #stepAppend(message: Append): void {
    const { log } = this;
    const reply = (rejected: boolean, index: Index, hintIndex: Index, hintTerm: Term): void => {
      this.#promises.push({
        kind: 'appendReply',
        from: this.id,
        to: message.from,
        term: this.term,
        rejected,
        index,
        hintIndex,
        hintTerm,
      });
    };
    const zero = 0 as Term;
    if (message.prevIndex < log.committed) {
      // An old message: what is committed is equal by definition.
      reply(false, log.committed, toIndex(0), zero);
      return;
    }
    if (!log.matches(message.prevIndex, message.prevTerm)) {
      const hintIndex = log.findByTerm(message.prevIndex, message.prevTerm);
      reply(true, message.prevIndex, hintIndex, log.term(hintIndex) ?? zero);
      return;
    }
    const fresh = message.entries.findIndex((entry) => !log.matches(entry.index, entry.term));
    if (fresh !== -1) {
      const first = must(message.entries[fresh], 'found above');
      if (first.index <= log.last) this.#revert(first.index);
      log.append(fresh === 0 ? message.entries : message.entries.slice(fresh));
    }
    const lastNew = plus(message.prevIndex, message.entries.length);
    log.commitTo(message.commit < lastNew ? message.commit : lastNew);
    reply(false, lastNew, toIndex(0), zero);
  }

  /**
   * Reverts a suffix, and lowers what persists under way may prove: their entries from here on are no longer
   * ours, even if the same (index, term) comes back later (the ABA of asynchronous appends).
   */
  #revert(from: Index): void {
    this.log.truncate(from);
    const last = this.log.last;
    for (const persist of this.#persists) if (persist.lastIndex > last) persist.lastIndex = last;
    if (from <= this.#handed) {
      this.#handed = last;
      if (this.#revertFrom === undefined || from < this.#revertFrom) this.#revertFrom = from;
    }
  }

  #stepAppendReply(message: AppendReply): void {
    const progress = must(this.#progress.get(message.from), 'acks come from peers');
    progress.isActive = true;
    if (message.rejected) {
      const hint = message.hintTerm > 0 ? this.log.findByTerm(message.hintIndex, message.hintTerm) : message.hintIndex;
      progress.rejected(message.index, hint);
      return;
    }
    assert(message.index <= this.log.last, 'a follower acks only what this leader has');
    if (progress.acked(message.index)) this.#advanceCommit();
  }

  #stepHeartbeatReply(from: NodeId, readRound: number): void {
    const progress = must(this.#progress.get(from), 'heartbeats are answered by peers');
    progress.isActive = true;
    progress.isPaused = false;
    if (readRound > progress.readRound) {
      progress.readRound = readRound;
      const rounds = [...this.#progress.values()].map((other) => other.readRound).sort((a, b) => b - a);
      // This node and the (quorum - 1) peers that confirmed most.
      this.#reads.confirm(rounds[this.#quorum - 2] ?? 0);
    }
    // Appends may have been lost without a trace: ask where the follower is. It answers at its first gap.
    if (progress.state === 'replicate' && progress.match < this.log.last && progress.inflightMessages > 0) {
      this.#sendAppend(from, plus(progress.next, -1), []);
    }
  }

  #broadcastHeartbeat(): void {
    this.#heartbeatElapsed = 0;
    for (const to of this.#peers) {
      const progress = must(this.#progress.get(to), 'a leader knows every peer');
      const commit = this.log.committed < progress.match ? this.log.committed : progress.match;
      this.#send.push({
        kind: 'heartbeat',
        from: this.id,
        to,
        term: this.term,
        commit,
        readRound: this.#reads.openRound,
      });
    }
  }

  /** The largest index that a quorum has synced, if it is of this term. */
  #advanceCommit(): void {
    const matches = [this.log.stable as number];
    for (const progress of this.#progress.values()) matches.push(progress.match);
    matches.sort((a, b) => b - a);
    const index = toIndex(must(matches[this.#quorum - 1], 'a quorum is at most everybody'));
    if (index > this.log.committed && this.log.term(index) === this.term) this.log.commitTo(index);
  }

  #takePersist(): Persist | undefined {
    const { last } = this.log;
    const hasEntries = this.#handed < last;
    const hasVote = this.#handedTerm !== this.term || this.#handedVote !== this.#vote;
    if (!hasEntries && !hasVote && this.#revertFrom === undefined) return undefined;
    const entries = hasEntries ? this.log.slice(plus(this.#handed, 1), plus(last, 1), Number.POSITIVE_INFINITY) : [];
    const persist: Persist = {
      seq: ++this.#persistSeq,
      hardState: this.hardState,
      revertFrom: this.#revertFrom,
      entries,
    };
    this.#persists.push({ seq: persist.seq, lastIndex: last });
    this.#handed = last;
    this.#handedTerm = this.term;
    this.#handedVote = this.#vote;
    this.#revertFrom = undefined;
    return persist;
  }
}
