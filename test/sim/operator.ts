/**
 * SimOperator: whoever changes the members while all else goes wrong: adds spare nodes as learners, promotes them, puts
 * them in the place of others, removes some, has leaders hand over; by frames through whichever node he tries. What he is
 * told is done, is committed. Where he changes nothing of his own will he still puts right what was lost: the seat of a
 * node whose disk is gone is removed, and the node, with its new directory, is added and promoted. One that repairs itself
 * he leaves alone, mostly.
 *
 * A node that was removed does not come back with the directory that it had: under an old name only a new one may.
 */
import { assert, must } from '../../src/core/base/assert.ts';
import type { Member } from '../../src/core/raft/membership.ts';
import type { Reply } from '../../src/core/wire/client.ts';
import type { MemberRequest } from '../../src/core/wire/members.ts';
import type { Chance } from './chance.ts';
import { ask } from './errand.ts';
import type { SimNode } from './node.ts';
import type { Oracle } from './oracle.ts';
import type { EventQueue } from './queue.ts';
import type { Seats } from './seats.ts';
import type { Trace } from './trace.ts';

export interface OperatorWorld {
  readonly queue: EventQueue;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly oracle: Oracle;
  readonly nodes: readonly SimNode[];
  readonly members: readonly Member[];
  readonly seats: Seats;
  /** Not only what has to be. */
  readonly changesMembers: boolean;
}

const REST_MS = 6_000;
/** Fewer voters than this are not left. */
const VOTERS_MIN = 3;

export class SimOperator {
  readonly #world: OperatorWorld;
  readonly #everyMs: number;
  /** Directories of those who are, or were, members. */
  readonly #used = new Set<string>();
  #askedMs: number | undefined;
  #isStopped = false;
  done = 0;

  constructor(world: OperatorWorld) {
    this.#world = world;
    this.#everyMs = world.chance.of([60, 200, 800]);
  }

  begin(): void {
    const { queue, chance } = this.#world;
    queue.after(chance.delay(this.#everyMs), () => {
      if (this.#isStopped) return;
      const request = this.#next();
      if (request !== undefined) this.#ask(request);
      this.begin();
    });
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** By then what he asked for last is done or given up, wherever it waits; undefined: he has asked for nothing. */
  get restedMs(): number | undefined {
    return this.#askedMs === undefined ? undefined : this.#askedMs + REST_MS;
  }

  #next(): MemberRequest | undefined {
    const { chance, oracle, nodes, seats, changesMembers } = this.#world;
    const { voters, learners } = oracle.reference.members;
    for (const { id, dir } of oracle.reference.members.members) {
      const node = must(
        nodes.find(({ name }) => name === id),
        'a member is a node',
      );
      this.#used.add(dir ?? node.dir);
    }
    const [lost] = seats.lost;
    const fresh = this.#fresh();
    if (lost !== undefined && chance.is(lost.storage.isLost ? 0.02 : 0.5)) return { op: 'remove', id: lost.name };
    if (!changesMembers) {
      if (fresh !== undefined) return { op: 'add', member: fresh };
      return learners.length > 0 ? { op: 'promote', id: chance.of(learners) } : undefined;
    }
    const kind = chance.of(['add', 'promote', 'replace', 'remove', 'transfer', 'transferTo', 'list'] as const);
    if (kind === 'add' && fresh !== undefined) return { op: 'add', member: fresh };
    if (kind === 'promote' && learners.length > 0) return { op: 'promote', id: chance.of(learners) };
    if (kind === 'replace' && learners.length > 0) {
      return { op: 'replace', id: chance.of(voters), with: chance.of(learners) };
    }
    if (kind === 'remove' && voters.length > VOTERS_MIN) return { op: 'remove', id: chance.of(voters) };
    if (kind === 'remove' && learners.length > 1) return { op: 'remove', id: chance.of(learners) };
    if (kind === 'transferTo') return { op: 'transfer', to: chance.of(voters) };
    return { op: kind === 'transfer' ? 'transfer' : 'list' };
  }

  /** Who could be added. */
  #fresh(): Member | undefined {
    const { members, nodes } = this.#world;
    const seated = this.#world.oracle.reference.members.members;
    const node = nodes.find(({ name, dir }) => !this.#used.has(dir) && seated.every(({ id }) => id !== name));
    return members.find(({ id }) => id === node?.name);
  }

  #ask(request: MemberRequest): void {
    const { queue, chance, nodes, trace } = this.#world;
    const node = chance.of(nodes);
    if (!ask(this.#world, node, request, (reply) => this.#hear(request, reply))) return;
    this.#askedMs = queue.nowMs;
    trace.note(queue.nowMs, `members ${request.op}`, node.name);
  }

  #hear(request: MemberRequest, reply: Reply): void {
    const { trace, queue, oracle } = this.#world;
    if (reply.error !== undefined) {
      trace.note(queue.nowMs, `members ${reply.error.code}`, 'op');
      return;
    }
    trace.note(queue.nowMs, `members ${request.op} done`, 'op', reply.revision);
    // Those two say how things stand, which need not last.
    if (request.op === 'list' || request.op === 'transfer') return;
    this.done++;
    assert(reply.revision <= oracle.committedMost, `a change of members is told at ${reply.revision}, not committed`);
  }
}
