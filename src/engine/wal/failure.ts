/**
 * What went wrong under an open log, in the words of its API: a StoreError, whatever threw it.
 *
 * A full disk is not a broken one (STORE_FULL): whoever makes room can open the log again and go on.
 */
import { InvariantViolation } from '../../core/base/assert.ts';
import { isStoreError, StoreError } from '../../core/base/errors.ts';
import { isOutOfSpace } from '../disk/full-disk.ts';

export function asFailure(cause: unknown): StoreError {
  for (let inner = cause; inner instanceof Error; inner = inner.cause) {
    if (isOutOfSpace(inner)) {
      return new StoreError('STORE_FULL', 'the disk is full: the log writes nothing more until it is opened again', {
        cause,
      });
    }
  }
  if (isStoreError(cause)) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  const code = cause instanceof InvariantViolation ? 'INTERNAL' : 'DISK_FAILED';
  return new StoreError(code, `the log failed: ${reason}`, { cause });
}
