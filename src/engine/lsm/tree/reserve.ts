/**
 * Reserve: a file of zeros that is only there to be given up. When the disk is full, its room lets deletes be logged
 * and compactions run, which free more; when it can be made again, the disk is no longer full.
 */
import type { Disk } from '../../../core/base/env.ts';
import { isOutOfSpace } from '../../disk/full-disk.ts';

const NAME = 'RESERVE';
const PIECE_BYTES = 1024 * 1024;

export class Reserve {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #bytes: number;

  constructor(disk: Disk, dir: string, bytes: number) {
    this.#disk = disk;
    this.#path = `${dir}/${NAME}`;
    this.#bytes = bytes;
  }

  /** Makes sure that the reserve is there; false when the disk has no room for it. */
  make(): boolean {
    if (this.#bytes === 0 || this.#isWhole()) return true;
    try {
      if (this.#disk.exists(this.#path)) this.#disk.remove(this.#path);
      const file = this.#disk.open(this.#path, 'create');
      try {
        const zeros = new Uint8Array(Math.min(PIECE_BYTES, this.#bytes));
        for (let at = 0; at < this.#bytes; at += zeros.length) {
          file.write(zeros.subarray(0, Math.min(zeros.length, this.#bytes - at)), at);
        }
      } finally {
        file.close();
      }
      return true;
    } catch (error) {
      if (!isOutOfSpace(error)) throw error;
      // What was made of it takes room that others need more.
      this.giveUp();
      return false;
    }
  }

  /** Frees its room; true when it had some. */
  giveUp(): boolean {
    if (this.#bytes === 0 || !this.#disk.exists(this.#path)) return false;
    this.#disk.remove(this.#path);
    return true;
  }

  #isWhole(): boolean {
    if (!this.#disk.exists(this.#path)) return false;
    const file = this.#disk.open(this.#path, 'read');
    try {
      return file.size() === this.#bytes;
    } finally {
      file.close();
    }
  }
}
