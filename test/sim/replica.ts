/**
 * SimReplica: a reflector over all its lives, and its LDB: the production loop (src/actors/reflector.ts) and writer, fed through
 * the production SDK, in virtual time. What it waits for is an event of the queue, and belongs to its life: a life that has
 * ended waits for ever. So it dies at any of its awaits, between what it asked for and what it is told.
 *
 * A relay feeds others from its LDB (relay-side.ts). Whom a replica follows is drawn for each life: nodes, relays, in lists.
 */
import { runReflector, type ReflectorEvent, type ReflectorWorld } from '../../src/actors/reflector.ts';
import { connectWith } from '../../src/client/connect.ts';
import type { Timing } from '../../src/client/timing.ts';
import type { Dial } from '../../src/client/transport.ts';
import { assert } from '../../src/core/base/assert.ts';
import {
  type FilterInput,
  intersect,
  isSameFilter,
  parseFilter,
  showFilter,
} from '../../src/core/model/ledger-filter.ts';
import { LdbWriter } from '../../src/engine/ldb/writer.ts';
import { StatusKeeper } from '../../src/reflector/status.ts';
import { Upstreams } from '../../src/reflector/upstreams.ts';
import { LdbOracle } from './ldb-oracle.ts';
import type { Feeder } from './feeder.ts';
import { EPOCH_MS } from './options.ts';
import type { ReplicaKind, ReplicaWorld } from './replica-world.ts';
import { RelaySide } from './relay-side.ts';
import { ReplicaDisk } from './replica-disk.ts';
import { ReplicaWire } from './replica-wire.ts';
import { timingOf } from './timing.ts';
import { drawUpstreams } from './upstream-lists.ts';

const DISK_MS = 0.5;
const START_MS = 20;
const CONNECT_DEADLINE_MS = 10_000;
/** Less than in production, so that it comes to pass. */
const STALE_AFTER_MS = 5_000;
const COME_BACK_MS = 4_000;
const OTHER_WISH = 0.1;
const OTHER_RING = 0.2;
const LATENCY_MS = 0.2;
const SWEEP_EVERY_MS = 250;
/** Of the newest records, for those who follow. */
const LEDGER_BYTES = 16 * 1024;
const GAP = /^revision \d+ was expected/;

export class SimReplica {
  readonly name: string;
  readonly oracle: LdbOracle;
  readonly #kind: ReplicaKind;
  readonly #world: ReplicaWorld;
  #wish: FilterInput | undefined;
  #ring: string;
  #lives = 0;
  #isAlive = false;
  #isPaused = false;
  #asleep: (() => void)[] = [];
  #stop = new AbortController();
  readonly #stops: AbortController[] = [];
  readonly #wires = new Set<ReplicaWire>();
  readonly #disk: ReplicaDisk;
  /** What others follow it by; undefined: it is no relay. */
  readonly side: RelaySide | undefined;
  #mayChange = false;
  #hasDisorder = false;
  isWireBad: boolean;
  /** It hears nobody, and those who follow it hear it: what it has grows old. */
  #isDeaf = false;
  records = 0;
  snapshots = 0;
  /** Snapshots that broke off and were gone on with. */
  goneOn = 0;
  /** Times that it was sent what it could not check. */
  damaged = 0;
  gaps = 0;
  diverged = 0;

  constructor(kind: ReplicaKind, world: ReplicaWorld) {
    this.name = kind.name;
    this.#kind = kind;
    this.#world = world;
    this.#wish = world.chance.of(kind.wishes);
    this.isWireBad = world.chance.is(0.5);
    this.#ring = this.#drawRing();
    this.oracle = new LdbOracle(kind.name, world.reference, kind.grant);
    const { name, platter, isRelay } = kind;
    this.side = isRelay
      ? new RelaySide({
          name,
          life: () => (this.#isAlive ? this.#lives : undefined),
          isPaused: () => this.#isPaused,
          enter: (life, work) => this.#enter(life, work),
          shows: () => this.oracle.revision,
          fail: world.fail,
        })
      : undefined;
    this.#disk = new ReplicaDisk({
      chance: world.chance,
      platter,
      isOf: (life) => this.#isOf(life),
      io: (life) => this.#io(life),
      monotonicMs: () => world.queue.nowMs,
      hold: world.hold,
      look: () => this.#look(),
      side: this.side,
      ledgerBytes: LEDGER_BYTES,
    });
  }

  #drawRing(): string {
    const { rings } = this.#kind;
    return rings.length === 1 ? '' : this.#world.chance.of(rings);
  }

  get lives(): number {
    return this.#lives;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  // ── lives ─────────────────────────────────────────────────────────────────────────────────────────────────

  start(): void {
    if (this.#isAlive) return;
    const { queue, trace, chance, nodes, relays } = this.#world;
    const life = ++this.#lives;
    trace.note(queue.nowMs, 'start', this.name, life);
    this.#isAlive = true;
    this.#isPaused = false;
    this.#asleep = [];
    this.#stop = new AbortController();
    this.#stops.push(this.#stop);
    if (chance.is(OTHER_WISH)) this.#wish = chance.of(this.#kind.wishes);
    if (this.#kind.rings.length > 1 && chance.is(OTHER_RING)) this.#ring = this.#drawRing();
    const filter = this.#wish && parseFilter(this.#wish);
    const timing = timingOf(queue, chance, (work) => this.#enter(life, work));
    const keeper = new StatusKeeper(STALE_AFTER_MS, () => EPOCH_MS + queue.nowMs);
    const { side } = this;
    const lagMs = (): number => keeper.status.lagMs;
    const upstreams = new Upstreams({
      upstreams: drawUpstreams(
        chance,
        nodes,
        relays().filter((relay) => relay !== side),
      ),
      connect: (some, options) => connectWith(this.#dial(life), some, options, timing),
      deadlineMs: CONNECT_DEADLINE_MS,
      staleAfterMs: STALE_AFTER_MS,
      comeBackMs: COME_BACK_MS,
      lagMs,
      token: this.#kind.token,
      filter,
      timing,
      relay: side && { id: `${this.name}-${life}`, onPath: (above) => side.follows(above) },
    });
    side?.begin(life, {
      hashAt: (revision) => upstreams.hashAt(revision),
      isFresh: () => lagMs() <= STALE_AFTER_MS,
      lagMs,
      monotonicMs: timing.nowMs,
    });
    if (side !== undefined) timing.every(SWEEP_EVERY_MS, () => side.sweep());
    const { signal } = this.#stop;
    const onEvent = (event: ReflectorEvent): void => {
      keeper.note(event);
      side?.note(event);
      this.#note(event);
    };
    this.#world.async();
    void runReflector(
      { source: upstreams.source, dir: this.name, signal, onEvent, rebuild: true },
      this.#reflectorWorld(life, timing),
    ).then(
      () => this.#ended(life),
      (error: unknown) => {
        if (!this.#isOf(life)) return;
        const failure = error instanceof Error ? error : new Error(String(error));
        failure.message = `${this.name} gave up: ${failure.message}`;
        this.#world.fail(failure);
      },
    );
  }

  /** The process ends, wherever it stands. */
  kill(): void {
    if (!this.#isAlive) return;
    this.#world.trace.note(this.#world.queue.nowMs, 'kill', this.name, this.#lives);
    this.#end();
    this.#disk.end();
  }

  /** It is told to end: the commit under way is finished. */
  stop(): void {
    if (!this.#isAlive || this.#isPaused) return;
    this.#world.trace.note(this.#world.queue.nowMs, 'stop', this.name, this.#lives);
    this.#world.async();
    this.#stop.abort();
    this.side?.close();
  }

  /** By itself: it was told to. */
  #ended(life: number): void {
    if (!this.#isOf(life)) return;
    assert(this.#stop.signal.aborted, `${this.name}: it ended, and nobody had told it to`);
    this.#world.trace.note(this.#world.queue.nowMs, 'ended', this.name, life);
    this.#end();
    this.startLater(START_MS);
  }

  #end(): void {
    this.#isAlive = false;
    for (const wire of this.#wires) wire.drop();
    this.#wires.clear();
    this.side?.end();
  }

  startLater(meanMs: number): void {
    const { queue, chance } = this.#world;
    queue.after(chance.delay(meanMs), () => this.start());
  }

  /** It stands still, as under SIGSTOP. */
  pause(): void {
    this.#isPaused = this.#isAlive;
  }

  /** It goes on, with all that waited. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    const waiting = this.#asleep;
    this.#asleep = [];
    for (const work of waiting) work();
  }

  /** The operator removes its LDB, and it begins again from nothing. */
  wipe(): void {
    this.kill();
    this.#world.trace.note(this.#world.queue.nowMs, 'wipe', this.name, this.#lives);
    this.#kind.platter.wipe();
    this.oracle.wiped();
  }

  #isOf(life: number): boolean {
    return this.#isAlive && this.#lives === life;
  }

  /** Runs `work` in this life's process; after a pause, if there is one; never, when it has ended. */
  #enter(life: number, work: () => void): void {
    if (!this.#isOf(life)) return;
    if (this.#isPaused) {
      this.#asleep.push(() => this.#enter(life, work));
      return;
    }
    this.#world.async();
    work();
  }

  // ── faults ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Its sockets: all of them, as one fault hits what there is. */
  get wires(): Iterable<ReplicaWire> {
    return this.#wires;
  }

  /** The next record that may be is changed on its way. False: it would never be found out:
   * a share has no hash, and may be fed by a relay. */
  changeOne(): boolean {
    this.#mayChange = this.#kind.grant === undefined && !this.#kind.isRelay;
    return this.#mayChange;
  }

  /** The next transaction fails, as on a full disk. */
  failNext(): void {
    this.#disk.failNext();
  }

  /** For so long nothing comes to it from those that it follows, and it finds nobody. */
  deafen(ms: number): void {
    this.#isDeaf = true;
    for (const wire of this.#wires) wire.goSilent();
    this.#world.queue.after(ms, () => this.hear());
  }

  hear(): void {
    this.#isDeaf = false;
  }

  /** It begins another stream soon: its wires break. */
  cut(): void {
    for (const wire of [...this.#wires]) wire.reset();
  }

  // ── its world ─────────────────────────────────────────────────────────────────────────────────────────────

  #reflectorWorld(life: number, timing: Timing): ReflectorWorld {
    return {
      open: async (dir) => LdbWriter.over(await this.#disk.open(life), dir, { ring: this.#ring }),
      sleep: (delayMs, signal) =>
        new Promise((resolve) => {
          const timer = timing.after(delayMs, resolve);
          signal.addEventListener('abort', () => {
            timer.cancel();
            resolve();
          });
        }),
      monotonicMs: timing.nowMs,
      random: timing.random,
      // A few rows: so that a snapshot is in many commits, and dies between them.
      gatherBytesMax: 256,
    };
  }

  #dial(life: number): Dial {
    const { nodes, relays, queue, chance } = this.#world;
    const feeders: readonly Feeder[] = [...nodes, ...relays()];
    return (url, events) => {
      const name = new URL(url).hostname;
      const wire = new ReplicaWire({
        queue,
        chance,
        latencyMs: LATENCY_MS,
        feeder: this.#isDeaf ? undefined : feeders.find((feeder) => feeder.name === name),
        events,
        enter: (work) => this.#enter(life, work),
        isBad: () => this.isWireBad,
        onDisorder: () => {
          this.#hasDisorder = true;
        },
        mayChange: (revision) => this.#changes(revision),
      });
      this.#wires.add(wire);
      const { transport } = wire;
      return {
        send: (frame) => transport.send(frame),
        bufferedBytes: 0,
        close: () => {
          this.#wires.delete(wire);
          transport.close();
        },
      };
    };
  }

  /** Whom it follows now, and is heard by. */
  get followed(): Feeder | undefined {
    if (!this.#isAlive || this.#isPaused) return undefined;
    for (const wire of this.#wires) if (wire.followed !== undefined) return wire.followed;
    return undefined;
  }

  #changes(revision: number): boolean {
    // Only what it would find out: it knows its hash, and has not got this record.
    if (!this.#mayChange || !this.oracle.isHashKnown || revision <= this.oracle.revision) return false;
    this.#mayChange = false;
    this.#world.trace.note(this.#world.queue.nowMs, 'changed', this.name, revision);
    this.oracle.feedWrong(revision);
    return true;
  }

  #note(event: ReflectorEvent): void {
    const { trace, queue } = this.#world;
    trace.say(queue.nowMs, this.name, () => JSON.stringify(event));
    switch (event.kind) {
      case 'following':
        assert(
          this.oracle.ring === this.#ring,
          `${this.name}: it is in ring ${this.#ring}, and shows ${this.oracle.ring}`,
        );
        break;
      case 'applied':
        this.records += event.records;
        break;
      case 'snapshot':
        if (event.state === 'end') this.snapshots++;
        else if (event.entries > 0) this.goneOn++;
        break;
      case 'diverged':
        this.diverged++;
        assert(
          this.oracle.isFedWrong,
          `${this.name}: it says that it has diverged at ${event.revision}, and was fed well`,
        );
        break;
      case 'damaged':
        this.damaged++;
        assert(this.#hasDisorder, `${this.name}: it was fed with what was not sent: ${event.reason}`);
        break;
      case 'retry':
        if (GAP.test(event.reason)) {
          assert(this.#hasDisorder, `${this.name}: it was fed with a hole: ${event.reason}`);
          this.gaps++;
        }
        this.#hasDisorder = false;
        break;
      default:
    }
  }

  /** A while of this life; in one that has ended, for ever. */
  #io(life: number): Promise<void> {
    const { queue, chance } = this.#world;
    return new Promise((resolve) => {
      queue.after(chance.delay(DISK_MS), () => this.#enter(life, resolve));
    });
  }

  #look(): void {
    const view = this.#kind.platter.view();
    if (view === undefined) return;
    try {
      this.oracle.look(view);
    } catch (error) {
      this.#world.fail(error instanceof Error ? error : new Error(String(error)));
    }
    this.#world.trace.note(this.#world.queue.nowMs, 'shows', this.name, this.oracle.revision);
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────

  /** It shows all of it, and nothing else. */
  sees(revision: number): boolean {
    return this.oracle.revision >= revision && !this.oracle.isWrong;
  }

  checkRows(): void {
    this.#look();
    const wanted = intersect(this.#kind.grant, this.#wish && parseFilter(this.#wish));
    assert(
      isSameFilter(this.oracle.holds, wanted),
      `${this.name}: it holds ${showFilter(this.oracle.holds)}, and wants ${showFilter(wanted)}`,
    );
  }

  remove(): void {
    this.kill();
    this.#disk.remove();
    // The platform keeps a signal made of others as long as somebody listens, and all that he knows: this whole world.
    for (const stop of this.#stops) stop.abort();
  }
}
