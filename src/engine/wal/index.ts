/** The write-ahead log on its own. */
export { openWalReadOnly, type ReadOnlyWal, type WalEnding, type WalRecordInfo } from './read-only.ts';
export type { WalChange } from './lsn-reader.ts';
export {
  openWal,
  Wal,
  type AppendOptions,
  type Appended,
  type TailOptions,
  type WalEntry,
  type WalOptions,
} from './wal.ts';
