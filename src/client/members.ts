/**
 * Members: the SDK's calls about who belongs to the cluster.
 *
 * Every change names a state that is wanted ("n4 votes", "n1 is gone"), so it may be sent again when its answer was lost:
 * the SDK does that by itself, as with reads. Then the second try may be refused because the first one worked, or is
 * still under way. So a refusal is looked into before it is told: what was wanted and is there now, and was not before,
 * is a success.
 */
import { isStoreError, StoreError } from '../core/base/errors.ts';
import {
  checkMemberRequest,
  decodeMembersReply,
  encodeMemberRequest,
  type MemberRequest,
  type MembersReply,
} from '../core/wire/members.ts';
import type { Answered } from './calls.ts';
import type * as api from './types.ts';

export interface MembersWorld {
  /** Sends a request; sends it again when the answer is lost. */
  readonly ask: (body: Uint8Array, options: api.CallOptions) => Promise<Answered>;
  /** Resolves once the node has applied the log up to `index`. */
  readonly applied: (index: number, options: api.CallOptions) => Promise<unknown>;
  readonly deadlineMs: number;
}

/** Whether what is wanted is there: not, on its way, or in force. */
type Standing = 'no' | 'soon' | 'yes';

const LOOK_EVERY_MS = 50;
/** A leader that hands over is done, or has given up, within an election timeout. */
const HAND_OVER_MS = 2_000;

export class ClientMembers implements api.Members {
  readonly #world: MembersWorld;

  constructor(world: MembersWorld) {
    this.#world = world;
  }

  list(options: api.CallOptions = {}): Promise<api.MembersView> {
    return this.#ask({ op: 'list' }, options);
  }

  add(member: api.Member, options: api.CallOptions = {}): Promise<api.MembersView> {
    return this.#change({ op: 'add', member }, options, ({ members }) =>
      members.some(({ id, mesh }) => id === member.id && mesh === member.mesh) ? 'yes' : 'no',
    );
  }

  promote(id: string, options: api.CallOptions = {}): Promise<api.MembersView> {
    return this.#change({ op: 'promote', id }, options, (view) =>
      view.voters.includes(id) ? settledOr('soon', view) : 'no',
    );
  }

  remove(id: string, options: api.CallOptions = {}): Promise<api.MembersView> {
    return this.#change({ op: 'remove', id }, options, (view) => {
      if (view.voters.includes(id) || view.learners.includes(id)) return 'no';
      return view.outgoing.includes(id) ? 'soon' : 'yes';
    });
  }

  replace(old: string, by: string, options: api.CallOptions = {}): Promise<api.MembersView> {
    return this.#change({ op: 'replace', id: old, with: by }, options, (view) =>
      view.voters.includes(by) && !view.voters.includes(old) ? settledOr('soon', view) : 'no',
    );
  }

  readmit(
    id: string,
    { dir, replaces }: { readonly dir: string; readonly replaces: string },
    options: api.CallOptions = {},
  ): Promise<api.MembersView> {
    return this.#change({ op: 'readmit', id, dir, replaces }, options, ({ members }) =>
      members.some((member) => member.id === id && member.dir === dir) ? 'yes' : 'no',
    );
  }

  async transferLeader(to?: string, options: api.CallOptions = {}): Promise<api.MembersView> {
    const left = this.#countdown(options);
    // Without a name, a second try would hand over a second time.
    const target = to ?? successorOf(await this.list(left()));
    const request: MemberRequest = target === undefined ? { op: 'transfer' } : { op: 'transfer', to: target };
    const untilMs = performance.now() + HAND_OVER_MS;
    return this.#change(request, left(), ({ leader, voters }) => {
      if (leader === target) return 'yes';
      return voters.includes(target ?? '') && performance.now() < untilMs ? 'soon' : 'no';
    });
  }

  async #change(
    request: MemberRequest,
    options: api.CallOptions,
    standing: (view: MembersReply) => Standing,
  ): Promise<MembersReply> {
    // Checked before anything is asked: a slip is told at once, also without a cluster.
    const checked = checkMemberRequest(request);
    const left = this.#countdown(options);
    const before = await this.list(left());
    try {
      return await this.#ask(checked, left());
    } catch (error) {
      if (!isStoreError(error, 'MEMBER_REFUSED')) throw inDoubt(error);
      if (standing(before) === 'yes') throw error;
      const after = await this.#settled(standing, left).catch((cause: unknown) => {
        throw inDoubt(cause);
      });
      if (after === undefined) throw error;
      return after;
    }
  }

  /** The view in which what is wanted is there and committed; undefined when it is not, and not on its way. */
  async #settled(
    standing: (view: MembersReply) => Standing,
    left: () => api.CallOptions,
  ): Promise<MembersReply | undefined> {
    for (;;) {
      const view = await this.list(left());
      const now = standing(view);
      if (now === 'no') return undefined;
      if (now === 'yes') {
        // The leader goes by what is in its log, committed or not.
        await this.#world.applied(view.index, left());
        const again = await this.list(left());
        if (again.index === view.index) return again;
      } else await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }

  async #ask(request: MemberRequest, options: api.CallOptions): Promise<MembersReply> {
    const { extra } = await this.#world.ask(encodeMemberRequest(request), options);
    return decodeMembersReply(extra);
  }

  /** One deadline for all that a call asks. */
  #countdown(options: api.CallOptions): () => api.CallOptions {
    const untilMs = performance.now() + (options.deadlineMs ?? this.#world.deadlineMs);
    return () => ({ ...options, deadlineMs: Math.max(0, untilMs - performance.now()) });
  }
}

/** The error of a change that had been asked for: whatever kept its answer away, it may yet happen. */
function inDoubt(error: unknown): unknown {
  if (!isStoreError(error)) return error;
  switch (error.code) {
    case 'DEADLINE_EXCEEDED':
    case 'UNAVAILABLE':
    case 'OVERLOADED':
    case 'NOT_LEADER': {
      const message = 'no answer came before the deadline; the change may yet happen: list the members to see';
      return new StoreError('OUTCOME_UNKNOWN', message, { cause: error });
    }
    case 'CANCELLED':
      return new StoreError('CANCELLED', 'cancelled; the change may still happen', {
        cause: error.cause,
        data: { mayHappen: true },
      });
    default:
      return error;
  }
}

const settledOr = (otherwise: Standing, { outgoing }: MembersReply): Standing =>
  outgoing.length === 0 ? 'yes' : otherwise;

/** Who would take over soonest: of the other voters that are heard, the one with the most of the log. */
function successorOf({ leader, voters, progress }: MembersReply): string | undefined {
  const able = voters.filter((id) => id !== leader && progress[id]?.isActive === true);
  return able.sort((a, b) => (progress[b]?.match ?? 0) - (progress[a]?.match ?? 0))[0];
}
