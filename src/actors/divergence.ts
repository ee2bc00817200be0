/**
 * Divergence: whether this node has the same state as the others. Once a second it tells all members its newest
 * checkpoint (checkpoints.ts), and compares what they tell with its own at the same revision.
 *
 *   n1 ── 6400: aa ──▶ n3     n3 has bb there: it opens a dispute, and tells everybody its own hash of 6400
 *   n3 ── 6400: bb ──▶ n2     n2 has aa there, opens the same dispute, and tells everybody
 *   n2 ── 6400: aa ──▶ n3     two of three voters say aa: n3 is the one that has diverged
 *
 * Nodes that write fast are seldom asked about the same revision twice; the dispute is what makes all of them speak of
 * one. A node that a majority of the voters contradicts with one voice marks its directory, and ends: what it would
 * answer is wrong, and if it led it would spread it. Without such a majority (two nodes, or one is away) nobody can know
 * who is right: it is logged and counted, and both go on.
 *
 * Equal hashes of a majority are needed to end a node, so the rule can end a minority, never a majority.
 *
 * Bounds: SAID_MAX words of each member; DISPUTES_PER_SECOND new disputes in a second, each for DISPUTE_MS at most.
 */
import type { Clock } from '../core/base/env.ts';
import { StoreError } from '../core/base/errors.ts';
import { type Index, toIndex } from '../core/base/position.ts';
import type { Raft } from '../core/raft/raft.ts';
import type { NodeId } from '../core/raft/types.ts';
import type { MeshMessage } from '../core/wire/mesh.ts';
import type { Diverged } from '../engine/disk/diverged.ts';
import { type CheckpointReader, checkpointBefore, isCheckpoint } from './checkpoints.ts';
import type { LogFunction } from './runtime/thread.ts';
import type { Shared } from './shared.ts';

export interface DivergenceWorld {
  readonly raft: Pick<Raft, 'id' | 'configuration'>;
  readonly shared: Shared;
  readonly clock: Clock;
  readonly checkpoints: Pick<CheckpointReader, 'at'>;
  readonly post: (to: NodeId, message: MeshMessage) => void;
  /** Writes down, synced, that nothing may start from this directory again. */
  readonly markDiverged: (diverged: Diverged) => void;
  readonly log?: LogFunction | undefined;
}

/** A member's word, until it was compared. */
interface Said {
  readonly index: Index;
  readonly hash: number;
  isCompared: boolean;
}

interface Dispute {
  readonly index: Index;
  readonly own: number;
  readonly sinceMs: number;
}

const EVERY_MS = 1_000;
const SAID_MAX = 16;
const DISPUTES_PER_SECOND = 4;
/** Everybody who can be heard has spoken by then. */
const DISPUTE_MS = 3_000;
const WARN_EVERY_MS = 60_000;

export class Divergence {
  readonly #world: DivergenceWorld;
  readonly #applied: () => number;
  readonly #said = new Map<NodeId, Said[]>();
  /** By revision; closed when somebody is found to be right, or nobody can be. */
  readonly #disputes = new Map<number, Dispute>();
  /** Members who have another state, and nobody knows who is right; with the revision at which that was found. */
  readonly #unsettled = new Map<NodeId, number>();
  #nextMs = 0;
  #mayOpen = DISPUTES_PER_SECOND;
  readonly #warnedMs = new Map<string, number>();

  constructor(world: DivergenceWorld) {
    this.#world = world;
    this.#applied = world.shared.reader('applied');
  }

  /** Once a second: tells, looks again at what could not be compared before, and ends disputes that nobody settles. */
  tick(): void {
    const nowMs = this.#world.clock.monotonicMs();
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + EVERY_MS;
    this.#mayOpen = DISPUTES_PER_SECOND;
    this.#forgetStrangers();
    const index = toIndex(checkpointBefore(this.#applied()));
    const own = this.#world.checkpoints.at(index);
    if (index > 0 && own !== undefined) this.#tell(index, own);
    for (const [peer, words] of this.#said) {
      for (const said of words) this.#compare(peer, said);
    }
    for (const dispute of this.#disputes.values()) {
      if (nowMs - dispute.sinceMs >= DISPUTE_MS) this.#leaveOpen(dispute);
    }
  }

  /** `from` has this hash. Throws DIVERGED when that proves that this node is wrong. */
  heard(from: NodeId, index: Index, hash: number): void {
    if (index === 0 || !isCheckpoint(index) || !this.#isMember(from)) return;
    const words = this.#said.get(from) ?? [];
    const said = { index, hash, isCompared: false };
    // Its newest word of a revision counts: a node that started again may have come to another state.
    const kept = words.filter((other) => other.index !== index);
    this.#said.set(from, [...kept.slice(-(SAID_MAX - 1)), said]);
    this.#compare(from, said);
    this.#judge(index);
  }

  #compare(peer: NodeId, said: Said): void {
    if (said.isCompared || said.index > this.#applied()) return;
    const { shared, checkpoints } = this.#world;
    said.isCompared = true;
    const own = checkpoints.at(said.index);
    // Too long ago: newer words will come.
    if (own === undefined) return;
    shared.set('stateCompared', Math.max(shared.get('stateCompared'), said.index));
    if (own !== said.hash) {
      shared.add('stateDifferences', 1);
      this.#open(said.index, own);
    } else if (said.index > (this.#unsettled.get(peer) ?? Number.POSITIVE_INFINITY)) {
      // Equal again, which it can only be with another state than it had: it was replaced.
      this.#unsettled.delete(peer);
      this.#showUnsettled();
    }
  }

  /** Has everybody speak of `index`. */
  #open(index: Index, own: number): void {
    if (this.#disputes.has(index) || this.#mayOpen === 0) return;
    this.#mayOpen--;
    this.#disputes.set(index, { index, own, sinceMs: this.#world.clock.monotonicMs() });
    this.#tell(index, own);
    this.#judge(index);
  }

  /** Ends the dispute if a majority of the voters agrees on something. */
  #judge(index: Index): void {
    const dispute = this.#disputes.get(index);
    if (dispute === undefined) return;
    const { id, configuration } = this.#world.raft;
    const words = this.#wordsAt(index);
    words.set(id, dispute.own);
    for (const hash of new Set(words.values())) {
      if (configuration.reachedByQuorum((voter) => (words.get(voter) === hash ? 1 : 0)) === 0) continue;
      this.#disputes.delete(index);
      const others = [...words].filter(([, other]) => other !== dispute.own).map(([peer]) => peer);
      if (hash !== dispute.own) {
        this.#end({
          index,
          own: hex(dispute.own),
          theirs: hex(hash),
          by: [...words].filter(([, said]) => said === hash).map(([peer]) => peer),
        });
      }
      for (const peer of others) this.#unsettled.delete(peer);
      this.#showUnsettled();
      if (others.length > 0) this.#warn('state.other-diverged', { index, own: hex(dispute.own), nodes: others });
      return;
    }
  }

  #end(diverged: Diverged): never {
    const { log, markDiverged } = this.#world;
    log?.('error', 'state.diverged', { ...diverged });
    this.#world.shared.set('stateDiverged', 1);
    let cause: unknown;
    try {
      markDiverged(diverged);
    } catch (error) {
      // It ends all the same, and finds the same out again should somebody start it.
      log?.('error', 'state.diverged.unmarked', { reason: String(error) });
      cause = error;
    }
    throw new StoreError(
      'DIVERGED',
      `at revision ${diverged.index} this node's state hash is ${diverged.own}, and ${diverged.by.join(', ')} have ` +
        `${diverged.theirs}: its state is wrong. Remove it from the cluster, and add one with an empty directory and a new id`,
      { cause, data: { ...diverged } },
    );
  }

  /** Too few were heard, or all say something else: nobody can tell who is right. */
  #leaveOpen({ index, own }: Dispute): void {
    this.#disputes.delete(index);
    const words = [...this.#wordsAt(index)];
    for (const [peer, hash] of words) if (hash !== own) this.#unsettled.set(peer, index);
    this.#showUnsettled();
    const theirs = Object.fromEntries(words.map(([peer, hash]) => [peer, hex(hash)]));
    this.#warn('state.disputed', { index, own: hex(own), theirs });
  }

  #wordsAt(index: Index): Map<NodeId, number> {
    const words = new Map<NodeId, number>();
    for (const [peer, said] of this.#said) {
      const found = said.find((one) => one.index === index);
      if (found !== undefined) words.set(peer, found.hash);
    }
    return words;
  }

  #tell(index: Index, hash: number): void {
    const { raft, post } = this.#world;
    for (const peer of raft.configuration.peersOf(raft.id)) post(peer, { kind: 'stateHash', index, hash });
  }

  #isMember(id: NodeId): boolean {
    const { raft } = this.#world;
    return raft.configuration.peersOf(raft.id).includes(id);
  }

  #forgetStrangers(): void {
    const { raft } = this.#world;
    const peers = new Set(raft.configuration.peersOf(raft.id));
    for (const peer of this.#said.keys()) if (!peers.has(peer)) this.#said.delete(peer);
    for (const peer of this.#unsettled.keys()) if (!peers.has(peer)) this.#unsettled.delete(peer);
    this.#showUnsettled();
  }

  #showUnsettled(): void {
    this.#world.shared.set('stateDiverged', this.#unsettled.size > 0 ? 1 : 0);
  }

  /** The same is not said more than once a minute. */
  #warn(event: string, fields: Record<string, unknown>): void {
    const nowMs = this.#world.clock.monotonicMs();
    if (nowMs < (this.#warnedMs.get(event) ?? 0)) return;
    this.#warnedMs.set(event, nowMs + WARN_EVERY_MS);
    this.#world.log?.('error', event, fields);
  }
}

const hex = (hash: number): string => hash.toString(16).padStart(8, '0');
