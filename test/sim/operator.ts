/**
 * SimOperator: whoever changes the members while all else goes wrong: adds spare nodes as learners, promotes them, puts
 * them in the place of others, removes some, has leaders hand over; by frames through whichever node he tries. What he is
 * told is done, is committed. Where he changes nothing of his own will he still puts right what was lost: the seat of a
 * node whose disk is gone is removed, and the node, with its new directory, is added and promoted.
 *
 * A node that was removed does not come back with the directory that it had: under an old name only a new one may.
 */
import type { Connection } from '../../src/actors/gateway/connection.ts';
import { assert, must } from '../../src/core/base/assert.ts';
import { ByteReader, ByteWriter } from '../../src/core/base/bytes.ts';
import type { Member } from '../../src/core/raft/membership.ts';
import * as wire from '../../src/core/wire/client.ts';
import { encodeMemberRequest, type MemberRequest } from '../../src/core/wire/members.ts';
import type { Chance } from './chance.ts';
import type { SimNode } from './node.ts';
import type { SimDoor } from './node-world.ts';
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

const LATENCY_MS = 0.3;
const PATIENCE_MS = 5_000;
const REST_MS = 6_000;
/** Fewer voters than this are not left. */
const VOTERS_MIN = 3;

/** One request, on a connection of its own. */
class Errand implements SimDoor {
  readonly bufferedBytes: number = 0;
  readonly #connection: Connection | undefined;
  readonly #node: SimNode;
  readonly #life: number;
  readonly #onFrame: (frame: Uint8Array) => void;
  readonly #world: OperatorWorld;
  #isClosed = false;

  constructor(world: OperatorWorld, node: SimNode, life: number, onFrame: (frame: Uint8Array) => void) {
    this.#world = world;
    this.#node = node;
    this.#life = life;
    this.#onFrame = onFrame;
    this.#connection = node.accept(this);
    world.queue.after(PATIENCE_MS, () => this.#drop());
  }

  say(frame: Uint8Array): void {
    if (this.#connection !== undefined && !this.#isClosed) this.#node.frame(this.#life, this.#connection, frame);
  }

  send(frame: Uint8Array): void {
    const { queue, chance } = this.#world;
    queue.after(chance.delay(LATENCY_MS), () => {
      if (!this.#isClosed) this.#onFrame(frame);
    });
  }

  close(): void {
    this.#drop();
  }

  lost(): void {
    this.#isClosed = true;
  }

  #drop(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#connection !== undefined) this.#node.left(this.#life, this.#connection, this);
  }
}

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
    if (lost !== undefined && chance.is(0.5)) return { op: 'remove', id: lost.name };
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
    const { life } = node;
    if (life === undefined) return;
    this.#askedMs = queue.nowMs;
    trace.note(queue.nowMs, `members ${request.op}`, node.name);
    const errand = new Errand(this.#world, node, life, (frame) => this.#hear(request, frame));
    errand.say(wire.encodeHello({ versionMin: 1, versionMax: wire.PROTOCOL_VERSION, client: 'operator' }));
    const writer = new ByteWriter(128).u8(wire.FRAME.requests);
    const at = wire.beginRequest(writer, { id: 1, kind: wire.REQUEST.members, deadlineMs: PATIENCE_MS });
    writer.raw(encodeMemberRequest(request));
    wire.endRequest(writer, at);
    errand.say(writer.take());
  }

  #hear(request: MemberRequest, frame: Uint8Array): void {
    const { trace, queue, oracle } = this.#world;
    const reader = new ByteReader(frame);
    if (reader.u8() !== wire.FRAME.replies) return;
    const reply = wire.decodeReply(reader);
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
