/**
 * Environment: one LMDB environment opened as an LDB, by its writer or by a reader.
 *
 * The options that matter, and why:
 *  - overlappingSync off. lmdb-js turns it on: commits are then visible before they are on disk, and the first
 *    *writer* after a power cut goes back to what was. A reader that opens before that writer would follow
 *    pointers to pages that were never written. Off, a commit is on disk when it is visible, readers are right
 *    at any time, and it measured the same (2.4 k commits/s of 1 row; 100 k rows/s in commits of 1000).
 *  - maxReaders 2048. The default 126 is shared by all processes of the host, and a killed one keeps its slot
 *    until someone looks (lmdb-js looks at each open; the writer also does so now and then).
 *  - cache and encoders off: rows are bytes.
 *  - mapSize is not set, so the map grows with the file, in readers too.
 */
import { join, resolve } from 'node:path';
import { type Database, type DatabaseOptions, open, type RootDatabase } from 'lmdb';
import { must } from '../../core/base/assert.ts';
import { StoreError } from '../../core/base/errors.ts';
import { nodeDisk } from '../disk/node-disk.ts';
import { checkLmdbFile, INCOMING, type Key, KV, LEDGER, META } from './format.ts';

/** A named LMDB database of bytes; `lastSize` is public in lmdb-js but not in its types. */
export type Table = Database<Uint8Array, Key> & { readonly lastSize: number };

export interface Environment {
  readonly root: RootDatabase<Uint8Array, Key>;
  readonly kv: Table;
  readonly meta: Table;
  /** For a reader it is closed when the call returns. */
  close(): Promise<void>;
}

export const DATA_FILE = 'data.mdb';
/** An LDB in the making; see `make`. */
const MAKING_FILE = 'making.mdb';

const OPTIONS = {
  // A directory, whatever its name: lmdb-js takes one with a dot for a file.
  noSubdir: false,
  maxDbs: 8,
  maxReaders: 2048,
  overlappingSync: false,
} as const;

/**
 * Writes a key where LMDB reads it. Text goes there directly: the usual way, to bytes and then there, costs an
 * allocation for each read.
 */
const KEY_ENCODER = {
  writeKey(key: Key, target: Buffer, start: number): number {
    const length = key.length;
    if (typeof key !== 'string') {
      target.set(key, start);
      return start + length;
    }
    for (let i = 0; i < length; i++) {
      const unit = key.charCodeAt(i);
      if (unit >= 0x80) return start + target.write(key, start);
      target[start + i] = unit;
    }
    return start + length;
  },
  readKey: (source: Uint8Array, start: number, end: number): Uint8Array => new Uint8Array(source.subarray(start, end)),
};

/**
 * Readers of this thread that opened read-only, by directory. LMDB allows one environment per file and process,
 * so a writer would be given theirs, and could not write. lmdb-js then throws, but keeps the environment for
 * ever: better not to ask. (A reader in another thread we cannot see.)
 */
const readOnlyCounts = new Map<string, number>();

/** For the writer: makes what is missing. */
export async function openToWrite(dir: string): Promise<Environment & { readonly incoming: Table }> {
  if (readOnlyCounts.has(resolve(dir))) throw openReadOnly(dir);
  // An empty file is an LDB whose writer was killed while making it, before files were made aside.
  if (!nodeDisk.exists(join(dir, DATA_FILE)) || checkFile(dir) === 'empty') await make(dir);
  checkUsable(dir);
  const root = openRoot(dir, false);
  try {
    const incoming = must(openTable(root, INCOMING), 'the writer makes its tables');
    const kv = must(openTable(root, KV), 'the writer makes its tables');
    const meta = must(openTable(root, META), 'the writer makes its tables');
    return { root, kv, meta, incoming, close: () => root.close() };
  } catch (error) {
    void root.close();
    throw error;
  }
}

/**
 * Makes the file aside, tables and all, and gives it its name when it is whole. A reader that met it half made saw
 * an LDB without tables, or (LMDB, in that process, for ever) "Attempting to setup locks after open".
 */
async function make(dir: string): Promise<void> {
  const path = join(dir, MAKING_FILE);
  for (const leftover of [path, `${path}-lock`]) if (nodeDisk.exists(leftover)) nodeDisk.remove(leftover);
  const root = open<Uint8Array, Key>({ ...OPTIONS, path, noSubdir: true });
  for (const name of [INCOMING, KV, META]) must(openTable(root, name), 'the writer makes its tables');
  await root.close();
  nodeDisk.rename(path, join(dir, DATA_FILE));
  if (nodeDisk.exists(`${path}-lock`)) nodeDisk.remove(`${path}-lock`);
  nodeDisk.syncDir(dir);
}

/** For a reader: makes nothing, neither files nor directories. */
export function openToRead(dir: string, besideWriter: boolean): Environment {
  if (!nodeDisk.exists(join(dir, DATA_FILE))) throw missing(`there is no LDB in ${dir}`, dir);
  checkUsable(dir);
  const path = resolve(dir);
  const change = besideWriter ? 0 : 1;
  const root = openRoot(dir, !besideWriter);
  countReadOnly(path, change);
  const close = (): Promise<void> => {
    countReadOnly(path, -change);
    return root.close();
  };
  try {
    const kv = openTable(root, KV, { create: false });
    const meta = openTable(root, META, { create: false });
    if (kv !== undefined && meta !== undefined) return { root, kv, meta, close };
    // The writer makes its three tables one after the other, perhaps right now: counted first and looked for after,
    // what appears in between is known and not a stranger's.
    const count = root.getKeysCount();
    const ours = [KV, META, INCOMING, LEDGER].filter((name) => openTable(root, name, { create: false }) !== undefined);
    const others = count - ours.length;
    throw others > 0
      ? corrupt(`${dir} holds an LMDB database, but not an LDB`, dir)
      : missing(`the LDB in ${dir} is being made`, dir);
  } catch (error) {
    void close();
    throw error;
  }
}

/** The table of the records that are kept (kept-ledger.ts); undefined when it is not there, and not to be made. */
export function openLedgerTable({ root }: Environment, { create }: { readonly create: boolean }): Table | undefined {
  return openTable(root, LEDGER, { create });
}

/** The table of a snapshot that is on its way in (arriving.ts); undefined when it is not there. */
export function openIncomingTable({ root }: Environment): Table | undefined {
  return openTable(root, INCOMING, { create: false });
}

function countReadOnly(path: string, change: number): void {
  const count = (readOnlyCounts.get(path) ?? 0) + change;
  if (count === 0) readOnlyCounts.delete(path);
  else readOnlyCounts.set(path, count);
}

function openRoot(dir: string, readOnly: boolean): RootDatabase<Uint8Array, Key> {
  try {
    return open<Uint8Array, Key>({ ...OPTIONS, path: dir, readOnly });
  } catch (cause) {
    if (!readOnly && String(cause).includes('No transaction to renew')) throw openReadOnly(dir, cause);
    throw corrupt(`LMDB cannot open ${dir}: ${String(cause)}`, dir, cause);
  }
}

function openReadOnly(dir: string, cause?: unknown): StoreError {
  const message = `this process reads the LDB in ${dir} and so cannot write it; open its readers with { besideWriter: true }`;
  return new StoreError('DIR_LOCKED', message, { cause, data: { dir } });
}

function openTable(
  root: RootDatabase<Uint8Array, Key>,
  name: string,
  more: { create?: boolean } = {},
): Table | undefined {
  // Two options that lmdb-js has and its types have not: `create` and a `keyEncoder` per table.
  const untyped = { keyEncoder: KEY_ENCODER, ...more };
  const options: DatabaseOptions & { name: string } = { name, encoding: 'binary', cache: false, ...untyped };
  return root.openDB<Uint8Array, Key>(options) as Table | undefined;
}

function checkUsable(dir: string): void {
  switch (checkFile(dir)) {
    case 'ok':
      return;
    case 'empty':
      throw missing(`the LDB in ${dir} is being made`, dir);
    case 'foreign':
      throw corrupt(`${join(dir, DATA_FILE)} is not an LMDB file`, dir);
    case 'cut':
      throw corrupt(`${join(dir, DATA_FILE)} was cut short; remove the directory and let it be filled again`, dir);
  }
}

function checkFile(dir: string): ReturnType<typeof checkLmdbFile> {
  const file = nodeDisk.open(join(dir, DATA_FILE), 'read');
  try {
    return checkLmdbFile(file);
  } finally {
    file.close();
  }
}

function missing(message: string, dir: string): StoreError {
  return new StoreError('LDB_MISSING', message, { data: { dir } });
}

function corrupt(message: string, dir: string, cause?: unknown): StoreError {
  return new StoreError('LDB_CORRUPT', message, { cause, data: { dir } });
}
