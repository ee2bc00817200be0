/**
 * IncomingSnapshot: a snapshot that arrives, in a directory of its own, which nothing reads until it is whole.
 *
 *   incoming/  SNAPSHOT  what is to come: its files with their sizes and checksums
 *              000012.ldb …  MANIFEST-…  CURRENT      as they come, one after the other
 *
 * It outlives a crash: what an earlier process received is looked at, file by file, and goes on after the last whole
 * one. In a crash the bytes of a file that was not whole may be anything, so that one is begun again.
 *
 * Invariants:
 *  - files before the one under way have their checksum and are synced;
 *  - `position` is the end of what was written, or of what was looked at so far.
 */
import { assert, must } from '../../core/base/assert.ts';
import { ByteReader, ByteWriter } from '../../core/base/bytes.ts';
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { decodeSnapshotMeta, encodeSnapshotMeta, sameContent, type SnapshotMeta } from '../../core/wire/snapshot.ts';
import { checksum } from '../disk/checksum.ts';
import { Manifest } from '../lsm/manifest/manifest.ts';
import { checkFiles, emptyDir, FileStream } from './directory.ts';

const META = 'SNAPSHOT';
const LOOK_BYTES = 1024 * 1024;
const META_BYTES_MAX = 256 * 1024 * 1024;

export class IncomingSnapshot {
  readonly #disk: Disk;
  readonly #dir: string;
  readonly meta: SnapshotMeta;
  readonly #stream: FileStream;
  /** The file under way or looked at. */
  #file: DiskFile | undefined;
  #crc = 0;
  #position = 0;
  #isLooking: boolean;

  private constructor(disk: Disk, dir: string, meta: SnapshotMeta, isLooking: boolean) {
    this.#disk = disk;
    this.#dir = dir;
    this.meta = meta;
    this.#stream = new FileStream(meta.files);
    this.#isLooking = isLooking;
  }

  /** Begins, or goes on where an earlier process stopped: call `look` until it says that it is done. BAD_REQUEST. */
  static begin(disk: Disk, dir: string, meta: SnapshotMeta): IncomingSnapshot {
    checkFiles(meta.files);
    const there = incomingMeta(disk, dir);
    if (there !== undefined && sameContent(there, meta)) return new IncomingSnapshot(disk, dir, meta, true);
    emptyDir(disk, dir);
    writeMeta(disk, dir, meta);
    return new IncomingSnapshot(disk, dir, meta, false);
  }

  /** Everything before it is there. */
  get position(): number {
    return this.#position;
  }

  get isWhole(): boolean {
    return !this.#isLooking && this.#position === this.#stream.bytes;
  }

  /** Looks at a little of what an earlier process received. True: that is done, and `position` is where to go on. */
  look(): boolean {
    if (!this.#isLooking) return true;
    if (this.#position === this.#stream.bytes) return this.#lookedAtAll();
    const number = this.#stream.fileAt(this.#position);
    const { name, bytes: size } = must(this.meta.files[number], 'inside the stream');
    const path = `${this.#dir}/${name}`;
    if (this.#file === undefined) {
      if (!this.#disk.exists(path)) return this.#lookedAtAll();
      this.#file = this.#disk.open(path, 'write');
      if (this.#file.size() !== size) return this.#lookedAtAll();
    }
    const bytes = new Uint8Array(Math.min(LOOK_BYTES, this.#leftOf(number)));
    const count = this.#file.read(bytes, 0, bytes.length, this.#position - this.#stream.startOf(number));
    if (count === 0) return this.#lookedAtAll();
    this.#took(number, bytes.subarray(0, count));
    // What is whole may not be synced; now it is.
    if (this.#leftOf(number) === 0 && !this.#endFile(number)) return this.#lookedAtAll();
    return false;
  }

  /**
   * Takes bytes of the stream that begin at `position` and are of one file. False: the file that they end is not what
   * was promised, and is to be sent again from `position`, which is its beginning now.
   */
  write(bytes: Uint8Array): boolean {
    assert(!this.#isLooking, 'what is there is known before more comes');
    const number = this.#stream.fileAt(this.#position);
    if (bytes.length === 0 || this.#position === this.#stream.bytes || bytes.length > this.#leftOf(number)) {
      throw new StoreError('PROTOCOL_ERROR', 'a chunk of a snapshot that is not of one file');
    }
    const file = (this.#file ??= this.#beginFile(number));
    file.write(bytes, this.#position - this.#stream.startOf(number));
    this.#took(number, bytes);
    if (this.#leftOf(number) > 0) return true;
    return this.#endFile(number);
  }

  /** Looks whether this is the tree that was promised. TABLE_CORRUPT. */
  check(): void {
    assert(this.isWhole, 'what is checked is whole');
    const recovered = Manifest.recover(this.#disk, this.#dir, { readOnly: true });
    const revision = recovered?.state.lastSequence;
    if (revision !== this.meta.index) {
      throw new StoreError('TABLE_CORRUPT', `a snapshot of ${this.meta.index} holds the state of ${revision}`, {
        data: { file: this.#dir, offset: 0 },
      });
    }
  }

  /** What came stays, to go on with. */
  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  remove(): void {
    this.close();
    emptyDir(this.#disk, this.#dir);
  }

  /** The file under way begins at its first byte. */
  #lookedAtAll(): boolean {
    this.close();
    this.#isLooking = false;
    this.#crc = 0;
    if (this.#position < this.#stream.bytes) {
      this.#position = this.#stream.startOf(this.#stream.fileAt(this.#position));
    }
    return true;
  }

  #took(number: number, bytes: Uint8Array): void {
    assert(bytes.length <= this.#leftOf(number), 'what comes fits its file');
    this.#crc = checksum(bytes, 0, bytes.length, this.#crc);
    this.#position += bytes.length;
  }

  /** Bytes of file `number` behind `position`; 0 at its end. */
  #leftOf(number: number): number {
    return this.#stream.startOf(number + 1) - this.#position;
  }

  #beginFile(number: number): DiskFile {
    const path = `${this.#dir}/${must(this.meta.files[number], 'inside the stream').name}`;
    if (this.#disk.exists(path)) this.#disk.remove(path);
    return this.#disk.open(path, 'create');
  }

  /** Compares the file's checksum, and makes it and its name durable. False: it goes, and `position` is back at its beginning. */
  #endFile(number: number): boolean {
    const isRight = this.#crc === must(this.meta.files[number], 'inside the stream').crc;
    if (isRight) must(this.#file, 'a file that ends is open').fdatasync();
    this.close();
    if (isRight) this.#disk.syncDir(this.#dir);
    this.#crc = 0;
    if (!isRight) this.#position = this.#stream.startOf(number);
    return isRight;
  }
}

/** What is being received in `dir`; undefined when that is nothing, or cannot be said. */
export function incomingMeta(disk: Disk, dir: string): SnapshotMeta | undefined {
  const path = `${dir}/${META}`;
  if (!disk.exists(path)) return undefined;
  const file = disk.open(path, 'read');
  try {
    const bytes = new Uint8Array(Math.min(META_BYTES_MAX, file.size()));
    const length = file.read(bytes, 0, bytes.length, 0);
    const reader = new ByteReader(bytes.subarray(0, length));
    if (reader.left < 4 || reader.u32() !== checksum(bytes, 4, length)) return undefined;
    return decodeSnapshotMeta(reader);
  } finally {
    file.close();
  }
}

/** Not in one act: its checksum tells half of it from all. */
function writeMeta(disk: Disk, dir: string, meta: SnapshotMeta): void {
  const body = new ByteWriter(64 * 1024);
  encodeSnapshotMeta(body, meta);
  const bytes = body.view();
  const file = disk.open(`${dir}/${META}`, 'create');
  try {
    file.write(
      new ByteWriter(4 + bytes.length)
        .u32(checksum(bytes, 0, bytes.length))
        .raw(bytes)
        .view(),
      0,
    );
    file.fdatasync();
  } finally {
    file.close();
  }
  disk.syncDir(dir);
}
