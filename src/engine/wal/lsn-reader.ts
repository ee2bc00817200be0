/**
 * LsnReader: what the records of a log say, by LSN: everything that happened and in that order, reverts too.
 *
 * Marks and other bookkeeping have LSNs as well and are passed over.
 */
import { must } from '../../core/base/assert.ts';
import type { Disk } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { Index, Lsn } from '../../core/base/position.ts';
import { decodeRecord } from './payload.ts';
import type { Place } from './log-state.ts';
import { type RecordPlace, RecordWalker } from './walker.ts';

/** What one record did: took entries out of the log, then put some in. */
export interface WalChange {
  readonly lsn: Lsn;
  /** Entries from here on were reverted first. */
  readonly revertFrom: Index | undefined;
  readonly entries: readonly { readonly index: Index; readonly data: Uint8Array }[];
}

export class LsnReader {
  readonly #disk: Disk;
  readonly #dir: string;
  /** By LSN, rising. */
  #places: Place[];
  #firstLsn: Lsn;
  #firstSegment: number;

  constructor(disk: Disk, dir: string, places: readonly Place[], firstLsn: Lsn, firstSegment: number) {
    this.#disk = disk;
    this.#dir = dir;
    this.#places = [...places];
    this.#firstLsn = firstLsn;
    this.#firstSegment = firstSegment;
  }

  addPlace(place: Place): void {
    this.#places.push(place);
  }

  /** The log begins later now. */
  trim(firstLsn: Lsn, firstSegment: number): void {
    this.#firstLsn = firstLsn;
    this.#firstSegment = firstSegment;
    this.#places = this.#places.filter((place) => place.segment >= firstSegment);
  }

  /** Changes of the records in [from, to], which are all written; at most about `bytesMax`, but one if there is one. COMPACTED before the first. */
  read(from: Lsn, to: Lsn, bytesMax: number): WalChange[] {
    if (from < this.#firstLsn) {
      throw new StoreError('COMPACTED', `record ${from} is no longer in the log, which begins at ${this.#firstLsn}`, {
        data: { firstLsn: this.#firstLsn },
      });
    }
    const walker = new RecordWalker(this.#disk, this.#dir, this.#placeBefore(from));
    const changes: WalChange[] = [];
    let bytes = 0;
    try {
      for (let at: number = 0; at < to && bytes < bytesMax; ) {
        const record = walker.next();
        if (record === undefined) throw walker.damaged(`record ${to} is behind it`);
        const decoded = decodeRecord(record.payload);
        at = decoded.lsn;
        if (at < from || decoded.kind !== 'persist') continue;
        bytes += record.payload.length;
        changes.push({
          lsn: decoded.lsn,
          revertFrom: decoded.revertFrom,
          entries: decoded.entries.map(({ index, data }) => ({ index, data: data.slice() })),
        });
      }
    } finally {
      walker.close();
    }
    return changes;
  }

  #placeBefore(lsn: Lsn): RecordPlace {
    let low = -1;
    let high = this.#places.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (must(this.#places[middle], 'inside').lsn <= lsn) low = middle;
      else high = middle - 1;
    }
    return this.#places[low] ?? { segment: this.#firstSegment, offset: 0 };
  }
}
