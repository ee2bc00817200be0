/**
 * Repair: a new manifest for a directory whose own is lost or damaged, or names tables that are. Offline: nobody else
 * has the store open.
 *
 * All tables that can be read go to level 0, where they may overlap: every entry carries its revision, so the newest
 * wins in whatever order tables stand, and compaction sorts them again. A damaged table gives its good blocks to a new
 * one. The sequence is the highest revision found; what a log holds behind it is replayed as ever.
 *
 * Which tables belong to the store, the old manifest says if it can be read:
 *  - Read to its end, it names them all. Others are of a flush that was not finished: taken in, their revisions would pass
 *    for all that was flushed, and the log's other entries of that time would be skipped. They stay out.
 *  - Read in part or not at all, every table is taken that no edit removed.
 *  - Removed ones come back only if something else was lost, as they may hold the only copy; then what was deleted
 *    may come back with them. The report says so.
 *
 * Nothing is thrown away: what does not go on is moved to `lost/`, with the old CURRENT and manifests. In an order
 * that a crash may cut anywhere: linked into `lost/` → new manifest → CURRENT → old names removed. Until CURRENT is
 * renamed the directory is as bad as before and no worse, and repair can run again.
 */
import type { Disk } from '../../../core/base/env.ts';
import { isStoreError } from '../../../core/base/errors.ts';
import { renameCurrent, writeManifest } from './current.ts';
import { failed, synced } from './failures.ts';
import { CURRENT, highestNumber, LOST, parseFileName, tableName, tmpName } from './file-names.ts';
import { isDamage, readHistory } from './history.ts';
import { linkOrCopy } from './links.ts';
import { EMPTY_STATE } from './state.ts';
import type { FileMeta } from './version-edit.ts';

/** What is said of a table by whoever read all of it. */
export interface TableSummary {
  /** Internal keys. */
  readonly smallest: Uint8Array;
  readonly largest: Uint8Array;
  readonly maxRevision: number;
}

export interface Salvaged {
  /** Entries in the new table; none: there is no new table. */
  readonly kept: number;
  /** Blocks that could not be read. */
  readonly dropped: number;
}

/** What repair needs to be told about tables; both throw TABLE_CORRUPT when a table cannot be read at all. */
export interface TableTools {
  /** Reads the table, every block of it; throws TABLE_CORRUPT when any is bad. Undefined: it has no entry. */
  readonly openTableInfo: (path: string) => TableSummary | undefined;
  /** Copies the entries of good blocks to a new table, synced. */
  readonly salvage: (path: string, outPath: string) => Salvaged;
}

export interface DamagedTable extends Salvaged {
  readonly name: string;
  readonly reason: string;
  /** The table that has its good entries. */
  readonly salvagedTo: string | undefined;
}

export interface RepairReport {
  /** Tables of the store now, by number. */
  readonly tables: readonly number[];
  readonly damaged: readonly DamagedTable[];
  /** Tables that the old manifest names and that are not there. */
  readonly missing: readonly number[];
  /** Tables that had been removed and were taken back, as something was lost: deleted keys may be there again. */
  readonly takenBack: readonly number[];
  /** Names in `lost/`. */
  readonly lost: readonly string[];
  readonly lastSequence: number;
}

export function repairManifest(disk: Disk, dir: string, tools: TableTools): RepairReport {
  try {
    return new Repair(disk, dir, tools).run();
  } catch (cause) {
    if (isStoreError(cause)) throw cause;
    throw failed(`the store in ${dir} could not be repaired`, cause);
  }
}

class Repair {
  readonly #disk: Disk;
  readonly #dir: string;
  readonly #tools: TableTools;
  #nextFile: number;
  #lastSequence = 0;
  readonly #files: FileMeta[] = [];
  readonly #damaged: DamagedTable[] = [];
  /** Names that go to `lost/`. */
  readonly #leaving: string[] = [];

  constructor(disk: Disk, dir: string, tools: TableTools) {
    this.#disk = disk;
    this.#dir = dir;
    this.#tools = tools;
    this.#nextFile = highestNumber(disk.list(dir)) + 1;
  }

  run(): RepairReport {
    const history = readHistory(this.#disk, this.#dir);
    /** Of tables under either suffix; a number names one file. */
    const tables = new Map<number, string>();
    for (const name of this.#disk.list(this.#dir)) {
      const parsed = parseFileName(name);
      if (parsed?.kind === 'table') tables.set(parsed.number, name);
      if (parsed?.kind === 'manifest' || parsed?.kind === 'current') this.#leaving.push(name);
    }
    const missing = [...(history.named ?? [])].filter((number) => !tables.has(number));
    const spared = new Map<number, string>();
    for (const [number, name] of tables) {
      const isOurs = history.named?.has(number) ?? !history.removed.has(number);
      if (isOurs) this.#take(number, name);
      else spared.set(number, name);
    }
    const isLossy = missing.length > 0 || this.#damaged.length > 0;
    const takenBack = isLossy ? [...spared.keys()].filter((number) => history.removed.has(number)) : [];
    for (const [number, name] of spared) {
      if (takenBack.includes(number)) this.#take(number, name);
      else this.#leaving.push(name);
    }
    const lost = this.#keepInLost();
    this.#install();
    return {
      tables: this.#files.map(({ number }) => number),
      damaged: this.#damaged,
      missing,
      takenBack,
      lost,
      lastSequence: this.#lastSequence,
    };
  }

  /** Takes a table into the new version, or what is good of it. */
  #take(number: number, name: string): void {
    const path = `${this.#dir}/${name}`;
    try {
      const summary = this.#tools.openTableInfo(path);
      if (summary === undefined) this.#leaving.push(name);
      else this.#add(number, path, summary);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#leaving.push(name);
      this.#salvage(name, error instanceof Error ? error.message : String(error));
    }
  }

  #salvage(name: string, reason: string): void {
    const number = this.#nextFile++;
    // Under another name until it is synced, so that a later repair never takes half of one for a table.
    const tmp = `${this.#dir}/${tmpName(number)}`;
    const { kept, dropped } = this.#salvageTo(tmp, `${this.#dir}/${name}`);
    const summary = kept === 0 ? undefined : this.#tools.openTableInfo(tmp);
    if (summary === undefined) {
      if (this.#disk.exists(tmp)) this.#disk.remove(tmp);
      this.#damaged.push({ name, reason, kept: 0, dropped, salvagedTo: undefined });
      return;
    }
    const salvagedTo = tableName(number);
    const path = `${this.#dir}/${salvagedTo}`;
    this.#disk.rename(tmp, path);
    this.#add(number, path, summary);
    this.#damaged.push({ name, reason, kept, dropped, salvagedTo });
  }

  #salvageTo(tmp: string, path: string): Salvaged {
    try {
      return this.#tools.salvage(path, tmp);
    } catch (error) {
      if (!isDamage(error)) throw error;
      return { kept: 0, dropped: 0 };
    }
  }

  #add(number: number, path: string, { smallest, largest, maxRevision }: TableSummary): void {
    const file = this.#disk.open(path, 'write');
    try {
      // Also one whose maker died before it could.
      synced(() => file.fdatasync());
      this.#files.push({ number, fileBytes: file.size(), smallest, largest });
    } finally {
      file.close();
    }
    if (maxRevision > this.#lastSequence) this.#lastSequence = maxRevision;
  }

  /** A second name in `lost/` for all that leaves; returns these names. */
  #keepInLost(): string[] {
    const dir = `${this.#dir}/${LOST}`;
    this.#disk.mkdir(dir);
    const kept = this.#leaving
      .toSorted((a, b) => (a < b ? -1 : 1))
      .map((name) => {
        let free = name;
        // Of an earlier repair.
        for (let i = 1; this.#disk.exists(`${dir}/${free}`); i++) free = `${name}.${i}`;
        linkOrCopy(this.#disk, `${this.#dir}/${name}`, `${dir}/${free}`);
        return free;
      });
    synced(() => this.#disk.syncDir(dir));
    return kept;
  }

  #install(): void {
    const manifest = this.#nextFile++;
    this.#files.sort((a, b) => a.number - b.number);
    writeManifest(this.#disk, this.#dir, manifest, {
      ...EMPTY_STATE,
      nextFile: this.#nextFile,
      lastSequence: this.#lastSequence,
      levels: EMPTY_STATE.levels.with(0, this.#files),
    }).file.close();
    renameCurrent(this.#disk, this.#dir, manifest);
    synced(() => this.#disk.syncDir(this.#dir));
    for (const name of this.#leaving) if (name !== CURRENT) this.#disk.remove(`${this.#dir}/${name}`);
    synced(() => this.#disk.syncDir(this.#dir));
  }
}
