/**
 * SnapshotFeed: the parts of one replica's snapshot: the state of one revision, row by row, as its reader has room for it.
 *
 * What goes over the wire is decided here, and when it goes by the shipper, which knows credit and budgets. A cursor holds
 * its revision readable for as long as it stands: whoever makes a feed closes it.
 */
import type { ByteWriter } from '../core/base/bytes.ts';
import type { Revision } from '../core/base/position.ts';
import { encodeEntry, PART } from '../core/wire/client.ts';
import type { StateCursor } from '../engine/state/state-reader.ts';

export class SnapshotFeed {
  readonly revision: Revision;
  readonly #cursor: StateCursor;
  readonly #timeMs: number;
  #rows = 0;
  #isDone = false;

  /** `timeMs`: log time of the cursor's revision, or a little before. */
  constructor(cursor: StateCursor, timeMs: number) {
    this.#cursor = cursor;
    this.#timeMs = timeMs;
    this.revision = cursor.revision;
  }

  /** All rows were written. */
  get isDone(): boolean {
    return this.#isDone;
  }

  begin(writer: ByteWriter): void {
    writer.u8(PART.snapshotBegin).u64(this.revision).f64(this.#timeMs);
  }

  /** Rows, until the frame is of about `bytesMax` or there are no more. False: there were none. */
  rows(writer: ByteWriter, bytesMax: number): boolean {
    writer.u8(PART.snapshotEntries);
    const empty = writer.length;
    while (writer.length < bytesMax && !this.#isDone) {
      const entry = this.#cursor.next();
      if (entry === undefined) this.#isDone = true;
      else {
        encodeEntry(writer, entry);
        this.#rows++;
      }
    }
    return writer.length > empty;
  }

  /** `isChecked`: the reader wants to know how many rows it was sent. */
  end(writer: ByteWriter, isChecked: boolean): void {
    writer.u8(PART.snapshotEnd).u64(this.revision);
    if (isChecked) writer.u64(this.#rows);
  }

  close(): void {
    this.#cursor.close();
  }
}
