/**
 * Replay: what the log has and the tables have not, batch by batch, when a store is opened.
 */
import { must } from '../../core/base/assert.ts';
import { StoreError } from '../../core/base/errors.ts';
import { type Index, toIndex } from '../../core/base/position.ts';
import type { Wal } from '../wal/wal.ts';
import { batchTimeMs } from './batch.ts';

export interface ReplayTo {
  /** The clock of a batch's writer. */
  readonly time: (timeMs: number) => void;
  readonly apply: (index: Index, bytes: Uint8Array) => Promise<void>;
}

/** Throws WAL_CORRUPT when log and tables do not meet: what lies between them is lost. */
export async function replay(wal: Wal, flushedRevision: number, to: ReplayTo): Promise<void> {
  const { firstIndex, lastIndex } = wal;
  const from = flushedRevision + 1;
  const refuse = (what: string): StoreError =>
    new StoreError('WAL_CORRUPT', `the log in ${wal.dir} ${what}, and the tables end at ${flushedRevision}`, {
      data: { file: wal.dir, offset: 0, firstIndex, lastIndex, flushedRevision },
    });
  if (firstIndex > from) throw refuse(`begins at ${firstIndex}`);
  if (lastIndex < flushedRevision) throw refuse(`ends at ${lastIndex}`);
  // Also when nothing is to be replayed: the time of the last batch is the least that it can be now.
  for (let at = Math.max(firstIndex, Math.min(from, lastIndex)); at <= lastIndex; ) {
    // A piece of it, and in it what takes time: reading is done before anything is awaited.
    const entries = wal.read(toIndex(at));
    for (const { index, data } of entries) {
      to.time(batchTimeMs(data));
      if (index >= from) await to.apply(index, data);
    }
    at = must(entries.at(-1), 'a log gives what it has').index + 1;
  }
}
