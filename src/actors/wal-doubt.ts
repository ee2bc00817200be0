/**
 * Is anything of the log in doubt? Asked when the thread of the wal-committer or the syncer has vanished.
 *
 * A thread may end at any instruction, and takes with it what the disk had told it: that a write failed, or a sync. So
 * where either was under way, nobody knows what the disk holds. Where none was, everything written is synced, and the
 * log is what `syncedLsn` says.
 */
import type { ActorName, Shared } from './shared.ts';

/** What is in doubt, in words, now that `dead` is gone; undefined: nothing. */
export function walDoubt(shared: Shared, dead: ActorName): string | undefined {
  if (shared.get('walFailed') !== 0) return 'a sync of the log has failed';
  if (shared.syncLock.isHeld) return 'a sync of the log was under way';
  if (dead === 'wal-committer' && shared.get('walBusy') !== 0) return 'a write of the log was under way';
  const unsynced = shared.get('loggedLsn') - shared.get('syncedLsn');
  return unsynced === 0 ? undefined : `${unsynced} records of the log were written and not synced`;
}
