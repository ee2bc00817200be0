/**
 * Diverged: the file that says that a data directory's state is not the cluster's, and that nothing may start from it.
 *
 * A node that finds out stops at once, but stopping is not enough: its tables would be served again by the next start,
 * and what is wrong in them is not known. So it leaves this file, synced, before it goes. Nothing removes it; the
 * directory is replaced as a whole, and is kept by whoever wants to know what happened.
 *
 *   DIVERGED   { "index": 6400, "own": "0badcafe", "theirs": "cafebabe", "by": ["n1", "n2"], "when": "…ISO 8601…" }
 */
import { join } from 'node:path';
import { utf8 } from '../../core/base/bytes.ts';
import type { Disk } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';

const NAME = 'DIVERGED';

export interface Diverged {
  /** The revision at which the states were compared. */
  readonly index: number;
  /** State hashes there, in hex: this node's, and the one that a majority has. */
  readonly own: string;
  readonly theirs: string;
  /** Who said so. */
  readonly by: readonly string[];
}

/** Marks `dir` for good. The first word stands: a second one changes nothing. */
export function markDiverged(disk: Disk, dir: string, diverged: Diverged, when: Date): void {
  const path = join(dir, NAME);
  if (disk.exists(path)) return;
  const file = disk.open(path, 'create');
  try {
    file.write(utf8(`${JSON.stringify({ ...diverged, when: when.toISOString() }, undefined, 2)}\n`), 0);
    file.fdatasync();
  } finally {
    file.close();
  }
  disk.syncDir(dir);
}

/** Throws DIVERGED when `dir` was marked; however the file looks, that it is there is enough. */
export function refuseDiverged(disk: Disk, dir: string): void {
  if (!disk.exists(join(dir, NAME))) return;
  throw new StoreError(
    'DIVERGED',
    `data directory ${dir} has a file ${NAME}: its state is not the one that a majority has. ` +
      'Remove this node from the cluster (kvctl member remove), and add one with an empty directory and a new id',
    { data: { dir } },
  );
}
