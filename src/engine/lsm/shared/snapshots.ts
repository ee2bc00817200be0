/**
 * Snapshots: revisions that must stay readable, and the floor below which everything else may go.
 *
 *   slots     of 64 bits: revision + 1, or 0 = free
 *
 *   reader                                   owner
 *   slot = revision                          floor = candidate
 *   floor above the revision? too late       look at all slots, keep what they name below the floor
 *
 * All four are sequentially consistent atomics: either the owner's look finds the slot, or the reader finds the
 * floor. A snapshot of "now" that came too late moves on to what is visible then, which is never below the floor.
 *
 * Invariant: a snapshot that was handed out is at or above the floor, or in each list the owner got since it rose
 * above it.
 */
import { assert } from '../../../core/base/assert.ts';
import { StoreError } from '../../../core/base/errors.ts';
import type { Control } from './control.ts';

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

  constructor(memory: SharedArrayBuffer, control: Control) {
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
      Atomics.store(this.#slots, slot, slotOf(revision));
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
      const word = Number(Atomics.load(this.#slots, slot));
      if (word !== 0 && word - 1 < floor) held.add(word - 1);
    }
    return [...held].sort((a, b) => a - b);
  }

  /** Whether any snapshot is held, of whatever revision. */
  isAnyHeld(): boolean {
    for (let slot = 0; slot < SNAPSHOT_SLOTS; slot++) if (Atomics.load(this.#slots, slot) !== 0n) return true;
    return false;
  }

  #claim(revision: number): number {
    const word = slotOf(revision);
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
        assert(word === slotOf(revision), 'a slot holds its snapshot until it is released');
      },
    };
  }
}

const slotOf = (revision: number): bigint => BigInt(revision) + 1n;
