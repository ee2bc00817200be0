/**
 * Objects in a directory: a file each, written beside and renamed.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { StoreError } from '../../core/base/errors.ts';
import { fdatasyncFdAsync, nodeDisk } from '../../engine/disk/node-disk.ts';
import type { Objects } from './objects.ts';

const UNFINISHED = '.tmp';

export class FileObjects implements Objects {
  readonly url: string;
  readonly #dir: string;

  constructor(url: string) {
    this.url = url;
    try {
      this.#dir = fileURLToPath(url);
    } catch (cause) {
      throw new StoreError('BAD_REQUEST', `${url} names no directory of this host`, { cause });
    }
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    const path = join(this.#dir, name);
    await this.#do(name, async () => {
      nodeDisk.mkdir(this.#dir);
      if (nodeDisk.exists(path + UNFINISHED)) nodeDisk.remove(path + UNFINISHED);
      const file = nodeDisk.open(path + UNFINISHED, 'create');
      try {
        file.write(bytes, 0);
        await fdatasyncFdAsync(file.fd);
      } finally {
        file.close();
      }
      nodeDisk.rename(path + UNFINISHED, path);
      nodeDisk.syncDir(this.#dir);
    });
  }

  get(name: string, bytesMax: number): Promise<Uint8Array> {
    return this.#do(name, async () => {
      const file = nodeDisk.open(join(this.#dir, name), 'read');
      try {
        const size = file.size();
        if (size > bytesMax) throw new StoreError('PROTOCOL_ERROR', `${name} has ${size} bytes, more than ${bytesMax}`);
        const bytes = new Uint8Array(size);
        return bytes.subarray(0, file.read(bytes, 0, size, 0));
      } finally {
        file.close();
      }
    });
  }

  async list(): Promise<string[]> {
    if (!nodeDisk.exists(this.#dir)) return [];
    return this.#do('', async () => nodeDisk.list(this.#dir).filter((name) => !name.endsWith(UNFINISHED)));
  }

  async remove(name: string): Promise<void> {
    const path = join(this.#dir, name);
    await this.#do(name, async () => {
      if (nodeDisk.exists(path)) nodeDisk.remove(path);
    });
  }

  async #do<T>(name: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (cause instanceof StoreError) throw cause;
      const code = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'NOT_FOUND' : 'DISK_FAILED';
      throw new StoreError(code, `${join(this.#dir, name)}: ${String(cause)}`, { cause });
    }
  }
}
