/**
 * OldDisk: a disk is put back as it was a while ago, under the same identity, and the node goes on from it: a restored
 * volume, a virtual machine's snapshot. Others have seen more of it than it knows, and must say so.
 *
 * What is promised (docs/decisions/lives.md) is that it is found while those who have seen more are there to tell. So all
 * faults end first, and none begins until it is found, or has been let in by everybody and has, again, all that counts. That
 * is the claim, looked at with books of our own: where some member has met a later life of it, or the leader has an ack of
 * what it lacks, it may not be let in by all.
 */
import { assert } from '../../src/core/base/assert.ts';
import type { LogEnd } from '../../src/core/raft/witness.ts';
import type { Chance } from './chance.ts';
import type { SimNetwork } from './network.ts';
import type { SimNode } from './node.ts';
import type { Oracle } from './oracle.ts';
import type { EventQueue } from './queue.ts';
import type { Seats } from './seats.ts';
import type { Trace } from './trace.ts';

export interface OldDiskWorld {
  readonly queue: EventQueue;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly oracle: Oracle;
  readonly network: SimNetwork;
  readonly nodes: readonly SimNode[];
  readonly seats: Seats;
  /** Every fault ends. False: the time of faults is over. */
  readonly calm: () => boolean;
  readonly fail: (error: Error) => void;
}

const LOOK_EVERY_MS = 20;
const CALM_WITHIN_MS = 6_000;
const FOUND_WITHIN_MS = 30_000;

interface Ack {
  readonly term: number;
  readonly index: number;
}

/** What is known of the disk that comes back. */
interface Past {
  readonly node: SimNode;
  /** Members that have met a life of it that it does not know of. */
  readonly met: readonly SimNode[];
  readonly leader: SimNode;
  /** What the leader had been told of it. */
  readonly ack: Ack | undefined;
  /** Its first life from the old disk, and where its log stood when that began, once it has. */
  readonly first: number;
  began?: LogEnd | undefined;
  readonly untilMs: number;
  /** Committed when it came back. */
  readonly committed: number;
}

export class OldDisk {
  readonly #world: OldDiskWorld;
  /** Only one node's: whoever has seen more of it has seen it with a disk that forgets nothing. */
  #node: SimNode | undefined;
  #livesCopied = 0;
  #isUnderWay = false;
  restored = 0;
  found = 0;

  constructor(world: OldDiskWorld) {
    this.#world = world;
  }

  /** No fault may begin. */
  get isUnderWay(): boolean {
    return this.#isUnderWay;
  }

  /** Keeps the disk as it is now, and has it come back later. */
  begin(node: SimNode): void {
    if (this.#isUnderWay || (this.#node !== undefined && this.#node !== node) || node.storage.isLost) return;
    this.#node = node;
    const { queue, chance, trace } = this.#world;
    trace.note(queue.nowMs, 'fault copy', node.name);
    this.#livesCopied = node.lives;
    node.storage.copy();
    queue.after(chance.of([100, 1_000, 4_000]) * (0.5 + chance.random()), () => this.#calmDown(node));
  }

  #calmDown(node: SimNode): void {
    const { queue, seats, calm } = this.#world;
    const mayCome =
      !this.#isUnderWay && node.storage.hasCopy && seats.isMember(node) && seats.canSpare(new Set([node]));
    if (!mayCome || !calm()) return;
    this.#isUnderWay = true;
    this.#whenCalm(node, queue.nowMs + CALM_WITHIN_MS);
  }

  #whenCalm(node: SimNode, untilMs: number): void {
    const { queue, trace, oracle, seats, calm } = this.#world;
    const leader = this.#leader();
    const isThere = seats.isMember(node) && node.storage.hasCopy && seats.canSpare(new Set([node]));
    if (!isThere || queue.nowMs >= untilMs || !calm()) {
      this.#isUnderWay = false;
    } else if (leader === undefined || leader === node) {
      queue.after(LOOK_EVERY_MS, () => this.#whenCalm(node, untilMs));
    } else {
      trace.note(queue.nowMs, 'fault old disk', node.name, this.#livesCopied);
      this.restored++;
      const heard = leader.ear.acks.get(node.name);
      // Who was removed and added again is new to the leader: of what it acknowledged before, nobody has a book.
      const ack = heard !== undefined && heard.index >= oracle.reference.memberSince(node.name) ? heard : undefined;
      const first = node.lives + 1;
      const met = this.#whoMet(node);
      node.restoreCopy();
      const past = { node, leader, ack, first, met, committed: oracle.committedMost };
      this.#watch({ ...past, untilMs: queue.nowMs + FOUND_WITHIN_MS });
    }
  }

  /** Whom all members follow, each of them connected with each. */
  #leader(): SimNode | undefined {
    const { nodes, seats } = this.#world;
    const members = nodes.filter((node) => seats.isMember(node));
    const leader = members.find(({ current }) => current?.raft.isLeader === true);
    const raft = leader?.current?.raft;
    if (leader === undefined || raft?.hasCommittedInTerm !== true) return undefined;
    const follow = members.every(
      (node) => node.current?.raft.leader === leader.name && node.current.raft.term === raft.term,
    );
    return follow && members.every((node) => this.#isLetInByAll(node)) ? leader : undefined;
  }

  #isLetInByAll(node: SimNode): boolean {
    const { nodes, seats, network } = this.#world;
    return nodes.every(
      (other) => other === node || !seats.isSeat(other) || network.isOpen(node.name, other.name, 'control'),
    );
  }

  #watch(past: Past): void {
    const { queue, seats, trace, fail } = this.#world;
    const { node, untilMs } = past;
    const { storage } = node;
    if (node.current !== undefined && node.lives === past.first) past.began = node.presence?.began;
    const isFound = !storage.isOld || storage.isDamaged;
    if (isFound || !seats.isSeat(node)) {
      if (isFound) this.found++;
      this.#isUnderWay = false;
      return;
    }
    try {
      if (this.#isWhole(past)) {
        const witness = this.#witness(past);
        assert(witness === undefined, `the old disk of ${node.name} is found: ${witness} has seen more of it`);
        trace.note(queue.nowMs, 'old disk is whole', node.name);
        storage.recovered();
        this.#isUnderWay = false;
        return;
      }
      assert(queue.nowMs < untilMs, `the old disk of ${node.name} is found, or let in`);
    } catch (error) {
      fail(error as Error);
      return;
    }
    queue.after(LOOK_EVERY_MS, () => this.#watch(past));
  }

  /** Nobody has refused it, and it has what was committed when it came. */
  #isWhole({ node, committed }: Past): boolean {
    const raft = node.current?.raft;
    return raft !== undefined && raft.leader !== '' && raft.log.stable >= committed && this.#isLetInByAll(node);
  }

  #whoMet(node: SimNode): readonly SimNode[] {
    const { nodes, seats, network } = this.#world;
    const hasMet = (other: SimNode): boolean => (network.lifeMet(other, node) ?? 0) > this.#livesCopied;
    return nodes.filter((other) => other !== node && seats.isMember(other) && hasMet(other));
  }

  /** Who has seen more, and is there to tell. */
  #witness({ met, leader, ack, began }: Past): string | undefined {
    const { seats } = this.#world;
    const one = met.find((other) => seats.isMember(other));
    if (one !== undefined) return `${one.name}, a later life,`;
    const raft = leader.current?.raft;
    if (raft?.isLeader !== true || ack?.term !== raft.term || began === undefined) return undefined;
    return isBehind(began, ack) ? `${leader.name}, an ack of ${ack.index} in term ${ack.term},` : undefined;
  }
}

function isBehind({ term, lastIndex }: LogEnd, ack: Ack): boolean {
  return term < ack.term || (term === ack.term && lastIndex < ack.index);
}
