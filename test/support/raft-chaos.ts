/**
 * Chaos: one seed is one long bad day of a cluster, and the evening after it.
 *
 * The seed first draws the kind of day (cluster size, limits, which faults and how often: a day without crashes
 * finds other bugs than one full of them), then every step. In the evening all is healed and the cluster owes us
 * progress: within bounded time one proposal must be applied by everybody, and no read may be left open.
 */
import { assert, must } from '../../src/core/base/assert.ts';
import type { Random } from '../../src/core/base/env.ts';
import { plus } from '../../src/core/base/position.ts';
import { withLearner, withoutMember, withReplacement, withVoter } from '../../src/core/raft/membership.ts';
import type { Message } from '../../src/core/raft/types.ts';
import { line, RaftCluster, type RaftNode } from './raft-cluster.ts';
import { seeded } from './raft-random.ts';

export interface Day {
  readonly seed: number;
  readonly trace: number;
  readonly committed: number;
  readonly elections: number;
  readonly readsConfirmed: number;
  readonly crashes: number;
  readonly reverts: number;
  /** Entries that nodes had removed by the evening, and lives that began with a log without some. */
  readonly compacted: number;
  readonly shortStarts: number;
  /** Changes of members that were begun. */
  readonly memberChanges: number;
}

const WIRE_MAX = 300;
const PAST_MAX = 40;
/** Ten of the longest waits for an election. */
const EVENING_TICKS_MAX = 200;

/** Lives through the day of this seed; throws what was broken, with the seed. */
export function liveThrough(seed: number, steps: number, changesMembers = false): Day {
  try {
    return new Chaos(seed, changesMembers).run(steps);
  } catch (error) {
    const replay = `CTLMESH_RAFT_SEED=${seed} npx vitest run test/core/raft/chaos.test.ts`;
    throw new Error(`seed ${seed}: ${(error as Error).message} (again: ${replay})`, { cause: error });
  }
}

/** The days to live through: the one asked for by CTLMESH_RAFT_SEED, or `count` of them from `first`. */
export function seedsToTry(first: number, count: number): number[] {
  const asked = process.env['CTLMESH_RAFT_SEED'];
  return asked === undefined ? Array.from({ length: count }, (_, i) => first + i) : [Number(asked)];
}

class Chaos {
  readonly #seed: number;
  readonly #changesMembers: boolean;
  readonly #random: Random;
  readonly #cluster: RaftCluster;
  /** What may happen, as often as its weight says. */
  #events: readonly (readonly [weight: number, happen: () => void])[];
  readonly #weights: number;
  readonly #reorder: number;
  /** Some of what was delivered: it may come again, much later. */
  readonly #past: Message[] = [];
  #crashes = 0;
  #memberChanges = 0;
  #shortStarts = 0;
  #proposals = 0;
  #readsConfirmed = 0;

  constructor(seed: number, changesMembers: boolean) {
    this.#seed = seed;
    this.#changesMembers = changesMembers;
    const random = seeded(seed);
    this.#random = random;
    const among = <T>(...values: readonly T[]): T => must(values[Math.floor(random() * values.length)], 'one of them');
    const size = among(1, 2, 3, 3, 3, 4, 5, 5);
    this.#cluster = new RaftCluster({
      size: changesMembers ? size + 2 : size,
      voters: size,
      random,
      limits: {
        electionTicks: among(5, 10),
        heartbeatTicks: among(1, 3),
        cacheBytesMax: among(0, 64, 1024),
        appendBytesMax: among(1, 64, 256),
        inflightMessagesMax: among(1, 2, 8),
        inflightBytesMax: among(1, 128, 1024),
        uncommittedBytesMax: among(200, 2000),
      },
    });
    this.#cluster.tellsCommits = seed % 2 === 0;
    this.#cluster.applyBytesMax = among(1, 100, Number.POSITIVE_INFINITY);
    for (const { disk } of this.#cluster.nodes) disk.readCountMax = among(1, 3, 1000);
    this.#reorder = among(0, 0.1, 0.5);
    this.#events = [
      [among(2, 10, 20), () => this.#round(this.#cluster.nodes)],
      [among(20, 40), () => this.#deliver()],
      [among(0, 1, 6), () => this.#drop()],
      [among(0, 1, 6), () => this.#duplicate()],
      [among(10, 25), () => this.#cluster.turn(this.#someone())],
      [among(4, 20), () => this.#cluster.sync(this.#someone(), among(1, 1, 2, 9))],
      [among(1, 10), () => this.#cluster.tick(this.#someone(), among(1, 1, 1, 3))],
      [among(0.1, 1), () => this.#oneNodeIsPaused()],
      [among(3, 9), () => this.#propose()],
      [among(0, 4), () => this.#read()],
      [among(0, 0.2, 1.5), () => this.#crash()],
      [among(1, 3), () => this.#start(this.#someone())],
      [among(0, 0.3, 1), () => this.#partition()],
      [among(0.5, 2), () => this.#cluster.heal()],
      [among(0, 1), () => this.#stall()],
      [among(0, 0.5), () => this.#someone().raft?.unreachable(this.#someone().id)],
      [among(0, 0, 2), () => this.#someone().raft?.suspectLeader(this.#someone().id)],
      [among(0, 1, 3), () => this.#someone().raft?.campaign()],
      [among(0, 2, 10), () => this.#flush(this.#someone())],
      [among(0, 2, 10), () => this.#compact(this.#someone())],
    ];
    // Without snapshots nobody may let go of what a newcomer has to be sent.
    if (changesMembers) {
      const [change, transfer] = [among(2, 8), among(0, 1)];
      this.#events = [
        ...this.#events.slice(0, -1),
        [change, () => this.#changeMembers()],
        [
          transfer,
          () => this.#cluster.leaders[0]?.raft?.transfer(this.#random() < 0.5 ? undefined : this.#someone().id),
        ],
      ];
    }
    this.#weights = this.#events.reduce((sum, [weight]) => sum + weight, 0);
  }

  run(steps: number): Day {
    const { checker, nodes } = this.#cluster;
    for (let i = 0; i < steps; i++) this.#event()();
    const compacted = nodes.reduce((sum, { disk }) => sum + disk.base, 0);
    const shortStarts = this.#shortStarts;
    this.#evening();
    const { trace } = this.#cluster;
    return {
      seed: this.#seed,
      trace,
      committed: checker.committed,
      elections: checker.electedCount,
      readsConfirmed: this.#readsConfirmed,
      crashes: this.#crashes,
      reverts: nodes.reduce((sum, { disk }) => sum + disk.reverts.length, 0),
      compacted,
      shortStarts,
      memberChanges: this.#memberChanges,
    };
  }

  #event(): () => void {
    let at = this.#random() * this.#weights;
    for (const [weight, happen] of this.#events) {
      at -= weight;
      if (at < 0) return happen;
    }
    return () => this.#deliver();
  }

  #below(count: number): number {
    return Math.floor(this.#random() * count);
  }

  #someone(): RaftNode {
    const { nodes } = this.#cluster;
    return must(nodes[this.#below(nodes.length)], 'there are nodes');
  }

  /** Time passes for all, and what is on the wire arrives: without such rounds a day is all storm and nothing happens. */
  #round(nodes: readonly RaftNode[]): void {
    const { wire } = this.#cluster;
    for (const node of nodes) {
      this.#cluster.tick(node);
      this.#cluster.turn(node);
      if (!node.disk.isStalled) this.#cluster.sync(node, 9);
    }
    for (let count = wire.length; count > 0; count--) this.#deliver();
  }

  #deliver(): void {
    const { wire } = this.#cluster;
    // A wire that is full loses what is oldest: unbounded delay, bounded memory.
    if (wire.length > WIRE_MAX) wire.splice(0, wire.length - WIRE_MAX / 2);
    if (wire.length === 0) return;
    const at = this.#random() < this.#reorder ? this.#below(wire.length) : 0;
    const message = must(wire[at], 'inside the wire');
    this.#past[this.#below(PAST_MAX)] = message;
    this.#cluster.deliver(at);
    if (this.#random() < 0.7) this.#cluster.turn(this.#cluster.node(message.to));
  }

  #drop(): void {
    const [lost] = this.#cluster.wire.splice(this.#below(this.#cluster.wire.length), 1);
    if (lost !== undefined) this.#cluster.note(`lost ${line(lost)}`);
  }

  #duplicate(): void {
    const { wire } = this.#cluster;
    const message = this.#past[this.#below(PAST_MAX)];
    if (message !== undefined) wire.splice(this.#below(wire.length + 1), 0, message);
  }

  /**
   * One node, the leader if it may be, stops for a while (or hears nobody: the same for it); the others live on, long
   * enough to elect and commit without it. When it goes on it still believes what it believed.
   */
  #oneNodeIsPaused(): void {
    const { nodes, leaders } = this.#cluster;
    const paused = (this.#random() < 0.7 ? leaders[0] : undefined) ?? this.#someone();
    if (paused.raft === undefined) return;
    this.#cluster.isolate(paused.id);
    this.#suffix(paused);
    for (let i = this.#below(60); i > 0; i--) {
      this.#round(nodes.filter((node) => node !== paused));
      if (this.#random() < 0.1) this.#propose();
    }
    if (this.#random() < 0.7) this.#suffix(paused);
    if (this.#random() < 0.7) this.#cluster.read(paused.id);
    if (this.#random() < 0.7) this.#cluster.heal();
  }

  /** Entries that only this node has, if it takes them: some on its disk, some not. */
  #suffix(node: RaftNode): void {
    for (let i = this.#below(4); i > 0; i--) {
      this.#cluster.propose(node.id, this.#data());
      this.#cluster.turn(node);
    }
    this.#cluster.sync(node, this.#below(4));
  }

  #propose(): void {
    const { leaders } = this.#cluster;
    const leader = leaders[this.#below(leaders.length)];
    if (leader === undefined) return;
    this.#cluster.propose(leader.id, ...Array.from({ length: 1 + this.#below(3) }, () => this.#data()));
  }

  /** Never the same twice. */
  #data(): string {
    return `${++this.#proposals}`.padEnd(this.#below(40), '.');
  }

  #changeMembers(): void {
    const { leaders } = this.#cluster;
    const leader = leaders[this.#below(leaders.length)];
    if (leader?.raft === undefined) return;
    const { learners, voters } = leader.raft.configuration.current;
    const [id, other] = [this.#someone().id, this.#someone().id];
    const chance = this.#random();
    const isDone = this.#cluster.change(leader.id, (now) => {
      if (chance < 0.35) return withLearner(now, { id, mesh: '', client: '', http: '' });
      if (chance < 0.65) return withVoter(now, learners[this.#below(learners.length)] ?? id);
      if (chance < 0.85) return withoutMember(now, id);
      return withReplacement(now, voters[this.#below(voters.length)] ?? id, other);
    });
    if (isDone) this.#memberChanges++;
  }

  #read(): void {
    const { leaders } = this.#cluster;
    const leader = leaders[this.#below(leaders.length)];
    if (leader !== undefined) this.#cluster.read(leader.id);
  }

  #crash(): void {
    let node = this.#someone();
    // Rather one that has something to lose.
    for (let i = 0; i < 3 && node.disk.unsynced === 0; i++) node = this.#someone();
    if (node.raft === undefined) return;
    this.#crashes++;
    this.#tally(node);
    this.#cluster.crash(node, this.#below(node.disk.unsynced + 1));
    if (this.#random() < 0.5) this.#start(node);
  }

  #start(node: RaftNode): void {
    if (node.raft !== undefined) return;
    if (node.disk.base > 0) this.#shortStarts++;
    this.#cluster.start(node);
    assert(this.#cluster.losses.length === 0, 'nobody is refused who has lost nothing that it promised');
  }

  /** The state machine flushes what it has, or a part: an older memtable of several. */
  #flush(node: RaftNode): void {
    if (node.raft === undefined) return;
    const { flushed } = node.disk;
    this.#cluster.flush(node, plus(flushed, this.#below(node.appliedIndex - flushed + 1)));
  }

  /** The log lets go of what it may, or a part; the disk of less, as it removes whole segments. */
  #compact(node: RaftNode): void {
    if (node.raft === undefined) return;
    const { base } = node.raft.log;
    const most = this.#cluster.mayCompactTo(node);
    if (most <= base) return;
    const to = this.#random() < 0.5 ? most : plus(base, this.#below(most - base + 1));
    const { base: onDisk } = node.disk;
    this.#cluster.compact(node, to, this.#random() < 0.5 ? to : plus(onDisk, this.#below(to - onDisk + 1)));
  }

  #partition(): void {
    const chance = this.#random();
    if (chance < 0.3) this.#cluster.isolate(this.#someone().id);
    else if (chance < 0.5) this.#cluster.isolate(this.#someone().id, this.#someone().id);
    else if (chance < 0.8) this.#cluster.cut(this.#someone().id, this.#someone().id);
    else if (this.#cluster.leaders[0] !== undefined) this.#cluster.isolate(this.#cluster.leaders[0].id);
  }

  /** A disk that is slow for a while. */
  #stall(): void {
    const { disk } = this.#someone();
    disk.isStalled = !disk.isStalled;
  }

  #tally(node: RaftNode): void {
    for (const { index } of node.reads) if (index !== undefined) this.#readsConfirmed++;
  }

  /**
   * All is healed; everybody applies something new, everybody alike, and every read gets its answer. Then nobody needs
   * the log any more; all let go of it, some of all, and live once more from what is left.
   */
  #evening(): void {
    const cluster = this.#cluster;
    const { nodes, checker } = cluster;
    cluster.heal();
    for (const { disk } of nodes) disk.isStalled = false;
    for (const node of nodes) this.#start(node);
    if (this.#changesMembers) this.#everybodyJoins();
    const last = this.#untilAllApplyMore();
    if (this.#changesMembers) return this.#atRest();
    for (let ticks = 0; nodes.some(({ raft }) => (raft?.log.truncatable ?? 0) < last); ticks++) {
      assert(ticks < EVENING_TICKS_MAX, 'liveness: what everybody has applied may go everywhere');
      cluster.pass();
    }
    for (const node of nodes) {
      cluster.flush(node);
      if (this.#random() < 0.8) cluster.compact(node);
      else this.#compact(node);
    }
    assert(checker.openReads() === 0, 'every read is answered or failed');
    for (const node of nodes) {
      this.#tally(node);
      cluster.crash(node);
    }
    for (const node of nodes) this.#start(node);
    this.#untilAllApplyMore();
    this.#atRest();
  }

  #atRest(): void {
    const { nodes, checker } = this.#cluster;
    assert(checker.openReads() === 0, 'every read is answered or failed');
    const images = new Set(nodes.map(({ disk }) => disk.entries.map(({ term }) => term).join()));
    assert(images.size === 1, 'at rest all disks hold the same log');
    for (const node of nodes) this.#tally(node);
  }

  /** Whoever is no member is added again: changes go through in a healed cluster, and newcomers catch up. */
  #everybodyJoins(): void {
    const cluster = this.#cluster;
    for (let ticks = 0; ; ticks++) {
      assert(ticks < 5 * EVENING_TICKS_MAX, 'liveness: a healed cluster takes members');
      cluster.pass();
      const [leader] = cluster.leaders;
      if (leader?.raft === undefined) continue;
      const { configuration, log } = leader.raft;
      const { members } = configuration.current;
      const missing = cluster.nodes.find(({ id }) => !members.some((member) => member.id === id));
      if (missing === undefined && !configuration.isJoint && configuration.index <= log.committed) return;
      if (missing === undefined) continue;
      cluster.change(leader.id, (now) => withLearner(now, { id: missing.id, mesh: '', client: '', http: '' }));
    }
  }

  /** Returns the index of something new that everybody has applied. */
  #untilAllApplyMore(): number {
    const cluster = this.#cluster;
    const { nodes, checker } = cluster;
    let index: number | undefined;
    for (let ticks = 0; ; ticks++) {
      assert(ticks < EVENING_TICKS_MAX, 'liveness: a healed cluster makes progress');
      cluster.pass();
      const [leader] = cluster.leaders;
      // A new proposal each time the last one was lost with its leader.
      if (leader !== undefined && (index === undefined || checker.committed < index)) {
        index = cluster.propose(leader.id, 'evening');
        cluster.read(leader.id);
        cluster.settle();
      }
      const last = index;
      if (last !== undefined && nodes.every(({ appliedIndex }) => appliedIndex >= last)) return last;
    }
  }
}
