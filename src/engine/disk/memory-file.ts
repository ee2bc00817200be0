/**
 * FileState: one file of a MemoryDisk: its bytes now and, by sector, what a crash could bring back.
 *
 * Not a second, durable copy of the file, but the way back: before a sector is written, its old state is kept,
 * and a sync forgets what is kept. So a synced file costs its bytes once.
 *
 *   bytes    [ sector 0 ][ sector 1 ][ sector 2 ]     now
 *   history       -        s1 (newer)     -
 *                          s0 (durable)
 *
 * Invariants:
 *  - A sector without history holds its durable bytes.
 *  - The first state in a history is the durable one, and so is the first of the sizes.
 *  - Bytes from the size on are zeros.
 */
import { assert, must } from '../../core/base/assert.ts';

/** Sector size: the most that real disks write as one. */
export const SECTOR_BYTES = 512;

/** States kept for one sector between syncs; above it a middle one is forgotten, never the durable one. */
const SECTOR_STATES_MAX = 8;
/** Sizes kept for one file between syncs; likewise. */
const SIZES_MAX = 64;

const ZERO_SECTOR: Uint8Array = new Uint8Array(SECTOR_BYTES);

/** Picks one of `count` states, ordered from the newest (0) to the durable one (count - 1). */
export type Choose = (count: number) => number;

/** States of one sector since its last sync, oldest first; the state of now is in the file's bytes. */
interface SectorHistory {
  readonly states: Uint8Array[];
  /** A sync of it failed: later syncs pass over it until it is written again. */
  isStranded: boolean;
}

export class FileState {
  /** Grows by doubling, in whole sectors; zeros from `size` on. */
  #bytes: Uint8Array = new Uint8Array(0);
  #size = 0;
  /** Sectors written since their last sync. */
  #unsynced = new Map<number, SectorHistory>();
  /** Sizes since the last sync, the durable one first, the one of now left out. */
  #sizes: number[] = [];
  handles = 0;
  /** Live names: 1, or 0 when it was removed; more when it was linked. */
  names = 0;
  /** A link was made of it: two names of it are no accident. */
  isLinked = false;

  get size(): number {
    return this.#size;
  }

  /** Nobody can see it any more, so its space is free. */
  get isUnreachable(): boolean {
    return this.handles === 0 && this.names === 0;
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    const count = Math.max(0, Math.min(length, this.#size - position));
    if (count > 0) into.set(this.#bytes.subarray(position, position + count), offset);
    return count;
  }

  write(bytes: Uint8Array, position: number): void {
    if (bytes.length === 0) return;
    const end = position + bytes.length;
    this.#reserve(end);
    this.#remember(position, end);
    this.#bytes.set(bytes, position);
    if (end > this.#size) this.#resize(end);
  }

  truncate(bytes: number): void {
    if (bytes === this.#size) return;
    this.#reserve(bytes);
    if (bytes < this.#size) {
      this.#remember(bytes, this.#size);
      this.#bytes.fill(0, bytes, this.#size);
    }
    this.#resize(bytes);
  }

  sync(): void {
    for (const [sector, history] of this.#unsynced) {
      if (!history.isStranded) this.#unsynced.delete(sector);
    }
    this.#sizes = [];
  }

  /** A sync failed: the kernel now takes these pages for clean. */
  strand(): void {
    for (const history of this.#unsynced.values()) history.isStranded = true;
  }

  crash(choose: Choose): void {
    for (const [sector, history] of this.#unsynced) {
      const back = choose(history.states.length + 1);
      // Choice 0 stays as it is now; 1 is the newest earlier state.
      if (back > 0) this.#bytes.set(must(history.states.at(-back), 'the state is kept'), sector * SECTOR_BYTES);
    }
    this.#unsynced = new Map();
    this.#size = this.#crashSize(choose);
    this.#bytes.fill(0, this.#size);
    this.#sizes = [];
  }

  flipBit(byteOffset: number, bitMask: number): void {
    assert(Number.isSafeInteger(byteOffset) && byteOffset >= 0 && byteOffset < this.#size, 'the byte is in the file');
    const flip = (bytes: Uint8Array, at: number): void => {
      bytes[at] = (bytes[at] as number) ^ bitMask;
    };
    flip(this.#bytes, byteOffset);
    const states = this.#unsynced.get(Math.floor(byteOffset / SECTOR_BYTES))?.states ?? [];
    for (const [i, state] of states.entries()) {
      // A copy, as the state may be the shared zero sector.
      const rotten = state.slice();
      flip(rotten, byteOffset % SECTOR_BYTES);
      states[i] = rotten;
    }
  }

  clone(): FileState {
    const copy = new FileState();
    copy.#bytes = this.#bytes.slice();
    copy.#size = this.#size;
    copy.#sizes = [...this.#sizes];
    copy.handles = this.handles;
    copy.names = this.names;
    copy.isLinked = this.isLinked;
    for (const [sector, { states, isStranded }] of this.#unsynced) {
      // States are never changed in place, so both files may hold the same ones.
      copy.#unsynced.set(sector, { states: [...states], isStranded });
    }
    return copy;
  }

  checkInvariants(): void {
    assert(this.#size <= this.#bytes.length, 'the bytes reach to the size');
    assert(this.#bytes.length % SECTOR_BYTES === 0, 'the bytes are whole sectors');
    assert(!this.#bytes.subarray(this.#size).some((byte) => byte !== 0), 'bytes from the size on are zeros');
    assert(this.#sizes.length <= SIZES_MAX, 'the sizes kept are bounded');
    for (const { states } of this.#unsynced.values()) {
      assert(states.length >= 1, 'an unsynced sector knows its durable state');
      assert(states.length <= SECTOR_STATES_MAX, 'the states kept are bounded');
    }
  }

  /** Some size the file had, or a sector's edge inside the write that grew it. */
  #crashSize(choose: Choose): number {
    if (this.#sizes.length === 0) return this.#size;
    const back = choose(this.#sizes.length + 1);
    const chosen = back === 0 ? this.#size : must(this.#sizes.at(-back), 'the size is kept');
    const before = this.#sizes.at(-back - 1);
    if (before === undefined || chosen <= before) return chosen;
    const edges = Math.ceil(chosen / SECTOR_BYTES) - Math.floor(before / SECTOR_BYTES) - 1;
    // Only a random crash tears: 'all' picks 0, and 'none' never comes here.
    const torn = choose(edges + 1);
    return torn === 0 ? chosen : (Math.floor(before / SECTOR_BYTES) + torn) * SECTOR_BYTES;
  }

  #remember(from: number, to: number): void {
    const last = Math.ceil(to / SECTOR_BYTES);
    const firstBlank = Math.ceil(this.#size / SECTOR_BYTES);
    for (let sector = Math.floor(from / SECTOR_BYTES); sector < last; sector++) {
      const start = sector * SECTOR_BYTES;
      const state = sector >= firstBlank ? ZERO_SECTOR : this.#bytes.slice(start, start + SECTOR_BYTES);
      const history = this.#unsynced.get(sector);
      if (history === undefined) {
        this.#unsynced.set(sector, { states: [state], isStranded: false });
        continue;
      }
      history.states.push(state);
      history.isStranded = false;
      if (history.states.length > SECTOR_STATES_MAX) history.states.splice(1, 1);
    }
  }

  #resize(bytes: number): void {
    this.#sizes.push(this.#size);
    if (this.#sizes.length > SIZES_MAX) this.#sizes.splice(1, 1);
    this.#size = bytes;
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#bytes.length) return;
    const wanted = Math.max(bytes, this.#bytes.length * 2);
    const grown = new Uint8Array(Math.ceil(wanted / SECTOR_BYTES) * SECTOR_BYTES);
    grown.set(this.#bytes.subarray(0, this.#size));
    this.#bytes = grown;
  }
}
