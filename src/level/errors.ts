/**
 * Errors as the level world knows them: a `LEVEL_…` code, and the store's own error as the cause.
 *
 * Level's codes are fewer than ours, and a program written for another level database looks for those. Nothing is
 * lost by it: `error.cause` is the StoreError with its code, its data and whether to try again. A code of ours that
 * level has no word for keeps its name behind the prefix.
 */
import { type ErrorCode, StoreError } from '../core/base/errors.ts';

const CODES: Partial<Readonly<Record<ErrorCode, string>>> = {
  DIR_LOCKED: 'LEVEL_LOCKED',
  DIR_FOREIGN: 'LEVEL_CORRUPTION',
  WAL_CORRUPT: 'LEVEL_CORRUPTION',
  TABLE_CORRUPT: 'LEVEL_CORRUPTION',
  DISK_FAILED: 'LEVEL_IO_ERROR',
  STORE_FULL: 'LEVEL_IO_ERROR',
  CLOSED: 'LEVEL_DATABASE_NOT_OPEN',
  KEY_INVALID: 'LEVEL_INVALID_KEY',
  VALUE_TOO_LARGE: 'LEVEL_INVALID_VALUE',
};

/** `code` is stable, the text is for people. */
export class LevelError extends Error {
  override readonly name: string = 'LevelError';
  readonly code: string;

  constructor(code: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** What reading ends with when its signal says so; the name is the web's. */
export class AbortError extends LevelError {
  override readonly name: string = 'AbortError';

  constructor(reason: unknown) {
    super('LEVEL_ABORTED', 'Operation has been aborted', reason);
  }
}

/** What a caller gets for what the engine threw. A bug (anything but an expected failure) stays what it is. */
export function levelError(error: unknown): unknown {
  if (error instanceof StoreError) {
    return new LevelError(CODES[error.code] ?? `LEVEL_${error.code}`, error.message, error);
  }
  // Node's own: EACCES, EIO, ENOENT of a file that a person has removed.
  if (error instanceof Error && 'syscall' in error) return new LevelError('LEVEL_IO_ERROR', error.message, error);
  return error;
}
