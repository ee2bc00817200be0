/**
 * Raft's words: entries, messages, and the Ready record through which the core asks for everything.
 *
 * The core makes no promise by itself: it says what must be on disk and what may leave once it is. The order
 * of Ready's fields is the order that safety asks for.
 */
import type { Index, Term } from '../base/position.ts';

export type NodeId = string;

/** Nobody: no vote given, no leader known. */
export const NOBODY: NodeId = '';

/** One place of the log. Empty data is a no-op (the entry a new leader begins its term with). */
export interface Entry {
  readonly index: Index;
  readonly term: Term;
  readonly data: Uint8Array;
}

/** What must survive a restart beside the entries. `commit` may lag: it is learned again. */
export interface HardState {
  readonly term: Term;
  readonly vote: NodeId;
  readonly commit: Index;
}

interface Envelope {
  readonly from: NodeId;
  readonly to: NodeId;
  readonly term: Term;
}

export interface VoteRequest extends Envelope {
  /** preVote: "would you?", with the term it would stand in; changes nothing at the asked node. */
  readonly kind: 'preVote' | 'vote';
  readonly lastIndex: Index;
  readonly lastTerm: Term;
  /** The leader has asked the candidate to stand: who hears from that leader votes all the same. */
  readonly isTransfer: boolean;
}

export interface VoteReply extends Envelope {
  readonly kind: 'preVoteReply' | 'voteReply';
  readonly granted: boolean;
  /** Of the voter's log. */
  readonly lastIndex: Index;
}

export interface Append extends Envelope {
  readonly kind: 'append';
  readonly prevIndex: Index;
  readonly prevTerm: Term;
  readonly commit: Index;
  readonly entries: readonly Entry[];
}

export interface AppendReply extends Envelope {
  readonly kind: 'appendReply';
  readonly rejected: boolean;
  /** Accepted: last index known equal to the leader's. Rejected: the prevIndex that did not match. */
  readonly index: Index;
  /** Rejected: where the logs may still agree (paper §5.3, by term rather than by index). */
  readonly hintIndex: Index;
  readonly hintTerm: Term;
}

/** "Committed so far", between appends, so that followers apply at once; asks for no answer. */
export interface Commit extends Envelope {
  readonly kind: 'commit';
  readonly commit: Index;
}

export interface Heartbeat extends Envelope {
  readonly kind: 'heartbeat';
  readonly commit: Index;
  /** The newest round of reads this heartbeat confirms leadership for; 0 = none. */
  readonly readRound: number;
  /** Every voter holds the committed entries up to here. It may be more than the receiver knows to be committed. */
  readonly matchedByAll: Index;
  /** The same of those who are members by the entry `members`, as the leader has counted just now; it may fall. */
  readonly held: Index;
  readonly members: Index;
}

export interface HeartbeatReply extends Envelope {
  readonly kind: 'heartbeatReply';
  readonly readRound: number;
}

/** The leader hands over: the receiver holds all of its log and stands at once. */
export interface TimeoutNow extends Envelope {
  readonly kind: 'timeoutNow';
}

export type Message = VoteRequest | VoteReply | Append | AppendReply | Commit | Heartbeat | HeartbeatReply | TimeoutNow;

export interface Persist {
  /** Counts up by one; say it back in `persisted(seq)`, in order, once all of this is synced. */
  readonly seq: number;
  readonly hardState: HardState;
  /** Entries from here on are reverted before `entries` are appended; undefined: nothing is. */
  readonly revertFrom: Index | undefined;
  readonly entries: readonly Entry[];
}

export interface ReadState {
  /** The number given to `readIndex`. */
  readonly id: number;
  /** Applied this far, the read is linearizable. Undefined: leadership was lost before it was confirmed. */
  readonly index: Index | undefined;
}

export interface Ready {
  /** Hand to the WAL. */
  readonly persist: Persist | undefined;
  /** May leave now: a leader writes its disk beside its followers. */
  readonly send: readonly Message[];
  /** Promises (candidacies, votes, acks): leave once persist `promisedAfter` is synced. May be to oneself. */
  readonly sendOnceSynced: readonly Message[];
  /** The persist that `sendOnceSynced` waits for: the newest handed out so far; 0 = nothing to wait for. */
  readonly promisedAfter: number;
  /** Committed and synced here, in index order, each handed out once. */
  readonly apply: readonly Entry[];
  /** Reads confirmed, or failed by a change of leader. */
  readonly reads: readonly ReadState[];
}
