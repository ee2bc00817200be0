/**
 * Stale files: what a crash or a compaction left and no version names. They are found by their names alone, at
 * start and whenever the owner likes; what is not a name of ours is not touched, nor are LevelDB's own logs, which
 * may hold what no table does.
 *
 * No sync follows: a file whose removal a crash takes back is stale again, and removed again.
 */
import type { Disk } from '../../../core/base/env.ts';
import { parseFileName } from './file-names.ts';

/** What must stay. */
export interface Live {
  /** Tables of every version that somebody may still read, and of jobs at work. */
  readonly tables: ReadonlySet<number>;
  /** The manifest that counts: `manifest.fileNumber`. */
  readonly manifest: number;
}

/** Removes stale manifests, temporary files and tables; returns their names. */
export function removeStale(disk: Disk, dir: string, live: Live): string[] {
  const stale = disk.list(dir).filter((name) => isStale(name, live));
  for (const name of stale) disk.remove(`${dir}/${name}`);
  return stale;
}

function isStale(name: string, live: Live): boolean {
  const parsed = parseFileName(name);
  switch (parsed?.kind) {
    case 'table':
      return !live.tables.has(parsed.number);
    case 'manifest':
      return parsed.number !== live.manifest;
    case 'tmp':
      return true;
    default:
      return false;
  }
}
