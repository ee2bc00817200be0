/**
 * What a failed open says: an error of the house as it is, one of the disk's own by what it means to the caller.
 */
import { StoreError } from '../../core/base/errors.ts';
import { isFullDisk } from '../lsm/tree/full-disk.ts';

export function openFailure(dir: string, cause: unknown): unknown {
  if (cause instanceof StoreError || !(cause instanceof Error)) return cause;
  // Only the system's errors have a code in words; a bug stays what it is.
  if (typeof (cause as NodeJS.ErrnoException).code !== 'string') return cause;
  const code = isFullDisk(cause) ? 'STORE_FULL' : 'DISK_FAILED';
  return new StoreError(code, `the store in ${dir} could not be opened: ${cause.message}`, { cause });
}

export const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));
