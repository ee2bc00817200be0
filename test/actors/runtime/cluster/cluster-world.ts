/**
 * A cluster of actors in one thread and virtual time: the real runtime of each node, a store that is one map, and wires
 * that lose what is under way when they are cut. The order of turns, delays and lost answers come from the seed.
 *
 * A node that is cut off goes on: it sees the store as it was, its leases are not renewed, its commits are lost, or come
 * so late that others have acted meanwhile.
 */
import { ClusterActors } from '../../../../src/actors/runtime/cluster/cluster-actors.ts';
import type {
  ActorStore,
  HostLease,
  StoreChange,
  StoredEntry,
  StoreOutcome,
} from '../../../../src/actors/runtime/cluster/store.ts';
import { StoreError } from '../../../../src/core/base/errors.ts';
import { VirtualClock } from '../../../../src/testing/actors/virtual-clock.ts';

export const LEASE_MS = 4_000;
const BELIEVED_MS = LEASE_MS * 0.9;

export interface WorldOptions {
  readonly seed?: number;
  readonly nodes?: number;
  /** The part of commits that are made and not answered: 0. */
  readonly unanswered?: number;
  /** This node is of the version whose sessions say nothing of what they speak. */
  readonly old?: string;
  /** Actors that a node may have: as in production. */
  readonly actorsMax?: number;
}

interface HeldLease {
  readonly key: string;
  readonly token: number;
  readonly name: string;
  readonly owner: TestNode;
  endsAtMs: number;
  believedUntilMs: number;
  readonly lost: AbortController;
}

export interface TestNode {
  readonly id: string;
  readonly actors: ClusterActors;
  readonly lines: { readonly level: string; readonly event: string; readonly fields: Record<string, unknown> }[];
  isCut: boolean;
  /** What it sees while it is cut off. */
  view: Map<string, StoredEntry> | undefined;
}

export class ClusterWorld {
  readonly clock: VirtualClock = new VirtualClock();
  readonly nodes: TestNode[] = [];
  readonly entries: Map<string, StoredEntry> = new Map();
  readonly #options: WorldOptions;
  readonly #leases = new Map<string, HeldLease>();
  #revision = 0;
  #tasks: (() => void)[] = [];
  #random: number;
  #names = 0;
  /** Batches between two nodes arrive in order: when the last one does. */
  readonly #arrivals = new Map<string, number>();
  /** Raised by a cut: what was sent before it is lost. */
  readonly #epochs = new Map<string, number>();

  constructor(options: WorldOptions = {}) {
    this.#options = options;
    this.#random = options.seed ?? 1;
    for (let i = 1; i <= (options.nodes ?? 3); i++) this.nodes.push(this.#newNode(`n${i}`));
    for (const node of this.nodes) {
      node.actors.mesh.attachWire({ send: (to, batch) => this.#send(node.id, to, batch) });
    }
    for (const node of this.nodes) for (const other of this.nodes) if (other !== node) node.actors.mesh.up(other.id);
    this.#keepLeases();
  }

  node(i: number): TestNode {
    const node = this.nodes[i - 1];
    if (node === undefined) throw new Error(`no node ${i}`);
    return node;
  }

  /** From now on nothing comes to it or from it, and the store does not hear it. */
  cut(node: TestNode): void {
    if (node.isCut) return;
    node.isCut = true;
    node.view = new Map(this.entries);
    for (const other of this.nodes) {
      if (other === node) continue;
      this.#epochs.set(pair(node.id, other.id), (this.#epochs.get(pair(node.id, other.id)) ?? 0) + 1);
      node.actors.mesh.down(other.id);
      other.actors.mesh.down(node.id);
    }
  }

  heal(node: TestNode): void {
    if (!node.isCut) return;
    node.isCut = false;
    node.view = undefined;
    for (const other of this.nodes) {
      if (other === node || other.isCut) continue;
      node.actors.mesh.up(other.id);
      other.actors.mesh.up(node.id);
    }
  }

  /** Who has a lease now, by the store. */
  holder(name: string): string | undefined {
    this.#expire();
    return [...this.#leases.values()].find((lease) => lease.name === name)?.owner.id;
  }

  // ── time ──

  async settle(): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const task = this.#tasks.shift();
      if (task === undefined) return;
      task();
    }
  }

  async advance(ms: number): Promise<void> {
    const untilMs = this.clock.nowMs() + ms;
    await this.settle();
    while (this.clock.step(untilMs)) await this.settle();
  }

  /** Lets time pass until a promise is settled. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settled = (): void => {
      isSettled = true;
    };
    promise.then(settled, settled);
    const untilMs = this.clock.nowMs() + 3_600_000;
    for (;;) {
      await this.settle();
      if (isSettled) return promise;
      if (this.clock.nowMs() >= untilMs) throw new Error(`seed ${this.#options.seed}: an hour has passed`);
      this.clock.step(this.clock.nowMs() + 10);
    }
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) this.heal(node);
    await this.run(Promise.all(this.nodes.map(({ actors }) => actors.stop())));
  }

  chance(): number {
    this.#random = (this.#random + 0x6d2b79f5) >>> 0;
    let t = this.#random;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  pick<T>(of: readonly T[]): T {
    return of[Math.floor(this.chance() * of.length)] as T;
  }

  // ── nodes ──

  #newNode(id: string): TestNode {
    const put = (task: () => void): void => void this.#tasks.push(task);
    const lines: TestNode['lines'] = [];
    const actors = new ClusterActors(
      {
        log: (level, event, fields = {}) => void lines.push({ level, event, fields }),
        ...(this.#options.actorsMax === undefined ? {} : { actorsMax: this.#options.actorsMax }),
      },
      {
        clock: this.clock,
        random: () => this.chance(),
        isAlone: true,
        queue: {
          slice: 1,
          budget: 1,
          soon: put,
          later: put,
          pick: (count) => Math.floor(this.chance() * count),
        },
      },
      { node: id, store: this.#storeOf(() => node), newName: () => `name-${++this.#names}`, soon: put },
    );
    const node: TestNode = { id, actors, lines, isCut: false, view: undefined };
    return node;
  }

  #send(from: string, to: string, batch: Uint8Array): void {
    const sender = this.nodes.find(({ id }) => id === from);
    const receiver = this.nodes.find(({ id }) => id === to);
    if (sender === undefined || receiver === undefined || sender.isCut || receiver.isCut) return;
    const key = pair(from, to);
    const epoch = this.#epochs.get(key) ?? 0;
    const way = `${from}>${to}`;
    const atMs = Math.max(this.clock.nowMs() + 1 + 4 * this.chance(), this.#arrivals.get(way) ?? 0);
    this.#arrivals.set(way, atMs);
    this.clock.after(atMs - this.clock.nowMs(), () => {
      if ((this.#epochs.get(key) ?? 0) !== epoch) return;
      receiver.actors.mesh.batch(from, this.#options.old === undefined ? batch : this.#asOld(from, batch));
    });
  }

  /** What an old node says of its sessions, and hears of them. */
  #asOld(from: string, batch: Uint8Array): Uint8Array {
    const text = new TextDecoder().decode(batch);
    if (this.#options.old === from) {
      return new TextEncoder().encode(text.replace(/^\{"session":"2 /, '{"session":"'));
    }
    if (/"how":"stream"|"askers"|"frame":"(stop|kill|want)"/.test(text)) throw new Error(`it cannot read ${text}`);
    return new TextEncoder().encode(text.replaceAll('"welcome","session":"', '"welcome","session":"2 '));
  }

  // ── the store ──

  #storeOf(owner: () => TestNode): ActorStore {
    return {
      glance: (key) => (owner().view ?? this.#now()).get(key),
      commit: (change, { deadlineMs }) => this.#commit(owner(), change, deadlineMs),
      lease: (name, signal) => this.#lease(owner(), name, signal),
    };
  }

  #now(): Map<string, StoredEntry> {
    this.#expire();
    return this.entries;
  }

  async #commit(node: TestNode, change: StoreChange, deadlineMs: number): Promise<StoreOutcome> {
    await this.#pause(1 + 5 * this.chance());
    const doubt = async (leftMs: number): Promise<never> => {
      await this.#pause(leftMs);
      throw new StoreError('OUTCOME_UNKNOWN', 'nobody knows');
    };
    if (node.isCut) {
      // Lost, or on its way for long.
      if (this.chance() < 0.5) this.clock.after(deadlineMs * this.chance(), () => void this.#apply(change));
      return doubt(deadlineMs);
    }
    if (this.chance() < (this.#options.unanswered ?? 0)) {
      // Made, and its answer lost; or made after whoever asked has given up.
      this.clock.after(this.chance() < 0.5 ? 0 : 200 * this.chance(), () => void this.#apply(change));
      return doubt(20);
    }
    const outcome = this.#apply(change);
    await this.#pause(1 + 5 * this.chance());
    if (node.isCut) return doubt(deadlineMs);
    return outcome;
  }

  #apply({ conditions, puts = [], deletes = [], read, readElse }: StoreChange): StoreOutcome {
    const now = this.#now();
    const succeeded = conditions.every((condition) => {
      const found = now.get(condition.key);
      if (condition.kind === 'revision') return (found?.revision ?? 0) === condition.revision;
      return condition.kind === 'exists' ? found !== undefined : found === undefined;
    });
    const revision = ++this.#revision;
    if (!succeeded) return { succeeded, revision, read: readElse === undefined ? undefined : now.get(readElse) };
    for (const [key, value] of puts) now.set(key, { value, revision });
    for (const key of deletes) now.delete(key);
    return { succeeded, revision, read: read === undefined ? undefined : now.get(read) };
  }

  async #lease(node: TestNode, name: string, signal: AbortSignal): Promise<HostLease> {
    for (;;) {
      signal.throwIfAborted();
      await this.#pause(5 + 5 * this.chance());
      if (!node.isCut && this.holder(name) === undefined) break;
      await this.#pause(100);
    }
    signal.throwIfAborted();
    const revision = ++this.#revision;
    const key = `ctlmesh/locks/${name}/${revision}`;
    const lost = new AbortController();
    const nowMs = this.clock.nowMs();
    const held: HeldLease = {
      ...{ key, token: revision, name, owner: node, lost },
      endsAtMs: nowMs + LEASE_MS,
      believedUntilMs: nowMs + BELIEVED_MS,
    };
    this.#leases.set(key, held);
    this.entries.set(key, { value: new Uint8Array(0), revision });
    const isHeld = (): boolean => !lost.signal.aborted && this.clock.nowMs() < held.believedUntilMs;
    return {
      token: revision,
      key,
      lost: lost.signal,
      get isHeld() {
        return isHeld();
      },
      condition: () => ({ kind: 'exists', key }),
      release: async () => {
        this.#lose(held, 'released');
        await this.#pause(2);
        if (node.isCut) throw new StoreError('OUTCOME_UNKNOWN', 'nobody knows');
        this.#end(held);
      },
    };
  }

  #keepLeases(): void {
    this.clock.after(
      200,
      () => {
        const nowMs = this.clock.nowMs();
        this.#expire();
        for (const held of this.#leases.values()) {
          if (nowMs >= held.believedUntilMs) this.#lose(held, 'late');
          else if (!held.owner.isCut && !held.lost.signal.aborted) {
            held.endsAtMs = nowMs + LEASE_MS;
            held.believedUntilMs = nowMs + BELIEVED_MS;
          }
        }
        this.#keepLeases();
      },
      true,
    );
  }

  #expire(): void {
    const nowMs = this.clock.nowMs();
    for (const held of this.#leases.values()) if (nowMs >= held.endsAtMs) this.#end(held);
  }

  #end(held: HeldLease): void {
    this.#leases.delete(held.key);
    this.entries.delete(held.key);
    this.#lose(held, 'gone');
  }

  #lose({ lost, key }: HeldLease, reason: string): void {
    if (!lost.signal.aborted) lost.abort(new StoreError('LOCK_LOST', `${key}: ${reason}`, { data: { reason } }));
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.clock.after(ms, resolve));
  }
}

const pair = (a: string, b: string): string => [a, b].toSorted().join('-');
