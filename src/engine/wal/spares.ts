/**
 * Spares: files of segments that are gone, filled with zeros, to begin new segments in.
 *
 * A sync of a file whose blocks are there already costs about half of one that has to make them. The price is to write
 * the zeros, so that is done in small steps, when nobody waits for the disk, and each step is synced by itself so that
 * no heap of them is ever in the way of a commit.
 *
 *   000007.wal ──retire──> spare-000007.wal, old bytes ──step…──> zeros ──take──> (the committer: base, 000012.wal)
 *
 * The order of things in a crash:
 *  - the new name is durable before a byte is overwritten (the committer syncs the directory after `retire`), so no
 *    segment loses its bytes while it has its name;
 *  - a spare is no segment by its name, and becomes one only by the committer's rename, with its base written and
 *    synced: half-filled ones are never read as a log;
 *  - bytes of the old life that survive all the same carry the old segment's number and salt: they are no chunks.
 * What is found at a start may be in any of these states: it is looked at, and is a spare if it is zeros to its end.
 *
 * Invariant: a file that `take` gives holds nothing but zeros, on the disk too, over its whole length.
 */
import type { Disk, DiskFile } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { isSpareName, spareName, ZERO_AHEAD_BYTES } from './format.ts';
import { endOfContent } from './zeros.ts';

export interface SparesOptions {
  readonly disk: Disk;
  readonly dir: string;
  readonly segmentBytes: number;
  /** Their length is a multiple of this, as that of segments is; a step is a quarter. Default 1 MiB. */
  readonly zeroAheadBytes?: number;
  /** How many are kept, filled or not; 0: segments are removed. */
  readonly max: number;
}

/** A file on its way to be a spare. */
interface Raw {
  readonly path: string;
  /** Found at the start: it may be zeros already. */
  readonly wasFound: boolean;
  file: DiskFile | undefined;
  at: number;
}

export class Spares {
  readonly #options: SparesOptions;
  /** Length of every spare. */
  readonly #bytes: number;
  /** As many as are written at once. */
  readonly #zeros: Uint8Array;
  #ready: string[] = [];
  #raw: Raw[] = [];

  constructor(options: SparesOptions) {
    const { disk, dir, segmentBytes } = options;
    this.#options = options;
    const { zeroAheadBytes = ZERO_AHEAD_BYTES } = options;
    this.#bytes = Math.ceil(segmentBytes / zeroAheadBytes) * zeroAheadBytes;
    this.#zeros = new Uint8Array(Math.ceil(zeroAheadBytes / 4));
    disk.mkdir(dir);
    for (const name of disk.list(dir)) {
      if (isSpareName(name)) this.#keep(`${dir}/${name}`, true);
    }
  }

  get ready(): number {
    return this.#ready.length;
  }

  /** Makes a spare of a segment, or removes it when there are enough. The caller syncs the directory, then `step`s. */
  retire(path: string, segment: number): void {
    const { disk, dir } = this.#options;
    const spare = `${dir}/${spareName(segment)}`;
    if (this.#ready.length + this.#raw.length >= this.#options.max) disk.remove(path);
    else {
      disk.rename(path, spare);
      this.#keep(spare, false);
    }
  }

  /** A file to begin `segment` in, by its present name, and how many zeros it holds: an empty one when none is ready. */
  take(segment: number): { readonly path: string; readonly bytes: number } {
    const ready = this.#ready.shift();
    if (ready !== undefined) return { path: ready, bytes: this.#bytes };
    const { disk, dir } = this.#options;
    const path = `${dir}/${spareName(segment)}`;
    // A start that failed here has left it.
    this.#raw = this.#raw.filter((raw) => raw.path !== path);
    if (disk.exists(path)) disk.remove(path);
    disk.open(path, 'create').close();
    return { path, bytes: 0 };
  }

  /** Does a little of what is to be done, and waits for the disk to have it. False when nothing is to be done. */
  step(): boolean {
    const raw = this.#raw[0];
    if (raw === undefined) return false;
    try {
      this.#work(raw).fdatasync();
      this.#advance(raw);
    } catch {
      this.#giveUp(raw);
    }
    return true;
  }

  /** The same with a sync beside the caller's thread. One at a time; none may be under way at `close`. */
  async stepBeside(sync: (file: DiskFile) => Promise<void>): Promise<boolean> {
    const raw = this.#raw[0];
    if (raw === undefined) return false;
    try {
      await sync(this.#work(raw));
      this.#advance(raw);
    } catch {
      this.#giveUp(raw);
    }
    return true;
  }

  close(): void {
    for (const raw of this.#raw) raw.file?.close();
    this.#raw = [];
  }

  #keep(path: string, wasFound: boolean): void {
    const { disk, max } = this.#options;
    if (this.#ready.length + this.#raw.length >= max) disk.remove(path);
    else this.#raw.push({ path, wasFound, file: undefined, at: 0 });
  }

  /** Fills the next part with zeros, or looks whether it is zeros. Throws when the file is of no use. */
  #work(raw: Raw): DiskFile {
    const { disk } = this.#options;
    const file = (raw.file ??= disk.open(raw.path, 'write'));
    const bytes = Math.min(this.#zeros.length, this.#bytes - raw.at);
    if (raw.wasFound) this.#check(raw, file, bytes);
    else {
      if (raw.at === 0 && file.size() > this.#bytes) file.truncate(this.#bytes);
      file.write(this.#zeros.subarray(0, bytes), raw.at);
    }
    raw.at += bytes;
    return file;
  }

  #check(raw: Raw, file: DiskFile, bytes: number): void {
    const found = new Uint8Array(bytes);
    const isWhole = file.size() === this.#bytes && file.read(found, 0, bytes, raw.at) === bytes;
    if (!isWhole || endOfContent(found, bytes) !== 0) {
      throw new StoreError('WAL_CORRUPT', `${raw.path} is not whole zeros`);
    }
  }

  #advance(raw: Raw): void {
    // During a sync beside the caller its name may have been taken.
    const isOurs = this.#raw.includes(raw);
    if (isOurs && raw.at < this.#bytes) return;
    this.#forget(raw);
    if (isOurs) this.#ready.push(raw.path);
  }

  /** A spare is a help and no need: one that is not zeros, or cannot be written, goes. A bad disk tells the log itself. */
  #giveUp(raw: Raw): void {
    this.#forget(raw);
    try {
      this.#options.disk.remove(raw.path);
    } catch {
      // The next start finds it.
    }
  }

  #forget(raw: Raw): void {
    raw.file?.close();
    this.#raw = this.#raw.filter((other) => other !== raw);
  }
}
