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
import { assert, must } from '../../../core/base/assert.ts';
import type { Disk } from '../../../core/base/env.ts';
import { isStoreError, StoreError } from '../../../core/base/errors.ts';
import { Manifest } from '../manifest/manifest.ts';
import { tableName } from '../manifest/file-names.ts';
import { removeStale } from '../manifest/stale-files.ts';
import type { VersionEdit as ManifestEdit } from '../manifest/version-edit.ts';
import { writeCheckpoint } from '../manifest/checkpoint.ts';
import { Control } from '../shared/control.ts';
import { Pins } from '../shared/pins.ts';
import { Snapshots } from '../shared/snapshots.ts';
import { VersionBoard } from '../shared/version-board.ts';
import { encodeVersion } from '../shared/version-codec.ts';
import { Generations } from './generations.ts';
import type { CompactionJob, FlushJob, Job, JobResult, TableShape } from './job.ts';
import type { TreeMemory } from './memory.ts';
import type { TreeOptions } from './options.ts';
import {
  type CompactionPlan,
  levelTargets,
  pickCompaction,
  planDown,
  planLevel0,
  rangeOf,
  scores,
  type Trim,
} from './picker.ts';
import { Reserve } from './reserve.ts';
import { readTableRefs } from './table-refs.ts';
import type { RetentionRules } from './retention.ts';
import type { Row } from './rows-cursor.ts';
import { BOTTOM, type TableRef, userKey, Version, type VersionEdit } from './version.ts';

/** Runs jobs: in a pool of threads, or here. */
export interface JobRunner {
  run(job: Job): Promise<JobResult>;
  /** Ends the jobs that run (they reject with CLOSED) and takes no more. */
  close(): Promise<void>;
}

export interface KeeperWorld {
  readonly disk: Disk;
  readonly dir: string;
  readonly options: TreeOptions;
  readonly runner: JobRunner;
  /** Rows to be flushed with a generation; undefined: not known yet. */
  readonly rowsOf?: (generation: number) => readonly Row[] | undefined;
  /** The revision up to which superseded versions may go; what is visible when nobody reads the past. */
  readonly floor: () => number;
  readonly trims?: () => readonly Trim[];
  /** Resolves when the log holds everything up to `revision` durably: before a table does without it. */
  readonly durable?: (revision: number) => Promise<void>;
  /** Values that expired by then are expired for every reader; 0: the tree purges none. */
  readonly expiredBeforeMs?: () => number;
  /** Given up when the disk is full, so that there is room to free some; 0: none is kept. */
  readonly reserveBytes?: number;
  /** Calls back in a while; the keeper waits so for a full disk, and for readers to let go. */
  readonly later: (delayMs: number, work: () => void) => { cancel(): void };
  readonly onChange?: () => void;
  readonly log?: (level: 'debug' | 'info' | 'warn', event: string, fields: Record<string, unknown>) => void;
}

export interface KeeperStats {
  flushes: number;
  compactions: number;
  moves: number;
  flushedBytes: number;
  compactedBytes: number;
  readBytes: number;
}

interface Leaving {
  readonly number: number;
  readonly goneIn: number;
}

const RETRY_FULL_MS = 500;
const RETRY_HELD_MS = 200;
/** A compaction gets numbers for about twice the tables it should make. */
const SPARE_NUMBERS = 64;

export class Keeper {
  readonly #world: KeeperWorld;
  readonly #control: Control;
  readonly #pins: Pins;
  readonly #snapshots: Snapshots;
  readonly #board: VersionBoard;
  readonly #generations: Generations;
  readonly #manifest: Manifest;
  readonly #reserve: Reserve;
  #version: Version;
  #number = 0;
  #flushedGeneration = 0;
  #leaving: Leaving[] = [];
  #flush: Promise<void> | undefined;
  #compaction: Promise<void> | undefined;
  #timer: { cancel(): void } | undefined;
  #isFull = false;
  #pauses = 0;
  #isClosed = false;
  #failure: StoreError | undefined;
  readonly failed: Promise<StoreError>;
  #tellFailed: (failure: StoreError) => void = () => {};
  #waiters: (() => void)[] = [];
  readonly stats: KeeperStats = {
    flushes: 0,
    compactions: 0,
    moves: 0,
    flushedBytes: 0,
    compactedBytes: 0,
    readBytes: 0,
  };

  private constructor(memory: TreeMemory, world: KeeperWorld, manifest: Manifest) {
    this.#world = world;
    this.#control = new Control(memory.control);
    this.#pins = new Pins(memory.pins, this.#control);
    this.#snapshots = new Snapshots(memory.snapshots, this.#control);
    this.#board = new VersionBoard(memory.versions);
    this.#generations = new Generations(memory.generations);
    this.#manifest = manifest;
    this.#reserve = new Reserve(world.disk, world.dir, world.reserveBytes ?? 0);
    this.#version = new Version(readTableRefs(world.disk, world.dir, manifest.state));
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
    const tables = new Set([...this.#version.tables()].map(({ table }) => table.number));
    removeStale(disk, dir, { tables, manifest: must(this.#manifest.fileNumber, 'the manifest is open') });
    // What is flushed is what there is; of the time before nobody knows what compactions have dropped.
    this.#control.visible = this.flushedRevision;
    this.#snapshots.raiseFloor(this.flushedRevision);
    this.#control.activeGeneration = 1;
    this.#isFull = !this.#reserve.make();
    this.#publish();
  }

  /** Everything up to it is in tables, durably. */
  get flushedRevision(): number {
    return this.#manifest.state.lastSequence;
  }

  get flushedGeneration(): number {
    return this.#flushedGeneration;
  }

  get version(): Version {
    return this.#version;
  }

  get failure(): StoreError | undefined {
    return this.#failure;
  }

  /** The disk is full: puts are refused until there is room. */
  get isFull(): boolean {
    return this.#isFull;
  }

  get isIdle(): boolean {
    return this.#flush === undefined && this.#compaction === undefined;
  }

  /** Frozen memtables that are not in tables yet. */
  get frozen(): number {
    return this.#control.activeGeneration - 1 - this.#flushedGeneration;
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

  /** Resolves when every frozen memtable is in tables; throws what stands against it. */
  async flushed(): Promise<void> {
    await this.#until(() => this.frozen === 0);
  }

  /** Resolves when there is nothing to flush or compact. */
  async settled(): Promise<void> {
    await this.#until(() => this.isIdle && this.frozen === 0 && (this.#pauses > 0 || this.#pick() === undefined));
  }

  /** Merges everything into the last level. */
  async compactAll(): Promise<void> {
    await this.flushed();
    this.pauseCompaction();
    try {
      for (;;) {
        await this.#until(() => this.#compaction === undefined);
        // Of two who waited, one is first.
        if (this.#compaction !== undefined) continue;
        const plan = this.#planAll();
        if (plan === undefined) return;
        await this.#beginCompaction(plan);
        if (this.#isFull) throw storeFull();
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
      if (this.#isFull) throw storeFull();
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
    const generation = this.#flushedGeneration + 1;
    if (this.#flush !== undefined || generation >= this.#control.activeGeneration) return;
    if (this.#timer !== undefined && this.#isFull) return;
    const { rowsOf = () => [] } = this.#world;
    const rows = rowsOf(generation);
    if (rows === undefined) return;
    this.#flush = this.#guarded(async () => {
      const revision = this.#generations.lastRevision(generation);
      const job: FlushJob = { kind: 'flush', generation, rows, revision, ...this.#jobBase(1, revision) };
      const result = await this.#world.runner.run(job);
      try {
        // A batch that goes on in the next memtable is in the table in part: the log must have all of it.
        await this.#world.durable?.(Math.max(revision, ...result.added.map((table) => table.largestRevision)));
      } catch (error) {
        this.#discard(result.added);
        throw error;
      }
      this.#apply({ added: result.added.map((table) => ({ level: 0, table })), removed: [] }, { generation, revision });
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
    if (this.#timer !== undefined && this.#isFull) return;
    const plan = this.#pick();
    if (plan !== undefined) void this.#beginCompaction(plan);
  }

  #beginCompaction(plan: CompactionPlan): Promise<void> {
    this.#compaction = this.#runCompaction(plan).finally(() => {
      this.#compaction = undefined;
      this.#changed();
      this.poke();
    });
    return this.#compaction;
  }

  #pick(): CompactionPlan | undefined {
    const { options, trims = () => [] } = this.#world;
    const oldestSnapshot = this.#raiseFloor()[0] ?? Number.POSITIVE_INFINITY;
    return pickCompaction({
      version: this.#version,
      options,
      trims: trims(),
      expiredBeforeMs: this.#expiredBeforeMs(),
      // Not above what a reader could still want: a purge must find what it is meant to drop.
      floor: Math.min(this.#control.floor, this.flushedRevision, oldestSnapshot),
    });
  }

  #planAll(): CompactionPlan | undefined {
    const { levels } = this.#version;
    const level = levels.findIndex((tables, at) => at < BOTTOM && tables.length > 0);
    if (level === -1) return undefined;
    if (level === 0) return planLevel0(this.#version, levelTargets(this.#version, this.#world.options).base, 'manual');
    return planDown(this.#version, level, levels[level] as readonly TableRef[], 'manual');
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
      this.#world.log?.('debug', 'tree.compacted', {
        reason: plan.reason,
        level: plan.level,
        outputLevel: plan.outputLevel,
        tablesIn: plan.inputs.length,
        tablesOut: result.added.length,
        entriesIn: result.entriesIn,
        entriesOut: result.entriesOut,
      });
    });
  }

  #compactionJob(plan: CompactionPlan): CompactionJob {
    const { options } = this.#world;
    let bytes = 0;
    for (const { table } of plan.inputs) bytes += table.fileBytes;
    const [from, to] = rangeOf(plan.inputs.map((input) => input.table));
    const deeper: CompactionJob['deeper'] = this.#version.levels
      .slice(plan.outputLevel + 1)
      .map((_, i) =>
        this.#version
          .overlapping(plan.outputLevel + 1 + i, from, to)
          .map((table) => ({ from: userKey(table.smallest), to: userKey(table.largest) })),
      )
      .filter((ranges) => ranges.length > 0);
    return {
      kind: 'compaction',
      inputs: plan.inputs,
      outputLevel: plan.outputLevel,
      deeper,
      bytesPerSecond: options.compactionBytesPerSecond,
      ...this.#jobBase(Math.ceil(bytes / options.tableBytes) * 2 + SPARE_NUMBERS, this.flushedRevision),
    };
  }

  /**
   * `flushedRevision`: what is flushed once the job is done. Above it a table may hold the first part of a batch; what
   * that part supersedes is still what there is, until the rest is flushed as well.
   */
  #jobBase(
    count: number,
    flushedRevision: number,
  ): {
    dir: string;
    shape: TableShape;
    rules: RetentionRules;
    numbers: { first: number; count: number };
  } {
    const { dir, options, trims = () => [] } = this.#world;
    const first = this.#manifest.takeFileNumber();
    for (let i = 1; i < count; i++) this.#manifest.takeFileNumber();
    // The floor first: a snapshot taken from now on sees it, and one taken before is in the list.
    const snapshots = this.#raiseFloor();
    const rules: RetentionRules = {
      floor: Math.min(this.#control.floor, flushedRevision),
      snapshots,
      expiredBeforeMs: this.#expiredBeforeMs(),
      trims: trims(),
    };
    const { blockBytes, restartInterval, bloomBitsPerKey, compression, tableBytes, cutPrefixBytes } = options;
    const shape = { blockBytes, restartInterval, bloomBitsPerKey, compression, tableBytes, cutPrefixBytes };
    return { dir, shape, rules, numbers: { first, count } };
  }

  /** Whoever holds a snapshot may live in the time when he took it; who comes later lives in a later one. */
  #expiredBeforeMs(): number {
    if (this.#snapshots.isAnyHeld()) return 0;
    return this.#world.expiredBeforeMs?.() ?? 0;
  }

  /** Revisions below the floor that snapshots hold, rising. */
  #raiseFloor(): number[] {
    return this.#snapshots.raiseFloor(Math.min(this.#world.floor(), this.#control.visible));
  }

  // ── versions ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Writes the edit, and then lets everybody read by it. */
  #apply(edit: VersionEdit, flushed?: { readonly generation: number; readonly revision: number }): void {
    const version = this.#version.apply(edit);
    const record: ManifestEdit = {
      deletedFiles: edit.removed,
      newFiles: edit.added.map(({ level, table }) => ({ level, file: table })),
      ...(flushed === undefined ? {} : { lastSequence: flushed.revision }),
    };
    const stays = new Set(edit.added.map(({ table }) => table.number));
    try {
      this.#manifest.append(record);
    } catch (error) {
      const had = new Set(edit.removed.map(({ number }) => number));
      this.#discard(edit.added.map(({ table }) => table).filter(({ number }) => !had.has(number)));
      throw error;
    }
    this.#version = version;
    const goneIn = this.#number + 1;
    if (flushed !== undefined) {
      assert(flushed.generation === this.#flushedGeneration + 1, 'generations are flushed in order');
      this.#flushedGeneration = flushed.generation;
      this.#generations.setGoneIn(flushed.generation, goneIn);
    }
    for (const { number } of edit.removed) if (!stays.has(number)) this.#leaving.push({ number, goneIn });
    this.#publish();
    if (this.#isFull) this.#isFull = !this.#reserve.make();
  }

  #publish(): void {
    const number = ++this.#number;
    const floor = this.#control.floor;
    const { levels } = this.#version;
    this.#board.publish(number, encodeVersion({ number, flushedGeneration: this.#flushedGeneration, floor, levels }));
    this.#control.currentVersion = number;
    this.#removeLeaving();
  }

  #removeLeaving(): void {
    if (this.#leaving.length === 0) return;
    const oldest = this.#pins.oldest() ?? Number.POSITIVE_INFINITY;
    this.#leaving = this.#leaving.filter(({ number, goneIn }) => {
      if (oldest < goneIn) return true;
      this.#remove(number);
      return false;
    });
    if (this.#leaving.length > 0) this.#pokeLater(RETRY_HELD_MS);
  }

  /** Removes tables that no version came to name. Those of an edit that the manifest may hold all the same stay. */
  #discard(tables: readonly TableRef[]): void {
    if (this.#manifest.failure !== undefined) return;
    for (const { number } of tables) this.#remove(number);
  }

  #remove(number: number): void {
    const { disk, dir, log } = this.#world;
    try {
      disk.remove(`${dir}/${tableName(number)}`);
    } catch (cause) {
      // It stays for the next start, which removes what no version names.
      log?.('warn', 'table.not-removed', { number, message: cause instanceof Error ? cause.message : String(cause) });
    }
  }

  #tellStall(): void {
    this.#control.setGauge('frozenMemtables', this.frozen);
    this.#control.setGauge('level0Tables', (this.#version.levels[0] as readonly TableRef[]).length);
    const { options } = this.#world;
    const { bytes } = levelTargets(this.#version, options);
    let debt = 0;
    for (const [level, score] of scores(this.#version, options).entries()) {
      if (level === 0 || score <= 1) continue;
      debt += this.#version.bytesOf(level) - (bytes[level] as number);
    }
    this.#control.setGauge('debtBytes', Math.max(0, Math.round(debt)));
  }

  // ── failures ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Runs work of the background: a full disk is waited out, anything else is the end. */
  async #guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (this.#isClosed && isStoreError(error, 'CLOSED')) return;
      if (isFullDisk(error) && this.#manifest.failure === undefined) {
        if (!this.#isFull) this.#world.log?.('warn', 'disk.full', { message: (error as Error).message });
        this.#isFull = true;
        // With the room that was kept for it, the next try may do.
        this.#pokeLater(this.#reserve.giveUp() ? 0 : RETRY_FULL_MS);
        return;
      }
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    const cause = error instanceof Error ? error : new Error(String(error));
    this.#failure ??= isStoreError(error)
      ? error
      : new StoreError('DISK_FAILED', `the tree in ${this.#world.dir}: ${cause.message}`, { cause });
    this.#tellFailed(this.#failure);
    this.#changed();
  }

  #pokeLater(delayMs: number): void {
    if (this.#timer !== undefined || this.#isClosed) return;
    this.#timer = this.#world.later(delayMs, () => {
      this.#timer = undefined;
      this.poke();
    });
  }

  /**
   * On a full disk, when there is nothing to do that could tell: the room may have come from elsewhere. (While a job
   * is tried the reserve stays given up: its room is for the job.)
   */
  #lookForRoom(): void {
    if (!this.#isFull || !this.isIdle || this.#timer !== undefined) return;
    try {
      this.#isFull = !this.#reserve.make();
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (this.#isFull) this.#pokeLater(RETRY_FULL_MS);
    else this.#changed();
  }

  // ── the rest ──────────────────────────────────────────────────────────────────────────────────────────────

  /** A copy of what is flushed, as hard links, in a directory of its own that any LevelDB opens. */
  checkpoint(toDir: string): void {
    writeCheckpoint(this.#world.disk, this.#world.dir, toDir, this.#manifest.state);
  }

  /** Ends what runs; what was not made durable is made again by the next replay. May be called twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#world.runner.close();
    await Promise.all([this.#flush, this.#compaction]);
    this.#changed();
    this.#manifest.close();
  }

  inspect(): Record<string, unknown> {
    return {
      tables: this.#version.levels.map((tables) => tables.length),
      bytes: this.#version.levels.map((_, level) => this.#version.bytesOf(level)),
      flushedRevision: this.flushedRevision,
      frozen: this.frozen,
      leaving: this.#leaving.length,
      isFull: this.#isFull,
      ...this.stats,
    };
  }
}

export const storeFull = (): StoreError =>
  new StoreError('STORE_FULL', 'the disk is full; puts are refused until there is room, deletes are not');

const FULL_CODES: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT']);

export function isFullDisk(error: unknown): boolean {
  if (isStoreError(error, 'STORE_FULL')) return true;
  return error instanceof Error && FULL_CODES.has((error as NodeJS.ErrnoException).code);
}
