/** The write-ahead log on its own. */
export type { WalChange } from './lsn-reader.ts';
export { openWalReadOnly, type WalEnding, type WalRecordInfo } from './read-only.ts';
export { openWal, type Wal, type WalEntry } from './wal.ts';
