/**
 * What comes of lives at the mesh: a new one of a peer is remembered on disk, and a node that is told that its own directory
 * has forgotten something says nothing more from it, now and after every start.
 */
import { StoreError } from '../../core/base/errors.ts';
import type { LifeSign, Witness } from '../../core/raft/witness.ts';
import { markDamaged } from '../../engine/disk/damaged.ts';
import { readLives, writeLives } from '../../engine/disk/lives.ts';
import { nodeDisk } from '../../engine/disk/node-disk.ts';

/** Undefined: nothing speaks against it. What was seen of it outlives this node, before it is let in. */
export function meetLife(witness: Witness, dataDir: string, peer: string, life: LifeSign): string | undefined {
  const before = witness.seen[peer];
  const loss = witness.meet(peer, life);
  const now = witness.seen[peer];
  if (loss === undefined && (before?.boot !== now?.boot || before?.dir !== now?.dir)) {
    writeLives(nodeDisk, dataDir, { ...readLives(nodeDisk, dataDir), seen: witness.seen });
  }
  return loss;
}

/** `peer` has proved it. Its word is enough: it says what it has seen, and a majority is asked before files are given up. */
export function endForgetful(dataDir: string, peer: string, reason: string): never {
  const error = new StoreError('DIR_ROLLED_BACK', `${dataDir} is older than what ${peer} has seen of it: ${reason}`, {
    data: { dir: dataDir, peer },
  });
  markDamaged(nodeDisk, dataDir, error, new Date());
  throw error;
}
