/**
 * RecordWalker: the records of a log from a place on, over the edges of its segments.
 *
 * It stops where there is no more to read and can be asked again when more was written. What a stop means it does
 * not say; `stop` tells where it stands, for whoever knows that there should be more.
 *
 * Invariant: it goes on to the next segment only behind the mark that ends one.
 */
import { must } from '../../core/base/assert.ts';
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
  #file: DiskFile;
  #scanner: SegmentScanner;
  /** The newest record read was a mark: only behind one may the next segment follow. */
  #isSealed = false;

  constructor(disk: Disk, dir: string, from: RecordPlace) {
    this.#disk = disk;
    this.#dir = dir;
    this.#segment = from.segment;
    this.#file = disk.open(this.path, 'read');
    this.#scanner = new SegmentScanner(this.#file, from.segment, from.offset);
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
      const record = this.#scanner.next();
      if (record !== undefined) {
        this.#isSealed = isMark(record.payload);
        return record;
      }
      if (!this.#isSealed || !this.#disk.exists(`${this.#dir}/${segmentName(this.#segment + 1)}`)) return undefined;
      this.#file.close();
      this.#segment++;
      this.#isSealed = false;
      this.#file = this.#disk.open(this.path, 'read');
      this.#scanner = new SegmentScanner(this.#file, this.#segment);
    }
  }

  /** After `next` returned undefined, when there should have been more: `what` that is. */
  damaged(what: string): StoreError {
    const { offset, reason } = must(this.#scanner.stop, 'a scanner says where it stopped');
    return new StoreError(
      'WAL_CORRUPT',
      `the WAL is damaged: ${this.path} at offset ${offset}: ${reason}, while ${what}`,
      {
        data: { file: this.path, offset },
      },
    );
  }

  /** May be called twice. */
  close(): void {
    this.#file.close();
  }
}
