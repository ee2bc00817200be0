/** What a tool's disk failure is called: the manifest's words, for whatever is an error of the system. */
import { StoreError } from '../../core/base/errors.ts';
import { failed } from '../lsm/manifest/failures.ts';

/** The error to throw for `cause`: itself, if it says what it is already, or is a bug. */
export function diskFailure(what: string, cause: unknown): unknown {
  const isSystem = !(cause instanceof StoreError) && typeof (cause as NodeJS.ErrnoException).code === 'string';
  return isSystem ? failed(what, cause) : cause;
}
