/**
 * Restore: a data directory made from a backup set. Everything is checked against the set's checksums and read as a
 * start would read it, in a directory beside the one that is wanted; that one is there whole or not at all.
 *
 *   dir.restoring/  contents copied, hashed → synced → read as a start does → claimed   then renamed to   dir/
 *
 * Never over data: the directory must be absent or empty.
 */
import { dirname, resolve } from 'node:path';
import type { Disk } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type OnBytes, readContent } from './backup-files.ts';
import { type BackupSet, setBytes, type SetFile } from './backup-set.ts';
import { diskFailure } from './failures.ts';
import { wholeState } from './whole-state.ts';

export interface RestoreOptions {
  readonly disk: Disk;
  readonly backupDir: string;
  readonly set: BackupSet;
  readonly to: string;
  /** Called with the directory before it gets its name: to say whose it is. */
  readonly claim?: (dir: string) => void;
  readonly onProgress?: (done: number, total: number) => Promise<void>;
}

/** Restores the set. Throws BAD_REQUEST when there is something in the way; on any throw `to` is as it was. */
export async function restoreSet(options: RestoreOptions): Promise<void> {
  const { disk, set } = options;
  const to = resolve(options.to);
  if (disk.exists(to) && disk.list(to).length > 0) {
    throw new StoreError('BAD_REQUEST', `${options.to} is not empty: nothing is restored over data`, {
      data: { dir: to },
    });
  }
  const making = `${to}.restoring`;
  try {
    disk.mkdir(dirname(to));
    clear(disk, making);
    await copyFiles(options, making);
    const tree = set.kind === 'node' ? `${making}/tree` : making;
    wholeState(disk, { tree, wal: `${making}/wal` });
    options.claim?.(making);
    for (const dir of dirsOf(making)) if (disk.exists(dir)) disk.syncDir(dir);
    disk.rename(making, to);
    disk.syncDir(dirname(to));
  } catch (cause) {
    giveUp(disk, making);
    throw diskFailure(`${options.to} could not be restored`, cause);
  }
}

async function copyFiles({ disk, backupDir, set, onProgress }: RestoreOptions, making: string): Promise<void> {
  const total = setBytes(set);
  let done = 0;
  const onBytes: OnBytes = async (bytes) => {
    done += bytes;
    await onProgress?.(done, total);
  };
  for (const file of set.files) await copyFile({ disk, backupDir, file, making }, onBytes);
}

async function copyFile(
  {
    disk,
    backupDir,
    file,
    making,
  }: { readonly disk: Disk; readonly backupDir: string; readonly file: SetFile; readonly making: string },
  onBytes: OnBytes,
): Promise<void> {
  const path = `${making}/${file.path}`;
  disk.mkdir(dirname(path));
  const target = disk.open(path, 'create');
  try {
    await readContent(disk, { backupDir, file }, target, onBytes);
    target.fdatasync();
  } finally {
    target.close();
  }
}

/** All that a restore makes, the deepest first. */
const dirsOf = (making: string): string[] => [`${making}/wal`, `${making}/tree`, making];

/** What an earlier try has left goes. */
function clear(disk: Disk, making: string): void {
  disk.mkdir(making);
  for (const dir of dirsOf(making)) {
    if (!disk.exists(dir)) continue;
    for (const name of disk.list(dir)) if (name !== 'wal' && name !== 'tree') disk.remove(`${dir}/${name}`);
    // Removed for good, before other files get these names.
    disk.syncDir(dir);
  }
}

function giveUp(disk: Disk, making: string): void {
  try {
    if (disk.exists(making)) clear(disk, making);
  } catch {
    // The next try clears it.
  }
}
