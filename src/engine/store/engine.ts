/**
 * Engine: the storage engine on its own, in one process: a log and a tree in one directory.
 *
 *   write ─▶ log (written, synced) ─▶ memtable ─▶ visible ─▶ resolved
 *                                        └─ frozen ─▶ tables ─▶ compacted          reads: any time, synchronously
 *
 * A batch has one revision, its place in the log. It becomes visible only when it is as durable as its writer asked
 * (synced unless he said `sync: false`), so nobody reads what a power cut could take back, except where every writer
 * said that this is all right. Batches are applied in the order of the log; while one group waits for the disk, the
 * next gathers.
 *
 * Bounds: batches that wait for their turn take at most `queueBytesMax` (OVERLOADED past it); memtables, cache and
 * open tables have their sizes in the options. Writers slow down, and then stop, when tables are not merged as fast
 * as they are made; `stats().stall` says why and for how long.
 */
import { must } from '../../core/base/assert.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type Index, toIndex } from '../../core/base/position.ts';
import type { Disk } from '../../core/base/env.ts';
import type { DirLock } from '../disk/lock.ts';
import { nodeDisk } from '../disk/node-disk.ts';
import type { TreeCursor, TreeEntry } from '../lsm/tree/cursor.ts';
import { isFullDisk, storeFull } from '../lsm/tree/full-disk.ts';
import { Keeper } from '../lsm/tree/keeper.ts';
import type { JobRunner } from '../lsm/tree/keeper-world.ts';
import type { TreeMemory } from '../lsm/tree/memory.ts';
import type { TreeOptions } from '../lsm/tree/options.ts';
import { TreeReader, type TreeSnapshot } from '../lsm/tree/reader.ts';
import { TreeWriter } from '../lsm/tree/writer.ts';
import type { Appended, Wal } from '../wal/wal.ts';
import { Applier } from './applier.ts';
import { Batch } from './batch.ts';
import { asError } from './failures.ts';
import type { EngineOptions, EngineStats, RangeOptions, ReadOptions, WriteOptions } from './options.ts';
import { replay } from './replay.ts';
import { Stall } from './stall.ts';

interface Pending {
  readonly index: Index;
  readonly bytes: Uint8Array;
  readonly isSynced: boolean;
  readonly written: Promise<void>;
  readonly resolve: (revision: number) => void;
  readonly reject: (reason: unknown) => void;
}

const MIB = 1024 * 1024;
/** Its name among those who hold the log. */
export const CONSUMER = 'tree';

/** What `openEngine` has put together. */
export interface EngineParts {
  readonly dir: string;
  readonly disk: Disk;
  readonly tree: TreeOptions;
  readonly memory: TreeMemory;
  readonly runner: JobRunner;
  readonly wal: Wal;
  readonly lock: DirLock | undefined;
  readonly options: EngineOptions;
}

export class Engine {
  readonly dir: string;
  readonly options: TreeOptions;
  /** For readers in other threads: `new TreeReader(memory, …)`. */
  readonly memory: TreeMemory;
  readonly #wal: Wal;
  readonly #lock: DirLock | undefined;
  readonly #keeper: Keeper;
  readonly #reader: TreeReader;
  readonly #writer: TreeWriter;
  readonly #stall: Stall;
  readonly #applier: Applier;
  readonly #nowMs: () => number;
  readonly #queueBytesMax: number;
  /** The store's time: the largest it has seen. */
  #timeMs = 0;
  #queue: Pending[] = [];
  #queueBytes = 0;
  #pumping: Promise<void> | undefined;
  /** When it is settled, all before it are. */
  #lastWrite: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;
  /** Closing, and nothing waits for its turn any more. */
  #hasEnded = false;
  #failure: StoreError | undefined;

  /** Use `openEngine`. */
  constructor(parts: EngineParts) {
    const { dir, disk, tree, memory, runner, wal, options } = parts;
    this.dir = dir;
    this.options = tree;
    this.memory = memory;
    this.#wal = wal;
    this.#lock = parts.lock;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#queueBytesMax = options.queueBytesMax ?? 256 * MIB;
    this.#keeper = Keeper.open(memory, {
      disk,
      dir,
      options: tree,
      runner,
      floor: () => this.#reader.visible,
      expiredBeforeMs: () => this.timeMs(),
      durable: async (revision) => {
        if (this.#wal.durableIndex < revision) await this.#wal.flush();
      },
      reserveBytes: options.reserveBytes ?? (disk === nodeDisk ? 16 * MIB : 0),
      later: (delayMs, work) => {
        const timer = setTimeout(work, delayMs);
        timer.unref();
        return { cancel: () => clearTimeout(timer) };
      },
      onChange: () => this.#changed(),
      ...(options.log === undefined ? {} : { log: options.log }),
    });
    if (options.autoCompact === false) this.#keeper.pauseCompaction();
    this.#reader = new TreeReader(memory, {
      disk,
      dir,
      options: tree,
      defer: (work) => setImmediate(work),
      nowMs: () => this.timeMs(),
    });
    this.#writer = new TreeWriter(memory, tree.memtableBytes);
    this.#stall = new Stall(tree, () => ({
      frozen: this.#keeper.frozen,
      // Where nobody compacts, nobody need be waited for.
      level0: options.autoCompact === false ? 0 : (this.#keeper.version.levels[0]?.length ?? 0),
      canFreeze: this.#writer.canFreeze,
    }));
    this.#applier = new Applier({
      keeper: this.#keeper,
      reader: this.#reader,
      writer: this.#writer,
      stall: this.#stall,
      check: () => this.#checkRunning(),
    });
    void this.#keeper.failed.then((failure) => this.#fail(failure));
  }

  /** Replays what the log has and the tables have not. */
  async recover(): Promise<void> {
    await replay(this.#wal, this.#keeper.flushedRevision, {
      time: (timeMs) => {
        this.#timeMs = Math.max(this.#timeMs, timeMs);
      },
      apply: async (index, bytes) => {
        await this.#applier.apply(index, bytes);
        this.#writer.publish(index);
      },
    });
    this.#keeper.poke();
  }

  // ── writing ───────────────────────────────────────────────────────────────────────────────────────────────

  batch(): Batch {
    return new Batch(this.options.batchBytesMax);
  }

  /** Writes a batch, whole or not at all. Resolves with its revision when it is durable and can be read. */
  write(batch: Batch, options: WriteOptions = {}): Promise<number> {
    try {
      this.#checkWritable(batch);
    } catch (error) {
      return Promise.reject(asError(error));
    }
    if (batch.count === 0) return Promise.resolve(this.#reader.visible);
    const isSynced = options.sync !== false;
    const bytes = batch.stamped(this.timeMs()).slice();
    const written = new Promise<number>((resolve, reject) => {
      try {
        const { index, durable } = this.#append(bytes, isSynced, batch.isDeletesOnly);
        this.#queue.push({ index, bytes, isSynced, written: durable, resolve, reject });
        this.#queueBytes += bytes.length;
        this.#pumping ??= this.#pump();
      } catch (error) {
        reject(asError(error));
      }
    });
    this.#lastWrite = written;
    return written;
  }

  /** A full disk refuses a put before it is in the log. A delete gets the room that was kept for it. */
  #append(bytes: Uint8Array, sync: boolean, isDelete: boolean): Appended {
    try {
      return this.#wal.append(bytes, { sync });
    } catch (error) {
      if (!isFullDisk(error) || this.#wal.failure !== undefined) throw error;
      const hasRoom = this.#keeper.logFull(asError(error));
      if (!hasRoom || !isDelete) throw storeFull();
      return this.#wal.append(bytes, { sync });
    }
  }

  put(
    key: Uint8Array,
    value: Uint8Array,
    options: WriteOptions & { readonly expiryMs?: number } = {},
  ): Promise<number> {
    return this.#writeOne((batch) => batch.put(key, value, options.expiryMs ?? 0), options);
  }

  delete(key: Uint8Array, options?: WriteOptions): Promise<number> {
    return this.#writeOne((batch) => batch.delete(key), options);
  }

  deleteRange(from: Uint8Array, to: Uint8Array | undefined, options?: WriteOptions): Promise<number> {
    return this.#writeOne((batch) => batch.deleteRange(from, to), options);
  }

  #writeOne(fill: (batch: Batch) => Batch, options?: WriteOptions): Promise<number> {
    try {
      return this.write(fill(this.batch()), options);
    } catch (error) {
      return Promise.reject(asError(error));
    }
  }

  #checkWritable(batch: Batch): void {
    this.#checkOpen();
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#keeper.isFull && !batch.isDeletesOnly) throw storeFull();
    if (this.#queueBytes + batch.bytes > this.#queueBytesMax && this.#queue.length > 0) {
      throw new StoreError('OVERLOADED', `writes of ${this.#queueBytesMax} bytes wait already`, {
        data: { limit: this.#queueBytesMax, size: this.#queueBytes + batch.bytes },
      });
    }
  }

  /** Takes groups of batches through log and memtable until none is left. */
  async #pump(): Promise<void> {
    // What is written in this turn of the event loop is one group.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const group = this.#queue;
      this.#queue = [];
      try {
        // Behind a batch that was applied in part nothing may become visible.
        this.#checkRunning();
        await this.#logged(group);
        for (const { index, bytes, resolve } of group) {
          const applied = this.#applier.apply(index, bytes);
          if (applied !== undefined) await applied;
          this.#writer.publish(index);
          resolve(index);
        }
      } catch (error) {
        this.#fail(error);
        const failure = must(this.#failure, 'a failed group has a reason');
        // Those that are visible were told so.
        for (const pending of group) pending.reject(failure);
      }
      for (const { bytes } of group) this.#queueBytes -= bytes.length;
    }
    this.#pumping = undefined;
    this.#flushDeletes();
  }

  #logged(group: readonly Pending[]): Promise<unknown> {
    const last = must(group.at(-1), 'a group has batches');
    // What is written later is synced no earlier: the last one that asks for a sync is enough for all before it.
    const lastSynced = group.findLast((pending) => pending.isSynced);
    return lastSynced === undefined || lastSynced === last
      ? last.written
      : Promise.all([last.written, lastSynced.written]);
  }

  #checkRunning(): void {
    if (this.#failure !== undefined) throw this.#failure;
    // A store that closes takes what waits to its end, unless that is not in its hands.
    if (this.#hasEnded || (this.#closing !== undefined && this.#keeper.isFull)) throw closed();
  }

  #changed(): void {
    this.#applier.wake();
    const { flushedRevision } = this.#keeper;
    if (this.#failure !== undefined || this.#closing !== undefined) return;
    this.#reader.refresh();
    this.#flushDeletes();
    if (flushedRevision === 0) return;
    this.#wal.watermark(CONSUMER, toIndex(flushedRevision));
    this.#wal.truncate().catch((error: unknown) => {
      if (!isFullDisk(error)) this.#fail(error);
    });
  }

  /** On a full disk the memtable holds what makes room, and nothing may come to fill it. */
  #flushDeletes(): void {
    const writer = this.#writer;
    if (!this.#keeper.isFull || this.#pumping !== undefined || this.#keeper.frozen > 0) return;
    if (writer.removals === 0 || !writer.canFreeze) return;
    writer.freeze();
    this.#keeper.poke();
  }

  #fail(error: unknown): void {
    const cause = asError(error);
    this.#failure ??=
      error instanceof StoreError
        ? error
        : new StoreError('INTERNAL', `the store stopped: ${cause.message}`, { cause });
    this.#applier.wake();
  }

  // ── reading ───────────────────────────────────────────────────────────────────────────────────────────────

  /** The newest revision that can be read. */
  get revision(): number {
    return this.#reader.visible;
  }

  /** The store's time in ms: the clock's, but it never goes back. */
  timeMs(): number {
    const nowMs = this.#nowMs();
    if (nowMs > this.#timeMs) this.#timeMs = nowMs;
    return this.#timeMs;
  }

  /** A copy of the value, or undefined. */
  getSync(key: Uint8Array, options: ReadOptions = {}): Uint8Array | undefined {
    return this.entrySync(key, options)?.value;
  }

  /** The value with its revision and expiry. */
  entrySync(
    key: Uint8Array,
    { snapshot }: ReadOptions = {},
  ): { readonly value: Uint8Array; readonly revision: number; readonly expiryMs: number } | undefined {
    this.#checkOpen();
    return snapshot === undefined ? this.#reader.get(key) : this.#reader.getAt(key, snapshot.revision, snapshot.nowMs);
  }

  /** A cursor over what is visible now, or in a snapshot. Close it. */
  cursor({ snapshot, ...bounds }: RangeOptions = {}): TreeCursor {
    this.#checkOpen();
    if (snapshot === undefined) return this.#reader.cursor(bounds);
    return this.#reader.cursorAt(bounds, snapshot.revision, snapshot.nowMs);
  }

  /** All entries of a range, at most `limit`. */
  rangeSync(options: RangeOptions & { readonly limit?: number } = {}): TreeEntry[] {
    const { limit = Number.POSITIVE_INFINITY, ...range } = options;
    const cursor = this.cursor(range);
    try {
      const entries: TreeEntry[] = [];
      while (entries.length < limit) {
        const entry = cursor.next();
        if (entry === undefined) break;
        entries.push(entry);
      }
      return entries;
    } finally {
      cursor.close();
    }
  }

  /** What is visible now, for as long as it is not released. */
  snapshot(): TreeSnapshot {
    this.#checkOpen();
    return this.#reader.snapshot();
  }

  // ── upkeep ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Writes the memtable to a table. Resolves when everything visible now is in tables. */
  async flush(): Promise<void> {
    this.#checkOpen();
    // Not until none waits: under writes without a pause one always does.
    await this.#lastWrite.catch(() => undefined);
    this.#checkRunning();
    if (this.#writer.usedBytes > 0) await this.#applier.nextMemtable();
    await this.#keeper.flushed();
  }

  /** Flushes, and merges everything into the last level. */
  async compact(): Promise<void> {
    await this.flush();
    await this.#keeper.compactAll();
  }

  /** Resolves when the background has nothing to do. */
  async settled(): Promise<void> {
    this.#checkOpen();
    await this.#keeper.settled();
  }

  /**
   * A consistent copy in `dir` (which must not exist), of everything visible when it was called: hard links, in
   * LevelDB's format. Writes go on meanwhile.
   */
  async checkpoint(dir: string): Promise<void> {
    // Half a batch is no state that ever was, and its revision would be given again by whoever goes on from the copy.
    do await this.flush();
    while (this.#keeper.isMidBatch);
    this.#keeper.checkpoint(dir);
  }

  stats(): EngineStats {
    return {
      revision: this.#reader.visible,
      flushedRevision: this.#keeper.flushedRevision,
      memtableBytes: this.#writer.usedBytes,
      tree: this.#keeper.inspect(),
      cache: { ...this.#reader.cache.stats },
      stall: this.#stall.stats(),
      walSyncs: this.#wal.syncs,
    };
  }

  /** Why the store takes no more writes, once it does not. */
  get failure(): StoreError | undefined {
    return this.#failure;
  }

  /** Ends in order; what was resolved stays, what waits is taken to its end. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.#pumping;
      this.#hasEnded = true;
      await this.#keeper.close();
      this.#reader.close();
      await this.#wal.close();
    } finally {
      await this.#lock?.release();
    }
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw closed();
  }
}

const closed = (): StoreError => new StoreError('CLOSED', 'the store is closed');
