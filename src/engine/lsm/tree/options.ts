/**
 * Options of a tree, with their defaults and what each is allowed to be.
 *
 * Sizes are chosen for control data (megabytes to some gigabytes) on a small machine: a memtable that flushes in a
 * fraction of a second, tables small enough that one compaction is short.
 */
import { StoreError } from '../../../core/base/errors.ts';

export interface TreeOptions {
  /** A memtable is frozen once it holds this much. */
  readonly memtableBytes: number;
  /** Memtables at most: one being written, the others frozen and on their way to a table. */
  readonly memtables: number;
  /** The largest batch, as it lies in a memtable. */
  readonly batchBytesMax: number;
  /** Block cache, shared by all threads. */
  readonly cacheBytes: number;
  /** Index and filter blocks that each reading thread keeps beside the cache. */
  readonly tableCacheBytes: number;
  /** Tables that each reading thread keeps open. */
  readonly openTablesMax: number;
  readonly blockBytes: number;
  readonly restartInterval: number;
  /** 0: no filters. */
  readonly bloomBitsPerKey: number;
  readonly compression: 'snappy' | 'none';
  /** Size at which a table is ended. */
  readonly tableBytes: number;
  /** Levels grow tenfold from about this size; below it level 0 goes straight to the last level. */
  readonly levelBaseBytes: number;
  readonly levelMultiplier: number;
  /** Tables in level 0 that begin a compaction · slow writes down · stop them. */
  readonly l0Compact: number;
  readonly l0Slow: number;
  readonly l0Stop: number;
  /** What compactions may write; 0: as fast as they can. Flushes are not held back. */
  readonly compactionBytesPerSecond: number;
  /** Tables are also ended where this many first bytes of the key change (keyspaces). */
  readonly cutPrefixBytes: number;
  /**
   * First byte of keys that are only ever added behind all others of that first byte (a ledger); 0: there are none. A
   * flush makes tables of their own of them, which go straight to the last level.
   */
  readonly risingByte: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const TREE_DEFAULTS: TreeOptions = {
  memtableBytes: 8 * MIB,
  memtables: 8,
  batchBytesMax: 8 * MIB,
  cacheBytes: 64 * MIB,
  tableCacheBytes: 12 * MIB,
  openTablesMax: 500,
  blockBytes: 4 * KIB,
  restartInterval: 16,
  bloomBitsPerKey: 10,
  compression: 'snappy',
  tableBytes: 4 * MIB,
  levelBaseBytes: 64 * MIB,
  levelMultiplier: 10,
  l0Compact: 4,
  l0Slow: 8,
  l0Stop: 12,
  compactionBytesPerSecond: 0,
  cutPrefixBytes: 0,
  risingByte: 0,
};

/** What each number may be: [least, most]. */
const RANGES: Readonly<Record<Exclude<keyof TreeOptions, 'compression'>, readonly [number, number]>> = {
  memtableBytes: [1, 512 * MIB],
  memtables: [2, 16],
  batchBytesMax: [64 * KIB, 256 * MIB],
  cacheBytes: [0, 16 * 1024 * MIB],
  tableCacheBytes: [0, 16 * 1024 * MIB],
  openTablesMax: [1, 100_000],
  blockBytes: [1, 4 * MIB],
  restartInterval: [1, 1024],
  bloomBitsPerKey: [0, 64],
  tableBytes: [1, 1024 * MIB],
  levelBaseBytes: [1, 1024 * 1024 * MIB],
  levelMultiplier: [2, 100],
  l0Compact: [1, 1000],
  l0Slow: [1, 1000],
  l0Stop: [2, 1000],
  compactionBytesPerSecond: [0, 1024 * 1024 * MIB],
  cutPrefixBytes: [0, 16],
  risingByte: [0, 255],
};

/** The defaults with what was given; CONFIG_INVALID names the first value that cannot be. */
export function treeOptions(given: Partial<TreeOptions> = {}): TreeOptions {
  const options: TreeOptions = { ...TREE_DEFAULTS, ...given };
  for (const [name, [least, most]] of Object.entries(RANGES)) {
    const value = options[name as keyof typeof RANGES];
    if (!Number.isInteger(value) || value < least || value > most) {
      throw invalid(`${name} is a whole number from ${least} to ${most}; it is ${String(value)}`);
    }
  }
  if (options.compression !== 'snappy' && options.compression !== 'none') {
    throw invalid(`compression is 'snappy' or 'none'; it is '${String(options.compression)}'`);
  }
  if (options.l0Slow < options.l0Compact || options.l0Stop <= options.l0Slow) {
    throw invalid('l0Compact <= l0Slow < l0Stop: writes slow down before they stop, and compaction begins before');
  }
  return options;
}

/** Room of one memtable: what it is frozen at, and one batch more; its index takes a 16th of it. */
export const arenaBytes = (options: TreeOptions): number => {
  const bytes = ((options.memtableBytes + options.batchBytesMax + 64 * KIB) * 16) / 15;
  return Math.ceil(bytes / 4096) * 4096;
};

const invalid = (message: string): StoreError => new StoreError('CONFIG_INVALID', `engine: ${message}`);
