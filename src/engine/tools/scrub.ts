/**
 * Scrub: reads everything that a data directory holds and says what of it is damaged, each with file and offset. It
 * reads only, so it may run beside the process that writes; what that one removes meanwhile is passed over.
 *
 * Of a table the first damage is told, and of the log: what is behind it cannot be told right from wrong.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { isStoreError } from '../../core/base/errors.ts';
import { tablePath } from '../lsm/manifest/file-names.ts';
import { liveFiles, type ManifestState } from '../lsm/manifest/state.ts';
import type { FileMeta } from '../lsm/manifest/version-edit.ts';
import { tableCorrupt } from '../lsm/sstable/format.ts';
import { verifyTable } from '../lsm/sstable/verify.ts';
import { diskFailure } from './failures.ts';
import type { DataDir } from './data-dir.ts';
import { readManifest } from './read-manifest.ts';
import { readWal } from './read-wal.ts';
import { gapBetween } from '../wal/gap.ts';

export interface Damage {
  readonly code: string;
  readonly file: string;
  readonly offset: number;
  readonly message: string;
}

export interface ScrubOptions {
  readonly disk: Disk;
  readonly dir: DataDir;
  /** 0: as fast as the disk gives. */
  readonly bytesPerSecond?: number;
  readonly onDamage?: (damage: Damage) => Promise<void>;
  /** May throw, to stop. */
  readonly onProgress?: (done: number, total: number) => Promise<void>;
}

export interface ScrubReport {
  readonly tables: number;
  readonly tableBytes: number;
  readonly entries: number;
  readonly walRecords: number;
  readonly walBytes: number;
  /** Removed by a running process before they were read. */
  readonly passedOver: number;
  readonly damages: readonly Damage[];
}

/** Another process may remove a segment while the log is read. */
const WAL_ATTEMPTS = 10;

export async function scrub(options: ScrubOptions): Promise<ScrubReport> {
  return new Scrub(options).run();
}

class Scrub {
  readonly #options: ScrubOptions;
  readonly #startedMs = performance.now();
  readonly #damages: Damage[] = [];
  #done = 0;
  #total = 0;
  #tables = 0;
  #tableBytes = 0;
  #entries = 0;
  #passedOver = 0;

  constructor(options: ScrubOptions) {
    this.#options = options;
  }

  async run(): Promise<ScrubReport> {
    const state = await this.#manifest();
    if (state !== undefined) await this.#scrubTables(state);
    const wal = await this.#scrubWal(state?.lastSequence);
    return {
      tables: this.#tables,
      tableBytes: this.#tableBytes,
      entries: this.#entries,
      walRecords: wal.records,
      walBytes: wal.bytes,
      passedOver: this.#passedOver,
      damages: this.#damages,
    };
  }

  /** What the manifest says now; undefined when there is none, or it is damaged. */
  async #manifest(): Promise<ManifestState | undefined> {
    const { disk, dir } = this.#options;
    try {
      return readManifest(disk, dir.tree)?.state;
    } catch (error) {
      await this.#found(error);
      return undefined;
    }
  }

  async #scrubTables(state: ManifestState): Promise<void> {
    const metas = [...liveFiles(state)];
    this.#total = metas.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
    for (const meta of metas) {
      try {
        if (this.#scrubTable(meta)) this.#tables++;
        else this.#passedOver++;
      } catch (error) {
        await this.#found(error);
      }
      await this.#step(meta.fileBytes);
    }
  }

  /** False when it was removed by whoever writes. */
  #scrubTable(meta: FileMeta): boolean {
    const { disk, dir } = this.#options;
    const { number, fileBytes } = meta;
    const path = tablePath(disk, dir.tree, number);
    const file = openIfThere(disk, path);
    if (file === undefined) {
      const now = readManifest(disk, dir.tree)?.state;
      const isNamed = now !== undefined && [...liveFiles(now)].some((table) => table.number === number);
      if (isNamed) throw tableCorrupt(path, 0, 'the manifest names this table, and it is missing');
      return false;
    }
    try {
      const check = verifyTable(file, { number, fileBytes, path });
      const isSame =
        Buffer.compare(check.smallest, meta.smallest) === 0 && Buffer.compare(check.largest, meta.largest) === 0;
      if (!isSame) throw tableCorrupt(path, 0, 'it has other first and last keys than the manifest says');
      this.#entries += check.entries;
      this.#tableBytes += fileBytes;
      return true;
    } finally {
      file.close();
    }
  }

  async #scrubWal(flushed: number | undefined): Promise<{ records: number; bytes: number }> {
    const { disk, dir } = this.#options;
    let bytes = 0;
    let records = 0;
    if (!disk.exists(dir.wal)) return { records, bytes };
    for (let attempt = 1; attempt <= WAL_ATTEMPTS; attempt++) {
      bytes = 0;
      records = 0;
      let lastIndex = 0;
      const log = readWal(disk, dir.wal);
      let step = log.next();
      for (; step.done !== true; step = log.next()) {
        records++;
        bytes += step.value.bytes;
        const { record } = step.value;
        if (record.kind === 'base') lastIndex = record.prevIndex;
        else if (record.kind === 'persist' && record.revertFrom !== undefined) lastIndex = record.revertFrom - 1;
        lastIndex = step.value.indexes?.last ?? lastIndex;
        if (records % 1000 === 0) await this.#options.onProgress?.(this.#done, this.#total);
      }
      const ending = step.value;
      if (ending.state === 'gone') continue;
      if (ending.state === 'damaged') {
        await this.#say({ code: 'WAL_CORRUPT', file: ending.file, offset: ending.offset, message: ending.message });
      } else if (flushed !== undefined) {
        // How the log begins is the writer's matter: it may have let go of more since the manifest was read.
        const gap = gapBetween(flushed, { firstIndex: 0, lastIndex });
        if (gap !== undefined) {
          await this.#say({ code: 'WAL_CORRUPT', file: dir.wal, offset: 0, message: `the log in ${dir.wal} ${gap}` });
        }
      }
      break;
    }
    return { records, bytes };
  }

  async #step(bytes: number): Promise<void> {
    const { bytesPerSecond = 0, onProgress } = this.#options;
    this.#done += bytes;
    await onProgress?.(this.#done, this.#total);
    if (bytesPerSecond === 0) return;
    const dueMs = (this.#done / bytesPerSecond) * 1000;
    const earlyMs = dueMs - (performance.now() - this.#startedMs);
    if (earlyMs > 0) await sleep(earlyMs);
  }

  async #found(error: unknown): Promise<void> {
    const known = diskFailure('cannot read', error);
    if (!isStoreError(known)) throw error;
    const { file = this.#options.dir.tree, offset = 0 } = known.data;
    await this.#say({ code: known.code, file: String(file), offset: Number(offset), message: known.message });
  }

  async #say(damage: Damage): Promise<void> {
    this.#damages.push(damage);
    await this.#options.onDamage?.(damage);
  }
}

function openIfThere(disk: Disk, path: string): DiskFile | undefined {
  try {
    return disk.open(path, 'read');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
