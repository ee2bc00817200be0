/**
 * LevelDB's corruption_test.cc and recovery_test.cc, in our words: damage is an error that names file and offset, never
 * a wrong value and never one silently gone. (What of a damaged log survives is in the tests of the WAL, what a repair
 * brings back in those of repair.)
 */
import { expect, test } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import type { Engine } from '../../../src/engine/store/index.ts';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { TreeReader } from '../../../src/engine/lsm/tree/reader.ts';
import { below, seeded } from '../../core/base/seeded.ts';
import { bytes, contents, DIR, get, openSmall, put, show, tableFiles, tablesPerLevel } from './world.ts';

const damage = { code: 'TABLE_CORRUPT', data: { file: expect.any(String), offset: expect.any(Number) } };

/** Nothing is remembered: each read is a read of the file. */
const FORGETFUL = { cacheBytes: 0, tableCacheBytes: 0, openTablesMax: 1, blockBytes: 200 } as const;

function bytesIn(disk: MemoryDisk, path: string): number {
  const file = disk.open(path, 'read');
  const size = file.size();
  file.close();
  return size;
}

const keyOf = (i: number): string => `key${String(i).padStart(4, '0')}`;
const valueOf = (i: number): string => `value of ${i} `.repeat(5);

/** A store of `count` entries in one table. */
async function filled(disk: MemoryDisk, count: number, options: object = {}): Promise<Engine> {
  const engine = await openSmall(disk, { memtableBytes: 1024 * 1024, ...FORGETFUL, ...options });
  await Promise.all(Array.from({ length: count }, (_, i) => put(engine, keyOf(i), valueOf(i))));
  await engine.flush();
  return engine;
}

test('TableFile, TableFileIndexData: each read of a damaged table is right or says where the damage is', async () => {
  const disk = new MemoryDisk();
  const engine = await filled(disk, 100);
  const path = `${DIR}/${tableFiles(disk)[0]}`;
  const size = bytesIn(disk, path);
  const all = Array.from({ length: 100 }, (_, i) => `${keyOf(i)}->${valueOf(i)}`);
  const random = seeded(7);
  let refused = 0;
  for (let round = 0; round < 60; round++) {
    const [at, bit] = [below(random, size), below(random, 8)];
    disk.flipBit(path, at, bit);
    const isRight = (read: () => void): boolean => {
      try {
        read();
        return true;
      } catch (error) {
        expect(error, `bit ${bit} of byte ${at} of ${size}`).toMatchObject({
          code: 'TABLE_CORRUPT',
          data: { file: path },
        });
        expect(error).toMatchObject(damage);
        return false;
      }
    };
    // A reader of its own each time: what it knows of the table is what is on the disk.
    const reader = new TreeReader(engine.memory, {
      disk,
      dir: DIR,
      options: engine.options,
      defer: () => {},
      nowMs: () => 0,
    });
    for (let i = 0; i < 100; i += 9) {
      const isGood = isRight(() => expect(show(reader.get(bytes(keyOf(i)))?.value ?? bytes('none'))).toBe(valueOf(i)));
      if (!isGood) refused++;
    }
    isRight(() => {
      const cursor = reader.cursor();
      const seen: string[] = [];
      try {
        for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) {
          seen.push(`${show(entry.key)}->${show(entry.value)}`);
        }
        expect(seen).toEqual(all);
      } finally {
        cursor.close();
      }
    });
    reader.close();
    disk.flipBit(path, at, bit);
  }
  expect(refused).toBeGreaterThan(20);
  expect(contents(engine)).toEqual(all);
  await engine.close();
});

test('TableFile: damage in one block leaves the others readable', async () => {
  const disk = new MemoryDisk();
  const engine = await filled(disk, 100);
  disk.flipBit(`${DIR}/${tableFiles(disk)[0]}`, 1000, 3);
  let good = 0;
  for (let i = 0; i < 100; i++) {
    try {
      expect(get(engine, keyOf(i))).toBe(valueOf(i));
      good++;
    } catch (error) {
      expect(isStoreError(error, 'TABLE_CORRUPT')).toBe(true);
    }
  }
  expect(good).toBeGreaterThanOrEqual(80);
  expect(good).toBeLessThan(100);
  await engine.close();
});

test('a cursor stops at damage, forward and backward, having given what is before it', async () => {
  const disk = new MemoryDisk();
  const engine = await filled(disk, 100);
  disk.flipBit(`${DIR}/${tableFiles(disk)[0]}`, 1000, 3);
  for (const reverse of [false, true]) {
    const cursor = engine.cursor({ reverse });
    const seen: string[] = [];
    expect(() => {
      for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) seen.push(show(entry.key));
    }).toThrow(expect.objectContaining(damage));
    const expected = Array.from({ length: 100 }, (_, i) => keyOf(reverse ? 99 - i : i));
    expect(seen).toEqual(expected.slice(0, seen.length));
    expect(seen.length).toBeGreaterThan(5);
    cursor.close();
  }
  await engine.close();
});

test('CompactionInputError, CompactionInputErrorParanoid: writes are refused, reads go on, no table is lost', async () => {
  const disk = new MemoryDisk();
  const engine = await filled(disk, 100);
  await put(engine, keyOf(1), 'newer');
  await engine.flush();
  disk.flipBit(`${DIR}/${tableFiles(disk)[0]}`, 1000, 3);
  const before = tableFiles(disk);
  await expect(engine.compact()).rejects.toMatchObject(damage);
  await expect(put(engine, 'k', 'v')).rejects.toMatchObject(damage);
  expect(engine.failure).toMatchObject(damage);
  expect(tableFiles(disk), 'inputs stay, and what was half made is gone').toEqual(before);
  expect(get(engine, keyOf(1))).toBe('newer');
  expect(get(engine, keyOf(99))).toBe(valueOf(99));
  await engine.close();
  const again = await openSmall(disk, FORGETFUL);
  expect(get(again, keyOf(1))).toBe('newer');
  expect(get(again, keyOf(99))).toBe(valueOf(99));
  await again.close();
});

test('MissingSSTFile: a store whose manifest names a table that is not there does not open', async () => {
  const disk = new MemoryDisk();
  await (await filled(disk, 10)).close();
  const path = `${DIR}/${tableFiles(disk)[0]}`;
  disk.remove(path);
  await expect(openSmall(disk)).rejects.toMatchObject({ code: 'TABLE_CORRUPT', data: { file: path } });
});

test('a table that is shorter than it was does not open', async () => {
  const disk = new MemoryDisk();
  await (await filled(disk, 10)).close();
  const path = `${DIR}/${tableFiles(disk)[0]}`;
  const file = disk.open(path, 'write');
  file.truncate(file.size() - 1);
  file.close();
  await expect(openSmall(disk)).rejects.toMatchObject({ code: 'TABLE_CORRUPT', data: { file: path } });
});

test('MissingDescriptor, ManifestMissing, CorruptedDescriptor: no store opens without its manifest, or by a damaged one', async () => {
  for (const hurt of [
    (disk: MemoryDisk, manifest: string) => disk.remove(manifest),
    (disk: MemoryDisk) => disk.remove(`${DIR}/CURRENT`),
    (disk: MemoryDisk, manifest: string) => disk.flipBit(manifest, 12, 5),
    (disk: MemoryDisk) => disk.flipBit(`${DIR}/CURRENT`, 0, 5),
  ]) {
    const disk = new MemoryDisk();
    const engine = await filled(disk, 10);
    await put(engine, 'later', 'v');
    await engine.close();
    const manifest = disk.list(DIR).find((name) => name.startsWith('MANIFEST'));
    hurt(disk, `${DIR}/${manifest}`);
    await expect(openSmall(disk)).rejects.toMatchObject(damage);
    expect(tableFiles(disk), 'nothing is removed by a start that fails').toHaveLength(1);
  }
});

test('SequenceNumberRecovery: revisions go on where they were', async () => {
  const disk = new MemoryDisk();
  let engine = await openSmall(disk);
  for (let i = 1; i <= 5; i++) expect(await put(engine, 'foo', `v${i}`)).toBe(i);
  for (let revision = 6; revision < 12; revision++) {
    if (revision % 2 === 0) await engine.flush();
    await engine.close();
    engine = await openSmall(disk);
    expect(get(engine, 'foo')).toBe(`v${revision - 1}`);
    expect(await put(engine, 'foo', `v${revision}`)).toBe(revision);
  }
  await engine.close();
});

test('RecoverWriteError, NewFileErrorDuringWrite: a log that cannot be written refuses, and says so to the end', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk);
  await put(engine, 'foo', 'v1');
  disk.failNext({ op: 'write', code: 'EIO', times: 1 });
  await expect(put(engine, 'foo', 'v2')).rejects.toMatchObject({ code: 'DISK_FAILED' });
  await expect(put(engine, 'foo', 'v3')).rejects.toMatchObject({ code: 'DISK_FAILED' });
  expect(get(engine, 'foo')).toBe('v1');
  await engine.close().catch(() => undefined);
  const again = await openSmall(disk);
  expect(get(again, 'foo')).toBe('v1');
  await again.close();
});

test('UnrelatedKeys: damage in one table does not hurt another', async () => {
  const disk = new MemoryDisk();
  const engine = await filled(disk, 10);
  await put(engine, 'zzz', 'v');
  await engine.flush();
  disk.flipBit(`${DIR}/${tableFiles(disk)[0]}`, 10, 1);
  expect(get(engine, 'zzz')).toBe('v');
  expect(() => get(engine, keyOf(0))).toThrow(expect.objectContaining(damage));
  await engine.close();
});

// recovery_test.cc

test('NoLogFiles: without its log a store does not open, rather than lose what only the log had', async () => {
  const disk = new MemoryDisk();
  const engine = await filled(disk, 10);
  await put(engine, 'foo', 'v');
  await engine.close();
  for (const name of disk.list(`${DIR}/wal`)) disk.remove(`${DIR}/wal/${name}`);
  await expect(openSmall(disk)).rejects.toMatchObject({ code: 'WAL_CORRUPT' });
});

test('MultipleMemTables, MultipleLogFiles, LogFileReuse: a log of many segments makes many tables when it is replayed', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk, { memtableBytes: 1024 * 1024, walSegmentBytes: 4096 });
  for (let i = 0; i < 100; i++) await put(engine, keyOf(i), valueOf(i));
  await engine.close();
  expect(tableFiles(disk)).toEqual([]);
  expect(disk.list(`${DIR}/wal`).filter((name) => name.endsWith('.wal')).length).toBeGreaterThan(3);
  const again = await openSmall(disk, { walSegmentBytes: 4096 });
  for (let i = 0; i < 100; i++) expect(get(again, keyOf(i))).toBe(valueOf(i));
  expect(again.revision).toBe(100);
  expect(again.stats().tree['flushes']).toBeGreaterThan(5);
  await again.flush();
  await again.close();
});

test('ManifestReused: a start writes no new manifest', async () => {
  const disk = new MemoryDisk();
  await (await filled(disk, 10)).close();
  const manifests = (): string[] => disk.list(DIR).filter((name) => name.startsWith('MANIFEST'));
  const before = manifests();
  for (let i = 0; i < 3; i++) {
    const engine = await openSmall(disk);
    await put(engine, 'foo', `v${i}`);
    await engine.flush();
    await engine.close();
  }
  expect(manifests()).toEqual(before);
});

test('what a dead process left of tables and manifests is removed at the next start', async () => {
  const disk = new MemoryDisk();
  await (await filled(disk, 10)).close();
  for (const name of ['000077.ldb', 'MANIFEST-000078', '000079.dbtmp']) {
    const file = disk.open(`${DIR}/${name}`, 'create');
    file.write(bytes('left'), 0);
    file.close();
  }
  const engine = await openSmall(disk);
  expect(disk.list(DIR)).not.toEqual(expect.arrayContaining([expect.stringMatching(/00007[789]/)]));
  expect(tablesPerLevel(engine)[0]).toBe(1);
  await engine.close();
});
