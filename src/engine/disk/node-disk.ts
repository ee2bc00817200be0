/**
 * NodeDisk: the real disk, by synchronous node:fs calls.
 *
 * Synchronous, because the callers are threads that own their file and would only wait (see env.ts). Nothing
 * is buffered or cached here: a write is in the kernel when the call returns, so it outlives the process.
 *
 * Two things node:fs leaves open are closed here:
 *  - A closed descriptor's number is soon another file's. A DiskFile therefore forgets its number on close, and
 *    a late call gets EBADF and cannot land in a stranger's file.
 *  - `mkdir` also syncs the parent of each directory it makes. That is more than the contract asks; a directory
 *    is made once, at start, and its maker seldom knows which parents were new.
 *
 * node:fs is imported in engine/disk only: the rest of the engine is given a Disk.
 */
import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { assert } from '../../core/base/assert.ts';
import type { Disk, DiskFile, OpenMode } from '../../core/base/env.ts';
import { byteOrder, checkRange, systemError } from './system-error.ts';

const FLAGS = { read: 'r', write: 'r+', create: 'wx+' } as const satisfies Record<OpenMode, string>;

/** Windows cannot open a directory to sync it; its names are journaled by NTFS instead. */
const UNSYNCABLE_ON_WINDOWS: ReadonlySet<string | undefined> = new Set(['EISDIR', 'EPERM', 'EACCES']);

/** One for the whole process: it holds no state. */
export const nodeDisk: Disk = {
  open: (path, mode) => new NodeDiskFile(openSync(path, FLAGS[mode]), path),

  mkdir(path) {
    const firstMade = mkdirSync(path, { recursive: true });
    if (firstMade === undefined) return;
    const above = dirname(resolve(firstMade));
    for (let made = resolve(path); made.length > above.length; made = dirname(made)) nodeDisk.syncDir(dirname(made));
  },

  list: (path) => readdirSync(path).sort(byteOrder),

  // Not existsSync, which takes "I may not look" for "is not there".
  exists: (path) => statSync(path, { throwIfNoEntry: false }) !== undefined,

  rename: (from, to) => renameSync(from, to),

  link: (from, to) => linkSync(from, to),

  remove: (path) => unlinkSync(path),

  syncDir(path) {
    try {
      const fd = openSync(path, 'r');
      try {
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (process.platform !== 'win32' || !UNSYNCABLE_ON_WINDOWS.has(code)) throw error;
    }
  },
};

/**
 * Syncs a file by its `DiskFile.fd` on libuv's pool; the caller's thread is free. The owner keeps the file open until
 * every such call has returned.
 */
export function fdatasyncFdAsync(fd: number): Promise<void> {
  assert(Number.isInteger(fd) && fd >= 0, `a descriptor is zero or more (got ${fd})`);
  return new Promise((resolve, reject) => {
    fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
  });
}

class NodeDiskFile implements DiskFile {
  readonly #path: string;
  /** -1 once closed. */
  #fd: number;

  constructor(fd: number, path: string) {
    this.#fd = fd;
    this.#path = path;
  }

  get fd(): number {
    return this.#fd;
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    checkRange(position, 'a position');
    assert(offset >= 0 && length >= 0 && offset + length <= into.length, 'the read fits its buffer');
    return readSync(this.#open('read'), into, offset, length, position);
  }

  write(bytes: Uint8Array, position: number): void {
    checkRange(position, 'a position');
    const fd = this.#open('write');
    let done = 0;
    while (done < bytes.length) {
      const count = writeSync(fd, bytes, done, bytes.length - done, position + done);
      // POSIX never says 0 here without an error; asking again could turn for ever.
      if (count === 0) throw systemError('EIO', 'write', this.#path, 'the disk took no byte');
      done += count;
    }
  }

  fdatasync(): void {
    fdatasyncSync(this.#open('fdatasync'));
  }

  truncate(bytes: number): void {
    checkRange(bytes, 'a size');
    ftruncateSync(this.#open('ftruncate'), bytes);
  }

  size(): number {
    return fstatSync(this.#open('fstat')).size;
  }

  close(): void {
    if (this.#fd < 0) return;
    const fd = this.#fd;
    // Forgotten first: after a failed close(2) the number is free all the same, and must not be closed again.
    this.#fd = -1;
    closeSync(fd);
  }

  #open(call: string): number {
    if (this.#fd < 0) throw systemError('EBADF', call, this.#path, 'the file is closed');
    return this.#fd;
  }
}
