/**
 * ReplicaNemesis: what goes wrong with replicas: their reflectors die, are told to end, stand still, are away for so long that
 * what they need is gone; their disks are full; their sockets break, stand still, or go silent. Relays go deaf: they hear
 * nobody, and are heard. Each seed has its own mix.
 */
import type { Chance } from './chance.ts';
import type { EventQueue } from './queue.ts';
import type { SimReplica } from './replica.ts';
import type { Trace } from './trace.ts';

export interface ReplicaNemesisWorld {
  readonly queue: EventQueue;
  readonly chance: Chance;
  readonly trace: Trace;
  readonly replicas: readonly SimReplica[];
}

/** A ledger keeps less than this (options.ts). */
const AWAY_MS = [200, 2_000, 40_000] as const;
const RESTART_MS = 100;
/** Those who follow leave after some 10 s (replica.ts). */
const DEAF_MS = [1_000, 20_000, 60_000] as const;
/** How often a relay stays away when all else is healed. */
const AWAY = 0.5;
const FOR_EVER_MS = 1e9;

export class ReplicaNemesis {
  readonly #world: ReplicaNemesisWorld;
  readonly #everyMs: number;
  readonly #faults: readonly (readonly [weight: number, fault: (replica: SimReplica) => void])[];
  readonly #relays: readonly SimReplica[];
  #isOn = false;
  faults = 0;
  /** A relay that is of no use yet, when all else is healed. */
  away: SimReplica | undefined;

  constructor(world: ReplicaNemesisWorld) {
    this.#world = world;
    const { chance, queue } = world;
    const weight = (...of: readonly number[]): number => chance.of(of);
    this.#everyMs = chance.of([100, 400, 1_500]);
    this.#faults = [
      [
        weight(1, 4),
        (replica) => {
          replica.kill();
          replica.startLater(RESTART_MS);
        },
      ],
      [
        weight(0.2, 1),
        (replica) => {
          replica.kill();
          replica.startLater(chance.of(AWAY_MS));
        },
      ],
      [weight(0, 1), (replica) => replica.stop()],
      [
        weight(0, 2),
        (replica) => {
          replica.pause();
          queue.after(chance.of([50, 1_000, 5_000]), () => replica.resume());
        },
      ],
      [weight(0, 1), (replica) => replica.failNext()],
      [weight(1, 4), (replica) => replica.cut()],
      [weight(0, 1), (replica) => this.#stall(replica)],
      [weight(0, 1), (replica) => this.#silence(replica)],
      [weight(0, 0.5, 1), (replica) => this.#change(replica)],
    ];
    this.#relays = world.replicas.filter(({ side }) => side !== undefined);
    if (this.#relays.length > 0) {
      this.#faults = [...this.#faults, [weight(0.5, 3), () => chance.of(this.#relays).deafen(chance.of(DEAF_MS))]];
    }
  }

  begin(): void {
    this.#isOn = true;
    this.#next();
  }

  /** All of them live, and are well connected. Who shows what was never written, and cannot have been told so, is wiped. */
  heal(): void {
    this.#isOn = false;
    const { replicas, chance } = this.#world;
    for (const replica of replicas) {
      replica.isWireBad = false;
      replica.hear();
      replica.resume();
      if (replica.oracle.isFedWrong) replica.wipe();
      else replica.cut();
      replica.start();
    }
    if (this.#relays.length === 0 || !chance.is(AWAY)) return;
    this.away = chance.of(this.#relays);
    if (chance.is(0.5)) this.away.kill();
    else this.away.deafen(FOR_EVER_MS);
  }

  healAll(): void {
    const { away } = this;
    this.away = undefined;
    away?.hear();
    away?.start();
  }

  #next(): void {
    const { queue, chance, trace, replicas } = this.#world;
    queue.after(chance.delay(this.#everyMs), () => {
      if (!this.#isOn) return;
      const replica = chance.of(replicas);
      const at = chance.weighted(this.#faults.map(([weight], i) => [weight, i] as const));
      this.faults++;
      trace.note(queue.nowMs, 'fault', replica.name, at);
      this.#faults[at]?.[1](replica);
      this.#next();
    });
  }

  #stall(replica: SimReplica): void {
    const ms = this.#world.chance.of([20, 500, 4_000]);
    for (const wire of replica.wires) wire.stall(ms);
  }

  #silence(replica: SimReplica): void {
    for (const wire of replica.wires) wire.goSilent();
  }

  #isChanged = false;

  /** Once in a run: a second one so soon is told, and not cured (src/actors/reflector.ts). */
  #change(replica: SimReplica): void {
    if (this.#isChanged) return;
    this.#isChanged = replica.changeOne();
  }
}
