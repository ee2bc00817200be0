/**
 * Env: the world as small records, so that the same code runs on real parts and on simulated ones.
 *
 * core and engine never reach for a clock, a disk or a random number; they are given one. A test gives a disk
 * that tears and a clock that jumps.
 */

export interface Clock {
  /** Milliseconds since the epoch; may jump, so it only ever proposes (the log's own time decides). */
  nowMs(): number;
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonicMs(): number;
}

/** Uniform in [0, 1). */
export type Random = () => number;

/** How a file is opened. `create` needs the file to be absent: nothing is ever overwritten by accident. */
export type OpenMode = 'read' | 'write' | 'create';

/**
 * A disk: files in directories, synchronous, because the callers are threads that own their file and would
 * only wait (libuv's pool of four is shared by fs, dns and crypto).
 *
 * Durability contract, which a real disk gives us and a memory disk may break on demand:
 *  - bytes written are durable once `fdatasync` on the same file returns;
 *  - a created, linked, renamed or removed name is durable once `syncDir` on its directory returns;
 *  - a failed `fdatasync` says nothing about any byte, and is never tried again.
 * All failures throw the system error (`code`: 'ENOENT', 'EIO', 'ENOSPC', …).
 */
export interface Disk {
  /** Opens a file. 'read' and 'write' need it to exist (ENOENT); 'create' needs it absent (EEXIST). */
  open(path: string, mode: OpenMode): DiskFile;
  /** Makes a directory and its parents; existing ones are fine. */
  mkdir(path: string): void;
  /** Names in a directory, in byte order. */
  list(path: string): string[];
  exists(path: string): boolean;
  /** Moves a name, of a file or of a directory; a file that has the new name is replaced, in one act. */
  rename(from: string, to: string): void;
  /** A second name for a file: the same bytes under both, until both are removed. EEXIST when `to` is taken. */
  link(from: string, to: string): void;
  remove(path: string): void;
  /** Makes names in `path` durable. */
  syncDir(path: string): void;
}

export interface DiskFile {
  /** A number that other threads of this process can sync by; -1 on disks that have none. */
  readonly fd: number;
  /** Reads up to `length` bytes at `position` into `into` at `offset`; returns the count, 0 at the end. */
  read(into: Uint8Array, offset: number, length: number, position: number): number;
  /** Writes the whole of `bytes` at `position`: short writes are continued; throws when that cannot be done. */
  write(bytes: Uint8Array, position: number): void;
  fdatasync(): void;
  truncate(bytes: number): void;
  size(): number;
  /** May be called twice. */
  close(): void;
}
