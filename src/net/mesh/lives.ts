/**
 * What comes of lives at the mesh: a new one of a peer is remembered on disk, and a node that is told that its own directory
 * has forgotten something says nothing more from it, now and after every start.
 */
import type { Disk } from '../../core/base/env.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { LifeSign, Witness } from '../../core/raft/witness.ts';
import { markDamaged } from '../../engine/disk/damaged.ts';
import { readLives, writeLives } from '../../engine/disk/lives.ts';

/** Where a node keeps what it has seen. */
export interface LivesDir {
  readonly disk: Disk;
  readonly dataDir: string;
}

/** Undefined: nothing speaks against it. What was seen of it outlives this node, before it is let in. */
export function meetLife(
  witness: Witness,
  { disk, dataDir }: LivesDir,
  peer: string,
  life: LifeSign,
): string | undefined {
  const before = witness.seen[peer];
  const loss = witness.meet(peer, life);
  const now = witness.seen[peer];
  if (loss === undefined && (before?.boot !== now?.boot || before?.dir !== now?.dir)) {
    writeLives(disk, dataDir, { ...readLives(disk, dataDir), seen: witness.seen });
  }
  return loss;
}

/** `peer` has proved it. Its word is enough: it says what it has seen, and a majority is asked before files are given up. */
export function endForgetful({ disk, dataDir }: LivesDir, peer: string, reason: string, when: Date): never {
  const error = new StoreError('DIR_ROLLED_BACK', `${dataDir} is older than what ${peer} has seen of it: ${reason}`, {
    data: { dir: dataDir, peer },
  });
  markDamaged(disk, dataDir, error, when);
  throw error;
}
