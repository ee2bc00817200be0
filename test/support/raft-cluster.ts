/**
 * RaftCluster: N Rafts, a disk each and a network between them, all of it moved by hand. No I/O, no clock.
 *
 * A node takes a turn (`turn`) and the driver does with its Ready exactly what the contract says. Whatever the
 * network carries lies in `wire` until someone delivers, drops or doubles it; what a disk was given lies there
 * until someone syncs it. `settle` does all of that until nothing is left to do. RaftChecker looks on.
 *
 *   propose, tick, step ─▶ raft ─ ready() ─▶ disk ─ sync() ─▶ persisted, promises leave
 *                                        ╰──▶ wire ─ deliver() ─▶ step at the other node
 *
 * Messages outlive their sender and may reach a later life of their receiver.
 */
import { assert, must } from '../../src/core/base/assert.ts';
import type { Random } from '../../src/core/base/env.ts';
import { type Index, toIndex } from '../../src/core/base/position.ts';
import { isStoreError } from '../../src/core/base/errors.ts';
import { type Membership, votersOnly } from '../../src/core/raft/membership.ts';
import { Raft, type RaftOptions } from '../../src/core/raft/raft.ts';
import type { Entry, Message, Ready, ReadState } from '../../src/core/raft/types.ts';
import { LINEAGE_MAX, type LifeSign, Witness } from '../../src/core/raft/witness.ts';
import { RaftChecker } from './raft-checker.ts';
import { type DiskStart, RaftDisk } from './raft-disk.ts';

export type Limits = Pick<
  RaftOptions,
  | 'electionTicks'
  | 'heartbeatTicks'
  | 'cacheBytesMax'
  | 'appendBytesMax'
  | 'inflightMessagesMax'
  | 'inflightBytesMax'
  | 'uncommittedBytesMax'
>;

export const LIMITS: Limits = {
  electionTicks: 10,
  heartbeatTicks: 2,
  cacheBytesMax: 256,
  appendBytesMax: 128,
  inflightMessagesMax: 3,
  inflightBytesMax: 512,
  uncommittedBytesMax: 4096,
};

export interface ClusterOptions {
  readonly size: number;
  /** How many of them belong to the cluster at first, and vote; the others wait to be added. All, when left out. */
  readonly voters?: number;
  readonly random?: Random;
  readonly limits?: Partial<Limits>;
  /** What the disks of n1, n2, … hold at first. */
  readonly disks?: readonly DiskStart[];
}

export class RaftNode {
  readonly id: string;
  readonly disk: RaftDisk;
  /** Of its directory, once it has lost one. */
  dir: string | undefined;
  raft: Raft | undefined;
  life = 0;
  /** What its directory remembers of its lives, and what it has seen of the others in this one. */
  lineage: readonly number[] = [];
  witness: Witness = new Witness();
  sign: LifeSign | undefined;
  /** What this life has applied. */
  applied: Entry[] = [];
  /** How far the state machine is: what it had flushed before this life, and what it has applied since. */
  appliedIndex: Index = toIndex(0);
  /** What this life has answered. */
  reads: ReadState[] = [];
  synced = 0;
  promises: { after: number; messages: readonly Message[] }[] = [];

  constructor(id: string, disk: RaftDisk) {
    this.id = id;
    this.disk = disk;
  }
}

/** Everybody waits for ever (nearly): in examples the next candidate is named, not drawn. */
const late: Random = () => 1000;

const SETTLE_DELIVERIES_MAX = 100_000;

export class RaftCluster {
  readonly nodes: readonly RaftNode[];
  readonly checker: RaftChecker;
  /** Messages under way, oldest first. */
  wire: Message[] = [];
  /** Messages for which this says false are lost. */
  passes: (message: Message) => boolean = () => true;
  applyBytesMax: number = Number.POSITIVE_INFINITY;
  /** Who found that whose directory has forgotten something. */
  readonly losses: string[] = [];
  /** Every message that was ever sent, when asked for. */
  sent: Message[] | undefined;
  /** A hash of all that happened, in order. */
  trace = 0x811c9dc5;
  readonly #random: Random;
  readonly #limits: Limits;
  /** Who belongs to the cluster at first. */
  readonly #initial: readonly string[];
  #lastRead = 0;
  #cut = new Set<string>();

  constructor(options: ClusterOptions) {
    this.#random = options.random ?? late;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#initial = Array.from({ length: options.voters ?? options.size }, (_, i) => `n${i + 1}`);
    this.nodes = Array.from({ length: options.size }, (_, i) => {
      return new RaftNode(`n${i + 1}`, new RaftDisk(options.disks?.[i]));
    });
    this.checker = new RaftChecker(this.nodes, this.#limits.inflightMessagesMax);
    this.checker.changesMembers = this.#initial.length < options.size;
    for (const node of this.nodes) this.start(node);
  }

  node(id: string): RaftNode {
    return must(
      this.nodes.find((node) => node.id === id),
      `${id} is a node`,
    );
  }

  raft(id: string): Raft {
    return must(this.node(id).raft, `${id} is alive`);
  }

  get leaders(): RaftNode[] {
    return this.nodes.filter((node) => node.raft?.isLeader === true);
  }

  // ── lives ─────────────────────────────────────────────────────────────────────────────────────────────────

  start(node: RaftNode): void {
    assert(node.raft === undefined, 'a node starts once per life');
    node.life++;
    node.applied = [];
    node.appliedIndex = node.disk.flushed;
    node.reads = [];
    node.synced = 0;
    const { index: membershipIndex, membership } = node.disk.membership(votersOnly(this.#initial));
    node.raft = new Raft({
      ...this.#limits,
      id: node.id,
      dir: node.dir,
      membership,
      membershipIndex,
      laterMemberships: node.disk.laterMemberships(),
      random: this.#random,
      hardState: node.disk.hardState,
      baseIndex: node.disk.base,
      baseTerm: node.disk.baseTerm,
      appliedIndex: node.disk.flushed,
      lastIndex: node.disk.lastIndex,
      runs: node.disk.runs(),
      source: node.disk,
    });
    this.note(`start ${node.id} ${node.disk.base} ${node.disk.flushed} ${node.disk.lastIndex}`);
    this.checker.started(node);
    this.#introduce(node);
  }

  /** A life begins: the others look whether it is the one that lived before. */
  #introduce(node: RaftNode): void {
    const { log, term } = this.raft(node.id);
    const began = { term, lastTerm: log.lastTerm, lastIndex: log.last };
    const dir = node.dir ?? `first of ${node.id}`;
    const sign = {
      dir,
      boot: node.life,
      life: node.lineage.length + 1,
      lineage: node.lineage.slice(-LINEAGE_MAX),
      began,
    };
    node.sign = sign;
    node.lineage = [...node.lineage, sign.boot];
    node.witness = new Witness(node.witness.seen);
    for (const other of this.nodes) {
      if (other === node || other.raft === undefined) continue;
      this.losses.push(...(other.witness.meet(node.id, sign) === undefined ? [] : [`${other.id} of ${node.id}`]));
      if (other.sign !== undefined) node.witness.meet(other.id, other.sign);
    }
  }

  /** Ends a life; the oldest `kept` of the unsynced persists reach the disk all the same. */
  crash(node: RaftNode, kept = 0): void {
    this.note(`crash ${node.id} ${kept}`);
    node.raft = undefined;
    node.promises = [];
    node.disk.crash(kept);
  }

  restart(id: string, kept = 0): Raft {
    this.crash(this.node(id), kept);
    this.start(this.node(id));
    return this.raft(id);
  }

  /** Ends a life and loses the disk: what no voter may do, and operators do. `dir`: it says so, by another directory. */
  wipe(id: string, dir?: string): void {
    this.crash(this.node(id));
    this.node(id).disk.wipe();
    this.node(id).dir = dir;
    this.checker.wiped(id);
  }

  // ── what may happen to a node ─────────────────────────────────────────────────────────────────────────────

  /** A driver whose moment of waiting for an append to carry the commit is always over. */
  tellsCommits = true;

  /** One turn of the driver. */
  turn(node: RaftNode): Ready | undefined {
    if (node.raft === undefined) return undefined;
    if (this.tellsCommits) node.raft.tellCommits();
    const ready = node.raft.ready(this.applyBytesMax);
    if (ready.persist !== undefined) {
      this.note(`persist ${node.id} ${ready.persist.seq} ${ready.persist.revertFrom} ${ready.persist.entries.length}`);
      this.checker.handed(node, ready.persist.entries);
      node.disk.write(ready.persist);
    }
    for (const message of ready.send) this.#post(message);
    if (ready.sendOnceSynced.length > 0) {
      node.promises.push({ after: ready.promisedAfter, messages: ready.sendOnceSynced });
    }
    this.checker.applied(node, ready.apply);
    node.applied.push(...ready.apply);
    node.appliedIndex = ready.apply.at(-1)?.index ?? node.appliedIndex;
    for (const read of ready.reads) {
      this.note(`read ${node.id} ${read.id} ${read.index}`);
      this.checker.answered(node, read);
      node.reads.push(read);
    }
    this.checker.touched(node);
    this.#keepPromises(node);
    return ready;
  }

  /** Syncs up to `count` of the persists written; the node is told of the last one only. */
  sync(node: RaftNode, count = 1): void {
    if (node.raft === undefined || node.disk.unsynced === 0) return;
    for (let i = 0; i < count && node.disk.unsynced > 0; i++) node.synced = node.disk.sync();
    this.note(`sync ${node.id} ${node.synced}`);
    node.raft.persisted(node.synced);
    this.checker.touched(node);
    this.#keepPromises(node);
  }

  /** The state machine makes durable what it has applied, up to `index`. */
  flush(node: RaftNode, index: Index = node.appliedIndex): void {
    assert(index <= node.appliedIndex, 'only what was applied is flushed');
    this.note(`flush ${node.id} ${index}`);
    node.disk.flush(index);
  }

  /** The driver lets go of what it may, up to `index`; the disk removes the entries, or not yet those after `removed`. */
  compact(node: RaftNode, index: Index = this.mayCompactTo(node), removed: Index = index): void {
    const { log } = must(node.raft, 'only the living compact');
    assert(index <= this.mayCompactTo(node), 'the driver keeps to what it may');
    log.compactTo(index);
    if (removed > node.disk.base) node.disk.removeTo(removed < log.base ? removed : log.base);
    this.note(`compact ${node.id} ${log.base} ${node.disk.base}`);
    this.checker.touched(node);
  }

  mayCompactTo(node: RaftNode): Index {
    const { truncatable } = must(node.raft, 'only the living compact').log;
    return truncatable < node.disk.flushed ? truncatable : node.disk.flushed;
  }

  tick(node: RaftNode, count = 1): void {
    for (let i = 0; i < count && node.raft !== undefined; i++) {
      node.raft.tick();
      this.checker.touched(node);
    }
  }

  step(message: Message): void {
    const node = this.node(message.to);
    if (node.raft === undefined) return;
    node.witness.heard(message, node.raft);
    node.raft.step(message);
    this.checker.touched(node);
  }

  propose(id: string, ...datas: string[]): Index | undefined {
    const index = this.raft(id).propose(datas.map((data) => new TextEncoder().encode(data)));
    this.checker.touched(this.node(id));
    return index;
  }

  /** Begins a change of members at `id`. False: refused, or it does not lead. */
  change(id: string, change: (now: Membership) => Membership): boolean {
    this.checker.changesMembers = true;
    try {
      return this.raft(id).changeMembers(change) !== undefined;
    } catch (error) {
      if (!isStoreError(error, 'MEMBER_REFUSED') && !isStoreError(error, 'UNAVAILABLE')) throw error;
      return false;
    } finally {
      this.checker.touched(this.node(id));
    }
  }

  /** Asks for a read; returns its number, or undefined when the node does not lead. */
  read(id: string): number | undefined {
    const number = this.#lastRead + 1;
    if (!this.raft(id).readIndex(number)) return undefined;
    this.#lastRead = number;
    this.checker.asked(this.node(id), number);
    return number;
  }

  // ── the network ───────────────────────────────────────────────────────────────────────────────────────────

  /** Delivers the message at this place of the wire. */
  deliver(at = 0): void {
    const [message] = this.wire.splice(at, 1);
    if (message === undefined || this.#isLost(message)) return;
    this.note(`deliver ${line(message)}`);
    this.step(message);
  }

  /** Everything between `from` and `to`, in that direction, is lost from now on. */
  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }

  isolate(...ids: string[]): void {
    for (const { id } of this.nodes) {
      for (const lonely of ids) {
        if (ids.includes(id)) continue;
        this.cut(id, lonely);
        this.cut(lonely, id);
      }
    }
  }

  heal(): void {
    this.#cut.clear();
    this.passes = () => true;
  }

  // ── all together ──────────────────────────────────────────────────────────────────────────────────────────

  /** Turns, syncs and deliveries until nothing is left to do. */
  settle(): void {
    for (let deliveries = 0; ; ) {
      let isQuiet = true;
      for (const node of this.nodes) {
        const ready = this.turn(node);
        if (ready !== undefined && ready.apply.length + ready.reads.length > 0) isQuiet = false;
        if (!node.disk.isStalled && node.disk.unsynced > 0) {
          this.sync(node, node.disk.unsynced);
          isQuiet = false;
        }
      }
      if (this.wire.length > 0) isQuiet = false;
      if (isQuiet) return;
      for (let count = this.wire.length; count > 0; count--) {
        this.deliver();
        assert(++deliveries <= SETTLE_DELIVERIES_MAX, 'a cluster that is left alone grows quiet');
      }
    }
  }

  /** Time passes for all, `count` ticks, and everything settles after each. */
  pass(count = 1): void {
    for (let i = 0; i < count; i++) {
      for (const node of this.nodes) this.tick(node);
      this.settle();
    }
  }

  /** Lets `id` stand, once others have waited long enough to listen; it leads if they agree. */
  elect(id: string): Raft {
    for (const node of this.nodes) {
      // Long enough to listen to a candidate again.
      if (node.raft?.role === 'follower') this.tick(node, this.#limits.electionTicks);
    }
    this.raft(id).campaign();
    this.settle();
    return this.raft(id);
  }

  note(event: string): void {
    let hash = this.trace;
    for (let i = 0; i < event.length; i++) hash = Math.imul(hash ^ event.charCodeAt(i), 0x01000193);
    this.trace = Math.imul(hash ^ 0x0a, 0x01000193);
  }

  /** The terms of what a node's log has left, as the paper's figures draw it. */
  terms(id: string): number[] {
    const { log } = this.raft(id);
    return Array.from({ length: log.last - log.base }, (_, i) => Number(log.term(toIndex(log.first + i))));
  }

  #isLost(message: Message): boolean {
    return this.#cut.has(`${message.from}>${message.to}`) || !this.passes(message);
  }

  #post(message: Message): void {
    assert(message.to !== message.from, 'what leaves at once is for others');
    this.checker.left(this.node(message.from), message);
    this.sent?.push(message);
    this.wire.push(message);
  }

  #keepPromises(node: RaftNode): void {
    while ((node.promises[0]?.after ?? Number.POSITIVE_INFINITY) <= node.synced || node.promises[0]?.after === 0) {
      const { messages } = must(node.promises.shift(), 'looked at above');
      for (const message of messages) {
        if (message.to === node.id) {
          this.checker.left(node, message);
          this.step(message);
        } else this.#post(message);
      }
    }
  }
}

/** A message in a line, for traces. */
export function line(message: Message): string {
  const { kind, from, to, term } = message;
  const head = `${kind} ${from} ${to} t${term}`;
  switch (kind) {
    case 'append':
      return `${head} ${message.prevIndex}@${message.prevTerm} +${message.entries.length} c${message.commit}`;
    case 'appendReply':
      return `${head} ${message.rejected ? 'no' : 'ok'} ${message.index} ${message.hintIndex}@${message.hintTerm}`;
    case 'preVote':
    case 'vote':
      return `${head} ${message.lastIndex}@${message.lastTerm}`;
    case 'preVoteReply':
    case 'voteReply':
      return `${head} ${message.granted}`;
    case 'commit':
      return `${head} c${message.commit}`;
    case 'heartbeat':
      return `${head} c${message.commit} r${message.readRound} m${message.matchedByAll}`;
    case 'timeoutNow':
      return head;
    default:
      return `${head} r${message.readRound}`;
  }
}
