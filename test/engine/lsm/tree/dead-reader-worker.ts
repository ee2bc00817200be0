/** Reads and caches without an end, and tells after a while that it is at it; its thread is ended from outside. */
import { parentPort, workerData } from 'node:worker_threads';
import { BlockCache } from '../../../../src/engine/lsm/cache/block-cache.ts';
import { Control } from '../../../../src/engine/lsm/shared/control.ts';
import { Pins } from '../../../../src/engine/lsm/shared/pins.ts';
import { Snapshots } from '../../../../src/engine/lsm/shared/snapshots.ts';
import type { TreeMemory } from '../../../../src/engine/lsm/tree/memory.ts';
import { blockKey, blockOf } from '../cache/blocks.ts';

const { memory, owner, blockBytes } = workerData as { memory: TreeMemory; owner: number; blockBytes: number };
const control = new Control(memory.control);
const slot = new Pins(memory.pins, control).claim(owner);
const snapshots = new Snapshots(memory.snapshots, control, owner);
const cache = new BlockCache(memory.cache, owner);
const kept = snapshots.take();
for (let i = 0; ; i++) {
  const hold = slot.hold(slot.enter());
  const snapshot = snapshots.take();
  const key = blockKey(i, blockBytes);
  cache.put(key.fileNumber, key.offset, blockOf(key));
  const again = blockKey(Math.max(0, i - 5), blockBytes);
  cache.get(again.fileNumber, again.offset);
  slot.leave();
  snapshot.release();
  hold.release();
  if (i === 50) parentPort?.postMessage(kept.revision);
}
