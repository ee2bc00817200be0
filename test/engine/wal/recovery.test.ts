import { describe, expect, test } from 'vitest';
import { toIndex, toLsn, toTerm } from '../../../src/core/base/position.ts';
import { MemoryDisk, SECTOR_BYTES } from '../../../src/engine/disk/memory-disk.ts';
import { BLOCK_BYTES, HEADER_BYTES } from '../../../src/engine/wal/format.ts';
import { recoverWal } from '../../../src/engine/wal/recovery.ts';
import { below, forSeeds, randomBytes } from '../../core/base/seeded.ts';
import {
  DIR,
  entryAt,
  expectRefusal,
  type FoundRecord,
  pathOf,
  putFile,
  readBytes,
  readRecords,
  tryRecover,
  Wal,
} from './wal.ts';

/** A segment's bytes without the zeros ahead, and its records. */
function dataOf(disk: MemoryDisk, segment = 1): { bytes: Uint8Array; records: FoundRecord[] } {
  const records = readRecords(disk).filter((found) => found.segment === segment);
  return { bytes: readBytes(disk, pathOf(segment)).slice(0, records.at(-1)?.end ?? 0), records };
}

function diskWith(...segments: Uint8Array[]): MemoryDisk {
  const disk = new MemoryDisk();
  for (const [i, bytes] of segments.entries()) putFile(disk, pathOf(i + 1), bytes);
  return disk;
}

/** Records of these data sizes in segment 1; `isSynced`: each was synced, and that known, before the next. */
function build(sizes: readonly number[], isSynced: boolean): { bytes: Uint8Array; records: FoundRecord[] } {
  const disk = new MemoryDisk();
  const wal = new Wal(disk);
  for (const [i, size] of sizes.entries()) {
    wal.write(entryAt(i + 1, size));
    if (isSynced) wal.sync();
  }
  return dataOf(disk);
}

/** Goes on after a recovery of the base and `kept - 1` entries: one more, and everything is there. */
function expectToGoOn(disk: MemoryDisk, kept: number): void {
  const wal = new Wal(disk);
  expect(wal.recovered).toMatchObject({ lastLsn: kept, lastIndex: kept - 1 });
  expect(wal.write(entryAt(kept, 33, 9))).toBe(kept + 1);
  wal.sync();
  disk.crash({ keep: 'none' });
  const after = recoverWal(disk, DIR);
  expect(after).toMatchObject({ lastLsn: kept + 1, lastIndex: kept, trimmedBytes: 0 });
  expect(after.runs.at(-1)).toEqual({ first: kept, term: 9 });
}

test('an empty directory is an empty log', () => {
  const disk = new MemoryDisk();
  expect(recoverWal(disk, DIR)).toEqual({
    ...{ lastLsn: 0, hardState: { term: 0, vote: '', commit: 0 }, lastIndex: 0, runs: [], places: [] },
    ...{ firstIndex: 1, baseTerm: 0, firstSegment: 1, bases: [] },
    ...{ tail: undefined, trimmedBytes: 0, records: 0, memberEntries: [] },
  });
});

test('hard state, terms and entries come back, and reverted ones do not', () => {
  const disk = new MemoryDisk();
  const wal = new Wal(disk);
  for (let index = 1; index <= 6; index++) wal.write(entryAt(index, 10, index < 4 ? 1 : 2));
  wal.write({ ...entryAt(5, 10, 3), revertFrom: toIndex(5) });
  wal.write({ hardState: { term: toTerm(7), vote: 'n3', commit: toIndex(4) }, revertFrom: undefined, entries: [] });
  wal.sync();
  disk.crash({ keep: 'none' });
  expect(recoverWal(disk, DIR)).toMatchObject({
    ...{ lastLsn: 9, lastIndex: 5, records: 9, hardState: { term: 7, vote: 'n3', commit: 4 } },
    runs: [
      { first: 1, term: 1 },
      { first: 4, term: 2 },
      { first: 5, term: 3 },
    ],
  });
});

describe('a WAL cut at every byte of its records', () => {
  const { bytes, records } = build([20, 0, 60, 5, 1], false);
  const random = randomBytes(() => Math.random(), 64);
  const variants: Readonly<Record<string, (cut: number) => Uint8Array>> = {
    'and the file ends there': (cut) => bytes.subarray(0, cut),
    'and zeros follow': (cut) => bytes.slice().fill(0, cut),
    'and blocks of zeros follow': (cut) => {
      const long = new Uint8Array(3 * BLOCK_BYTES);
      long.set(bytes.subarray(0, cut));
      return long;
    },
    'and garbage follows': (cut) => bytes.map((byte, i) => (i < cut ? byte : byte ^ (1 + (random[i % 64]! % 255)))),
  };

  test.each(Object.entries(variants))('%s, recovers exactly the whole records before', (_name, variant) => {
    // Of its base no crash takes a byte; see below.
    for (let cut = records[0]!.end; cut <= bytes.length; cut++) {
      const left = variant(cut);
      const disk = diskWith(left);
      // Zeros behind a cut may be the very zeros that were there.
      const same = bytes.findIndex((byte, i) => byte !== left[i]);
      const whole = records.filter(({ end }) => same === -1 || end <= same).length;
      const end = records[whole - 1]?.end ?? 0;
      const recovered = recoverWal(disk, DIR);
      expect(recovered, `cut at ${cut}`).toMatchObject({
        lastLsn: whole,
        lastIndex: whole - 1,
        records: whole,
        tail: { segment: 1, offset: end },
      });
      expect(readBytes(disk, pathOf(1)).length, 'what was torn is gone').toBe(end);
      if (cut % 53 === 0) expectToGoOn(disk, whole);
    }
  });

  test('across blocks too', () => {
    const long = build([50_000, 40_000, 70_000], false);
    forSeeds(80, (chance) => {
      const cut =
        chance() < 0.5 ? below(chance, long.bytes.length) : below(chance, 5) * BLOCK_BYTES + below(chance, 60) - 30;
      if (cut < long.records[0]!.end || cut > long.bytes.length) return;
      const whole = long.records.filter(({ end }) => end <= cut).length;
      expect(recoverWal(diskWith(long.bytes.subarray(0, cut)), DIR).lastLsn).toBe(whole);
      expect(recoverWal(diskWith(long.bytes.slice().fill(0, cut)), DIR).lastLsn).toBe(whole);
    });
  });

  test('says how many bytes it trimmed', () => {
    const torn = concatBytes(bytes, Uint8Array.of(1, 2, 3), new Uint8Array(1000));
    expect(recoverWal(diskWith(torn), DIR).trimmedBytes).toBe(3);
    expect(recoverWal(diskWith(bytes), DIR).trimmedBytes).toBe(0);
  });
});

const concatBytes = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(parts));

/** Where the record that holds byte `at` begins, and whether a later one proves that it was synced. */
function recordAt(records: readonly FoundRecord[], at: number): { i: number; before: number; isProven: boolean } {
  const i = records.findIndex(({ end }) => at < end);
  const before = records[i - 1]?.end ?? 0;
  return { i, before, isProven: records.slice(i + 1).some(({ syncedOffset }) => syncedOffset > before) };
}

describe('a bit flipped', () => {
  test('at every byte of synced records is refused with file and offset; in the last, which nothing proves, it is trimmed', () => {
    const { bytes, records } = build([20, 0, 100, 7], true);
    const verdicts = { refused: 0, trimmed: 0 };
    for (let at = 0; at < bytes.length; at++) {
      for (const bit of [at % 8, (at + 5) % 8]) {
        const disk = diskWith(bytes);
        disk.flipBit(pathOf(1), at, bit);
        const { i, before, isProven } = recordAt(records, at);
        if (isProven) {
          expectRefusal(disk, pathOf(1), before);
          verdicts.refused++;
        } else {
          expect(i).toBe(records.length - 1);
          expect(recoverWal(disk, DIR)).toMatchObject({ lastLsn: i, lastIndex: i - 1 });
          verdicts.trimmed++;
        }
      }
    }
    expect(verdicts.refused).toBeGreaterThan(verdicts.trimmed);
  });

  test('at every byte before a clean close is refused, up to its mark', () => {
    const disk = new MemoryDisk();
    const wal = new Wal(disk);
    for (let index = 1; index <= 3; index++) wal.write(entryAt(index));
    wal.committer.close();
    const { bytes, records } = dataOf(disk);
    expect(records.at(-1)?.record.kind).toBe('mark');
    for (let at = 0; at < bytes.length; at++) {
      const damaged = diskWith(bytes);
      damaged.flipBit(pathOf(1), at, at % 8);
      const { i, before } = recordAt(records, at);
      if (i < 4) expectRefusal(damaged, pathOf(1), before);
      else expect(recoverWal(damaged, DIR)).toMatchObject({ lastLsn: 4, lastIndex: 3 });
    }
  });

  test('anywhere in records of many blocks is found, or stands in a trailer that nobody reads', () => {
    const { bytes, records } = build([50_000, BLOCK_BYTES - 5, 40_000, 100, 33_000, 10], true);
    forSeeds(150, (random) => {
      const at =
        random() < 0.7 ? below(random, bytes.length) : (1 + below(random, 4)) * BLOCK_BYTES + below(random, 60) - 30;
      const disk = diskWith(bytes);
      disk.flipBit(pathOf(1), at, below(random, 8));
      const { i, before, isProven } = recordAt(records, at);
      const outcome = tryRecover(disk);
      if ('refused' in outcome) {
        expect(isProven).toBe(true);
        expect(outcome.refused.data).toEqual({ file: pathOf(1), offset: before });
      } else if (outcome.recovered.lastLsn !== records.length) {
        expect(isProven).toBe(false);
        expect(outcome.recovered.lastLsn).toBe(i);
      } else {
        expect(BLOCK_BYTES - (at % BLOCK_BYTES), 'a trailer').toBeLessThan(HEADER_BYTES);
      }
    });
  });
});

describe('bytes lost inside the synced part', () => {
  const { bytes, records } = build(
    Array.from({ length: 40 }, (_, i) => (i % 5) * 90),
    true,
  );

  /** Recovers `damaged`, which differs from what was written in [from, to) at most, and judges the outcome. */
  function judge(damaged: Uint8Array, to: number): 'refused' | 'recovered' {
    const firstBad = damaged.findIndex((byte, i) => byte !== bytes[i]);
    if (firstBad === -1) return 'recovered';
    const { i, before } = recordAt(records, firstBad);
    const isProven = records.some(({ start, syncedOffset }) => start >= to && syncedOffset > before);
    const outcome = tryRecover(diskWith(damaged));
    // A chunk may outlive the record it was in, and prove as much; a wrong value never comes out.
    if ('recovered' in outcome) expect([isProven, outcome.recovered.lastLsn]).toEqual([false, i]);
    else expect(outcome.refused.data).toEqual({ file: pathOf(1), offset: before });
    return 'refused' in outcome ? 'refused' : 'recovered';
  }

  test('as zeros in any one sector are refused, but in the last ones, where no proof is left', () => {
    const sectors = Array.from(
      { length: Math.ceil(bytes.length / SECTOR_BYTES) },
      (_, sector) => sector * SECTOR_BYTES,
    );
    const verdicts = sectors.map((from) =>
      judge(bytes.slice().fill(0, from, from + SECTOR_BYTES), from + SECTOR_BYTES),
    );
    expect(verdicts.slice(0, -2)).toEqual(Array.from({ length: sectors.length - 2 }, () => 'refused'));
  });

  test('as any run of zeros or garbage are refused while a later chunk proves them, wherever it begins and ends', () => {
    let refused = 0;
    forSeeds(300, (random) => {
      const from = below(random, bytes.length - 1);
      const to = from + 1 + below(random, bytes.length - from);
      const isGarbage = random() < 0.5;
      const damaged = bytes.map((byte, i) =>
        i < from || i >= to ? byte : isGarbage ? byte ^ (1 + below(random, 255)) : 0,
      );
      if (judge(damaged, to) === 'refused') refused++;
    });
    if (process.env['SEED'] === undefined) expect(refused).toBeGreaterThan(100);
  });
});

describe('several segments', () => {
  /** Three segments: the first two left full and sealed, the third with `last` records. */
  function three(last = 2): { disk: MemoryDisk; segments: Uint8Array[]; perSegment: number } {
    const disk = new MemoryDisk();
    const wal = new Wal(disk, { segmentBytes: 1000 });
    let index = 0;
    while (wal.committer.segment < 3) {
      wal.write(entryAt(++index, 100));
      wal.sync();
    }
    const perSegment = index / 2;
    for (let i = 0; i < last; i++) {
      wal.write(entryAt(++index, 100));
      wal.sync();
    }
    wal.syncer.sync();
    disk.crash({ keep: 'none' });
    return { disk, segments: [1, 2, 3].map((segment) => readBytes(disk, pathOf(segment))), perSegment };
  }

  test('are read in order, and the last goes on', () => {
    const { disk, perSegment } = three();
    const recovered = recoverWal(disk, DIR);
    // Two marks stand between, and each segment has its base.
    expect(recovered).toMatchObject({
      lastIndex: perSegment * 2 + 2,
      lastLsn: perSegment * 2 + 2 + 2 + 3,
      tail: { segment: 3 },
    });
  });

  test('a bit flipped anywhere in one that was left is refused, be the next empty or not', () => {
    for (const last of [0, 2]) {
      const { segments } = three(last);
      for (const segment of [1, 2]) {
        const records = readRecords(diskWith(...segments)).filter((found) => found.segment === segment);
        const dataEnd = records.at(-1)!.end;
        for (let at = 0; at < dataEnd; at += 7) {
          const disk = diskWith(...segments.map((bytes) => bytes.slice(0, 2048)));
          disk.flipBit(pathOf(segment), at, at % 8);
          expectRefusal(disk, pathOf(segment), recordAt(records, at).before);
        }
      }
    }
  });

  test('one cut short, at any of its records, is refused', () => {
    for (const last of [0, 1]) {
      const { segments } = three(last);
      const records = readRecords(diskWith(...segments)).filter((found) => found.segment === 2);
      for (const before of [0, ...records.slice(0, -1).map(({ end }) => end)]) {
        const cut = segments.map((bytes, i) => (i === 1 ? bytes.slice(0, before) : bytes.slice(0, 4096)));
        expectRefusal(diskWith(...cut), pathOf(2), before);
      }
    }
  });

  test('one whose end is lost behind an older clean close is refused, though a mark stands before the loss', () => {
    const disk = new MemoryDisk();
    const first = new Wal(disk, { segmentBytes: 1000 });
    first.write(entryAt(1));
    first.committer.close();
    const closedAt = readRecords(disk).at(-1)!.end;
    const second = new Wal(disk, { segmentBytes: 1000 });
    for (let index = 2; second.committer.segment === 1; index++) {
      second.write(entryAt(index, 100));
      second.sync();
    }
    disk.flipBit(pathOf(1), closedAt + HEADER_BYTES, 1);
    expectRefusal(disk, pathOf(1), closedAt);
  });

  test('a missing one is refused by its name, and the others are left alone', () => {
    for (const last of [0, 2]) {
      const { disk } = three(last);
      disk.remove(pathOf(2));
      expectRefusal(disk, pathOf(2), 0);
    }
  });

  test('any that are left to the end are a log of their own: it begins later, and says the same of all the rest', () => {
    for (const last of [0, 2]) {
      const { disk, perSegment } = three(last);
      const whole = recoverWal(disk, DIR);
      for (const gone of [1, 2]) {
        disk.remove(pathOf(gone));
        const { lastLsn, lastIndex, hardState, tail } = whole;
        const rest = recoverWal(disk, DIR);
        expect(rest).toMatchObject({ lastLsn, lastIndex, hardState, tail, firstSegment: gone + 1, baseTerm: 1 });
        expect(rest).toMatchObject({ firstIndex: perSegment * gone + 1, bases: whole.bases.slice(gone) });
        expect(rest.runs).toEqual(lastIndex > perSegment * gone ? [{ first: perSegment * gone + 1, term: 1 }] : []);
        expect(rest.places.every(({ segment }) => segment > gone)).toBe(true);
      }
    }
  });

  test('one of another log is refused at its base, though its LSN and index fit', () => {
    const log = (changed: Partial<{ term: number; vote: string; commit: number; entryTerm: number }>): MemoryDisk => {
      const { term = 3, vote = 'n1', commit = 1, entryTerm = 2 } = changed;
      const disk = new MemoryDisk();
      const wal = new Wal(disk, { segmentBytes: 300 });
      for (let index = 1; index <= 5; index++) {
        const hardState = { term: toTerm(term), vote, commit: toIndex(index > commit ? commit : 0) };
        wal.write({ ...entryAt(index, 100, entryTerm), hardState });
        wal.sync();
      }
      expect(wal.committer.segment).toBe(3);
      return disk;
    };
    const own = log({});
    for (const changed of [{ term: 4 }, { vote: 'n2' }, { commit: 2 }, { entryTerm: 1 }]) {
      const disk = own.clone();
      putFile(disk, pathOf(3), readBytes(log(changed), pathOf(3)));
      expectRefusal(disk, pathOf(3), 0);
    }
    putFile(own, pathOf(3), readBytes(log({}), pathOf(3)));
    expect(recoverWal(own, DIR).lastIndex, 'the same, but for its salt').toBe(5);
  });

  test("one that stands in another's place is refused", () => {
    const { segments } = three();
    const [first, second, third] = segments as [Uint8Array, Uint8Array, Uint8Array];
    expectRefusal(diskWith(second, second, third), pathOf(1), 0);
    expectRefusal(diskWith(first, first, third), pathOf(2), 0);
  });

  test('records that do not follow each other are refused, though each is good', () => {
    const { bytes, records } = build([20, 20, 20], false);
    const [, a, b] = records as [FoundRecord, FoundRecord, FoundRecord];
    const hole = concatBytes(bytes.subarray(0, a.end), bytes.subarray(b.end));
    expectRefusal(diskWith(hole), pathOf(1), a.end);
    expectRefusal(diskWith(bytes.subarray(a.end)), pathOf(1), 0);
    expectRefusal(diskWith(concatBytes(bytes.subarray(0, a.end), bytes.subarray(a.start))), pathOf(1), a.end);
  });

  test("an empty last one goes on, and other files in the directory are nobody's", () => {
    const { disk } = three(0);
    putFile(disk, `${DIR}/notes.txt`, Uint8Array.of(1));
    const wal = new Wal(disk);
    expect(wal.recovered.tail).toMatchObject({ segment: 3, offset: wal.committer.offset });
    wal.write(entryAt(wal.recovered.lastIndex + 1));
    wal.sync();
    expect(recoverWal(disk, DIR).lastLsn).toBe(wal.recovered.lastLsn + 1);
  });
});

describe('what was trimmed', () => {
  test('never comes back behind new records, whatever a crash keeps', () => {
    forSeeds(25, (random) => {
      const disk = new MemoryDisk({ random });
      const first = new Wal(disk);
      for (let index = 1; index <= 3; index++) first.write(entryAt(index, 200));
      first.sync();
      // Not synced: whole records and half ones may outlive the crash.
      for (let index = 4; index <= 12; index++) first.write(entryAt(index, 300 + below(random, 900)));
      disk.crash({ keep: 'random' });
      const second = new Wal(disk);
      const kept = second.recovered.lastIndex;
      expect(kept).toBeGreaterThanOrEqual(3);
      const written = below(random, 3);
      for (let i = 1; i <= written; i++) second.write(entryAt(kept + i, below(random, 400), 7));
      if (random() < 0.5) second.sync();
      disk.crash({ keep: random() < 0.5 ? 'random' : 'none' });
      for (const { record } of readRecords(disk)) {
        if (record.lsn > kept + 1 && record.kind === 'persist') expect(record.entries[0]?.term).toBe(7);
      }
      expect(recoverWal(disk, DIR).lastIndex).toBeGreaterThanOrEqual(kept);
    });
  });

  test('gives its LSNs to new records, and those are other records', () => {
    const { bytes, records } = build([20, 20, 20], false);
    const disk = diskWith(bytes.subarray(0, records[3]!.end - 1));
    const wal = new Wal(disk);
    expect(wal.write(entryAt(3, 5, 4))).toBe(toLsn(4));
    expect(readRecords(disk).map(({ record }) => record.lsn)).toEqual([1, 2, 3, 4]);
    expect(recoverWal(disk, DIR).runs).toEqual([
      { first: 1, term: 1 },
      { first: 3, term: 4 },
    ]);
  });
});

test('what recovery returns is on the disk, also after a sync that had failed and cannot be believed', () => {
  const disk = new MemoryDisk();
  const first = new Wal(disk);
  first.write(entryAt(1, 2000));
  first.sync();
  for (let index = 2; index <= 5; index++) first.write(entryAt(index, 3000));
  disk.failNext({ op: 'fdatasync', code: 'EIO' });
  expect(() => first.sync()).toThrow('fdatasync failed');
  // The process restarts; the machine does not. Its kernel shows pages that it will never write again.
  const again = recoverWal(disk, DIR);
  expect(again.lastIndex).toBe(5);
  disk.crash({ keep: 'none' });
  expect(recoverWal(disk, DIR).lastIndex).toBe(5);
});

test('waypoints stand at the first entry, about every quarter megabyte, and never behind a revert', () => {
  const disk = new MemoryDisk();
  const wal = new Wal(disk);
  for (let index = 1; index <= 40; index++) wal.write(entryAt(index, 50_000));
  wal.write({ ...entryAt(20, 10, 2), revertFrom: toIndex(20) });
  const { places } = recoverWal(disk, DIR);
  const at = new Map(readRecords(disk).map(({ record, start }) => [start, record]));
  expect(places[0]).toEqual({ index: 1, lsn: 2, segment: 1, offset: readRecords(disk)[0]?.end });
  expect(places.length).toBeGreaterThan(2);
  expect(places.length).toBeLessThan(8);
  expect(places.at(-1)?.index).toBe(20);
  for (const [i, { index, offset }] of places.entries()) {
    const record = at.get(offset);
    expect(record?.kind === 'persist' && record.entries[0]?.index).toBe(index);
    if (i > 0) expect(index).toBeGreaterThan(places[i - 1]!.index);
  }
});
