/**
 * Horizon: what somebody may still want to read, for jobs that leave out the rest.
 */
import type { Control } from '../shared/control.ts';
import { Snapshots } from '../shared/snapshots.ts';
import type { KeeperWorld } from './keeper-world.ts';
import type { TreeMemory } from './memory.ts';
import type { RetentionRules } from './retention.ts';

export class Horizon {
  readonly #control: Control;
  readonly #snapshots: Snapshots;
  readonly #world: KeeperWorld;

  constructor(memory: TreeMemory, control: Control, world: KeeperWorld) {
    this.#control = control;
    this.#snapshots = new Snapshots(memory.snapshots, control);
    this.#world = world;
  }

  /** Everything up to `flushedRevision` is in tables, and what was superseded before may be gone from them. */
  begin(flushedRevision: number): void {
    this.#snapshots.raiseFloor(flushedRevision);
  }

  /**
   * The rules of a job. `flushedRevision`: what is flushed once it is done. Above it a table may hold the first part
   * of a batch; what that part supersedes is still what there is, until the rest is flushed as well.
   */
  rules(flushedRevision: number): RetentionRules {
    const { trims = () => [] } = this.#world;
    // The floor first: a snapshot taken from now on sees it, and one taken before is in the list.
    const snapshots = this.#raiseFloor();
    return {
      floor: Math.min(this.#control.floor, flushedRevision),
      snapshots,
      expiredBeforeMs: this.expiredBeforeMs(),
      trims: trims(),
    };
  }

  /** Up to here nothing superseded is wanted by anybody: a purge finds what it is meant to drop. */
  settledRevision(flushedRevision: number): number {
    const oldestSnapshot = this.#raiseFloor()[0] ?? Number.POSITIVE_INFINITY;
    return Math.min(this.#control.floor, flushedRevision, oldestSnapshot);
  }

  /** Whoever holds a snapshot may live in the time when he took it; who comes later lives in a later one. */
  expiredBeforeMs(): number {
    if (this.#snapshots.isAnyHeld()) return 0;
    return this.#world.expiredBeforeMs?.() ?? 0;
  }

  /** Revisions below the floor that snapshots hold, rising. */
  #raiseFloor(): number[] {
    return this.#snapshots.raiseFloor(Math.min(this.#world.floor(), this.#control.visible));
  }
}
