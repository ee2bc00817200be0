/**
 * Published: the version that readers use, and the tables that have left it but may still be read.
 *
 * A table is taken away when no reader can hold a version that names it: the version that first did without it is
 * current, and no slot holds an older one.
 *
 * Invariants: version numbers rise by one; generations leave in their order; the word `goneIn` of a generation is
 * written before the version that does without it is published.
 */
import { assert } from '../../../core/base/assert.ts';
import type { Control } from '../shared/control.ts';
import { Pins } from '../shared/pins.ts';
import { VersionBoard } from '../shared/version-board.ts';
import { encodeVersion } from '../shared/version-codec.ts';
import { Generations } from './generations.ts';
import type { TreeMemory } from './memory.ts';
import type { Version, VersionEdit } from './version.ts';

interface Leaving {
  readonly table: number;
  readonly goneIn: number;
}

export class Published {
  readonly #control: Control;
  readonly #pins: Pins;
  readonly #board: VersionBoard;
  readonly generations: Generations;
  version: Version;
  /** Memtables up to this generation are in the version's tables. */
  flushedGeneration = 0;
  #number = 0;
  #leaving: Leaving[] = [];

  constructor(memory: TreeMemory, control: Control, version: Version) {
    this.#control = control;
    this.#pins = new Pins(memory.pins, control);
    this.#board = new VersionBoard(memory.versions);
    this.generations = new Generations(memory.generations);
    this.version = version;
  }

  /** Tables that are in no version, and not removed yet. */
  get leaving(): number {
    return this.#leaving.length;
  }

  /** Lets everybody read by `version`, which is the current one after `edit`. */
  replace(version: Version, edit: VersionEdit, flushedGeneration: number = this.flushedGeneration): void {
    const goneIn = this.#number + 1;
    if (flushedGeneration !== this.flushedGeneration) {
      assert(flushedGeneration === this.flushedGeneration + 1, 'generations are flushed in order');
      this.flushedGeneration = flushedGeneration;
      this.generations.setGoneIn(flushedGeneration, goneIn);
    }
    const stays = new Set(edit.added.map(({ table }) => table.number));
    for (const { number } of edit.removed) if (!stays.has(number)) this.#leaving.push({ table: number, goneIn });
    this.version = version;
    this.publish();
  }

  publish(): void {
    const number = ++this.#number;
    const { flushedGeneration } = this;
    const { floor } = this.#control;
    this.#board.publish(number, encodeVersion({ number, flushedGeneration, floor, levels: this.version.levels }));
    this.#control.currentVersion = number;
  }

  /** Calls `remove` for each table that nobody can read any more; false: some are still held. */
  removeLeaving(remove: (table: number) => void): boolean {
    if (this.#leaving.length === 0) return true;
    const oldest = this.#pins.oldest() ?? Number.POSITIVE_INFINITY;
    this.#leaving = this.#leaving.filter(({ table, goneIn }) => {
      if (oldest < goneIn) return true;
      remove(table);
      return false;
    });
    return this.#leaving.length === 0;
  }
}
