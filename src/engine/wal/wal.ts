/**
 * openWal: the write-ahead log on its own, for one process: an append-only list of byte strings that survive.
 *
 *   append → group in memory ──write──> file ──sync──> durable      read, replay, tail
 *
 * The same files, records and recovery as a node's log; what a node spreads over threads is here behind one object,
 * and the sync runs beside the caller. An entry has an index (a place in the log; after a revert it is given again)
 * and its record an LSN (never given again). Entries are persists with a term, which a revert raises: (index, term)
 * names an entry for ever.
 *
 * Promises (docs/formats.md has the words):
 *  - what `durable` resolved for survives a power cut; what was written survives a kill;
 *  - what is found again is a prefix of what was appended, without a hole;
 *  - a failure is final and told to every waiter, now or later; so is the end by `close`;
 *  - a full disk is not: `append` throws STORE_FULL, and nothing has happened.
 *
 * Invariant: everything in the log from `firstIndex` to `lastIndex` can be read.
 */
import { must } from '../../core/base/assert.ts';
import { ByteWriter } from '../../core/base/bytes.ts';
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type Index, type Lsn, plus, type Term, toIndex, toTerm } from '../../core/base/position.ts';
import { type DirLock, lockDir } from '../disk/lock.ts';
import { fdatasyncFdAsync, nodeDisk } from '../disk/node-disk.ts';
import { Committer } from './committer.ts';
import { asFailure } from './failure.ts';
import { TruncationGate } from './gate.ts';
import { GroupCommit } from './group-commit.ts';
import { LsnReader, type WalChange } from './lsn-reader.ts';
import { encodeEntries, encodeEntry, encodeRevert } from './payload.ts';
import { WalReader } from './reader.ts';
import { PLACE_EVERY_BYTES } from './log-state.ts';
import { type Recovered, recoverWal } from './recovery.ts';
import { Spares } from './spares.ts';
import { type Followed, type TailCursor, tailChanges, tailEntries } from './tail.ts';

export interface WalOptions {
  /** Default: the real disk. */
  readonly disk?: Disk;
  /**
   * A segment is left for the next one once it holds this much. Default 16 MiB. To leave one takes a few syncs in the
   * caller's thread.
   */
  readonly segmentBytes?: number;
  /** False: whoever opens the log has seen to it that nobody else does. Default: true on the real disk. */
  readonly lock?: boolean;
  /** Makes a file's bytes durable. Default: fdatasync, on the real disk beside the caller's thread. */
  readonly sync?: (file: DiskFile) => Promise<void>;
  /** Index of the first entry of a log that is not there yet: what is before it is kept elsewhere. Default 1. */
  readonly beginAt?: Index;
  /** Who must have let go of an entry before it may be forgotten; each keeps everything until it says otherwise. */
  readonly consumers?: readonly string[];
  /** Files of removed segments kept to be used again. Default 2. */
  readonly spares?: number;
  /** A random 32-bit number that nobody outside may guess, for each segment. */
  readonly salt?: () => number;
}

export interface WalEntry {
  readonly index: Index;
  readonly data: Uint8Array;
}

export interface Appended {
  readonly lsn: Lsn;
  /** Of the last entry appended. */
  readonly index: Index;
  /** Resolves when it is on disk; with `sync: false` when it is written. Rejects with what every later call says. */
  readonly durable: Promise<void>;
}

export interface AppendOptions {
  readonly sync?: boolean;
}

export interface TailOptions {
  /** Ends the iteration with CANCELLED. */
  readonly signal?: AbortSignal;
}

const SEGMENT_BYTES = 16 * 1024 * 1024;
const SPARES = 2;
const READ_BYTES_MAX = 1024 * 1024;

/** Opens the log in `dir`, made if it is missing; recovers it first. DIR_LOCKED, WAL_CORRUPT, DISK_FAILED. */
export async function openWal(dir: string, options: WalOptions = {}): Promise<Wal> {
  const disk = options.disk ?? nodeDisk;
  const lock = (options.lock ?? disk === nodeDisk) ? await lockDir(dir) : undefined;
  try {
    return new Wal(dir, disk, options, begun(recoverWal(disk, dir), options.beginAt), lock);
  } catch (cause) {
    await lock?.release();
    throw asFailure(cause);
  }
}

/**
 * A log without a file begins where it is told to: in a second segment, as if the first had been removed already, so that
 * its base says what is gone.
 */
function begun(recovered: Recovered, beginAt: Index = toIndex(1)): Recovered {
  if (recovered.tail !== undefined || beginAt === 1) return recovered;
  const tail = { segment: 2, offset: 0, salt: 0 };
  const lastIndex = plus(beginAt, -1);
  return { ...recovered, firstIndex: beginAt, lastIndex, baseTerm: toTerm(1), firstSegment: tail.segment, tail };
}

export class Wal {
  readonly dir: string;
  /** What the start found and did: for a log line. */
  readonly recovered: Pick<Recovered, 'records' | 'trimmedBytes'>;
  readonly #lock: DirLock | undefined;
  readonly #committer: Committer;
  readonly #group: GroupCommit;
  readonly #reader: WalReader;
  readonly #lsnReader: LsnReader;
  readonly #gate: TruncationGate;
  readonly #spares: Spares;
  readonly #sync: (file: DiskFile) => Promise<void>;
  #filling: Promise<void> | undefined;
  readonly #tails = new Set<TailCursor>();
  readonly #encode = new ByteWriter(64 * 1024);
  #term: Term;
  #bytesSincePlace = Number.POSITIVE_INFINITY;
  #closing: Promise<void> | undefined;

  /** Use `openWal`. */
  constructor(dir: string, disk: Disk, options: WalOptions, recovered: Recovered, lock: DirLock | undefined) {
    this.dir = dir;
    this.recovered = { records: recovered.records, trimmedBytes: recovered.trimmedBytes };
    this.#lock = lock;
    this.#gate = new TruncationGate(options.consumers);
    const segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.#spares = new Spares({ disk, dir, segmentBytes, max: options.spares ?? SPARES });
    this.#term = toTerm(Math.max(1, recovered.hardState.term));
    this.#sync = options.sync ?? (disk === nodeDisk ? syncBeside : syncHere);
    let file: DiskFile | undefined;
    this.#committer = new Committer(
      {
        disk,
        dir,
        segmentBytes,
        salt: options.salt ?? randomSalt,
        spares: this.#spares,
        synced: () => this.#group.durableLsn,
        onSegment: (begun) => {
          file = begun;
        },
      },
      recovered,
    );
    this.#group = new GroupCommit(
      {
        committer: this.#committer,
        sync: () => this.#sync(must(file, 'a committer has a segment')),
      },
      recovered.lastLsn,
      recovered.lastIndex,
    );
    this.#reader = new WalReader(disk, dir, recovered, (index) => this.#committer.termOf(index));
    const { firstLsn, firstSegment } = this.#committer;
    this.#lsnReader = new LsnReader(disk, dir, recovered.places, firstLsn, firstSegment);
    // What an earlier process left may be whole.
    void this.#fillSpares();
  }

  /** The first entry that is still there; past `lastIndex` when none is. */
  get firstIndex(): Index {
    return this.#committer.firstIndex;
  }

  get lastIndex(): Index {
    return this.#committer.lastIndex;
  }

  get lastLsn(): Lsn {
    return this.#committer.lastLsn;
  }

  /** Entries up to here survive a power cut. */
  get durableIndex(): Index {
    return this.#group.durableIndex;
  }

  get durableLsn(): Lsn {
    return this.#group.durableLsn;
  }

  /** Why nothing more can be appended, once nothing can. */
  get failure(): StoreError | undefined {
    return this.#group.failure;
  }

  /** Syncs made, for "syncs per append". */
  get syncs(): number {
    return this.#group.syncs;
  }

  // ── writing ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Appends one entry. Its bytes are copied before this returns. STORE_FULL: it is not in the log; there may be room later. */
  append(data: Uint8Array, options: AppendOptions = {}): Appended {
    const index = this.push(data, options);
    return this.#appended(index, options);
  }

  /** Appends entries as one record: after a crash all of them are there, or none. */
  appendMany(data: readonly Uint8Array[], options: AppendOptions = {}): Appended {
    if (data.length === 0) throw new StoreError('BAD_REQUEST', 'nothing to append');
    this.#open();
    const first = plus(this.lastIndex, 1);
    this.#encode.reset();
    encodeEntries(this.#encode, this.#term, first, data);
    this.#hand(first);
    this.#group.appended(options.sync !== false);
    return this.#appended(this.lastIndex, options);
  }

  /** `append` for hot paths: without a promise. It is synced as soon; `flush` tells when. */
  push(data: Uint8Array, options?: AppendOptions): Index {
    this.#open();
    const index = plus(this.lastIndex, 1);
    this.#encode.reset();
    encodeEntry(this.#encode, this.#term, index, data);
    this.#hand(index);
    this.#group.appended(options?.sync !== false);
    return index;
  }

  /** Resolves once everything appended so far is on disk. */
  flush(): Promise<void> {
    return this.#group.durable();
  }

  /** Takes the entries from `from` on out of the log again: those that no consumer has taken. */
  revert(from: Index): Appended {
    this.#open();
    if (from <= this.#gate.highest || from < this.firstIndex || from > this.lastIndex) {
      throw new StoreError('BAD_REQUEST', `entries from ${from} on cannot be reverted`, {
        data: { firstIndex: this.firstIndex, lastIndex: this.lastIndex, taken: this.#gate.highest },
      });
    }
    this.#term = plus(this.#term, 1);
    this.#encode.reset();
    encodeRevert(this.#encode, this.#term, from);
    this.#hand(undefined);
    this.#bytesSincePlace = Number.POSITIVE_INFINITY;
    for (const tail of this.#tails) {
      if (tail.next > from) tail.next = from;
      tail.isStale = true;
    }
    this.#group.revertTo(from);
    this.#group.appended(true);
    return this.#appended(this.lastIndex, {});
  }

  // ── reading ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Entries in [from, to), at most about `bytesMax` but at least one if there is one. COMPACTED below `firstIndex`. */
  read(from: Index, to: Index = plus(this.lastIndex, 1), bytesMax: number = READ_BYTES_MAX): WalEntry[] {
    const end = toIndex(Math.min(to, this.lastIndex + 1));
    if (from >= end) return [];
    return this.#reading(() => this.#reader.read(from, end, bytesMax));
  }

  /** What the records from `from` on say, reverts too, at most about `bytesMax` but at least one if there is one. */
  readLsn(from: Lsn, bytesMax: number = READ_BYTES_MAX): WalChange[] {
    if (from > this.lastLsn) return [];
    return this.#reading(() => this.#lsnReader.read(from, this.lastLsn, bytesMax));
  }

  /** Calls `onEntry` for each entry from `from` on, in order. `data` is valid during the call. */
  replay(from: Index, onEntry: (index: Index, data: Uint8Array) => void): void {
    if (from > this.lastIndex) return;
    this.#reading(() => this.#reader.replay(from, plus(this.lastIndex, 1), onEntry));
  }

  /**
   * Entries from `from` on as they become durable, until the log is closed. After a revert it goes on with the
   * entries that took the place of those reverted, so an index may come again; `tailLsn` tells the reverts too.
   */
  tail(from: Index, options: TailOptions = {}): AsyncGenerator<WalEntry, void, undefined> {
    return tailEntries(this.#follow(), from, options.signal);
  }

  /** The same by LSN: everything that happened, each once. */
  tailLsn(from: Lsn, options: TailOptions = {}): AsyncGenerator<WalChange, void, undefined> {
    return tailChanges(this.#follow(), from, options.signal);
  }

  // ── forgetting ────────────────────────────────────────────────────────────────────────────────────────────

  /** `consumer` needs nothing up to `index` any more (its checkpoint). */
  watermark(consumer: string, index: Index): void {
    if (index > this.lastIndex) {
      throw new StoreError('BAD_REQUEST', `entry ${index} is not in the log`, { data: { lastIndex: this.lastIndex } });
    }
    this.#gate.advance(consumer, index);
  }

  /**
   * Removes the segments that no consumer needs, and readies their files to be used again; the newest two always
   * stay. Resolves when it is done, with whether the log begins later now.
   */
  async truncate(): Promise<boolean> {
    this.#open();
    const upTo = Math.min(this.#gate.value, this.durableIndex);
    let hasMoved = false;
    try {
      while (this.#committer.truncateTo(toIndex(upTo))) hasMoved = true;
    } catch (cause) {
      throw this.#group.fail(cause);
    }
    const { firstIndex, firstLsn, firstSegment } = this.#committer;
    this.#reader.trim({ firstIndex, firstSegment });
    this.#lsnReader.trim(firstLsn, firstSegment);
    await this.#fillSpares();
    return hasMoved;
  }

  /** Syncs and seals; every waiter is told. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      try {
        await this.#group.close();
      } finally {
        this.#reader.close();
        await this.#filling;
        this.#spares.close();
        await this.#lock?.release();
      }
    })();
    return this.#closing;
  }

  #open(): void {
    if (this.#closing !== undefined) throw new StoreError('CLOSED', 'the log is closed');
    if (this.#group.failure !== undefined) throw this.#group.failure;
  }

  /** Readers read the file: what was gathered is written first. A read that fails is told, and changes nothing. */
  #reading<T>(read: () => T): T {
    this.#open();
    this.#group.write();
    try {
      return read();
    } catch (cause) {
      // What `onEntry` throws is its own.
      throw cause instanceof Error && 'syscall' in cause ? asFailure(cause) : cause;
    }
  }

  /** Little by little, so that what the caller's thread has to do goes in between. */
  #fillSpares(): Promise<void> {
    this.#filling ??= (async () => {
      while (this.#closing === undefined && this.#group.failure === undefined) {
        if (!(await this.#spares.stepBeside(this.#sync))) break;
        await new Promise((resolve) => setImmediate(resolve));
      }
      this.#filling = undefined;
    })();
    return this.#filling;
  }

  /** Gives the encoded record to the committer; `first` is its first entry. */
  #hand(first: Index | undefined): void {
    const committer = this.#committer;
    const { segment, offset } = committer;
    const record = this.#encode.view();
    committer.makeRoom(record.length);
    const lsn = committer.append(record);
    this.#bytesSincePlace += record.length;
    if (first === undefined || this.#bytesSincePlace < PLACE_EVERY_BYTES) return;
    this.#bytesSincePlace = 0;
    this.#reader.addPlace({ index: first, lsn, segment, offset });
    this.#lsnReader.addPlace({ index: first, lsn, segment, offset });
  }

  #appended(index: Index, options: AppendOptions): Appended {
    const durable = options.sync === false ? this.#group.written() : this.#group.durable();
    return { lsn: this.#committer.lastLsn, index, durable };
  }

  #follow(): Followed {
    return {
      cursors: this.#tails,
      durableIndex: () => this.#group.durableIndex,
      durableLsn: () => this.#group.durableLsn,
      read: (from, bytesMax) => this.read(from, plus(this.durableIndex, 1), bytesMax),
      readLsn: (from, bytesMax) => this.#reading(() => this.#lsnReader.read(from, this.durableLsn, bytesMax)),
      changed: () => this.#group.changed(),
      ended: () => {
        if (this.#group.failure !== undefined) throw this.#group.failure;
        return this.#group.isClosed;
      },
    };
  }
}

const randomSalt = (): number => must(crypto.getRandomValues(new Uint32Array(1))[0], 'one number');

const syncBeside = (file: DiskFile): Promise<void> => fdatasyncFdAsync(file.fd);

const syncHere = (file: DiskFile): Promise<void> =>
  new Promise((resolve) => {
    file.fdatasync();
    resolve();
  });
