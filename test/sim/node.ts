/**
 * SimNode: a node over all its lives: its storage, its clock, and whichever life it has now. It gives the actors their
 * turns: one whose bell has rung becomes runnable, and runs after a while that chance decides, so all interleavings of
 * turns come up. In a pause nothing of it runs; what should have happened meanwhile happens when it ends.
 */
import type { Connection } from '../../src/actors/gateway/connection.ts';
import { type ActorName, ACTORS } from '../../src/actors/shared.ts';
import { must } from '../../src/core/base/assert.ts';
import type { Clock } from '../../src/core/base/env.ts';
import { REPAIRED_DIR } from '../../src/core/raft/membership.ts';
import { isDamage } from '../../src/engine/disk/damaged.ts';
import type { Keep } from '../../src/engine/disk/memory-disk.ts';
import { Ear } from './ear.ts';
import { Life } from './life.ts';
import type { Host } from './network.ts';
import { EPOCH_MS, IDLE_MS, SWEEP_EVERY_MS, TICK_MS, WAKE_MS } from './options.ts';
import type { NodeWorld, SimDoor } from './node-world.ts';
import { dirOn, Presence } from './presence.ts';
import { Returning } from './returning.ts';
import type { Rings } from './rings.ts';
import { SimDisk } from './sim-disk.ts';
import { BELL_OF, type Standing, standings } from './standing.ts';
import { Storage } from './storage.ts';
import { Syncing } from './syncing.ts';

export class SimNode implements Host {
  readonly name: string;
  readonly storage: Storage;
  readonly syncing: Syncing;
  readonly ear: Ear;
  readonly returning: Returning;
  readonly clock: { offsetMs: number; rate: number } = { offsetMs: 0, rate: 1 };
  readonly #world: NodeWorld;
  readonly #rings: Rings;
  #joins: boolean;
  #lives = 0;
  #current: Life | undefined;
  presence: Presence | undefined;
  #disk: SimDisk | undefined;
  #actors: Standing[] = [];
  #bells: readonly { read(): number }[] = [];
  #isPaused = false;
  #asleep: (() => void)[] = [];
  readonly #doors = new Set<SimDoor>();
  /** Snapshots that took the place of its state · directories that took the place of a damaged one. */
  installs = 0;
  repairs = 0;
  /** It stopped by itself in this life's course. */
  onStopped: () => void = () => {};

  constructor(name: string, rings: Rings, world: NodeWorld) {
    this.name = name;
    this.#rings = rings;
    this.#world = world;
    this.storage = new Storage(name, world.chance);
    this.syncing = new Syncing(world);
    this.#joins = !world.founders.some(({ id }) => id === name);
    this.ear = new Ear({
      chance: world.chance,
      life: () => this.#lives,
      current: () => this.#current,
      when: (life, work) => this.#when(life, work),
      run: (work) => this.#run(work),
      later: (life, delayMs, work) => this.#laterIn(life, delayMs, work),
    });
    this.returning = new Returning(this, world);
  }

  // ── lives ─────────────────────────────────────────────────────────────────────────────────────────────────

  get life(): number | undefined {
    return this.#current === undefined ? undefined : this.#lives;
  }

  get dir(): string {
    return this.storage.dir;
  }

  /** Its config says `join`, or is not gone by: it is not among the founders, as far as it knows. */
  get joins(): boolean {
    return this.#joins || this.dir.startsWith(REPAIRED_DIR);
  }

  get current(): Life | undefined {
    return this.#current;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** The power goes before the change to its disk after `changes` more. */
  cutAfter(changes: number): void {
    this.#disk?.cutAfter(changes);
  }

  cutNever(): void {
    this.#disk?.cutNever();
    for (const actor of this.#actors) actor.stalledUntilMs = 0;
  }

  /** How many lives it has begun. */
  get lives(): number {
    return this.#lives;
  }

  /** Starts it from what its platter holds. */
  start(): void {
    if (this.#current !== undefined || this.returning.isUnderWay) return;
    const { queue, trace, chance, network, oracle, switches, founders, members } = this.#world;
    const life = ++this.#lives;
    trace.note(queue.nowMs, 'start', this.name, life);
    for (const ring of Object.values(this.#rings)) new Int32Array(ring, 0, 4).fill(0);
    const disk = new SimDisk(this.storage.platter, () => this.powerCut(chance.of<Keep>(['random', 'random', 'none'])));
    this.#disk = disk;
    this.#isPaused = false;
    this.#asleep = [];
    this.ear.reset();
    this.#actors = standings();
    const isOver = (): boolean => disk.isDead;
    try {
      const presence = new Presence({
        name: this.name,
        dir: dirOn(this, disk, this.#world),
        joins: this.#joins,
        members,
        chance,
      });
      if (isOver()) return;
      this.#opened(presence);
      const current = new Life({
        name: this.name,
        presence,
        founders: founders.filter(({ id }) => id !== this.name || !presence.joins),
        disk,
        rings: this.#rings,
        clock: this.#clock,
        random: chance.random,
        switches,
        send: (to, channel, bytes) => !isOver() && network.send(this.name, to, channel, bytes),
        isOpen: (to, channel) => !isOver() && network.isOpen(this.name, to, channel),
        setPeers: (peers, index) => {
          if (isOver()) return;
          presence.admission.setPeers(peers, index);
          network.membersChanged(this);
        },
        later: (delayMs, work) => this.#laterIn(life, delayMs, work),
        port: () => this.#port(life),
        sync: (sync) => this.syncing.run(life, sync),
        async: () => this.#world.async(),
        pause: (actor, ms) => {
          const standing = this.#actors[BELL_OF[actor]];
          if (standing !== undefined && !isOver()) standing.pauseMs = ms;
        },
        log: (level, event, fields) =>
          trace.say(queue.nowMs, this.name, () => `${level} ${event} ${JSON.stringify(fields ?? {})}`),
        onRecovered: (recovered) => oracle.recovered(this.name, recovered),
        onCommitted: (raft, frame) => {
          if (!isOver()) oracle.committed(this.name, life, raft, frame);
        },
        onLedger: (frame) => {
          if (!isOver()) oracle.ledger(this.name, life, frame);
        },
        onFailed: (error) => {
          if (!isOver()) this.#failed(error);
        },
      });
      if (isOver()) return;
      this.#current = current;
    } catch (error) {
      if (!isOver()) this.#failed(error);
      return;
    }
    this.storage.rot.started();
    this.#begin(life, must(this.#current, 'it has just begun'));
  }

  #opened(presence: Presence): void {
    const { queue, trace, oracle } = this.#world;
    this.presence = presence;
    if (presence.dirId === this.dir) return;
    trace.note(queue.nowMs, 'repaired', this.name, this.#lives);
    this.storage.becomes(presence.dirId);
    this.repairs++;
    oracle.forgot(this.name);
  }

  #begin(life: number, current: Life): void {
    const { chance, network, oracle } = this.#world;
    this.#bells = ACTORS.map((name) => current.shared.bell(name));
    oracle.began(this.name, life, current);
    // Each loop turns once when it begins, and looks once a second.
    for (const actor of this.#actors) {
      this.#plan(actor, chance.delay(WAKE_MS));
      this.#every(life, IDLE_MS, () => {
        if (!this.#waitsForSync(actor) && current.idle(actor.name)) this.#plan(actor, 0);
      });
    }
    this.#every(life, TICK_MS, () => current.replication.tick());
    this.#every(life, SWEEP_EVERY_MS, () => current.gateway.sweep());
    network.began(this);
  }

  /** The process ends; what it wrote is in the page cache. `isSilent`: its host is gone too, and says nothing. */
  kill(isSilent: boolean): void {
    const disk = this.#disk;
    if (disk === undefined || disk.isDead) return;
    const { queue, trace, network, oracle } = this.#world;
    trace.note(queue.nowMs, 'kill', this.name, this.#lives);
    disk.die();
    this.#current = undefined;
    this.#asleep = [];
    this.#isPaused = false;
    for (const { planned } of this.#actors) queue.cancel(planned);
    network.ended(this.name, isSilent);
    oracle.ended(this.name);
    for (const door of this.#doors) door.lost();
    this.#doors.clear();
  }

  /** The power goes: what was not synced is lost, or a part of it, torn. */
  powerCut(keep: Keep): void {
    this.kill(true);
    const { queue, trace } = this.#world;
    trace.note(queue.nowMs, `cut ${keep}`, this.name, this.#lives);
    this.storage.platter.crash({ keep });
    this.onStopped();
  }

  /** Its disk is lost, and an empty one is put in its place. `joins`: somebody saw to its config. */
  wipe(joins: boolean): void {
    this.kill(true);
    this.storage.wipe();
    this.#joins ||= joins;
    const { queue, trace, oracle } = this.#world;
    trace.note(queue.nowMs, 'wipe', this.name, this.#lives);
    oracle.forgot(this.name);
    this.onStopped();
  }

  /** Its disk becomes what it was when it was copied. */
  restoreCopy(): void {
    this.kill(true);
    const { queue, trace, oracle } = this.#world;
    if (this.storage.restore()) {
      trace.note(queue.nowMs, 'old disk', this.name, this.#lives);
      oracle.forgot(this.name);
    }
    this.onStopped();
  }

  // ── time ──────────────────────────────────────────────────────────────────────────────────────────────────

  readonly #clock: Clock = {
    nowMs: () => Math.floor(EPOCH_MS + this.clock.offsetMs + this.#world.queue.nowMs * this.clock.rate),
    monotonicMs: () => this.#world.queue.nowMs * this.clock.rate,
  };

  /** The whole process stands still: SIGSTOP, a swapped-out machine. */
  pause(): void {
    if (this.#current === undefined || this.#isPaused) return;
    this.#world.trace.note(this.#world.queue.nowMs, 'pause', this.name);
    this.#isPaused = true;
  }

  /** It goes on; everything that waited happens now, in the order in which it came, and timers with it. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#world.trace.note(this.#world.queue.nowMs, 'resume', this.name, this.#asleep.length);
    this.#isPaused = false;
    const waiting = this.#asleep;
    this.#asleep = [];
    for (const work of waiting) work();
  }

  /** One thread gets no core for a while. */
  stall(actor: ActorName, ms: number): void {
    const standing = this.#actors[BELL_OF[actor]];
    if (standing !== undefined) standing.stalledUntilMs = this.#world.queue.nowMs + ms;
  }

  /** Runs `work` in this life, unless it is over by then; after a pause, if there is one. */
  #laterIn(life: number, delayMs: number, work: () => void): { cancel(): void } {
    const { queue } = this.#world;
    const planned = queue.after(delayMs, () => this.#when(life, () => this.#run(work)));
    return { cancel: () => queue.cancel(planned) };
  }

  #port(life: number): (work: () => void) => void {
    const { queue, chance } = this.#world;
    let lastMs = 0;
    return (work) => {
      lastMs = Math.max(lastMs, queue.nowMs + chance.delay(WAKE_MS));
      this.#laterIn(life, lastMs - queue.nowMs, work);
    };
  }

  #when(life: number, work: () => void): void {
    if (this.#lives !== life || this.#disk?.isDead !== false) return;
    if (this.#isPaused) this.#asleep.push(() => this.#when(life, work));
    else work();
  }

  /** A timer that counts from when it last fired: late ones do not come in numbers. */
  #every(life: number, everyMs: number, work: () => void): void {
    const again = (): void => {
      this.#run(work);
      if (this.#lives === life) this.#world.queue.after(everyMs, () => this.#when(life, again));
    };
    this.#world.queue.after(everyMs * this.#world.chance.random(), () => this.#when(life, again));
  }

  // ── turns ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Runs something of this node, and looks whose bells it rang. What it throws ends the life, as it ends the process. */
  #run(work: () => void): void {
    const current = this.#current;
    if (current === undefined) return;
    const disk = this.#disk;
    try {
      work();
      current.endTurn();
    } catch (error) {
      if (disk?.isDead === false) this.#failed(error);
      return;
    }
    if (this.#current !== current) return;
    this.look();
    if (current.shared.get('installs') !== 0) this.#startAgain();
  }

  /** A snapshot is to take the place of its state: it begins a new life from that, in the same process. */
  #startAgain(): void {
    const { queue, trace, chance } = this.#world;
    trace.note(queue.nowMs, 'install', this.name, this.#lives);
    this.installs++;
    this.kill(false);
    queue.after(chance.delay(5), () => this.start());
  }

  /** Whose bells have rung is planned; the oracle looks at what has become of the node. */
  look(): void {
    if (this.#current === undefined) return;
    const { chance, oracle } = this.#world;
    oracle.look(this.name);
    for (let i = 0; i < this.#bells.length; i++) {
      const actor = this.#actors[i] as Standing;
      if ((this.#bells[i] as { read(): number }).read() === actor.seen) continue;
      if (actor.planned !== undefined) {
        if (!actor.sleeps) continue;
        this.#world.queue.cancel(actor.planned);
        actor.planned = undefined;
      }
      this.#plan(actor, actor.name === 'syncer' ? this.syncing.drawMs() : chance.delay(WAKE_MS));
    }
  }

  /** It stands still until a sync is over, and has its turn then. */
  #waitsForSync(actor: Standing): boolean {
    const leftMs = this.syncing.leftMs(this.#lives);
    if (leftMs === undefined || this.#current?.waitsForSync(actor.name) !== true) return false;
    this.#plan(actor, leftMs + WAKE_MS);
    return true;
  }

  #plan(actor: Standing, delayMs: number, sleeps: boolean = false): void {
    if (actor.planned !== undefined) return;
    const life = this.#lives;
    actor.sleeps = sleeps;
    actor.planned = this.#world.queue.after(delayMs, () => this.#when(life, () => this.#turn(actor)));
  }

  #turn(actor: Standing): void {
    const { queue, trace, chance } = this.#world;
    actor.planned = undefined;
    const current = this.#current;
    if (current === undefined) return;
    if (queue.nowMs < actor.stalledUntilMs) {
      this.#plan(actor, actor.stalledUntilMs - queue.nowMs);
      return;
    }
    if (this.#waitsForSync(actor)) return;
    actor.seen = (this.#bells[BELL_OF[actor.name]] as { read(): number }).read();
    actor.pauseMs = 0;
    let didSomething = false;
    trace.note(queue.nowMs, 'turn', this.name, BELL_OF[actor.name]);
    this.#run(() => {
      didSomething = current.turn(actor.name);
      if (actor.name === 'replication') this.ear.planCommits(current);
    });
    if (this.#current !== current || !didSomething) return;
    if (actor.pauseMs > 0) this.#plan(actor, actor.pauseMs, true);
    else this.#plan(actor, chance.delay(WAKE_MS / 2));
  }

  // ── clients ───────────────────────────────────────────────────────────────────────────────────────────────

  /** A client connects; undefined: nobody is there. */
  accept(door: SimDoor): Connection | undefined {
    const current = this.#current;
    if (current === undefined || this.#isPaused) return undefined;
    this.#doors.add(door);
    return current.gateway.open(door);
  }

  /** A frame of a client arrives on a connection of this life. */
  frame(life: number, connection: Connection, bytes: Uint8Array): void {
    this.#when(life, () => this.#run(() => this.#current?.gateway.receive(connection, bytes)));
  }

  left(life: number, connection: Connection, door: SimDoor): void {
    this.#doors.delete(door);
    this.#when(life, () => this.#run(() => this.#current?.gateway.closed(connection)));
  }

  // ── failure ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Something that nobody caught, which a fault of this node's disk explains: it stops. */
  stopsBy(error: unknown): boolean {
    if (this.#current === undefined || !this.storage.explainsUncaught(error)) return false;
    this.#failed(error);
    return true;
  }

  /** An actor has failed: the node stops, as its supervisor has it. Without a fault of ours that is a finding. */
  #failed(error: unknown): void {
    const { queue, trace, fail } = this.#world;
    const failure = error instanceof Error ? error : new Error(String(error));
    trace.note(queue.nowMs, 'stopped', this.name, this.#lives);
    trace.say(queue.nowMs, this.name, () => failure.stack ?? failure.message);
    if (!this.storage.explains(failure)) {
      failure.message = `node ${this.name}: ${failure.message}`;
      fail(failure);
    }
    const ran = this.#current !== undefined;
    const isFound = isDamage(failure) && this.storage.isDamaged;
    if (ran && isFound) this.presence?.noteDamage(failure, (cause) => this.storage.explains(cause));
    this.kill(false);
    if (!ran && isFound) this.returning.begin(failure);
    else this.onStopped();
  }
}
