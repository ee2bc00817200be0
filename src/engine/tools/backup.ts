/**
 * Backup: a data directory as it is at one moment, as one more set of a backup directory. Beside a running process too.
 *
 *   manifest read → its tables opened → log copied → tables copied → whole? → set written
 *
 * Why a copy made in this order is a state that a start accepts:
 *  - A table never changes, and an open one can be read when its name is gone. If one is gone before it is opened, a
 *    compaction has replaced it: the manifest is read again.
 *  - What is in the tables was durable in the log before the manifest said so. The log is copied after the manifest
 *    was read, so it reaches at least as far as the tables.
 *  - The log's writer lets go of its beginning only as far as the tables go, but these go on: if the copied log begins
 *    behind the tables that were opened, both are taken anew. Opening tables is quick and the log is short, so that is
 *    seldom; the long part, copying tables, can be as long as it likes.
 *  - A segment is copied up to its last whole record and checked afterwards to have kept its name (see read-wal.ts),
 *    so no byte of a spare's is in it, and nothing half-written.
 * All the same the copy is read as a start would read it before it is called a set.
 *
 * Contents that are kept already are not copied again. What is new is verified block by block first: a backup of a
 * damaged table is none.
 */
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { isStoreError, StoreError } from '../../core/base/errors.ts';
import { VERSION } from '../../core/base/version.ts';
import { MemoryDisk } from '../disk/memory-disk.ts';
import { renameCurrent, writeManifest } from '../lsm/manifest/current.ts';
import { CURRENT, manifestName, tablePath } from '../lsm/manifest/file-names.ts';
import { EMPTY_STATE, liveFiles, type ManifestState } from '../lsm/manifest/state.ts';
import type { FileMeta } from '../lsm/manifest/version-edit.ts';
import { verifyTable } from '../lsm/sstable/verify.ts';
import { segmentName, segmentNumber } from '../wal/format.ts';
import { type OnBytes, removeUnnamed, storeContent, verifySet } from './backup-files.ts';
import {
  type BackupSet,
  contentPath,
  filesDir,
  listSets,
  makeBackupDirs,
  readSet,
  removeSet,
  type SetFile,
  writeSet,
} from './backup-set.ts';
import type { DataDir } from './data-dir.ts';
import { diskFailure } from './failures.ts';
import { readManifest } from './read-manifest.ts';
import { wholeEnd } from './read-wal.ts';
import { SetDisk } from './set-disk.ts';
import { gapBetween } from '../wal/gap.ts';
import { logState, wholeState } from './whole-state.ts';

export interface BackupOptions {
  readonly disk: Disk;
  readonly from: DataDir;
  readonly backupDir: string;
  readonly owner: BackupSet['owner'];
  /** Somebody may be writing. */
  readonly isLive: boolean;
  readonly now: () => Date;
  /** Read everything once more at the end. */
  readonly verify?: boolean;
  /** Sets to keep, this one too; the oldest go. Default: all. */
  readonly keep?: number;
  readonly onProgress?: (done: number, total: number) => Promise<void>;
}

export interface BackupReport {
  readonly set: BackupSet;
  /** Not kept by an earlier set. */
  readonly newFiles: number;
  readonly newBytes: number;
  /** Times that a running process was faster, and the copy was begun anew. */
  readonly retries: number;
  readonly removedSets: readonly number[];
}

/** A running process may be faster than us, but not for ever. */
const ATTEMPTS = 50;
/** What looks the same as often as this is not on its way to be something else. */
const SAME_MAX = 3;

/** The process that writes has removed what was to be copied; if there is none, it is missing. */
class Overtaken extends Error {
  override readonly name: string = 'Overtaken';
  readonly #code: 'TABLE_CORRUPT' | 'WAL_CORRUPT';
  readonly #file: string;

  constructor(code: 'TABLE_CORRUPT' | 'WAL_CORRUPT', file: string, message: string) {
    super(message);
    this.#code = code;
    this.#file = file;
  }

  asDamage(): StoreError {
    return new StoreError(this.#code, this.message, { cause: this, data: { file: this.#file, offset: 0 } });
  }
}

/** Makes one more set. TABLE_CORRUPT and WAL_CORRUPT tell of damage in what was to be copied. */
export async function makeBackup(options: BackupOptions): Promise<BackupReport> {
  try {
    return await new Backup(options).run();
  } catch (cause) {
    throw diskFailure(`the backup in ${options.backupDir} could not be made`, cause);
  }
}

interface OpenTable {
  readonly meta: FileMeta;
  readonly path: string;
  readonly file: DiskFile;
}

class Backup {
  readonly #options: BackupOptions;
  readonly #prefix: string;
  #newFiles = 0;
  #newBytes = 0;
  #done = 0;
  #total = 0;

  constructor(options: BackupOptions) {
    this.#options = options;
    this.#prefix = options.from.kind === 'node' ? 'tree/' : '';
  }

  async run(): Promise<BackupReport> {
    const { disk, backupDir, owner, from, isLive, now } = this.#options;
    makeBackupDirs(disk, backupDir);
    const earlier = listSets(disk, backupDir);
    this.#refuseForeign(earlier);
    const { files, retries } = await this.#take();
    disk.syncDir(filesDir(backupDir));
    const state = wholeState(new SetDisk(disk, backupDir, from.dir, files), from);
    const set: BackupSet = {
      format: 1,
      number: (earlier.at(-1) ?? 0) + 1,
      createdAt: now().toISOString(),
      engine: VERSION,
      kind: from.kind,
      owner,
      isLive,
      flushedRevision: state.flushedRevision,
      firstIndex: state.firstIndex,
      lastIndex: state.lastIndex,
      term: state.term,
      files,
    };
    if (this.#options.verify === true) {
      this.#total += files.reduce((sum, { bytes }) => sum + bytes, 0);
      await verifySet(disk, backupDir, set, this.#onBytes);
    }
    writeSet(disk, backupDir, set);
    const removedSets = this.#removeOld([...earlier, set.number]);
    return { set, newFiles: this.#newFiles, newBytes: this.#newBytes, retries, removedSets };
  }

  /** One backup directory, one cluster: else the wrong data could come back. */
  #refuseForeign(earlier: readonly number[]): void {
    const { disk, backupDir, from, owner } = this.#options;
    const newest = earlier.at(-1);
    if (newest === undefined) return;
    const { kind, owner: before } = readSet(disk, backupDir, newest);
    if (kind === from.kind && before?.cluster === owner?.cluster) return;
    const whose = before === null ? 'a store' : `cluster "${before.cluster}"`;
    throw new StoreError('DIR_FOREIGN', `${backupDir} holds backups of ${whose}; choose another directory`, {
      data: { dir: backupDir, cluster: before?.cluster },
    });
  }

  async #take(): Promise<{ files: SetFile[]; retries: number }> {
    let before = '';
    let same = 0;
    for (let retries = 0; ; retries++) {
      const tables: OpenTable[] = [];
      try {
        const state = this.#openTables(tables);
        const log = await this.#copyLog(state?.lastSequence ?? 0);
        const files = state === undefined ? [] : await this.#copyTree(state, tables);
        return { files: [...files, ...log], retries };
      } catch (error) {
        if (!(error instanceof Overtaken)) throw error;
        same = error.message === before ? same + 1 : 1;
        before = error.message;
        if (!this.#options.isLive || same === SAME_MAX || retries + 1 === ATTEMPTS) throw error.asDamage();
      } finally {
        for (const { file } of tables) file.close();
      }
    }
  }

  /** Opens every table of the manifest as it is now, into `tables`; undefined when there is no tree yet. */
  #openTables(tables: OpenTable[]): ManifestState | undefined {
    const { disk, from } = this.#options;
    const state = readManifest(disk, from.tree)?.state;
    this.#done = 0;
    this.#total = 0;
    for (const meta of liveFiles(state ?? EMPTY_STATE)) {
      const path = tablePath(disk, from.tree, meta.number);
      const file = openOr(
        disk,
        path,
        () => new Overtaken('TABLE_CORRUPT', path, `${path} is named by the manifest, and missing`),
      );
      tables.push({ meta, path, file });
      this.#total += meta.fileBytes;
    }
    return state;
  }

  // ── the log ──

  async #copyLog(flushedRevision: number): Promise<SetFile[]> {
    const { disk, from } = this.#options;
    if (!disk.exists(from.wal)) return [];
    const numbers = this.#segments();
    const copied: { number: number; file: SetFile }[] = [];
    for (const number of numbers) {
      const file = await this.#copySegment(number);
      if (file !== undefined) copied.push({ number, file });
    }
    // Of those that have lost their names meanwhile, nobody knows what was read.
    const left = new Set(this.#segments());
    const log = copied.filter(({ number }) => left.has(number)).map(({ file }) => file);
    const range = logState(new SetDisk(disk, this.#options.backupDir, from.dir, log), from.wal);
    const gap = gapBetween(flushedRevision, range);
    if (gap !== undefined) throw new Overtaken('WAL_CORRUPT', from.wal, `the log in ${from.wal} ${gap}`);
    return log;
  }

  #segments(): number[] {
    const { disk, from } = this.#options;
    const numbers = disk.list(from.wal).map(segmentNumber);
    return numbers.filter((number) => number !== undefined).sort((a, b) => a - b);
  }

  /** Undefined when it has lost its name meanwhile. */
  async #copySegment(number: number): Promise<SetFile | undefined> {
    const { disk, from } = this.#options;
    const name = segmentName(number);
    const path = `${from.wal}/${name}`;
    const file = openOr(disk, path, () => undefined);
    if (file === undefined) return undefined;
    try {
      const bytes = wholeEnd(file, number);
      if (bytes !== 'damaged') return await this.#store({ file, bytes, path }, `wal/${name}`);
      if (!disk.exists(path)) return undefined;
      throw new StoreError('WAL_CORRUPT', `the WAL is damaged: ${path}: what was synced cannot be read`, {
        data: { file: path, offset: 0 },
      });
    } catch (error) {
      // A file that is on its way to be a spare may be cut, or filled with zeros, under our reading.
      if (!disk.exists(path)) return undefined;
      throw error;
    } finally {
      file.close();
    }
  }

  // ── the tree ──

  async #copyTree(state: ManifestState, tables: readonly OpenTable[]): Promise<SetFile[]> {
    const files: SetFile[] = [];
    for (const { meta, path, file } of tables) {
      const { number, fileBytes } = meta;
      if (file.size() !== fileBytes) {
        throw new StoreError('TABLE_CORRUPT', `${path} has ${file.size()} bytes, and the manifest says ${fileBytes}`, {
          data: { file: path, offset: Math.min(file.size(), fileBytes) },
        });
      }
      const name = path.slice(path.lastIndexOf('/') + 1);
      const verify = (): unknown => verifyTable(file, { number, fileBytes, path });
      files.push(await this.#store({ file, bytes: fileBytes, path }, `${this.#prefix}${name}`, verify));
    }
    return [...files, ...(await this.#makeManifest(state))];
  }

  /** A manifest of one record: the one that is there may be growing, and has a history that nobody needs. */
  async #makeManifest(state: ManifestState): Promise<SetFile[]> {
    const scratch = new MemoryDisk();
    const number = state.nextFile;
    writeManifest(scratch, '/', number, { ...state, nextFile: number + 1 }).file.close();
    renameCurrent(scratch, '/', number);
    const files: SetFile[] = [];
    for (const name of [manifestName(number), CURRENT]) {
      const file = scratch.open(`/${name}`, 'read');
      files.push(await this.#store({ file, bytes: file.size(), path: name }, `${this.#prefix}${name}`));
      file.close();
    }
    return files;
  }

  // ── contents ──

  async #store(
    source: { readonly file: DiskFile; readonly bytes: number; readonly path: string },
    path: string,
    verifyNew: () => unknown = () => undefined,
  ): Promise<SetFile> {
    const { disk, backupDir } = this.#options;
    const { bytes } = source;
    const { sha256, isNew } = await storeContent(disk, backupDir, source, this.#onBytes);
    if (isNew) {
      try {
        verifyNew();
      } catch (error) {
        // No set names it; nor shall a later backup find it kept, and believe that it was verified.
        disk.remove(contentPath(backupDir, { sha256 }));
        throw error;
      }
      this.#newFiles++;
      this.#newBytes += bytes;
    }
    return { path, bytes, sha256 };
  }

  readonly #onBytes: OnBytes = async (bytes) => {
    this.#done += bytes;
    this.#total = Math.max(this.#total, this.#done);
    await this.#options.onProgress?.(this.#done, this.#total);
  };

  #removeOld(numbers: readonly number[]): number[] {
    const { disk, backupDir, keep = numbers.length } = this.#options;
    const leaving = numbers.slice(0, Math.max(0, numbers.length - keep));
    let staying: BackupSet[];
    try {
      staying = numbers.slice(leaving.length).map((number) => readSet(disk, backupDir, number));
    } catch (error) {
      if (!isStoreError(error)) throw error;
      // What a set that cannot be read names is not known: nothing is removed.
      return [];
    }
    for (const number of leaving) removeSet(disk, backupDir, number);
    removeUnnamed(disk, backupDir, staying);
    return leaving;
  }
}

/** Opens a file for reading; what `otherwise` gives when it is not there, thrown if it is an error. */
function openOr<T extends Error | undefined>(
  disk: Disk,
  path: string,
  otherwise: () => T,
): DiskFile | Exclude<T, Error> {
  try {
    return disk.open(path, 'read');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    const given = otherwise();
    if (given instanceof Error) throw given;
    return given as Exclude<T, Error>;
  }
}
