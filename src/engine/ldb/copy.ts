/**
 * Copies of an LDB's file: taken while it is written, looked at, and put where there is none.
 *
 * A copy is made by LMDB in one read transaction, on a thread of its own, without free pages: what was deleted or
 * overwritten is not in it.
 */
import { join } from 'node:path';
import type { LedgerFilter } from '../../core/model/ledger-filter.ts';
import { nodeDisk } from '../disk/node-disk.ts';
import { DATA_FILE, openToRead } from './environment.ts';
import {
  decodePosition,
  decodeStoredFilter,
  FILTER_KEY,
  FIRST_KEY,
  type LdbPosition,
  NO_POSITION,
  POSITION_KEY,
  type StoredRow,
  storedRow,
} from './format.ts';
import { viewOf } from './row-view.ts';
import { newestRows } from './showing.ts';

export interface LdbFacts {
  readonly position: LdbPosition;
  /** What it holds; undefined: everything. */
  readonly filter: LedgerFilter | undefined;
}

export const hasLdb = (dir: string): boolean => nodeDisk.exists(join(dir, DATA_FILE));

/** What the LDB in `dir` is. LDB_MISSING, LDB_CORRUPT. `besideWriter`: this process writes it, or will. */
export async function ldbFacts(dir: string, { besideWriter }: { readonly besideWriter: boolean }): Promise<LdbFacts> {
  const env = openToRead(dir, besideWriter);
  try {
    const [position, filter] = [env.meta.get(POSITION_KEY), env.meta.get(FILTER_KEY)];
    return {
      position: position === undefined ? NO_POSITION : decodePosition(position, position.length, dir),
      filter: filter === undefined ? undefined : decodeStoredFilter(filter, filter.length, dir),
    };
  } finally {
    await env.close();
  }
}

/** Copies the LDB in `dir`, which this process writes, to a directory of its own; gives the copied file's path. */
export async function copyLdb(dir: string, into: string): Promise<string> {
  removeLdb(into);
  nodeDisk.mkdir(into);
  const env = openToRead(dir, true);
  try {
    await env.root.backup(into, true);
  } finally {
    await env.close();
  }
  return join(into, DATA_FILE);
}

/** Puts the file of `from` where there is none. */
export function moveLdb(from: string, dir: string): void {
  nodeDisk.rename(join(from, DATA_FILE), join(dir, DATA_FILE));
  nodeDisk.syncDir(dir);
}

export const ldbFile = (dir: string): string => join(dir, DATA_FILE);

/** Removes the files of an LDB that nobody has open. */
export function removeLdb(dir: string): void {
  for (const name of [DATA_FILE, 'lock.mdb']) {
    const path = join(dir, name);
    if (nodeDisk.exists(path)) nodeDisk.remove(path);
  }
}

/** All rows of the LDB in `dir` as the cluster has them, some at a time: whatever its host was shown of them. */
export async function* copiedRows(dir: string, bytesMax: number): AsyncGenerator<readonly StoredRow[]> {
  const env = openToRead(dir, false);
  try {
    let rows: StoredRow[] = [];
    let bytes = 0;
    let from = FIRST_KEY;
    for (;;) {
      // Nobody writes here: a cursor for each part sees the same rows, and none is open while the caller works.
      for (const { key, row } of newestRows(viewOf(env.kv), from, undefined)) {
        rows.push(storedRow(key, row));
        bytes += key.length + row.length;
        from = Uint8Array.of(...key, 0);
        if (bytes >= bytesMax) break;
      }
      if (rows.length === 0) return;
      yield rows;
      [rows, bytes] = [[], 0];
    }
  } finally {
    await env.close();
  }
}
