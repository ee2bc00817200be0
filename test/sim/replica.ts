/**
 * SimReplica: a reflector over all its lives, and its LDB: the production loop (src/actors/reflector.ts) and writer, fed through
 * the production SDK, in virtual time. What it waits for is an event of the queue, and belongs to its life: a life that has
 * ended waits for ever. So it dies at any of its awaits, between what it asked for and what it is told.
 *
 * A transaction takes its time before it is visible and after; the oracle looks at what readers see then. Some fail, as on a
 * full disk.
 */
import { runReflector, type ReflectorEvent, type ReflectorWorld } from '../../src/actors/reflector.ts';
import { connectWith } from '../../src/client/connect.ts';
import type { Timer, Timing } from '../../src/client/timing.ts';
import type { Dial } from '../../src/client/transport.ts';
import { assert } from '../../src/core/base/assert.ts';
import { type FilterInput, type LedgerFilter, parseFilter } from '../../src/core/model/ledger-filter.ts';
import type { LdbStore } from '../../src/engine/ldb/store.ts';
import { LdbWriter } from '../../src/engine/ldb/writer.ts';
import { StatusKeeper } from '../../src/reflector/status.ts';
import { Upstreams } from '../../src/reflector/upstreams.ts';
import type { Chance } from './chance.ts';
import { LdbOracle } from './ldb-oracle.ts';
import type { LdbPlatter } from './ldb-platter.ts';
import type { SimNode } from './node.ts';
import { EPOCH_MS } from './options.ts';
import type { EventQueue } from './queue.ts';
import type { Reference } from './reference.ts';
import { ReplicaWire } from './replica-wire.ts';
import type { Trace } from './trace.ts';

export interface ReplicaWorld {
  readonly queue: EventQueue;
  /** Its own: what replicas draw changes nothing for the others. */
  readonly chance: Chance;
  readonly trace: Trace;
  readonly reference: Reference;
  readonly nodes: readonly SimNode[];
  /** Promises are to run before the next event. */
  readonly async: () => void;
  /** The next event waits until this has settled: work of a real thread, which takes no virtual time. */
  readonly hold: (work: Promise<unknown>) => void;
  readonly fail: (error: Error) => void;
}

export interface ReplicaKind {
  readonly name: string;
  readonly platter: LdbPlatter;
  readonly token: string;
  /** What its token may have; undefined: everything. */
  readonly grant: LedgerFilter | undefined;
  /** What it may wish for; a life in so many wishes for another one, and has its LDB rebuilt. */
  readonly wishes: readonly (FilterInput | undefined)[];
}

const DISK_MS = 0.5;
const START_MS = 20;
const CONNECT_DEADLINE_MS = 10_000;
/** Less than in production, so that it comes to pass. */
const STALE_AFTER_MS = 5_000;
const COME_BACK_MS = 4_000;
const OTHER_WISH = 0.1;
const GAP = /^revision \d+ was expected/;

export class SimReplica {
  readonly name: string;
  readonly oracle: LdbOracle;
  readonly #kind: ReplicaKind;
  readonly #world: ReplicaWorld;
  #wish: FilterInput | undefined;
  #lives = 0;
  #isAlive = false;
  #isPaused = false;
  #asleep: (() => void)[] = [];
  #stop = new AbortController();
  readonly #stops: AbortController[] = [];
  readonly #wires = new Set<ReplicaWire>();
  /** Of a life that ended: the next one opens the LDB when it is closed. */
  #closing: Promise<void> = Promise.resolve();
  #store: LdbStore | undefined;
  #mayChange = false;
  #hasDisorder = false;
  #failsNext = false;
  isWireBad: boolean;
  records = 0;
  snapshots = 0;
  gaps = 0;
  diverged = 0;

  constructor(kind: ReplicaKind, world: ReplicaWorld) {
    this.name = kind.name;
    this.#kind = kind;
    this.#world = world;
    this.#wish = world.chance.of(kind.wishes);
    this.isWireBad = world.chance.is(0.5);
    this.oracle = new LdbOracle(kind.name, world.reference, kind.grant);
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
    const { queue, trace, chance, nodes } = this.#world;
    const life = ++this.#lives;
    trace.note(queue.nowMs, 'start', this.name, life);
    this.#isAlive = true;
    this.#isPaused = false;
    this.#asleep = [];
    this.#stop = new AbortController();
    this.#stops.push(this.#stop);
    if (chance.is(OTHER_WISH)) this.#wish = chance.of(this.#kind.wishes);
    const filter = this.#wish && parseFilter(this.#wish);
    const timing = this.#timing(life);
    const keeper = new StatusKeeper(STALE_AFTER_MS, () => EPOCH_MS + queue.nowMs);
    const urls = chance.shuffle(nodes).map(({ name }) => `ws://${name}:1`);
    const { source } = new Upstreams({
      upstreams: chance.is(0.5) ? [urls] : urls.map((url) => [url]),
      connect: (some, options) => connectWith(this.#dial(life), some, options, timing),
      deadlineMs: CONNECT_DEADLINE_MS,
      staleAfterMs: STALE_AFTER_MS,
      comeBackMs: COME_BACK_MS,
      lagMs: () => keeper.status.lagMs,
      token: this.#kind.token,
      filter,
      timing,
    });
    const { signal } = this.#stop;
    const onEvent = (event: ReflectorEvent): void => {
      keeper.note(event);
      this.#note(event);
    };
    this.#world.async();
    void runReflector(
      { source, dir: this.name, signal, onEvent, rebuild: true },
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
    const store = this.#store;
    this.#store = undefined;
    if (store === undefined) return;
    // What LMDB has under way is done or not when the process is gone: closing waits for it.
    this.#closing = store.close();
    this.#world.hold(this.#closing);
  }

  /** It is told to end: the commit under way is finished. */
  stop(): void {
    if (!this.#isAlive || this.#isPaused) return;
    this.#world.trace.note(this.#world.queue.nowMs, 'stop', this.name, this.#lives);
    this.#world.async();
    this.#stop.abort();
  }

  /** By itself: it was told to. */
  #ended(life: number): void {
    if (!this.#isOf(life)) return;
    assert(this.#stop.signal.aborted, `${this.name}: it ended, and nobody had told it to`);
    this.#world.trace.note(this.#world.queue.nowMs, 'ended', this.name, life);
    this.#store = undefined;
    this.#end();
    this.startLater(START_MS);
  }

  #end(): void {
    this.#isAlive = false;
    for (const wire of this.#wires) wire.drop();
    this.#wires.clear();
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

  /** The next record that may be is changed on its way. False: it would never be found out, a share has no hash. */
  changeOne(): boolean {
    this.#mayChange = this.#kind.grant === undefined;
    return this.#mayChange;
  }

  /** The next transaction fails, as on a full disk. */
  failNext(): void {
    this.#failsNext = true;
  }

  /** It begins another stream soon: its wires break. */
  cut(): void {
    for (const wire of [...this.#wires]) wire.reset();
  }

  // ── its world ─────────────────────────────────────────────────────────────────────────────────────────────

  #timing(life: number): Timing {
    const { queue, chance } = this.#world;
    return {
      nowMs: () => queue.nowMs,
      random: chance.random,
      after: (delayMs, work) => {
        const planned = queue.after(delayMs, () => this.#enter(life, work));
        return { cancel: () => queue.cancel(planned) };
      },
      every: (everyMs, work) => {
        let timer: Timer;
        const again = (): void => {
          const planned = queue.after(everyMs, () =>
            this.#enter(life, () => {
              again();
              work();
            }),
          );
          timer = { cancel: () => queue.cancel(planned) };
        };
        again();
        return { cancel: () => timer.cancel() };
      },
    };
  }

  #reflectorWorld(life: number, timing: Timing): ReflectorWorld {
    return {
      open: async (dir) => {
        await this.#io(life);
        return LdbWriter.over(await this.#open(life), dir);
      },
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
    };
  }

  #dial(life: number): Dial {
    const { nodes, queue, chance } = this.#world;
    return (url, events) => {
      const name = new URL(url).hostname;
      const wire = new ReplicaWire({
        queue,
        chance,
        node: nodes.find((node) => node.name === name),
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
      case 'applied':
        this.records += event.records;
        break;
      case 'snapshot':
        if (event.state === 'end') this.snapshots++;
        break;
      case 'diverged':
        this.diverged++;
        assert(
          this.oracle.isFedWrong,
          `${this.name}: it says that it has diverged at ${event.revision}, and was fed well`,
        );
        break;
      case 'damaged':
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

  // ── its disk ──────────────────────────────────────────────────────────────────────────────────────────────

  /** A while of this life; in one that has ended, for ever. */
  #io(life: number): Promise<void> {
    const { queue, chance } = this.#world;
    return new Promise((resolve) => {
      queue.after(chance.delay(DISK_MS), () => this.#enter(life, resolve));
    });
  }

  async #open(life: number): Promise<LdbStore> {
    const opening = this.#closing.then(() => this.#kind.platter.open());
    // Who dies while it opens has it closed, before another life may open it.
    const settle = async (): Promise<void> => {
      const store = await opening;
      if (this.#isOf(life)) this.#store = store;
      else await store.close();
    };
    this.#closing = settle();
    this.#world.hold(this.#closing);
    const inner = await opening;
    await this.#closing;
    if (!this.#isOf(life)) return new Promise(() => {});
    this.#look();
    const act = async <T>(isShown: boolean, work: () => Promise<T>): Promise<T> => {
      await this.#io(life);
      if (this.#failsNext && isShown) {
        this.#failsNext = false;
        throw new Error('ENOSPC: no space left on device');
      }
      const working = work();
      this.#world.hold(working);
      const result = await working;
      if (isShown) this.#look();
      await this.#io(life);
      return result;
    };
    return {
      meta: (key) => inner.meta(key),
      view: (of) => inner.view(of),
      commit: (rows, meta, records) => act(true, () => inner.commit(rows, meta, records)),
      addIncoming: (rows) => act(false, () => inner.addIncoming(rows)),
      dropIncoming: () => act(false, () => inner.dropIncoming()),
      adoptIncoming: (meta) => act(true, () => inner.adoptIncoming(meta)),
      flushed: () => inner.flushed(),
      close: async () => {
        await this.#io(life);
        this.#store = undefined;
        this.#closing = inner.close();
        this.#world.hold(this.#closing);
        await this.#closing;
        await this.#io(life);
      },
    };
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
  }

  remove(): void {
    this.kill();
    this.#world.hold(this.#closing.then(() => this.#kind.platter.remove()));
    // The platform keeps a signal made of others as long as somebody listens, and all that he knows: this whole world.
    for (const stop of this.#stops) stop.abort();
  }
}
