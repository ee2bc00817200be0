/**
 * A store in a memory disk for the tools' tests, with what it holds; and a disk that does something between two calls
 * of a tool, as a process at work beside it would.
 */
import type { Disk, DiskFile, OpenMode } from '../../../src/core/base/env.ts';
import type { MemoryDisk } from '../../../src/engine/disk/memory-disk.ts';
import { type Engine, type EngineOptions, openEngine } from '../../../src/engine/store/index.ts';
import { type BackupReport, type BackupOptions, makeBackup } from '../../../src/engine/tools/backup.ts';
import type { DataDir } from '../../../src/engine/tools/data-dir.ts';
import { bytes, show, SMALL } from '../store/world.ts';

export const STORE: DataDir = { kind: 'store', dir: '/db', tree: '/db', wal: '/db/wal' };
export const BACKUP = '/backup';

/** Small memtables and segments, compactions by themselves: tables and segments come and go. */
export const BUSY: EngineOptions = { ...SMALL, autoCompact: true, l0Compact: 2, walSegmentBytes: 4096, lock: false };

export const open = (disk: Disk, dir = '/db', options: EngineOptions = BUSY): Promise<Engine> =>
  openEngine(dir, { ...options, disk });

export async function contentsOf(disk: Disk, dir: string): Promise<Map<string, string>> {
  const engine = await open(disk, dir);
  try {
    return rowsOf(engine);
  } finally {
    await engine.close();
  }
}

export function rowsOf(engine: Engine): Map<string, string> {
  const rows = new Map<string, string>();
  const cursor = engine.cursor({});
  try {
    for (let row = cursor.next(); row !== undefined; row = cursor.next()) rows.set(show(row.key), show(row.value));
  } finally {
    cursor.close();
  }
  return rows;
}

/** A key's value tells its revision, so that a state tells when it was. */
export async function write(engine: Engine, random: () => number, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const key = bytes(`key-${Math.floor(random() * 200)}`);
    if (random() < 0.1) await engine.delete(key);
    else await engine.put(key, bytes(`${Math.floor(random() * 1e9)}`.repeat(1 + Math.floor(random() * 12))));
  }
}

export const backup = (disk: Disk, options: Partial<BackupOptions> = {}): Promise<BackupReport> =>
  makeBackup({
    disk,
    from: STORE,
    backupDir: BACKUP,
    owner: null,
    isLive: false,
    now: () => new Date(0),
    ...options,
  });

/** Everything under `dir`, by path. */
export function snapshot(disk: MemoryDisk, dir: string): Map<string, string> {
  const files = new Map<string, string>();
  const walk = (at: string): void => {
    for (const name of disk.list(at)) {
      const path = `${at}/${name}`;
      let file: DiskFile;
      try {
        file = disk.open(path, 'read');
      } catch {
        walk(path);
        continue;
      }
      files.set(path, Buffer.from(readAll(file)).toString('base64'));
      file.close();
    }
  };
  walk(dir);
  return files;
}

function readAll(file: DiskFile): Uint8Array {
  const content = new Uint8Array(file.size());
  file.read(content, 0, content.length, 0);
  return content;
}

/** A disk that calls `before` before each open of a file. */
export function interrupted(disk: Disk, before: (path: string, mode: OpenMode) => void): Disk {
  return {
    open: (path, mode) => {
      before(path, mode);
      return disk.open(path, mode);
    },
    mkdir: (path) => disk.mkdir(path),
    list: (path) => disk.list(path),
    exists: (path) => disk.exists(path),
    rename: (from, to) => disk.rename(from, to),
    link: (from, to) => disk.link(from, to),
    remove: (path) => disk.remove(path),
    syncDir: (path) => disk.syncDir(path),
  };
}

/** A file that calls `before` before each read. */
export function reading(file: DiskFile, before: () => void): DiskFile {
  return {
    fd: file.fd,
    read: (into, offset, length, position) => {
      before();
      return file.read(into, offset, length, position);
    },
    write: (content, position) => file.write(content, position),
    fdatasync: () => file.fdatasync(),
    truncate: (size) => file.truncate(size),
    size: () => file.size(),
    close: () => file.close(),
  };
}
