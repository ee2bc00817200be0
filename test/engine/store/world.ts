/**
 * A store on a memory disk for tests: small in every way, so that a few hundred writes go through all of it.
 */
import { expect } from 'vitest';
import { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import type { Disk } from '../../../src/core/base/env.ts';
import { Manifest } from '../../../src/engine/lsm/manifest/manifest.ts';
import { tablePath } from '../../../src/engine/lsm/manifest/file-names.ts';
import { revisionOf, userKeyLength } from '../../../src/engine/lsm/sstable/keys.ts';
import { Table } from '../../../src/engine/lsm/sstable/table.ts';
import { type Engine, type EngineOptions, openEngine, type RangeOptions } from '../../../src/engine/store/index.ts';
import { NO_CACHE } from '../lsm/sstable/tables.ts';

export const DIR = '/db';

export const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
export const show = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/** One row per memtable and table; nothing is compacted unless a test asks for it. */
export const SMALL: EngineOptions = {
  memtableBytes: 1024,
  memtables: 3,
  batchBytesMax: 64 * 1024,
  cacheBytes: 64 * 1024,
  jobs: 'inline',
  autoCompact: false,
  l0Slow: 999,
  l0Stop: 1000,
};

export async function openSmall(disk: Disk, options: EngineOptions = {}): Promise<Engine> {
  return openEngine(DIR, { ...SMALL, disk, ...options });
}

/** Opens, runs, and closes whatever happens. */
export async function using(
  options: EngineOptions,
  run: (engine: Engine, disk: MemoryDisk) => Promise<void> | void,
): Promise<void> {
  const disk = new MemoryDisk();
  const engine = await openSmall(disk, options);
  try {
    await run(engine, disk);
  } finally {
    await engine.close();
  }
}

export const put = (engine: Engine, key: string, value: string): Promise<number> =>
  engine.put(bytes(key), bytes(value));
export const remove = (engine: Engine, key: string): Promise<number> => engine.delete(bytes(key));

export function get(engine: Engine, key: string, options: { snapshot?: ReturnType<Engine['snapshot']> } = {}): string {
  const value = engine.getSync(bytes(key), options);
  return value === undefined ? 'NOT_FOUND' : show(value);
}

/** `key->value` of all there is, in order; the same backward, turned round. */
export function contents(engine: Engine, options: RangeOptions = {}): string[] {
  const told = ({ key, value }: { key: Uint8Array; value: Uint8Array }): string => `${show(key)}->${show(value)}`;
  const forward = engine.rangeSync(options).map(told);
  const backward = engine.rangeSync({ ...options, reverse: true }).map(told);
  expect(backward.toReversed(), 'both ways give the same').toEqual(forward);
  return forward;
}

export const tablesPerLevel = (engine: Engine): number[] => engine.stats().tree['tables'] as number[];
export const tableFiles = (disk: Disk, dir: string = DIR): string[] =>
  disk.list(dir).filter((name) => name.endsWith('.ldb'));

export interface Stored {
  readonly level: number;
  readonly table: number;
  readonly key: string;
  readonly revision: number;
  readonly type: number;
}

/** Every version in every table, level by level, in the order of each table. */
export function stored(disk: Disk, dir: string = DIR): Stored[] {
  const state = Manifest.recover(disk, dir, { readOnly: true })?.state;
  if (state === undefined) return [];
  const all: Stored[] = [];
  for (const [level, files] of state.levels.entries()) {
    for (const { number, fileBytes } of files) {
      const path = tablePath(disk, dir, number);
      const table = Table.open(disk.open(path, 'read'), { number, fileBytes, path }, NO_CACHE);
      const cursor = table.cursor({ fillCache: false });
      for (cursor.first(); cursor.valid; cursor.next()) {
        const { key, keyLength } = cursor;
        const user = show(key.subarray(0, userKeyLength(keyLength)));
        const revision = revisionOf(key, keyLength);
        all.push({ level, table: number, key: user, revision, type: key[keyLength - 8] as number });
      }
      table.close();
    }
  }
  return all;
}

/**
 * What must be true of the tables of any store: below level 0 a key is in one table of its level, and of two versions
 * of a key the newer one is never deeper.
 */
export function checkLevels(disk: Disk, dir: string = DIR): void {
  const homes = new Map<string, number>();
  const oldest = new Map<string, { level: number; revision: number }>();
  for (const { level, table, key, revision } of stored(disk, dir)) {
    if (level > 0) {
      const home = homes.get(`${level}/${key}`) ?? table;
      expect(home, `the versions of ${key} in level ${level} are in one table`).toBe(table);
      homes.set(`${level}/${key}`, table);
    }
    const above = oldest.get(key);
    if (above === undefined || above.level === level) {
      oldest.set(key, { level, revision: Math.min(revision, above?.revision ?? revision) });
      continue;
    }
    expect(revision, `versions of ${key} below level ${above.level} are older`).toBeLessThanOrEqual(above.revision);
    oldest.set(key, { level, revision });
  }
}

/** Both ends of a turn of the event loop: cursors have let go. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
