/**
 * A full disk is no failure: it is waited out. What says that it is full, and what writers are told meanwhile.
 */
import { isStoreError, StoreError } from '../../../core/base/errors.ts';

export const storeFull = (): StoreError =>
  new StoreError('STORE_FULL', 'the disk is full; puts are refused until there is room, deletes are not');

const FULL_CODES: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT']);

export function isFullDisk(error: unknown): boolean {
  if (isStoreError(error, 'STORE_FULL')) return true;
  return error instanceof Error && FULL_CODES.has((error as NodeJS.ErrnoException).code);
}
