import { describe, expect, test } from 'vitest';
import { type Keep, MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { openEngine } from '../../../src/engine/store/index.ts';
import { openWal } from '../../../src/engine/wal/wal.ts';
import { below, pick, seeded } from '../../core/base/seeded.ts';
import { bytes, DIR, SMALL } from '../../support/engine-model.ts';

describe('P4: revisions and LSNs are never reused', () => {
  test('over closes, power cuts and logs that are flushed away, a durable revision belongs to one write', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = seeded(seed);
      const disk = new MemoryDisk({ random });
      /** By revision, the value that was written and acknowledged as durable with it. */
      const given = new Map<number, string>();
      let highest = 0;
      for (let life = 0; life < 5; life++) {
        const engine = await openEngine(DIR, { ...SMALL, disk });
        expect(engine.revision).toBeGreaterThanOrEqual(highest);
        for (let i = below(random, 12); i > 0; i--) {
          const value = `${life}.${i}`;
          const revision = await engine.put(bytes('k'), bytes(value));
          expect(given.has(revision), `revision ${revision} was given before`).toBe(false);
          expect(revision).toBeGreaterThan(highest);
          given.set(revision, value);
          highest = revision;
          const entry = engine.entrySync(bytes('k'));
          expect(entry).toMatchObject({ revision, value: bytes(value) });
        }
        // Nothing is left in log or memtable that could say how far it was.
        if (random() < 0.5) await engine.delete(bytes('k')).then((revision) => (highest = revision));
        if (random() < 0.5) await engine.compact();
        if (random() < 0.5) await engine.close();
        disk.crash({ keep: pick<Keep>(random, ['none', 'all', 'random']) });
      }
    }
  });

  test('an LSN that was durable is not given again', async () => {
    const random = seeded(3);
    const disk = new MemoryDisk({ random });
    let highest = 0;
    for (let life = 0; life < 12; life++) {
      const wal = await openWal(`${DIR}/wal`, { disk, segmentBytes: 2048 });
      expect(wal.lastLsn).toBeGreaterThanOrEqual(highest);
      for (let i = below(random, 20); i > 0; i--) {
        const { lsn, durable } = wal.append(bytes('x'.repeat(below(random, 400))));
        expect(lsn).toBeGreaterThan(highest);
        await durable;
        highest = lsn;
      }
      if (random() < 0.5) await wal.close();
      disk.crash({ keep: pick<Keep>(random, ['none', 'all', 'random']) });
    }
    expect(highest).toBeGreaterThan(50);
  });

  test('a store that is opened and closed without a write keeps its revision', async () => {
    const disk = new MemoryDisk();
    for (let life = 0; life < 4; life++) {
      const engine = await openEngine(DIR, { ...SMALL, disk });
      expect(engine.revision).toBe(life);
      await engine.close();
      const again = await openEngine(DIR, { ...SMALL, disk });
      expect(await again.put(bytes('k'), bytes('v'))).toBe(life + 1);
      await again.close();
    }
  });
});
