/**
 * SmallFile: a file that is read and written whole. It appears, or changes, in one act: written and synced under another
 * name, renamed, the directory synced; so whoever reads it has the old words or the new ones.
 */
import { text, utf8 } from '../../core/base/bytes.ts';
import type { Disk } from '../../core/base/env.ts';

/** Durable when it returns. One at a time for each path. */
export function replaceFile(disk: Disk, dir: string, name: string, content: string): void {
  const making = `${dir}/${name}.tmp`;
  // Left by somebody who died before the rename.
  if (disk.exists(making)) disk.remove(making);
  const file = disk.open(making, 'create');
  try {
    file.write(utf8(content), 0);
    file.fdatasync();
  } finally {
    file.close();
  }
  disk.rename(making, `${dir}/${name}`);
  disk.syncDir(dir);
}

/** What it says; undefined when there is none. */
export function readSmallFile(disk: Disk, path: string): string | undefined {
  if (!disk.exists(path)) return undefined;
  const file = disk.open(path, 'read');
  try {
    const bytes = new Uint8Array(file.size());
    return text(bytes.subarray(0, file.read(bytes, 0, bytes.length, 0)));
  } finally {
    file.close();
  }
}
