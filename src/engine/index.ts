/**
 * `ctlmesh/engine`: the storage engine alone, without a cluster: a store in a directory, and the log that it is built on.
 */
export * from './store/index.ts';
export { openWal, type Wal, type WalEntry } from './wal/index.ts';
export type { Appended, AppendOptions, TailOptions, WalOptions } from './wal/wal.ts';
