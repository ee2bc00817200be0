/**
 * Room: what a tree knows of a full disk. Puts are refused while it is full; jobs go on, with the room of the reserve,
 * because they are what frees more.
 *
 * Two waits, and neither stands for the other:
 *  - a job that found no room is tried again a little later, so that it does not fail in a hot loop;
 *  - the reserve stays given up for a while when the log needed it (or when there was no room to make it again). Jobs
 *    do not wait for that: a log that has just got its room, in front of memtables that nobody flushes, stands still.
 */
import { Reserve } from './reserve.ts';
import type { KeeperWorld } from './keeper-world.ts';

const RETRY_MS = 500;

export class Room {
  readonly #world: KeeperWorld;
  readonly #poke: () => void;
  readonly #reserve: Reserve;
  #isFull = false;
  #retry: { cancel(): void } | undefined;
  #away: { cancel(): void } | undefined;
  #isClosed = false;

  /** `poke`: a wait is over. */
  constructor(world: KeeperWorld, poke: () => void) {
    this.#world = world;
    this.#poke = poke;
    this.#reserve = new Reserve(world.disk, world.dir, world.reserveBytes ?? 0);
  }

  /** Puts are refused until there is room. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** A job found no room a moment ago: none is begun yet. */
  get keepsJobsWaiting(): boolean {
    return this.#retry !== undefined;
  }

  /** At a start, and when a job has freed something. Throws what the disk says, unless it is that it is full. */
  makeReserve(): void {
    if (this.#away === undefined) this.#isFull = !this.#reserve.make();
  }

  /** Nothing is left to do that could free room; it may have come from elsewhere. True when there is some again. */
  isBack(): boolean {
    if (!this.#isFull || this.#retry !== undefined || this.#away !== undefined) return false;
    this.makeReserve();
    if (this.#isFull) this.#stayAway(RETRY_MS);
    return !this.#isFull;
  }

  /** With the room that was kept for it, the next try of the job may do. */
  jobFailed(error: Error): void {
    const retryMs = this.#give(error) ? 0 : RETRY_MS;
    if (this.#isClosed) return;
    this.#retry ??= this.#world.later(retryMs, () => {
      this.#retry = undefined;
      this.#poke();
    });
  }

  /** The log found no room. True when the reserve has given it some, which is left to it for `awayMs`. */
  logFailed(error: Error, awayMs: number = RETRY_MS): boolean {
    const hasRoom = this.#give(error);
    this.#stayAway(hasRoom ? awayMs : RETRY_MS);
    return hasRoom;
  }

  close(): void {
    this.#isClosed = true;
    this.#retry?.cancel();
    this.#away?.cancel();
  }

  #give(error: Error): boolean {
    if (!this.#isFull) this.#world.log?.('warn', 'disk.full', { message: error.message });
    this.#isFull = true;
    return this.#reserve.giveUp();
  }

  #stayAway(ms: number): void {
    if (this.#isClosed) return;
    this.#away ??= this.#world.later(ms, () => {
      this.#away = undefined;
      this.#poke();
    });
  }
}
