import { describe, expect, test } from 'vitest';
import { StoreError } from '../../../src/core/base/errors.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { openEngine } from '../../../src/engine/store/index.ts';
import { seeded } from '../../core/base/seeded.ts';
import { readAll } from '../../suites/disk-suite.ts';
import { filesBelow } from '../../support/engine-disk.ts';
import { DIR, EngineModel, expectContents, randomOps, SMALL, valueOf } from '../../support/engine-model.ts';

function overwrite(disk: MemoryDisk, path: string, content: Uint8Array): void {
  if (disk.exists(path)) disk.remove(path);
  const file = disk.open(path, 'create');
  file.write(content, 0);
  file.fdatasync();
  file.close();
  disk.syncDir(DIR);
}

async function failureOf(disk: MemoryDisk): Promise<StoreError> {
  try {
    await (await openEngine(DIR, { ...SMALL, disk })).close();
  } catch (error) {
    expect(error).toBeInstanceOf(StoreError);
    return error as StoreError;
  }
  return expect.fail('the store was opened');
}

describe('P2: recovery yields a prefix of the write order: no hole', () => {
  test('of writes that were not synced, the first so many are there', async () => {
    const revisions = new Set<number>();
    for (let seed = 1; seed <= 20; seed++) {
      const random = seeded(seed);
      const disk = new MemoryDisk({ random });
      const options = { ...SMALL, disk, walSegmentBytes: 64 * 1024, memtableBytes: 16 * 1024 };
      const engine = await openEngine(DIR, options);
      const model = new EngineModel();
      for (let i = 1; i <= 30; i++) await model.write(engine, randomOps(random, i, 20), { sync: i === 4 });
      disk.crash({ keep: 'random' });
      const again = await openEngine(DIR, options);
      expect(again.revision).toBeGreaterThanOrEqual(4);
      expectContents(again, model.states[again.revision]!, model.contents.keys());
      revisions.add(again.revision);
      await again.close();
    }
    // Neither all nor none, or this would show nothing.
    expect(revisions.size).toBeGreaterThan(3);
  });

  test('a log that begins behind what the tables hold is refused', async () => {
    const disk = new MemoryDisk();
    const model = new EngineModel();
    const engine = await openEngine(DIR, { ...SMALL, disk, autoCompact: false });
    await model.write(engine, [['put', 'a', '1']]);
    await engine.flush();
    const manifests = filesBelow(disk, DIR).filter((path) => path.includes('MANIFEST-'));
    expect(manifests.length).toBe(1);
    const before = readAll(disk, manifests[0]!);
    // The log loses its beginning, as the tables have it.
    for (let i = 2; i <= 30; i++) await model.write(engine, [['put', `k${i}`, valueOf('k', i, 500)]]);
    await engine.flush();
    const segments = filesBelow(disk, `${DIR}/wal`).filter((path) => /\/\d+\.wal$/.test(path));
    await engine.close();
    expect(segments.some((path) => path.endsWith('000001.wal'))).toBe(false);
    // … and the manifest its end.
    overwrite(disk, manifests[0]!, before);
    const { code, data } = await failureOf(disk);
    expect(code).toBe('WAL_CORRUPT');
    expect(data).toMatchObject({ file: expect.stringContaining('wal') });
  });

  test('a log that ends before what the tables hold is refused', async () => {
    const disk = new MemoryDisk();
    const model = new EngineModel();
    const engine = await openEngine(DIR, { ...SMALL, disk });
    for (let i = 1; i <= 10; i++) await model.write(engine, [['put', `k${i}`, valueOf('k', i)]]);
    await engine.flush();
    await engine.close();
    for (const path of filesBelow(disk, `${DIR}/wal`)) disk.remove(path);
    expect((await failureOf(disk)).code).toBe('WAL_CORRUPT');
  });

  test('a log without its tables is refused', async () => {
    const disk = new MemoryDisk();
    const model = new EngineModel();
    const engine = await openEngine(DIR, { ...SMALL, disk });
    for (let i = 1; i <= 30; i++) await model.write(engine, [['put', `k${i}`, valueOf('k', i, 500)]]);
    await engine.flush();
    await engine.close();
    for (const path of filesBelow(disk, DIR)) if (!path.includes('/wal/')) disk.remove(path);
    expect((await failureOf(disk)).code).toBe('WAL_CORRUPT');
  });
});
