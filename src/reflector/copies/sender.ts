/**
 * CopySender: puts copies of the LDB where hosts to come find them, one after the other, while replication goes on.
 *
 * When the next is due follows from the newest that is there: a reflector that restarts often sends neither more copies
 * nor fewer. A copy is made beside the LDB first (the disk needs room for it), read in chunks, compressed and sent, some at
 * a time; its manifest last. Then the oldest go, but for `keep`; and what was never finished, once it is a day old, as
 * somebody may still be at it.
 *
 * What fails is told, and tried again after a while; it does not end the reflector.
 */
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { join } from 'node:path';
import { InvariantViolation } from '../../core/base/assert.ts';
import { StoreError } from '../../core/base/errors.ts';
import { copyLdb, ldbFacts, removeLdb } from '../../engine/ldb/copy.ts';
import { nodeDisk } from '../../engine/disk/node-disk.ts';
import {
  CHUNK_BYTES,
  chunkName,
  copyName,
  copyOf,
  createdMsOf,
  encodeManifest,
  filterText,
  LATEST,
  type Manifest,
  manifestName,
  sha256,
} from './manifest.ts';
import { type Objects, withTries } from './objects.ts';

export interface CopySent {
  readonly name: string;
  readonly revision: number;
  readonly bytes: number;
  readonly storedBytes: number;
}

export interface CopySenderOptions {
  readonly dir: string;
  readonly objects: Objects;
  readonly everyMs: number;
  /** Copies that stay. */
  readonly keep: number;
  /** The LDB is there and filled; else nothing is sent. */
  readonly revision: () => number;
  readonly nowMs: () => number;
  readonly onSent: (sent: CopySent) => void;
  readonly onFailed: (error: unknown) => void;
  /** Runs what a timer asks for; what that throws is the end of it, as is what `broke` is told: a broken invariant. */
  readonly guard: (work: () => void) => void;
  readonly broke: (error: unknown) => void;
  /** For tests: size of a chunk, and the first pause between tries. */
  readonly chunkBytes?: number;
  readonly retryDelayMs?: number | undefined;
}

const COPY_DIR = 'copy';
const AT_ONCE = 3;
const LOOK_EVERY_MS = 1_000;
const AFTER_FAILURE_MS = 60_000;
const UNFINISHED_MS = 24 * 60 * 60 * 1000;
/** Fast rather than small: a first start is waited for. */
const GZIP_LEVEL = 1;
const compress = promisify(gzip);

export class CopySender {
  readonly #options: CopySenderOptions;
  readonly #stop = new AbortController();
  readonly #looks: NodeJS.Timeout;
  /** When the next one is due; undefined: not known yet. */
  #dueMs: number | undefined;
  #underWay: Promise<void> | undefined;

  constructor(options: CopySenderOptions) {
    this.#options = options;
    this.#looks = setInterval(() => this.#look(), Math.min(LOOK_EVERY_MS, options.everyMs));
  }

  /** The copy under way is given up. */
  async stop(): Promise<void> {
    clearInterval(this.#looks);
    this.#stop.abort();
    await this.#underWay;
  }

  #look(): void {
    const { revision, nowMs, guard } = this.#options;
    guard(() => {
      if (this.#underWay !== undefined || revision() === 0 || nowMs() < (this.#dueMs ?? 0)) return;
      this.#underWay = this.#turn().finally(() => {
        this.#underWay = undefined;
      });
    });
  }

  async #turn(): Promise<void> {
    const { everyMs, nowMs, onSent, onFailed, broke } = this.#options;
    try {
      const newest = (await this.#copies()).whole.at(-1);
      this.#dueMs = newest === undefined ? 0 : createdMsOf(newest) + everyMs;
      if (nowMs() < this.#dueMs) return;
      const sent = await this.send();
      this.#dueMs = nowMs() + everyMs;
      try {
        await this.#removeOld();
      } finally {
        onSent(sent);
      }
    } catch (error) {
      if (error instanceof InvariantViolation) return broke(error);
      if (this.#stop.signal.aborted) return;
      this.#dueMs = nowMs() + Math.min(everyMs, AFTER_FAILURE_MS);
      onFailed(error);
    }
  }

  /** One copy, now. */
  async send(): Promise<CopySent> {
    const { dir, nowMs, objects, chunkBytes = CHUNK_BYTES } = this.#options;
    const beside = join(dir, COPY_DIR);
    try {
      const file = nodeDisk.open(await copyLdb(dir, beside), 'read');
      try {
        const { position, filter } = await ldbFacts(beside, { besideWriter: false });
        const name = copyName(position.revision, nowMs());
        const bytes = file.size();
        const chunks = await inParallel(Math.ceil(bytes / chunkBytes), async (number) => {
          const at = number * chunkBytes;
          const chunk = new Uint8Array(Math.min(chunkBytes, bytes - at));
          if (file.read(chunk, 0, chunk.length, at) < chunk.length) {
            throw new StoreError('DISK_FAILED', `the copy in ${beside} was cut short`);
          }
          const stored = await compress(chunk, { level: GZIP_LEVEL });
          await this.#try(() => objects.put(chunkName(name, number), stored));
          return { storedBytes: stored.length, sha256: sha256(chunk) };
        });
        const { cluster, revision, timeMs } = position;
        const about = { cluster, revision, timeMs, filter: filterText(filter) };
        const manifest: Manifest = { format: 1, name, ...about, bytes, chunkBytes, chunks };
        await this.#try(() => objects.put(manifestName(name), encodeManifest(manifest)));
        await this.#try(() => objects.put(LATEST, Buffer.from(name)));
        const storedBytes = chunks.reduce((sum, chunk) => sum + chunk.storedBytes, 0);
        return { name, revision, bytes, storedBytes };
      } finally {
        file.close();
      }
    } finally {
      removeLdb(beside);
    }
  }

  /** By age, oldest first: those with a manifest, and those without. */
  async #copies(): Promise<{ readonly whole: string[]; readonly unfinished: string[]; readonly objects: string[] }> {
    const objects = await this.#try(() => this.#options.objects.list());
    const names = [...new Set(objects.map(copyOf).filter((copy) => copy !== undefined))].sort();
    const has = new Set(objects);
    return {
      whole: names.filter((copy) => has.has(manifestName(copy))),
      unfinished: names.filter((copy) => !has.has(manifestName(copy))),
      objects,
    };
  }

  async #removeOld(): Promise<void> {
    const { keep, nowMs } = this.#options;
    const { whole, unfinished, objects } = await this.#copies();
    const abandoned = unfinished.filter((copy) => nowMs() - createdMsOf(copy) > UNFINISHED_MS);
    const gone = [...whole.slice(0, Math.max(0, whole.length - keep)), ...abandoned];
    for (const copy of gone) {
      // The manifest first: what has none is not there.
      const named = objects.filter((object) => copyOf(object) === copy && object !== manifestName(copy));
      await this.#try(() => this.#options.objects.remove(manifestName(copy)));
      for (const object of named) await this.#try(() => this.#options.objects.remove(object));
    }
  }

  #try<T>(work: () => Promise<T>): Promise<T> {
    return withTries(work, this.#stop.signal, this.#options.retryDelayMs);
  }
}

/** What `work` gives for 0 to `count` - 1, a few at once; the first failure is the end. */
export async function inParallel<T>(count: number, work: (number: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  let hasFailed = false;
  const worker = async (): Promise<void> => {
    while (next < count && !hasFailed) {
      const number = next++;
      try {
        results[number] = await work(number);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: AT_ONCE }, worker));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  return results;
}
