/** Backups of a store at rest and at work; the state they give back; crashes and failures on the way. */
import { describe, expect, test } from 'vitest';
import type { Disk } from '../../../src/core/base/env.ts';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { systemError } from '../../../src/engine/disk/system-error.ts';
import { segmentName } from '../../../src/engine/wal/format.ts';
import { openWalReadOnly } from '../../../src/engine/wal/read-only.ts';
import { verifySet } from '../../../src/engine/tools/backup-files.ts';
import { contentPath, listSets, readSet } from '../../../src/engine/tools/backup-set.ts';
import { restoreSet } from '../../../src/engine/tools/restore.ts';
import { seeded } from '../../core/base/seeded.ts';
import { turn } from '../store/world.ts';
import { WatchedDisk } from '../../support/engine-disk.ts';
import { BACKUP, backup, BUSY, contentsOf, interrupted, open, reading, rowsOf, snapshot, write } from './world.ts';

const restore = async (disk: MemoryDisk, to: string, number?: number): Promise<void> =>
  restoreSet({ disk, backupDir: BACKUP, set: readSet(disk, BACKUP, number), to });

async function filled(seed: number, writes: number): Promise<{ disk: MemoryDisk; rows: Map<string, string> }> {
  const disk = new MemoryDisk();
  const engine = await open(disk);
  await write(engine, seeded(seed), writes);
  const rows = rowsOf(engine);
  await engine.close();
  return { disk, rows };
}

test('a store at rest: what was written comes back, and the store is as it was', async () => {
  const { disk, rows } = await filled(1, 400);
  const before = snapshot(disk, '/db');
  const { set, retries } = await backup(disk, { verify: true });
  expect(snapshot(disk, '/db')).toEqual(before);
  expect(retries).toBe(0);
  expect(set.lastIndex).toBe(400);
  expect(set.flushedRevision).toBeGreaterThan(0);
  await restore(disk, '/again');
  expect(await contentsOf(disk, '/again')).toEqual(rows);
});

test('a store with nothing in it, and one whose memtable was never flushed', async () => {
  for (const writes of [0, 3]) {
    const { disk, rows } = await filled(2, writes);
    expect((await backup(disk)).set.flushedRevision).toBe(0);
    await restore(disk, '/again');
    expect(await contentsOf(disk, '/again')).toEqual(rows);
  }
});

test('the next set copies only what is new, and every set gives its own state', async () => {
  const disk = new MemoryDisk();
  const random = seeded(3);
  const states: Map<string, string>[] = [];
  const reports = [];
  for (let i = 0; i < 4; i++) {
    const engine = await open(disk, '/db', { ...BUSY, autoCompact: false });
    await write(engine, random, 150);
    states.push(rowsOf(engine));
    await engine.close();
    reports.push(await backup(disk));
  }
  const same = await backup(disk);
  expect(same.newFiles).toBe(0);
  expect(same.set.number).toBe(5);
  const [, second] = reports;
  expect(second?.newFiles).toBeLessThan(second?.set.files.length ?? 0);
  for (const [i, rows] of states.entries()) {
    await restore(disk, `/again-${i}`, i + 1);
    expect(await contentsOf(disk, `/again-${i}`)).toEqual(rows);
  }
});

test('--keep removes the oldest sets and what only they named; the others stay whole', async () => {
  const disk = new MemoryDisk();
  const random = seeded(4);
  let rows = new Map<string, string>();
  for (let i = 0; i < 4; i++) {
    const engine = await open(disk);
    await write(engine, random, 150);
    rows = rowsOf(engine);
    await engine.close();
    const { removedSets } = await backup(disk, { keep: 2 });
    expect(removedSets).toEqual(i < 2 ? [] : [i - 1]);
  }
  expect(listSets(disk, BACKUP)).toEqual([3, 4]);
  const named = new Set([3, 4].flatMap((n) => readSet(disk, BACKUP, n).files.map(({ sha256 }) => sha256)));
  expect(disk.list(`${BACKUP}/files`)).toEqual([...named].sort());
  await restore(disk, '/again');
  expect(await contentsOf(disk, '/again')).toEqual(rows);
});

describe('beside a store at work', () => {
  /**
   * Writes go on between any two files that the backup opens, tables are merged and segments removed. What comes back
   * is the state at the set's last index: nothing less than was there when it began, nothing that was never there.
   */
  test.each([11, 12, 13, 14, 15, 16])('seed %i: each copy is a state that was', async (seed) => {
    const disk = new MemoryDisk();
    const random = seeded(seed);
    const engine = await open(disk);
    /** By revision: the state after it. */
    const states: Map<string, string>[] = [new Map()];
    const writeOne = async (): Promise<void> => {
      const before = engine.stats().revision;
      await write(engine, random, 1);
      expect(engine.stats().revision).toBe(before + 1);
      states.push(rowsOf(engine));
    };
    for (let i = 0; i < 150; i++) await writeOne();
    let retries = 0;
    for (let round = 0; round < 4; round++) {
      const atStart = engine.stats().revision;
      const report = await backup(disk, {
        isLive: true,
        onProgress: async () => {
          // More now and then: so much that the log's beginning goes.
          const writes = random() < 0.2 ? 30 : 2;
          for (let i = 0; i < writes; i++) await writeOne();
          await turn();
        },
      });
      retries += report.retries;
      const { set } = report;
      expect(set.lastIndex).toBeGreaterThanOrEqual(atStart);
      expect(set.firstIndex).toBeLessThanOrEqual(set.flushedRevision + 1);
      await restore(disk, `/again-${round}`);
      expect(await contentsOf(disk, `/again-${round}`)).toEqual(states[set.lastIndex]);
    }
    // A busy store overtakes a copy now and then, and then it is begun anew.
    console.log(`seed ${seed}: overtaken ${retries} times, at revision ${engine.stats().revision}`);
    await engine.close();
  });

  test('a table, a segment or the manifest that is gone when it is opened: looked up again', async () => {
    for (const [suffix, again] of [
      [/\.ldb$/, 1],
      [/MANIFEST-\d+$/, 0],
    ] as const) {
      const { disk, rows } = await filled(21, 200);
      let isDone = false;
      const busy = interrupted(disk, (path) => {
        if (isDone || !suffix.test(path) || !path.startsWith('/db')) return;
        isDone = true;
        throw systemError('ENOENT', 'open', path, 'no such file');
      });
      expect((await backup(busy, { isLive: true })).retries).toBe(again);
      await restore(disk, '/again');
      expect(await contentsOf(disk, '/again')).toEqual(rows);
    }
  });

  test('a segment that becomes a spare while it is read: none of its bytes are in the set', async () => {
    const disk = new MemoryDisk();
    const engine = await open(disk, '/db', { ...BUSY, autoCompact: false, memtableBytes: 64 * 1024 });
    await write(engine, seeded(23), 200);
    await engine.close();
    const log = openWalReadOnly('/db/wal', { disk });
    expect(log.segments.length).toBeGreaterThan(3);
    const path = `/db/wal/${segmentName(log.segments[0] ?? 0)}`;
    for (let at = 0; at < 6; at++) {
      const work = disk.clone();
      let reads = 0;
      const busy: Disk = {
        ...interrupted(work, () => {}),
        open: (opened, mode) => {
          const file = work.open(opened, mode);
          if (opened !== path) return file;
          return reading(file, () => {
            if (reads++ !== at) return;
            // As the committer does: the name first, then the bytes.
            const spare = work.open(path, 'write');
            work.rename(path, path.replace('wal/', 'wal/spare-'));
            spare.write(new Uint8Array(spare.size()), 0);
            spare.close();
          });
        },
      };
      // The tables hold nothing of it, so without it there is nothing to make a set of.
      await expect(backup(busy, { isLive: true })).rejects.toThrow('begins at');
      expect(reads).toBeGreaterThan(at);
      expect(listSets(work, BACKUP)).toEqual([]);
    }
  });

  test('a table that is gone for good is no race: said, and no set is made', async () => {
    const { disk } = await filled(22, 300);
    const [table = ''] = disk.list('/db').filter((name) => name.endsWith('.ldb'));
    disk.remove(`/db/${table}`);
    for (const isLive of [false, true]) {
      await expect(backup(disk, { isLive })).rejects.toMatchObject({ code: 'TABLE_CORRUPT' });
    }
    expect(listSets(disk, BACKUP)).toEqual([]);
  });
});

describe('damage', () => {
  test('in a table or in the log that is to be copied: named, and no set is made', async () => {
    for (const [suffix, which] of [
      ['.ldb', 0],
      ['.wal', 0],
      ['.wal', -1],
    ] as const) {
      const { disk } = await filled(31, 300);
      const dir = suffix === '.wal' ? '/db/wal' : '/db';
      const name =
        disk
          .list(dir)
          .filter((one) => one.endsWith(suffix) && !one.startsWith('spare'))
          .at(which) ?? '';
      disk.flipBit(`${dir}/${name}`, 300, 1);
      await expect(backup(disk)).rejects.toMatchObject({
        code: suffix === '.wal' ? 'WAL_CORRUPT' : 'TABLE_CORRUPT',
        data: { file: expect.stringContaining(name) as string },
      });
      expect(listSets(disk, BACKUP)).toEqual([]);
      // And what was looked at is not kept as if it were good.
      await expect(backup(disk)).rejects.toThrow(name);
    }
  });

  test('in a kept file, in a set, or a file missing: a restore makes nothing, and --verify says it', async () => {
    const { disk } = await filled(32, 300);
    const { set } = await backup(disk);
    for (const file of set.files) {
      const path = contentPath(BACKUP, file);
      disk.flipBit(path, Math.floor(file.bytes / 2), 3);
      const code = file.path.startsWith('wal/') ? 'WAL_CORRUPT' : 'TABLE_CORRUPT';
      await expect(restore(disk, '/again')).rejects.toMatchObject({ code, data: { file: path } });
      await expect(verifySet(disk, BACKUP, set, async () => {})).rejects.toMatchObject({ code });
      expect(disk.exists('/again')).toBe(false);
      disk.flipBit(path, Math.floor(file.bytes / 2), 3);
    }
    disk.flipBit(`${BACKUP}/sets/000001.set`, 90, 0);
    await expect(restore(disk, '/again')).rejects.toMatchObject({ code: 'TABLE_CORRUPT' });
    disk.flipBit(`${BACKUP}/sets/000001.set`, 90, 0);
    const [first] = set.files;
    if (first === undefined) throw new Error('a set has files');
    disk.remove(contentPath(BACKUP, first));
    await expect(restore(disk, '/again')).rejects.toThrow('it is missing');
  });
});

test('nothing is restored over data', async () => {
  const { disk, rows } = await filled(41, 50);
  await backup(disk);
  const before = snapshot(disk, '/db');
  await expect(restore(disk, '/db')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  expect(snapshot(disk, '/db')).toEqual(before);
  disk.mkdir('/empty');
  await restore(disk, '/empty');
  expect(await contentsOf(disk, '/empty')).toEqual(rows);
});

test('backups of another cluster, or of a node beside a store, are refused', async () => {
  const { disk } = await filled(42, 50);
  await backup(disk);
  const owner = { cluster: 'prod', node: 'n1', dirId: 'x' };
  await expect(backup(disk, { owner })).rejects.toMatchObject({ code: 'DIR_FOREIGN' });
});

describe('a power cut', () => {
  test('at each change of a backup: no half set, the sets before stay whole, the next backup goes on', async () => {
    const { disk: base, rows } = await filled(51, 40);
    await backup(base);
    const engine = await open(base);
    await write(engine, seeded(52), 20);
    const later = rowsOf(engine);
    await engine.close();
    let crashes = 0;
    for (let at = 0; ; at++) {
      const disk = base.clone({ random: seeded(at) });
      const mortal: WatchedDisk = new WatchedDisk(disk, (_, number) => {
        if (number === at) mortal.die();
      });
      const isWhole = await backup(mortal).then(
        () => true,
        () => false,
      );
      if (isWhole) break;
      crashes++;
      disk.crash({ keep: 'random' });
      const sets = listSets(disk, BACKUP);
      expect([[1], [1, 2]]).toContainEqual(sets);
      for (const number of at % 8 === 0 ? sets : sets.slice(-1)) {
        await restore(disk, `/again-${number}`, number);
        expect(await contentsOf(disk, `/again-${number}`)).toEqual(number === 1 ? rows : later);
      }
      await backup(disk);
      await restore(disk, '/last');
      expect(await contentsOf(disk, '/last')).toEqual(later);
    }
    expect(crashes).toBeGreaterThan(10);
  });

  test('at each change of a restore: the directory is whole, or not there', async () => {
    const { disk: source, rows } = await filled(53, 40);
    await backup(source);
    let crashes = 0;
    for (let at = 0; ; at++) {
      const disk = source.clone({ random: seeded(at) });
      const mortal: WatchedDisk = new WatchedDisk(disk, (_, number) => {
        if (number === at) mortal.die();
      });
      const set = readSet(disk, BACKUP);
      const isWhole = await restoreSet({ disk: mortal, backupDir: BACKUP, set, to: '/again' }).then(
        () => true,
        () => false,
      );
      if (isWhole) break;
      crashes++;
      disk.crash({ keep: 'random' });
      if (!disk.exists('/again')) await restore(disk, '/again');
      expect(await contentsOf(disk, '/again')).toEqual(rows);
    }
    expect(crashes).toBeGreaterThan(10);
  });
});

test('a full disk is STORE_FULL, and leaves the sets before', async () => {
  const { disk, rows } = await filled(61, 200);
  await backup(disk);
  const engine = await open(disk);
  await write(engine, seeded(62), 100);
  await engine.close();
  disk.capacityBytes = disk.usedBytes + 100;
  await expect(backup(disk)).rejects.toMatchObject({ code: 'STORE_FULL' });
  await expect(restore(disk, '/again')).rejects.toMatchObject({ code: 'STORE_FULL' });
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  expect(listSets(disk, BACKUP)).toEqual([1]);
  await restore(disk, '/again');
  expect(await contentsOf(disk, '/again')).toEqual(rows);
});
