/**
 * What repair asks about tables: each is read whole, and of a damaged one the good blocks are kept.
 */
import { basename } from 'node:path';
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { parseFileName } from '../lsm/manifest/file-names.ts';
import type { TableTools } from '../lsm/manifest/repair.ts';
import type { TableFileMeta } from '../lsm/sstable/block-source.ts';
import { TABLE_DEFAULTS } from '../lsm/sstable/builder.ts';
import { salvageTable } from '../lsm/sstable/salvage.ts';
import { verifyTable } from '../lsm/sstable/verify.ts';

export function tableTools(disk: Disk): TableTools {
  return {
    openTableInfo: (path) =>
      using(disk.open(path, 'read'), (file) => {
        const { smallest, largest, largestRevision } = verifyTable(file, metaOf(file, path));
        return { smallest, largest, maxRevision: largestRevision };
      }),
    salvage: (path, outPath) =>
      using(disk.open(path, 'read'), (from) =>
        using(disk.open(outPath, 'create'), (into) => {
          const { kept, droppedBlocks } = salvageTable(from, metaOf(from, path), into, TABLE_DEFAULTS);
          return { kept, dropped: droppedBlocks };
        }),
      ),
  };
}

/** What a table's name and size say. */
export function metaOf(file: DiskFile, path: string): TableFileMeta {
  const parsed = parseFileName(basename(path));
  return { number: parsed?.kind === 'table' ? parsed.number : 0, fileBytes: file.size(), path };
}

function using<T>(file: DiskFile, use: (file: DiskFile) => T): T {
  try {
    return use(file);
  } finally {
    file.close();
  }
}
