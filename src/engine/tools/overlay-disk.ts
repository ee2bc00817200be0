/**
 * OverlayDisk: a disk whose changes stay in memory, so that a repair can be tried without a byte being written.
 *
 * A name leads to a file made here, to a file of the disk below under the same or another name, or is gone. Files of
 * the disk below are only read.
 */
import { dirname } from 'node:path';
import type { Disk, DiskFile, OpenMode } from '../../core/base/env.ts';
import { MemoryDisk } from '../disk/memory-disk.ts';
import { byteOrder, systemError } from '../disk/system-error.ts';

/** Where a name leads. */
type Target = { readonly made: string } | { readonly below: string } | { readonly isGone: true };

export class OverlayDisk implements Disk {
  readonly #below: Disk;
  readonly #made = new MemoryDisk();
  readonly #names = new Map<string, Target>();
  readonly #dirs = new Set<string>();
  #count = 0;

  constructor(below: Disk) {
    this.#below = below;
  }

  open(path: string, mode: OpenMode): DiskFile {
    const target = this.#find(path);
    if (mode === 'create') {
      if (target !== undefined) throw systemError('EEXIST', 'open', path, 'file already exists');
      const made = `/${++this.#count}`;
      this.#names.set(path, { made });
      return this.#made.open(made, 'create');
    }
    if (target === undefined) throw systemError('ENOENT', 'open', path, 'no such file');
    if ('made' in target) return this.#made.open(target.made, mode);
    const file = this.#below.open(target.below, 'read');
    return mode === 'read' ? file : new Unwritten(file, path);
  }

  mkdir(path: string): void {
    this.#dirs.add(path);
  }

  list(path: string): string[] {
    const names = new Set(this.#below.exists(path) ? this.#below.list(path) : []);
    for (const [name, target] of this.#names) {
      if (dirname(name) !== path) continue;
      const own = name.slice(path.length + 1);
      if ('isGone' in target) names.delete(own);
      else names.add(own);
    }
    for (const dir of this.#dirs) if (dirname(dir) === path) names.add(dir.slice(path.length + 1));
    return [...names].sort(byteOrder);
  }

  exists(path: string): boolean {
    return this.#find(path) !== undefined || this.#dirs.has(path);
  }

  rename(from: string, to: string): void {
    this.#names.set(to, this.#need('rename', from));
    this.#names.set(from, { isGone: true });
  }

  link(from: string, to: string): void {
    if (this.exists(to)) throw systemError('EEXIST', 'link', to, 'the name is taken');
    this.#names.set(to, this.#need('link', from));
  }

  remove(path: string): void {
    this.#need('unlink', path);
    this.#names.set(path, { isGone: true });
  }

  syncDir(): void {
    // Nothing here outlives the process.
  }

  #need(call: string, path: string): Exclude<Target, { isGone: true }> {
    const target = this.#find(path);
    if (target === undefined) throw systemError('ENOENT', call, path, 'no such file');
    return target;
  }

  #find(path: string): Exclude<Target, { isGone: true }> | undefined {
    const target = this.#names.get(path);
    if (target === undefined) return this.#below.exists(path) ? { below: path } : undefined;
    return 'isGone' in target ? undefined : target;
  }
}

/** A file of the disk below that was opened to be changed, or synced: it can be synced. */
class Unwritten implements DiskFile {
  readonly fd = -1;
  readonly #file: DiskFile;
  readonly #path: string;

  constructor(file: DiskFile, path: string) {
    this.#file = file;
    this.#path = path;
  }

  read(into: Uint8Array, offset: number, length: number, position: number): number {
    return this.#file.read(into, offset, length, position);
  }

  write(): void {
    throw systemError('EROFS', 'write', this.#path, 'files below are for reading only');
  }

  truncate(): void {
    throw systemError('EROFS', 'ftruncate', this.#path, 'files below are for reading only');
  }

  fdatasync(): void {
    // Nothing was written.
  }

  size(): number {
    return this.#file.size();
  }

  close(): void {
    this.#file.close();
  }
}
