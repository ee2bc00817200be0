/**
 * A disk between an engine and its MemoryDisk: it tells each change before it is made, and can go dead at any of them.
 *
 * Dead is what a process is after a power cut: no call does anything any more, whoever is still running. So an engine
 * of an earlier life cannot reach the disk of the next one.
 */
import type { Disk, DiskFile, OpenMode } from '../../src/core/base/env.ts';
import { systemError } from '../../src/engine/disk/system-error.ts';

export type Change =
  | { readonly op: 'create' | 'remove' | 'mkdir' | 'syncDir' | 'fdatasync'; readonly path: string }
  | { readonly op: 'rename' | 'link'; readonly path: string; readonly to: string }
  | { readonly op: 'write'; readonly path: string; readonly at: number; readonly bytes: Uint8Array }
  | { readonly op: 'truncate'; readonly path: string; readonly size: number };

/** Called before each change; what it throws, the caller of the disk gets. */
export type BeforeChange = (change: Change, number: number) => void;

export class WatchedDisk implements Disk {
  readonly #disk: Disk;
  readonly #before: BeforeChange;
  #changes = 0;
  #isDead = false;

  constructor(disk: Disk, before: BeforeChange = () => {}) {
    this.#disk = disk;
    this.#before = before;
  }

  /** How many changes were asked for. */
  get changes(): number {
    return this.#changes;
  }

  die(): void {
    this.#isDead = true;
  }

  /** Start of every call. */
  live(): void {
    if (this.#isDead) throw systemError('EIO', 'any', '', 'the power is off');
  }

  change(change: Change): void {
    this.live();
    this.#before(change, this.#changes++);
    this.live();
  }

  open(path: string, mode: OpenMode): DiskFile {
    if (mode === 'create') this.change({ op: 'create', path });
    else this.live();
    return new WatchedFile(this, this.#disk.open(path, mode), path);
  }

  mkdir(path: string): void {
    this.change({ op: 'mkdir', path });
    this.#disk.mkdir(path);
  }

  list(path: string): string[] {
    this.live();
    return this.#disk.list(path);
  }

  exists(path: string): boolean {
    this.live();
    return this.#disk.exists(path);
  }

  rename(from: string, to: string): void {
    this.change({ op: 'rename', path: from, to });
    this.#disk.rename(from, to);
  }

  link(from: string, to: string): void {
    this.change({ op: 'link', path: from, to });
    this.#disk.link(from, to);
  }

  remove(path: string): void {
    this.change({ op: 'remove', path });
    this.#disk.remove(path);
  }

  syncDir(path: string): void {
    this.change({ op: 'syncDir', path });
    this.#disk.syncDir(path);
  }
}

class WatchedFile implements DiskFile {
  readonly fd: number = -1;
  readonly #watch: WatchedDisk;
  readonly #file: DiskFile;
  readonly #path: string;

  constructor(watch: WatchedDisk, file: DiskFile, path: string) {
    this.#watch = watch;
    this.#file = file;
    this.#path = path;
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    this.#watch.live();
    return this.#file.read(into, offset, length, position);
  }

  write(bytes: Uint8Array, at: number): void {
    this.#watch.change({ op: 'write', path: this.#path, at, bytes });
    this.#file.write(bytes, at);
  }

  fdatasync(): void {
    this.#watch.change({ op: 'fdatasync', path: this.#path });
    this.#file.fdatasync();
  }

  truncate(size: number): void {
    this.#watch.change({ op: 'truncate', path: this.#path, size });
    this.#file.truncate(size);
  }

  size(): number {
    this.#watch.live();
    return this.#file.size();
  }

  close(): void {
    this.#file.close();
  }
}

/** All files below `dir`, by path. */
export function filesBelow(disk: Disk, dir: string): string[] {
  return disk.list(dir).flatMap((name) => {
    const path = `${dir}/${name}`;
    try {
      disk.open(path, 'read').close();
      return [path];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EISDIR') throw error;
      return filesBelow(disk, path);
    }
  });
}
