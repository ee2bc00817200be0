/**
 * RecordWalker: the records of a log from a place on, over the edges of its segments.
 *
 * It stops where there is no more to read and can be asked again when more was written. What a stop means it does
 * not say; `stop` tells where it stands, for whoever knows that there should be more.
 *
 * The segment it stands in may be removed under it, and its file begin another life: what it then reads is no record
 * of that segment, so it stops, and `isGone` tells.
 *
 * Invariant: it goes on to the next segment only behind the mark that ends one.
 */
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { segmentName } from './format.ts';
import { isMark } from './payload.ts';
import { type ScannedRecord, SegmentScanner } from './scanner.ts';

/** Where a record is found. */
export interface RecordPlace {
  readonly segment: number;
  readonly offset: number;
}

export class RecordWalker {
  readonly #disk: Disk;
  readonly #dir: string;
  #segment: number;
  #file: DiskFile | undefined;
  #scanner: SegmentScanner | undefined;
  /** The newest record read was a mark: only behind one may the next segment follow. */
  #isSealed = false;

  constructor(disk: Disk, dir: string, from: RecordPlace) {
    this.#disk = disk;
    this.#dir = dir;
    this.#segment = from.segment;
    this.#enter(from.segment, from.offset);
  }

  /** Segment of the record that was returned last. */
  get segment(): number {
    return this.#segment;
  }

  get path(): string {
    return `${this.#dir}/${segmentName(this.#segment)}`;
  }

  /** The next record, marks too; undefined when there is none now. Its payload is valid until the next call. */
  next(): ScannedRecord | undefined {
    for (;;) {
      const record = this.#scanner?.next();
      if (record !== undefined) {
        this.#isSealed = isMark(record.payload);
        return record;
      }
      if (!this.#isSealed || !this.#enter(this.#segment + 1, 0)) return undefined;
    }
  }

  /** The segment where it stands was removed. To be asked when it stopped too early. */
  get isGone(): boolean {
    return !this.#disk.exists(this.path);
  }

  /** After `next` returned undefined, when there should have been more: `what` that is. */
  damaged(what: string): StoreError {
    const { offset, reason } = this.#scanner?.stop ?? { offset: 0, reason: 'the segment is missing' };
    const { path } = this;
    return new StoreError('WAL_CORRUPT', `the WAL is damaged: ${path} at offset ${offset}: ${reason}, while ${what}`, {
      data: { file: path, offset },
    });
  }

  /** May be called twice. */
  close(): void {
    this.#file?.close();
  }

  /** False when the segment is not there. */
  #enter(segment: number, offset: number): boolean {
    let file: DiskFile;
    try {
      file = this.#disk.open(`${this.#dir}/${segmentName(segment)}`, 'read');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
    this.#file?.close();
    this.#file = file;
    this.#segment = segment;
    this.#isSealed = false;
    this.#scanner = new SegmentScanner(file, segment, offset);
    return true;
  }
}
