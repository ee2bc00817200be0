/**
 * RaftLog: what is in memory, what is read back, and the watermarks between.
 */
import { describe, expect, test } from 'vitest';
import { type Index, toIndex, toTerm } from '../../../src/core/base/position.ts';
import { ENTRY_OVERHEAD_BYTES, RaftLog } from '../../../src/core/raft/log.ts';
import type { Entry } from '../../../src/core/raft/types.ts';
import { RaftDisk } from '../../support/raft-disk.ts';
import { below, forSeeds } from '../base/seeded.ts';

const at = (index: number): Index => toIndex(index);
const entry = (index: number, term: number, bytes = 0): Entry => {
  return { index: toIndex(index), term: toTerm(term), data: new Uint8Array(bytes) };
};

function logOf(
  terms: readonly number[],
  committed = 0,
  cacheBytesMax = 0,
  begins: { base: number; flushed?: number } = { base: 0 },
): { log: RaftLog; disk: RaftDisk } {
  const disk = new RaftDisk({ terms, flushed: begins.base, ...begins });
  const base = { baseIndex: disk.base, baseTerm: disk.baseTerm, appliedIndex: disk.flushed };
  const start = { ...base, lastIndex: disk.lastIndex, runs: disk.runs(), source: disk };
  return { log: new RaftLog({ ...start, committed: at(committed), cacheBytesMax }), disk };
}

describe('terms', () => {
  test('of any entry are known without reading it', () => {
    const { log, disk } = logOf([1, 1, 4, 4, 4, 7]);
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((index) => log.term(at(index)))).toEqual([0, 1, 1, 4, 4, 4, 7, undefined]);
    expect(disk.readCount).toBe(0);
  });

  test('go with the entries that are reverted', () => {
    const { log } = logOf([1, 1, 4, 4, 7]);
    log.truncate(at(4));
    expect(log).toMatchObject({ last: 3, lastTerm: 4, stable: 3 });
    log.truncate(at(3));
    expect(log.lastTerm).toBe(1);
    log.append([entry(3, 9)]);
    expect([1, 2, 3, 4].map((index) => log.term(at(index)))).toEqual([1, 1, 9, undefined]);
    log.truncate(at(1));
    expect(log).toMatchObject({ last: 0, lastTerm: 0 });
    log.checkInvariants();
  });

  test('find where two logs may agree: the last entry whose term is not later', () => {
    const { log } = logOf([1, 1, 4, 4, 4, 7]);
    expect(log.findByTerm(at(6), toTerm(7))).toBe(6);
    expect(log.findByTerm(at(6), toTerm(5))).toBe(5);
    expect(log.findByTerm(at(4), toTerm(5))).toBe(4);
    expect(log.findByTerm(at(6), toTerm(3))).toBe(2);
    expect(log.findByTerm(at(99), toTerm(9))).toBe(6);
    expect(log.findByTerm(at(6), toTerm(0))).toBe(0);
  });

  test('never fall along the log, and indexes have no gaps', () => {
    const { log } = logOf([3]);
    expect(() => log.append([entry(2, 2)])).toThrow('terms never fall');
    expect(() => log.append([entry(3, 3)])).toThrow('no gaps');
  });
});

describe('bytes', () => {
  test('uncommitted ones are counted from append to commit, and a revert gives them back', () => {
    const { log } = logOf([1]);
    log.append([entry(2, 1, 10), entry(3, 1, 20), entry(4, 1, 30)]);
    expect(log.uncommittedBytes).toBe(60 + 3 * ENTRY_OVERHEAD_BYTES);
    log.commitTo(at(2));
    expect(log.uncommittedBytes).toBe(50 + 2 * ENTRY_OVERHEAD_BYTES);
    log.truncate(at(4));
    expect(log.uncommittedBytes).toBe(20 + ENTRY_OVERHEAD_BYTES);
    log.commitTo(at(3));
    expect(log.uncommittedBytes).toBe(0);
  });

  test('unsynced ones are counted from append to sync, and a revert gives them back', () => {
    const { log } = logOf([1]);
    log.append([entry(2, 1, 10), entry(3, 1, 20), entry(4, 1, 30)]);
    log.commitTo(at(4));
    expect(log.unstableBytes).toBe(60 + 3 * ENTRY_OVERHEAD_BYTES);
    log.stableTo(at(3));
    expect(log.unstableBytes).toBe(30 + ENTRY_OVERHEAD_BYTES);
    log.append([entry(5, 1, 5), entry(6, 1, 6)]);
    log.truncate(at(6));
    expect(log.unstableBytes).toBe(35 + 2 * ENTRY_OVERHEAD_BYTES);
    log.stableTo(at(5));
    expect(log.unstableBytes).toBe(0);
    log.checkInvariants();
  });

  test('a slice holds at least one entry and at most its bytes', () => {
    const { log } = logOf([]);
    log.append([entry(1, 1, 1000), entry(2, 1, 10), entry(3, 1, 10), entry(4, 1, 10)]);
    const bytesMax = 2 * (10 + ENTRY_OVERHEAD_BYTES);
    expect(log.slice(at(1), at(5), bytesMax)).toHaveLength(1);
    expect(log.slice(at(2), at(5), bytesMax)).toHaveLength(2);
    expect(log.slice(at(2), at(3), 1_000_000)).toHaveLength(1);
    expect(log.slice(at(3), at(3), 1_000_000)).toEqual([]);
  });
});

describe('memory', () => {
  test('lets go of what is committed and on disk, applied or not; it is read back', () => {
    const { log, disk } = logOf([]);
    const entries = [1, 2, 3, 4].map((index) => entry(index, 1, 10));
    log.append(entries);
    disk.entries.push(...entries);
    log.commitTo(at(3));
    log.stableTo(at(2));
    expect(log.slice(at(3), at(5), 1_000_000)).toHaveLength(2);
    expect(disk.readCount).toBe(0);
    expect(log.takeApply(1_000_000).map(({ index }) => index)).toEqual([1, 2]);
    expect(disk.readCount).toBe(1);
    expect(log.slice(at(1), at(5), 1_000_000).map(({ index }) => index)).toEqual([1, 2]);
    expect(disk.readCount).toBe(2);
    log.checkInvariants();
  });

  test('an entry read back that is not the one of the log stops the node', () => {
    const { log, disk } = logOf([1, 1]);
    disk.entries[0] = entry(1, 9);
    expect(() => log.slice(at(1), at(2), 100)).toThrow('agree');
  });
});

describe('watermarks', () => {
  test('an entry is handed out to be applied once, when it is committed and on disk', () => {
    const { log } = logOf([], 0, 1_000_000);
    log.append([entry(1, 1), entry(2, 1)]);
    log.commitTo(at(2));
    expect(log.takeApply(100)).toEqual([]);
    log.stableTo(at(1));
    expect(log.takeApply(0)).toEqual([]);
    expect(log.takeApply(100)).toHaveLength(1);
    expect(log.takeApply(100)).toEqual([]);
    log.stableTo(at(2));
    expect(log.takeApply(100).map(({ index }) => index)).toEqual([2]);
  });

  test('what is committed is never reverted, and what is not there is never committed', () => {
    const { log } = logOf([1, 1], 1);
    expect(() => log.truncate(at(1))).toThrow('never reverted');
    expect(() => log.commitTo(at(3))).toThrow('that are there');
    log.commitTo(at(0));
    expect(log.committed).toBe(1);
  });
});

describe('a log that begins later', () => {
  const indexes = [0, 1, 2, 3, 4, 5, 6, 7];

  test('knows the terms of what is left and of the last entry that is gone', () => {
    const { log, disk } = logOf([1, 1, 4, 4, 4, 7], 0, 0, { base: 3 });
    expect(log).toMatchObject({ base: 3, baseTerm: 4, first: 4, last: 6, lastTerm: 7, stable: 6 });
    const known = [undefined, undefined, undefined, 4, 4, 4, 7, undefined];
    expect(indexes.map((index) => log.term(at(index)))).toEqual(known);
    expect(log.matches(at(3), toTerm(4))).toBe(true);
    expect(log.matches(at(2), toTerm(1))).toBe(false);
    expect(disk.readCount).toBe(0);
    log.checkInvariants();
  });

  test('may have nothing left, and still says how new it is', () => {
    const { log } = logOf([1, 4], 0, 0, { base: 2 });
    expect(log).toMatchObject({ base: 2, first: 3, last: 2, lastTerm: 4, committed: 2, applying: 2 });
    expect(log.isUpToDate(at(2), toTerm(4))).toBe(true);
    expect(log.isUpToDate(at(1), toTerm(4))).toBe(false);
    expect(log.isUpToDate(at(9), toTerm(3))).toBe(false);
    // The base's term goes on, and then another begins.
    log.append([entry(3, 4), entry(4, 5)]);
    expect([2, 3, 4].map((index) => log.term(at(index)))).toEqual([4, 4, 5]);
    log.checkInvariants();
    log.truncate(at(3));
    expect(log.lastTerm).toBe(4);
    expect(() => log.append([entry(3, 3)])).toThrow('terms never fall');
    log.checkInvariants();
  });

  test('finds where two logs may agree no earlier than it knows terms', () => {
    const { log } = logOf([1, 1, 4, 4, 4, 7], 0, 0, { base: 4 });
    expect(log.findByTerm(at(6), toTerm(7))).toBe(6);
    expect(log.findByTerm(at(6), toTerm(5))).toBe(5);
    expect(log.findByTerm(at(6), toTerm(4))).toBe(5);
    // The base is of term 4: if the logs agree at all it is before it.
    expect(log.findByTerm(at(6), toTerm(3))).toBe(3);
    expect(log.findByTerm(at(4), toTerm(3))).toBe(3);
    // Asked about what is gone it has nothing better to say.
    expect(log.findByTerm(at(2), toTerm(1))).toBe(2);
    expect(log.findByTerm(at(0), toTerm(0))).toBe(0);
  });

  test('hands out what comes after the state machine, which proves that it was committed', () => {
    const { log } = logOf([1, 1, 2, 2, 2], 1, 0, { base: 1, flushed: 3 });
    expect(log).toMatchObject({ committed: 3, applying: 3 });
    expect(log.takeApply(1000)).toEqual([]);
    log.commitTo(at(5));
    expect(log.takeApply(1000).map(({ index }) => index)).toEqual([4, 5]);
  });

  test('does not begin with a state machine that lacks what is gone, or has what never was', () => {
    expect(() => logOf([1, 1, 1], 3, 0, { base: 2, flushed: 1 })).toThrow('what the log has lost');
    expect(() => logOf([1, 1, 1], 3, 0, { base: 2, flushed: 4 })).toThrow('applied entries are in the log');
    const { disk } = logOf([1, 1, 1]);
    const start = { source: disk, cacheBytesMax: 0, committed: at(3), lastIndex: at(3), appliedIndex: at(2) };
    const of = (baseIndex: number, baseTerm: number, first: number): RaftLog =>
      new RaftLog({
        ...{ ...start, baseIndex: at(baseIndex), baseTerm: toTerm(baseTerm) },
        runs: [{ first: at(first), term: toTerm(1) }],
      });
    expect(of(1, 1, 2).first).toBe(2);
    expect(() => of(1, 1, 1)).toThrow('begin at first');
    expect(() => of(0, 0, 2)).toThrow('begin at first');
    expect(() => of(1, 0, 2)).toThrow('every entry has a term');
    expect(() => of(1, 2, 2)).toThrow('terms never fall');
  });

  test('lets go of entries in memory and of their runs; what is left is read as before', () => {
    const { log, disk } = logOf([], 0, 1_000_000);
    const entries = [entry(1, 1, 10), entry(2, 1, 10), entry(3, 4, 10), entry(4, 4, 10), entry(5, 7, 10)];
    log.append(entries);
    disk.entries.push(...entries);
    log.stableTo(at(5));
    log.commitTo(at(4));
    log.takeApply(1_000_000);
    log.matchedByAllTo(at(5));
    log.compactTo(at(3));
    expect(log).toMatchObject({ base: 3, baseTerm: 4, first: 4, last: 5 });
    expect(indexes.map((index) => log.term(at(index)))).toEqual([...Array(3), 4, 4, 7, undefined, undefined]);
    expect(log.slice(at(4), at(6), 1_000_000)).toEqual(entries.slice(3));
    expect(disk.readCount).toBe(0);
    expect(() => log.slice(at(3), at(6), 1_000_000)).toThrow('inside the log');
    expect(log.uncommittedBytes).toBe(10 + ENTRY_OVERHEAD_BYTES);
    log.checkInvariants();
    // Once more, or less far: nothing happens.
    log.compactTo(at(2));
    log.compactTo(at(3));
    expect(log.base).toBe(3);
  });

  test('lets go of nothing that is not applied, committed, and on this disk', () => {
    const { log, disk } = logOf([], 0, 0);
    const entries = [1, 2, 3, 4].map((index) => entry(index, 1));
    log.append(entries);
    disk.entries.push(...entries);
    expect(() => log.compactTo(at(1))).toThrow('handed out');
    log.commitTo(at(3));
    log.stableTo(at(4));
    log.takeApply(1_000_000);
    log.takeApply(1_000_000);
    expect(() => log.compactTo(at(4))).toThrow('handed out');
    log.matchedByAllTo(at(2));
    expect(log.truncatable).toBe(2);
    log.matchedByAllTo(at(9));
    expect(log.truncatable).toBe(3);
    log.matchedByAllTo(at(1));
    expect(log.truncatable).toBe(3);
    log.compactTo(at(3));
    expect(() => log.truncate(at(3))).toThrow('never reverted');
  });

  test('is, wherever it begins, the rest of a log that begins with index 1', () => {
    let compactions = 0;
    forSeeds(150, (random) => {
      const disk = new RaftDisk();
      const zero = { baseIndex: at(0), baseTerm: toTerm(0), appliedIndex: at(0), committed: at(0), lastIndex: at(0) };
      const log = new RaftLog({ ...zero, runs: [], source: disk, cacheBytesMax: below(random, 300) });
      const all: Entry[] = [];
      const applied: Entry[] = [];
      for (let step = 0; step < 120; step++) {
        const from = Math.max(log.committed, below(random, 3) === 0 ? 0 : all.length) + 1;
        switch (below(random, 6)) {
          case 0: {
            const term = (all.at(-1)?.term ?? 1) + below(random, 2);
            const added = Array.from({ length: below(random, 4) }, (_, i) => {
              return entry(all.length + 1 + i, term, below(random, 20));
            });
            log.append(added);
            all.push(...added);
            break;
          }
          case 1:
            if (from > all.length) break;
            log.truncate(at(from));
            all.length = from - 1;
            disk.entries.length = Math.min(disk.entries.length, from - 1);
            break;
          case 2:
            disk.entries.push(
              ...all.slice(disk.entries.length, log.stable + below(random, all.length - log.stable + 1)),
            );
            log.stableTo(disk.lastIndex);
            break;
          case 3:
            log.commitTo(at(log.committed + below(random, all.length - log.committed + 1)));
            break;
          case 4:
            applied.push(...log.takeApply(below(random, 100)));
            break;
          default:
            log.matchedByAllTo(at(below(random, all.length + 3)));
            log.compactTo(at(log.base + below(random, Math.max(0, log.truncatable - log.base) + 1)));
            // The disk removes at once what it may.
            disk.flushed = log.base;
            if (log.base > disk.base) compactions++;
            disk.removeTo(log.base);
        }
        log.checkInvariants();
        expect(log.applying).toBe(applied.length);
        const terms = Array.from({ length: all.length + 2 }, (_, index) => log.term(at(index)));
        const known = [0, ...all.map((each) => each.term), undefined];
        expect(terms).toEqual(known.map((term, index) => (index < log.base ? undefined : term)));
        if (log.last > log.base) {
          const lo = log.first + below(random, log.last - log.base);
          const slice = log.slice(at(lo), at(log.last + 1), below(random, 200));
          expect(slice.length).toBeGreaterThan(0);
          expect(slice).toEqual(all.slice(lo - 1, lo - 1 + slice.length));
        }
        const index = at(below(random, all.length + 2));
        const term = toTerm(below(random, (all.at(-1)?.term ?? 0) + 2));
        const found = log.findByTerm(index, term);
        let expected = Math.min(index, all.length);
        while (expected > 0 && (all[expected - 1]?.term ?? 0) > term) expected--;
        if (expected >= log.base) expect(found).toBe(expected);
        else expect(found).toBeLessThan(log.base);
      }
      expect(applied).toEqual(all.slice(0, applied.length));
    });
    expect(compactions).toBeGreaterThan(150);
  });
});
