/**
 * Stores that differ in everything that must make no difference: each of these has something at its least, so that
 * the case that is rare elsewhere is the rule here.
 */
import type { EngineOptions } from '../../../src/engine/store/index.ts';

const KIB = 1024;
const BASE: EngineOptions = { memtableBytes: 64 * KIB, memtables: 3, batchBytesMax: 64 * KIB, cacheBytes: 256 * KIB };
/** Small in every way. */
export const TINY: EngineOptions = {
  ...BASE,
  memtableBytes: 2 * KIB,
  levelBaseBytes: 4 * KIB,
  tableBytes: KIB,
  blockBytes: 64,
};
const FREE: EngineOptions = { l0Slow: 999, l0Stop: 1000 };

export const SETS: Readonly<Record<string, EngineOptions>> = {
  'all in memory': { ...BASE, memtableBytes: 8 * KIB * KIB },
  'a memtable of 1 KiB': { ...BASE, memtableBytes: KIB },
  'a memtable of 1 byte': { ...BASE, memtableBytes: 1, memtables: 2 },
  'small in every way': TINY,
  'no cache': { ...TINY, cacheBytes: 0 },
  'a tiny cache': { ...TINY, cacheBytes: 4 * KIB },
  'a block per entry': { ...TINY, blockBytes: 1 },
  'a restart per entry': { ...TINY, restartInterval: 1 },
  'no filters': { ...TINY, bloomBitsPerKey: 0 },
  'a filter of 1 bit': { ...TINY, bloomBitsPerKey: 1 },
  'no compression': { ...TINY, compression: 'none' },
  'a table per key': { ...TINY, tableBytes: 1 },
  'levels from 1 byte on': { ...TINY, levelBaseBytes: 1, levelMultiplier: 2 },
  'every table is compacted at once': { ...TINY, l0Compact: 1 },
  'two memtables': { ...TINY, memtables: 2 },
  'sixteen memtables': { ...TINY, memtables: 16 },
  'small segments': { ...TINY, walSegmentBytes: 4 * KIB },
  'nothing compacted unasked': { ...TINY, autoCompact: false, ...FREE },
  'no tables kept open': { ...TINY, tableCacheBytes: 0 },
  'one table open': { ...TINY, openTablesMax: 1 },
  'tables cut at each first byte': { ...TINY, cutPrefixBytes: 1 },
  'keys that go straight down where they can': { ...TINY, risingByte: 0x6b, tableBytes: 1 },
  'everything at its least': {
    ...TINY,
    memtableBytes: 1,
    memtables: 2,
    cacheBytes: 0,
    tableCacheBytes: 0,
    openTablesMax: 1,
    blockBytes: 1,
    restartInterval: 1,
    bloomBitsPerKey: 0,
    compression: 'none',
    tableBytes: 1,
    levelBaseBytes: 1,
    levelMultiplier: 2,
    l0Compact: 1,
    walSegmentBytes: 4 * KIB,
  },
};
