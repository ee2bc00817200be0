import { expect, test } from 'vitest';
import type { Random } from '../../../src/core/base/env.ts';
import { type Index, plus, toIndex, toLsn, toTerm } from '../../../src/core/base/position.ts';
import { ENTRY_OVERHEAD_BYTES } from '../../../src/core/raft/log.ts';
import type { Entry } from '../../../src/core/raft/types.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { BLOCK_BYTES } from '../../../src/engine/wal/format.ts';
import type { Place } from '../../../src/engine/wal/log-state.ts';
import { WalReader } from '../../../src/engine/wal/reader.ts';
import { below, forSeeds, pick } from '../../core/base/seeded.ts';
import { DIR, encode, entryAt, LogModel, pathOf, readRecords, type Said, Wal } from './wal.ts';

/** A WAL, the log it amounts to, and a reader that is told of places as the node tells it. */
class Reading {
  readonly disk = new MemoryDisk();
  readonly model: LogModel = new LogModel();
  readonly wal: Wal;
  readonly reader: WalReader;
  readonly placeEveryBytes: number;
  #bytesSincePlace = Number.POSITIVE_INFINITY;

  constructor(options: { segmentBytes?: number; placeEveryBytes?: number } = {}) {
    this.wal = new Wal(this.disk, { segmentBytes: options.segmentBytes ?? 64 * 1024 * 1024 });
    this.reader = this.newReader();
    this.placeEveryBytes = options.placeEveryBytes ?? 1;
  }

  newReader(places: readonly Place[] = []): WalReader {
    return new WalReader(this.disk, DIR, { firstIndex: toIndex(1), firstSegment: 1, places }, (index) =>
      this.model.termOf(index),
    );
  }

  write(said: Said): void {
    const { committer } = this.wal;
    const bytes = encode(said);
    this.#bytesSincePlace += bytes.length;
    const [first] = said.entries;
    if (first !== undefined && this.#bytesSincePlace >= this.placeEveryBytes) {
      const { lastLsn, segment, offset } = committer;
      this.reader.addPlace({ index: first.index, lsn: plus(lastLsn, 1), segment, offset });
      this.#bytesSincePlace = 0;
    }
    committer.append(bytes);
    committer.commitGroup();
    this.model.fold(said);
    this.wal.sync();
  }

  /** Reads [lo, hi) to its end, part by part. */
  readAll(lo: number, hi: number, bytesMax: number, reader: WalReader = this.reader): Entry[] {
    const all: Entry[] = [];
    while (lo + all.length < hi) {
      const part = reader.read(toIndex(lo + all.length), toIndex(hi), bytesMax);
      expect(part.length, 'at least one').toBeGreaterThan(0);
      const bytes = part.reduce((sum, entry) => sum + entry.data.length + ENTRY_OVERHEAD_BYTES, 0);
      if (part.length > 1) expect(bytes).toBeLessThanOrEqual(bytesMax);
      all.push(...part);
    }
    return all;
  }

  expectRange(lo: number, hi: number, found: readonly Entry[]): void {
    const expected = this.model.entries.slice(lo - 1, hi - 1);
    expect(found.map(({ index, term }) => [index, term])).toEqual(expected.map(({ index, term }) => [index, term]));
    for (const [i, entry] of found.entries()) {
      if (Buffer.compare(entry.data, expected[i]!.data) !== 0) expect.fail(`entry ${entry.index} has other bytes`);
    }
  }
}

test('any range comes back, by any step, from its own entries and not from reverted ones', () => {
  forSeeds(20, (random) => {
    const reading = new Reading({
      segmentBytes: pick(random, [3_000, 50_000, 64 * 1024 * 1024]),
      placeEveryBytes: pick(random, [1, 2_000, 1_000_000]),
    });
    for (let i = 0; i < 60; i++) reading.write(reading.model.next(random, () => below(random, 900)));
    for (let i = 0; i < 40; i++) {
      const lo = 1 + below(random, reading.model.lastIndex);
      const hi = lo + 1 + below(random, reading.model.lastIndex - lo + 1);
      reading.expectRange(lo, hi, reading.readAll(lo, hi, pick(random, [0, 500, 5_000, 1_000_000])));
    }
    reading.reader.close();
  });
});

test('readers that go on in turns see the log as it is, while it grows, reverts and rotates under them', () => {
  forSeeds(25, (random) => {
    const reading = new Reading({
      segmentBytes: pick(random, [3_000, 60_000]),
      placeEveryBytes: pick(random, [1, 3_000]),
    });
    // More followers than a reader has cursors.
    const followers = Array.from({ length: 12 }, () => ({ next: 1 }));
    for (let i = 0; i < 250; i++) {
      if (random() < 0.4 || reading.model.lastIndex === 0) {
        const said = reading.model.next(random, () => below(random, 400));
        reading.write(said);
        // A follower that had read what was reverted is sent back.
        for (const follower of followers) follower.next = Math.min(follower.next, said.revertFrom ?? follower.next);
        continue;
      }
      const follower = pick(random, followers);
      const last = reading.model.lastIndex;
      if (follower.next > last) continue;
      const hi = follower.next + 1 + below(random, last - follower.next + 1);
      const found = reading.reader.read(toIndex(follower.next), toIndex(hi), below(random, 3_000));
      expect(found.length).toBeGreaterThan(0);
      reading.expectRange(follower.next, follower.next + found.length, found);
      follower.next += found.length;
    }
    for (const { next } of followers)
      reading.expectRange(next, reading.model.lastIndex + 1, reading.readAll(next, reading.model.lastIndex + 1, 1_000));
  });
});

test('the places of recovery lead to the same entries as the places told', () => {
  forSeeds(10, (random) => {
    const reading = new Reading({ segmentBytes: 400_000 });
    for (let i = 0; i < 60; i++) reading.write(reading.model.next(random, () => below(random, 20_000)));
    reading.disk.crash({ keep: 'none' });
    const again = new Wal(reading.disk, { segmentBytes: 400_000 });
    expect(again.recovered.lastIndex).toBe(reading.model.lastIndex);
    expect(again.recovered.places.length).toBeGreaterThan(1);
    const reader = reading.newReader(again.recovered.places);
    for (let i = 0; i < 20; i++) {
      const lo = 1 + below(random, reading.model.lastIndex);
      reading.expectRange(
        lo,
        reading.model.lastIndex + 1,
        reading.readAll(lo, reading.model.lastIndex + 1, 50_000, reader),
      );
    }
    reader.close();
  });
});

test("entries at the edges of blocks and of the scanner's window come back", () => {
  for (let nudge = 0; nudge < 45; nudge++) {
    const reading = new Reading();
    // Records that end near a block's end, over more than the eight blocks of a window.
    reading.write(entryAt(1, BLOCK_BYTES - 100 - nudge));
    for (let index = 2; index <= 12; index++) reading.write(entryAt(index, BLOCK_BYTES - 77 - 19));
    reading.write(entryAt(13, 10 * BLOCK_BYTES));
    reading.write(entryAt(14, 1));
    reading.expectRange(1, 15, reading.readAll(1, 15, 100_000));
    reading.expectRange(13, 15, reading.readAll(13, 15, 1));
  }
});

test('what it returns stays as it is, whatever is read next', () => {
  const reading = new Reading();
  for (let index = 1; index <= 400; index++) reading.write(entryAt(index, 2_000));
  const first = reading.readAll(1, 20, 1_000_000);
  reading.readAll(100, 401, 100_000);
  reading.readAll(1, 401, 100_000);
  reading.expectRange(1, 20, first);
});

test('a reader closes every file it opened', () => {
  const reading = new Reading({ segmentBytes: 3_000 });
  for (let index = 1; index <= 40; index++) reading.write(entryAt(index, 500));
  for (let index = 1; index <= 39; index++) reading.readAll(index, index + 1, 1);
  reading.wal.committer.close();
  reading.reader.close();
  // A file that nobody holds gives its space back once it is removed.
  for (const name of reading.disk.list(DIR)) reading.disk.remove(`${DIR}/${name}`);
  expect(reading.disk.usedBytes).toBe(0);
});

test('damage in its way is WAL_CORRUPT with file and offset, not a skip to the next segment', () => {
  const reading = new Reading({ segmentBytes: 3_000 });
  for (let index = 1; index <= 20; index++) reading.write(entryAt(index, 500));
  expect(reading.wal.committer.segment).toBeGreaterThan(3);
  const third = readRecords(reading.disk).filter(({ segment }) => segment === 2)[2]!;
  reading.disk.flipBit(pathOf(2), third.start + 30, 4);
  const bad = third.record.kind === 'persist' ? third.record.entries[0]!.index : (0 as Index);
  const fresh = reading.newReader([{ index: toIndex(1), lsn: toLsn(1), segment: 1, offset: 0 }]);
  reading.expectRange(1, bad, reading.readAll(1, bad, 1_000, fresh));
  for (let i = 0; i < 2; i++) {
    expect(() => fresh.read(bad, toIndex(bad + 1), 1_000)).toThrow(
      expect.objectContaining({ code: 'WAL_CORRUPT', data: { file: pathOf(2), offset: third.start } }),
    );
  }
  // From behind it, all is well.
  reading.expectRange(bad + 5, 21, reading.readAll(bad + 5, 21, 1_000));
});

test('an entry that is not there yet is refused, and read once it is', () => {
  const reading = new Reading();
  reading.write(entryAt(1));
  reading.readAll(1, 2, 1_000);
  expect(() => reading.reader.read(toIndex(2), toIndex(3), 1_000)).toThrow(
    expect.objectContaining({ code: 'WAL_CORRUPT' }),
  );
  reading.write(entryAt(2));
  reading.expectRange(2, 3, reading.readAll(2, 3, 1_000));
});

test('a follower that waits at the end goes on at the entry that replaced the one it would have got', () => {
  const reading = new Reading();
  const random: Random = () => 0.5;
  reading.write({ ...reading.model.next(random, () => 10), revertFrom: undefined });
  const { lastIndex } = reading.model;
  for (let term = 50; term < 60; term++) {
    const entries = [1, 2, 3].map((by) => ({
      index: toIndex(lastIndex + by),
      term: toTerm(term),
      data: new Uint8Array(term),
    }));
    const revertFrom = term === 50 ? undefined : toIndex(lastIndex + 1);
    reading.write({ hardState: { term: toTerm(term), vote: '', commit: toIndex(0) }, revertFrom, entries });
    // Reads two of three: the third waits in the cursor, and is reverted.
    const found = reading.reader.read(toIndex(lastIndex + 1), toIndex(lastIndex + 3), 10_000);
    reading.expectRange(lastIndex + 1, lastIndex + 3, found);
  }
  reading.expectRange(lastIndex + 3, lastIndex + 4, reading.readAll(lastIndex + 3, lastIndex + 4, 10));
});
