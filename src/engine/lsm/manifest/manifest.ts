/**
 * Manifest: which tables there are, durably. One writer, the compactor; each edit is synced before it takes effect.
 *
 *   append(edit)  edit → record → written → synced → state        (returned: durable, whatever comes)
 *   roll over     state and edit in one record of a new manifest → synced → CURRENT renamed to it → synced
 *
 * A failure leaves one of two things behind:
 *  - a *write* failed (no space, EIO, a rename refused): nothing has changed. What may have reached the file is cut
 *    off and the cut is synced before the caller hears of it, as the caller will remove the tables that the edit
 *    names, and a restart must not find an edit that names them. After ENOSPC (STORE_FULL) the same file goes on,
 *    which needs the least room; after anything else the next append begins a new one.
 *  - a *sync* failed, or what was written cannot be taken back: nobody knows what is on the disk. The manifest is
 *    poisoned: this and every later call is DISK_FAILED, a sync is never tried twice, and the edit's tables must
 *    stay, since a restart may find it.
 *
 * A new file takes over once the old one has grown past `manifestBytesMax` and to twice its first record, so that
 * a state larger than the bound is not written again for each edit.
 *
 * Numbers come from `takeFileNumber`, and the counter goes into each edit. After a restart it also stands above every
 * name in the directory, so the number of a file that no edit came to name is not given again.
 */
import { assert, InvariantViolation } from '../../../core/base/assert.ts';
import type { Disk, DiskFile } from '../../../core/base/env.ts';
import { StoreError } from '../../../core/base/errors.ts';
import { readCurrent, renameCurrent, writeManifest } from './current.ts';
import { failed, SyncFailure, synced } from './failures.ts';
import { CURRENT, highestNumber, manifestName, tmpName } from './file-names.ts';
import { LogWriter } from './log-format.ts';
import { recoverState } from './recovery.ts';
import { applyEdit, EMPTY_STATE, type ManifestState, type Refuse } from './state.ts';
import { encodeEdit, type VersionEdit } from './version-edit.ts';

export interface ManifestOptions {
  /** A manifest longer than this is replaced; 4 MiB. */
  readonly manifestBytesMax?: number;
}

export interface RecoveredManifest {
  readonly manifest: Manifest;
  readonly state: ManifestState;
  /** Bytes of an append that a crash cut short, for the log line. */
  readonly trimmedBytes: number;
}

const MANIFEST_BYTES_MAX = 4 * 1024 * 1024;

/** A manifest file that is open for appends. */
interface Open {
  readonly number: number;
  readonly file: DiskFile;
  readonly writer: LogWriter;
  /** Grown past this, it is replaced. */
  readonly bytesMax: number;
}

export class Manifest {
  readonly #disk: Disk;
  readonly #dir: string;
  readonly #bytesMax: number;
  #state: ManifestState;
  /** Undefined when the store is open for reading only. */
  #open: Open | undefined;
  #nextFile: number;
  /** The file's end cannot be written, so the next append begins a new one. */
  #mustRoll = false;
  #isClosed = false;
  #failure: StoreError | undefined;

  private constructor(disk: Disk, dir: string, state: ManifestState, open: Open | undefined, bytesMax: number) {
    this.#disk = disk;
    this.#dir = dir;
    this.#state = state;
    this.#nextFile = state.nextFile;
    this.#open = open;
    this.#bytesMax = bytesMax;
  }

  /** Makes the manifest of a new store; `recover` said that there is none. */
  static create(disk: Disk, dir: string, options: ManifestOptions = {}): Manifest {
    disk.mkdir(dir);
    assert(!disk.exists(`${dir}/${CURRENT}`), 'a new store has no CURRENT');
    const bytesMax = options.manifestBytesMax ?? MANIFEST_BYTES_MAX;
    const number = highestNumber(disk.list(dir)) + 1;
    const state = { ...EMPTY_STATE, nextFile: number + 1 };
    let file: DiskFile | undefined;
    try {
      const made = writeManifest(disk, dir, number, state);
      file = made.file;
      renameCurrent(disk, dir, number);
      synced(() => disk.syncDir(dir));
      const open = { number, ...made, bytesMax: boundOf(bytesMax, made.writer) };
      return new Manifest(disk, dir, state, open, bytesMax);
    } catch (cause) {
      file?.close();
      throw failed(`the manifest of a new store in ${dir} could not be made`, cause);
    }
  }

  /**
   * Reads what is there; undefined when the directory holds no store yet. What it returns is durable: an edit that
   * was written and not yet synced when its process died is synced now, before anybody acts on it.
   * Throws TABLE_CORRUPT when the manifest is damaged, or names tables that are not there as it says.
   */
  static recover(
    disk: Disk,
    dir: string,
    options: ManifestOptions & { readonly readOnly?: boolean } = {},
  ): RecoveredManifest | undefined {
    const recovered = recoverState(disk, dir, { readOnly: options.readOnly ?? false });
    if (recovered === undefined) return undefined;
    const { number, file, end, firstEnd, state, trimmedBytes } = recovered;
    const bytesMax = options.manifestBytesMax ?? MANIFEST_BYTES_MAX;
    const open = file && {
      number,
      file,
      writer: new LogWriter(file, end),
      bytesMax: Math.max(bytesMax, 2 * firstEnd),
    };
    return { manifest: new Manifest(disk, dir, state, open, bytesMax), state, trimmedBytes };
  }

  get state(): ManifestState {
    return this.#state;
  }

  /** Of the file that counts; undefined when the store is open for reading only. */
  get fileNumber(): number | undefined {
    return this.#open?.number;
  }

  /** Why nothing more can be appended, once a sync has failed. */
  get failure(): StoreError | undefined {
    return this.#failure;
  }

  /** A number for a new file; durable with the next edit. */
  takeFileNumber(): number {
    return this.#nextFile++;
  }

  /**
   * Makes the edit durable and returns the state after it. On a throw the state is as it was; STORE_FULL may be
   * tried again, and so may DISK_FAILED unless `failure` is set.
   */
  append(edit: VersionEdit): ManifestState {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#isClosed) throw new StoreError('CLOSED', `the manifest in ${this.#dir} is closed`);
    const open = this.#open;
    if (open === undefined) throw new StoreError('READ_ONLY', `the store in ${this.#dir} is open for reading only`);
    for (const { file } of edit.newFiles ?? []) {
      assert(file.number < this.#nextFile, 'a table has a number that was given to it');
    }
    if (this.#mustRoll || open.writer.offset >= open.bytesMax) return this.#rollOver(open, edit);
    const numbered = { ...edit, nextFile: this.#nextFile };
    const state = applyEdit(this.#state, numbered, refuseOurs);
    this.#write(open, encodeEdit(numbered));
    this.#sync(() => open.file.fdatasync());
    this.#state = state;
    return state;
  }

  /** May be called twice. */
  close(): void {
    this.#isClosed = true;
    this.#open?.file.close();
  }

  // ── one record more ──

  #write({ number, file, writer }: Open, record: Uint8Array): void {
    const { offset } = writer;
    try {
      writer.append(record);
    } catch (cause) {
      this.#takeBack(file, offset, cause);
      const error = failed(`${this.#dir}/${manifestName(number)} could not be written`, cause);
      if (error.code !== 'STORE_FULL') this.#mustRoll = true;
      throw error;
    }
  }

  /** No restart may find the edit of which we now say that it failed. */
  #takeBack(file: DiskFile, offset: number, cause: unknown): void {
    try {
      file.truncate(offset);
      file.fdatasync();
    } catch (error) {
      throw this.#poison(new AggregateError([cause, error], 'a write failed, and so did taking it back'));
    }
  }

  // ── a new file ──

  #rollOver(old: Open, edit: VersionEdit): ManifestState {
    const number = this.takeFileNumber();
    const state = applyEdit(this.#state, { ...edit, nextFile: this.#nextFile }, refuseOurs);
    const open = this.#begin(number, state);
    try {
      this.#install(number, old.number);
    } catch (error) {
      open.file.close();
      throw error;
    }
    old.file.close();
    this.#open = open;
    this.#state = state;
    this.#mustRoll = false;
    return state;
  }

  /** The new file, synced, while CURRENT still names the old one: it can be given up without a trace. */
  #begin(number: number, state: ManifestState): Open {
    try {
      const { file, writer } = writeManifest(this.#disk, this.#dir, number, state);
      return { number, file, writer, bytesMax: boundOf(this.#bytesMax, writer) };
    } catch (cause) {
      if (cause instanceof SyncFailure) throw this.#poison(cause);
      throw this.#giveUp(number, cause);
    }
  }

  #install(number: number, oldNumber: number): void {
    try {
      renameCurrent(this.#disk, this.#dir, number);
    } catch (cause) {
      // A rename that failed should not have happened; what CURRENT says is asked, as tables hang on it.
      if (cause instanceof SyncFailure || this.#currentOr(number) !== oldNumber) throw this.#poison(cause);
      throw this.#giveUp(number, cause);
    }
    this.#sync(() => this.#disk.syncDir(this.#dir));
  }

  #currentOr(number: number): number {
    try {
      return readCurrent(this.#disk, this.#dir) ?? number;
    } catch {
      // Not readable: it may name the new manifest.
      return number;
    }
  }

  #giveUp(number: number, cause: unknown): StoreError {
    for (const name of [tmpName(number), manifestName(number)]) {
      try {
        this.#disk.remove(`${this.#dir}/${name}`);
      } catch {
        // Not made yet, or the disk refuses: nothing names it, and the next start removes it.
      }
    }
    return failed(`${this.#dir}/${manifestName(number)} could not be made`, cause);
  }

  // ── the end ──

  #sync(sync: () => void): void {
    try {
      synced(sync);
    } catch (cause) {
      throw this.#poison(cause);
    }
  }

  #poison(cause: unknown): StoreError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `what the manifest in ${this.#dir} holds is not known; nothing more is written: ${reason}`;
    this.#failure = new StoreError('DISK_FAILED', message, { cause });
    return this.#failure;
  }
}

function boundOf(bytesMax: number, writer: LogWriter): number {
  return Math.max(bytesMax, 2 * writer.offset);
}

/** A wrong edit of our own is a bug, stopped before a byte of it is written. */
const refuseOurs: Refuse = (what) => {
  throw new InvariantViolation(`broken: an edit fits the version it changes: ${what}`);
};
