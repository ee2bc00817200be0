/**
 * Leadership: what a node has only while it leads: the progress of each follower, and the reads that wait for
 * its authority to be confirmed. It is made when a node is elected and gone when it steps down.
 *
 * The leader alone sees how far every voter's disk is, so it is who finds what nobody needs any more, and tells it
 * with its heartbeats: `matchedByAll`. A follower that needs older entries all the same (it was away for long, or
 * begins with nothing) cannot be helped by appends: whoever drives this sends it the state. Meanwhile it is asked once
 * per heartbeat whether it fits now, and holds up nobody else.
 *
 * Invariant: what is committed by counting is of the leader's own term (§5.4.2).
 */
import { assert, must } from '../base/assert.ts';
import { type Index, plus, type Term, toIndex } from '../base/position.ts';
import { StoreError } from '../base/errors.ts';
import type { Configuration } from './configuration.ts';
import { ENTRY_OVERHEAD_BYTES, type RaftLog } from './log.ts';
import { encodeMembership, type Membership, withoutOutgoing } from './membership.ts';
import { Progress } from './progress.ts';
import type { ReadQueue } from './reads.ts';
import type { AppendReply, Entry, Message, NodeId } from './types.ts';

export interface LeadershipOptions {
  readonly id: NodeId;
  readonly term: Term;
  readonly configuration: Configuration;
  readonly log: RaftLog;
  readonly appendBytesMax: number;
  readonly window: { readonly messagesMax: number; readonly bytesMax: number };
  readonly send: (message: Message) => void;
}

/** Who keeps the log from beginning later, as the leader sees it. */
export interface LogHolders {
  /** Who has proven least, itself included, and how many committed entries it has not proven. */
  readonly slowest: NodeId;
  readonly entries: number;
  /** Followers that need entries which are gone. */
  readonly stranded: readonly NodeId[];
}

export class Leadership {
  readonly #options: LeadershipOptions;
  readonly #progress = new Map<NodeId, Progress>();
  readonly reads: ReadQueue;
  /** Tell every follower what is committed with the next appends, also where nobody waits for it. */
  #tellsCommits = false;

  constructor(options: LeadershipOptions, reads: ReadQueue) {
    this.#options = options;
    this.reads = reads;
    // The entry that a term begins with is about to come.
    this.#membersChanged(plus(options.log.last, 1));
  }

  /** Members came or went; newcomers are asked at `next` where they are. */
  #membersChanged(next: Index): void {
    const { id, configuration, window } = this.#options;
    const peers = configuration.peersOf(id);
    for (const peer of peers) {
      if (this.#progress.has(peer)) continue;
      const progress = new Progress(next, window);
      progress.isActive = true;
      this.#progress.set(peer, progress);
    }
    for (const peer of this.#progress.keys()) if (!peers.includes(peer)) this.#progress.delete(peer);
  }

  progressOf(peer: NodeId): Progress | undefined {
    return this.#progress.get(peer);
  }

  /** Did a quorum speak since the last time this was asked? (CheckQuorum, §6.2) */
  hearsQuorum(): boolean {
    const { id, configuration } = this.#options;
    const heard = configuration.reachedByQuorum((peer) =>
      peer === id || this.#progress.get(peer)?.isActive === true ? 1 : 0,
    );
    for (const progress of this.#progress.values()) progress.isActive = false;
    return heard === 1;
  }

  /** Reads that came since the last round, in one new round: a heartbeat to everybody confirms them. */
  startReads(): void {
    if (!this.reads.hasWaiting) return;
    this.reads.startRound(this.#options.log.committed);
    if (this.#options.configuration.isAlone(this.#options.id)) this.reads.confirm(this.reads.openRound);
    else this.heartbeat();
  }

  heartbeat(): void {
    const { id: from, term, log, configuration, send } = this.#options;
    const { openRound: readRound } = this.reads;
    const held = this.#matchedByAll();
    const { index: members } = configuration;
    log.matchedByAllTo(held);
    configuration.holds(members, held);
    const { matchedByAll } = log;
    for (const [to, progress] of this.#progress) {
      // A follower may not learn of a commit beyond what it is proven to have.
      const commit = log.committed < progress.match ? log.committed : progress.match;
      send({ kind: 'heartbeat', from, to, term, commit, readRound, matchedByAll, held, members });
    }
  }

  /**
   * The committed entries up to here are on the disk of every voter, and stay there until it lets go of them itself.
   *
   * That is so for whoever hears it, however late, and whoever leads by then. An ack says that entries are synced there
   * and equal to the leader's (log matching). A log loses such entries only where a later leader has others, and no
   * later leader has others where an entry is committed: hence the cap. So a node may keep the most it ever heard.
   *
   * And so nobody who leads later misses what went up to here. Where it probes at P behind it, a follower that has all
   * of it says yes, or no with a hint that is not before it: both hold the same last entry of it, and terms never fall
   * from there to P.
   */
  #matchedByAll(): Index {
    const { log } = this.#options;
    let least = log.committed < log.stable ? log.committed : log.stable;
    for (const { match } of this.#progress.values()) if (match < least) least = match;
    return least;
  }

  get holders(): LogHolders {
    const { id, log } = this.#options;
    const holders = { slowest: id, entries: Math.max(0, log.committed - log.stable), stranded: [] as NodeId[] };
    for (const [peer, progress] of this.#progress) {
      const entries = log.committed - progress.match;
      if (entries > holders.entries) Object.assign(holders, { slowest: peer, entries });
      if (this.#isStranded(progress)) holders.stranded.push(peer);
    }
    return holders;
  }

  /** The entry before the next to send is gone, and its term with it. */
  #isStranded(progress: Progress): boolean {
    return progress.next <= this.#options.log.base;
  }

  /** Someone at `peer` waits for the entry at `index`. */
  awaitCommit(peer: NodeId, index: Index): void {
    const progress = this.#progress.get(peer);
    if (progress !== undefined && progress.awaitedCommit < index) progress.awaitedCommit = index;
  }

  /** Does a follower not know yet of a commit, at or below `index`, that it could apply? */
  hasUntoldCommit(index: Index): boolean {
    for (const progress of this.#progress.values()) {
      if (this.#isUntold(progress) && progress.toldCommit < index) return true;
    }
    return false;
  }

  tellCommits(): void {
    this.#tellsCommits = true;
  }

  /**
   * Sends every follower what it lacks and may be sent. How far the log is committed goes with that; alone it
   * goes only to who waits for it, or when it is to be told: a message of its own for each commit would double
   * what a lone write costs.
   */
  sendAppends(): void {
    for (const [peer, progress] of this.#progress) this.#sendTo(peer, progress);
    this.#tellsCommits = false;
  }

  #isUntold(progress: Progress): boolean {
    return this.#options.log.committed > progress.toldCommit && progress.match > progress.toldCommit;
  }

  #sendTo(to: NodeId, progress: Progress): void {
    const { id: from, term, log, appendBytesMax, send } = this.#options;
    const { last, committed } = log;
    if (this.#isStranded(progress)) {
      this.#askStranded(to, progress);
      return;
    }
    let sentEntries = false;
    while (progress.maySend && progress.next <= last) {
      const entries = log.slice(progress.next, plus(last, 1), appendBytesMax);
      this.#append(to, plus(progress.next, -1), entries);
      let bytes = 0;
      for (const entry of entries) bytes += entry.data.length + ENTRY_OVERHEAD_BYTES;
      progress.sent(must(entries.at(-1), 'an append in this loop has entries').index, bytes);
      sentEntries = true;
    }
    if (sentEntries) progress.toldCommit = committed;
    else if (this.#isUntold(progress) && (this.#tellsCommits || progress.toldCommit < progress.awaitedCommit)) {
      const commit = committed < progress.match ? committed : progress.match;
      send({ kind: 'commit', from, to, term, commit });
      progress.toldCommit = commit;
    }
  }

  /**
   * Asks at the oldest place that is known, without entries; a yes goes on from there. A no says nothing new (it is
   * not of the place where `next` stands), so the next question waits for the answer to a heartbeat.
   */
  #askStranded(to: NodeId, progress: Progress): void {
    if (progress.state === 'replicate') progress.becomeProbe();
    if (progress.isPaused) return;
    progress.isPaused = true;
    this.#append(to, this.#options.log.base, []);
  }

  #append(to: NodeId, prevIndex: Index, entries: readonly Entry[]): void {
    const { id: from, term, log, send } = this.#options;
    const prevTerm = must(log.term(prevIndex), 'the term before an append is known');
    send({ kind: 'append', from, to, term, prevIndex, prevTerm, commit: log.committed, entries });
  }

  appendReply(message: AppendReply): void {
    const { log } = this.#options;
    const progress = this.#progress.get(message.from);
    // From somebody who was a member when it was sent.
    if (progress === undefined) return;
    progress.isActive = true;
    if (message.rejected) {
      const { hintIndex, hintTerm } = message;
      progress.rejected(message.index, hintTerm > 0 ? log.findByTerm(hintIndex, hintTerm) : hintIndex);
      return;
    }
    assert(message.index <= log.last, 'a follower acks only what this leader has');
    if (progress.acked(message.index)) this.advanceCommit();
    if (message.from === this.transferee) this.#handOver();
  }

  heartbeatReply(from: NodeId, readRound: number): void {
    const { id, log, configuration } = this.#options;
    const progress = this.#progress.get(from);
    if (progress === undefined) return;
    progress.isActive = true;
    progress.isPaused = false;
    if (readRound > progress.readRound) {
      progress.readRound = readRound;
      const confirmed = (peer: NodeId): number => this.#progress.get(peer)?.readRound ?? 0;
      const { openRound } = this.reads;
      this.reads.confirm(configuration.reachedByQuorum((peer) => (peer === id ? openRound : confirmed(peer))));
    }
    // Appends may have been lost without a trace: ask where the follower is. It answers at its first gap.
    const mayHaveLost = progress.match < log.last && progress.inflightMessages > 0;
    if (progress.state === 'replicate' && mayHaveLost && !this.#isStranded(progress)) {
      this.#append(from, plus(progress.next, -1), []);
    }
  }

  /** The channel to `peer` was broken: what was under way may be lost. */
  unreachable(peer: NodeId): void {
    const progress = this.#progress.get(peer);
    if (progress?.state === 'replicate') progress.becomeProbe();
  }

  /** Commits the largest index that a quorum has synced, if it is of this term. The leader counts its own disk. */
  advanceCommit(): void {
    const { id, log, configuration, term } = this.#options;
    const index = toIndex(
      configuration.reachedByQuorum((peer) => (peer === id ? log.stable : (this.#progress.get(peer)?.match ?? 0))),
    );
    if (index > log.committed && log.term(index) === term) log.commitTo(index);
  }

  // ── members ───────────────────────────────────────────────────────────────────────────────────────────────

  /** See Raft.changeMembers. */
  changeMembers(change: (now: Membership) => Membership): Index {
    const { configuration, log, term } = this.#options;
    if (configuration.isJoint || configuration.index > log.committed) {
      throw new StoreError('MEMBER_REFUSED', 'a change of members is under way; try again when it is done');
    }
    // Before an entry of its own term is committed, a leader may not know of a change that is (Ongaro, raft-dev 2015).
    if (log.term(log.committed) !== term || this.transferee !== undefined) {
      throw new StoreError('UNAVAILABLE', 'the leader was just elected, or is about to hand over');
    }
    return this.#appendMembership(change(configuration.current));
  }

  #appendMembership(membership: Membership): Index {
    const { configuration, log, term } = this.#options;
    const entry = { index: plus(log.last, 1), term, data: encodeMembership(membership) };
    this.#forgetLost(membership);
    log.append([entry]);
    configuration.appended([entry]);
    this.#membersChanged(entry.index);
    return entry.index;
  }

  /** Who comes with another directory than it had holds nothing of what the old one acknowledged. */
  #forgetLost({ members }: Membership): void {
    for (const { id, dir } of this.#options.configuration.current.members) {
      const next = members.find((member) => member.id === id)?.dir;
      if (dir !== undefined && next !== dir) this.#progress.delete(id);
    }
  }

  /**
   * What follows from a membership that is committed now: a joint one is left; a leader that is no voter any more tells
   * the others so and hands over. True: it leads no longer.
   */
  steerMembers(): boolean {
    const { id, configuration, log, term, send } = this.#options;
    if (configuration.index > log.committed) return false;
    if (configuration.isJoint) this.#appendMembership(withoutOutgoing(configuration.current));
    if (configuration.isVoter(id)) return false;
    this.tellCommits();
    this.sendAppends();
    const to = this.mostAdvanced();
    if (to !== undefined) send({ kind: 'timeoutNow', from: id, to, term });
    return true;
  }

  // ── handing over ──────────────────────────────────────────────────────────────────────────────────────────

  /** Who is to lead next, as soon as it has the whole log. */
  transferee: NodeId | undefined;

  /** The voter that is nearest to the leader's log, of those that were heard of lately; undefined: there is none. */
  mostAdvanced(): NodeId | undefined {
    const { id, configuration } = this.#options;
    let best: NodeId | undefined;
    for (const peer of configuration.current.voters) {
      const progress = this.#progress.get(peer);
      if (peer === id || progress === undefined || progress.state !== 'replicate') continue;
      if (best === undefined || progress.match > (this.#progress.get(best)?.match ?? 0)) best = peer;
    }
    return best;
  }

  transferTo(peer: NodeId): void {
    this.transferee = peer;
    this.#handOver();
  }

  endTransfer(): void {
    this.transferee = undefined;
  }

  #handOver(): void {
    const { id: from, term, log, send } = this.#options;
    const to = this.transferee;
    if (to === undefined || this.#progress.get(to)?.match !== log.last) return;
    send({ kind: 'timeoutNow', from, to, term });
  }

  checkInvariants(): void {
    for (const progress of this.#progress.values()) assert(progress.match < progress.next, 'match < next');
  }
}
