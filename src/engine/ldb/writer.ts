/**
 * LdbWriter: the one writer of an LDB. It plays the ledger into a store (store.ts; LMDB), many revisions per transaction.
 *
 * Rows and position change together or not at all, so after a kill the position says exactly what the rows
 * hold, and the ledger goes on from there: no gap, no replay. Two guards keep it so:
 *  - gap: records must begin at position + 1 at the latest and have no holes, else LDB_GAP and nothing is applied;
 *  - replay: records that the position already covers are skipped.
 *
 * A snapshot is gathered in a table of its own, over many transactions, and gone on with when it breaks off (arriving.ts);
 * then one transaction makes the rows equal to it.
 *
 * Invariants:
 *  - The position never goes back.
 *  - One call at a time; nothing is handed to the store before all of it has been checked.
 *  - After a failed commit the writer refuses all work: open it again and go on from the position that is there.
 *
 * On the put path: stop 9 of 9. From the reflector; to readers.
 */
import { assert, must } from '../../core/base/assert.ts';
import { text, utf8 } from '../../core/base/bytes.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { Revision } from '../../core/base/position.ts';
import { isStageKey } from '../../core/model/control/stage-keys.ts';
import { decodeRecords, firstRecordFrom, type LedgerRecord } from '../../core/model/ledger.ts';
import { isSameFilter, type LedgerFilter, showFilter } from '../../core/model/ledger-filter.ts';
import { checkKey, LIMITS } from '../../core/model/limits.ts';
import { Arriving, readMark, type SnapshotMark } from './arriving.ts';
import { decodeHash, encodeHash, foldRecords, type HashMark } from './ledger-hash.ts';
import {
  decodePosition,
  decodeStoredFilter,
  encodePosition,
  encodeStoredFilter,
  FILTER_KEY,
  HASH_KEY,
  LDB_KEY_BYTES_MAX,
  type LdbPosition,
  NO_POSITION,
  POSITION_KEY,
  RING_KEY,
  ROW_HEADER_BYTES,
  RowArena,
} from './format.ts';
import { openLmdbStore } from './lmdb-store.ts';
import { type LdbStore, MARK_KEY, type MetaWrite, type RowWrite, type SnapshotCounts } from './store.ts';
import { Showing } from './showing.ts';
import { recordsAfter } from './succession.ts';

/** A row as a snapshot brings it. */
export interface SnapshotRow {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly revision: Revision;
  readonly expiryMs: number;
}

export interface Applied {
  /** The position after it. */
  readonly revision: Revision;
  readonly timeMs: number;
  /** Records applied now; 0 when all were old. */
  readonly records: number;
  /** Keys that readers see another value of, though these records do not change them: what was held back is shown. */
  readonly shown: readonly Uint8Array[];
}

export interface LdbWriterOptions {
  /** The ring of hosts that this one is in, for data that is staged (showing.ts); default: in none. */
  readonly ring?: string | undefined;
}

export interface SnapshotApplied extends SnapshotCounts {
  readonly revision: Revision;
}

const KEY_LIMITS = { ...LIMITS, keyBytesMax: LDB_KEY_BYTES_MAX };

export class LdbWriter {
  readonly dir: string;
  readonly #store: LdbStore;
  readonly #ring: string;
  readonly #showing: Showing;
  #position: LdbPosition;
  /** What it holds; undefined: everything. */
  #filter: LedgerFilter | undefined;
  /** The cluster's state hash at the position; undefined: not known. */
  #hash: number | undefined;
  /** A snapshot that was begun in this life, or gone on with. */
  #snapshot: Arriving | undefined;
  /** How far one is that broke off. */
  #interrupted: SnapshotMark | undefined;
  #isBusy = false;
  #failure: unknown;
  #closed: Promise<void> | undefined;

  private constructor(dir: string, store: LdbStore, ring: string) {
    this.dir = dir;
    this.#store = store;
    this.#ring = ring;
    this.#showing = new Showing(ring);
    const stored = store.meta(POSITION_KEY);
    this.#position = stored === undefined ? NO_POSITION : decodePosition(stored, stored.length, dir);
    const hash = store.meta(HASH_KEY);
    if (this.revision === 0) this.#hash = 0;
    else if (hash !== undefined) this.#hash = decodeHash(hash, hash.length, this.revision);
    const filter = store.meta(FILTER_KEY);
    this.#filter = filter === undefined ? undefined : decodeStoredFilter(filter, filter.length, dir);
  }

  /** Opens or makes the LDB in `dir`. DIR_LOCKED when it has a writer. On the main thread only. */
  static async open(dir: string, options: LdbWriterOptions = {}): Promise<LdbWriter> {
    return LdbWriter.over(await openLmdbStore(dir), dir, options);
  }

  /** The writer of what `store` holds, which is closed with it. `dir`: what errors call it. */
  static async over(store: LdbStore, dir: string, { ring = '' }: LdbWriterOptions = {}): Promise<LdbWriter> {
    try {
      const writer = new LdbWriter(dir, store, ring);
      await writer.#start();
      return writer;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const mark = readMark(this.#store.view('incoming'));
    const isOurs = mark !== undefined && (this.cluster === '' || this.cluster === mark.cluster);
    if (isOurs && mark.revision >= this.revision) this.#interrupted = mark;
    else await this.#store.dropIncoming();
    // So that readers find a position, if only "nothing yet".
    if (this.#store.meta(POSITION_KEY) === undefined) await this.#commit([], NO_POSITION, 0, []);
    await this.#joinRing();
  }

  /** A host that has changed its ring is shown what the new one is, before anything else happens. */
  async #joinRing(): Promise<void> {
    const view = this.#store.view('rows');
    this.#showing.read(view);
    const stored = this.#store.meta(RING_KEY);
    if ((stored === undefined ? '' : text(stored)) === this.#ring) return;
    const writes = this.#showing.shapeAll(view);
    await this.#transaction(() => this.#store.commit(writes, [{ key: RING_KEY, value: utf8(this.#ring) }], []));
  }

  get position(): LdbPosition {
    return this.#position;
  }

  get cluster(): string {
    return this.#position.cluster;
  }

  get revision(): Revision {
    return this.#position.revision;
  }

  /** Log time of the position. */
  get timeMs(): number {
    return this.#position.timeMs;
  }

  /**
   * Applies whole records (encoded as in core/model/ledger.ts; several pieces are one batch) in one transaction.
   * Resolves once they are on disk and every reader can see them. When a mark says that the cluster's state is another
   * one, LDB_CORRUPT, and nothing is applied.
   */
  apply(given: Uint8Array | readonly Uint8Array[], cluster: string, marks: readonly HashMark[] = []): Promise<Applied> {
    return this.#exclusively(async () => {
      assert(this.#snapshot === undefined && this.#interrupted === undefined, 'no records come inside a snapshot');
      this.checkCluster(cluster);
      const pieces = given instanceof Uint8Array ? [given] : given;
      const records = pieces.flatMap(decodeRecords);
      const fresh = recordsAfter(this.revision, records);
      const last = fresh.at(-1);
      if (last === undefined) return { revision: this.revision, timeMs: this.timeMs, records: 0, shown: [] };
      const timeMs = Math.max(this.timeMs, last.timeMs);
      const hash = this.#filter === undefined ? foldRecords(this.#hash, this.revision, pieces, marks) : undefined;
      const next = this.revision + 1;
      const tails = pieces
        .map((piece) => piece.subarray(firstRecordFrom(piece, next)))
        .filter(({ length }) => length > 0);
      const { writes, shown } = this.#shape(writesOf(fresh));
      await this.#commit(writes, { cluster, revision: last.revision, timeMs }, hash, tails);
      return { revision: last.revision, timeMs, records: fresh.length, shown };
    });
  }

  /** As readers are to see it. */
  #shape(records: readonly (readonly RowWrite[])[]): {
    readonly writes: RowWrite[];
    readonly shown: readonly Uint8Array[];
  } {
    const isPlain = this.#showing.isIdle && !records.some((writes) => writes.some(({ key }) => isStageKey(key)));
    return isPlain ? { writes: records.flat(), shown: [] } : this.#showing.shape(records, this.#store.view('rows'));
  }

  /** What the LDB holds; undefined: everything. */
  get filter(): LedgerFilter | undefined {
    return this.#filter;
  }

  /**
   * Says what the LDB is to hold. One that holds something is not turned into another one by what comes next: then
   * LDB_FOREIGN, and only a snapshot with that filter can.
   */
  adoptFilter(filter: LedgerFilter | undefined): void {
    if (isSameFilter(this.#filter, filter)) return;
    if (this.cluster === '') {
      this.#filter = filter;
      return;
    }
    const message = `the LDB in ${this.dir} holds ${showFilter(this.#filter)}, and what comes is ${showFilter(filter)}: rebuild it, or choose another directory`;
    throw new StoreError('LDB_FOREIGN', message, {
      data: { dir: this.dir, holds: showFilter(this.#filter), offered: showFilter(filter) },
    });
  }

  /**
   * Begins a snapshot: the state of `cluster` at `revision`, or what `filter` leaves of it. One that was under way is
   * void.
   */
  beginSnapshot(position: LdbPosition, filter?: LedgerFilter): Promise<void> {
    return this.#exclusively(async () => {
      this.checkCluster(position.cluster);
      if (position.revision < this.revision) {
        throw new StoreError('LDB_GAP', `a snapshot at revision ${position.revision} is behind ${this.revision}`, {
          data: { position: this.revision, revision: position.revision },
        });
      }
      await this.#dropSnapshot();
      this.#snapshot = new Arriving(position, filter);
    });
  }

  /** How far a snapshot came that was not finished, in this life or an earlier one: `goOnSnapshot`, or it takes up room. */
  get interrupted(): SnapshotMark | undefined {
    return this.#interrupted;
  }

  /**
   * Goes on with the one that was interrupted, as the state at `position`: what comes next are the records from `from.revision`
   * on up to it (`rollSnapshot`), and then the rows behind `from.after`. LDB_GAP when that does not fit what is here.
   */
  goOnSnapshot(
    position: LdbPosition,
    to: { readonly filter: LedgerFilter | undefined; readonly from: Pick<SnapshotMark, 'revision' | 'after'> },
  ): Promise<void> {
    return this.#exclusively(async () => {
      this.checkCluster(position.cluster);
      const mark = must(this.#snapshot?.mark ?? this.#interrupted, 'a snapshot was interrupted');
      this.#snapshot = Arriving.goOn(mark, position, to);
      this.#interrupted = undefined;
    });
  }

  /** The stream broke off: what has come is kept, to be gone on with. */
  interruptSnapshot(): Promise<void> {
    return this.#exclusively(async () => {
      const mark = this.#snapshot?.mark ?? this.#interrupted;
      if (mark === undefined) await this.#dropSnapshot();
      this.#snapshot = undefined;
      this.#interrupted = mark;
    });
  }

  /** Adds rows, in key order if they are to be gone on with; their bytes may be reused once it resolves. */
  addSnapshot(rows: readonly SnapshotRow[]): Promise<SnapshotMark | undefined> {
    return this.#exclusively(async () => {
      const snapshot = must(this.#snapshot, 'snapshot rows come inside a snapshot');
      if (!snapshot.isRolledForward) throw notRolledForward(snapshot);
      const valueBytes = rows.reduce((bytes, row) => bytes + row.value.length, 0);
      const arena = new RowArena(valueBytes + rows.length * ROW_HEADER_BYTES);
      const writes = rows.map((row) => ({
        key: checkedKey(row.key),
        row: arena.add(row.value, row.revision, row.expiryMs),
      }));
      if (writes.length === 0) return snapshot.mark;
      const bytes = writes.reduce((sum, { key }) => sum + key.length, valueBytes);
      return this.#arrive(snapshot.add(writes, bytes));
    });
  }

  /** Whole records: what they change of the rows that have come. Those that are old are skipped; LDB_GAP when there is a hole. */
  rollSnapshot(pieces: readonly Uint8Array[]): Promise<SnapshotMark | undefined> {
    return this.#exclusively(async () => {
      const snapshot = must(this.#snapshot, 'records are rolled inside a snapshot');
      const mark = must(snapshot.mark, 'records are rolled when rows are there');
      const fresh = recordsAfter(mark.revision, pieces.flatMap(decodeRecords));
      const last = fresh.at(-1);
      if (last === undefined) return mark;
      if (last.revision > snapshot.position.revision) throw notRolledForward(snapshot);
      return this.#arrive(snapshot.roll(writesOf(fresh).flat(), mark, last.revision));
    });
  }

  async #arrive({ writes, next }: ReturnType<Arriving['add']>): Promise<SnapshotMark | undefined> {
    await this.#transaction(() => this.#store.addIncoming(writes));
    this.#snapshot = next;
    return next.mark;
  }

  /** Makes the LDB equal to the snapshot, position included, in one transaction. */
  finishSnapshot(): Promise<SnapshotApplied> {
    return this.#exclusively(async () => {
      const snapshot = must(this.#snapshot, 'a snapshot was begun');
      if (!snapshot.isRolledForward) throw notRolledForward(snapshot);
      const { filter, position } = snapshot;
      const writes = this.#showing.shapeAll(this.#store.view('incoming'));
      // Without its mark: shaped for this host it is no state of the cluster to go on from.
      const shaped = [...writes, { key: MARK_KEY, row: undefined }];
      if (writes.length > 0) await this.#transaction(() => this.#store.addIncoming(shaped));
      const counts = await this.#transaction(() =>
        this.#store.adoptIncoming([
          { key: POSITION_KEY, value: encodePosition(position) },
          { key: FILTER_KEY, value: filter && encodeStoredFilter(filter) },
          // Of another state, perhaps at this very revision.
          { key: HASH_KEY, value: undefined },
          { key: RING_KEY, value: utf8(this.#ring) },
        ]),
      );
      this.#position = position;
      this.#filter = filter;
      this.#hash = undefined;
      this.#snapshot = undefined;
      return { revision: position.revision, ...counts };
    });
  }

  /** Forgets a snapshot that will not be finished. */
  abandonSnapshot(): Promise<void> {
    return this.#exclusively(async () => {
      await this.#dropSnapshot();
    });
  }

  async #dropSnapshot(): Promise<void> {
    this.#snapshot = undefined;
    this.#interrupted = undefined;
    await this.#transaction(() => this.#store.dropIncoming());
  }

  /** Resolves once all that was applied is on disk: at once, as commits are durable when they are visible. */
  async flushed(): Promise<void> {
    await this.#store.flushed();
  }

  /** Waits for the commit under way. May be called twice. */
  close(): Promise<void> {
    this.#closed ??= this.#store.close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** LDB_FOREIGN when the LDB already belongs to another cluster. */
  checkCluster(cluster: string): void {
    assert(cluster !== '', 'a ledger says which cluster it is of');
    if (this.cluster === '' || this.cluster === cluster) return;
    throw new StoreError('LDB_FOREIGN', `the LDB in ${this.dir} belongs to cluster ${this.cluster}, not ${cluster}`, {
      data: { dir: this.dir, cluster: this.cluster, offered: cluster },
    });
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed !== undefined) throw new StoreError('CLOSED', `the LDB in ${this.dir} was closed`);
    if (this.#failure !== undefined) throw this.#failed(this.#failure);
    assert(!this.#isBusy, 'a writer is given one thing to do at a time');
    this.#isBusy = true;
    try {
      return await work();
    } finally {
      this.#isBusy = false;
    }
  }

  /** The cluster's state hash at the position, when it is known. */
  get hash(): number | undefined {
    return this.#hash;
  }

  /** It is learnt anew, from the next mark. */
  forgetHash(): void {
    this.#hash = undefined;
  }

  async #commit(
    rows: readonly RowWrite[],
    position: LdbPosition,
    hash: number | undefined,
    records: readonly Uint8Array[],
  ): Promise<void> {
    assert(position.revision >= this.revision, 'the position never goes back');
    const meta: MetaWrite[] = [{ key: POSITION_KEY, value: encodePosition(position) }];
    if (hash !== undefined) meta.push({ key: HASH_KEY, value: encodeHash({ revision: position.revision, hash }) });
    // Not with every commit: it changes with the first one only, or with a snapshot.
    const isFirst = this.cluster === '';
    if (isFirst && this.#filter !== undefined) meta.push({ key: FILTER_KEY, value: encodeStoredFilter(this.#filter) });
    await this.#transaction(() => this.#store.commit(rows, meta, records));
    this.#position = position;
    this.#hash = hash;
  }

  async #transaction<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#failure = error;
      throw this.#failed(error);
    }
  }

  #failed(cause: unknown): StoreError {
    return new StoreError('DISK_FAILED', `the LDB in ${this.dir} could not be written: ${String(cause)}`, { cause });
  }
}

/** The writes of each record. */
function writesOf(records: readonly LedgerRecord[]): RowWrite[][] {
  let arenaBytes = 0;
  for (const { changes } of records) {
    for (const { value } of changes) arenaBytes += ROW_HEADER_BYTES + value.length;
  }
  const arena = new RowArena(arenaBytes);
  return records.map(({ revision, changes }) =>
    changes.map(({ kind, key, value, expiryMs }) => ({
      key: checkedKey(key),
      row: kind === 'put' ? arena.add(value, revision, expiryMs) : undefined,
    })),
  );
}

function notRolledForward({ position, mark }: Arriving): StoreError {
  const message = `the rows of a snapshot are at revision ${mark?.revision}, and it is of revision ${position.revision}`;
  return new StoreError('LDB_GAP', message, { data: { revision: position.revision, mark: mark?.revision } });
}

function checkedKey(key: Uint8Array): Uint8Array {
  checkKey(key, KEY_LIMITS);
  return key;
}
