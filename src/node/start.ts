/**
 * Start: a node's directory is locked and opened (open-dir.ts) before any part of the node runs. And again, where it is
 * damaged and the others let it in anew.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import type { LogFunction } from '../actors/runtime/thread.ts';
import type { ClusterConfig, NodeConfig } from '../config/index.ts';
import { markDamaged } from '../engine/disk/damaged.ts';
import { type DirLock, lockDir } from '../engine/disk/lock.ts';
import { nodeDisk } from '../engine/disk/node-disk.ts';
import { finishInstallIn, openDir, type OpenedDir } from './open-dir.ts';
import { askForRepair, mayRepair, type RepairWorld } from './repair.ts';

/** A node's directory: locked, its own, and fit to start from. */
export interface Opened extends OpenedDir {
  readonly id: string;
  /** As it concerns this node: one with a new directory in the place of a damaged one joins, and founds nothing. */
  readonly config: ClusterConfig;
  readonly lock: DirLock;
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
  const repair: RepairWorld = {
    ...world,
    cluster: world.config.cluster,
    disk: nodeDisk,
    nowMs: () => Date.now(),
    uuid: () => randomUUID(),
    removeTree: (path) => rmSync(path, { recursive: true, force: true }),
  };
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
  const { config, id } = world;
  const opened = openDir({ ...world, repair: config.repair, salt });
  return { ...opened, id, lock, config: opened.isRepaired ? joining(config, id) : config };
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

const salt = (): number => randomBytes(4).readUInt32LE(0);

/** Finishes what a node had decided before its last life ended: to go on from a snapshot. */
export const install = (dataDir: string, log: LogFunction): void =>
  finishInstallIn({ disk: nodeDisk, dataDir, log, salt });

/** Damage that a running node met: its next start is to know it before anything is served. */
export function noteDamage(opened: Opened, dataDir: string, error: Error, log: LogFunction): void {
  if (!mayRepair(opened, error)) return;
  try {
    markDamaged(nodeDisk, dataDir, error, new Date());
  } catch (cause) {
    // It is met again, when what is damaged is read again.
    log('error', 'repair.not-noted', { err: cause });
  }
}
