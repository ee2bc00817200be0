/**
 * BackupSet: what one backup holds: files of a data directory, by path, with size and SHA-256.
 *
 *   backup/
 *     files/<sha256>       contents, each once, whichever sets name it
 *     sets/000001.set      one backup each, numbered from 1
 *
 *   set file = JSON '\n' 'crc32c ' (8 hex digits of the JSON's CRC) '\n'
 *
 * A set gets its name when everything it names is on the disk, so a backup that died in the middle is no set; what it
 * had copied is found by the next one.
 *
 * Paths come back as paths when a set is restored, so only those are taken that a backup writes.
 */
import { text, utf8 } from '../../core/base/bytes.ts';
import { crc32c } from '../../core/base/crc32c.ts';
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { Identity } from '../disk/identity.ts';

export interface SetFile {
  /** In the data directory: `tree/000007.ldb`, `wal/000002.wal`. */
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface BackupSet {
  readonly format: 1;
  readonly number: number;
  /** ISO 8601. */
  readonly createdAt: string;
  /** Version of ctlmesh that made it. */
  readonly engine: string;
  readonly kind: 'node' | 'store';
  /** Whose data it is; null for a store. */
  readonly owner: Pick<Identity, 'cluster' | 'node' | 'dirId'> | null;
  /** Made beside the process that was writing. */
  readonly isLive: boolean;
  /** Everything up to here is in the tables. */
  readonly flushedRevision: number;
  /** Of the log. */
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly term: number;
  readonly files: readonly SetFile[];
}

export const filesDir = (backupDir: string): string => `${backupDir}/files`;
const setsDir = (backupDir: string): string => `${backupDir}/sets`;
const setPath = (backupDir: string, number: number): string =>
  `${setsDir(backupDir)}/${String(number).padStart(6, '0')}.set`;

/** Where a file's contents are. */
export const contentPath = (backupDir: string, file: Pick<SetFile, 'sha256'>): string =>
  `${filesDir(backupDir)}/${file.sha256}`;

export const setBytes = (set: BackupSet): number => set.files.reduce((sum, { bytes }) => sum + bytes, 0);

/** Numbers of the sets, rising; none when there is no backup. */
export function listSets(disk: Disk, backupDir: string): number[] {
  if (!disk.exists(setsDir(backupDir))) return [];
  const numbers: number[] = [];
  for (const name of disk.list(setsDir(backupDir))) {
    const match = /^(\d{6,})\.set$/.exec(name);
    if (match !== null) numbers.push(Number(match[1]));
  }
  return numbers.sort((a, b) => a - b);
}

/** A set by its number; the newest without one. BAD_REQUEST when it is not there, TABLE_CORRUPT when it is damaged. */
export function readSet(disk: Disk, backupDir: string, number?: number): BackupSet {
  const numbers = listSets(disk, backupDir);
  const wanted = number ?? numbers.at(-1);
  if (wanted === undefined) throw new StoreError('BAD_REQUEST', `${backupDir} holds no backup`);
  if (!numbers.includes(wanted)) {
    throw new StoreError('BAD_REQUEST', `${backupDir} has no set ${wanted}; it has ${numbers.join(', ')}`);
  }
  const path = setPath(backupDir, wanted);
  const set = decodeSet(readFile(disk, path), path);
  if (set.number !== wanted) throw damaged(path, `it is set ${set.number} under another name`);
  return set;
}

/** Writes the set under its name, durably: from now on it is one. */
export function writeSet(disk: Disk, backupDir: string, set: BackupSet): void {
  const path = setPath(backupDir, set.number);
  const making = `${path}.making`;
  if (disk.exists(making)) disk.remove(making);
  const file = disk.open(making, 'create');
  try {
    file.write(encodeSet(set), 0);
    file.fdatasync();
  } finally {
    file.close();
  }
  disk.rename(making, path);
  disk.syncDir(setsDir(backupDir));
}

/** Takes a set away, durably. What only it named may go then. */
export function removeSet(disk: Disk, backupDir: string, number: number): void {
  disk.remove(setPath(backupDir, number));
  disk.syncDir(setsDir(backupDir));
}

export function makeBackupDirs(disk: Disk, backupDir: string): void {
  disk.mkdir(filesDir(backupDir));
  disk.mkdir(setsDir(backupDir));
}

function encodeSet(set: BackupSet): Uint8Array {
  const json = JSON.stringify(set);
  return utf8(`${json}\ncrc32c ${crcOf(json)}\n`);
}

function decodeSet(bytes: Uint8Array, path: string): BackupSet {
  let content: string;
  try {
    content = text(bytes);
  } catch (cause) {
    throw damaged(path, 'it is not text', cause);
  }
  const [json = '', last = ''] = content.split('\n');
  if (last !== `crc32c ${crcOf(json)}`) throw damaged(path, 'its checksum does not match');
  const set = JSON.parse(json) as BackupSet;
  // The checksum says that we wrote it; which version of us, the format says.
  if (set.format !== 1)
    throw new StoreError('BAD_REQUEST', `${path} is of format ${String(set.format)}; this kvctl knows 1`);
  const bad = set.files.find((file) => !isPath(file.path) || !/^[0-9a-f]{64}$/.test(file.sha256));
  if (bad !== undefined) throw damaged(path, `it names ${bad.path}, which no backup holds`);
  return set;
}

const isPath = (path: string): boolean =>
  /^(?:wal\/\d{6,}\.wal|(?:tree\/)?(?:\d{6,}\.(?:ldb|sst)|MANIFEST-\d{6,}|CURRENT))$/.test(path);

const crcOf = (json: string): string => crc32c(utf8(json)).toString(16).padStart(8, '0');

function readFile(disk: Disk, path: string): Uint8Array {
  const file = disk.open(path, 'read');
  try {
    return readAll(file);
  } finally {
    file.close();
  }
}

function readAll(file: DiskFile): Uint8Array {
  const bytes = new Uint8Array(file.size());
  let at = 0;
  while (at < bytes.length) {
    const count = file.read(bytes, at, bytes.length - at, at);
    if (count === 0) break;
    at += count;
  }
  return bytes.subarray(0, at);
}

function damaged(path: string, what: string, cause?: unknown): StoreError {
  return new StoreError('TABLE_CORRUPT', `the backup is damaged: ${path}: ${what}`, {
    cause,
    data: { file: path, offset: 0 },
  });
}
