/** The write-ahead log on its own. */
export {
  openWal,
  Wal,
  type AppendOptions,
  type Appended,
  type TailOptions,
  type WalEntry,
  type WalOptions,
} from './wal.ts';
export type { WalChange } from './lsn-reader.ts';
