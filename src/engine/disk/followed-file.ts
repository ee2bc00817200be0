/**
 * FollowedFile: a file that another process appends to and renames, as its reader has it: held open, whatever it is called
 * by now, and known again by its number in the file system (which nobody else gets while it is held).
 */
import { closeSync, fstatSync, openSync, readSync, type BigIntStats, statSync } from 'node:fs';

export class FollowedFile {
  readonly #fd: number;
  /** The same for any name of it, and for no other file. */
  readonly id: string;

  private constructor(fd: number) {
    this.#fd = fd;
    this.id = idIn(fstatSync(fd, { bigint: true }));
  }

  /** Undefined: there is none. Throws the system's error. */
  static open(path: string): FollowedFile | undefined {
    const fd = unlessMissing(() => openSync(path, 'r'));
    return fd === undefined ? undefined : new FollowedFile(fd);
  }

  size(): number {
    return fstatSync(this.#fd).size;
  }

  /** As many as there are from `position` on, and room for. */
  read(buffer: Uint8Array, position: number): number {
    return readSync(this.#fd, buffer, 0, buffer.length, position);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Which file has this name now; undefined: none. */
export const fileIdOf = (path: string): string | undefined =>
  unlessMissing(() => idIn(statSync(path, { bigint: true })));

const idIn = ({ dev, ino }: BigIntStats): string => `${dev}:${ino}`;

function unlessMissing<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
