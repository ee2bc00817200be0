/**
 * Replicas: the replicas of a run, as one part of the world: who there are, where they lie, and what they came to.
 */
import { Chance } from './chance.ts';
import { lmdbPlatter, memoryPlatter } from './ldb-platter.ts';
import { hasStages, type SimOptions } from './options.ts';
import { Loops } from './loops.ts';
import type { Feeder } from './feeder.ts';
import { REPLICAS, relaysOf } from './readers.ts';
import { ReplicaNemesis } from './replica-nemesis.ts';
import { SimReplica } from './replica.ts';
import { HOST_RINGS } from './workload-stages.ts';
import type { ReplicaWorld } from './replica-world.ts';

export interface ReplicaCounts {
  readonly lives: number;
  readonly records: number;
  readonly snapshots: number;
  readonly goneOn: number;
  readonly damaged: number;
  /** Holes in what came that they noticed. */
  readonly gaps: number;
  /** Times that they found that the cluster was another. */
  readonly diverged: number;
  /** Transactions that were looked at, and those whose state hash could be compared. */
  readonly looks: number;
  readonly hashes: number;
  /** Parts of ledgers that relays passed on. */
  readonly passed: number;
  /** Looks that found something held back. */
  readonly held: number;
}

/** In every so many-th seed they lie in LMDB: its syncs are real. */
const LMDB_EVERY = 10;
/** In these, of so many seeds, some of them are relays. */
const RELAYS_EVERY = 20;
const RELAYS_AT = [8, 9, 10, 18, 19];
/** Their chance is not the others'. */
const CHANCE = 0x5eed_0000;

export class Replicas {
  readonly #all: readonly SimReplica[];
  readonly #nemesis: ReplicaNemesis;
  readonly #isCalm: boolean;
  readonly #loops: Loops | undefined;

  constructor(options: SimOptions, given: Omit<ReplicaWorld, 'chance' | 'relays'>) {
    const { seed, isCalm, hasLmdb, hasRelays = RELAYS_AT.includes(seed % RELAYS_EVERY) } = options;
    const chance = new Chance(CHANCE + seed);
    const isReal = hasLmdb ?? seed % LMDB_EVERY === 0;
    this.#isCalm = isCalm;
    const kinds = hasRelays ? [...relaysOf(chance), ...REPLICAS] : REPLICAS;
    const rings = hasStages(options) ? HOST_RINGS : [''];
    const sides: Feeder[] = [];
    const world = { ...given, chance, relays: () => sides };
    this.#all = kinds.map(
      (kind) => new SimReplica({ ...kind, rings, platter: isReal ? lmdbPlatter() : memoryPlatter() }, world),
    );
    for (const { side } of this.#all) if (side !== undefined) sides.push(side);
    this.#loops = sides.length > 1 ? new Loops(this.#all, world.queue, world.fail) : undefined;
    this.#nemesis = new ReplicaNemesis({ queue: world.queue, trace: world.trace, chance, replicas: this.#all });
  }

  begin(): void {
    for (const replica of this.#all) replica.start();
    this.#loops?.begin();
    if (this.#isCalm) this.#nemesis.heal();
    else this.#nemesis.begin();
  }

  /** All that is wrong ends, but one relay may stay away, or deaf: the others are fed all the same. */
  heal(): void {
    this.#nemesis.heal();
  }

  /** That one comes back, too. */
  healAll(): void {
    this.#nemesis.healAll();
  }

  see(revision: number): boolean {
    return this.#all.every((replica) => replica === this.#nemesis.away || replica.sees(revision));
  }

  check(): void {
    for (const replica of this.#all) replica.checkRows();
  }

  remove(): void {
    for (const replica of this.#all) replica.remove();
  }

  /** For who reads a failure. */
  standing(): string[] {
    return this.#all.map(
      ({ name, oracle, isAlive, lives }) =>
        `${name} ${isAlive ? 'lives' : 'is down'}, life ${lives}, shows ${oracle.revision}${oracle.isWrong ? ', which is wrong' : ''}`,
    );
  }

  get counts(): ReplicaCounts {
    const sum = (value: (replica: SimReplica) => number): number =>
      this.#all.reduce((total, replica) => total + value(replica), 0);
    return {
      lives: sum(({ lives }) => lives),
      records: sum(({ records }) => records),
      snapshots: sum(({ snapshots }) => snapshots),
      goneOn: sum(({ goneOn }) => goneOn),
      damaged: sum(({ damaged }) => damaged),
      gaps: sum(({ gaps }) => gaps),
      diverged: sum(({ diverged }) => diverged),
      looks: sum(({ oracle }) => oracle.looks),
      hashes: sum(({ oracle }) => oracle.hashes),
      held: sum(({ oracle }) => oracle.heldBack),
      passed: sum(({ side }) => side?.passed ?? 0),
    };
  }
}
