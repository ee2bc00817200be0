/**
 * A tree on a memory disk, with its writer, reader and keeper, and jobs and timers that wait for the test.
 */
import { MemoryDisk } from '../../../../src/engine/disk/memory-disk.ts';
import { type Job, type JobResult, jobCancelled, runJob } from '../../../../src/engine/lsm/tree/job.ts';
import { Keeper } from '../../../../src/engine/lsm/tree/keeper.ts';
import { createTreeMemory, type TreeMemory } from '../../../../src/engine/lsm/tree/memory.ts';
import { type TreeOptions, treeOptions } from '../../../../src/engine/lsm/tree/options.ts';
import { TreeReader } from '../../../../src/engine/lsm/tree/reader.ts';
import { TreeWriter } from '../../../../src/engine/lsm/tree/writer.ts';
import { latin } from './sources.ts';

export const DIR = '/tree';

type World = Parameters<typeof Keeper.open>[1];

interface Waiting {
  readonly job: Job;
  readonly run: () => void;
  readonly fail: (error: Error) => void;
}

export class Tree {
  readonly disk: MemoryDisk;
  readonly memory: TreeMemory;
  readonly options: TreeOptions;
  readonly keeper: Keeper;
  readonly writer: TreeWriter;
  readonly reader: TreeReader;
  /** Jobs that have been asked for, oldest first; they run when the test says so, or at once if `isAuto`. */
  readonly waiting: Waiting[] = [];
  readonly jobs: Job[] = [];
  isAuto = true;
  timers: { work: () => void; isLive: boolean }[] = [];
  nowMs = 0;
  #revision = 0;

  constructor(given: Partial<TreeOptions> & { disk?: MemoryDisk; world?: Partial<World> } = {}) {
    const { disk = new MemoryDisk(), world = {}, ...options } = given;
    this.disk = disk;
    this.options = treeOptions({
      memtableBytes: 64 * 1024,
      memtables: 4,
      batchBytesMax: 64 * 1024,
      cacheBytes: 64 * 1024,
      levelBaseBytes: 1024 * 1024,
      ...options,
    });
    this.memory = createTreeMemory(this.options);
    disk.mkdir(DIR);
    this.keeper = Keeper.open(this.memory, {
      disk,
      dir: DIR,
      options: this.options,
      runner: { run: (job) => this.#run(job), close: () => this.#close() },
      floor: () => this.reader.visible,
      expiredBeforeMs: () => this.nowMs,
      later: (_delayMs, work) => {
        const timer = { work, isLive: true };
        this.timers.push(timer);
        return { cancel: () => (timer.isLive = false) };
      },
      ...world,
    });
    this.reader = this.newReader();
    this.writer = new TreeWriter(this.memory, this.options.memtableBytes);
    this.#revision = this.reader.visible;
  }

  newReader(): TreeReader {
    const { disk, options } = this;
    return new TreeReader(this.memory, { disk, dir: DIR, options, defer: () => {}, nowMs: () => this.nowMs });
  }

  /** One batch of puts; undefined: a delete. */
  write(changes: Readonly<Record<string, string | undefined>>, expiryMs = 0): number {
    this.#revision++;
    for (const [key, value] of Object.entries(changes)) {
      if (value === undefined) this.writer.remove(latin(key), this.#revision);
      else this.writer.put(latin(key), latin(value), this.#revision, expiryMs);
    }
    this.writer.publish(this.#revision);
    return this.#revision;
  }

  /** Freezes, and waits for the table. */
  async flush(): Promise<void> {
    this.writer.freeze();
    this.keeper.poke();
    await this.keeper.flushed();
  }

  async table(changes: Readonly<Record<string, string | undefined>>, expiryMs = 0): Promise<void> {
    this.write(changes, expiryMs);
    await this.flush();
  }

  get(key: string, reader: TreeReader = this.reader): string | undefined {
    const found = reader.get(latin(key));
    return found && Buffer.from(found.value).toString('latin1');
  }

  files(): string[] {
    return this.disk.list(DIR).filter((name) => name.endsWith('.ldb'));
  }

  levels(): number[] {
    return this.keeper.version.levels.map((tables) => tables.length);
  }

  /** Time passes. */
  fire(): void {
    const { timers } = this;
    this.timers = [];
    for (const { work, isLive } of timers) if (isLive) work();
  }

  async close(): Promise<void> {
    await this.keeper.close();
    this.reader.close();
  }

  #run(job: Job): Promise<JobResult> {
    this.jobs.push(job);
    return new Promise((resolve, reject) => {
      const run = (): void => {
        try {
          resolve(runJob({ disk: this.disk, arenas: this.memory.arenas, pace: () => {} }, job));
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      if (this.isAuto) queueMicrotask(run);
      else this.waiting.push({ job, run, fail: reject });
    });
  }

  #close(): Promise<void> {
    for (const { fail } of this.waiting.splice(0)) fail(jobCancelled());
    return Promise.resolve();
  }
}

/** Whatever promises have to do is done. */
export async function quiet(): Promise<void> {
  for (let i = 0; i < 60; i++) await Promise.resolve();
}
