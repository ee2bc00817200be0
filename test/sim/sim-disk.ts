/**
 * SimDisk: what one life of a node sees of its platter (a MemoryDisk). It can go dead at any change that the node
 * makes, and gives open files numbers, by which the syncer syncs what the wal-committer has open.
 *
 * Dead is what a process is after it was killed: no call does anything any more, whoever is still running. So an actor
 * of an earlier life cannot reach the disk of the next one.
 */
import type { Disk, DiskFile, OpenMode } from '../../src/core/base/env.ts';
import { must } from '../../src/core/base/assert.ts';
import { systemError } from '../../src/engine/disk/system-error.ts';

export class SimDisk implements Disk {
  readonly #disk: Disk;
  readonly #onCut: () => void;
  readonly #files = new Map<number, SimFile>();
  #nextFd = 3;
  /** Changes until the power goes; 0: it does not. */
  #cutIn = 0;
  #isDead = false;
  changes = 0;
  syncs = 0;

  /** `onCut` is called when the change that was waited for is about to be made: the node's life ends there. */
  constructor(disk: Disk, onCut: () => void) {
    this.#disk = disk;
    this.#onCut = onCut;
  }

  die(): void {
    this.#isDead = true;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** The power goes before the change after `changes` more. */
  cutAfter(changes: number): void {
    this.#cutIn = changes + 1;
  }

  cutNever(): void {
    this.#cutIn = 0;
  }

  fdatasync(fd: number): void {
    must(this.#files.get(fd), 'a file is open while it is synced').fdatasync();
  }

  live(): void {
    if (this.#isDead) throw systemError('EIO', 'any', '', 'this life is over');
  }

  change(): void {
    this.live();
    this.changes++;
    if (this.#cutIn === 0 || --this.#cutIn > 0) return;
    this.#onCut();
    this.live();
  }

  closed(fd: number): void {
    this.#files.delete(fd);
  }

  open(path: string, mode: OpenMode): DiskFile {
    if (mode === 'create') this.change();
    else this.live();
    const file = new SimFile(this, this.#disk.open(path, mode), this.#nextFd++);
    this.#files.set(file.fd, file);
    return file;
  }

  mkdir(path: string): void {
    this.change();
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
    this.change();
    this.#disk.rename(from, to);
  }

  link(from: string, to: string): void {
    this.change();
    this.#disk.link(from, to);
  }

  remove(path: string): void {
    this.change();
    this.#disk.remove(path);
  }

  syncDir(path: string): void {
    this.change();
    this.#disk.syncDir(path);
  }
}

class SimFile implements DiskFile {
  readonly fd: number;
  readonly #disk: SimDisk;
  readonly #file: DiskFile;

  constructor(disk: SimDisk, file: DiskFile, fd: number) {
    this.#disk = disk;
    this.#file = file;
    this.fd = fd;
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    this.#disk.live();
    return this.#file.read(into, offset, length, position);
  }

  write(bytes: Uint8Array, position: number): void {
    this.#disk.change();
    this.#file.write(bytes, position);
  }

  fdatasync(): void {
    this.#disk.change();
    this.#disk.syncs++;
    this.#file.fdatasync();
  }

  truncate(bytes: number): void {
    this.#disk.change();
    this.#file.truncate(bytes);
  }

  size(): number {
    this.#disk.live();
    return this.#file.size();
  }

  close(): void {
    this.#disk.closed(this.fd);
    this.#file.close();
  }
}
