/**
 * Nemesis: what goes wrong, and when. Each seed draws its own mix: some runs have one kind of fault and much of it,
 * others a little of all. Every fault ends by itself after a while; `heal` ends them all.
 *
 * Some mixes are made for what chance alone seldom brings about. `crashes`: the power goes again and again, in the middle
 * of whatever is written. `elections`: leaders are cut off one after the other, two of the others from each other, and disks
 * are slow: so two stand in one term, and ask for votes at different times; who has just voted crashes and is back at once. `amnesia`: disks
 * are put back, lost, and damaged for good.
 */
import { ACTORS } from '../../src/actors/shared.ts';
import type { Keep } from '../../src/engine/disk/memory-disk.ts';
import type { MeshMessage } from '../../src/core/wire/mesh.ts';
import type { Chance } from './chance.ts';
import type { SimClient } from './client.ts';
import type { SimNetwork } from './network.ts';
import type { SimNode } from './node.ts';
import { OldDisk } from './old-disk.ts';
import type { Oracle } from './oracle.ts';
import type { EventQueue } from './queue.ts';
import type { Seats } from './seats.ts';
import type { SimSubscriber } from './subscriber.ts';
import type { Trace } from './trace.ts';

export interface NemesisWorld {
  readonly queue: EventQueue;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly network: SimNetwork;
  readonly nodes: readonly SimNode[];
  readonly clients: readonly SimClient[];
  readonly subscribers: readonly SimSubscriber[];
  readonly seats: Seats;
  readonly oracle: Oracle;
  readonly fail: (error: Error) => void;
  /** Disks may become what they were. */
  readonly hasOldDisks: boolean;
  /** Left out: the seed says. */
  readonly mix: Mix | undefined;
}

export const MIXES = ['any', 'crashes', 'elections', 'amnesia'] as const;
export type Mix = (typeof MIXES)[number];
type Weighted = readonly (readonly [weight: number, fault: () => void])[];

/** Room that a full disk has left. */
const FULL_ROOM_BYTES = 40 * 1024;

export class Nemesis {
  readonly #world: NemesisWorld;
  readonly #faults: Weighted;
  readonly #mix: Mix;
  /** Mean time between two faults. */
  readonly #everyMs: number;
  /** Counts healings: what was planned before one does nothing after it. */
  #era = 0;
  #isOn = false;
  /** Nodes that nobody starts again: their hosts are away. */
  readonly #away = new Set<SimNode>();
  readonly oldDisk: OldDisk;
  faults = 0;
  lostDisks = 0;

  constructor(world: NemesisWorld) {
    this.#world = world;
    const { chance } = world;
    const weight = (...of: readonly number[]): number => chance.of(of);
    const drawn = chance.weighted<Mix>([
      [8, 'any'],
      [1, 'crashes'],
      [1, 'elections'],
      [1, 'amnesia'],
    ]);
    this.#mix = world.mix ?? drawn;
    const drawnMs = chance.of([100, 300, 800, 2_000]);
    this.#everyMs = { any: drawnMs, crashes: 200, elections: 1_500, amnesia: 500 }[this.#mix];
    const oldDisk = (): void => this.oldDisk.begin(this.#someone());
    const any: Weighted = [
      [weight(0, 1, 4), () => this.#kill()],
      [weight(0, 1, 4), () => this.#cutAtChange()],
      [weight(0, 0, 0.3), () => this.#allDark()],
      [weight(0, 1, 4), () => this.#isolate()],
      [weight(0, 1, 3), () => this.#oneWay()],
      [weight(0, 1, 3), () => this.#partial()],
      [weight(0, 0.5, 2), () => this.#swizzle()],
      [weight(0, 2, 8), () => this.#reset()],
      [weight(0, 1, 2), () => this.#lag()],
      [weight(0, 1, 4), () => this.#pause()],
      [weight(0, 1, 4), () => this.#stall()],
      [weight(0, 1, 3), () => this.#clock()],
      [weight(0, 0.3, 1), () => this.#diskFails()],
      [weight(0, 0.5, 2), () => this.#diskFull()],
      [weight(0, 1, 2), () => this.#diskSlow()],
      [weight(0, 1, 3), () => this.#clientCut()],
      [weight(0, 0, 0.5, 2), () => this.#rot()],
      [weight(0, 0, 0.5, 2), () => this.#wipe()],
      [world.hasOldDisks ? weight(0, 0, 0.5, 2) : 0, oldDisk],
    ];
    const crashes: Weighted = [
      [4, () => this.#kill()],
      [4, () => this.#cutAtChange()],
      [0.5, () => this.#allDark()],
      [1, () => this.#diskSlow()],
    ];
    const amnesia: Weighted = [
      [4, () => this.#kill()],
      [world.hasOldDisks ? 4 : 0, oldDisk],
      [2, () => this.#rot()],
      [1, () => this.#wipe()],
      [1, () => this.#isolate()],
    ];
    const elections: Weighted = [[1, () => this.#depose()]];
    this.#faults = { any, crashes, elections, amnesia }[this.#mix];
    this.oldDisk = new OldDisk({ ...world, calm: () => this.#calm() });
    for (const node of world.nodes) node.onStopped = () => this.#startLater(node);
  }

  begin(): void {
    this.#isOn = true;
    if (this.#mix === 'elections') this.#world.network.latencyMs = this.#world.chance.of([5, 20, 40]);
    this.#next();
  }

  /** Every fault ends. Nodes that are down begin again, but for those that are to stay away. */
  heal(away: readonly SimNode[] = []): void {
    this.#isOn = false;
    this.#away.clear();
    for (const node of away) {
      this.#away.add(node);
      node.kill(true);
    }
    this.#endAll();
  }

  /** Every fault ends, those too that wait for their moment; more are to come. False: this time is over. */
  #calm(): boolean {
    if (!this.#isOn) return false;
    for (const node of this.#world.nodes) {
      node.storage.disarm();
      node.cutNever();
    }
    this.#endAll();
    return true;
  }

  #endAll(): void {
    const { nodes, network } = this.#world;
    this.#era++;
    if (this.#isOn) this.#next();
    network.unblockAll();
    network.latencyMs = 0.3;
    for (const node of nodes) {
      node.syncing.slowness = 1;
      node.storage.platter.capacityBytes = Number.POSITIVE_INFINITY;
      node.resume();
      if (!this.#away.has(node)) this.#startLater(node);
    }
  }

  /** A node says something to others. */
  sent(name: string, messages: readonly MeshMessage[]): void {
    if (!this.#isOn || this.#mix !== 'elections') return;
    const hasVoted = messages.some(
      (mesh) => mesh.kind === 'raft' && mesh.message.kind === 'voteReply' && mesh.message.granted,
    );
    const { queue, chance, nodes } = this.#world;
    if (!hasVoted || chance.is(0.6)) return;
    const voter = nodes.find((node) => node.name === name);
    queue.after(chance.between(0, 2), () => {
      if (voter?.life === undefined || !this.#isOn) return;
      this.#note('voted', voter);
      if (chance.is(0.7)) voter.kill(false);
      else voter.powerCut(chance.of<Keep>(['none', 'random']));
      queue.after(chance.between(0, 2), () => voter.start());
    });
  }

  #next(): void {
    const { queue, chance } = this.#world;
    const era = this.#era;
    queue.after(this.#everyMs * -Math.log(1 - chance.random()), () => {
      if (!this.#isOn || era !== this.#era) return;
      if (!this.oldDisk.isUnderWay) {
        this.faults++;
        chance.weighted(this.#faults)();
      }
      this.#next();
    });
  }

  /** Ends a fault after about `ms`, unless all have been ended by then. */
  #afterwards(ms: number, work: () => void): void {
    const { queue, chance } = this.#world;
    const era = this.#era;
    queue.after(ms * (0.3 + 1.4 * chance.random()), () => {
      if (era === this.#era) work();
    });
  }

  #note(what: string, node?: SimNode): void {
    this.#world.trace.note(this.#world.queue.nowMs, `fault ${what}`, node?.name ?? '*');
  }

  #someone(): SimNode {
    const { chance, nodes } = this.#world;
    const leader = nodes.find((node) => node.current?.raft.isLeader === true);
    return leader !== undefined && chance.is(0.4) ? leader : chance.of(nodes);
  }

  // ── processes ─────────────────────────────────────────────────────────────────────────────────────────────

  #startLater(node: SimNode): void {
    const { queue, chance } = this.#world;
    queue.after(chance.of([1, 20, 300, 3_000]) * (0.5 + chance.random()), () => {
      if (!this.#away.has(node)) node.start();
    });
  }

  #kill(): void {
    const { chance } = this.#world;
    const node = this.#someone();
    this.#note('kill', node);
    if (chance.is(0.5)) node.kill(false);
    else node.powerCut(chance.of<Keep>(['none', 'random', 'random']));
    this.#startLater(node);
  }

  /** The power goes in the middle of something: before one of the next changes to its disk. */
  #cutAtChange(): void {
    const node = this.#someone();
    this.#note('cut at a change', node);
    node.cutAfter(this.#world.chance.below(60));
  }

  /** All of them at once. */
  #allDark(): void {
    const { nodes, chance } = this.#world;
    this.#note('all dark');
    for (const node of nodes) {
      node.powerCut(chance.of<Keep>(['none', 'random']));
      this.#startLater(node);
    }
  }

  // ── the network ───────────────────────────────────────────────────────────────────────────────────────────

  #isolate(): void {
    const { network, nodes, chance } = this.#world;
    const alone = new Set(chance.shuffle(nodes).slice(0, 1 + chance.below(Math.floor(nodes.length / 2))));
    if (chance.is(0.3)) alone.clear();
    if (alone.size === 0) alone.add(this.#someone());
    this.#note('isolate', [...alone][0]);
    for (const a of alone) {
      for (const b of nodes) {
        if (alone.has(b)) continue;
        network.block(a.name, b.name);
        network.block(b.name, a.name);
      }
    }
    this.#afterwards(3_000, () => {
      for (const a of alone) {
        for (const b of nodes) {
          network.unblock(a.name, b.name);
          network.unblock(b.name, a.name);
        }
      }
    });
  }

  /**
   * The leader is cut off for so long that others stand; two of those do not hear each other, so neither gives way. They
   * ask for votes when their disks have what they promise.
   */
  #depose(): void {
    const { network, nodes, chance } = this.#world;
    const leader = nodes.find((node) => node.current?.raft.isLeader === true) ?? chance.of(nodes);
    this.#note('depose', leader);
    const [one, two, ...rest] = chance.shuffle(nodes.filter((node) => node !== leader));
    if (one === undefined || two === undefined) return;
    for (const node of [leader, one, two, ...rest]) node.syncing.slowness = chance.of([1, 200, 600]);
    const pairs = [[one, two], ...[one, two, ...rest].map((node) => [leader, node])] as [SimNode, SimNode][];
    for (const [a, b] of pairs) {
      network.block(a.name, b.name);
      network.block(b.name, a.name);
    }
    this.#afterwards(1_200, () => {
      for (const [a, b] of pairs) {
        network.unblock(a.name, b.name);
        network.unblock(b.name, a.name);
      }
    });
  }

  /** Packets of one direction are lost. */
  #oneWay(): void {
    const { network, nodes, chance } = this.#world;
    const from = this.#someone();
    const to = chance.of(nodes.filter((node) => node !== from));
    this.#note('one way', from);
    const [a, b] = chance.is(0.5) ? [from.name, to.name] : [to.name, from.name];
    network.block(a, b);
    this.#afterwards(3_000, () => network.unblock(a, b));
  }

  /** Some pairs do not hear each other, while a third hears both. */
  #partial(): void {
    const { network, nodes, chance } = this.#world;
    this.#note('partial');
    const pairs = nodes.flatMap((a) =>
      nodes.filter((b) => b.name > a.name && chance.is(0.4)).map((b) => [a, b] as const),
    );
    for (const [a, b] of pairs) {
      network.block(a.name, b.name);
      network.block(b.name, a.name);
    }
    this.#afterwards(4_000, () => {
      for (const [a, b] of pairs) {
        network.unblock(a.name, b.name);
        network.unblock(b.name, a.name);
      }
    });
  }

  /** Clogs nodes one after the other, and lets them go in another order. */
  #swizzle(): void {
    const { network, nodes, chance } = this.#world;
    this.#note('swizzle');
    const some = chance.shuffle(nodes).filter(() => chance.is(0.7));
    const set = (node: SimNode, isClogged: boolean): void => {
      for (const other of nodes) {
        if (other === node) continue;
        if (isClogged) {
          network.block(node.name, other.name);
          network.block(other.name, node.name);
        } else {
          network.unblock(node.name, other.name);
          network.unblock(other.name, node.name);
        }
      }
    };
    for (const [i, node] of some.entries()) this.#afterwards(200 * i, () => set(node, true));
    for (const [i, node] of chance.shuffle(some).entries()) this.#afterwards(1_500 + 400 * i, () => set(node, false));
  }

  #reset(): void {
    this.#note('reset');
    for (let i = 1 + this.#world.chance.below(3); i > 0; i--) this.#world.network.reset();
  }

  #lag(): void {
    const { network, chance } = this.#world;
    this.#note('lag');
    network.latencyMs = chance.of([5, 40, 200]);
    this.#afterwards(2_000, () => {
      network.latencyMs = 0.3;
    });
  }

  // ── time ──────────────────────────────────────────────────────────────────────────────────────────────────

  #pause(): void {
    const node = this.#someone();
    this.#note('pause', node);
    node.pause();
    this.#afterwards(this.#world.chance.of([50, 400, 2_500]), () => node.resume());
  }

  #stall(): void {
    const { chance } = this.#world;
    const node = this.#someone();
    this.#note('stall', node);
    node.stall(chance.of(ACTORS), chance.of([5, 100, 1_500]));
  }

  #clock(): void {
    const { chance } = this.#world;
    const node = this.#someone();
    this.#note('clock', node);
    if (chance.is(0.5)) node.clock.offsetMs += chance.between(-1, 1) * chance.of([10, 1_000, 60_000]);
    else node.clock.offsetMs = 0;
  }

  // ── disks ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** One call fails, once; what comes after it would succeed. */
  #diskFails(): void {
    const { chance } = this.#world;
    const node = this.#someone();
    this.#note('disk fails', node);
    if (node.life !== undefined)
      node.storage.arm(chance.of(['fdatasync', 'fdatasync', 'write', 'syncDir']), chance.below(10));
  }

  #diskFull(): void {
    const node = this.#someone();
    this.#note('disk full', node);
    const { platter } = node.storage;
    platter.capacityBytes = platter.usedBytes + this.#world.chance.below(FULL_ROOM_BYTES);
    this.#afterwards(4_000, () => {
      node.storage.platter.capacityBytes = Number.POSITIVE_INFINITY;
    });
  }

  /** A bit rots while a node is down: it must refuse to start, and begins again when that was mended, or with nothing. */
  #rot(): void {
    const { seats, chance } = this.#world;
    const node = this.#someone();
    const isForGood = chance.is(0.5) && seats.isMember(node) && seats.canSpare(new Set([node]));
    this.#note(isForGood ? 'rot for good' : 'rot', node);
    node.kill(false);
    node.storage.rot.begin(isForGood);
    this.#startLater(node);
  }

  /** A disk is lost, where a majority has its own and would know that this is another one. */
  #wipe(): void {
    const { seats, nodes, chance } = this.#world;
    const node = this.#someone();
    if (seats.isMember(node) && !(seats.isKnown(node) && seats.canSpare(new Set([node])))) return;
    this.#note('wipe', node);
    this.lostDisks++;
    // With their founders' config many of them would found another cluster: two of those make one of three (docs/membership.md).
    const isOneOfMany = nodes.some((other) => other !== node && other.storage.isNew && !other.joins);
    node.wipe(isOneOfMany || !seats.isMember(node) || chance.is(0.5));
  }

  #diskSlow(): void {
    const { chance } = this.#world;
    const node = this.#someone();
    this.#note('disk slow', node);
    node.syncing.slowness = chance.of([10, 100, 1_000]);
    this.#afterwards(2_000, () => {
      node.syncing.slowness = 1;
    });
  }

  // ── clients ───────────────────────────────────────────────────────────────────────────────────────────────

  #clientCut(): void {
    const { chance, clients, subscribers } = this.#world;
    this.#note('client cut');
    if (chance.is(0.5)) chance.of(clients).cut();
    else chance.of(subscribers).cut();
  }
}
