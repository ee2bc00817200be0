/**
 * MemoryDiskFile: an open file of a MemoryDisk. What it may ask of its disk is the Driver: whether a call is to fail,
 * whether the disk has crashed since, and how much room there is.
 */
import { assert } from '../../core/base/assert.ts';
import type { DiskFile } from '../../core/base/env.ts';
import type { FileState } from './memory-file.ts';
import { checkRange, systemError } from './system-error.ts';

/** The calls that a test can make fail. */
export type DiskOp =
  | 'open'
  | 'mkdir'
  | 'list'
  | 'exists'
  | 'rename'
  | 'link'
  | 'remove'
  | 'syncDir'
  | 'read'
  | 'write'
  | 'fdatasync'
  | 'truncate'
  | 'size';

export interface Driver {
  enter(op: DiskOp, path: string): void;
  isStale(): boolean;
  isLying(): boolean;
  roomBytes(): number;
  /** Space taken, or given back when negative. */
  use(bytes: number): void;
}

export class MemoryDiskFile implements DiskFile {
  readonly fd: number = -1;
  readonly #driver: Driver;
  readonly #file: FileState;
  readonly #path: string;
  readonly #isWritable: boolean;
  #isClosed = false;

  constructor(driver: Driver, file: FileState, path: string, isWritable: boolean) {
    this.#driver = driver;
    this.#file = file;
    this.#path = path;
    this.#isWritable = isWritable;
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    checkRange(position, 'a position');
    assert(offset >= 0 && length >= 0 && offset + length <= into.length, 'the read fits its buffer');
    this.#enter('read');
    return this.#file.read(into, offset, length, position);
  }

  write(bytes: Uint8Array, position: number): void {
    checkRange(position, 'a position');
    this.#enter('write');
    if (!this.#isWritable) throw systemError('EBADF', 'write', this.#path, 'the file is open for reading');
    const before = this.#file.size;
    const endMax = before + this.#driver.roomBytes();
    const fitting = bytes.subarray(0, Math.max(0, Math.min(bytes.length, Math.max(endMax, before) - position)));
    // The part that fits stays, as after a short write(2).
    this.#file.write(fitting, position);
    this.#driver.use(this.#file.size - before);
    if (fitting.length < bytes.length) throw systemError('ENOSPC', 'write', this.#path, 'no space left');
  }

  fdatasync(): void {
    try {
      this.#enter('fdatasync');
    } catch (error) {
      if (!this.#isClosed && !this.#driver.isStale()) this.#file.strand();
      throw error;
    }
    if (!this.#driver.isLying()) this.#file.sync();
  }

  truncate(bytes: number): void {
    checkRange(bytes, 'a size');
    this.#enter('truncate');
    if (!this.#isWritable) throw systemError('EINVAL', 'ftruncate', this.#path, 'the file is open for reading');
    const growth = bytes - this.#file.size;
    if (growth > 0 && growth > this.#driver.roomBytes()) {
      throw systemError('ENOSPC', 'ftruncate', this.#path, 'no space left');
    }
    this.#file.truncate(bytes);
    this.#driver.use(growth);
  }

  size(): number {
    this.#enter('size');
    return this.#file.size;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#driver.isStale()) return;
    this.#file.handles--;
    if (this.#file.isUnreachable) this.#driver.use(-this.#file.size);
  }

  #enter(op: DiskOp): void {
    if (this.#isClosed) throw systemError('EBADF', op, this.#path, 'the file is closed');
    this.#driver.enter(op, this.#path);
  }
}
