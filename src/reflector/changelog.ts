/**
 * Changelog: what changes in an LDB, as lines of JSON in a file that rotates, for programs that watch files.
 *
 * Lines are written after their commit: whoever reads one finds at least that revision in the LDB. Lines of one commit are
 * written together, and never parted by a rotation.
 *
 *   FILE           the newest lines
 *   FILE.1 … N     older ones, as many as are kept
 *   FILE.position  everything up to this revision was written, and is on disk
 *
 * A crash may come between a commit and its lines. So a start says from where on it wants to be told again (`after`): behind
 * the position, or the last whole line, whichever is later, less the revision of that line, as its commit may have been cut
 * off. Lines may therefore stand there twice, and none is missing: at least once, and each says its revision. Where the
 * ledger no longer has what is wanted, and where the file cannot be written, the next line says out of sync; so does the very
 * first line of all, of the revision at which the changelog begins.
 *
 * Invariant: what `FILE.position` says was synced before it was written.
 */
import { dirname } from 'node:path';
import { InvariantViolation } from '../core/base/assert.ts';
import type { Disk, DiskFile } from '../core/base/env.ts';
import { type LdbChange, lineOf } from '../engine/ldb/changes.ts';

export interface ChangelogOptions {
  readonly disk: Disk;
  readonly path: string;
  /** A commit whose lines would make the file larger begins a new one; default 1 MiB. */
  readonly maxBytes?: number;
  /** Older files that are kept; default 3. */
  readonly keep?: number;
  /** The file cannot be written; told once, until it can be. */
  readonly onFailure: (error: Error) => void;
}

export const CHANGELOG_BYTES: number = 1024 * 1024;
export const CHANGELOG_KEEP = 3;
const TAIL_BYTES = 64 * 1024;
const POSITION_DIGITS = 20;

export class Changelog {
  readonly #options: ChangelogOptions;
  #file: DiskFile | undefined;
  #size = 0;
  /** Everything up to here is in the file. */
  #written: number;
  #positioned: number | undefined;
  #hasUnsynced = false;
  #hasFailed = false;
  #isNew: boolean;

  /** Throws the system's error when there can be no such file. */
  constructor(options: ChangelogOptions) {
    this.#options = options;
    const position = this.#readPosition();
    this.#file = this.#open();
    const last = this.#cutTorn(this.#file);
    this.#written = Math.max(position ?? 0, last - 1);
    this.#positioned = position;
    this.#isNew = position === undefined && last === 0;
  }

  /** Everything behind this revision is to be told; undefined: it is new, and begins where the LDB is. */
  get after(): number | undefined {
    return this.#isNew ? undefined : this.#written;
  }

  /** The LDB is at `revision`. */
  begin(revision: number): void {
    if (!this.#isNew) return;
    this.#isNew = false;
    // Who goes on from before it has missed something, and can tell; who goes on from behind it knows that it has not.
    this.append([{ kind: 'out-of-sync', revision }], revision);
    this.sync();
  }

  /** Something changed that it was not told: the next line says out of sync. */
  missed(): void {
    this.#hasFailed = true;
  }

  /** Everything that is told up to `revision`; it may be nothing. */
  append(changes: readonly LdbChange[], revision: number): void {
    try {
      const lines = this.#hasFailed ? [lineOf({ kind: 'out-of-sync', revision })] : changes.map(lineOf);
      if (lines.length > 0) this.#write(Buffer.from(`${lines.join('\n')}\n`));
      this.#written = Math.max(this.#written, revision);
      this.#hasFailed = false;
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Now and then: makes durable how far it is. */
  sync(): void {
    if (this.#hasFailed || this.#file === undefined || this.#written === this.#positioned) return;
    try {
      if (this.#hasUnsynced) this.#file.fdatasync();
      this.#hasUnsynced = false;
      this.#writePosition(this.#written);
    } catch (error) {
      this.#failed(error);
    }
  }

  close(): void {
    this.sync();
    this.#file?.close();
    this.#file = undefined;
  }

  #write(bytes: Uint8Array): void {
    const { maxBytes = CHANGELOG_BYTES } = this.#options;
    if (this.#size > 0 && this.#size + bytes.length > maxBytes) this.#rotate();
    const file = (this.#file ??= this.#open());
    try {
      this.#hasUnsynced = true;
      file.write(bytes, this.#size);
    } catch (error) {
      // A part of it may be there: it goes, so that the next line is one.
      file.truncate(this.#size);
      throw error;
    }
    this.#size += bytes.length;
  }

  #rotate(): void {
    const { disk, path, keep = CHANGELOG_KEEP } = this.#options;
    // What was in it counts as written from now on, whatever the next sync is of.
    this.#file?.fdatasync();
    this.#file?.close();
    this.#file = undefined;
    if (keep === 0) disk.remove(path);
    for (let i = keep; i > 0; i--) {
      const older = i === 1 ? path : `${path}.${i - 1}`;
      if (disk.exists(older)) disk.rename(older, `${path}.${i}`);
    }
    this.#file = this.#open();
  }

  #open(): DiskFile {
    const { disk, path } = this.#options;
    const isThere = disk.exists(path);
    const file = disk.open(path, isThere ? 'write' : 'create');
    // A position says nothing of a file whose name is lost.
    if (!isThere) disk.syncDir(dirname(path));
    this.#size = file.size();
    return file;
  }

  /** Cuts off a line without an end; gives the revision of the last one that has one, or 0. */
  #cutTorn(file: DiskFile): number {
    const from = Math.max(0, this.#size - TAIL_BYTES);
    const tail = readAll(file, from, this.#size);
    const end = tail.lastIndexOf(0x0a) + 1;
    if (end < tail.length) file.truncate(from + end);
    this.#size = from + end;
    const last =
      tail
        .subarray(0, Math.max(0, end - 1))
        .toString('utf8')
        .split('\n')
        .at(-1) ?? '';
    try {
      const { revision } = JSON.parse(last) as { readonly revision?: unknown };
      return typeof revision === 'number' ? revision : 0;
    } catch {
      // None, or one longer than the tail: what is told again is at least what was lost.
      return 0;
    }
  }

  #readPosition(): number | undefined {
    const { disk, path } = this.#options;
    const name = `${path}.position`;
    if (!disk.exists(name)) return undefined;
    const file = disk.open(name, 'read');
    try {
      const digits = readAll(file, 0, file.size()).toString('latin1').trim();
      return /^\d{1,16}$/.test(digits) ? Number(digits) : undefined;
    } finally {
      file.close();
    }
  }

  #writePosition(revision: number): void {
    const { disk, path } = this.#options;
    const name = `${path}.position`;
    const isThere = disk.exists(name);
    const file = disk.open(name, isThere ? 'write' : 'create');
    try {
      file.write(Buffer.from(`${String(revision).padStart(POSITION_DIGITS)}\n`), 0);
      this.#positioned = revision;
      // Later ones may come to the disk when they like: an older position only has more told again. None would be a new log.
      if (isThere) return;
      file.fdatasync();
      disk.syncDir(dirname(path));
    } finally {
      file.close();
    }
  }

  #failed(error: unknown): void {
    if (!(error instanceof Error) || error instanceof InvariantViolation) throw error;
    if (!this.#hasFailed) this.#options.onFailure(error);
    this.#hasFailed = true;
  }
}

function readAll(file: DiskFile, from: number, to: number): Buffer {
  const bytes = Buffer.alloc(to - from);
  let length = 0;
  for (let count = -1; length < bytes.length && count !== 0; length += count) {
    count = file.read(bytes, length, bytes.length - length, from + length);
  }
  return bytes.subarray(0, length);
}
