/**
 * SnapshotFeed: one replica's snapshot, part by part: the state of one revision, in key order, as its reader has room for it.
 *
 * One that broke off is gone on with without anybody having kept its state: its reader has the rows of an older revision, up to
 * some key. It gets the records since, which make them rows of this revision, and then the rows behind that key. When a record
 * that it needs is gone, or a filter cannot tell what of one it may have, only a whole snapshot is left: 'anew'.
 *
 * What goes over the wire is decided here, and when it goes by the shipper, which knows credit and budgets. A cursor holds
 * its revision readable for as long as it stands: whoever makes a feed closes it.
 */
import type { ByteWriter } from '../core/base/bytes.ts';
import { StoreError } from '../core/base/errors.ts';
import { plus, type Revision, toIndex } from '../core/base/position.ts';
import { firstRecordFrom } from '../core/model/ledger.ts';
import { type BrokenSnapshot, encodeEntry, PART } from '../core/wire/client.ts';
import type { StateCursor, StateReader } from '../engine/state/state-reader.ts';
import type { FilteredLedger } from './filtered-ledger.ts';

export interface FeedWorld {
  readonly state: Pick<StateReader, 'scan'>;
  readonly timeMs: () => number;
  /** Whole records from `from` on; undefined: they are not here, any more or yet. */
  readonly read: (from: Revision) => { readonly bytes: Uint8Array; readonly last: Revision } | undefined;
  /** The oldest revision of the ledger that is kept, in memory or not. */
  readonly ledgerFrom: () => number;
  /** How many rows there are, about; not there: nobody has counted. */
  readonly rowsAbout?: () => number;
}

export interface FeedOptions {
  /** Undefined: everything. */
  readonly filtered: FilteredLedger | undefined;
  /** What its reader has of one that broke off. */
  readonly goOn: BrokenSnapshot | undefined;
  /** Its reader wants to know how many rows it was sent, and how many there will be. */
  readonly isChecked: boolean;
}

/** Sends one part, which is written by what is given; nothing when that says false. */
type Post = (fill: (writer: ByteWriter) => boolean | void) => void;

/** Bytes of one part, so that parts of several subscriptions take turns. */
const PART_BYTES = 128 * 1024;

export class SnapshotFeed {
  readonly revision: Revision;
  readonly #world: FeedWorld;
  readonly #options: FeedOptions;
  readonly #cursor: StateCursor;
  readonly #timeMs: number;
  /** The next record that its reader needs; behind `revision` when it needs none. */
  #next: Revision;
  #rows = 0;
  #isDone = false;

  /** Throws what a scan throws: OVERLOADED when there are too many. UNAVAILABLE when it is to go on with a newer one. */
  constructor(world: FeedWorld, options: FeedOptions) {
    this.#world = world;
    this.#options = options;
    const { filtered, goOn } = options;
    // Time first: it is then at most the revision's, and a copy can only look older than it is.
    this.#timeMs = world.timeMs();
    const from = goOn === undefined ? new Uint8Array(0) : Uint8Array.of(...goOn.after, 0);
    this.#cursor = filtered?.scan(goOn?.after) ?? world.state.scan({ from, to: undefined, reverse: false });
    this.revision = this.#cursor.revision;
    this.#next = plus(goOn === undefined ? this.revision : toIndex(goOn.revision), 1);
    if (this.#next <= this.revision + 1) return;
    this.#cursor.close();
    throw new StoreError(
      'UNAVAILABLE',
      `the state here is of ${this.revision}, and a snapshot of ${goOn?.revision} is to go on`,
    );
  }

  begin(post: Post): void {
    const { goOn, filtered, isChecked } = this.#options;
    // Of a part nobody knows, but by a scan.
    const about = filtered === undefined ? (this.#world.rowsAbout?.() ?? 0) : 0;
    post((writer) => {
      writer.u8(PART.snapshotBegin).u64(this.revision).f64(this.#timeMs);
      if (isChecked || goOn !== undefined) writer.u64(about);
      if (goOn !== undefined) writer.u64(goOn.revision).blob(goOn.after);
    });
  }

  /** The next part. 'waits': for a record that is on its way here. 'done': that was its end. */
  step(post: Post): 'sent' | 'waits' | 'anew' | 'done' {
    if (this.#next <= this.revision) return this.#record(post);
    post((writer) => this.#fill(writer));
    if (!this.#isDone) return 'sent';
    post((writer) => {
      writer.u8(PART.snapshotEnd).u64(this.revision);
      if (this.#options.isChecked) writer.u64(this.#rows);
    });
    return 'done';
  }

  #record(post: Post): 'sent' | 'waits' | 'anew' {
    const { read, ledgerFrom } = this.#world;
    const records = read(this.#next);
    if (records === undefined) return ledgerFrom() > this.#next ? 'anew' : 'waits';
    const wanted = records.bytes.subarray(0, firstRecordFrom(records.bytes, this.revision + 1));
    const { filtered } = this.#options;
    const rest = filtered === undefined ? wanted : filtered.sift(wanted);
    if (rest === undefined) return 'anew';
    post((writer) => void writer.u8(PART.records).raw(rest));
    this.#next = plus(records.last < this.revision ? records.last : this.revision, 1);
    return 'sent';
  }

  /** Rows, until there is enough for a part or there are no more. False: there were none. */
  #fill(writer: ByteWriter): boolean {
    writer.u8(PART.snapshotEntries);
    const empty = writer.length;
    while (writer.length < PART_BYTES && !this.#isDone) {
      const entry = this.#cursor.next();
      if (entry === undefined) this.#isDone = true;
      else {
        encodeEntry(writer, entry);
        this.#rows++;
      }
    }
    return writer.length > empty;
  }

  close(): void {
    this.#cursor.close();
  }
}
