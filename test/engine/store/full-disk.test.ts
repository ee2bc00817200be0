/**
 * A full disk, and disks that refuse: NoSpace, NonWritableFileSystem, WriteSyncError and ManifestWriteError of
 * LevelDB's db_test.cc, and the reserve.
 */
import { expect, test } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import type { Engine } from '../../../src/engine/store/index.ts';
import { contents, DIR, get, openSmall, put, remove, tableFiles } from './world.ts';

const KIB = 1024;
const RESERVE = 64 * KIB;

/** Until `isDone`, for a good while. */
async function until(isDone: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !isDone(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(isDone()).toBe(true);
}

const isFull = (engine: Engine): boolean => engine.stats().tree.isFull;
const hasReserve = (disk: MemoryDisk): boolean => disk.exists(`${DIR}/RESERVE`);

test('NoSpace: what is there stays, puts are refused, deletes are not, and with room all is as before', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk, { reserveBytes: RESERVE, compression: 'none', memtableBytes: 256 * KIB });
  await put(engine, 'foo', 'v1');
  await engine.flush();
  // More than the disk has left and the reserve together.
  await put(engine, 'bar', 'x'.repeat(60 * KIB));
  await put(engine, 'baz', 'x'.repeat(60 * KIB));
  disk.capacityBytes = disk.usedBytes + 8 * KIB;
  await expect(engine.flush()).rejects.toMatchObject({ code: 'STORE_FULL' });
  expect(isFull(engine)).toBe(true);
  await expect(put(engine, 'k', 'v3')).rejects.toMatchObject({ code: 'STORE_FULL' });
  await remove(engine, 'foo');
  expect(contents(engine)).toHaveLength(2);
  await new Promise((resolve) => setTimeout(resolve, 1200));
  expect(isFull(engine), 'however often it is tried').toBe(true);
  expect(tableFiles(disk)).toHaveLength(1);
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  await until(() => !isFull(engine));
  expect(engine.failure).toBeUndefined();
  expect(hasReserve(disk)).toBe(true);
  await put(engine, 'k', 'v3');
  await engine.flush();
  expect(contents(engine)).toHaveLength(3);
  await engine.close();
});

test('the room in reserve is for the job that found the disk full', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk, { reserveBytes: RESERVE, compression: 'none', memtableBytes: 64 * KIB });
  await put(engine, 'foo', 'x'.repeat(40 * KIB));
  // Room for the log to go on, and none for a table.
  disk.capacityBytes = disk.usedBytes + 8 * KIB;
  await expect(engine.flush()).rejects.toMatchObject({ code: 'STORE_FULL' });
  expect(hasReserve(disk)).toBe(false);
  await until(() => tableFiles(disk).length === 1);
  expect(engine.stats().tree['frozen']).toBe(0);
  expect(isFull(engine), 'it is not whole again').toBe(true);
  await expect(put(engine, 'bar', 'v')).rejects.toMatchObject({ code: 'STORE_FULL' });
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  await until(() => !isFull(engine));
  await put(engine, 'bar', 'v');
  await engine.close();
});

test('a store that opens on a full disk takes puts once there is room', async () => {
  const disk = new MemoryDisk({ capacityBytes: 8 * KIB });
  const engine = await openSmall(disk, { reserveBytes: RESERVE });
  expect(isFull(engine)).toBe(true);
  await expect(put(engine, 'a', 'v')).rejects.toMatchObject({ code: 'STORE_FULL' });
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  await until(() => !isFull(engine));
  await put(engine, 'a', 'v');
  expect(get(engine, 'a')).toBe('v');
  await engine.close();
});

test('a compaction asked for on a full disk says so, and can be asked for again', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk, { compression: 'none', memtableBytes: 64 * KIB });
  for (const value of ['1', '2']) {
    await put(engine, 'foo', value.repeat(20 * KIB));
    await put(engine, value, value.repeat(20 * KIB));
    await engine.flush();
  }
  disk.capacityBytes = disk.usedBytes + 8 * KIB;
  await expect(engine.compact()).rejects.toMatchObject({ code: 'STORE_FULL' });
  expect(tableFiles(disk), 'what was half made is gone').toHaveLength(2);
  expect(engine.failure).toBeUndefined();
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  await until(() => !isFull(engine));
  await engine.compact();
  expect(tableFiles(disk)).toHaveLength(1);
  expect(get(engine, 'foo')).toBe('2'.repeat(20 * KIB));
  await engine.close();
});

test('a full disk under writers that wait does not keep the store from closing, nor lose what it took', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk, { memtables: 2 });
  // The log takes them; tables are refused.
  for (let number = 0; number < 400; number++) {
    disk.failNext({ op: 'open', code: 'ENOSPC', times: 400, path: `${DIR}/${String(number).padStart(6, '0')}.ldb` });
  }
  const writes = Array.from({ length: 30 }, (_, i) => put(engine, `k${i}`, 'v'.repeat(500)));
  const settled = Promise.allSettled(writes);
  await until(() => isFull(engine));
  await engine.close();
  const results = await settled;
  const written = results.filter(({ status }) => status === 'fulfilled').length;
  expect(results.length).toBe(30);
  const room = disk.clone();
  room.capacityBytes = Number.POSITIVE_INFINITY;
  const again = await openSmall(room);
  expect(contents(again).length).toBeGreaterThanOrEqual(written);
  await again.close();
});

test('NonWritableFileSystem: a disk that takes nothing gives an error, not a store', async () => {
  for (const op of ['open', 'write', 'fdatasync', 'mkdir', 'syncDir', 'rename'] as const) {
    const disk = new MemoryDisk();
    disk.failNext({ op, code: 'EROFS', times: 1 });
    await expect(openSmall(disk), op).rejects.toMatchObject({ code: 'DISK_FAILED' });
  }
});

test('WriteSyncError: after a failed sync nothing is written any more, and what was durable is found again', async () => {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk);
  await put(engine, 'k1', 'v1');
  disk.failNext({ op: 'fdatasync', code: 'EIO' });
  const results = await Promise.allSettled([put(engine, 'k2', 'v2'), put(engine, 'k3', 'v3')]);
  for (const result of results) expect(result).toMatchObject({ status: 'rejected', reason: { code: 'DISK_FAILED' } });
  expect(get(engine, 'k2'), 'not visible: it may not be there after a crash').toBe('NOT_FOUND');
  await expect(put(engine, 'k4', 'v4')).rejects.toMatchObject({ code: 'DISK_FAILED' });
  expect(get(engine, 'k1')).toBe('v1');
  await engine.close().catch(() => undefined);
  disk.crash({ keep: 'none' });
  const again = await openSmall(disk);
  expect(contents(again)).toEqual(['k1->v1']);
  await again.close();
});

test('ManifestWriteError: a manifest that cannot be written or synced ends the writing, and loses nothing', async () => {
  for (const op of ['write', 'fdatasync'] as const) {
    const disk = new MemoryDisk();
    const engine = await openSmall(disk);
    await put(engine, 'foo', 'bar');
    await engine.flush();
    await put(engine, 'foo', 'baz');
    const manifest = disk.list(DIR).find((name) => name.startsWith('MANIFEST'));
    disk.failNext({ op, code: 'EIO', path: `${DIR}/${manifest}` });
    await expect(engine.compact()).rejects.toMatchObject({ code: 'DISK_FAILED' });
    expect(get(engine, 'foo')).toBe('baz');
    await expect(put(engine, 'foo', 'later')).rejects.toMatchObject({ code: 'DISK_FAILED' });
    await engine.close().catch(() => undefined);
    const again = await openSmall(disk);
    expect(contents(again)).toEqual(['foo->baz']);
    await again.close();
  }
});
