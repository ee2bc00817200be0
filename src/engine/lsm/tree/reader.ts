/**
 * TreeReader: one thread's way to read the tree, synchronously, while others write, flush and compact it.
 *
 * A point read: pin the version (so that nothing it names goes away), load the revision, load the active generation;
 * then look where newer things are first: memtables from the active one down, tables of level 0 by their newest
 * revision, then one table per level. The first hit is the answer. The order of the loads is what makes it right:
 *  - what is visible at the revision is in a generation up to the active one, which is loaded after it;
 *  - what left a generation is in a table of the version that is pinned, or that generation cannot be used again.
 *
 * Reading at an older revision needs it to be at or above the floor, or held by a snapshot; else COMPACTED.
 */
import { assert, InvariantViolation, must } from '../../../core/base/assert.ts';
import type { Disk } from '../../../core/base/env.ts';
import { StoreError } from '../../../core/base/errors.ts';
import type { StoredValue } from '../../../core/model/store.ts';
import type { Revision } from '../../../core/base/position.ts';
import { BlockCache } from '../cache/block-cache.ts';
import { Control } from '../shared/control.ts';
import { Pins, type ReaderSlot } from '../shared/pins.ts';
import { Snapshots, type Snapshot } from '../shared/snapshots.ts';
import { VersionBoard } from '../shared/version-board.ts';
import { decodeVersion } from '../shared/version-codec.ts';
import { copyOut } from '../copy.ts';
import { hashKey } from '../key-hash.ts';
import { KIND_PUT, Skiplist } from '../skiplist.ts';
import { envelopeExpiryMs, envelopeValueStart } from '../sstable/envelope.ts';
import { TYPE_PUT } from '../sstable/keys.ts';
import { TableResult } from '../sstable/table.ts';
import { attach, type Attached } from './attached.ts';
import { type CursorBounds, TreeCursor, unknownEnvelope } from './cursor.ts';
import { LevelCursor } from './level-cursor.ts';
import { MemtableCursor } from './memtable-cursor.ts';
import type { TreeMemory } from './memory.ts';
import { type InternalCursor, MergeCursor } from './merge.ts';
import type { TreeOptions } from './options.ts';
import { TableCache } from './table-cache.ts';
import { compareUserPart, isInBounds, isWithin, tableOf } from './table-search.ts';
import type { TableRef } from './version.ts';

export interface ReaderWorld {
  readonly disk: Disk;
  readonly dir: string;
  readonly options: TreeOptions;
  /** Runs `work` once, at the end of the thread's turn. */
  readonly defer: (work: () => void) => void;
  /** Whose reads these are, so that what a vanished thread held can be let go (dead-reader.ts). */
  readonly owner?: number;
  /** What values' expiry is compared with; 0: nothing expires by itself. */
  readonly nowMs: () => number;
}

/** For `nowMs`: the time is asked for when a value has an expiry, and few have. */
const NOW = -1;

/** Above every revision. */
const UNPUBLISHED: number = Number.MAX_SAFE_INTEGER;

/** A revision that stays readable until it is released. */
export interface TreeSnapshot {
  readonly revision: number;
  readonly nowMs: number;
  /** May be called twice. */
  release(): void;
}

export class TreeReader {
  readonly #world: ReaderWorld;
  readonly #control: Control;
  readonly #slot: ReaderSlot;
  readonly #snapshots: Snapshots;
  readonly #board: VersionBoard;
  readonly #lists: readonly Skiplist[];
  readonly #tables: TableCache;
  readonly cache: BlockCache;
  #attached: Attached | undefined;
  #known = new Map<number, TableRef>();
  /** Of the last point read in tables; the other one is for a second opinion. */
  #hit = new TableResult();
  #other = new TableResult();
  /** Revisions that this reader holds, by how many of its cursors and snapshots. */
  readonly #held = new Map<number, { readonly snapshot: Snapshot; count: number }>();
  readonly #inUse = new Set<TreeCursor>();
  #isDeferred = false;
  #isClosed = false;

  constructor(memory: TreeMemory, world: ReaderWorld) {
    this.#world = world;
    this.#control = new Control(memory.control);
    this.#slot = new Pins(memory.pins, this.#control).claim(world.owner);
    this.#snapshots = new Snapshots(memory.snapshots, this.#control, world.owner);
    this.#board = new VersionBoard(memory.versions);
    this.#lists = memory.arenas.map((arena) => new Skiplist(arena));
    this.cache = new BlockCache(memory.cache, world.owner);
    this.#tables = new TableCache({
      disk: world.disk,
      dir: world.dir,
      blocks: this.cache,
      openTablesMax: world.options.openTablesMax,
      bytesMax: world.options.tableCacheBytes,
    });
  }

  /** The newest revision that can be read. */
  get visible(): number {
    return this.#control.visible;
  }

  /** Revisions below it can only be read through a snapshot. */
  get floor(): number {
    return this.#control.floor;
  }

  // ── point reads ───────────────────────────────────────────────────────────────────────────────────────────

  /** The newest value of `key`; undefined when it has none, or it has expired. */
  get(key: Uint8Array): StoredValue | undefined {
    const version = this.#enter();
    try {
      return this.#find(version, key, this.#control.visible, NOW);
    } finally {
      this.#slot.leave();
    }
  }

  /** The value at `revision`, which is visible and at or above the floor or held by a snapshot; else COMPACTED. */
  getAt(key: Uint8Array, revision: number, nowMs: number = NOW): StoredValue | undefined {
    const version = this.#enter();
    try {
      this.#checkReadable(revision);
      return this.#find(version, key, revision, nowMs);
    } finally {
      this.#slot.leave();
    }
  }

  /** The newest value of `key`, published or not: for the thread that writes. */
  newest(key: Uint8Array): StoredValue | undefined {
    const version = this.#enter();
    try {
      return this.#find(version, key, UNPUBLISHED, NOW);
    } finally {
      this.#slot.leave();
    }
  }

  /** The revision of the newest put of `key`, published or not; 0 when it has none. For the thread that writes. */
  newestRevision(key: Uint8Array): number {
    const version = this.#enter();
    try {
      const hash = hashKey(key, key.length);
      for (let g = this.#control.activeGeneration; g > version.flushedGeneration; g--) {
        const list = this.#list(g);
        const found = list.find(key, UNPUBLISHED, hash);
        if (found !== 0) return list.kind(found) === KIND_PUT ? list.revision(found) : 0;
      }
      return this.#findInTables(version, key, UNPUBLISHED, hash, true) && this.#hit.type === TYPE_PUT
        ? this.#hit.revision
        : 0;
    } finally {
      this.#slot.leave();
    }
  }

  #find(version: Attached, key: Uint8Array, revision: number, nowMs: number): StoredValue | undefined {
    const hash = hashKey(key, key.length);
    for (let g = this.#control.activeGeneration; g > version.flushedGeneration; g--) {
      const list = this.#list(g);
      const found = list.find(key, revision, hash);
      if (found === 0) continue;
      if (list.kind(found) !== KIND_PUT) return undefined;
      const expiryMs = list.expiryMs(found);
      if (this.#isExpired(expiryMs, nowMs)) return undefined;
      return { value: list.valueCopy(found), revision: list.revision(found) as Revision, expiryMs };
    }
    if (!this.#findInTables(version, key, revision, hash, true)) return undefined;
    if (this.#hit.type !== TYPE_PUT) return undefined;
    let stored = this.#copyHit();
    // The cache has come round while we looked: once more, with a block of our own.
    if (stored === undefined) {
      if (!this.#findInTables(version, key, revision, hash, false))
        throw new InvariantViolation('what was found is there');
      stored = must(this.#copyHit(), 'a block of our own is whole');
    }
    return this.#isExpired(stored.expiryMs, nowMs) ? undefined : stored;
  }

  #isExpired(expiryMs: number, nowMs: number): boolean {
    return expiryMs !== 0 && expiryMs <= (nowMs === NOW ? this.#world.nowMs() : nowMs);
  }

  /** The value of #hit; undefined when its block was overwritten before it was copied. */
  #copyHit(): StoredValue | undefined {
    const { block, valueStart, valueEnd, revision, lease } = this.#hit;
    const expiryMs = envelopeExpiryMs(block, valueStart, valueEnd);
    const at = envelopeValueStart(block, valueStart, valueEnd);
    const value = copyOut(block, at < 0 ? valueEnd : at, valueEnd);
    if (lease !== -1 && !this.cache.isIntact(lease)) return undefined;
    if (at < 0) throw unknownEnvelope();
    return { value, revision: revision as Revision, expiryMs };
  }

  /** Leaves what it finds in #hit; `isLent`: in a block that is the cache's. */
  #findInTables(version: Attached, key: Uint8Array, revision: number, hash: number, isLent: boolean): boolean {
    const { level0, levels } = version;
    let found = false;
    for (const table of level0) {
      // Newest first: what follows can hold nothing newer than what was found.
      if (found && table.largestRevision <= this.#hit.revision) break;
      if (table.smallestRevision > revision || !isWithin(table, key)) continue;
      if (!this.#tables.get(table).get(key, revision, this.#other, hash, isLent)) continue;
      if (found && this.#other.revision <= this.#hit.revision) continue;
      const other = this.#hit;
      this.#hit = this.#other;
      this.#other = other;
      found = true;
    }
    if (found) return true;
    for (const { tables, ends } of levels) {
      const at = ends.find(key);
      const table = tables[at < 0 ? tableOf(tables, key) : at];
      if (table === undefined || compareUserPart(table.smallest, key) > 0) continue;
      if (this.#tables.get(table).get(key, revision, this.#hit, hash, isLent)) return true;
    }
    return false;
  }

  // ── ranges ────────────────────────────────────────────────────────────────────────────────────────────────

  /** A cursor over what is visible now. Close it. */
  cursor(bounds: CursorBounds = {}): TreeCursor {
    const { snapshot, entry } = this.#holdNewest();
    return this.#newCursor(bounds, snapshot.revision, this.#world.nowMs(), entry);
  }

  /** A cursor at `revision`, under the rules of `getAt`. Close it. */
  cursorAt(bounds: CursorBounds, revision: number, nowMs: number = this.#world.nowMs()): TreeCursor {
    return this.#newCursor(bounds, revision, nowMs, this.#hold(revision));
  }

  /** A cursor over what is written, published or not: for the thread that writes, which needs no snapshot for it. */
  cursorNewest(bounds: CursorBounds): TreeCursor {
    const world = { acquire: (wanted: CursorBounds) => this.#acquire(wanted), used: () => {}, closed: () => {} };
    return new TreeCursor(world, bounds, { revision: UNPUBLISHED, nowMs: 0 });
  }

  /** Keeps what is visible now readable. Release it. */
  snapshot(): TreeSnapshot {
    const { snapshot } = this.#holdNewest();
    return this.#snapshotOf(snapshot.revision);
  }

  /** Keeps `revision` readable; COMPACTED when it no longer is. Release it. */
  snapshotAt(revision: number): TreeSnapshot {
    this.#hold(revision);
    return this.#snapshotOf(revision);
  }

  #snapshotOf(revision: number): TreeSnapshot {
    let isReleased = false;
    return {
      revision,
      nowMs: this.#world.nowMs(),
      release: () => {
        if (isReleased) return;
        isReleased = true;
        this.#letGo(revision);
      },
    };
  }

  #newCursor(bounds: CursorBounds, revision: number, nowMs: number, held: { count: number }): TreeCursor {
    assert(held.count > 0, 'a cursor holds its revision');
    return new TreeCursor(
      {
        acquire: (wanted) => this.#acquire(wanted),
        used: (cursor) => this.#suspendLater(cursor),
        closed: (cursor) => {
          this.#inUse.delete(cursor);
          this.#letGo(revision);
        },
      },
      bounds,
      { revision, nowMs },
    );
  }

  #acquire(bounds: CursorBounds): { readonly merge: MergeCursor; release(): void } {
    const version = this.#enter();
    const hold = this.#slot.hold(version.number);
    this.#slot.leave();
    this.#tables.beginReading();
    const sources: InternalCursor[] = [];
    for (let g = this.#control.activeGeneration; g > version.flushedGeneration; g--) {
      sources.push(new MemtableCursor(this.#list(g)));
    }
    for (const table of version.level0) {
      if (isInBounds(table, bounds)) sources.push(this.#tables.get(table).cursor());
    }
    for (const { tables } of version.levels) {
      const wanted = tables.filter((table) => isInBounds(table, bounds));
      if (wanted.length > 0) sources.push(new LevelCursor(wanted, (table) => this.#tables.get(table).cursor()));
    }
    return {
      merge: new MergeCursor(sources),
      release: () => {
        hold.release();
        this.#tables.endReading();
      },
    };
  }

  #suspendLater(cursor: TreeCursor): void {
    this.#inUse.add(cursor);
    if (this.#isDeferred) return;
    this.#isDeferred = true;
    this.#world.defer(() => {
      this.#isDeferred = false;
      this.suspendCursors();
    });
  }

  /** At the end of a turn: cursors let go of files and memtables until they are used again. */
  suspendCursors(): void {
    for (const cursor of this.#inUse) cursor.suspend();
    this.#inUse.clear();
  }

  // ── versions and revisions ────────────────────────────────────────────────────────────────────────────────

  /** Pins the current version. `#slot.leave()` ends it. */
  #enter(): Attached {
    if (this.#isClosed) throw new StoreError('CLOSED', 'the store is closed');
    const number = this.#slot.enter();
    const attached = this.#attached;
    if (attached !== undefined && attached.number === number) return attached;
    return this.#attach(number);
  }

  #attach(pinned: number): Attached {
    for (let number = pinned; ; number = this.#slot.enter()) {
      const { bytes, number: read } = must(this.#board.read(), 'a pinned version is on the board');
      // A newer one was published since the pin: pin that one.
      if (read !== number) {
        this.#slot.leave();
        continue;
      }
      const version = decodeVersion(bytes, this.#known);
      this.#known = new Map(version.levels.flat().map((table) => [table.number, table]));
      this.#tables.retain((table) => this.#known.has(table));
      this.#attached = attach(number, version);
      return this.#attached;
    }
  }

  #list(generation: number): Skiplist {
    return this.#lists[generation % this.#lists.length] as Skiplist;
  }

  #checkReadable(revision: number): void {
    const { floor, visible } = this.#control;
    if (revision > visible) {
      throw new StoreError('BAD_REQUEST', `revision ${revision} is not here yet; the newest is ${visible}`);
    }
    if (revision >= floor || this.#held.has(revision)) return;
    throw new StoreError('COMPACTED', `revision ${revision} is no longer kept; the oldest is ${floor}`, {
      data: { oldestRevision: floor },
    });
  }

  #holdNewest(): { readonly snapshot: Snapshot; readonly entry: { count: number } } {
    if (this.#isClosed) throw new StoreError('CLOSED', 'the store is closed');
    const snapshot = this.#snapshots.take();
    const held = this.#held.get(snapshot.revision);
    if (held !== undefined) {
      snapshot.release();
      held.count++;
      return { snapshot: held.snapshot, entry: held };
    }
    const entry = { snapshot, count: 1 };
    this.#held.set(snapshot.revision, entry);
    return { snapshot, entry };
  }

  #hold(revision: number): { count: number } {
    const held = this.#held.get(revision);
    if (held !== undefined) {
      held.count++;
      return held;
    }
    if (revision > this.#control.visible) this.#checkReadable(revision);
    const entry = { snapshot: this.#snapshots.takeAt(revision), count: 1 };
    this.#held.set(revision, entry);
    return entry;
  }

  #letGo(revision: number): void {
    // All was let go of at once.
    if (this.#isClosed) return;
    const held = must(this.#held.get(revision), 'what is let go was held');
    if (--held.count > 0) return;
    this.#held.delete(revision);
    held.snapshot.release();
  }

  /**
   * Goes over to the current version, if there is a newer one: a thread that does not read would keep tables open that
   * were removed, and their room with them. To be called now and then.
   */
  refresh(): void {
    if (this.#isClosed || this.#control.currentVersion === (this.#attached?.number ?? 0)) return;
    this.#enter();
    this.#slot.leave();
  }

  inspect(): Record<string, unknown> {
    return { openTables: this.#tables.size, snapshots: this.#held.size, cursors: this.#inUse.size };
  }

  /** May be called twice; reads and cursors say CLOSED from then on. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.suspendCursors();
    for (const { snapshot } of this.#held.values()) snapshot.release();
    this.#held.clear();
    this.#tables.close();
    this.#slot.close();
  }
}
