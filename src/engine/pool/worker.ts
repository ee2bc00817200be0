/**
 * What runs in a thread of the pool: one job after another, on the real disk.
 */
import { workerData } from 'piscina';
import { type ErrorCode, StoreError } from '../../core/base/errors.ts';
import { nodeDisk } from '../disk/node-disk.ts';
import { type Job, jobCancelled, type JobResult, runJob } from '../lsm/tree/job.ts';

export interface PoolData {
  readonly arenas: readonly SharedArrayBuffer[];
  /** Not 0: jobs are to end. */
  readonly cancel: Int32Array;
}

export type Answer =
  | { readonly ok: true; readonly result: JobResult }
  | {
      readonly ok: false;
      readonly message: string;
      readonly code: ErrorCode | undefined;
      readonly data: Readonly<Record<string, unknown>>;
      /** Of a system error: ENOSPC, EIO. */
      readonly system: string | undefined;
    };

const { arenas, cancel } = workerData as PoolData;

/** A rate is kept over stretches of at least this long: shorter sleeps are not exact. */
const STRETCH_MS = 20;

// piscina calls a module's default export.
// oxlint-disable-next-line import/no-default-export
export default function work(job: Job): Answer {
  let owedMs = 0;
  let lastMs = performance.now();
  const pace = (bytes: number, bytesPerSecond: number): void => {
    if (Atomics.load(cancel, 0) !== 0) throw jobCancelled();
    if (bytesPerSecond === 0) return;
    const nowMs = performance.now();
    owedMs = Math.max(0, owedMs - (nowMs - lastMs)) + (bytes / bytesPerSecond) * 1000;
    lastMs = nowMs;
    // The word that ends the job also ends the sleep.
    if (owedMs >= STRETCH_MS) Atomics.wait(cancel, 0, 0, owedMs);
  };
  try {
    return { ok: true, result: runJob({ disk: nodeDisk, arenas, pace }, job) };
  } catch (error) {
    const cause = error instanceof Error ? error : new Error(String(error));
    return {
      ok: false,
      message: cause.message,
      code: error instanceof StoreError ? error.code : undefined,
      data: error instanceof StoreError ? error.data : {},
      system: (cause as NodeJS.ErrnoException).code,
    };
  }
}
