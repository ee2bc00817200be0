/**
 * A full disk is no failure: it is waited out. What says that it is full, and what writers are told meanwhile.
 */
import { isStoreError, StoreError } from '../../../core/base/errors.ts';
import { isOutOfSpace } from '../../disk/full-disk.ts';

export const storeFull = (): StoreError =>
  new StoreError('STORE_FULL', 'the disk is full; puts are refused until there is room, deletes are not');

export const isFullDisk = (error: unknown): boolean => isStoreError(error, 'STORE_FULL') || isOutOfSpace(error);

/** What ends the keeper of the tree in `dir`. */
export function treeFailure(dir: string, error: unknown): StoreError {
  if (isStoreError(error)) return error;
  const cause = error instanceof Error ? error : new Error(String(error));
  return new StoreError('DISK_FAILED', `the tree in ${dir}: ${cause.message}`, { cause });
}
