/**
 * The directories of snapshots beside a node's `tree` and `wal`, and which files a snapshot may be made of.
 *
 *   snapshot/   what this node, leading, sends: a checkpoint of its tree; gone when nobody needs it, and at a start
 *   incoming/   what this node receives, and goes on receiving after a restart
 *   INSTALL     `incoming` is whole, and takes the place of `tree` and `wal` before anything else happens
 */
import type { Disk } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { SnapshotFile } from '../../core/wire/snapshot.ts';
import { parseFileName } from '../lsm/manifest/file-names.ts';

export const OUTGOING = 'snapshot';
export const INCOMING = 'incoming';

/** Removes every file, for good: others may get these names. The directory itself is there, empty, when this returns. */
export function emptyDir(disk: Disk, dir: string): void {
  disk.mkdir(dir);
  const names = disk.list(dir);
  for (const name of names) disk.remove(`${dir}/${name}`);
  if (names.length > 0) disk.syncDir(dir);
}

/** CURRENT, the manifest, tables: what makes a tree. Nothing else may come from a peer, least of all a path. */
export function isTreeFile(name: string): boolean {
  const kind = parseFileName(name)?.kind;
  return kind === 'table' || kind === 'manifest' || kind === 'current';
}

/** A list that makes sense as a directory: BAD_REQUEST otherwise. */
export function checkFiles(files: readonly SnapshotFile[]): void {
  const names = new Set(files.map(({ name }) => name));
  if (names.size !== files.length) throw new StoreError('BAD_REQUEST', 'a snapshot names a file twice');
  for (const { name, bytes } of files) {
    if (!isTreeFile(name)) throw new StoreError('BAD_REQUEST', `a snapshot holds no file ${JSON.stringify(name)}`);
    if (bytes === 0) throw new StoreError('BAD_REQUEST', `a snapshot holds no empty file (${name})`);
  }
}

/** Where a place in the stream of files lies. */
export class FileStream {
  readonly files: readonly SnapshotFile[];
  readonly #starts: readonly number[];
  readonly bytes: number;

  constructor(files: readonly SnapshotFile[]) {
    this.files = files;
    const starts: number[] = [];
    let at = 0;
    for (const file of files) {
      starts.push(at);
      at += file.bytes;
    }
    this.#starts = starts;
    this.bytes = at;
  }

  /** Where file `number` begins; the end of the stream when there is none. */
  startOf(number: number): number {
    return this.#starts[number] ?? this.bytes;
  }

  /** The file that holds the byte at `offset`, by its place in the list. `offset` lies inside the stream. */
  fileAt(offset: number): number {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.startOf(middle) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
