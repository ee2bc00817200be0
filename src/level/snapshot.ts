/**
 * An explicit snapshot: what was visible when it was taken, readable until it is closed.
 */
import { AbstractSnapshot } from 'abstract-level';
import type { TreeSnapshot } from '../engine/store/index.ts';

/** As abstract-level hands it over; the owner is the database or sublevel that closes it. */
export interface SnapshotOptions {
  readonly owner: unknown;
}

/** abstract-level's types leave its constructor's parameter out. */
const Base: new (options: SnapshotOptions) => AbstractSnapshot = AbstractSnapshot;

export class LevelSnapshot extends Base {
  readonly tree: TreeSnapshot;

  constructor(options: SnapshotOptions, tree: TreeSnapshot) {
    super(options);
    this.tree = tree;
  }

  async _close(): Promise<void> {
    this.tree.release();
  }
}

/** What the engine knows it by. A snapshot of some other database says nothing about this one. */
export function treeSnapshotOf(snapshot: unknown): TreeSnapshot | undefined {
  if (snapshot === undefined || snapshot === null) return undefined;
  if (snapshot instanceof LevelSnapshot) return snapshot.tree;
  throw new TypeError("The 'snapshot' option must be a snapshot of a CtlmeshLevel");
}
