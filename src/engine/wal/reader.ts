/**
 * WalReader: entries that memory has let go, read back by index while the committer goes on writing.
 *
 * Used for two things: a restarted node applies its log from here, and a follower that was away is fed from
 * here. Waypoints (one per quarter megabyte) say where to begin; from there it reads forward. Entries that
 * were reverted still stand in the file: (index, term) names an entry uniquely, so the term tells them apart.
 *
 * It only ever reads what is synced, so a stop in the middle is damage, not a race.
 */
import { assert, must } from '../../core/base/assert.ts';
import type { Disk } from '../../core/base/env.ts';
import { type Index, plus, type Term } from '../../core/base/position.ts';
import { ENTRY_OVERHEAD_BYTES } from '../../core/raft/log.ts';
import type { Entry } from '../../core/raft/types.ts';
import { decodeRecord } from './payload.ts';
import type { Place } from './recovery.ts';
import { RecordWalker } from './walker.ts';

/** Where a read left off, so that the next one goes on instead of searching. */
interface Cursor {
  nextIndex: Index;
  readonly walker: RecordWalker;
  /** Entries read but not asked for yet. */
  rest: Entry[];
  usedAt: number;
}

const CURSORS_MAX = 8;

export class WalReader {
  readonly #disk: Disk;
  readonly #dir: string;
  readonly #termOf: (index: Index) => Term | undefined;
  #places: Place[];
  #cursors: Cursor[] = [];
  #uses = 0;

  constructor(disk: Disk, dir: string, places: readonly Place[], termOf: (index: Index) => Term | undefined) {
    this.#disk = disk;
    this.#dir = dir;
    this.#places = [...places];
    this.#termOf = termOf;
  }

  /** A record of entries from `place.index` on was written there. */
  addPlace(place: Place): void {
    while ((this.#places.at(-1)?.index ?? 0) > place.index) this.#places.pop();
    this.#places.push(place);
  }

  /** Entries in [lo, hi), at least one, at most about `bytesMax`. */
  read(lo: Index, hi: Index, bytesMax: number): Entry[] {
    const cursor = this.#cursorAt(lo);
    cursor.usedAt = ++this.#uses;
    const found: Entry[] = [];
    let bytes = 0;
    for (;;) {
      while (cursor.rest.length > 0) {
        const entry = must(cursor.rest[0], 'not empty');
        const size = entry.data.length + ENTRY_OVERHEAD_BYTES;
        if (entry.index >= hi || (found.length > 0 && bytes + size > bytesMax)) return found;
        cursor.rest.shift();
        found.push(entry);
        bytes += size;
        cursor.nextIndex = plus(entry.index, 1);
        if (cursor.nextIndex >= hi) return found;
      }
      this.#readRecord(cursor);
    }
  }

  /** Calls `onEntry` for each entry in [lo, hi), in order. Its data are valid during the call. */
  replay(lo: Index, hi: Index, onEntry: (index: Index, data: Uint8Array) => void): void {
    const walker = new RecordWalker(this.#disk, this.#dir, this.#placeBefore(lo));
    try {
      for (let next = lo; next < hi; ) {
        const record = walker.next();
        if (record === undefined) throw walker.damaged(`entry ${next} is behind it`);
        const decoded = decodeRecord(record.payload);
        if (decoded.kind === 'mark') continue;
        for (const entry of decoded.entries) {
          if (entry.index !== next || next >= hi || entry.term !== this.#termOf(next)) continue;
          next = plus(next, 1);
          onEntry(entry.index, entry.data);
        }
      }
    } finally {
      walker.close();
    }
  }

  close(): void {
    for (const cursor of this.#cursors) cursor.walker.close();
    this.#cursors = [];
  }

  /** Reads on until a record brings entries from `nextIndex` on. */
  #readRecord(cursor: Cursor): void {
    const record = cursor.walker.next();
    if (record === undefined) {
      this.#drop(cursor);
      throw cursor.walker.damaged(`entry ${cursor.nextIndex} is behind it`);
    }
    const decoded = decodeRecord(record.payload);
    if (decoded.kind === 'mark') return;
    let next = cursor.nextIndex as number;
    for (const entry of decoded.entries) {
      if (entry.index !== next || entry.term !== this.#termOf(entry.index)) continue;
      // The payload is a view of the scanner's window; what is kept longer than a turn is copied.
      cursor.rest.push({ index: entry.index, term: entry.term, data: entry.data.slice() });
      next++;
    }
  }

  #cursorAt(index: Index): Cursor {
    const waiting = this.#cursors.find((cursor) => cursor.nextIndex === index);
    // A cursor that waits may hold entries that were reverted since: their terms no longer match.
    if (waiting !== undefined && waiting.rest.every((entry) => entry.term === this.#termOf(entry.index)))
      return waiting;
    if (waiting !== undefined) this.#drop(waiting);
    if (this.#cursors.length >= CURSORS_MAX) {
      this.#drop(this.#cursors.reduce((oldest, cursor) => (cursor.usedAt < oldest.usedAt ? cursor : oldest)));
    }
    const place = this.#placeBefore(index);
    const walker = new RecordWalker(this.#disk, this.#dir, place);
    const cursor: Cursor = { nextIndex: index, walker, rest: [], usedAt: 0 };
    this.#cursors.push(cursor);
    return cursor;
  }

  #drop(cursor: Cursor): void {
    cursor.walker.close();
    this.#cursors = this.#cursors.filter((other) => other !== cursor);
  }

  #placeBefore(index: Index): Place {
    let low = 0;
    let high = this.#places.length - 1;
    assert(high >= 0, 'a log with entries has a first place');
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (must(this.#places[middle], 'inside').index <= index) low = middle;
      else high = middle - 1;
    }
    const place = must(this.#places[low], 'inside');
    assert(place.index <= index, 'places begin at the first entry');
    return place;
  }
}
