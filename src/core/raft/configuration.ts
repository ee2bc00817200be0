/**
 * Configuration: the membership that a node goes by, which is the newest in its log, committed or not (paper §6), and the
 * older ones that it returns to when that part of the log is reverted.
 *
 * Invariants:
 *  - the newest entry in the log that names members is the one in force;
 *  - what is at or below the root is committed and never reverted.
 */
import { assert } from '../base/assert.ts';
import { type Index, toIndex } from '../base/position.ts';
import {
  decodeMembership,
  isJoint,
  isMembershipEntry,
  type Membership,
  REPAIRED_DIR,
  RESTORED_DIR,
} from './membership.ts';
import type { Entry, NodeId } from './types.ts';

export interface MembershipAt {
  readonly index: Index;
  readonly membership: Membership;
}

export class Configuration {
  /** Rising by index; the first one is the root, the last one is in force. */
  #stack: MembershipAt[];
  /** Counts changes, so that a driver sees them. */
  version = 0;

  /** `later`: what the log has behind the root, in order. */
  constructor(root: MembershipAt, later: readonly MembershipAt[] = []) {
    assert(root.membership.voters.length > 0, 'somebody votes');
    this.#stack = [root, ...later];
  }

  get current(): Membership {
    return this.#newest.membership;
  }

  /** Index of the entry that says `current`; 0: it is what the node began with. */
  get index(): Index {
    return this.#newest.index;
  }

  get #newest(): MembershipAt {
    return this.#stack.at(-1) as MembershipAt;
  }

  get isJoint(): boolean {
    return isJoint(this.current);
  }

  isVoter(id: NodeId): boolean {
    const { voters, outgoing } = this.current;
    return voters.includes(id) || outgoing.includes(id);
  }

  /**
   * May it lead? A voter may; so may one that votes no more by an entry that is not known to be committed: it may be the
   * only one that has this entry, and then nobody else can be elected (thesis §4.2.2, figure 4.6).
   */
  mayStand(id: NodeId): boolean {
    return this.#stack.some(({ membership: { voters, outgoing } }) => voters.includes(id) || outgoing.includes(id));
  }

  /**
   * Is the vote under its name that of another directory than `dir`? One that took the place of a damaged one counts where
   * it is named. Any other does not where another one is: it is a wiped disk, or one that was given up. (Before
   * the members name anybody's directory, nobody can tell; and what an operator restored is taken at its word.)
   */
  hasForgotten(id: NodeId, dir: string | undefined): boolean {
    const named = this.current.members.find((member) => member.id === id)?.dir;
    if (dir === undefined || dir === named || dir.startsWith(RESTORED_DIR)) return false;
    return named !== undefined || dir.startsWith(REPAIRED_DIR);
  }

  /** Nobody else has to be asked. */
  isAlone(id: NodeId): boolean {
    const { voters, outgoing } = this.current;
    return voters.length === 1 && voters[0] === id && outgoing.every((voter) => voter === id);
  }

  /** Everybody who gets the log, without `id`; voters first. */
  peersOf(id: NodeId): NodeId[] {
    const { voters, outgoing, learners } = this.current;
    return [...new Set([...voters, ...outgoing, ...learners])].filter((peer) => peer !== id);
  }

  /** The others who vote. */
  electorateOf(id: NodeId): NodeId[] {
    const { voters, outgoing } = this.current;
    return [...new Set([...voters, ...outgoing])].filter((peer) => peer !== id);
  }

  /** The largest number that a majority has reached, of each set of voters. */
  reachedByQuorum(reached: (id: NodeId) => number): number {
    const { voters, outgoing } = this.current;
    const by = reachedByMajority(voters, reached);
    return outgoing.length === 0 ? by : Math.min(by, reachedByMajority(outgoing, reached));
  }

  tally(votes: ReadonlyMap<NodeId, boolean>): 'won' | 'lost' | 'open' {
    if (this.reachedByQuorum((id) => (votes.get(id) === true ? 1 : 0)) === 1) return 'won';
    // With everybody who has not answered yet: could it still be won?
    return this.reachedByQuorum((id) => (votes.get(id) === false ? 0 : 1)) === 1 ? 'open' : 'lost';
  }

  /** What all members held when the leader counted last, and the entry that says who they are. */
  #held = { members: toIndex(0), index: toIndex(0) };

  /** A leader, whose members are those of the entry `members`, has found that all of them hold the log up to `index`. */
  holds(members: Index, index: Index): void {
    this.#held = { members, index };
  }

  /** No member can lack this but by the loss of its disk. Nothing is known of who became one since it was counted. */
  get heldByMembers(): Index {
    return this.#held.members === this.index ? this.#held.index : toIndex(0);
  }

  /** Entries came to the log. */
  appended(entries: readonly Entry[]): void {
    for (const { index, data } of entries) {
      if (!isMembershipEntry(data)) continue;
      assert(index > this.index, 'the log grows at its end');
      this.#stack.push({ index, membership: decodeMembership(data) });
      this.version++;
    }
  }

  /** The log's suffix from `from` on is gone. */
  reverted(from: Index): void {
    while (this.index >= from) {
      assert(this.#stack.length > 1, 'the root is never reverted');
      this.#stack.pop();
      this.version++;
    }
  }

  /** What is committed up to `index` will not be returned from. */
  committed(index: Index): void {
    while (this.#stack.length > 1 && (this.#stack[1] as MembershipAt).index <= index) this.#stack.shift();
  }
}

function reachedByMajority(voters: readonly NodeId[], reached: (id: NodeId) => number): number {
  const numbers = voters.map(reached).sort((a, b) => b - a);
  return numbers[voters.length >>> 1] as number;
}
