import { describe, expect, test } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { openEngine } from '../../../src/engine/store/index.ts';
import { seeded } from '../../core/base/seeded.ts';
import { WatchedDisk } from '../../support/engine-disk.ts';
import { bytes, DIR, EngineModel, expectContents, randomOps, SMALL, valueOf } from '../../support/engine-model.ts';

describe('P1: a synced, acknowledged write survives power loss', () => {
  test('at the moment when it is acknowledged, through flushes, compactions and new segments of the log', async () => {
    const disk = new MemoryDisk();
    const engine = await openEngine(DIR, { ...SMALL, disk });
    const model = new EngineModel();
    const random = seeded(1);
    for (let i = 1; i <= 60; i++) {
      await model.write(engine, randomOps(random, i, 20));
      if (i % 3 !== 0) continue;
      const crashed = disk.clone();
      crashed.crash({ keep: 'none' });
      const again = await openEngine(DIR, { ...SMALL, disk: crashed });
      expectContents(again, model.contents);
      await again.close();
    }
    expect(engine.stats().tree).toMatchObject({ frozen: 0 });
    expect(engine.stats().flushedRevision).toBeGreaterThan(20);
    await engine.close();
  });

  test('an unsynced write is durable with the next synced one', async () => {
    const disk = new MemoryDisk();
    const engine = await openEngine(DIR, { ...SMALL, disk });
    const model = new EngineModel();
    await model.write(engine, [['put', 'a', '1']], { sync: false });
    await model.write(engine, [['put', 'b', '2']]);
    disk.crash({ keep: 'none' });
    const again = await openEngine(DIR, { ...SMALL, disk });
    expectContents(again, model.contents);
    await again.close();
  });

  test('an unsynced, acknowledged write survives the end of the process', async () => {
    const disk = new MemoryDisk();
    const engine = await openEngine(DIR, { ...SMALL, disk });
    const model = new EngineModel();
    const random = seeded(2);
    for (let i = 1; i <= 40; i++) await model.write(engine, randomOps(random, i, 20), { sync: false });
    disk.crash({ keep: 'all' });
    const again = await openEngine(DIR, { ...SMALL, disk });
    expectContents(again, model.contents);
    await again.close();
  });

  test('nobody reads a write that asked for a sync before it is durable', async () => {
    const seen: unknown[] = [];
    let isWatched = false;
    const disk: WatchedDisk = new WatchedDisk(new MemoryDisk(), ({ op, path }) => {
      if (isWatched && op === 'fdatasync' && path.endsWith('.wal')) seen.push(engine.getSync(bytes('a')));
    });
    const engine = await openEngine(DIR, { ...SMALL, disk });
    isWatched = true;
    await engine.put(bytes('a'), bytes('1'));
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.every((value) => value === undefined)).toBe(true);
    expect(engine.getSync(bytes('a'))).toEqual(bytes('1'));
    isWatched = false;
    await engine.close();
  });

  test('a table never holds what the log could still lose', async () => {
    const disk = new MemoryDisk();
    // A long log: nothing but the flush itself makes it durable.
    const options = { ...SMALL, disk, walSegmentBytes: 1024 * 1024 };
    const engine = await openEngine(DIR, options);
    const model = new EngineModel();
    for (let i = 1; i <= 10; i++) await model.write(engine, [['put', `k${i}`, valueOf('k', i, 300)]], { sync: false });
    await engine.flush();
    expect(engine.stats().flushedRevision).toBe(10);
    disk.crash({ keep: 'none' });
    const again = await openEngine(DIR, options);
    expect(again.revision).toBe(10);
    expectContents(again, model.contents);
    await again.close();
  });
});
