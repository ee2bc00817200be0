/**
 * Clearing entry by entry, for what a range delete cannot say: the first so many, or only what a snapshot has.
 *
 * In batches of bounded size, each whole or not at all; the whole is not one act. The cursor reads what was visible
 * when it began, so a key that is written meanwhile is deleted if it was there then.
 */
import type { Engine, TreeSnapshot } from '../engine/store/index.ts';
import type { KeyRange } from './range.ts';
import type { Turns } from './turns.ts';

export interface ClearWork extends KeyRange {
  readonly reverse: boolean;
  /** -1: none. */
  readonly limit: number;
  readonly snapshot: TreeSnapshot | undefined;
  readonly sync: boolean;
  readonly turns: Turns;
}

const BATCH_BYTES = 64 * 1024;

export async function clearEntries(engine: Engine, work: ClearWork): Promise<void> {
  const { from, to, reverse, snapshot, sync, turns } = work;
  const cursor = engine.cursor({ from, to, reverse, snapshot });
  try {
    let left = work.limit < 0 ? Number.POSITIVE_INFINITY : work.limit;
    for (let entry = cursor.next(); entry !== undefined && left > 0; ) {
      const batch = engine.batch();
      let isTurnDue = false;
      while (entry !== undefined && left > 0 && batch.bytes < BATCH_BYTES && !isTurnDue) {
        batch.delete(entry.key);
        left--;
        isTurnDue = turns.spend(entry.key.length + entry.value.length);
        entry = left > 0 ? cursor.next() : undefined;
      }
      await engine.write(batch, { sync });
      if (isTurnDue) await turns.next();
    }
  } finally {
    cursor.close();
  }
}
