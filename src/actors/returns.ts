/**
 * Returns: members come back under their names with an empty directory, because theirs was damaged. Nobody has to help.
 *
 *   n2 asks ──▶ its vote is taken (joint) ──▶ its new directory is named ──▶ n2 is told, and fed as a learner
 *                                                                        ──▶ caught up: it votes again (joint)
 *
 * What the log says decides what comes next, so any leader goes on from where another one died, and who asks twice is
 * told the same. The new directory is let in (net/mesh) once it is named, and not before: so nothing that it says counts
 * for the vote that the lost one had.
 *
 * Invariants:
 *  - a directory is named only where its member has no vote, and takes the place of the one that is said to be lost;
 *  - a vote comes back only to who has the entry that names its directory.
 *
 * Bounds: ASKING_MAX members at once, each for ASK_MS; one change of members at a time.
 */
import type { Clock } from '../core/base/env.ts';
import { StoreError } from '../core/base/errors.ts';
import { type Membership, withDirs, withoutVote, withVoter } from '../core/raft/membership.ts';
import type { Raft } from '../core/raft/raft.ts';
import type { NodeId } from '../core/raft/types.ts';
import type { LogFunction } from './runtime/thread.ts';

/** A member has lost the directory `replaces`, and begins `dir`. */
export interface Readmission {
  readonly id: NodeId;
  readonly dir: string;
  readonly replaces: string;
}

export interface ReturnsWorld {
  readonly raft: Raft;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** The directory with which a node is connected to this one; undefined: it is not. */
  readonly connectedDir: (id: NodeId) => string | undefined;
  readonly log?: LogFunction | undefined;
}

interface Asking extends Readmission {
  readonly untilMs: number;
  readonly answer: (error?: StoreError) => void;
}

const ASKING_MAX = 16;
const ASK_MS = 60_000;
/** A learner may vote once it lacks no more entries than this: a change must not wait for it. */
export const BEHIND_MAX = 1_000;

export class Returns {
  readonly #world: ReturnsWorld;
  #asking: Asking[] = [];

  constructor(world: ReturnsWorld) {
    this.#world = world;
  }

  /** `answer` is called once: when the directory is named and that is committed, or with the reason why not. */
  ask(wish: Readmission, answer: (error?: StoreError) => void): void {
    const { raft, clock, connectedDir } = this.#world;
    if (wish.id === raft.id) throw refused(`${wish.id} leads, with the directory that it has`);
    if (connectedDir(wish.id) === wish.replaces) {
      throw new StoreError('UNAVAILABLE', `${wish.id} is still connected with its directory ${wish.replaces}`);
    }
    nextChange(raft.configuration.current, wish);
    if (this.#asking.length >= ASKING_MAX) throw new StoreError('OVERLOADED', `${ASKING_MAX} members return already`);
    this.#asking.push({ ...wish, answer, untilMs: clock.monotonicMs() + ASK_MS });
    this.look();
  }

  /** Does what can be done now. Once per turn. */
  look(): void {
    if (this.#asking.length === 0) return;
    const isOver = (one: Asking): boolean => {
      try {
        return this.#advance(one);
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        one.answer(error);
        return true;
      }
    };
    this.#asking = this.#asking.filter((one) => !isOver(one));
  }

  /** Gives a vote back to who has caught up; ends what has waited too long. */
  tick(): void {
    this.look();
    const { raft, log } = this.#world;
    const { current, index } = raft.configuration;
    if (current.returning === undefined || !this.#isIdle) return;
    const back = current.returning.find((id) => {
      const progress = raft.progressOf(id);
      if (progress === undefined || !progress.isActive) return false;
      return progress.match >= index && raft.log.last - progress.match <= BEHIND_MAX;
    });
    if (back === undefined) return;
    const at = raft.changeMembers((now) => withVoter(now, back));
    log?.('info', 'members.returned', { id: back, index: at });
  }

  /** True when it was answered. */
  #advance(one: Asking): boolean {
    const { raft, clock, log } = this.#world;
    if (!raft.isLeader || clock.monotonicMs() > one.untilMs) {
      throw new StoreError('OUTCOME_UNKNOWN', 'it may or may not have happened; ask again');
    }
    if (!this.#isIdle) return false;
    const change = nextChange(raft.configuration.current, one);
    if (change === undefined) {
      one.answer();
      return true;
    }
    const { id, dir, replaces } = one;
    const index = raft.changeMembers(change);
    log?.('info', 'members.returning', { id, dir, replaces, index });
    return false;
  }

  /** It leads, and no change is under way. */
  get #isIdle(): boolean {
    const { raft } = this.#world;
    const { configuration, log } = raft;
    const isSettled = !configuration.isJoint && configuration.index <= log.committed;
    return raft.isLeader && raft.hasCommittedInTerm && !raft.isTransferring && isSettled;
  }
}

/** What brings `now` nearer to the wish; undefined: it is fulfilled. Throws MEMBER_REFUSED. */
export function nextChange(now: Membership, wish: Readmission): ((now: Membership) => Membership) | undefined {
  const { id, dir, replaces } = wish;
  const member = now.members.find((one) => one.id === id);
  if (member === undefined) throw refused(`${id} is no member: it was removed, and has to be added`);
  if (member.dir === dir) return undefined;
  if (member.dir !== undefined && member.dir !== replaces) {
    throw refused(`${id} is known by another directory by now (${member.dir}) than the one that is lost (${replaces})`);
  }
  if (!now.voters.includes(id)) return (current) => withDirs(current, new Map([[id, dir]]));
  if (now.voters.length === 1) throw refused(`${id} is the last voter; nobody could give its data back`);
  return (current) => withoutVote(current, id);
}

const refused = (message: string): StoreError => new StoreError('MEMBER_REFUSED', message);
