/** Databases for the tests of this folder: closed and removed after each test. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { MemoryDisk } from '../../src/engine/disk/memory-disk.ts';
import { CtlmeshLevel } from '../../src/level/index.ts';
import type { DatabaseOptions } from '../../src/level/options.ts';
import { SMALL } from './fixtures/small.ts';

export const DIR = '/db';

const opened: { close(): Promise<void> }[] = [];
const dirs: string[] = [];

afterEach(async () => {
  for (const db of opened.splice(0)) await db.close().catch(() => undefined);
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

export function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'ctlmesh-level-'));
  dirs.push(dir);
  return dir;
}

export function closeLater<T extends { close(): Promise<void> }>(db: T): T {
  opened.push(db);
  return db;
}

/** On a memory disk (a new one, unless it is given), with a small engine. */
export function memoryLevel<K = string, V = string>(
  { engine, ...options }: DatabaseOptions<K, V> = {},
  disk: MemoryDisk = new MemoryDisk(),
): CtlmeshLevel<K, V> {
  return closeLater(new CtlmeshLevel<K, V>(DIR, { ...options, engine: { ...SMALL, disk, ...engine } }));
}

/** What a promise fails with: its code, or its name. */
export async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'none';
  } catch (error) {
    return (error as { code?: string }).code ?? (error as Error).name;
  }
}
