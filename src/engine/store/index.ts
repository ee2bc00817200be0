/**
 * The embedded storage engine: `openEngine(dir)`.
 */
export { Batch } from './batch.ts';
export {
  Engine,
  type EngineOptions,
  type EngineStats,
  openEngine,
  type RangeOptions,
  type ReadOptions,
  type WriteOptions,
} from './engine.ts';
export type { TreeCursor, TreeEntry } from '../lsm/tree/cursor.ts';
export type { TreeSnapshot } from '../lsm/tree/reader.ts';
