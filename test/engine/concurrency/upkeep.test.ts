import { describe, expect, test } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { openEngine } from '../../../src/engine/store/index.ts';
import { seeded } from '../../core/base/seeded.ts';
import { bytes, DIR, EngineModel, expectContents, randomOps, SMALL } from '../../support/engine-model.ts';

describe('upkeep that is asked for', () => {
  test('may be asked for twice at once, while writes go on', async () => {
    const engine = await openEngine(DIR, { ...SMALL, disk: new MemoryDisk() });
    const model = new EngineModel();
    const random = seeded(1);
    for (let round = 0; round < 8; round++) {
      const writes = Array.from({ length: 20 }, () => model.write(engine, randomOps(random, model.attempted + 1, 40)));
      await Promise.all([engine.compact(), engine.flush(), engine.compact(), engine.settled(), ...writes]);
      await engine.compact();
      expectContents(engine, model.contents);
    }
    expect(engine.failure).toBe(undefined);
    await engine.close();
  });

  test('does not begin to compact by itself where that was turned off', async () => {
    const engine = await openEngine(DIR, { ...SMALL, disk: new MemoryDisk(), autoCompact: false });
    for (let round = 0; round < 3; round++) {
      await engine.compact();
      for (let i = 0; i < 4; i++) {
        await engine.put(bytes(`k${i}`), bytes(`${round}`));
        await engine.flush();
      }
      await engine.settled();
      expect(engine.stats().tree).toMatchObject({ tables: [4, 0, 0, 0, 0, 0, round === 0 ? 0 : 1] });
    }
    await engine.close();
  });

  test('ends with the store, whatever is under way', async () => {
    for (let turns = 0; turns < 12; turns++) {
      const disk = new MemoryDisk();
      const engine = await openEngine(DIR, { ...SMALL, disk });
      const model = new EngineModel();
      const random = seeded(turns);
      for (let i = 1; i <= 20; i++) await model.write(engine, randomOps(random, i, 40));
      const asked = Promise.allSettled([engine.compact(), engine.flush(), engine.compact()]);
      for (let i = 0; i < turns; i++) await Promise.resolve();
      await engine.close();
      for (const end of await asked) {
        if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'CLOSED' });
      }
      const again = await openEngine(DIR, { ...SMALL, disk });
      expectContents(again, model.contents);
      await again.close();
    }
  });
});
