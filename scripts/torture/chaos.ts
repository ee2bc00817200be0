/**
 * Chaos: takes nodes away and gives them back, until so many were killed.
 *
 * By chance, from a seed: the leader half of the time, else any node; now and then two at once or all; a node that comes
 * back comes back after up to a second, so that kills also meet nodes that have just begun to start. With pauses, a node
 * also stands still at times (SIGSTOP) for up to three seconds, leaders too: it wakes and believes that nothing happened.
 *
 * Mostly a kill waits until writes are acknowledged again, so that each meets a cluster at work; that it comes to that
 * is what the run demands beside correctness (`PROGRESS_MS_MAX`).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../src/core/base/env.ts';
import { below, pick, seeded } from '../../test/core/base/seeded.ts';
import type { TestCluster } from '../../test/support/cluster-process.ts';

/** What it needs of a cluster. */
export type ChaosCluster = Pick<TestCluster, 'ids' | 'isRunning' | 'kill' | 'readiness' | 'run' | 'spawn'>;

export interface ChaosOptions {
  readonly cluster: ChaosCluster;
  readonly kills: number;
  readonly seed: number;
  readonly withPauses: boolean;
  /** Writes acknowledged so far. */
  readonly acked: () => number;
  /** Throws what went wrong elsewhere. */
  readonly check: () => void;
}

const ACKED_BEFORE_KILL = 20;
const PROGRESS_MS_MAX = 60_000;
const LOOK_EVERY_MS = 10;
const QUIET_MS_MAX = 500;
const AWAY_MS_MAX = 1_000;
const PAUSE_MS_MAX = 3_000;
const CHANCE = { leader: 0.5, second: 0.08, all: 0.02, impatient: 0.15, pause: 0.25 } as const;

export class Chaos {
  readonly #options: ChaosOptions;
  readonly #random: Random;
  /** Taken away by us, and not started again yet. */
  readonly #away = new Set<string>();
  readonly #paused = new Set<string>();
  readonly #returns = new Set<Promise<void>>();
  #isStopping = false;
  #failure: Error | undefined;
  kills = 0;
  leaderKills = 0;
  pauses = 0;

  constructor(options: ChaosOptions) {
    this.#options = options;
    this.#random = seeded(options.seed);
  }

  /** Until all kills are done, or `stop()`; all nodes are up again then. */
  async run(): Promise<void> {
    const { kills, withPauses } = this.#options;
    while (this.kills < kills && !this.#isStopping) {
      if (this.#random() >= CHANCE.impatient) await this.#progress(`kill ${this.kills}`);
      await sleep(below(this.#random, QUIET_MS_MAX));
      if (withPauses && this.#random() < CHANCE.pause) await this.#pauseOne();
      else await this.#killSome();
    }
    await this.#allBack();
  }

  /** No more kills. */
  stop(): void {
    this.#isStopping = true;
  }

  async #killSome(): Promise<void> {
    const { cluster, kills } = this.#options;
    const able = cluster.ids.filter((id) => !this.#away.has(id));
    if (able.length === 0) return;
    const leader = await this.#leader();
    const wantsLeader = this.#random() < CHANCE.leader;
    const first = wantsLeader && leader !== undefined && able.includes(leader) ? leader : pick(this.#random, able);
    const others = able.filter((id) => id !== first);
    const extent = this.#random();
    const more = extent < CHANCE.all ? others : extent < CHANCE.all + CHANCE.second ? others.slice(0, 1) : [];
    const victims = [first, ...more].slice(0, kills - this.kills);
    for (const id of victims) this.#away.add(id);
    await cluster.kill(...victims);
    this.kills += victims.length;
    if (leader !== undefined && victims.includes(leader)) this.leaderKills++;
    for (const id of victims) this.#later(below(this.#random, AWAY_MS_MAX), () => this.#start(id));
  }

  #start(id: string): void {
    this.#paused.delete(id);
    this.#away.delete(id);
    this.#options.cluster.spawn(id);
  }

  async #pauseOne(): Promise<void> {
    const { cluster } = this.#options;
    const able = cluster.ids.filter((id) => !this.#away.has(id) && !this.#paused.has(id));
    // One at a time: two would only be a lost quorum, which kills bring about as well.
    if (this.#paused.size > 0 || able.length === 0) return;
    const leader = await this.#leader();
    const isLeader = leader !== undefined && able.includes(leader) && this.#random() < CHANCE.leader;
    const id = isLeader ? leader : pick(this.#random, able);
    const { child } = cluster.run(id);
    child.kill('SIGSTOP');
    this.#paused.add(id);
    this.pauses++;
    this.#later(below(this.#random, PAUSE_MS_MAX), () => {
      // By its process: the node may have been killed, and be another by now.
      child.kill('SIGCONT');
      this.#paused.delete(id);
    });
  }

  #later(delayMs: number, work: () => void): void {
    const task = sleep(delayMs)
      .then(work)
      .catch((error: unknown) => {
        this.#failure ??= error instanceof Error ? error : new Error(String(error));
      });
    this.#returns.add(task);
    void task.then(() => this.#returns.delete(task));
  }

  /** Who leads, as the first that answers says; undefined when nobody knows. */
  async #leader(): Promise<string | undefined> {
    const { cluster } = this.#options;
    const able = cluster.ids.filter((id) => !this.#away.has(id) && !this.#paused.has(id));
    const told = able.map(async (id) => {
      const { leader } = await cluster.readiness(id);
      if (leader === undefined) throw new Error(`${id} knows none`);
      return leader;
    });
    return Promise.any(told).catch(() => undefined);
  }

  /** Waits for writes to be acknowledged. */
  async #progress(after: string): Promise<void> {
    const { acked } = this.#options;
    const wanted = acked() + ACKED_BEFORE_KILL;
    const untilMs = performance.now() + PROGRESS_MS_MAX;
    while (acked() < wanted && !this.#isStopping) {
      this.#look();
      if (performance.now() > untilMs) {
        const seconds = PROGRESS_MS_MAX / 1000;
        throw new Error(`${ACKED_BEFORE_KILL} writes were not acknowledged within ${seconds} s after ${after}`);
      }
      await sleep(LOOK_EVERY_MS);
    }
  }

  #look(): void {
    const { cluster, check } = this.#options;
    check();
    if (this.#failure !== undefined) throw this.#failure;
    // A Ctrl-C reaches every process of the terminal's group, nodes too.
    if (this.#isStopping) return;
    const over = cluster.ids.find((id) => !this.#away.has(id) && !cluster.isRunning(id));
    if (over !== undefined) throw new Error(`${over} ended by itself:\n${cluster.run(over).output}`);
  }

  async #allBack(): Promise<void> {
    const { cluster } = this.#options;
    await Promise.all(this.#returns);
    const untilMs = performance.now() + PROGRESS_MS_MAX;
    for (;;) {
      this.#look();
      if (this.#isStopping) for (const id of cluster.ids) if (!cluster.isRunning(id)) this.#start(id);
      const all = await Promise.all(cluster.ids.map((id) => cluster.readiness(id)));
      if (all.every(({ ok, leader }) => ok && leader !== undefined && leader === all[0]?.leader)) return;
      if (performance.now() > untilMs) throw new Error(`not all nodes were ready within ${PROGRESS_MS_MAX / 1000} s`);
      await sleep(LOOK_EVERY_MS);
    }
  }
}
