/**
 * A store's directory for tests of the manifest: tables that are only as long as they are said to be, edits that
 * name them, and a disk that tells after each of its calls.
 */
import type { Disk, DiskFile } from '../../../../src/core/base/env.ts';
import { utf8 } from '../../../../src/core/base/bytes.ts';
import type { MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import { CURRENT, parseFileName, tableName } from '../../../../src/engine/lsm/manifest/file-names.ts';
import type { Manifest } from '../../../../src/engine/lsm/manifest/manifest.ts';
import { liveFiles, type ManifestState } from '../../../../src/engine/lsm/manifest/state.ts';
import type { FileMeta, VersionEdit } from '../../../../src/engine/lsm/manifest/version-edit.ts';
import { makeInternalKey, TYPE_PUT } from '../../../../src/engine/lsm/sstable/keys.ts';

export const DIR = '/store';

export const key = (user: string, revision = 1): Uint8Array => makeInternalKey(utf8(user), revision, TYPE_PUT);

export function writeFile(disk: Disk, path: string, bytes: Uint8Array): void {
  const file = disk.open(path, 'create');
  try {
    file.write(bytes, 0);
    file.fdatasync();
  } finally {
    file.close();
  }
}

export function readFile(disk: Disk, path: string): Uint8Array {
  const file = disk.open(path, 'read');
  try {
    const bytes = new Uint8Array(file.size());
    file.read(bytes, 0, bytes.length, 0);
    return bytes;
  } finally {
    file.close();
  }
}

/** A table of `fileBytes` bytes from key `from` to key `to`, durable, not yet named. */
export function makeTable(disk: Disk, manifest: Manifest, from: string, to: string, fileBytes = 100): FileMeta {
  const number = manifest.takeFileNumber();
  writeFile(disk, `${DIR}/${tableName(number)}`, new Uint8Array(fileBytes).fill(number));
  disk.syncDir(DIR);
  return { number, fileBytes, smallest: key(from), largest: key(to) };
}

/** What matters of a state, to compare. The counter of files is left out: it also counts files that nobody names. */
export function gist(state: ManifestState): unknown {
  return {
    lastSequence: state.lastSequence,
    pointers: state.compactPointers.map((pointer) => pointer && Buffer.from(pointer).toString('hex')),
    levels: state.levels.map((files) =>
      files.map(({ number, fileBytes, smallest, largest }) =>
        [number, fileBytes, Buffer.from(smallest).toString('hex'), Buffer.from(largest).toString('hex')].join(),
      ),
    ),
  };
}

export const liveNumbers = (state: ManifestState): Set<number> =>
  new Set([...liveFiles(state)].map(({ number }) => number));

export const add = (level: number, file: FileMeta): VersionEdit => ({ newFiles: [{ level, file }] });

/** The manifest that CURRENT names, by path. */
export function currentPath(disk: Disk): string {
  return `${DIR}/${Buffer.from(readFile(disk, `${DIR}/${CURRENT}`))
    .toString()
    .trim()}`;
}

export const manifests = (disk: Disk): string[] =>
  disk.list(DIR).filter((name) => parseFileName(name)?.kind === 'manifest');

/** A MemoryDisk that calls `after` when one of its calls that change anything has returned. */
export function watched(disk: MemoryDisk, after: () => void): Disk {
  const told = <Args extends unknown[], Result>(call: (...args: Args) => Result) => {
    return (...args: Args): Result => {
      const result = call(...args);
      after();
      return result;
    };
  };
  const watchFile = (file: DiskFile): DiskFile => ({
    fd: file.fd,
    read: (into, offset, length, position) => file.read(into, offset, length, position),
    write: told((bytes: Uint8Array, position: number) => file.write(bytes, position)),
    fdatasync: told(() => file.fdatasync()),
    truncate: told((bytes: number) => file.truncate(bytes)),
    size: () => file.size(),
    close: () => file.close(),
  });
  return {
    open: told((path: string, mode: 'read' | 'write' | 'create') => watchFile(disk.open(path, mode))),
    mkdir: told((path: string) => disk.mkdir(path)),
    list: (path) => disk.list(path),
    exists: (path) => disk.exists(path),
    rename: told((from: string, to: string) => disk.rename(from, to)),
    link: told((from: string, to: string) => disk.link(from, to)),
    remove: told((path: string) => disk.remove(path)),
    syncDir: told((path: string) => disk.syncDir(path)),
  };
}
