/**
 * InlineRunner: jobs in the thread that asks for them, one after the other. For tests, for tools, and for disks that
 * other threads cannot see.
 */
import type { JobRunner } from './keeper-world.ts';
import { type Job, jobCancelled, type JobResult, type JobWorld, runJob } from './job.ts';

export class InlineRunner implements JobRunner {
  readonly #world: JobWorld;
  #isClosed = false;

  constructor(world: Omit<JobWorld, 'pace'>) {
    this.#world = { ...world, pace: () => {} };
  }

  async run(job: Job): Promise<JobResult> {
    await Promise.resolve();
    if (this.#isClosed) throw jobCancelled();
    return runJob(this.#world, job);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }
}
