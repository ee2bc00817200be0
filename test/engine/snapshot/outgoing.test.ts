/**
 * A snapshot that could not be made the first time.
 */
import { expect, test } from 'vitest';
import { must } from '../../../src/core/base/assert.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { writeCheckpoint } from '../../../src/engine/lsm/manifest/checkpoint.ts';
import { Manifest } from '../../../src/engine/lsm/manifest/manifest.ts';
import { OutgoingSnapshot } from '../../../src/engine/snapshot/outgoing.ts';
import { seeded } from '../../core/base/seeded.ts';
import { open, write } from '../tools/world.ts';

test('a snapshot that failed when its directory was to stay for good is made the next time', async () => {
  const disk = new MemoryDisk();
  disk.mkdir('/node');
  const engine = await open(disk, '/node/store');
  await write(engine, seeded(1), 40);
  await engine.checkpoint('/node/tree');
  await engine.close();
  const { state } = must(Manifest.recover(disk, '/node/tree', { readOnly: true }), 'a checkpoint is a tree');
  const make = (): OutgoingSnapshot =>
    OutgoingSnapshot.make(disk, '/node/snapshot', (dir) => writeCheckpoint(disk, '/node/tree', dir, state));
  disk.failNext({ op: 'syncDir', path: '/node', code: 'EIO' });
  expect(make).toThrow(/EIO/);
  expect(make().index).toBe(state.lastSequence);
});
