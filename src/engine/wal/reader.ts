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
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type Index, plus, type Term } from '../../core/base/position.ts';
import { ENTRY_OVERHEAD_BYTES } from '../../core/raft/log.ts';
import type { Entry } from '../../core/raft/types.ts';
import { segmentName } from './format.ts';
import { decodeRecord } from './payload.ts';
import type { Place } from './recovery.ts';
import { SegmentScanner } from './scanner.ts';

/** Where a read left off, so that the next one goes on instead of searching. */
interface Cursor {
  nextIndex: Index;
  segment: number;
  file: DiskFile;
  scanner: SegmentScanner;
  /** The newest record read was a mark: only behind one may the next segment follow. */
  isSealed: boolean;
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

  close(): void {
    for (const cursor of this.#cursors) cursor.file.close();
    this.#cursors = [];
  }

  /** Reads on until a record brings entries from `nextIndex` on. */
  #readRecord(cursor: Cursor): void {
    const record = cursor.scanner.next();
    if (record === undefined) {
      this.#nextSegment(cursor);
      return;
    }
    const decoded = decodeRecord(record.payload);
    cursor.isSealed = decoded.kind === 'mark';
    if (decoded.kind === 'mark') return;
    let next = cursor.nextIndex as number;
    for (const entry of decoded.entries) {
      if (entry.index !== next || entry.term !== this.#termOf(entry.index)) continue;
      // The payload is a view of the scanner's window; what is kept longer than a turn is copied.
      cursor.rest.push({ index: entry.index, term: entry.term, data: entry.data.slice() });
      next++;
    }
  }

  #nextSegment(cursor: Cursor): void {
    const stop = must(cursor.scanner.stop, 'a scanner says where it stopped');
    const next = `${this.#dir}/${segmentName(cursor.segment + 1)}`;
    if (!cursor.isSealed || !this.#disk.exists(next)) {
      this.#drop(cursor);
      const path = `${this.#dir}/${segmentName(cursor.segment)}`;
      throw new StoreError(
        'WAL_CORRUPT',
        `the WAL is damaged: ${path} at offset ${stop.offset}: ${stop.reason}, while entry ${cursor.nextIndex} is behind it`,
        { data: { file: path, offset: stop.offset } },
      );
    }
    cursor.file.close();
    cursor.segment++;
    cursor.isSealed = false;
    cursor.file = this.#disk.open(next, 'read');
    cursor.scanner = new SegmentScanner(cursor.file, cursor.segment);
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
    const file = this.#disk.open(`${this.#dir}/${segmentName(place.segment)}`, 'read');
    const scanner = new SegmentScanner(file, place.segment, place.offset);
    const { segment } = place;
    const cursor: Cursor = { nextIndex: index, segment, file, scanner, isSealed: false, rest: [], usedAt: 0 };
    this.#cursors.push(cursor);
    return cursor;
  }

  #drop(cursor: Cursor): void {
    cursor.file.close();
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
