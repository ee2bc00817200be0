/**
 * What a version knows of its tables beyond the manifest (LevelDB's format has no room for it): read from the tables'
 * own properties, once, at the start. A table of LevelDB's has none, and gets what is safe to believe of any.
 */
import type { Disk } from '../../../core/base/env.ts';
import { tablePath } from '../manifest/file-names.ts';
import type { ManifestState } from '../manifest/state.ts';
import type { FileMeta } from '../manifest/version-edit.ts';
import { type BlockCacheLike, Table } from '../sstable/table.ts';
import type { TableRef } from './version.ts';

const NO_CACHE: BlockCacheLike = { get: () => undefined, put: () => {} };

/** The tables of each level, level 0 newest first. Throws TABLE_CORRUPT. */
export function readTableRefs(disk: Disk, dir: string, state: ManifestState): TableRef[][] {
  return state.levels.map((files, level) => {
    const refs = files.map((file) => readTableRef(disk, dir, file, state.lastSequence));
    if (level === 0) refs.sort((a, b) => b.largestRevision - a.largestRevision || b.number - a.number);
    return refs;
  });
}

function readTableRef(disk: Disk, dir: string, meta: FileMeta, lastSequence: number): TableRef {
  const path = tablePath(disk, dir, meta.number);
  const file = disk.open(path, 'read');
  try {
    const table = Table.open(file, { number: meta.number, fileBytes: meta.fileBytes, path }, NO_CACHE);
    const properties = table.readProperties();
    return {
      number: meta.number,
      fileBytes: meta.fileBytes,
      smallest: meta.smallest,
      largest: meta.largest,
      entries: properties?.entries ?? 0,
      tombstones: properties?.tombstones ?? 0,
      smallestRevision: properties?.smallestRevision ?? 0,
      largestRevision: properties?.largestRevision ?? lastSequence,
      earliestExpiryMs: properties?.earliestExpiryMs ?? 0,
    };
  } finally {
    file.close();
  }
}
