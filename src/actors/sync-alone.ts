/**
 * syncAlone: one sync of the WAL at a time, whoever makes it (the syncer, or the committer that seals a segment).
 *
 * The kernel reports a write-back error once per open file: of two syncs that run together, one may succeed and prove
 * what the other has learned is lost. So they take turns, and the first failure is told, in `walFailed`, before the next
 * may begin. None ever begins after it.
 */
import { StoreError } from '../core/base/errors.ts';
import type { Shared } from './shared.ts';

/** A sync that takes longer than this has failed, whatever it says later. */
const DEADLINE_MS = 60_000;

export function syncAlone<T>(shared: Shared, sync: () => T): T {
  if (!shared.syncLock.acquire(DEADLINE_MS)) {
    throw new StoreError('DISK_FAILED', `a sync of the WAL has not come back in ${DEADLINE_MS} ms`);
  }
  try {
    if (shared.get('walFailed') !== 0) {
      throw new StoreError('DISK_FAILED', 'a sync of the WAL has failed; nothing is synced after it');
    }
    return sync();
  } catch (error) {
    shared.set('walFailed', 1);
    throw error;
  } finally {
    shared.syncLock.release();
  }
}
