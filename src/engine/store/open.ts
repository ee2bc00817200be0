/**
 * openEngine: a directory becomes a store: locked, its log recovered, its tables found, the rest of the log replayed.
 */
import { StoreError } from '../../core/base/errors.ts';
import { toIndex } from '../../core/base/position.ts';
import { type DirLock, lockDir } from '../disk/lock.ts';
import { nodeDisk } from '../disk/node-disk.ts';
import { CHECKPOINT, checkpointRevision } from '../lsm/manifest/checkpoint.ts';
import { InlineRunner } from '../lsm/tree/inline-runner.ts';
import { createTreeMemory } from '../lsm/tree/memory.ts';
import { treeOptions } from '../lsm/tree/options.ts';
import { PoolRunner } from '../pool/pool.ts';
import { openWal } from '../wal/wal.ts';
import { CONSUMER, Engine } from './engine.ts';
import { openFailure } from './failures.ts';
import { type EngineOptions, pickTreeOptions } from './options.ts';

/** Opens the store in `dir`, or makes one. DIR_LOCKED, WAL_CORRUPT, TABLE_CORRUPT, STORE_FULL, DISK_FAILED, CONFIG_INVALID. */
export async function openEngine(dir: string, options: EngineOptions = {}): Promise<Engine> {
  const disk = options.disk ?? nodeDisk;
  const tree = treeOptions(pickTreeOptions(options));
  const exists = disk.exists(`${dir}/CURRENT`);
  if (exists && options.errorIfExists === true) throw bad(`a store exists in ${dir} already`);
  if (!exists && options.createIfMissing === false) throw bad(`a store does not exist in ${dir}`);
  let lock: DirLock | undefined;
  try {
    disk.mkdir(dir);
    if (options.lock ?? disk === nodeDisk) lock = await lockDir(dir);
  } catch (error) {
    throw openFailure(dir, error);
  }
  const memory = createTreeMemory(tree);
  const isPooled = (options.jobs ?? (disk === nodeDisk ? 'pool' : 'inline')) === 'pool';
  const runner = isPooled ? new PoolRunner(memory.arenas) : new InlineRunner({ disk, arenas: memory.arenas });
  let engine: Engine | undefined;
  try {
    // A checkpoint has no log: it begins behind the tables. Another store without one has lost it.
    const checkpoint = checkpointRevision(disk, dir);
    const wal = await openWal(`${dir}/wal`, {
      ...(checkpoint === undefined ? {} : { beginAt: toIndex(checkpoint + 1) }),
      disk,
      lock: false,
      consumers: [CONSUMER],
      ...(options.walSegmentBytes === undefined ? {} : { segmentBytes: options.walSegmentBytes }),
    });
    try {
      engine = new Engine({ dir, disk, tree, memory, runner, wal, lock, options });
      await engine.recover();
      // From now on it has a log, and must have it.
      if (checkpoint !== undefined) disk.remove(`${dir}/${CHECKPOINT}`);
      return engine;
    } catch (error) {
      // What began to work behind it ends with it; how that ends is not the news.
      await (engine ?? wal).close().catch(() => undefined);
      throw error;
    }
  } catch (error) {
    await runner.close();
    await lock?.release();
    throw openFailure(dir, error);
  }
}

const bad = (message: string): StoreError => new StoreError('BAD_REQUEST', message);
