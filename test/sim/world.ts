/**
 * SimWorld: one run, from one seed: a cluster of production nodes, its clients, watches and replicas, a network, a
 * nemesis, in one thread and virtual time.
 *
 *   1. everything may fail, for `steps` events; the oracle looks on;
 *   2. all faults end but one: a random minority stays away. The rest must be of use again: writes are acked, reads
 *      answered, watches and replicas catch up, within a bound of virtual time;
 *   3. the minority comes back; all nodes come to the same state, which is the model's.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { assert } from '../../src/core/base/assert.ts';
import { equalBytes } from '../../src/core/base/bytes.ts';
import { initialMembership } from '../../src/core/raft/membership.ts';
import { checkLinearizable, HistoryRecorder, parseHistory } from '../../src/testing/index.ts';
import { Chance } from './chance.ts';
import { SimClient } from './client.ts';
import { Nemesis } from './nemesis.ts';
import { SimNetwork } from './network.ts';
import { SimNode } from './node.ts';
import { FED_MS, hasStages, LIVENESS_MS, type SimOptions } from './options.ts';
import { SimOperator } from './operator.ts';
import { Oracle } from './oracle.ts';
import { EventQueue } from './queue.ts';
import { textOf } from './reference.ts';
import { giveRings, type Rings, takeRings } from './rings.ts';
import { Seats } from './seats.ts';
import { Replicas, type ReplicaCounts } from './replicas.ts';
import { SimSubscriber } from './subscriber.ts';
import { Trace } from './trace.ts';

export interface Outcome {
  readonly seed: number;
  readonly hash: string;
  readonly failure: Error | undefined;
  readonly steps: number;
  readonly virtualMs: number;
  readonly committed: number;
  readonly elections: number;
  readonly faults: number;
  readonly acked: number;
  readonly reads: number;
  readonly unknown: number;
  readonly records: number;
  readonly snapshots: number;
  readonly compacted: number;
  readonly flushes: number;
  readonly installs: number;
  readonly memberChanges: number;
  readonly lostDisks: number;
  readonly replicas: ReplicaCounts;
  readonly repairs: number;
  readonly oldDisks: number;
  readonly oldDisksFound: number;
}

const CLIENTS = 4;
/** In every so many-th seed, half of the clients only read. */
const READERS_EVERY = 10;
const READERS_AT = 7;
/** In every so many-th seed clients make, fill, clear and drop tables, too. */
const CONTROL_EVERY = 4;
/** A longer history is left to `kvctl history check`. */
const HISTORY_EVENTS_MAX = 4_000;
/** Nodes that are no members yet, where members change. */
const SPARES = 2;
/** The cores are asked about themselves every so many events: it is dear. */
const INSIDE_EVERY = 500;
/** Whether a part of a run is done is looked at every so many events. */
const LOOK_EVERY = 20;

export class SimWorld {
  readonly #options: SimOptions;
  readonly #chance: Chance;
  readonly #queue = new EventQueue();
  readonly #trace: Trace;
  readonly #oracle: Oracle;
  readonly #seats: Seats;
  readonly #operator: SimOperator;
  readonly #network: SimNetwork;
  readonly #nodes: readonly SimNode[];
  readonly #clients: readonly SimClient[];
  readonly #subscribers: readonly SimSubscriber[];
  readonly #replicas: Replicas;
  readonly #nemesis: Nemesis;
  readonly #rings: Rings[] = [];
  /** What clients saw, a JSON event per line (docs/testing.md). */
  readonly history: string[] = [];
  #isAsync = false;
  /** The same outside of nodes: no bell of theirs can have rung by it. */
  #isAsyncOutside = false;
  /** Work of real threads, which takes no virtual time, and ends in the order in which it began. */
  #held: Promise<unknown> = Promise.resolve();
  #failure: Error | undefined;
  #steps = 0;

  constructor(options: SimOptions) {
    this.#options = options;
    const chance = new Chance(options.seed);
    this.#chance = chance;
    this.#trace = new Trace(options.print);
    const queue = this.#queue;
    const trace = this.#trace;
    const names = Array.from({ length: options.nodes + SPARES }, (_, i) => `n${i + 1}`);
    const members = names.map((id) => ({ id, mesh: `${id}:1`, client: `ws://${id}:1`, http: '' }));
    const founders = members.slice(0, options.nodes);
    const changesMembers = !options.isCalm && chance.is(0.5);
    names.length = changesMembers ? names.length : options.nodes;
    this.#oracle = new Oracle(initialMembership(founders));
    const oracle = this.#oracle;
    this.#network = new SimNetwork({
      queue,
      chance,
      trace,
      onSend: (from, _to, messages) => {
        oracle.sent(from, messages);
        this.#nemesis.sent(from, messages);
      },
    });
    this.#nodes = names.map((name) => {
      const rings = takeRings();
      this.#rings.push(rings);
      const node = new SimNode(name, rings, {
        queue,
        chance,
        trace,
        oracle,
        network: this.#network,
        switches: options.switches,
        founders,
        members,
        nodes: () => this.#nodes,
        pass: (ms) => this.#pass(ms),
        async: () => {
          this.#isAsync = true;
        },
        fail: (error) => {
          this.#failure ??= error;
        },
      });
      this.#network.add(node);
      return node;
    });
    const nodes = this.#nodes;
    const drawnMs = chance.of([5, 20, 60, 200]);
    const { thinkMs = drawnMs } = options;
    const { readsSkipBarrier } = options.switches;
    const hasReaders = options.seed % READERS_EVERY === READERS_AT;
    const history = new HistoryRecorder({ write: (event) => this.history.push(JSON.stringify(event)) });
    this.#clients = Array.from(
      { length: CLIENTS },
      (_, i) =>
        new SimClient(`c${i + 1}`, {
          queue,
          chance,
          trace,
          oracle,
          history,
          nodes,
          thinkMs: () => chance.delay(thinkMs),
          readsSkipBarrier,
          readsOnly: hasReaders && i >= CLIENTS / 2,
          hasControl: options.hasControl ?? options.seed % CONTROL_EVERY === 0,
          hasStages: hasStages(options),
        }),
    );
    const seats = new Seats(oracle, nodes);
    this.#seats = seats;
    const world = { queue, chance, trace, oracle, nodes };
    this.#operator = new SimOperator({ ...world, members, seats, changesMembers });
    this.#subscribers = [new SimSubscriber('w1', world), new SimSubscriber('w2', world)];
    this.#replicas = new Replicas(options, {
      queue,
      trace,
      reference: oracle.reference,
      nodes,
      async: () => {
        this.#isAsyncOutside = true;
      },
      hold: (work) => {
        this.#isAsyncOutside = true;
        const done = Promise.allSettled([this.#held, work]);
        this.#held = done;
        return done;
      },
      fail: (error) => {
        this.#failure ??= error;
      },
    });
    const { hasOldDisks, mix } = options;
    const users = { clients: this.#clients, subscribers: this.#subscribers };
    this.#nemesis = new Nemesis({
      queue,
      chance,
      trace,
      network: this.#network,
      nodes,
      seats,
      oracle,
      fail: (error) => {
        this.#failure ??= error;
      },
      hasOldDisks,
      mix,
      ...users,
    });
  }

  async run(): Promise<Outcome> {
    // As src/actors/runtime/host.ts: what nobody catches ends the thread it comes from, and so the node.
    const rejected = (error: unknown): void => {
      const isExplained = this.#nodes.filter((node) => node.stopsBy(error)).length > 0;
      if (!isExplained) this.#failure ??= error instanceof Error ? error : new Error(String(error));
    };
    process.on('unhandledRejection', rejected);
    try {
      await this.#unsafe();
      await this.#healed();
      this.#checkHistory();
    } catch (error) {
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
    }
    if (this.#failure !== undefined) this.#trace.say(this.#queue.nowMs, '*', () => this.#failure?.stack ?? '');
    const outcome = this.#outcome();
    for (const node of this.#nodes) node.kill(true);
    this.#replicas.remove();
    await this.#settle();
    process.off('unhandledRejection', rejected);
    for (const rings of this.#rings) giveRings(rings);
    return outcome;
  }

  // ── the parts of a run ────────────────────────────────────────────────────────────────────────────────────

  async #unsafe(): Promise<void> {
    for (const node of this.#nodes) node.start();
    for (const client of this.#clients) client.begin();
    for (const subscriber of this.#subscribers) subscriber.begin();
    this.#replicas.begin();
    if (!this.#options.isCalm) {
      this.#nemesis.begin();
      this.#operator.begin();
    }
    await this.#until('', () => this.#steps >= this.#options.steps, Number.POSITIVE_INFINITY);
  }

  async #healed(): Promise<void> {
    this.#operator.stop();
    const away = this.#drawAway();
    this.#trace.note(this.#queue.nowMs, 'heal', away.map(({ name }) => name).join());
    this.#nemesis.heal(away);
    this.#replicas.heal();
    await this.#operatorRests();
    const quorum = this.#nodes.filter((node) => this.#seats.isMember(node) && !away.includes(node));
    for (const user of [...this.#clients, ...this.#subscribers]) {
      user.among = quorum;
      user.cut();
    }
    const acked = this.#clients.map((client) => client.acked + client.reads);
    await this.#until('a healed quorum serves every client', () =>
      this.#clients.every((client, i) => client.acked + client.reads > (acked[i] as number) + 3),
    );
    for (const client of this.#clients) client.stop();
    await this.#until('every call has ended', () => this.#clients.every((client) => client.isIdle));
    await this.#sameEverywhere(quorum);
    this.#trace.note(this.#queue.nowMs, 'heal', 'all');
    this.#nemesis.heal();
    this.#replicas.healAll();
    // Who was damaged has come back, or has been given up by the operator.
    await this.#until('nobody is in repair', () =>
      this.#nodes.every((node) => !node.storage.isLost || !this.#seats.isSeat(node)),
    );
    await this.#sameEverywhere(this.#nodes.filter((node) => this.#seats.isMember(node)));
  }

  /** What the operator asked for last may wait in a node that stood still, and is done once it goes on. */
  async #operatorRests(): Promise<void> {
    const { restedMs } = this.#operator;
    if (restedMs === undefined) return;
    const isRested = (): boolean => this.#queue.nowMs >= restedMs && this.#isSettled;
    // Seconds in which clients call as fast as they can would cost more than all the rest of a run, and find nothing.
    for (const client of this.#clients) client.stop();
    await this.#until('the members are settled', isRested);
    for (const client of this.#clients) client.goOn();
  }

  /** Who stays away: some, so that a majority is left by whatever any log says of members. */
  #drawAway(): readonly SimNode[] {
    const chance = this.#chance;
    const away = new Set<SimNode>();
    if (this.#options.isCalm || this.#nemesis.oldDisk.isUnderWay) return [];
    for (const node of chance.shuffle(this.#nodes)) {
      if (chance.is(0.5) && this.#seats.canSpare(new Set([...away, node]))) away.add(node);
    }
    return [...away];
  }

  /** Somebody leads, knows what is committed, and has no change under way that is not. */
  get #isSettled(): boolean {
    return this.#nodes.some((node) => {
      const raft = node.current?.raft;
      if (raft?.isLeader !== true || !raft.hasCommittedInTerm || raft.log.committed !== raft.log.last) return false;
      return this.#seats.isMember(node) && this.#oracle.reference.members.outgoing.length === 0;
    });
  }

  /** All of them, and all who are fed by them, come to the newest state. */
  async #sameEverywhere(nodes: readonly SimNode[]): Promise<void> {
    const target = this.#oracle.reference.last;
    const applied = (node: SimNode): number => node.current?.shared.get('applied') ?? 0;
    const haveAll = (): boolean => nodes.every((node) => applied(node) >= target);
    await this.#until('all apply what is committed', haveAll);
    // A node may begin anew meanwhile: from a snapshot that was on its way, or by a fault that its disk had in store.
    await this.#until(
      'watches and replicas are fed',
      () => haveAll() && this.#subscribers.every((subscriber) => subscriber.sees(target)) && this.#replicas.see(target),
      FED_MS,
    );
    this.#replicas.check();
    // Nobody writes any more but the leader's clock: a node's state is the model's when both are at one revision.
    for (const node of nodes) this.#compare(node);
  }

  #compare(node: SimNode): void {
    const { current } = node;
    assert(current !== undefined, 'a node that is healed lives');
    const { reference } = this.#oracle;
    const cursor = current.state.scan({ from: new Uint8Array(0), to: undefined, reverse: false });
    try {
      let count = 0;
      for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
        const then = reference.valueAt(textOf(entry.key), cursor.revision);
        const isSame =
          then.revision === entry.revision && then.value !== undefined && equalBytes(then.value, entry.value);
        assert(isSame, `${node.name}: ${textOf(entry.key)} at ${cursor.revision} is another than the model's`);
        count++;
      }
      assert(count === reference.countAt(cursor.revision), `${node.name} has the keys of ${cursor.revision}`);
    } finally {
      cursor.close();
      current.endTurn();
    }
  }

  /** Once more what clients saw, by a checker that knows nothing of the log. */
  #checkHistory(): void {
    if (this.history.length > HISTORY_EVENTS_MAX) return;
    const result = checkLinearizable(parseHistory(this.history.join('\n')), { budget: { configurations: 200_000 } });
    if (result.verdict === 'violation') throw new Error(`not linearizable\n${result.violation?.text ?? ''}`);
    this.#trace.note(this.#queue.nowMs, `history ${result.verdict}`, '*', result.checkedOps);
  }

  // ── steps ─────────────────────────────────────────────────────────────────────────────────────────────────

  async #until(what: string, isDone: () => boolean, withinMs: number = LIVENESS_MS): Promise<void> {
    const deadlineMs = this.#queue.nowMs + withinMs;
    while (!isDone()) {
      if (this.#queue.nowMs >= deadlineMs)
        throw new Error(`liveness: ${what}, within ${withinMs} ms${this.#standing()}`);
      for (let i = 0; i < LOOK_EVERY; i++) {
        this.#step();
        if (this.#isAsync || this.#isAsyncOutside) await this.#settle();
        if (this.#failure !== undefined) throw this.#failure;
      }
    }
  }

  /** A thread stands in a call for so long; all others go on. Calls within calls end before those around them. */
  #pass(ms: number): void {
    const untilMs = this.#queue.nowMs + ms;
    try {
      while (this.#failure === undefined && this.#queue.nextMs <= untilMs) this.#step();
    } catch (error) {
      // Of somebody else's turn: not for the caller to catch.
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
    }
    if (this.#failure === undefined) this.#queue.passTo(untilMs);
  }

  #step(): void {
    const work = this.#queue.next();
    assert(work !== undefined, 'there is always something to come');
    this.#steps++;
    work();
    if (this.#steps % INSIDE_EVERY === 0) this.#oracle.lookInside();
  }

  /** How every node stands, for who reads a failure. */
  #standing(): string {
    const lines = this.#nodes.map((node) => {
      const { current, name } = node;
      if (current === undefined) return `${name} is down`;
      const { role, term, leader, log } = current.raft;
      const marks = (['applied', 'flushed', 'walFull', 'storeFull'] as const).map(
        (m) => `${m} ${current.shared.get(m)}`,
      );
      return `${name} ${role} of ${term}, led by ${leader}, log ${log.base}..${log.last}, committed ${log.committed}, stable ${log.stable}, ${marks.join(', ')}`;
    });
    return `\n  ${[...lines, ...this.#replicas.standing()].join('\n  ')}`;
  }

  /** Lets promises run, all of them; what they rang is looked at. */
  async #settle(): Promise<void> {
    let isOfNodes = false;
    while (this.#isAsync || this.#isAsyncOutside) {
      isOfNodes ||= this.#isAsync;
      this.#isAsync = false;
      this.#isAsyncOutside = false;
      await this.#held;
      await nextTurn();
    }
    if (!isOfNodes) return;
    for (const node of this.#nodes) node.look();
  }

  #outcome(): Outcome {
    const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
    return {
      seed: this.#options.seed,
      hash: this.#trace.hash,
      failure: this.#failure,
      steps: this.#steps,
      virtualMs: this.#queue.nowMs,
      committed: this.#oracle.reference.last,
      elections: this.#oracle.elections,
      faults: this.#nemesis.faults,
      acked: sum(this.#clients.map(({ acked }) => acked)),
      reads: sum(this.#clients.map(({ reads }) => reads)),
      unknown: sum(this.#clients.map(({ unknown }) => unknown)),
      records: sum(this.#subscribers.map(({ records }) => records)) + this.#replicas.counts.records,
      snapshots: this.#replicas.counts.snapshots,
      replicas: this.#replicas.counts,
      compacted: sum(this.#subscribers.map(({ compacted }) => compacted)),
      memberChanges: this.#operator.done,
      lostDisks: this.#nemesis.lostDisks,
      oldDisks: this.#nemesis.oldDisk.restored,
      oldDisksFound: this.#nemesis.oldDisk.found,
      repairs: sum(this.#nodes.map(({ repairs }) => repairs)),
      installs: sum(this.#nodes.map(({ installs }) => installs)),
      flushes: sum(this.#nodes.map((node) => node.current?.shared.get('flushes') ?? 0)),
    };
  }
}
