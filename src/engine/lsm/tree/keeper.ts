/**
 * Keeper: the one owner of a tree's files. It keeps the manifest, publishes versions, and decides what is flushed,
 * compacted and removed; the work itself is done by jobs (job.ts), elsewhere.
 *
 *   frozen generation ─▶ flush job ───────▶ edit ─┐
 *   picker            ─▶ compaction job ──▶ edit ─┴▶ manifest (synced) ─▶ version published ─▶ old files removed
 *
 * One flush and one compaction may run at a time; flushes go in the order of their generations.
 *
 * Invariants:
 *  - a table and its name are synced before the manifest names it; the manifest is synced before anybody reads by it,
 *    and before what it replaces goes (P5);
 *  - a file is removed only when no version that names it is current or held by a reader;
 *  - the flushed revision is the last of the newest flushed generation: what is behind it is in the tables.
 *
 * Failures: a full disk (STORE_FULL) is waited out; writes are refused meanwhile, and a file kept in reserve is given
 * up so that deletes and compaction have room to free more (P8). Everything else (damage in an input, a failed sync)
 * ends the keeper: `failed` tells, and nothing is guessed.
 */
import { must } from '../../../core/base/assert.ts';
import { isStoreError, StoreError } from '../../../core/base/errors.ts';
import { Manifest } from '../manifest/manifest.ts';
import { manifestName, tableName } from '../manifest/file-names.ts';
import { removeStale } from '../manifest/stale-files.ts';
import type { VersionEdit as ManifestEdit } from '../manifest/version-edit.ts';
import { writeCheckpoint } from '../manifest/checkpoint.ts';
import { Control } from '../shared/control.ts';
import { isFullDisk, storeFull, treeFailure } from './full-disk.ts';
import { Horizon } from './horizon.ts';
import { type CompactionJob, type FlushJob, type JobBase, shapeOf } from './job.ts';
import type { TreeMemory } from './memory.ts';
import {
  type CompactionPlan,
  debtBytes,
  levelOfFlushed,
  outputTablesMax,
  pickCompaction,
  planLevel,
  rangesBelow,
} from './picker.ts';
import { type KeeperStats, type KeeperWorld, noStats, removeFile, type TreeFacts } from './keeper-world.ts';
import { Published } from './published.ts';
import { Room } from './room.ts';
import { readTableRefs } from './table-refs.ts';
import { BOTTOM, type TableRef, Version, type VersionEdit } from './version.ts';

const RETRY_HELD_MS = 200;

export class Keeper {
  readonly #world: KeeperWorld;
  readonly #control: Control;
  readonly #horizon: Horizon;
  readonly #manifest: Manifest;
  readonly #room: Room;
  readonly #published: Published;
  #flush: Promise<void> | undefined;
  #compaction: Promise<void> | undefined;
  #running: CompactionPlan | undefined;
  #held: { cancel(): void } | undefined;
  #pauses = 0;
  #isClosed = false;
  #failure: StoreError | undefined;
  readonly failed: Promise<StoreError>;
  #tellFailed: (failure: StoreError) => void = () => {};
  #waiters: (() => void)[] = [];
  readonly stats: KeeperStats = noStats();

  private constructor(memory: TreeMemory, world: KeeperWorld, manifest: Manifest) {
    this.#world = world;
    this.#control = new Control(memory.control);
    this.#horizon = new Horizon(memory, this.#control, world);
    this.#manifest = manifest;
    this.#room = new Room(world, () => this.poke());
    const version = new Version(readTableRefs(world.disk, world.dir, manifest.state));
    this.#published = new Published(memory, this.#control, version);
    this.failed = new Promise((resolve) => {
      this.#tellFailed = resolve;
    });
  }

  /** Opens the tree in `dir`, or makes one. Throws TABLE_CORRUPT, STORE_FULL, DISK_FAILED. */
  static open(memory: TreeMemory, world: KeeperWorld): Keeper {
    const { disk, dir } = world;
    const manifest = Manifest.recover(disk, dir)?.manifest ?? Manifest.create(disk, dir);
    try {
      const keeper = new Keeper(memory, world, manifest);
      keeper.#begin();
      return keeper;
    } catch (error) {
      manifest.close();
      throw error;
    }
  }

  #begin(): void {
    const { disk, dir } = this.#world;
    const tables = new Set([...this.version.tables()].map(({ table }) => table.number));
    removeStale(disk, dir, { tables, manifest: must(this.#manifest.fileNumber, 'the manifest is open') });
    // What is flushed is what there is; of the time before nobody knows what compactions have dropped.
    this.#control.visible = this.flushedRevision;
    this.#horizon.begin(this.flushedRevision);
    this.#control.activeGeneration = 1;
    this.#room.makeReserve();
    this.#published.publish();
  }

  /** Everything up to it is in tables, durably. */
  get flushedRevision(): number {
    return this.#manifest.state.lastSequence;
  }

  get flushedGeneration(): number {
    return this.#published.flushedGeneration;
  }

  get version(): Version {
    return this.#published.version;
  }

  get failure(): StoreError | undefined {
    return this.#failure;
  }

  /** The disk is full: puts are refused until there is room. */
  get isFull(): boolean {
    return this.#room.isFull;
  }

  get isIdle(): boolean {
    return (this.#flush ?? this.#compaction) === undefined;
  }

  /** Frozen memtables that are not in tables yet. */
  get frozen(): number {
    return this.#control.activeGeneration - 1 - this.flushedGeneration;
  }

  // ── the loop ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Something may be to do: a memtable was frozen, a job is done, time has passed. Starts what can be started. */
  poke(): void {
    if (this.#isClosed || this.#failure !== undefined) return;
    this.#removeLeaving();
    this.#startFlush();
    this.#startCompaction();
    this.#lookForRoom();
    this.#tellStall();
  }

  /** No compaction is begun until it is resumed as often as it was paused. A running one goes on. */
  pauseCompaction(): void {
    this.#pauses++;
  }

  resumeCompaction(): void {
    this.#pauses--;
    this.poke();
  }

  /** Resolves when every memtable that is frozen now is in tables; throws what stands against it. */
  flushed(): Promise<void> {
    // Not "when none is frozen": under writes without a pause there always is one.
    const generation = this.#control.activeGeneration - 1;
    return this.#until(() => this.flushedGeneration >= generation);
  }

  /** A table holds the first part of a batch that goes on in a memtable. */
  get isMidBatch(): boolean {
    for (const { table } of this.version.tables()) if (table.largestRevision > this.flushedRevision) return true;
    return false;
  }

  /** Resolves when there is nothing to flush or compact. */
  settled(): Promise<void> {
    return this.#until(() => this.isIdle && this.frozen === 0 && (this.#pauses > 0 || this.#pick() === undefined));
  }

  /** Merges everything that is there now into the last level. */
  async compactAll(): Promise<void> {
    await this.flushed();
    this.pauseCompaction();
    try {
      // Each level once, from the top: what is flushed meanwhile is not waited for.
      for (let level = 0; level < BOTTOM; ) {
        await this.#until(() => this.#compaction === undefined);
        // Of two who waited, one is first.
        if (this.#compaction !== undefined) continue;
        const plan = planLevel(this.version, this.#world.options, level++);
        if (plan !== undefined) await this.#beginCompaction(plan);
        if (this.isFull) throw storeFull();
        if (this.#isClosed) throw new StoreError('CLOSED', 'the store is closed');
      }
    } finally {
      this.resumeCompaction();
    }
  }

  async #until(isDone: () => boolean): Promise<void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (isDone()) return;
      if (this.#isClosed) throw new StoreError('CLOSED', 'the store is closed');
      if (this.isFull) throw storeFull();
      const changed = new Promise<void>((resolve) => {
        this.#waiters.push(resolve);
      });
      this.poke();
      await changed;
    }
  }

  #changed(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
    this.#world.onChange?.();
  }

  // ── flush ─────────────────────────────────────────────────────────────────────────────────────────────────

  #startFlush(): void {
    const generation = this.flushedGeneration + 1;
    if (this.#flush !== undefined || generation >= this.#control.activeGeneration) return;
    if (this.#room.keepsJobsWaiting) return;
    const { options, rowsOf } = this.#world;
    const rows = rowsOf === undefined ? [] : rowsOf(generation);
    if (rows === undefined) return;
    this.#flush = this.#guarded(async () => {
      const revision = this.#published.generations.lastRevision(generation);
      const { risingByte } = options;
      const job: FlushJob = { kind: 'flush', generation, rows, revision, risingByte, ...this.#jobBase(3, revision) };
      const result = await this.#world.runner.run(job);
      try {
        // A batch that goes on in the next memtable is in the table in part: the log must have all of it.
        await this.#world.durable?.(Math.max(revision, ...result.added.map((table) => table.largestRevision)));
      } catch (error) {
        this.#discard(result.added);
        throw error;
      }
      const around = { version: this.version, options, running: this.#running };
      const added = result.added.map((table) => ({ level: levelOfFlushed(table, around), table }));
      this.#apply({ added, removed: [] }, { generation, revision });
      this.stats.flushes++;
      this.stats.flushedBytes += result.writtenBytes;
    }).finally(() => {
      this.#flush = undefined;
      this.#changed();
      this.poke();
    });
  }

  // ── compaction ────────────────────────────────────────────────────────────────────────────────────────────

  #startCompaction(): void {
    if (this.#compaction !== undefined || this.#pauses > 0) return;
    if (this.#room.keepsJobsWaiting) return;
    const plan = this.#pick();
    if (plan !== undefined) void this.#beginCompaction(plan);
  }

  #beginCompaction(plan: CompactionPlan): Promise<void> {
    this.#running = plan;
    this.#compaction = this.#runCompaction(plan).finally(() => {
      this.#compaction = undefined;
      this.#running = undefined;
      this.#changed();
      this.poke();
    });
    return this.#compaction;
  }

  #pick(): CompactionPlan | undefined {
    const { options, trims = () => [] } = this.#world;
    return pickCompaction({
      version: this.version,
      options,
      trims: trims(),
      expiredBeforeMs: this.#horizon.expiredBeforeMs(),
      floor: this.#horizon.settledRevision(this.flushedRevision),
      isFull: this.isFull,
    });
  }

  #runCompaction(plan: CompactionPlan): Promise<void> {
    return this.#guarded(async () => {
      const removed = plan.inputs.map(({ level, table }) => ({ level, number: table.number }));
      if (plan.reason === 'trim') {
        this.#apply({ added: [], removed });
        return;
      }
      if (plan.isMove) {
        const { table } = must(plan.inputs[0], 'a move has its table');
        this.#apply({ added: [{ level: plan.outputLevel, table }], removed });
        this.stats.moves++;
        return;
      }
      const result = await this.#world.runner.run(this.#compactionJob(plan));
      this.#apply({ added: result.added.map((table) => ({ level: plan.outputLevel, table })), removed });
      this.stats.compactions++;
      this.stats.readBytes += result.readBytes;
      this.stats.compactedBytes += result.writtenBytes;
      const { reason, level, outputLevel } = plan;
      this.#world.log?.('debug', 'tree.compacted', { reason, level, outputLevel, entriesOut: result.entriesOut });
    });
  }

  #compactionJob(plan: CompactionPlan): CompactionJob {
    const { options } = this.#world;
    return {
      kind: 'compaction',
      inputs: plan.inputs,
      outputLevel: plan.outputLevel,
      deeper: rangesBelow(this.version, plan),
      bytesPerSecond: options.compactionBytesPerSecond,
      ...this.#jobBase(outputTablesMax(plan, options), this.flushedRevision),
    };
  }

  /** `flushedRevision`: what is flushed once the job is done. */
  #jobBase(count: number, flushedRevision: number): JobBase {
    const { dir, options } = this.#world;
    const first = this.#manifest.takeFileNumber();
    for (let i = 1; i < count; i++) this.#manifest.takeFileNumber();
    return { dir, shape: shapeOf(options), rules: this.#horizon.rules(flushedRevision), numbers: { first, count } };
  }

  /** Writes the edit, and then lets everybody read by it. */
  #apply(edit: VersionEdit, flushed?: { readonly generation: number; readonly revision: number }): void {
    const version = this.version.apply(edit);
    const record: ManifestEdit = {
      deletedFiles: edit.removed,
      newFiles: edit.added.map(({ level, table }) => ({ level, file: table })),
      ...(flushed === undefined ? {} : { lastSequence: flushed.revision }),
    };
    const { fileNumber } = this.#manifest;
    try {
      this.#manifest.append(record);
    } catch (error) {
      const had = new Set(edit.removed.map(({ number }) => number));
      this.#discard(edit.added.map(({ table }) => table).filter(({ number }) => !had.has(number)));
      throw error;
    }
    // Its successor is in force: a CURRENT that rots into the old name must not find it.
    if (fileNumber !== undefined && fileNumber !== this.#manifest.fileNumber) this.#remove(manifestName(fileNumber));
    this.#published.replace(version, edit, flushed?.generation);
    this.#removeLeaving();
    if (this.isFull) this.#room.makeReserve();
  }

  #removeLeaving(): void {
    if (this.#published.removeLeaving((table) => this.#remove(tableName(table))) || this.#isClosed) return;
    this.#held ??= this.#world.later(RETRY_HELD_MS, () => {
      this.#held = undefined;
      this.poke();
    });
  }

  /** Removes tables that no version came to name. Those of an edit that the manifest may hold all the same stay. */
  #discard(tables: readonly TableRef[]): void {
    if (this.#manifest.failure !== undefined) return;
    for (const { number } of tables) this.#remove(tableName(number));
  }

  #remove(name: string): void {
    removeFile(this.#world, name);
  }

  #tellStall(): void {
    this.#control.setGauge('frozenMemtables', this.frozen);
    this.#control.setGauge('level0Tables', (this.version.levels[0] as readonly TableRef[]).length);
    this.#control.setGauge('debtBytes', debtBytes(this.version, this.#world.options));
  }

  /** Runs work of the background: a full disk is waited out, anything else is the end. */
  #guarded(work: () => Promise<void>): Promise<void> {
    const waitOut = (error: unknown): void => this.#waitOut(error);
    return work()
      .catch(waitOut)
      .catch((failure: unknown) => this.#fail(failure));
  }

  #waitOut(error: unknown): void {
    if (this.#isClosed && isStoreError(error, 'CLOSED')) return;
    if (!isFullDisk(error) || this.#manifest.failure !== undefined) throw error;
    this.#room.jobFailed(error as Error);
  }

  /** The log found no room: puts are refused until there is some again. True when the reserve has given it some. */
  logFull(error: Error, awayMs?: number): boolean {
    return this.#room.logFailed(error, awayMs);
  }

  #fail(error: unknown): void {
    this.#failure ??= treeFailure(this.#world.dir, error);
    this.#tellFailed(this.#failure);
    this.#changed();
  }

  /** The room may have come from elsewhere. (While a job is tried the reserve stays given up: its room is for the job.) */
  #lookForRoom(): void {
    if (!this.isIdle) return;
    try {
      if (this.#room.isBack()) this.#changed();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** A copy of what is flushed, as hard links, in a directory of its own that any LevelDB opens. */
  checkpoint(toDir: string): void {
    writeCheckpoint(this.#world.disk, this.#world.dir, toDir, this.#manifest.state);
  }

  /** Ends what runs; what was not made durable is made again by the next replay. May be called twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#held?.cancel();
    this.#room.close();
    await this.#world.runner.close();
    await Promise.all([this.#flush, this.#compaction]);
    this.#changed();
    this.#manifest.close();
  }

  inspect(): TreeFacts {
    return {
      tables: this.version.levels.map((tables) => tables.length),
      bytes: this.version.levels.map((_, level) => this.version.bytesOf(level)),
      flushedRevision: this.flushedRevision,
      frozen: this.frozen,
      leaving: this.#published.leaving,
      isFull: this.isFull,
      ...this.stats,
    };
  }
}
