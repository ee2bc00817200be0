/**
 * What a reading thread keeps open, and what a store keeps in reserve.
 */
import { expect, test } from 'vitest';
import type { Disk, DiskFile } from '../../../../src/core/base/env.ts';
import { MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import { TableBuilder, TABLE_DEFAULTS } from '../../../../src/engine/lsm/sstable/builder.ts';
import { TableResult } from '../../../../src/engine/lsm/sstable/table.ts';
import { tableName } from '../../../../src/engine/lsm/manifest/file-names.ts';
import { Reserve } from '../../../../src/engine/lsm/tree/reserve.ts';
import { TableCache } from '../../../../src/engine/lsm/tree/table-cache.ts';
import type { TableRef } from '../../../../src/engine/lsm/tree/version.ts';
import { NO_CACHE } from '../sstable/tables.ts';
import { latin, row } from './sources.ts';

const DIR = '/tree';

/** Counts the files that are open. */
class CountingDisk implements Disk {
  readonly disk = new MemoryDisk();
  open_ = 0;
  opened = 0;

  open(path: string, mode: 'read' | 'write' | 'create'): DiskFile {
    const file = this.disk.open(path, mode);
    this.open_++;
    this.opened++;
    let isOpen = true;
    return new Proxy(file, {
      get: (target, name) => {
        if (name === 'close') {
          return () => {
            if (isOpen) this.open_--;
            isOpen = false;
            target.close();
          };
        }
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }

  mkdir = (path: string): void => this.disk.mkdir(path);
  list = (path: string): string[] => this.disk.list(path);
  exists = (path: string): boolean => this.disk.exists(path);
  rename = (from: string, to: string): void => this.disk.rename(from, to);
  link = (from: string, to: string): void => this.disk.link(from, to);
  remove = (path: string): void => this.disk.remove(path);
  syncDir = (path: string): void => this.disk.syncDir(path);
}

function withTables(count: number): { disk: CountingDisk; refs: TableRef[] } {
  const disk = new CountingDisk();
  disk.mkdir(DIR);
  const refs = Array.from({ length: count }, (_, i): TableRef => {
    const file = disk.disk.open(`${DIR}/${tableName(i + 1)}`, 'create');
    const builder = new TableBuilder(file, TABLE_DEFAULTS);
    const { key, value } = row(`k${i}`, 1, 'v'.repeat(100));
    builder.add(key, value);
    const info = builder.finish();
    file.close();
    return { ...info, number: i + 1 };
  });
  return { disk, refs };
}

const cacheOf = (disk: Disk, openTablesMax: number, bytesMax = Number.POSITIVE_INFINITY): TableCache =>
  new TableCache({ disk, dir: DIR, blocks: NO_CACHE, openTablesMax, bytesMax });

/** Reads it, so that index and filter are held. */
const read = (cache: TableCache, ref: TableRef): boolean =>
  cache.get(ref).get(latin(`k${ref.number - 1}`), 9, new TableResult());

test('no more tables are open than allowed; the one not used for longest goes', () => {
  const { disk, refs } = withTables(5);
  const cache = cacheOf(disk, 3);
  for (const ref of refs.slice(0, 3)) expect(read(cache, ref)).toBe(true);
  read(cache, refs[0] as TableRef);
  read(cache, refs[3] as TableRef);
  expect(cache.size).toBe(3);
  expect(disk.open_).toBe(3);
  const { opened } = disk;
  read(cache, refs[0] as TableRef);
  expect(disk.opened, 'the first was used last').toBe(opened);
  read(cache, refs[1] as TableRef);
  expect(disk.opened).toBe(opened + 1);
  cache.close();
  expect(disk.open_).toBe(0);
});

test('what index and filters take is bounded too, also at the bound of tables', () => {
  const { disk, refs } = withTables(64);
  for (const openTablesMax of [1000, 32]) {
    const cache = cacheOf(disk, openTablesMax, 1);
    let most = 0;
    for (const ref of refs) {
      read(cache, ref);
      most = Math.max(most, cache.size);
    }
    expect(most).toBeLessThanOrEqual(9);
    cache.close();
  }
});

test('a table that a cursor may read is closed when the last has let go', () => {
  const { disk, refs } = withTables(3);
  const cache = cacheOf(disk, 1);
  cache.beginReading();
  cache.beginReading();
  const cursor = cache.get(refs[0] as TableRef).cursor();
  cache.get(refs[1] as TableRef);
  cache.get(refs[2] as TableRef);
  expect(cache.size).toBe(1);
  expect(disk.open_).toBe(3);
  cursor.first();
  expect(cursor.valid).toBe(true);
  cache.endReading();
  expect(disk.open_).toBe(3);
  cache.endReading();
  expect(disk.open_).toBe(1);
});

test('tables that no version names are let go of', () => {
  const { disk, refs } = withTables(3);
  const cache = cacheOf(disk, 10);
  for (const ref of refs) read(cache, ref);
  cache.retain((number) => number === 2);
  expect(cache.size).toBe(1);
  expect(disk.open_).toBe(1);
});

test('a reserve is made once, whole, and given up in full', () => {
  const disk = new MemoryDisk();
  disk.mkdir(DIR);
  const reserve = new Reserve(disk, DIR, 3_000_000);
  expect(reserve.giveUp()).toBe(false);
  expect(reserve.make()).toBe(true);
  expect(disk.usedBytes).toBe(3_000_000);
  disk.failNext({ op: 'write', code: 'EIO' });
  expect(reserve.make(), 'it is there').toBe(true);
  expect(reserve.giveUp()).toBe(true);
  expect(disk.usedBytes).toBe(0);
  expect(() => reserve.make()).toThrow(expect.objectContaining({ code: 'EIO' }));
});

test('a reserve that finds no room takes none; a half one is made anew', () => {
  const disk = new MemoryDisk({ capacityBytes: 2_000_000 });
  disk.mkdir(DIR);
  const reserve = new Reserve(disk, DIR, 3_000_000);
  expect(reserve.make()).toBe(false);
  expect(disk.usedBytes).toBe(0);
  const half = disk.open(`${DIR}/RESERVE`, 'create');
  half.write(new Uint8Array(100), 0);
  half.close();
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  expect(reserve.make()).toBe(true);
  expect(disk.usedBytes).toBe(3_000_000);
  expect(new Reserve(disk, DIR, 0).make(), 'none is wanted').toBe(true);
});
