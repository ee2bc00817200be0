/**
 * What a keeper works with: the disk, whoever runs its jobs, and what it is told by whoever writes and reads.
 */
import type { Disk } from '../../../core/base/env.ts';
import type { Job, JobResult } from './job.ts';
import type { TreeOptions } from './options.ts';
import type { Trim } from './picker.ts';
import type { Row } from './rows-cursor.ts';

/** Runs jobs: in a pool of threads, or here. */
export interface JobRunner {
  run(job: Job): Promise<JobResult>;
  /** Ends the jobs that run (they reject with CLOSED) and takes no more. */
  close(): Promise<void>;
}

export interface KeeperWorld {
  readonly disk: Disk;
  readonly dir: string;
  readonly options: TreeOptions;
  readonly runner: JobRunner;
  /** Rows to be flushed with a generation; undefined: not known yet. */
  readonly rowsOf?: (generation: number) => readonly Row[] | undefined;
  /** The revision up to which superseded versions may go; what is visible when nobody reads the past. */
  readonly floor: () => number;
  readonly trims?: () => readonly Trim[];
  /** Resolves when the log holds everything up to `revision` durably: before a table does without it. */
  readonly durable?: (revision: number) => Promise<void>;
  /** Values that expired by then are expired for every reader; 0: the tree purges none. */
  readonly expiredBeforeMs?: () => number;
  /** Given up when the disk is full, so that there is room to free some; 0: none is kept. */
  readonly reserveBytes?: number;
  /** Calls back in a while; the keeper waits so for a full disk, and for readers to let go. */
  readonly later: (delayMs: number, work: () => void) => { cancel(): void };
  readonly onChange?: () => void;
  readonly log?: (level: 'debug' | 'info' | 'warn', event: string, fields: Record<string, unknown>) => void;
}

export interface KeeperStats {
  flushes: number;
  compactions: number;
  moves: number;
  flushedBytes: number;
  compactedBytes: number;
  readBytes: number;
}

/** A tree as its keeper sees it; by level, and counted since it was opened. */
export interface TreeFacts extends Readonly<KeeperStats> {
  readonly tables: readonly number[];
  readonly bytes: readonly number[];
  readonly flushedRevision: number;
  /** Memtables that wait to be written. */
  readonly frozen: number;
  /** Files that somebody still reads. */
  readonly leaving: number;
  /** Of its disk. */
  readonly isFull: boolean;
}

export const noStats = (): KeeperStats => ({
  flushes: 0,
  compactions: 0,
  moves: 0,
  flushedBytes: 0,
  compactedBytes: 0,
  readBytes: 0,
});

/** Removes a file that no version names; what cannot go stays for the next start, which looks for such files. */
export function removeFile({ disk, dir, log }: KeeperWorld, name: string): void {
  try {
    disk.remove(`${dir}/${name}`);
  } catch (cause) {
    log?.('warn', 'file.not-removed', { name, message: cause instanceof Error ? cause.message : String(cause) });
  }
}
