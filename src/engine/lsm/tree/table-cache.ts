/**
 * TableCache: the tables that one thread has open, with their index and filter blocks.
 *
 * Bounded in files and in bytes; the one not used for longest goes first. A table that a cursor still reads is
 * forgotten at once and closed when the last cursor of this thread has let go: descriptors are never closed under a
 * reader.
 */
import type { Disk } from '../../../core/base/env.ts';
import { tableName } from '../manifest/file-names.ts';
import { type BlockCacheLike, Table } from '../sstable/table.ts';
import type { TableRef } from './version.ts';

interface Open {
  readonly table: Table;
  usedAt: number;
}

export interface TableCacheOptions {
  readonly disk: Disk;
  readonly dir: string;
  readonly blocks: BlockCacheLike;
  readonly openTablesMax: number;
  readonly bytesMax: number;
}

/** Looked at once per so many tables opened: index and filter are loaded after a table is. */
const TRIM_EVERY = 8;

export class TableCache {
  readonly #options: TableCacheOptions;
  readonly #open = new Map<number, Open>();
  #uses = 0;
  #opened = 0;
  #readers = 0;
  #leaving: Table[] = [];

  constructor(options: TableCacheOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  /** The table of `ref`; valid until the end of the call, or while the caller is a reader. */
  get(ref: TableRef): Table {
    const open = this.#open.get(ref.number);
    if (open !== undefined) {
      open.usedAt = ++this.#uses;
      return open.table;
    }
    const { disk, dir, blocks, openTablesMax } = this.#options;
    if (this.#open.size >= openTablesMax) this.#dropOldest();
    if (++this.#opened % TRIM_EVERY === 0) this.#trim();
    const path = `${dir}/${tableName(ref.number)}`;
    const file = disk.open(path, 'read');
    const table = Table.open(file, { number: ref.number, fileBytes: ref.fileBytes, path }, blocks);
    this.#open.set(ref.number, { table, usedAt: ++this.#uses });
    return table;
  }

  /** A cursor begins to use tables: none is closed until it has ended. */
  beginReading(): void {
    this.#readers++;
  }

  endReading(): void {
    this.#readers--;
    if (this.#readers > 0) return;
    for (const table of this.#leaving) table.close();
    this.#leaving = [];
  }

  /** Lets go of tables that no version names any more. */
  retain(isLive: (number: number) => boolean): void {
    for (const number of [...this.#open.keys()]) if (!isLive(number)) this.#drop(number);
  }

  close(): void {
    for (const number of [...this.#open.keys()]) this.#drop(number);
    for (const table of this.#leaving) table.close();
    this.#leaving = [];
  }

  #trim(): void {
    let bytes = 0;
    for (const { table } of this.#open.values()) bytes += table.heldBytes;
    if (bytes <= this.#options.bytesMax) return;
    const oldestFirst = [...this.#open.entries()].sort(([, a], [, b]) => a.usedAt - b.usedAt);
    // A little more than needed, so that this is not done for every table opened.
    const wanted = this.#options.bytesMax * 0.9;
    for (const [number, { table }] of oldestFirst) {
      if (bytes <= wanted) return;
      bytes -= table.heldBytes;
      this.#drop(number);
    }
  }

  #dropOldest(): void {
    let oldest = -1;
    let usedAt = Number.POSITIVE_INFINITY;
    for (const [number, open] of this.#open) {
      if (open.usedAt >= usedAt) continue;
      oldest = number;
      usedAt = open.usedAt;
    }
    this.#drop(oldest);
  }

  #drop(number: number): void {
    const open = this.#open.get(number);
    if (open === undefined) return;
    this.#open.delete(number);
    if (this.#readers > 0) this.#leaving.push(open.table);
    else open.table.close();
  }
}
