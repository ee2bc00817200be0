/**
 * TreeWriter: the one writer of a tree's memtables.
 *
 * Writes go to the active memtable and become visible with `publish`, a whole batch at once. A memtable is frozen
 * between batches; a batch that is larger than a memtable goes on in the next one. The frozen one then counts only up
 * to the last whole batch: a replay of the log writes the rest again, over what is there.
 *
 * Invariants:
 *  - revisions never go back;
 *  - an arena is begun anew only when its generation is in tables and no reader can hold a version that names it.
 */
import { assert, must } from '../../../core/base/assert.ts';
import { Control } from '../shared/control.ts';
import { Pins } from '../shared/pins.ts';
import { KIND_PUT, KIND_TOMBSTONE, Skiplist } from '../skiplist.ts';
import { Generations } from './generations.ts';
import type { TreeMemory } from './memory.ts';

const NO_VALUE = new Uint8Array(0);

export class TreeWriter {
  readonly #control: Control;
  readonly #pins: Pins;
  readonly #lists: readonly Skiplist[];
  readonly #generations: Generations;
  readonly #memtableBytes: number;
  #active: Skiplist;
  /** What an empty memtable takes: its index. */
  #emptyBytes: number;
  #generation: number;
  /** The newest revision written, published or not. */
  #written: number;

  /** Begins with an empty memtable, behind what is flushed. */
  constructor(memory: TreeMemory, memtableBytes: number) {
    this.#control = new Control(memory.control);
    this.#pins = new Pins(memory.pins, this.#control);
    this.#lists = memory.arenas.map((arena) => new Skiplist(arena));
    this.#generations = new Generations(memory.generations);
    this.#memtableBytes = memtableBytes;
    this.#generation = this.#control.activeGeneration;
    assert(this.#generation > 0, 'the keeper opens the tree before it is written');
    this.#active = this.#listOf(this.#generation);
    this.#active.reset();
    this.#emptyBytes = this.#active.usedBytes;
    this.#written = this.#control.visible;
  }

  /** Tombstones in the active memtable: what could make room on a full disk. */
  removals = 0;

  get generation(): number {
    return this.#generation;
  }

  get written(): number {
    return this.#written;
  }

  /** What the batches of the active memtable take. */
  get usedBytes(): number {
    return this.#active.usedBytes - this.#emptyBytes;
  }

  /** The memtable holds what it is meant to: freeze it before the next batch. */
  get isFull(): boolean {
    return this.usedBytes >= this.#memtableBytes;
  }

  /** Room for `bytes` more (as `bytesFor` counts them). */
  hasRoom(bytes: number): boolean {
    return this.#active.freeBytes >= bytes;
  }

  /** Says whether the memtable had the key already (tables are not asked). */
  put(key: Uint8Array, value: Uint8Array, revision: number, expiryMs: number): boolean {
    assert(revision >= this.#written, 'revisions never go back');
    this.#written = revision;
    return this.#active.insert(key, revision, KIND_PUT, value, expiryMs);
  }

  remove(key: Uint8Array, revision: number): void {
    assert(revision >= this.#written, 'revisions never go back');
    this.#written = revision;
    this.#active.insert(key, revision, KIND_TOMBSTONE, NO_VALUE, 0);
    this.removals++;
  }

  /** Everything up to `revision` is written, whole: readers may see it. */
  publish(revision: number): void {
    assert(revision >= this.#written, 'what is published is written');
    this.#written = revision;
    this.#control.visible = revision;
  }

  /** True when there is an arena for the next generation. */
  get canFreeze(): boolean {
    const oldest = this.#generation + 1 - this.#generations.count;
    // Generations are counted from 1; before that every arena is unused.
    if (oldest < 1) return true;
    const goneIn = this.#generations.goneIn(oldest);
    // A version that is not published yet is in no slot, and its predecessor may be in one any moment.
    if (goneIn === 0 || this.#control.currentVersion < goneIn) return false;
    const held = this.#pins.oldest();
    return held === undefined || held >= goneIn;
  }

  /** Freezes the memtable and begins the next. Returns the generation that is now to be flushed. */
  freeze(): number {
    assert(this.canFreeze, 'there is an arena for the next memtable');
    const frozen = this.#generation;
    const next = frozen + 1;
    this.#generations.setLastRevision(frozen, this.#control.visible);
    this.#generations.setGoneIn(next, 0);
    const list = this.#listOf(next);
    list.reset();
    this.#active = list;
    this.removals = 0;
    this.#generation = next;
    this.#control.activeGeneration = next;
    return frozen;
  }

  #listOf(generation: number): Skiplist {
    return must(this.#lists[generation % this.#lists.length], 'a generation has an arena');
  }
}

export { bytesFor } from '../skiplist.ts';
