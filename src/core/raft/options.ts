/**
 * What a Raft node is given: who it is, what its disk proves, how patient it is, and how much may be under way.
 */
import type { Random } from '../base/env.ts';
import type { Index, Term } from '../base/position.ts';
import type { MembershipAt } from './configuration.ts';
import type { LogSource, TermRun } from './log.ts';
import type { Membership } from './membership.ts';
import type { HardState, NodeId } from './types.ts';

export interface RaftOptions {
  readonly id: NodeId;
  /**
   * Identity of its directory. What was promised under its name from another one is not known here: so it votes and
   * stands only where the members do not speak of another (Configuration.hasForgotten). Left out, its name is enough.
   */
  readonly dir?: string | undefined;
  /** Who belongs to the cluster, as of `appliedIndex`. This node need not be among them: it waits to be added. */
  readonly membership: Membership;
  /** The entry that says so; left out, none does: it is what the cluster began with. */
  readonly membershipIndex?: Index;
  /** Of the entries behind `appliedIndex`, those that say another one. */
  readonly laterMemberships?: readonly MembershipAt[];
  /** Ticks without a leader before standing; each wait is drawn from [1, 2) times this. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly random: Random;
  readonly hardState: HardState;
  /** The last entry that the log has lost, and its term; left out, it begins with index 1. */
  readonly baseIndex?: Index;
  readonly baseTerm?: Term;
  readonly lastIndex: Index;
  /** Of the entries behind the base. */
  readonly runs: readonly TermRun[];
  /** The state machine has flushed what entries up to here did: those behind are handed out. Left out, it is the base. */
  readonly appliedIndex?: Index;
  readonly source: LogSource;
  readonly cacheBytesMax: number;
  /** Bytes of entries in one append. */
  readonly appendBytesMax: number;
  /** Appends under way per follower. */
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
  /** Proposals are refused past this many bytes uncommitted, or unsynced here: memory must not grow for ever. */
  readonly uncommittedBytesMax: number;
}
