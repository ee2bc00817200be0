/**
 * PoolRunner: jobs of the tree in threads of their own, so that whoever writes and reads goes on meanwhile.
 *
 * A piscina pool. A job crosses as plain data (file numbers, options, a few keys) and its result as an edit; the data
 * themselves never do: the worker reads and writes the files, and memtables are shared memory. Two threads, because a
 * flush must not wait for a long compaction: writers stop when no memtable is free.
 *
 * `atomics: 'async'`: a worker that waits for its next job keeps its event loop going; nothing is gained by the other
 * modes for jobs of this length.
 */
import { Piscina } from 'piscina';
import { isStoreError, StoreError } from '../../core/base/errors.ts';
import { type Job, jobCancelled, type JobResult } from '../lsm/tree/job.ts';
import type { JobRunner } from '../lsm/tree/keeper-world.ts';
import type { Answer, PoolData } from './worker.ts';

const THREADS = 2;
/**
 * Below whoever writes and reads, where the system knows priorities: a burst goes first, and its tables are merged when
 * it is over. It cannot starve them: when no memtable is free, writers wait, and the processor is theirs.
 */
const NICE = 10;
/** A thread that had nothing to do for so long ends. */
const IDLE_MS = 10_000;
/** Longest wait for jobs to notice that they are to end. */
const CLOSE_MS = 5_000;

export class PoolRunner implements JobRunner {
  readonly #pool: Piscina;
  readonly #cancel = new Int32Array(new SharedArrayBuffer(4));
  #isClosed = false;
  #running = new Set<Promise<unknown>>();

  constructor(arenas: readonly SharedArrayBuffer[]) {
    const data: PoolData = { arenas, cancel: this.#cancel };
    this.#pool = new Piscina({
      filename: new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url).href,
      workerData: data,
      minThreads: 0,
      maxThreads: THREADS,
      idleTimeout: IDLE_MS,
      atomics: 'async',
      niceIncrement: NICE,
      // An application's own flags (--inspect, --import) are not the store's.
      execArgv: [],
    });
  }

  async run(job: Job): Promise<JobResult> {
    if (this.#isClosed) throw jobCancelled();
    const running = this.#pool.run(job) as Promise<Answer>;
    this.#running.add(running);
    try {
      const answer = await running;
      if (answer.ok) return answer.result;
      throw fromPlain(answer);
    } catch (error) {
      if (this.#isClosed && !isStoreError(error)) throw jobCancelled();
      throw error;
    } finally {
      this.#running.delete(running);
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    Atomics.store(this.#cancel, 0, 1);
    Atomics.notify(this.#cancel, 0);
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS);
    });
    // They look at the word every thousand entries; a disk that hangs is not waited for longer than this.
    await Promise.race([Promise.allSettled(this.#running), deadline]);
    clearTimeout(timer);
    await this.#pool.destroy();
  }
}

/** Codes and the system's own words survive the way between threads; classes do not. */
function fromPlain(answer: Extract<Answer, { ok: false }>): Error {
  if (answer.code !== undefined) return new StoreError(answer.code, answer.message, { data: answer.data });
  return Object.assign(new Error(answer.message), answer.system === undefined ? {} : { code: answer.system });
}
