/**
 * ReadBarrier: when may a linearizable read be answered here?
 *
 * A read needs an index that a leader confirmed with a quorum after the read arrived, and then this node to
 * have applied that far. All reads that arrive while one round is under way share the next one, so the cost of
 * a round (a heartbeat to a quorum) is per round trip and not per read.
 *
 *   add → next round → confirmed (index) → applied >= index → released, in index order
 *
 * A round that is lost or refused is asked again; reads wait until their own deadline, which the gateway keeps.
 *
 * A confirmed round proves more than that its reads may be answered: once its index is applied here, this node has
 * every write that was acknowledged before the round was asked. So it dates the state, by this node's clock alone,
 * and a read that may be a little stale needs no round of its own (`provenMs`).
 */

export interface Waiter {
  /** Released once this node has applied this far. Set by the barrier; at least `atLeast`. */
  needs: number;
}

export interface BarrierWorld {
  /** Asks replication for a read index; the answer comes to `answer`. */
  readonly ask: (id: number) => void;
  readonly nowMs: () => number;
  /** Number of the first round, another at every boot: an answer to the last boot's question must answer none. */
  readonly firstId: number;
}

/** Confirmed at `index`: whoever has applied that far has what was acknowledged before `askedMs`. */
interface Proof {
  readonly index: number;
  readonly askedMs: number;
}

/** Proofs that wait for their index to be applied. Past it the newest takes the place of the one before it. */
const PROOFS_MAX = 64;
const ROUND_DEADLINE_MS = 300;
const RETRY_AFTER_MS = 20;

export class ReadBarrier<T extends Waiter> {
  readonly #world: BarrierWorld;
  #next: T[] = [];
  #round: { readonly id: number; readonly waiters: T[]; readonly askedMs: number } | undefined;
  #confirmed: T[] = [];
  #nextId: number;
  #notBeforeMs = 0;
  /** Not applied yet, in the order of their rounds. */
  readonly #proofs: Proof[] = [];
  #provenMs = Number.NEGATIVE_INFINITY;

  constructor(world: BarrierWorld) {
    this.#world = world;
    this.#nextId = world.firstId >>> 0;
  }

  get waiting(): number {
    return this.#next.length + (this.#round?.waiters.length ?? 0) + this.#confirmed.length;
  }

  get waitsForApplied(): boolean {
    return this.#confirmed.length > 0;
  }

  /** Waits for a confirmed index; `waiter.needs` says what it needs beside that. */
  add(waiter: T): void {
    this.#next.push(waiter);
  }

  /** Waits only until this node has applied `waiter.needs`. */
  addApplied(waiter: T): void {
    this.#confirmed.push(waiter);
  }

  /** Starts a round when there is someone to ask for and none is under way. Once per turn. */
  flush(): void {
    const nowMs = this.#world.nowMs();
    if (this.#round !== undefined) {
      if (nowMs - this.#round.askedMs < ROUND_DEADLINE_MS) return;
      this.#giveBack();
    }
    if (this.#next.length === 0 || nowMs < this.#notBeforeMs) return;
    const id = this.#nextId;
    this.#nextId = (id + 1) >>> 0;
    this.#round = { id, waiters: this.#next, askedMs: nowMs };
    this.#next = [];
    this.#world.ask(id);
  }

  /** The answer to round `id`: an index, or 0 when nobody could confirm one. */
  answer(id: number, index: number): void {
    if (this.#round?.id !== id) return;
    if (index === 0) {
      this.#giveBack();
      this.#notBeforeMs = this.#world.nowMs() + RETRY_AFTER_MS;
      return;
    }
    if (this.#proofs.length === PROOFS_MAX) this.#proofs.pop();
    this.#proofs.push({ index, askedMs: this.#round.askedMs });
    for (const waiter of this.#round.waiters) {
      if (waiter.needs < index) waiter.needs = index;
      this.#confirmed.push(waiter);
    }
    this.#round = undefined;
  }

  /**
   * The newest moment of which it is known that the state at `applied` holds every write acknowledged before it;
   * -Infinity before the first round.
   */
  provenMs(applied: number): number {
    let count = 0;
    for (const { index, askedMs } of this.#proofs) {
      if (index > applied) break;
      this.#provenMs = askedMs;
      count++;
    }
    if (count > 0) this.#proofs.splice(0, count);
    return this.#provenMs;
  }

  /** Takes out everyone who may be answered now. */
  release(applied: number): T[] {
    if (this.#confirmed.length === 0) return [];
    const released = this.#confirmed.filter((waiter) => waiter.needs <= applied);
    if (released.length > 0) this.#confirmed = this.#confirmed.filter((waiter) => waiter.needs > applied);
    return released;
  }

  /** Takes out everyone for whom `gone` says so (past the deadline, connection closed). */
  remove(gone: (waiter: T) => boolean): T[] {
    const removed: T[] = [];
    const keep = (waiters: T[]): T[] =>
      waiters.filter((waiter) => {
        if (!gone(waiter)) return true;
        removed.push(waiter);
        return false;
      });
    this.#next = keep(this.#next);
    this.#confirmed = keep(this.#confirmed);
    if (this.#round !== undefined) this.#round = { ...this.#round, waiters: keep(this.#round.waiters) };
    return removed;
  }

  #giveBack(): void {
    if (this.#round === undefined) return;
    this.#next = [...this.#round.waiters, ...this.#next];
    this.#round = undefined;
  }
}
