/**
 * wholeState: whether tables and log of a directory make one state that a start accepts.
 *
 *   tables  …───────flushed│
 *   log          │first────────────────last│        first ≤ flushed + 1, flushed ≤ last
 *
 * The tables hold everything up to the flushed revision, so the log must go on from there without a hole, and reach
 * that far: a node that has applied what its log does not have could never agree with its peers.
 */
import type { Disk } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import { Manifest } from '../lsm/manifest/manifest.ts';
import { gapBetween, type LogRange } from '../wal/gap.ts';
import { readLog } from '../wal/read-log.ts';

export interface WholeState extends LogRange {
  readonly flushedRevision: number;
  readonly term: number;
}

/** Reads manifest and log as a start does, and changes nothing. Throws TABLE_CORRUPT, WAL_CORRUPT. */
export function wholeState(disk: Disk, { tree, wal }: { readonly tree: string; readonly wal: string }): WholeState {
  // None before a node's first start has made its tree.
  const flushedRevision = Manifest.recover(disk, tree, { readOnly: true })?.state.lastSequence ?? 0;
  const log = logState(disk, wal);
  const gap = gapBetween(flushedRevision, log);
  if (gap !== undefined) {
    throw new StoreError('WAL_CORRUPT', `the log in ${wal} ${gap}`, { data: { file: wal, offset: 0, ...log } });
  }
  return { flushedRevision, ...log };
}

/** What the log amounts to. Throws WAL_CORRUPT. */
export function logState(disk: Disk, wal: string): LogRange & { readonly term: number } {
  if (!disk.exists(wal)) return { firstIndex: 1, lastIndex: 0, term: 0 };
  const records = readLog(disk, wal);
  let step = records.next();
  while (step.done !== true) step = records.next();
  const { firstIndex, lastIndex, hardState } = step.value.standing;
  return { firstIndex, lastIndex, term: hardState.term };
}
