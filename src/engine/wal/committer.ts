/**
 * Committer: puts records into one order and writes them, many at a time.
 *
 * A write costs little and a sync costs much, so the two are apart: while the syncer waits for the disk, the
 * committer keeps writing the next group. The group's size needs no tuning: it is whatever arrived during the
 * last sync. (A timer was the obvious way; it adds its own length to every lone put.) A group is framed into
 * one buffer and written by one call: many small pieces lose to one contiguous one.
 *
 * The file is zero-filled ahead a megabyte at a time, because a sync that also changes the file's size costs
 * twice one that does not; a file that had another life comes zero-filled whole.
 *
 * A segment begins with its base: where the log stands, and the salt of the chunks behind it. The base is written and
 * synced before the segment has its name, so whoever sees the name can believe the base.
 *
 * Invariants:
 *  - LSNs are given and written in the same order, without gaps.
 *  - `logged` is told only after the write of everything up to it returned.
 *  - A segment is synced whole before the next one is named.
 *  - A failed write or sync is final: nothing more is written (`append` throws DISK_FAILED).
 *  - A full disk is met before a record has its LSN (`makeRoom`), where zeros are written ahead; so it fails that record
 *    alone, and a new segment is begun later. Room for the closing mark is always kept.
 *
 * On the put path: stop 4 of 9. From replication; to syncer.
 */
import { assert, must } from '../../core/base/assert.ts';
import { ByteWriter } from '../../core/base/bytes.ts';
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { isStoreError, StoreError } from '../../core/base/errors.ts';
import { type Index, type Lsn, plus, type Term, toIndex, toLsn } from '../../core/base/position.ts';
import { isOutOfSpace } from '../disk/full-disk.ts';
import { framedBytes, frameRecord, segmentName, ZERO_AHEAD_BYTES } from './format.ts';
import { encodeBase, encodeMark, foldEncoded, setLsn } from './payload.ts';
import type { SegmentBase } from './log-state.ts';
import type { WalEnd } from './recovery.ts';
import type { Spares } from './spares.ts';
import { Standing } from './standing.ts';

/** A mark, with all headers and a block's end that it may need. */
const MARK_BYTES_MAX = 96;
/** A new segment for which there was no room is tried again after so much. */
const ROTATE_AGAIN_BYTES = 64 * 1024;

export interface CommitterOptions {
  readonly disk: Disk;
  readonly dir: string;
  /** A segment is left for the next one once it holds this much. */
  readonly segmentBytes: number;
  /** Zeros are written ahead of the data up to a multiple of this. Default 1 MiB. */
  readonly zeroAheadBytes?: number;
  /** A random number for each segment, which nobody outside may guess. */
  readonly salt: () => number;
  /** Files of removed segments to begin new ones in. */
  readonly spares: Spares;
  /** How far the syncer has come; asked once per group. */
  readonly synced: () => Lsn;
  /** Told when a new segment is begun, before anything is written to it: the file to sync from now on. */
  readonly onSegment: (file: DiskFile, segment: number) => void;
  /**
   * Runs a sync of the committer's own while nobody else syncs the file: the kernel reports a write-back error to
   * one of two syncs that run together, and the other would prove what is lost. Throws what stands against it.
   * Default: just runs it.
   */
  readonly alone?: (sync: () => void) => void;
}

export class Committer {
  readonly #options: CommitterOptions;
  #file: DiskFile | undefined;
  #segment: number;
  #salt: number;
  /** Where the log stands behind the newest record. */
  readonly #standing: Standing;
  /** Of the segments that are there, oldest first. */
  #bases: SegmentBase[];
  #firstSegment: number;
  /** Where the next record goes. */
  #offset: number;
  /** The file holds zeros up to here. */
  #zeroedTo: number;
  /** Where a new segment is begun: at its size, or behind that when there was no room for one. */
  #rotateAt: number;
  /** Left segments that the syncer may still be syncing, with the LSN that frees them. */
  #left: { file: DiskFile; lastLsn: Lsn }[] = [];

  #group = new Uint8Array(256 * 1024);
  #groupBytes = 0;
  #groupRecords = 0;
  #next: Lsn;
  #logged: Lsn;
  /** End offset of each group of this segment not yet known to be synced. */
  #groupEnds: { lsn: Lsn; offset: number }[] = [];
  #syncedOffset = 0;
  #failure: StoreError | undefined;

  constructor(options: CommitterOptions, end: WalEnd) {
    this.#options = options;
    this.#standing = new Standing(end);
    this.#bases = [...end.bases];
    this.#firstSegment = end.firstSegment;
    this.#next = plus(end.lastLsn, 1);
    this.#logged = end.lastLsn;
    const { segment, offset, salt } = end.tail ?? { segment: 1, offset: 0, salt: 0 };
    this.#segment = segment;
    this.#salt = salt;
    this.#offset = offset;
    this.#zeroedTo = offset;
    this.#rotateAt = options.segmentBytes;
    if (offset === 0) this.#begin(segment);
    else {
      this.#file = options.disk.open(this.#path(), 'write');
      // Recovery synced all that it kept.
      this.#syncedOffset = offset;
      options.onSegment(this.#file, segment);
    }
  }

  get logged(): Lsn {
    return this.#logged;
  }

  /** The first entry that is still there; lastIndex + 1 when none is. */
  get firstIndex(): Index {
    return this.#standing.firstIndex;
  }

  get lastIndex(): Index {
    return this.#standing.lastIndex;
  }

  /** LSN of the oldest record that is there. */
  get firstLsn(): Lsn {
    const base = this.#bases[0];
    return base?.segment === this.#firstSegment ? base.lsn : toLsn(1);
  }

  get firstSegment(): number {
    return this.#firstSegment;
  }

  /** The last entry that lies before the newest segments of about `bytes` in all; 0 when there is no such segment. */
  indexBefore(bytes: number): Index {
    const segment = this.#segment - Math.ceil(bytes / this.#options.segmentBytes);
    return this.#bases.find((base) => base.segment === segment)?.prevIndex ?? toIndex(0);
  }

  /** Term of the entry at `index`, which may not be written yet; undefined when it is not in the log. */
  termOf(index: Index): Term | undefined {
    return this.#standing.termOf(index);
  }

  get segment(): number {
    return this.#segment;
  }

  /** Of this segment: written, and not known to be synced. */
  get unsyncedBytes(): number {
    return this.#offset - this.#syncedOffset;
  }

  /** Where the next record will begin. */
  get offset(): number {
    return this.#offset + this.#groupBytes;
  }

  /** LSN of the newest record, written or not. */
  get lastLsn(): Lsn {
    return plus(this.#next, -1);
  }

  get groupBytes(): number {
    return this.#groupBytes;
  }

  get groupRecords(): number {
    return this.#groupRecords;
  }

  /** Sees to it that a record of so many bytes can be written; STORE_FULL, and nothing has happened, when it cannot. */
  makeRoom(payloadBytes: number): void {
    if (this.#failure !== undefined) throw this.#failure;
    const end = this.offset + framedBytes(payloadBytes, this.offset) + MARK_BYTES_MAX;
    if (end <= this.#zeroedTo) return;
    const file = must(this.#file, 'a committer has a segment');
    try {
      this.#zeroAhead(file, end);
    } catch (cause) {
      if (!isOutOfSpace(cause)) throw this.#fail('write', cause);
      // Less than was asked for may be enough; what there is of it are zeros.
      this.#zeroedTo = Math.max(this.#zeroedTo, file.size());
      if (end > this.#zeroedTo)
        throw new StoreError('STORE_FULL', `${this.#path()} has no room on its disk`, { cause });
    }
  }

  /** Puts a record into the group and gives it its LSN (in place). Written by `commitGroup`. */
  append(payload: Uint8Array): Lsn {
    if (this.#failure !== undefined) throw this.#failure;
    const lsn = this.#next;
    setLsn(payload, lsn);
    foldEncoded(this.#standing, payload);
    const offset = this.#offset + this.#groupBytes;
    const bytes = framedBytes(payload.length, offset);
    this.#room(bytes);
    const written = frameRecord(this.#group, this.#groupBytes, offset, payload, {
      segment: this.#segment,
      salt: this.#salt,
      syncedOffset: this.#syncedOffset,
    });
    assert(written === bytes, 'a record takes the bytes it was given');
    this.#groupBytes += bytes;
    this.#groupRecords++;
    this.#next = plus(lsn, 1);
    return lsn;
  }

  /** Writes the group; returns the LSN up to which everything is now logged. */
  commitGroup(): Lsn {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#groupRecords === 0) return this.#logged;
    const file = must(this.#file, 'a committer has a segment');
    try {
      this.#zeroAhead(file, this.#offset + this.#groupBytes);
      file.write(this.#group.subarray(0, this.#groupBytes), this.#offset);
    } catch (cause) {
      throw this.#fail('write', cause);
    }
    this.#offset += this.#groupBytes;
    this.#groupBytes = 0;
    this.#groupRecords = 0;
    this.#logged = plus(this.#next, -1);
    this.#groupEnds.push({ lsn: this.#logged, offset: this.#offset });
    return this.#logged;
  }

  /**
   * Somebody else failed (the syncer): nothing more is written. Above all no closing mark: a sync of ours could
   * succeed after the failed one, and prove nothing about its bytes.
   */
  poison(failure: StoreError): void {
    this.#failure ??= failure;
  }

  /** What is synced now is said by the records from here on. */
  learn(): void {
    const synced = this.#options.synced();
    let count = 0;
    for (const group of this.#groupEnds) {
      if (group.lsn > synced) break;
      this.#syncedOffset = group.offset;
      count++;
    }
    if (count > 0) this.#groupEnds = this.#groupEnds.slice(count);
    while (this.#left.length > 0 && must(this.#left[0], 'inside').lastLsn <= synced) this.#left.shift()?.file.close();
  }

  /** Between groups: learns what is synced, and begins a new segment when this one is full. */
  turn(): void {
    if (this.#failure !== undefined) throw this.#failure;
    assert(this.#groupRecords === 0, 'a turn is between groups');
    this.learn();
    if (this.#offset >= this.#rotateAt) this.#rotate();
  }

  /** Syncs, then proves it: after a clean close no damage can pass for a torn tail. May be called twice. */
  close(): void {
    const file = this.#file;
    if (file === undefined) return;
    try {
      if (this.#failure === undefined) this.#seal(file);
    } catch (cause) {
      // Without room for its mark it is like a log that lost its power: all of it is synced.
      if (!isStoreError(cause, 'STORE_FULL')) throw this.#fail('close', cause);
    } finally {
      this.#file = undefined;
      file.close();
      for (const left of this.#left) left.file.close();
      this.#left = [];
    }
  }

  /**
   * Removes the oldest segment if its every entry is at or below `index`, or the oldest few where it takes more for the
   * log to begin anew; never the newest two. Each is gone on the disk before the next goes, so a crash leaves no hole.
   * Who has one open reads zeros there, or chunks of another segment, and neither is a record of it. False when there
   * is nothing to remove.
   */
  truncateTo(index: Index): boolean {
    if (this.#failure !== undefined) throw this.#failure;
    assert(index <= this.lastIndex, 'what is forgotten was there');
    const { disk, dir, spares } = this.#options;
    const keep = this.#bases.find(
      ({ segment, prevIndex }) => segment > this.#firstSegment && segment < this.#segment && prevIndex <= index,
    );
    if (keep === undefined) return false;
    try {
      for (; this.#firstSegment < keep.segment; this.#firstSegment++) {
        spares.retire(`${dir}/${segmentName(this.#firstSegment)}`, this.#firstSegment);
        disk.syncDir(dir);
      }
    } catch (cause) {
      throw this.#fail('truncate', cause);
    }
    this.#bases = this.#bases.filter(({ segment }) => segment >= keep.segment);
    // Behind a revert a later segment may begin at an earlier entry.
    if (keep.prevIndex >= this.firstIndex) this.#standing.beginAt(plus(keep.prevIndex, 1));
    return true;
  }

  #rotate(): void {
    const file = must(this.#file, 'a committer has a segment');
    try {
      this.#seal(file);
      const lastLsn = this.#logged;
      this.#begin(this.#segment + 1);
      this.#left.push({ file, lastLsn });
    } catch (cause) {
      if (!isStoreError(cause, 'STORE_FULL')) throw this.#fail('rotate', cause);
      // This one goes on behind its mark.
      this.#rotateAt = this.#offset + ROTATE_AGAIN_BYTES;
    }
  }

  /** Syncs everything, and then writes (and syncs) the mark that proves it. */
  #seal(file: DiskFile): void {
    this.commitGroup();
    this.#syncFile(file);
    this.#syncedOffset = this.#offset;
    // Kept since the last append; there may have been none since the start.
    this.makeRoom(0);
    const mark = new ByteWriter(16);
    encodeMark(mark);
    this.append(mark.view());
    this.commitGroup();
    this.#syncFile(file);
  }

  #syncFile(file: DiskFile): void {
    const { alone } = this.#options;
    if (alone === undefined) file.fdatasync();
    else alone(() => file.fdatasync());
  }

  /** Begins a segment in a spare file or a new one. It has its name when its base is on disk. STORE_FULL: nothing is begun. */
  #begin(segment: number): void {
    const { disk, dir, onSegment } = this.#options;
    const salt = Math.max(1, this.#options.salt() >>> 0);
    const base = this.#frameBase(segment, salt);
    const zeroedTo = this.#prepare(segment, base);
    disk.syncDir(dir);
    this.#segment = segment;
    this.#salt = salt;
    this.#file = disk.open(this.#path(), 'write');
    this.#bases.push({ segment, lsn: this.#next, prevIndex: this.#standing.lastIndex });
    this.#logged = this.#next;
    this.#next = plus(this.#next, 1);
    this.#offset = base.length;
    this.#zeroedTo = zeroedTo;
    this.#syncedOffset = base.length;
    this.#rotateAt = this.#options.segmentBytes;
    this.#groupEnds = [];
    onSegment(this.#file, segment);
  }

  /** Writes the base, syncs it, and gives the file its name. Returns up to where it holds zeros. */
  #prepare(segment: number, base: Uint8Array): number {
    const { disk, dir, spares } = this.#options;
    const path = `${dir}/${segmentName(segment)}`;
    let isSynced = true;
    try {
      const making = spares.take(segment);
      const file = disk.open(making.path, 'write');
      try {
        file.write(base, 0);
        isSynced = false;
        file.fdatasync();
        isSynced = true;
      } finally {
        file.close();
      }
      disk.rename(making.path, path);
      return Math.max(base.length, making.bytes);
    } catch (cause) {
      if (!isOutOfSpace(cause) || !isSynced || disk.exists(path)) throw cause;
      throw new StoreError('STORE_FULL', `${path} has no room on its disk`, { cause });
    }
  }

  #frameBase(segment: number, salt: number): Uint8Array {
    const { term, vote, commit, lastIndex, lastTerm } = this.#standing;
    const writer = new ByteWriter(128);
    encodeBase(writer, {
      hardState: { term, vote, commit },
      prevIndex: lastIndex,
      prevTerm: must(lastTerm, 'the term of the last entry is known'),
      salt,
    });
    const payload = writer.view();
    setLsn(payload, this.#next);
    const framed = new Uint8Array(framedBytes(payload.length, 0));
    frameRecord(framed, 0, 0, payload, { segment, salt: 0, syncedOffset: 0 });
    return framed;
  }

  #zeroAhead(file: DiskFile, end: number): void {
    if (end <= this.#zeroedTo) return;
    const { zeroAheadBytes = ZERO_AHEAD_BYTES } = this.#options;
    const to = Math.ceil(end / zeroAheadBytes) * zeroAheadBytes;
    file.write(new Uint8Array(to - this.#zeroedTo), this.#zeroedTo);
    this.#zeroedTo = to;
  }

  #room(bytes: number): void {
    const needed = this.#groupBytes + bytes;
    if (needed <= this.#group.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#group.length * 2));
    grown.set(this.#group.subarray(0, this.#groupBytes));
    this.#group = grown;
  }

  #path(): string {
    return `${this.#options.dir}/${segmentName(this.#segment)}`;
  }

  #fail(what: string, cause: unknown): StoreError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    // The first failure stays the one that is told: a rotation fails because its write did.
    this.#failure ??= new StoreError('DISK_FAILED', `the WAL could not ${what} ${this.#path()}: ${reason}`, { cause });
    return this.#failure;
  }
}
