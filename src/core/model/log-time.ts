/**
 * LogTime: what time the log says it is, and how much time has passed. Those are two questions.
 *
 * The first, `nowMs`, is for people and for ages (of a replica, of the ledger): the greatest stamp so far. It jumps
 * when a leader comes whose clock is ahead.
 *
 * The second, `ageMs`, is what keys and sessions expire by, and must never run faster than real time: a lease that
 * ends early has two holders. So it counts only between two stamps of one leader, which stamps by its monotonic clock
 * (actors/leader-clock.ts). What passed between two leaders is not counted, whatever their clocks say: a new leader an
 * hour ahead expires nothing, and one that is an hour behind delays nothing. A leader that corrects its own clock says
 * so, and that step is not counted either.
 *
 * Invariant: the age grows by no more than one leader's monotonic clock has measured.
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts';

/** No stamp of this leader yet. */
const NONE = -1;

export class LogTime {
  #nowMs = 0;
  #ageMs = 0;
  #stampMs = NONE;

  /** The greatest stamp applied, in whole ms. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Time that certainly passed since the first stamp ever. */
  get ageMs(): number {
    return this.#ageMs;
  }

  /** The next stamp is another clock's, or that of one that was set: what lies before it and this one is unknown. */
  beginClock(): void {
    this.#stampMs = NONE;
  }

  /** An entry that was stamped so. One that is no time, or goes back, counts for nothing. */
  advance(stampMs: number): void {
    if (!Number.isFinite(stampMs) || stampMs < 0) return;
    this.#nowMs = Math.max(this.#nowMs, Math.floor(stampMs));
    if (stampMs <= this.#stampMs) return;
    // Stamps of this size are multiples of a power of two, so sums of their differences are exact.
    if (this.#stampMs !== NONE) this.#ageMs += stampMs - this.#stampMs;
    this.#stampMs = stampMs;
  }

  /** When something is due, as the leader in charge will stamp it; Infinity before its first stamp. */
  stampAt(dueMs: number): number {
    return this.#stampMs === NONE ? Number.POSITIVE_INFINITY : this.#stampMs + (dueMs - this.#ageMs);
  }

  /** now f64 | age f64 | stamp f64 (-1: none) */
  save(writer: ByteWriter): void {
    writer.f64(this.#nowMs).f64(this.#ageMs).f64(this.#stampMs);
  }

  restore(reader: ByteReader): void {
    this.#nowMs = reader.f64();
    this.#ageMs = reader.f64();
    this.#stampMs = reader.f64();
  }
}
