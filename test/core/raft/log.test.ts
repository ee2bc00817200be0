/**
 * RaftLog: what is in memory, what is read back, and the watermarks between.
 */
import { describe, expect, test } from 'vitest';
import { type Index, toIndex, toTerm } from '../../../src/core/base/position.ts';
import { ENTRY_OVERHEAD_BYTES, RaftLog } from '../../../src/core/raft/log.ts';
import type { Entry } from '../../../src/core/raft/types.ts';
import { RaftDisk } from '../../support/raft-disk.ts';

const at = (index: number): Index => toIndex(index);
const entry = (index: number, term: number, bytes = 0): Entry => {
  return { index: toIndex(index), term: toTerm(term), data: new Uint8Array(bytes) };
};

function logOf(terms: readonly number[], committed = 0, cacheBytesMax = 0): { log: RaftLog; disk: RaftDisk } {
  const disk = new RaftDisk({ terms });
  const start = { lastIndex: disk.lastIndex, runs: disk.runs(), source: disk };
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
