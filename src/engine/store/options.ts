/**
 * What an embedded store can be told when it is opened, written and read.
 */
import type { TreeFacts } from '../lsm/tree/keeper-world.ts';
import type { Disk } from '../../core/base/env.ts';
import type { CursorBounds } from '../lsm/tree/cursor.ts';
import { type TreeOptions, treeOptions } from '../lsm/tree/options.ts';
import type { TreeSnapshot } from '../lsm/tree/reader.ts';
import type { StallStats } from './stall.ts';

export interface EngineOptions extends Partial<TreeOptions> {
  /** Default: the real disk. */
  readonly disk?: Disk;
  /** False: a directory without a store is an error (BAD_REQUEST). */
  readonly createIfMissing?: boolean;
  /** True: a directory with a store is an error (BAD_REQUEST). */
  readonly errorIfExists?: boolean;
  /** False: whoever opens the store has seen to it that nobody else does. */
  readonly lock?: boolean;
  readonly walSegmentBytes?: number;
  /** Batches that wait for their turn, in bytes. */
  readonly queueBytesMax?: number;
  /** Room that is kept for a full disk; 0: none. */
  readonly reserveBytes?: number;
  /** 'pool': flush and compact in threads. 'inline': here. Default: pool on the real disk. */
  readonly jobs?: 'pool' | 'inline';
  /** False: nothing is compacted unless asked to. */
  readonly autoCompact?: boolean;
  /** Milliseconds since the epoch, for expiry. It may jump; the store's time never goes back. */
  readonly nowMs?: () => number;
  readonly log?: (level: 'debug' | 'info' | 'warn', event: string, fields: Record<string, unknown>) => void;
}

export interface WriteOptions {
  /** False: resolve when it is written to the file (it survives the process, not a power cut). Default true. */
  readonly sync?: boolean;
}

export interface ReadOptions {
  readonly snapshot?: TreeSnapshot | undefined;
}

export interface RangeOptions extends CursorBounds {
  readonly snapshot?: TreeSnapshot | undefined;
}

export interface EngineStats {
  readonly revision: number;
  readonly flushedRevision: number;
  readonly memtableBytes: number;
  readonly tree: TreeFacts;
  readonly cache: Readonly<Record<string, number>>;
  readonly stall: StallStats;
  readonly walSyncs: number;
}

const TREE_OPTIONS: readonly (keyof TreeOptions)[] = Object.keys(treeOptions()) as (keyof TreeOptions)[];

/** Those that are the tree's. */
export function pickTreeOptions(options: EngineOptions): Partial<TreeOptions> {
  return Object.fromEntries(
    TREE_OPTIONS.filter((name) => options[name] !== undefined).map((name) => [name, options[name]]),
  );
}
