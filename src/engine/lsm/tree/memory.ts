/**
 * TreeMemory: everything of a tree that its threads share. Made once, by whoever starts them; each thread attaches to
 * it.
 */
import { createBlockCache } from '../cache/block-cache.ts';
import { createControl } from '../shared/control.ts';
import { createPins } from '../shared/pins.ts';
import { createSnapshots } from '../shared/snapshots.ts';
import { createVersionBoard } from '../shared/version-board.ts';
import { arenaBytes, type TreeOptions } from './options.ts';

export interface TreeMemory {
  readonly control: SharedArrayBuffer;
  readonly pins: SharedArrayBuffer;
  readonly snapshots: SharedArrayBuffer;
  readonly versions: SharedArrayBuffer;
  readonly cache: SharedArrayBuffer;
  readonly arenas: readonly SharedArrayBuffer[];
  /** Per arena: the revision its frozen generation ends at · the version that first did without it. */
  readonly generations: SharedArrayBuffer;
}

export function createTreeMemory(options: TreeOptions): TreeMemory {
  return {
    control: createControl(),
    pins: createPins(),
    snapshots: createSnapshots(),
    versions: createVersionBoard(),
    cache: createBlockCache(options.cacheBytes),
    arenas: Array.from({ length: options.memtables }, () => new SharedArrayBuffer(arenaBytes(options))),
    generations: new SharedArrayBuffer(options.memtables * 16),
  };
}
