/**
 * The embedded storage engine: `openEngine(dir)`.
 */
export { Batch } from './batch.ts';
export { Engine } from './engine.ts';
export { openEngine } from './open.ts';
export type { EngineOptions, EngineStats, RangeOptions, ReadOptions, WriteOptions } from './options.ts';
export type { TreeCursor, TreeEntry } from '../lsm/tree/cursor.ts';
export type { TreeSnapshot } from '../lsm/tree/reader.ts';
