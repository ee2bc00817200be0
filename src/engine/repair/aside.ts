/**
 * Aside: a node's damaged files under another name in its directory, as they are, so that somebody can look what has
 * happened (`kvctl inspect`, `kvctl scrub`); and its place empty for what comes from the peers.
 *
 *   data/n2/{IDENTITY, DIVERGED, …, wal/…, tree/…}   ─▶   data/n2/damaged-20261120T184217Z/{IDENTITY, …, wal/…, tree/…}
 *
 * Every file gets its second name, durably, before it loses its first one. So a crash on the way leaves files under both
 * names, and everything is done over again by the next start: each step can be done twice.
 */
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { DAMAGED } from '../disk/damaged.ts';
import { LIVES } from '../disk/lives.ts';
import { linkOrCopy } from '../lsm/manifest/links.ts';

/** What a node keeps in its directory, by what is in it; the lock stays where it is. */
const DIRS = ['wal', 'tree', 'incoming', 'snapshot'];
const FILES = ['DIVERGED', DAMAGED, LIVES, 'INSTALL', 'IDENTITY'];

/** "damaged-20261120T184217Z". */
export const asideName = (when: Date): string =>
  `damaged-${when
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:]/g, '')}`;

export function setAside(disk: Disk, dataDir: string, aside: string): void {
  for (const dir of DIRS)
    if (disk.exists(`${dataDir}/${dir}`)) move(disk, `${dataDir}/${dir}`, `${dataDir}/${aside}/${dir}`);
  move(disk, dataDir, `${dataDir}/${aside}`, FILES);
}

function move(disk: Disk, from: string, to: string, among?: readonly string[]): void {
  const names = (among ?? disk.list(from)).filter((name) => disk.exists(`${from}/${name}`));
  disk.mkdir(to);
  for (const name of names) keep(disk, `${from}/${name}`, `${to}/${name}`);
  disk.syncDir(to);
  for (const name of names) disk.remove(`${from}/${name}`);
  disk.syncDir(from);
}

function keep(disk: Disk, from: string, to: string): void {
  if (disk.exists(to)) {
    // A link that is there already, or a copy that was not finished.
    if (sizeOf(disk, to) === sizeOf(disk, from)) return;
    disk.remove(to);
  }
  linkOrCopy(disk, from, to);
}

function sizeOf(disk: Disk, path: string): number {
  const file: DiskFile = disk.open(path, 'read');
  try {
    return file.size();
  } finally {
    file.close();
  }
}
