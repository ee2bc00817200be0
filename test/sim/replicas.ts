/**
 * Replicas: the replicas of a run, as one part of the world: who there are, where they lie, and what they came to.
 */
import { Chance } from './chance.ts';
import { lmdbPlatter, memoryPlatter } from './ldb-platter.ts';
import type { SimOptions } from './options.ts';
import { REPLICAS } from './readers.ts';
import { ReplicaNemesis } from './replica-nemesis.ts';
import { type ReplicaWorld, SimReplica } from './replica.ts';

export interface ReplicaCounts {
  readonly lives: number;
  readonly records: number;
  readonly snapshots: number;
  /** Holes in what came that they noticed. */
  readonly gaps: number;
  /** Times that they found that the cluster was another. */
  readonly diverged: number;
  /** Transactions that were looked at, and those whose state hash could be compared. */
  readonly looks: number;
  readonly hashes: number;
}

/** In every so many-th seed they lie in LMDB: its syncs are real. */
const LMDB_EVERY = 10;
/** Their chance is not the others'. */
const CHANCE = 0x5eed_0000;

export class Replicas {
  readonly #all: readonly SimReplica[];
  readonly #nemesis: ReplicaNemesis;
  readonly #isCalm: boolean;

  constructor({ seed, isCalm, hasLmdb }: SimOptions, world: Omit<ReplicaWorld, 'chance'>) {
    const chance = new Chance(CHANCE + seed);
    const isReal = hasLmdb ?? seed % LMDB_EVERY === 0;
    this.#isCalm = isCalm;
    this.#all = REPLICAS.map(
      (kind) => new SimReplica({ ...kind, platter: isReal ? lmdbPlatter() : memoryPlatter() }, { ...world, chance }),
    );
    this.#nemesis = new ReplicaNemesis({ queue: world.queue, trace: world.trace, chance, replicas: this.#all });
  }

  begin(): void {
    for (const replica of this.#all) replica.start();
    if (this.#isCalm) this.#nemesis.heal();
    else this.#nemesis.begin();
  }

  heal(): void {
    this.#nemesis.heal();
  }

  see(revision: number): boolean {
    return this.#all.every((replica) => replica.sees(revision));
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
      gaps: sum(({ gaps }) => gaps),
      diverged: sum(({ diverged }) => diverged),
      looks: sum(({ oracle }) => oracle.looks),
      hashes: sum(({ oracle }) => oracle.hashes),
    };
  }
}
