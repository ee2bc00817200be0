import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { BlockCache } from '../../../../src/engine/lsm/cache/block-cache.ts';
import { Control } from '../../../../src/engine/lsm/shared/control.ts';
import { Pins, READER_SLOTS } from '../../../../src/engine/lsm/shared/pins.ts';
import { Snapshots } from '../../../../src/engine/lsm/shared/snapshots.ts';
import { letGoOf } from '../../../../src/engine/lsm/tree/dead-reader.ts';
import { createTreeMemory } from '../../../../src/engine/lsm/tree/memory.ts';
import { treeOptions } from '../../../../src/engine/lsm/tree/options.ts';
import { blockKey, blockOf } from '../cache/blocks.ts';

const KIB = 1024;
const BLOCK_BYTES = 4 * KIB;
const DEAD = 7;
const DEATHS = Number(process.env['DEATHS'] ?? 12);

test('a thread that vanishes at any instruction leaves nothing that cannot be let go: no pin, no snapshot, no lock', async () => {
  const options = treeOptions({ memtableBytes: 64 * KIB, memtables: 2, cacheBytes: 256 * KIB });
  const memory = createTreeMemory(options);
  const control = new Control(memory.control);
  control.visible = 10;
  control.currentVersion = 1;
  const pins = new Pins(memory.pins, control);
  const snapshots = new Snapshots(memory.snapshots, control);
  const cache = new BlockCache(memory.cache);
  const own = pins.claim();
  const ownHold = own.hold(own.enter());
  own.leave();
  const ownSnapshot = snapshots.take();
  let found = 0;

  for (let death = 0; death < DEATHS; death++) {
    const workerData = { memory, owner: DEAD, blockBytes: BLOCK_BYTES };
    const worker = new Worker(new URL('./dead-reader-worker.ts', import.meta.url), { workerData });
    await once(worker, 'message');
    // At whatever it is then.
    await sleep(Math.random() * 3);
    await worker.terminate();
    letGoOf(memory, DEAD);

    cache.checkInvariants();
    const { rejected } = cache.stats;
    const key = blockKey(1_000_000 + death, BLOCK_BYTES);
    cache.put(key.fileNumber, key.offset, blockOf(key));
    expect(cache.get(key.fileNumber, key.offset)).toEqual(blockOf(key));
    expect(cache.stats.rejected).toBe(rejected);
    // What it had put is there whole, or not at all.
    for (let i = 0; i < 2_000; i++) {
      const put = blockKey(i, BLOCK_BYTES);
      const block = cache.get(put.fileNumber, put.offset);
      if (block === undefined) continue;
      found++;
      if (Buffer.compare(block, blockOf(put)) !== 0) throw new Error(`block ${i} is another`);
    }
  }
  expect(found).toBeGreaterThan(0);
  // Others keep what is theirs.
  expect(pins.oldest()).toBe(1);
  expect(snapshots.isAnyHeld()).toBe(true);
  ownHold.release();
  ownSnapshot.release();
  expect(pins.oldest()).toBeUndefined();
  expect(snapshots.isAnyHeld()).toBe(false);
  own.close();
  for (let slot = 0; slot < READER_SLOTS; slot++) pins.claim();
});

test('what a living reader holds is not let go for a dead one', () => {
  const memory = createTreeMemory(treeOptions({ memtableBytes: 64 * KIB, memtables: 2, cacheBytes: 256 * KIB }));
  const control = new Control(memory.control);
  control.visible = 10;
  control.currentVersion = 1;
  const pins = new Pins(memory.pins, control);
  const [living, dead] = [pins.claim(1), pins.claim(DEAD)];
  const hold = living.hold(living.enter());
  living.leave();
  dead.enter();
  const snapshot = new Snapshots(memory.snapshots, control, 1).take();
  new Snapshots(memory.snapshots, control, DEAD).take();
  control.visible = 20;
  letGoOf(memory, DEAD);
  expect(pins.oldest()).toBe(1);
  expect(new Snapshots(memory.snapshots, control).raiseFloor(20)).toEqual([10]);
  hold.release();
  snapshot.release();
  expect([pins.oldest(), new Snapshots(memory.snapshots, control).isAnyHeld()]).toEqual([undefined, false]);
});
