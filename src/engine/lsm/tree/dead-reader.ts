/**
 * Dead reader: lets go of what a thread held of a tree when it vanished at whatever instruction: its pin, its snapshots,
 * the lock of the block cache. Only for a thread that reads, and only once it has ended: what a writer leaves half done
 * cannot be mended so.
 */
import { BlockCache } from '../cache/block-cache.ts';
import { Control } from '../shared/control.ts';
import { Pins } from '../shared/pins.ts';
import { Snapshots } from '../shared/snapshots.ts';
import type { TreeMemory } from './memory.ts';

export function letGoOf(memory: TreeMemory, owner: number): void {
  const control = new Control(memory.control);
  new Pins(memory.pins, control).releaseOf(owner);
  new Snapshots(memory.snapshots, control).releaseOf(owner);
  new BlockCache(memory.cache).releaseOf(owner);
}
