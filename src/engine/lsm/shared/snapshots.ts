/**
 * Snapshots: revisions that must stay readable, and the floor below which everything else may go.
 *
 *   slots     of 64 bits: revision + 1 (54 bits) and above it whose it is (9 bits), or 0 = free
 *
 *   reader                                   owner
 *   slot = revision                          floor = candidate
 *   floor above the revision? too late       look at all slots, keep what they name below the floor
 *
 * All four are sequentially consistent atomics: either the owner's look finds the slot, or the reader finds the
 * floor. A snapshot of "now" that came too late moves on to what is visible then, which is never below the floor.
 *
 * Both are one word, so that a thread that vanishes leaves a whole slot or none, and what it held can be let go for it.
 *
 * Invariant: a snapshot that was handed out is at or above the floor, or in each list the owner got since it rose
 * above it.
 */
import { assert } from '../../../core/base/assert.ts';
import { StoreError } from '../../../core/base/errors.ts';
import type { Control } from './control.ts';
import { OWNER_DEFAULT } from './pins.ts';

const REVISION_BITS = 54;
const OWNER_MAX = 511;

/** Snapshots that may be open at once, over all threads. */
export const SNAPSHOT_SLOTS = 1024;

export function createSnapshots(): SharedArrayBuffer {
  return new SharedArrayBuffer(SNAPSHOT_SLOTS * 8);
}

export interface Snapshot {
  readonly revision: number;
  /** May be called twice. */
  release(): void;
}

export class Snapshots {
  readonly #slots: BigInt64Array;
  readonly #control: Control;
  readonly #owner: number;

  constructor(memory: SharedArrayBuffer, control: Control, owner: number = OWNER_DEFAULT) {
    assert(owner > 0 && owner <= OWNER_MAX, 'an owner has nine bits');
    this.#owner = owner;
    this.#slots = new BigInt64Array(memory);
    assert(this.#slots.length === SNAPSHOT_SLOTS, 'snapshots have their slots');
    this.#control = control;
  }

  /** A snapshot of the newest visible revision. */
  take(): Snapshot {
    const control = this.#control;
    let revision = control.visible;
    const slot = this.#claim(revision);
    while (control.floor > revision) {
      revision = control.visible;
      Atomics.store(this.#slots, slot, slotOf(revision, this.#owner));
    }
    return this.#snapshot(slot, revision);
  }

  /** A snapshot of a revision: COMPACTED when the floor is above it. */
  takeAt(revision: number): Snapshot {
    const control = this.#control;
    if (!Number.isSafeInteger(revision) || revision < 0 || revision > control.visible) {
      throw new StoreError('BAD_REQUEST', `a snapshot is of a visible revision, not of ${revision}`, {
        data: { visible: control.visible },
      });
    }
    const slot = this.#claim(revision);
    const { floor } = control;
    if (floor <= revision) return this.#snapshot(slot, revision);
    Atomics.store(this.#slots, slot, 0n);
    throw new StoreError('COMPACTED', `revision ${revision} is older than ${floor}, the oldest that can be read`, {
      data: { oldestRevision: floor },
    });
  }

  /**
   * Raises the floor (owner only; one that is higher already stays), and returns the revisions below it that
   * snapshots hold, in order. Whatever is superseded below the floor and is none of these may be dropped.
   */
  raiseFloor(candidate: number): number[] {
    const control = this.#control;
    if (candidate > control.floor) control.floor = candidate;
    const { floor } = control;
    const held = new Set<number>();
    for (let slot = 0; slot < SNAPSHOT_SLOTS; slot++) {
      const word = Atomics.load(this.#slots, slot);
      if (word !== 0n && revisionOf(word) < floor) held.add(revisionOf(word));
    }
    return [...held].sort((a, b) => a - b);
  }

  /** Lets go of what `owner` held: its thread has ended, and took no leave. */
  releaseOf(owner: number): void {
    for (let slot = 0; slot < SNAPSHOT_SLOTS; slot++) {
      const word = Atomics.load(this.#slots, slot);
      if (word !== 0n && ownerOf(word) === owner) Atomics.store(this.#slots, slot, 0n);
    }
  }

  /** Whether any snapshot is held, of whatever revision. */
  isAnyHeld(): boolean {
    for (let slot = 0; slot < SNAPSHOT_SLOTS; slot++) if (Atomics.load(this.#slots, slot) !== 0n) return true;
    return false;
  }

  #claim(revision: number): number {
    const word = slotOf(revision, this.#owner);
    for (let slot = 0; slot < SNAPSHOT_SLOTS; slot++) {
      if (Atomics.compareExchange(this.#slots, slot, 0n, word) === 0n) return slot;
    }
    throw new StoreError('OVERLOADED', `all ${SNAPSHOT_SLOTS} snapshots are taken`, {
      data: { limit: SNAPSHOT_SLOTS },
    });
  }

  #snapshot(slot: number, revision: number): Snapshot {
    let isHeld = true;
    return {
      revision,
      release: () => {
        if (!isHeld) return;
        isHeld = false;
        const word = Atomics.exchange(this.#slots, slot, 0n);
        assert(word === slotOf(revision, this.#owner), 'a slot holds its snapshot until it is released');
      },
    };
  }
}

const slotOf = (revision: number, owner: number): bigint =>
  (BigInt(owner) << BigInt(REVISION_BITS)) | (BigInt(revision) + 1n);
const revisionOf = (word: bigint): number => Number(BigInt.asUintN(REVISION_BITS, word)) - 1;
const ownerOf = (word: bigint): number => Number(word >> BigInt(REVISION_BITS));
