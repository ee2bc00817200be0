/**
 * OpenDir: what is done in a node's directory before any part of the node runs: what an earlier run had decided and not
 * finished, whose it is, and whether anything may start from it. By the disk alone, as repair-steps.ts.
 */
import type { RepairMode } from '../config/index.ts';
import { REPAIRED_DIR } from '../core/raft/membership.ts';
import { refuseDamaged } from '../engine/disk/damaged.ts';
import { refuseDiverged } from '../engine/disk/diverged.ts';
import { claimDir } from '../engine/disk/identity.ts';
import { readRecord } from '../engine/repair/record.ts';
import { finishInstall } from '../engine/snapshot/install.ts';
import { finishRepair, type RepairDir } from './repair-steps.ts';

export interface NodeDir extends RepairDir {
  readonly repair: RepairMode;
  /** A random number of 32 bits. */
  readonly salt: () => number;
  /** Identity of a directory that has none; left out, a new one. */
  readonly dirId?: string;
}

export interface OpenedDir {
  readonly dirId: string;
  /** It took the place of a damaged one; how often that has happened at this node. */
  readonly isRepaired: boolean;
  readonly repairs: number;
}

export function openDir(world: NodeDir): OpenedDir {
  const { disk, dataDir, cluster, id, repair, dirId: fresh } = world;
  finishRepair(world);
  const { dirId } = claimDir(
    dataDir,
    { cluster, node: id },
    { disk, ...(fresh === undefined ? {} : { dirId: fresh }) },
  );
  refuseDiverged(disk, dataDir);
  refuseDamaged(disk, dataDir, repair !== 'never');
  finishInstallIn(world);
  return { dirId, isRepaired: dirId.startsWith(REPAIRED_DIR), repairs: readRecord(disk, dataDir).count };
}

/** Finishes what a node had decided before it stopped: to go on from a snapshot. */
export function finishInstallIn({
  disk,
  dataDir,
  salt,
  log,
}: Pick<NodeDir, 'disk' | 'dataDir' | 'salt' | 'log'>): void {
  const installed = finishInstall(disk, dataDir, salt);
  if (installed === undefined) return;
  const { index, term } = installed;
  log('info', 'snapshot.installed', { index, term });
}
