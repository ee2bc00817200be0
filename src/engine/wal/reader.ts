/**
 * WalReader: entries that memory has let go, read back by index while the committer goes on writing.
 *
 * Used for two things: a restarted node applies its log from here, and a follower that was away is fed from
 * here. Waypoints (one per quarter megabyte) say where to begin; from there it reads forward. Entries that
 * were reverted still stand in the file: (index, term) names an entry uniquely, so the term tells them apart.
 *
 * It only ever reads what is written, so a stop in the middle is damage, or a segment that was removed meanwhile: its
 * owner may be another thread. Then the read goes on in the first segment that is left; what is needed is there.
 */
import { assert, must } from '../../core/base/assert.ts';
import type { Disk } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type Index, plus, type Term, toIndex } from '../../core/base/position.ts';
import { ENTRY_OVERHEAD_BYTES } from '../../core/raft/log.ts';
import type { Entry } from '../../core/raft/types.ts';
import { segmentNumber } from './format.ts';
import { decodeRecord } from './payload.ts';
import type { Place } from './log-state.ts';
import { type RecordPlace, RecordWalker } from './walker.ts';

/** Where a read left off, so that the next one goes on instead of searching. */
interface Cursor {
  nextIndex: Index;
  readonly walker: RecordWalker;
  /** Entries read but not asked for yet. */
  rest: Entry[];
  usedAt: number;
}

/** Where a log begins. */
export interface LogStart {
  readonly firstIndex: Index;
  readonly firstSegment: number;
}

const CURSORS_MAX = 8;

export class WalReader {
  readonly #disk: Disk;
  readonly #dir: string;
  readonly #termOf: (index: Index) => Term | undefined;
  #places: Place[];
  #first: LogStart;
  #cursors: Cursor[] = [];
  #uses = 0;

  constructor(
    disk: Disk,
    dir: string,
    start: LogStart & { readonly places: readonly Place[] },
    termOf: (index: Index) => Term | undefined,
  ) {
    this.#disk = disk;
    this.#dir = dir;
    this.#places = [...start.places];
    this.#first = start;
    this.#termOf = termOf;
  }

  /** A record of entries from `place.index` on was written there. */
  addPlace(place: Place): void {
    while ((this.#places.at(-1)?.index ?? 0) >= place.index) this.#places.pop();
    this.#places.push(place);
  }

  /** The log begins later now. */
  trim(start: LogStart): void {
    const { firstIndex, firstSegment } = start;
    this.#first = { firstIndex, firstSegment };
    const kept = this.#places.findIndex((place) => place.segment >= firstSegment);
    this.#places = kept === -1 ? [] : this.#places.slice(kept);
    for (const cursor of this.#cursors) {
      if (cursor.walker.segment < firstSegment) this.#drop(cursor);
    }
  }

  /** Entries in [lo, hi), at least one, at most about `bytesMax`. COMPACTED when `lo` is no longer there. */
  read(lo: Index, hi: Index, bytesMax: number): Entry[] {
    this.#checkFirst(lo);
    let cursor = this.#cursorAt(lo);
    const found: Entry[] = [];
    let bytes = 0;
    for (;;) {
      cursor.usedAt = ++this.#uses;
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
      if (!this.#readRecord(cursor)) cursor = this.#cursorAt(cursor.nextIndex);
    }
  }

  /** Calls `onEntry` for each entry in [lo, hi), in order. Its data are valid during the call. */
  replay(lo: Index, hi: Index, onEntry: (index: Index, data: Uint8Array) => void): void {
    this.#checkFirst(lo);
    const walker = new RecordWalker(this.#disk, this.#dir, this.#placeBefore(lo));
    try {
      for (let next = lo; next < hi; ) {
        const record = walker.next();
        if (record === undefined) throw walker.damaged(`entry ${next} is behind it`);
        const decoded = decodeRecord(record.payload);
        if (decoded.kind !== 'persist') continue;
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

  /** Reads on until a record brings entries from `nextIndex` on. False: its segment is gone, begin again. */
  #readRecord(cursor: Cursor): boolean {
    const record = cursor.walker.next();
    if (record === undefined) {
      this.#drop(cursor);
      if (!cursor.walker.isGone) throw cursor.walker.damaged(`entry ${cursor.nextIndex} is behind it`);
      this.trim(findStart(this.#disk, this.#dir));
      this.#checkFirst(cursor.nextIndex);
      return false;
    }
    const decoded = decodeRecord(record.payload);
    if (decoded.kind !== 'persist') return true;
    let next = cursor.nextIndex as number;
    for (const entry of decoded.entries) {
      if (entry.index !== next || entry.term !== this.#termOf(entry.index)) continue;
      // The payload is a view of the scanner's window; what is kept longer than a turn is copied.
      cursor.rest.push({ index: entry.index, term: entry.term, data: entry.data.slice() });
      next++;
    }
    return true;
  }

  #checkFirst(index: Index): void {
    const { firstIndex } = this.#first;
    if (index >= firstIndex) return;
    throw new StoreError('COMPACTED', `entry ${index} is no longer in the log, which begins at ${firstIndex}`, {
      data: { firstIndex },
    });
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

  /** Where to begin to read for `index`: the last waypoint before it, or the beginning. */
  #placeBefore(index: Index): RecordPlace {
    let low = -1;
    let high = this.#places.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (must(this.#places[middle], 'inside').index <= index) low = middle;
      else high = middle - 1;
    }
    return this.#places[low] ?? { segment: this.#first.firstSegment, offset: 0 };
  }
}

/** Where the log begins now, as its directory says; whoever removes segments may do so meanwhile. */
function findStart(disk: Disk, dir: string): LogStart {
  for (;;) {
    const numbers = disk.list(dir).map(segmentNumber);
    const firstSegment = Math.min(...numbers.filter((number) => number !== undefined));
    assert(Number.isFinite(firstSegment), 'a log has a segment');
    const walker = new RecordWalker(disk, dir, { segment: firstSegment, offset: 0 });
    try {
      const record = walker.next();
      if (record !== undefined) {
        const base = decodeRecord(record.payload);
        return { firstSegment, firstIndex: base.kind === 'base' ? plus(base.prevIndex, 1) : toIndex(1) };
      }
      if (!walker.isGone) throw walker.damaged('the log begins there');
    } finally {
      walker.close();
    }
  }
}
