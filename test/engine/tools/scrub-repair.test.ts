/** Scrub and repair: damage of every kind is named; what repair makes opens, and its word on it is right. */
import { describe, expect, test } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import type { Disk } from '../../../src/core/base/env.ts';
import { findDataDir } from '../../../src/engine/tools/data-dir.ts';
import { type ErrorCode, StoreError } from '../../../src/core/base/errors.ts';
import { markDamaged, refuseDamaged } from '../../../src/engine/disk/damaged.ts';
import { planRepair, repair } from '../../../src/engine/tools/repair.ts';
import { scrub } from '../../../src/engine/tools/scrub.ts';
import { openWalReadOnly } from '../../../src/engine/wal/read-only.ts';
import { ByteWriter } from '../../../src/core/base/bytes.ts';
import { MACHINE_KEY } from '../../../src/engine/state/keyspaces.ts';
import { below, seeded } from '../../core/base/seeded.ts';
import { bytes, turn } from '../store/world.ts';
import { backup, BUSY, contentsOf, interrupted, open, reading, rowsOf, snapshot, STORE, write } from './world.ts';

/** Several tables, several segments. */
async function filled(seed = 1): Promise<{ disk: MemoryDisk; rows: Map<string, string> }> {
  const disk = new MemoryDisk();
  const engine = await open(disk, '/db', { ...BUSY, autoCompact: false });
  await write(engine, seeded(seed), 300);
  const rows = rowsOf(engine);
  await engine.close();
  return { disk, rows };
}

const namesOf = (disk: Disk, suffix: string): string[] =>
  [...disk.list('/db').map((name) => `/db/${name}`), ...disk.list('/db/wal').map((name) => `/db/wal/${name}`)].filter(
    (path) => path.endsWith(suffix) && !path.includes('spare'),
  );

function sizeOf(disk: Disk, path: string): number {
  const file = disk.open(path, 'read');
  try {
    return file.size();
  } finally {
    file.close();
  }
}

describe('scrub', () => {
  test('finds nothing in a whole store, and changes nothing', async () => {
    const { disk } = await filled();
    const before = snapshot(disk, '/db');
    const report = await scrub({ disk, dir: STORE });
    expect(report.damages).toEqual([]);
    expect(report.tables).toBeGreaterThan(3);
    expect(report.walRecords).toBeGreaterThan(0);
    expect(snapshot(disk, '/db')).toEqual(before);
  });

  test('a bit anywhere in a table is found, and told with its file', async () => {
    const { disk } = await filled();
    const random = seeded(7);
    for (const path of namesOf(disk, '.ldb').slice(0, 3)) {
      const size = sizeOf(disk, path);
      for (let i = 0; i < 10; i++) {
        const at = below(random, size);
        const bit = below(random, 8);
        disk.flipBit(path, at, bit);
        const { damages } = await scrub({ disk, dir: STORE });
        expect(
          damages.map(({ code, file }) => ({ code, file })),
          `${path} ${at} ${bit}`,
        ).toEqual([{ code: 'TABLE_CORRUPT', file: path }]);
        disk.flipBit(path, at, bit);
      }
    }
  });

  test('each damage is told: two tables, a missing one, the log', async () => {
    const { disk } = await filled();
    const [a = '', b = '', c = ''] = namesOf(disk, '.ldb');
    const [segment = ''] = namesOf(disk, '.wal');
    disk.flipBit(a, 100, 0);
    disk.flipBit(b, 100, 0);
    disk.remove(c);
    disk.flipBit(segment, 200, 0);
    const told: string[] = [];
    const { damages } = await scrub({
      disk,
      dir: STORE,
      onDamage: async ({ file }) => void told.push(file),
    });
    expect(damages.map(({ file }) => file)).toEqual([a, b, c, segment]);
    expect(told).toEqual([a, b, c, segment]);
  });

  test('a damaged manifest is told, and the log is looked at all the same', async () => {
    const { disk } = await filled();
    const [segment = ''] = namesOf(disk, '.wal');
    const manifest = disk.list('/db').find((name) => name.startsWith('MANIFEST')) ?? '';
    disk.flipBit(`/db/${manifest}`, 10, 0);
    disk.flipBit(segment, 200, 0);
    const { damages } = await scrub({ disk, dir: STORE });
    expect(damages.map(({ file }) => file)).toEqual([`/db/${manifest}`, segment]);
  });

  test('a log that ends before the tables is told', async () => {
    const { disk } = await filled();
    for (const path of namesOf(disk, '.wal')) disk.remove(path);
    const { damages } = await scrub({ disk, dir: STORE });
    expect(damages).toMatchObject([{ code: 'WAL_CORRUPT', message: expect.stringContaining('ends at 0') as string }]);
  });

  test('beside a store at work: what is removed meanwhile, and what is written, is no damage', async () => {
    let passedOver = 0;
    for (const seed of [1, 2, 3, 4]) {
      const disk = new MemoryDisk();
      const random = seeded(seed);
      const engine = await open(disk);
      await write(engine, random, 150);
      for (let round = 0; round < 3; round++) {
        const report = await scrub({
          disk,
          dir: STORE,
          onProgress: async () => {
            await write(engine, random, 25);
            await turn();
          },
        });
        expect(report.damages).toEqual([]);
        passedOver += report.passedOver;
      }
      await engine.close();
    }
    expect(passedOver).toBeGreaterThan(0);
  });

  test('records that are written while the end of the log is looked at are not damage', async () => {
    const disk = new MemoryDisk();
    const engine = await open(disk, '/db', { ...BUSY, memtableBytes: 64 * 1024 });
    await write(engine, seeded(9), 5);
    // Group after group is synced between any two reads, so later records prove the sync of what was not yet there.
    const wal = disk.list('/db/wal').find((name) => /^\d+\.wal$/.test(name)) ?? '';
    const whole = disk.clone();
    await write(engine, seeded(10), 12);
    /** Its first `early` reads of the segment see it as it was, the later ones as it is. */
    const grown = (early: number): Disk => {
      let reads = 0;
      return {
        ...interrupted(whole, () => {}),
        open: (path, mode) => {
          const before = whole.open(path, mode);
          if (!path.endsWith(wal)) return before;
          const after = disk.open(path, mode);
          return {
            ...reading(after, () => {}),
            read: (into, offset, length, position) =>
              (reads++ < early ? before : after).read(into, offset, length, position),
          };
        },
      };
    };
    let seemedDamaged = 0;
    for (let early = 0; early < 8; early++) {
      const records = openWalReadOnly('/db/wal', { disk: grown(early) }).records();
      let step = records.next();
      while (step.done !== true) step = records.next();
      if (step.value.state === 'damaged') seemedDamaged++;
      expect((await scrub({ disk: grown(early), dir: STORE })).damages).toEqual([]);
      const { set } = await backup(grown(early), { isLive: true, backupDir: `/backup-${early}` });
      expect(set.lastIndex).toBeGreaterThanOrEqual(5);
    }
    expect(seemedDamaged).toBeGreaterThan(0);
    await engine.close();
  });
});

describe('repair of a store', () => {
  test('a lost CURRENT: planned without a write, then done; all is there again', async () => {
    const { disk, rows } = await filled();
    disk.remove('/db/CURRENT');
    const before = snapshot(disk, '/db');
    const plan = planRepair(disk, findDataDir(disk, '/db'));
    expect(snapshot(disk, '/db')).toEqual(before);
    expect(plan.verdict).toBe('plausible');
    expect(repair(disk, STORE, plan)).toEqual(plan.report);
    expect(await contentsOf(disk, '/db')).toEqual(rows);
  });

  test('a damaged table: its good blocks are kept, and the verdict is that something is lost', async () => {
    const { disk, rows } = await filled();
    const [table = ''] = namesOf(disk, '.ldb');
    disk.flipBit(table, 20, 3);
    const plan = planRepair(disk, STORE);
    expect(plan.verdict).toBe('lost');
    expect(plan.report.damaged).toMatchObject([{ name: table.slice('/db/'.length) }]);
    const before = snapshot(disk, '/db').get(table);
    expect(repair(disk, STORE, plan)).toEqual(plan.report);
    expect(snapshot(disk, '/db').get(table.replace('/db/', '/db/lost/'))).toBe(before);
    const left = await contentsOf(disk, '/db');
    for (const [key] of left) expect(/^key-\d+$/.test(key)).toBe(true);
    expect(left.size).toBeGreaterThan(rows.size / 2);
  });

  test('a table that is missing', async () => {
    const { disk } = await filled();
    const [, table = ''] = namesOf(disk, '.ldb');
    disk.remove(table);
    const plan = planRepair(disk, STORE);
    expect(plan.verdict).toBe('lost');
    expect(plan.reasons.join('\n')).toContain('is missing');
    repair(disk, STORE, plan);
    await contentsOf(disk, '/db');
  });

  test('nothing to repair', async () => {
    const { disk, rows } = await filled();
    const plan = planRepair(disk, STORE);
    expect(plan).toMatchObject({ verdict: 'proven', reasons: [], log: undefined });
    // And repairing it all the same does no harm.
    repair(disk, STORE, plan);
    expect(await contentsOf(disk, '/db')).toEqual(rows);
  });
});

describe('repair of a node', () => {
  const NODE = { ...STORE, kind: 'node' as const };

  /** A tree as a node's: each flush ends with the machine's state of its very revision. */
  async function node(): Promise<MemoryDisk> {
    const disk = new MemoryDisk();
    const engine = await open(disk, '/db', { ...BUSY, autoCompact: false, memtableBytes: 64 * 1024 });
    for (let i = 1; i <= 60; i++) {
      if (i % 20 !== 0) await engine.put(bytes(`ukey-${i}`), bytes(`value ${i}`));
      else {
        await engine.put(MACHINE_KEY, new ByteWriter(16).u8(1).varint(i).u32(0).f64(0).take());
        await engine.flush();
      }
    }
    await engine.close();
    return disk;
  }

  test('a lost manifest beside whole tables: plausible', async () => {
    const disk = await node();
    expect(planRepair(disk, NODE)).toMatchObject({ verdict: 'proven', reasons: [] });
    disk.remove('/db/CURRENT');
    expect(planRepair(disk, NODE)).toMatchObject({ verdict: 'plausible', report: { lastSequence: 60 } });
  });

  test('what the node noted of damage goes with a repair that leaves none, and only then', async () => {
    const noted = async (code: ErrorCode): Promise<MemoryDisk> => {
      const disk = await node();
      markDamaged(disk, '/db', new StoreError(code, 'block 3 of 000007.ldb'), new Date(0));
      return disk;
    };
    const disk = await noted('TABLE_CORRUPT');
    disk.remove('/db/CURRENT');
    const plan = planRepair(disk, NODE);
    expect(plan).toMatchObject({ verdict: 'plausible', noted: 'block 3 of 000007.ldb' });
    repair(disk, NODE, plan);
    expect(() => refuseDamaged(disk, '/db', true)).not.toThrow();

    const worse = await noted('TABLE_CORRUPT');
    worse.flipBit(namesOf(worse, '.ldb')[0] ?? '', 20, 3);
    const lossy = planRepair(worse, NODE);
    repair(worse, NODE, lossy);
    expect(lossy.verdict).toBe('lost');
    expect(() => refuseDamaged(worse, '/db', true)).toThrow('block 3');

    // No tool mends a promise that was forgotten.
    const forgot = await noted('DIR_ROLLED_BACK');
    const whole = planRepair(forgot, NODE);
    expect(whole).toMatchObject({ verdict: 'proven', noted: undefined });
    repair(forgot, NODE, whole);
    expect(() => refuseDamaged(forgot, '/db', false)).toThrow('block 3');
  });

  test('any loss in a table is too much', async () => {
    for (const table of namesOf(await node(), '.ldb')) {
      const disk = await node();
      disk.flipBit(table, 20, 3);
      expect(planRepair(disk, NODE).verdict).toBe('lost');
    }
  });

  test('tables that end without their state, and a log that does not go on from them', async () => {
    const disk = await node();
    const tables = namesOf(disk, '.ldb');
    const middle = tables[1] ?? '';
    // As if the manifest and the newest table were gone, with no word on what there was: it still fits together.
    disk.remove('/db/CURRENT');
    for (const name of disk.list('/db').filter((one) => one.startsWith('MANIFEST'))) disk.remove(`/db/${name}`);
    disk.remove(tables[2] ?? '');
    expect(planRepair(disk, NODE)).toMatchObject({ verdict: 'plausible', report: { lastSequence: 40 } });
    disk.remove(middle);
    expect(planRepair(disk, NODE)).toMatchObject({ verdict: 'plausible', report: { lastSequence: 20 } });
    // The log ends where it ends; tables beyond it fit nothing.
    for (const path of namesOf(disk, '.wal')) disk.remove(path);
    const plan = planRepair(disk, NODE);
    expect(plan.verdict).toBe('lost');
    expect(plan.reasons.join('\n')).toContain('ends at 0');
  });

  test('rows behind the newest state: a start would stop there, and so does repair', async () => {
    const disk = await node();
    const engine = await open(disk, '/db', { ...BUSY, autoCompact: false, memtableBytes: 64 * 1024 });
    await engine.put(bytes('ukey'), bytes('behind'));
    await engine.flush();
    await engine.close();
    const plan = planRepair(disk, NODE);
    expect(plan.verdict).toBe('lost');
    expect(plan.reasons).toEqual(['the tables end at revision 61, and the newest state beside them is of 60']);
  });
});
