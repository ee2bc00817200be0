/**
 * Contents of a backup: each file once, under the SHA-256 of its bytes. So a table that two sets have is stored once,
 * and nobody has to believe that an equal name means equal bytes (a store that was destroyed and made anew numbers its
 * tables from 1 again).
 *
 * A file has its name when all of it is on the disk; what a crash leaves is a name that no set names.
 */
import { createHash } from 'node:crypto';
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type BackupSet, contentPath, filesDir, type SetFile } from './backup-set.ts';

const PIECE_BYTES = 1024 * 1024;

/** Told of bytes as they are read or written; what it returns is waited for. It may throw, to stop. */
export type OnBytes = (bytes: number) => Promise<void>;

export interface Stored {
  readonly sha256: string;
  readonly isNew: boolean;
}

/** Keeps the first `bytes` of `source`, if they are not kept already; whole and synced, its name not yet. */
export async function storeContent(
  disk: Disk,
  backupDir: string,
  source: { readonly file: DiskFile; readonly bytes: number; readonly path: string },
  onBytes: OnBytes,
): Promise<Stored> {
  const sha256 = await copy(source, undefined, onBytes);
  const path = contentPath(backupDir, { sha256 });
  if (disk.exists(path) && sizeOf(disk, path) === source.bytes) return { sha256, isNew: false };
  const making = `${filesDir(backupDir)}/making`;
  if (disk.exists(making)) disk.remove(making);
  const target = disk.open(making, 'create');
  try {
    const again = await copy(source, target, async () => {});
    if (again !== sha256) {
      throw new StoreError('DISK_FAILED', `${source.path} gives other bytes when it is read again`, {
        data: { file: source.path, offset: 0 },
      });
    }
    target.fdatasync();
  } finally {
    target.close();
  }
  disk.rename(making, path);
  return { sha256, isNew: true };
}

/** Reads a file of a set and throws when it is not what was stored; copies it to `target` on the way, if there is one. */
export async function readContent(
  disk: Disk,
  { backupDir, file }: { readonly backupDir: string; readonly file: SetFile },
  target: DiskFile | undefined,
  onBytes: OnBytes,
): Promise<void> {
  const path = contentPath(backupDir, file);
  if (!disk.exists(path)) throw damaged(path, file, 0, 'it is missing');
  const source = disk.open(path, 'read');
  try {
    const bytes = source.size();
    if (bytes !== file.bytes)
      throw damaged(path, file, Math.min(bytes, file.bytes), `it has ${bytes} bytes, not ${file.bytes}`);
    const sha256 = await copy({ file: source, bytes, path }, target, onBytes);
    if (sha256 !== file.sha256) throw damaged(path, file, 0, 'its checksum does not match');
  } finally {
    source.close();
  }
}

/** Reads every file of a set again. */
export async function verifySet(disk: Disk, backupDir: string, set: BackupSet, onBytes: OnBytes): Promise<void> {
  for (const file of set.files) await readContent(disk, { backupDir, file }, undefined, onBytes);
}

/** Removes contents that none of these sets names; returns how many. */
export function removeUnnamed(disk: Disk, backupDir: string, sets: readonly BackupSet[]): number {
  const named = new Set(sets.flatMap((set) => set.files.map((file) => file.sha256)));
  const leaving = disk.list(filesDir(backupDir)).filter((name) => !named.has(name));
  for (const name of leaving) disk.remove(`${filesDir(backupDir)}/${name}`);
  return leaving.length;
}

/** The SHA-256 of the first `bytes`; they are written to `target` on the way. */
async function copy(
  { file, bytes, path }: { readonly file: DiskFile; readonly bytes: number; readonly path: string },
  target: DiskFile | undefined,
  onBytes: OnBytes,
): Promise<string> {
  const hash = createHash('sha256');
  const piece = new Uint8Array(Math.min(PIECE_BYTES, Math.max(1, bytes)));
  for (let at = 0; at < bytes; ) {
    const count = file.read(piece, 0, Math.min(piece.length, bytes - at), at);
    if (count === 0) {
      throw new StoreError('DISK_FAILED', `${path} ends at ${at}, before its ${bytes} bytes`, {
        data: { file: path, offset: at },
      });
    }
    const part = piece.subarray(0, count);
    hash.update(part);
    target?.write(part, at);
    at += count;
    await onBytes(count);
  }
  return hash.digest('hex');
}

function sizeOf(disk: Disk, path: string): number {
  const file = disk.open(path, 'read');
  try {
    return file.size();
  } finally {
    file.close();
  }
}

function damaged(path: string, file: SetFile, offset: number, what: string): StoreError {
  const code = file.path.startsWith('wal/') ? 'WAL_CORRUPT' : 'TABLE_CORRUPT';
  return new StoreError(code, `the backup is damaged: ${path} (${file.path}): ${what}`, {
    data: { file: path, offset },
  });
}
