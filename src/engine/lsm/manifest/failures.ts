/**
 * What a disk's failure means here: a write that failed has changed nothing that counts; a sync that failed leaves
 * nobody knowing what is on the disk.
 */
import { StoreError } from '../../../core/base/errors.ts';
import { isOutOfSpace } from '../../disk/full-disk.ts';

/** A sync that failed: of what was written, nothing is known. Its cause is the disk's error. */
export class SyncFailure extends Error {
  override readonly name: string = 'SyncFailure';
}

/** Runs a sync; what it throws is told apart from a write that failed. */
export function synced(sync: () => void): void {
  try {
    sync();
  } catch (cause) {
    throw new SyncFailure(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/** A write that failed, as a StoreError. A sync that did is never "full", whatever the disk says. */
export function failed(what: string, cause: unknown): StoreError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new StoreError(isOutOfSpace(cause) ? 'STORE_FULL' : 'DISK_FAILED', `${what}: ${message}`, { cause });
}
