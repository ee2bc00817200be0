import { describe, expect, test } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { type Engine, openEngine } from '../../../src/engine/store/index.ts';
import { WatchedDisk } from '../../support/engine-disk.ts';
import { bytes, DIR, EngineModel, expectContents, type Op, SMALL } from '../../support/engine-model.ts';

/** More than a memtable takes, whatever its overhead. */
const large = (value: string, count = 1200): Op[] =>
  Array.from({ length: count }, (_, i) => ['put', `k${i}`, value.repeat(100)] as const);

/** The log becomes durable by nothing but syncs that are asked for. */
const LONG_LOG = { ...SMALL, walSegmentBytes: 4 * 1024 * 1024 };

async function reopened(disk: MemoryDisk): Promise<Engine> {
  return openEngine(DIR, { ...LONG_LOG, disk });
}

describe('P3: batches are all-or-nothing', () => {
  test('a batch larger than a memtable, cut at any moment', { timeout: 120_000 }, async () => {
    const model = new EngineModel();
    const ops: Op[] = [['put', 'before', 'changed'], ...large('x', 800), ['del', 'k7'], ['put', 'k8', 'last']];
    let revisions = '';
    for (let cutAt = 0; ; cutAt++) {
      const inner = new MemoryDisk();
      const first = await reopened(inner);
      const model = new EngineModel();
      await model.write(first, [['put', 'before', '1']]);
      await first.close();
      const disk: WatchedDisk = new WatchedDisk(inner, (_, number) => {
        if (number === cutAt) disk.die();
      });
      try {
        const engine = await openEngine(DIR, { ...LONG_LOG, disk });
        await model.write(engine, ops);
        await engine.settled();
      } catch {
        // The power went; what is there is what counts.
      }
      const isCut = disk.changes > cutAt;
      disk.die();
      inner.crash({ keep: cutAt % 2 === 0 ? 'none' : 'all' });
      const again = await reopened(inner);
      if (!isCut || cutAt % 3 === 0 || again.revision === 1)
        expectContents(again, model.states[again.revision]!, ['k7']);
      revisions += again.revision;
      await again.close();
      if (!isCut || cutAt > 60) break;
    }
    expect(model.attempted).toBe(0);
    // First it is not there, then it is.
    expect(revisions).toMatch(/^1+(?:2|1)*2+$/);
  });

  test('of two writes of a batch to one key the later one counts, also where memtables lie between them', async () => {
    const disk = new MemoryDisk();
    const engine = await reopened(disk);
    const model = new EngineModel();
    await model.write(engine, [
      ['put', 'a', 'first'],
      ['put', 'b', 'first'],
      ...large('y'),
      ['del', 'a'],
      ['put', 'b', 'second'],
    ]);
    expectContents(engine, model.contents, ['a']);
    await engine.flush();
    expectContents(engine, model.contents, ['a']);
    await engine.compact();
    expectContents(engine, model.contents, ['a']);
    await engine.close();
    const again = await reopened(disk);
    expectContents(again, model.contents, ['a']);
    await again.close();
  });

  test('an unsynced batch whose first part is in a table already is lost whole', { timeout: 120_000 }, async () => {
    const inner = new MemoryDisk();
    const crashes: MemoryDisk[] = [];
    let isWatched = false;
    const disk = new WatchedDisk(inner, ({ op, path }) => {
      // Behind the edit that names a table: the batch is still on its way into the next memtables.
      if (!isWatched || op !== 'create' || !path.endsWith('.ldb') || crashes.length >= 6) return;
      crashes.push(inner.clone());
    });
    const engine = await openEngine(DIR, { ...LONG_LOG, disk });
    const model = new EngineModel();
    await model.write(engine, [['put', 'before', '1']]);
    isWatched = true;
    await model.write(engine, large('z', 3000), { sync: false });
    await engine.close();
    expect(crashes.length).toBeGreaterThan(1);

    for (const crashed of crashes) {
      crashed.crash({ keep: 'none' });
      const again = await reopened(crashed);
      const wanted = model.states[again.revision]!;
      expectContents(again, wanted, ['k0']);
      // Its revision is given to another now, which must not bring it back.
      await again.put(bytes('after'), bytes('2'));
      expectContents(again, new Map([...wanted, ['after', '2']]), ['k0']);
      await again.close();
    }
  });
});
