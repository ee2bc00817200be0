/** Tools of operators: what kvctl does with a data directory on this host. */
export { type BackupReport, makeBackup } from './backup.ts';
export { verifySet } from './backup-files.ts';
export { type BackupSet, listSets, readSet } from './backup-set.ts';
export { type DataDir, findDataDir, lockIfStopped, ownerOf } from './data-dir.ts';
export { inspectTable, isNodeTable, type TableEntry, tableEntries, type TableFacts } from './inspect-table.ts';
export { type ReadManifest, readManifest } from './read-manifest.ts';
export { type LogEnding, readSegment, readWal } from './read-wal.ts';
export { planRepair, repair, type RepairPlan } from './repair.ts';
export { restoreSet } from './restore.ts';
export { type Damage, scrub } from './scrub.ts';
export { claimDir } from '../disk/identity.ts';
export { lockDir } from '../disk/lock.ts';
export { nodeDisk } from '../disk/node-disk.ts';
