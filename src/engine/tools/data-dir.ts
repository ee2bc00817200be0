/**
 * DataDir: what the tools find in a directory: a node's data, or an embedded store; and whether somebody uses it.
 *
 *   node    dir/IDENTITY   dir/wal/*.wal   dir/tree/{CURRENT, MANIFEST-…, *.ldb}
 *   store                  dir/wal/*.wal   dir/{CURRENT, MANIFEST-…, *.ldb}
 */
import { basename, dirname, resolve } from 'node:path';
import type { Disk } from '../../core/base/env.ts';
import { isStoreError, StoreError } from '../../core/base/errors.ts';
import { type Identity, readIdentity } from '../disk/identity.ts';
import { type DirLock, lockDir } from '../disk/lock.ts';
import { parseFileName } from '../lsm/manifest/file-names.ts';
import { isInstalling } from '../snapshot/install.ts';

export interface DataDir {
  readonly kind: 'node' | 'store';
  readonly dir: string;
  readonly tree: string;
  readonly wal: string;
}

/** BAD_REQUEST when there is neither. A node's `tree` leads to the node. */
export function findDataDir(disk: Disk, given: string): DataDir {
  const found = findDir(disk, given);
  // Its tree and its log may be of two states.
  if (found.kind === 'node' && isInstalling(disk, found.dir)) {
    throw new StoreError('BAD_REQUEST', `${found.dir} gets its state from a snapshot: start the node once`);
  }
  return found;
}

function findDir(disk: Disk, given: string): DataDir {
  const dir = resolve(given);
  if (!disk.exists(dir)) throw new StoreError('BAD_REQUEST', `there is no directory ${given}`);
  const above = dirname(dir);
  if (basename(dir) === 'tree' && disk.exists(`${above}/IDENTITY`)) return nodeDir(above);
  const names = disk.list(dir);
  // What a lost CURRENT leaves is a store too: repair is for those.
  const hasTables = names.some((name) => {
    const kind = parseFileName(name)?.kind;
    return kind === 'current' || kind === 'manifest' || kind === 'table';
  });
  if (hasTables) return { kind: 'store', dir, tree: dir, wal: `${dir}/wal` };
  if (names.includes('IDENTITY') || names.includes('tree') || names.includes('wal')) return nodeDir(dir);
  throw new StoreError('BAD_REQUEST', `${given} is neither a node's data directory nor a store`);
}

const nodeDir = (dir: string): DataDir => ({ kind: 'node', dir, tree: `${dir}/tree`, wal: `${dir}/wal` });

/** Whose directory it is; undefined for a store. Throws DIR_FOREIGN when that cannot be read. */
export function ownerOf({ kind, dir }: DataDir): Identity | undefined {
  return kind === 'node' ? readIdentity(dir) : undefined;
}

/** The directory's lock, or undefined when a running process has it. */
export async function lockIfStopped(dir: string): Promise<DirLock | undefined> {
  try {
    return await lockDir(dir);
  } catch (error) {
    if (isStoreError(error, 'DIR_LOCKED')) return undefined;
    throw error;
  }
}
