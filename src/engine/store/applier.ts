/**
 * Applier: batches of the log into the memtable, one operation after the other; it waits where there is no room.
 *
 * Nothing of a batch is visible before it is published, so a batch may go on in the next memtable.
 */
import { setImmediate } from 'node:timers/promises';
import type { Keeper } from '../lsm/tree/keeper.ts';
import type { TreeReader } from '../lsm/tree/reader.ts';
import { bytesFor, type TreeWriter } from '../lsm/tree/writer.ts';
import { BatchReader, OP } from './batch.ts';
import type { Stall } from './stall.ts';

export interface ApplierWorld {
  readonly keeper: Keeper;
  readonly reader: TreeReader;
  readonly writer: TreeWriter;
  readonly stall: Stall;
  /** Throws why nothing may be applied any more. */
  readonly check: () => void;
}

/** Readers let go of old versions without a word. */
const LOOK_MS = 20;
/** Keys that a range delete removes before others have their turn: some ten milliseconds of work. */
const REMOVED_PER_TURN = 4_096;

export class Applier {
  readonly #world: ApplierWorld;
  #wake: (() => void) | undefined;

  constructor(world: ApplierWorld) {
    this.#world = world;
  }

  /** Puts a batch into the memtable. A promise is given only when there is something to wait for. */
  apply(index: number, bytes: Uint8Array): Promise<void> | undefined {
    const { writer, stall } = this.#world;
    if (writer.isFull || stall.owes(bytes.length)) return this.#applyLater(index, bytes);
    const ops = new BatchReader(bytes);
    while (ops.next()) {
      if (ops.kind === OP.deleteRange || !writer.hasRoom(bytesFor(ops.key.length, ops.value.length))) {
        return this.#applyRest(ops, index);
      }
      this.#applyOne(ops, index);
    }
    return undefined;
  }

  async #applyLater(index: number, bytes: Uint8Array): Promise<void> {
    const { writer, stall } = this.#world;
    if (writer.isFull) await this.nextMemtable();
    else await stall.slowDown();
    const ops = new BatchReader(bytes);
    if (ops.next()) await this.#applyRest(ops, index);
  }

  /** From the operation in hand on. */
  async #applyRest(ops: BatchReader, index: number): Promise<void> {
    do {
      if (ops.kind === OP.deleteRange) await this.#removeRange(ops.key, ops.value, index);
      else {
        if (!this.#world.writer.hasRoom(bytesFor(ops.key.length, ops.value.length))) await this.nextMemtable();
        this.#applyOne(ops, index);
      }
    } while (ops.next());
  }

  #applyOne(ops: BatchReader, index: number): void {
    const { writer } = this.#world;
    if (ops.kind === OP.delete) writer.remove(ops.key, index);
    else writer.put(ops.key, ops.value, index, ops.expiryMs);
  }

  /** A tombstone for each key that is there, also those that this batch has put. */
  async #removeRange(from: Uint8Array, to: Uint8Array, index: number): Promise<void> {
    const { reader, writer } = this.#world;
    const cursor = reader.cursorNewest({ from: from.slice(), to: to.length === 0 ? undefined : to.slice() });
    try {
      let removed = 0;
      for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
        if (++removed % REMOVED_PER_TURN === 0) {
          cursor.suspend();
          await setImmediate();
        }
        if (!writer.hasRoom(bytesFor(entry.key.length, 0))) {
          cursor.suspend();
          await this.nextMemtable();
        }
        writer.remove(entry.key, index);
      }
    } finally {
      cursor.close();
    }
  }

  /** Freezes the memtable; waits until there is another. */
  async nextMemtable(): Promise<void> {
    const { keeper, writer, stall, check } = this.#world;
    // A flush that was asked for and a batch may both have waited; one is first.
    do {
      await stall.stopped(() => this.#keeperChange(), check);
    } while (!writer.canFreeze);
    writer.freeze();
    keeper.poke();
  }

  /** The keeper has done something, or something has failed: who waits looks again. */
  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  #keeperChange(): Promise<void> {
    this.#world.keeper.poke();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, LOOK_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
