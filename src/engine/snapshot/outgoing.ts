/**
 * OutgoingSnapshot: a checkpoint of the tree as a stream of bytes, with a checksum for each file.
 *
 *   make() → step() … step() → files, and read() from then on → remove()
 *
 * Checksums take a read of everything, so that is done in steps: the caller's thread has other work. Files of a
 * checkpoint are linked or its own, and never change, so what was summed is what is sent.
 */
import { dirname } from 'node:path';
import { assert, must } from '../../core/base/assert.ts';
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { SnapshotFile } from '../../core/wire/snapshot.ts';
import { checksum } from '../disk/checksum.ts';
import { CURRENT } from '../lsm/manifest/file-names.ts';
import { checkpointRevision } from '../lsm/manifest/checkpoint.ts';
import { emptyDir, FileStream, isTreeFile } from './directory.ts';

const STEP_BYTES = 1024 * 1024;

export class OutgoingSnapshot {
  readonly #disk: Disk;
  readonly #dir: string;
  /** The state after this entry. */
  readonly index: number;
  #left: string[];
  #summed: SnapshotFile[] = [];
  #summing: { readonly name: string; readonly file: DiskFile; at: number; crc: number } | undefined;
  #stream: FileStream | undefined;
  #open: { readonly number: number; readonly file: DiskFile } | undefined;

  private constructor(disk: Disk, dir: string, index: number) {
    this.#disk = disk;
    this.#dir = dir;
    this.index = index;
    // CURRENT last: it is what makes the others a tree.
    this.#left = disk.list(dir).filter((name) => isTreeFile(name) && name !== CURRENT);
    this.#left.push(CURRENT);
  }

  /** Empties `dir`, has `checkpoint` fill it, and begins. */
  static make(disk: Disk, dir: string, checkpoint: (dir: string) => void): OutgoingSnapshot {
    // A try before this one may have failed at its very end, with the directory in its place, but not for good.
    if (disk.exists(dir)) disk.syncDir(dirname(dir));
    emptyDir(disk, dir);
    checkpoint(dir);
    return new OutgoingSnapshot(disk, dir, must(checkpointRevision(disk, dir), 'a checkpoint says what it is'));
  }

  /** Sums a little more. The files, once all of them are. */
  step(): readonly SnapshotFile[] | undefined {
    if (this.#stream !== undefined) return this.#stream.files;
    const bytes = new Uint8Array(STEP_BYTES);
    const summing = (this.#summing ??= this.#beginFile());
    const count = summing.file.read(bytes, 0, bytes.length, summing.at);
    summing.crc = checksum(bytes, 0, count, summing.crc);
    summing.at += count;
    if (count > 0) return undefined;
    summing.file.close();
    this.#summing = undefined;
    this.#summed.push({ name: summing.name, bytes: summing.at, crc: summing.crc });
    if (this.#left.length > 0) return undefined;
    this.#stream = new FileStream(this.#summed);
    return this.#summed;
  }

  /** Bytes of the stream from `offset` on: at most so many, at least one, never of two files. */
  read(offset: number, bytesMax: number): Uint8Array<ArrayBuffer> {
    const stream = must(this.#stream, 'what is read was summed');
    assert(offset >= 0 && offset < stream.bytes, 'a read lies inside the stream');
    const number = stream.fileAt(offset);
    const from = offset - stream.startOf(number);
    const file = this.#fileOf(number);
    const bytes = new Uint8Array(Math.min(bytesMax, stream.startOf(number + 1) - offset));
    const count = file.read(bytes, 0, bytes.length, from);
    if (count !== bytes.length) {
      throw new StoreError('DISK_FAILED', `${this.#dir}: ${stream.files[number]?.name} became shorter`);
    }
    return bytes;
  }

  remove(): void {
    this.#summing?.file.close();
    this.#summing = undefined;
    this.#open?.file.close();
    this.#open = undefined;
    emptyDir(this.#disk, this.#dir);
  }

  #beginFile(): { readonly name: string; readonly file: DiskFile; at: number; crc: number } {
    const name = must(this.#left.shift(), 'a file is left');
    return { name, file: this.#disk.open(`${this.#dir}/${name}`, 'read'), at: 0, crc: 0 };
  }

  /** Kept open: the next read is of the same file, most often. */
  #fileOf(number: number): DiskFile {
    if (this.#open?.number === number) return this.#open.file;
    this.#open?.file.close();
    const { name } = must(this.#stream?.files[number], 'the place is of a file');
    const file = this.#disk.open(`${this.#dir}/${name}`, 'read');
    this.#open = { number, file };
    return file;
  }
}
