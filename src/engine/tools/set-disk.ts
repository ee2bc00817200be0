/**
 * SetDisk: a backup set as if it were the data directory, for reading only: so that what reads a directory can say
 * whether the set is one, before it gets its name and without restoring it. It stands where the data directory does,
 * so that damage is told with the place from which it was copied.
 */
import { dirname } from 'node:path/posix';
import type { Disk, DiskFile, OpenMode } from '../../core/base/env.ts';
import { systemError } from '../disk/system-error.ts';
import { contentPath, type SetFile } from './backup-set.ts';

export class SetDisk implements Disk {
  readonly #disk: Disk;
  readonly #backupDir: string;
  readonly #files: ReadonlyMap<string, SetFile>;

  constructor(disk: Disk, backupDir: string, at: string, files: readonly SetFile[]) {
    this.#disk = disk;
    this.#backupDir = backupDir;
    this.#files = new Map(files.map((file) => [`${at}/${file.path}`, file]));
  }

  open(path: string, mode: OpenMode): DiskFile {
    if (mode !== 'read') return this.#refuse('open', path);
    const file = this.#files.get(path);
    if (file === undefined) throw systemError('ENOENT', 'open', path, 'no such file');
    return this.#disk.open(contentPath(this.#backupDir, file), 'read');
  }

  list(path: string): string[] {
    const names: string[] = [];
    for (const file of this.#files.keys()) if (dirname(file) === path) names.push(file.slice(path.length + 1));
    return names.sort();
  }

  exists(path: string): boolean {
    return this.#files.has(path) || [...this.#files.keys()].some((file) => file.startsWith(`${path}/`));
  }

  mkdir(path: string): void {
    this.#refuse('mkdir', path);
  }

  rename(from: string): void {
    this.#refuse('rename', from);
  }

  link(from: string): void {
    this.#refuse('link', from);
  }

  remove(path: string): void {
    this.#refuse('unlink', path);
  }

  syncDir(path: string): void {
    this.#refuse('fsync', path);
  }

  #refuse(call: string, path: string): never {
    throw systemError('EROFS', call, path, 'a backup set is for reading only');
  }
}
