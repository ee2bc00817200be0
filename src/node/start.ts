/**
 * Start: what is done in a node's directory before any part of the node runs: whose it is, whether anything may start from
 * it, and what an earlier run had decided and not finished. And again, where it is damaged and the others let it in anew.
 */
import { randomBytes } from 'node:crypto';
import type { LogFunction } from '../actors/runtime/thread.ts';
import type { ClusterConfig, NodeConfig } from '../config/index.ts';
import { REPAIRED_DIR } from '../core/raft/membership.ts';
import { refuseDamaged } from '../engine/disk/damaged.ts';
import { refuseDiverged } from '../engine/disk/diverged.ts';
import { claimDir } from '../engine/disk/identity.ts';
import { type DirLock, lockDir } from '../engine/disk/lock.ts';
import { nodeDisk } from '../engine/disk/node-disk.ts';
import { readRecord } from '../engine/repair/record.ts';
import { finishInstall } from '../engine/snapshot/install.ts';
import { askForRepair, finishRepair, mayRepair, type RepairWorld } from './repair.ts';

/** A node's directory: locked, its own, and fit to start from. */
export interface Opened {
  readonly id: string;
  readonly dirId: string;
  /** As it concerns this node: one with a new directory in the place of a damaged one joins, and founds nothing. */
  readonly config: ClusterConfig;
  readonly lock: DirLock;
  /** It took the place of a damaged one; how often that has happened at this node. */
  readonly isRepaired: boolean;
  readonly repairs: number;
}

export interface StartWorld {
  readonly config: ClusterConfig;
  readonly id: string;
  readonly dataDir: string;
  readonly log: LogFunction;
  /** How long the cluster may take to answer a node whose files are damaged; default: as long as some elections. */
  readonly askMs?: number;
}

/** `start` runs the node; when that finds damage, or the directory is known to be damaged, it is repaired if it may be. */
export async function startIn<T>(world: StartWorld, start: (opened: Opened) => Promise<T>): Promise<T> {
  const repair: RepairWorld = { ...world, disk: nodeDisk, nowMs: () => Date.now() };
  try {
    return await startOnce(repair, start);
  } catch (error) {
    if (!mayRepair(world, error)) throw error;
    await locked(world.dataDir, async (lock) => {
      await askForRepair(repair, error);
      await lock.release();
    });
  }
  return startOnce(repair, start);
}

async function startOnce<T>(world: RepairWorld, start: (opened: Opened) => Promise<T>): Promise<T> {
  // The lock first: nothing may look at the directory, let alone write to it, while somebody else does.
  return locked(world.dataDir, (lock) => start(open(world, lock)));
}

/** The lock stays with what `work` gives; when it throws, it is released. */
async function locked<T>(dataDir: string, work: (lock: DirLock) => Promise<T>): Promise<T> {
  const lock = await lockDir(dataDir);
  try {
    return await work(lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

function open(world: RepairWorld, lock: DirLock): Opened {
  const { config, id, dataDir, disk, log } = world;
  finishRepair(world);
  const { dirId } = claimDir(dataDir, { cluster: config.cluster, node: id });
  refuseDiverged(disk, dataDir);
  refuseDamaged(disk, dataDir, config.repair !== 'never');
  install(dataDir, log);
  const isRepaired = dirId.startsWith(REPAIRED_DIR);
  const { count: repairs } = readRecord(disk, dataDir);
  return { id, dirId, config: isRepaired ? joining(config, id) : config, lock, isRepaired, repairs };
}

/**
 * What the cluster began with is not what this directory begins with: its log says who the members are, once it has one.
 * Until then it takes the others for the founders; all of them, when this node was the only one.
 */
function joining(config: ClusterConfig, id: string): ClusterConfig {
  const others = Object.entries(config.nodes).filter(([other]) => other !== id);
  const isOnly = others.every(([, { join }]) => join === true);
  const nodes = Object.entries(config.nodes).map(([one, node]): [string, NodeConfig] => [
    one,
    one === id ? { ...node, join: true } : isOnly ? { ...node, join: false } : node,
  ]);
  return { ...config, nodes: Object.fromEntries(nodes) };
}

/** Finishes what a node had decided before it stopped: to go on from a snapshot. */
export function install(dataDir: string, log: LogFunction): void {
  const installed = finishInstall(nodeDisk, dataDir, () => randomBytes(4).readUInt32LE(0));
  if (installed === undefined) return;
  const { index, term } = installed;
  log('info', 'snapshot.installed', { index, term });
}
