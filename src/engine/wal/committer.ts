/**
 * Committer: puts records into one order and writes them, many at a time.
 *
 * A write costs little and a sync costs much, so the two are apart: while the syncer waits for the disk, the
 * committer keeps writing the next group. The group's size needs no tuning: it is whatever arrived during the
 * last sync. (A timer was the obvious way; it adds its own length to every lone put.) A group is framed into
 * one buffer and written by one call: many small pieces lose to one contiguous one.
 *
 * The file is zero-filled ahead a megabyte at a time, because a sync that also changes the file's size costs
 * twice one that does not.
 *
 * Invariants:
 *  - LSNs are given and written in the same order, without gaps.
 *  - `logged` is told only after the write of everything up to it returned.
 *  - A segment is synced whole before the next one is named.
 *  - A failed write or sync is final: nothing more is written (`append` throws DISK_FAILED).
 *
 * On the put path: stop 4 of 9. From replication; to syncer.
 */
import { assert, must } from '../../core/base/assert.ts';
import { ByteWriter } from '../../core/base/bytes.ts';
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type Lsn, plus } from '../../core/base/position.ts';
import { framedBytes, frameRecord, segmentName } from './format.ts';
import { encodeMark, setLsn } from './payload.ts';
import type { Recovered } from './recovery.ts';

const ZERO_AHEAD_BYTES = 1024 * 1024;

export interface CommitterOptions {
  readonly disk: Disk;
  readonly dir: string;
  /** A segment is left for the next one once it holds this much. */
  readonly segmentBytes: number;
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
  /** Where the next record goes. */
  #offset: number;
  /** The file holds zeros up to here. */
  #zeroedTo: number;
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

  constructor(options: CommitterOptions, recovered: Pick<Recovered, 'lastLsn' | 'tail'>) {
    this.#options = options;
    this.#next = plus(recovered.lastLsn, 1);
    this.#logged = recovered.lastLsn;
    this.#segment = recovered.tail?.segment ?? 0;
    this.#offset = recovered.tail?.offset ?? 0;
    this.#zeroedTo = this.#offset;
    if (recovered.tail === undefined) this.#begin(1);
    else {
      this.#file = options.disk.open(this.#path(), 'write');
      // Recovery synced all that it kept.
      this.#syncedOffset = this.#offset;
      options.onSegment(this.#file, this.#segment);
    }
  }

  get logged(): Lsn {
    return this.#logged;
  }

  get segment(): number {
    return this.#segment;
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

  /** Puts a record into the group and gives it its LSN (in place). Written by `commitGroup`. */
  append(payload: Uint8Array): Lsn {
    if (this.#failure !== undefined) throw this.#failure;
    const lsn = this.#next;
    setLsn(payload, lsn);
    const offset = this.#offset + this.#groupBytes;
    const bytes = framedBytes(payload.length, offset);
    this.#room(bytes);
    const written = frameRecord(this.#group, this.#groupBytes, offset, payload, {
      segment: this.#segment,
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

  /** Between groups: learns what is synced, and begins a new segment when this one is full. */
  turn(): void {
    if (this.#failure !== undefined) throw this.#failure;
    assert(this.#groupRecords === 0, 'a turn is between groups');
    const synced = this.#options.synced();
    let count = 0;
    for (const group of this.#groupEnds) {
      if (group.lsn > synced) break;
      this.#syncedOffset = group.offset;
      count++;
    }
    if (count > 0) this.#groupEnds = this.#groupEnds.slice(count);
    while (this.#left.length > 0 && must(this.#left[0], 'inside').lastLsn <= synced) this.#left.shift()?.file.close();
    if (this.#offset >= this.#options.segmentBytes) this.#rotate();
  }

  /** Syncs, then proves it: after a clean close no damage can pass for a torn tail. May be called twice. */
  close(): void {
    const file = this.#file;
    if (file === undefined) return;
    try {
      if (this.#failure === undefined) this.#seal(file);
    } catch (cause) {
      throw this.#fail('close', cause);
    } finally {
      this.#file = undefined;
      file.close();
      for (const left of this.#left) left.file.close();
      this.#left = [];
    }
  }

  #rotate(): void {
    const file = must(this.#file, 'a committer has a segment');
    try {
      this.#seal(file);
      this.#left.push({ file, lastLsn: this.#logged });
      this.#begin(this.#segment + 1);
    } catch (cause) {
      throw this.#fail('rotate', cause);
    }
  }

  /** Syncs everything, and then writes (and syncs) the mark that proves it. */
  #seal(file: DiskFile): void {
    this.commitGroup();
    this.#syncFile(file);
    this.#syncedOffset = this.#offset;
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

  #begin(segment: number): void {
    const { disk, dir } = this.#options;
    this.#segment = segment;
    this.#offset = 0;
    this.#zeroedTo = 0;
    this.#syncedOffset = 0;
    this.#groupEnds = [];
    this.#file = disk.open(this.#path(), 'create');
    disk.syncDir(dir);
    this.#options.onSegment(this.#file, segment);
  }

  #zeroAhead(file: DiskFile, end: number): void {
    if (end <= this.#zeroedTo) return;
    const to = Math.ceil(end / ZERO_AHEAD_BYTES) * ZERO_AHEAD_BYTES;
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
