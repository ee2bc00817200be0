/**
 * Table sizes: what each table of control data holds, in memory that the memtable writes and the gateway's thread reads.
 * It is the very count by which limits are judged (core/model/control/catalog.ts), told when it changes, so that who asks
 * costs the memtable nothing.
 *
 *   slot = [table's id (0: free), rows, bytes]      of 8192 slots, as many as there may be tables
 *
 * Ids are never given again. So who reads the id before and after the counts knows whose they are; rows and bytes may be of
 * two moments, each of them right for its own.
 */
import { assert, must } from '../core/base/assert.ts';
import { TABLES_MAX, type TableSize } from '../core/model/control/catalog.ts';

const SLOT_WORDS = 3;

export const createTableSizes = (): SharedArrayBuffer =>
  new SharedArrayBuffer(TABLES_MAX * SLOT_WORDS * BigInt64Array.BYTES_PER_ELEMENT);

export class TableSizesWriter {
  readonly #words: BigInt64Array;
  readonly #slots = new Map<number, number>();
  /** Below `#used`. */
  readonly #free: number[] = [];
  #used = 0;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new BigInt64Array(buffer);
  }

  /** `size` undefined: the table is gone. */
  note(id: number, size: TableSize | undefined): void {
    if (size === undefined) this.#remove(id);
    else this.#set(id, size);
  }

  #set(id: number, { rows, bytes }: TableSize): void {
    const known = this.#slots.get(id);
    const slot = known ?? this.#free.pop() ?? this.#used++;
    assert(slot < TABLES_MAX, 'there are no more tables than slots');
    const at = slot * SLOT_WORDS;
    Atomics.store(this.#words, at + 1, BigInt(rows));
    Atomics.store(this.#words, at + 2, BigInt(bytes));
    if (known !== undefined) return;
    this.#slots.set(id, slot);
    Atomics.store(this.#words, at, BigInt(id));
  }

  #remove(id: number): void {
    const slot = must(this.#slots.get(id), 'a table that goes was there');
    this.#slots.delete(id);
    Atomics.store(this.#words, slot * SLOT_WORDS, 0n);
    this.#free.push(slot);
  }
}

export interface SizeOfTable extends TableSize {
  readonly id: number;
}

export class TableSizesReader {
  readonly #words: BigInt64Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new BigInt64Array(buffer);
  }

  /** Of all tables that are there, in no order. */
  list(): SizeOfTable[] {
    const words = this.#words;
    const sizes: SizeOfTable[] = [];
    for (let at = 0; at < words.length; at += SLOT_WORDS) {
      const id = Atomics.load(words, at);
      if (id === 0n) continue;
      const rows = Number(Atomics.load(words, at + 1));
      const bytes = Number(Atomics.load(words, at + 2));
      // Another table has the slot now, or none: this one was dropped while it was read.
      if (Atomics.load(words, at) === id) sizes.push({ id: Number(id), rows, bytes });
    }
    return sizes;
  }
}
