/**
 * A second name for a table, or a copy where there can be none: across file systems, on one without links, at a
 * file's limit of names. Tables never change, so a link serves as well as a copy and costs nothing.
 */
import type { Disk } from '../../../core/base/env.ts';
import { synced } from './failures.ts';

/** How a disk says that it cannot link these two. */
const UNLINKABLE: ReadonlySet<string | undefined> = new Set([
  'EXDEV',
  'EPERM',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'EMLINK',
]);

const COPY_BYTES = 1024 * 1024;

/** After it, `to` has the bytes of `from`, durably; the name is durable once its directory is synced. */
export function linkOrCopy(disk: Disk, from: string, to: string): void {
  try {
    disk.link(from, to);
  } catch (error) {
    if (!UNLINKABLE.has((error as NodeJS.ErrnoException).code)) throw error;
    copy(disk, from, to);
  }
}

function copy(disk: Disk, from: string, to: string): void {
  const source = disk.open(from, 'read');
  try {
    const target = disk.open(to, 'create');
    try {
      const bytes = new Uint8Array(COPY_BYTES);
      let at = 0;
      for (let count = -1; count !== 0; at += count) {
        count = source.read(bytes, 0, bytes.length, at);
        target.write(bytes.subarray(0, count), at);
      }
      synced(() => target.fdatasync());
    } finally {
      target.close();
    }
  } finally {
    source.close();
  }
}
