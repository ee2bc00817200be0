/**
 * Pins: which versions are being read, so that the owner knows what it may take away (hazard pointers).
 *
 *   line per slot     0 the oldest version this reader uses, 0 = none · 4 its owner, 0 = free
 *
 *   reader                                   owner
 *   v = current                              current = v + 1
 *   slot = v                                 look at all slots
 *   is v still current? else again           free what only versions before the oldest pinned name
 *
 * All four are sequentially consistent atomics. Either the owner's look finds `v` in the slot, or the reader's second
 * look finds that `v` is no longer current; so no version is freed that a reader went on with. (A count of readers
 * per version was the usual way: two atomic additions on a line that all readers fight for, and a version that is
 * freed between finding and counting it.)
 *
 * A slot holds one word, the oldest of all that its thread uses. Whatever is newer is kept with it, so a thread with
 * an open iterator reads on without writing to its slot.
 *
 * A slot says whose it is, because a thread may vanish at any instruction: what pins the versions of a dead one is let
 * go by whoever saw it end (`releaseOf`), or its tables and memtables would be kept for ever.
 *
 * Invariants: the published word is the oldest of the reads and holds of its slot; it never names a version that may
 * already be gone.
 */
import { assert } from '../../../core/base/assert.ts';
import { StoreError } from '../../../core/base/errors.ts';
import type { Control } from './control.ts';

/** Threads that may read a tree at once, each with one slot. */
export const READER_SLOTS = 64;

/** A slot has a cache line of its own, in words. */
const SLOT_WORDS = 16;
const OWNER = 1;

/** Who reads, as a number from 1: of no meaning where threads do not come back. */
export const OWNER_DEFAULT = 1;

export function createPins(): SharedArrayBuffer {
  return new SharedArrayBuffer(READER_SLOTS * SLOT_WORDS * 4);
}

/** Keeps a version for longer than a read, as an open iterator does. */
export interface Hold {
  readonly version: number;
  /** May be called twice, and after its slot is closed. */
  release(): void;
}

export class Pins {
  readonly #words: Int32Array;
  readonly #control: Control;

  constructor(memory: SharedArrayBuffer, control: Control) {
    this.#words = new Int32Array(memory);
    assert(this.#words.length === READER_SLOTS * SLOT_WORDS, 'pins have a line for each reader');
    this.#control = control;
  }

  /** A slot of this thread's own, until it is closed. */
  claim(owner: number = OWNER_DEFAULT): ReaderSlot {
    assert(Number.isInteger(owner) && owner > 0, 'an owner is a number from 1');
    for (let slot = 0; slot < READER_SLOTS; slot++) {
      const at = slot * SLOT_WORDS;
      if (Atomics.compareExchange(this.#words, at + OWNER, 0, owner) === 0) {
        return new ReaderSlot(this.#words, at, this.#control);
      }
    }
    throw new StoreError('OVERLOADED', `all ${READER_SLOTS} reader slots are taken`, {
      data: { limit: READER_SLOTS },
    });
  }

  /** Gives the slots of `owner` back: its thread has ended, and took no leave. */
  releaseOf(owner: number): void {
    for (let at = 0; at < READER_SLOTS * SLOT_WORDS; at += SLOT_WORDS) {
      if (Atomics.load(this.#words, at + OWNER) !== owner) continue;
      Atomics.store(this.#words, at, 0);
      Atomics.store(this.#words, at + OWNER, 0);
    }
  }

  /**
   * The oldest version any slot holds; undefined when none holds one (owner only, after the current version is
   * published). What versions before it, and before the current one, alone name can be taken away.
   */
  oldest(): number | undefined {
    let oldest = 0;
    for (let at = 0; at < READER_SLOTS * SLOT_WORDS; at += SLOT_WORDS) {
      const version = Atomics.load(this.#words, at);
      if (version !== 0 && (oldest === 0 || version < oldest)) oldest = version;
    }
    return oldest === 0 ? undefined : oldest;
  }
}

export class ReaderSlot {
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #control: Control;
  /** What the slot says; only this object writes it. */
  #published = 0;
  /** Reads that are under way (they nest), and the version of the outermost. */
  #depth = 0;
  #entered = 0;
  /** Holds by version, and the oldest of them; 0: none. */
  readonly #holds = new Map<number, number>();
  #oldestHeld = 0;
  #isClosed = false;

  constructor(words: Int32Array, at: number, control: Control) {
    this.#words = words;
    this.#at = at;
    this.#control = control;
    assert(Atomics.load(words, at) === 0, 'a slot that is claimed pins nothing');
  }

  /** Begins a read: the current version, which stays whole until `leave`. */
  enter(): number {
    assert(!this.#isClosed, 'a slot that is read through is open');
    let version = this.#control.currentVersion;
    if (this.#published === 0) {
      assert(version > 0, 'a version is published before the first read');
      for (;;) {
        Atomics.store(this.#words, this.#at, version);
        const now = this.#control.currentVersion;
        if (now === version) break;
        version = now;
      }
      this.#published = version;
    }
    if (this.#depth === 0) this.#entered = version;
    this.#depth++;
    return version;
  }

  leave(): void {
    assert(this.#depth > 0, 'a read that ends has begun');
    this.#depth--;
    if (this.#depth > 0) return;
    this.#entered = 0;
    if (this.#published !== this.#oldestHeld) this.#publish(this.#oldestHeld);
  }

  /** Keeps `version` after `leave`. It is one that a read under way, or a hold not newer than it, pins already. */
  hold(version: number): Hold {
    assert(this.#published > 0, 'a version is held from within a read or a hold');
    assert(version >= this.#published, 'a version that is held is not older than what is pinned');
    assert(version <= this.#control.currentVersion, 'a version that is held has been published');
    this.#holds.set(version, (this.#holds.get(version) ?? 0) + 1);
    if (this.#oldestHeld === 0 || version < this.#oldestHeld) this.#oldestHeld = version;
    let isHeld = true;
    return {
      version,
      release: () => {
        if (isHeld && !this.#isClosed) this.#release(version);
        isHeld = false;
      },
    };
  }

  /** Gives the slot back, holds included. May be called twice; not within a read. */
  close(): void {
    if (this.#isClosed) return;
    assert(this.#depth === 0, 'a slot is closed between reads');
    this.#isClosed = true;
    this.#holds.clear();
    this.#publish(0);
    Atomics.store(this.#words, this.#at + OWNER, 0);
  }

  #release(version: number): void {
    const count = this.#holds.get(version) ?? 0;
    assert(count > 0, 'what is released was held');
    if (count > 1) {
      this.#holds.set(version, count - 1);
      return;
    }
    this.#holds.delete(version);
    if (version !== this.#oldestHeld) return;
    this.#oldestHeld = 0;
    for (const held of this.#holds.keys()) {
      if (this.#oldestHeld === 0 || held < this.#oldestHeld) this.#oldestHeld = held;
    }
    const isReadOldest = this.#entered !== 0 && (this.#oldestHeld === 0 || this.#entered < this.#oldestHeld);
    this.#publish(isReadOldest ? this.#entered : this.#oldestHeld);
  }

  #publish(version: number): void {
    assert(version === 0 || version >= this.#published, 'a pin only ever moves on');
    Atomics.store(this.#words, this.#at, version);
    this.#published = version;
  }
}
