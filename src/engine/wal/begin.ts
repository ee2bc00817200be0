/**
 * beginLog: a log whose state comes from elsewhere: it holds no entry, and its base says where it goes on and what the
 * node has promised. Its first segment is the second one, as if the first had been removed already, so that the base
 * is what a recovery goes by.
 *
 * What is in the directory goes first, durably: of two logs under one name nobody could tell which counts. So whoever
 * calls this has what it takes to call it again after a crash.
 */
import type { Disk } from '../../core/base/env.ts';
import { plus, type Term, toLsn } from '../../core/base/position.ts';
import type { HardState } from '../../core/raft/types.ts';
import { Committer } from './committer.ts';
import { BLOCK_BYTES, isSpareName, segmentNumber } from './format.ts';
import { Spares } from './spares.ts';

export interface LogBeginning {
  /** What the node has promised; `commit` is the last entry that is not in the log. */
  readonly hardState: HardState;
  /** Term of that entry. */
  readonly baseTerm: Term;
  /** A random number that nobody outside may guess. */
  readonly salt: () => number;
}

/** Empties the log in `dir`, and begins it anew. */
export function beginLog(disk: Disk, dir: string, { hardState, baseTerm, salt }: LogBeginning): void {
  disk.mkdir(dir);
  for (const name of disk.list(dir)) {
    if (segmentNumber(name) !== undefined || isSpareName(name)) disk.remove(`${dir}/${name}`);
  }
  disk.syncDir(dir);
  const lastIndex = hardState.commit;
  const committer = new Committer(
    {
      disk,
      dir,
      segmentBytes: 1,
      // Whoever goes on writes its own.
      zeroAheadBytes: BLOCK_BYTES,
      salt,
      spares: new Spares({ disk, dir, segmentBytes: 1, max: 0 }),
      synced: () => toLsn(0),
      onSegment: () => {},
    },
    {
      hardState,
      firstIndex: plus(lastIndex, 1),
      baseTerm,
      lastIndex,
      runs: [],
      lastLsn: toLsn(0),
      firstSegment: 2,
      bases: [],
      tail: { segment: 2, offset: 0, salt: 0 },
    },
  );
  committer.close();
}
