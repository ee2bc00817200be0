/**
 * Errors: one closed table of codes, for every door (SDK, HTTP, CLI, LDB).
 *
 * A code is API and stays; a text is for people and may change. The table also says what a caller may do,
 * because that is the question an error is read for:
 *   elsewhere  another node may serve it, now
 *   later      the same call may succeed after a pause
 *   same-id    it may or may not have happened: only a retry under the same session and sequence is safe
 *   never      repeating it gives the same answer
 */

export type Retry = 'elsewhere' | 'later' | 'same-id' | 'never';

/** Codes by number on the wire: the place in this list is protocol, so new codes go to its end. */
export const ERROR_CODE_LIST = [
  'NOT_LEADER',
  'UNAVAILABLE',
  'OVERLOADED',
  'STORE_FULL',
  'DEADLINE_EXCEEDED',
  'OUTCOME_UNKNOWN',
  'CANCELLED',
  'CLOSED',
  'KEY_INVALID',
  'VALUE_TOO_LARGE',
  'TXN_TOO_LARGE',
  'BAD_REQUEST',
  'PROTOCOL_ERROR',
  'PROTOCOL_VERSION',
  'SESSION_EXPIRED',
  'COMPACTED',
  'CONFIG_INVALID',
  'DIR_LOCKED',
  'DIR_FOREIGN',
  'WAL_CORRUPT',
  'DISK_FAILED',
  'LDB_MISSING',
  'LDB_FOREIGN',
  'LDB_CORRUPT',
  'LDB_GAP',
  'TOO_STALE',
  'ACTOR_STOPPED',
  'INTERNAL',
  'TABLE_CORRUPT',
  'READ_ONLY',
  'MEMBER_REFUSED',
  'LOCK_LOST',
  'DIVERGED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'SCHEMA_MISMATCH',
  'COOKIE_CONFLICT',
  'FORBIDDEN',
  'RATE_LIMITED',
  'TABLE_FULL',
  'DISABLED',
  'DIR_ROLLED_BACK',
  'RELAY_LOOP',
  'NOT_VISIBLE',
  'ASK_CYCLE',
  'LEDGER_DAMAGED',
  'UPGRADE_PENDING',
  'TOKEN_INVALID',
] as const;

export type ErrorCode = (typeof ERROR_CODE_LIST)[number];

export const ERROR_CODES: Readonly<Record<ErrorCode, { readonly retry: Retry; readonly http: number }>> = {
  // Routing and availability.
  NOT_LEADER: { retry: 'elsewhere', http: 421 },
  UNAVAILABLE: { retry: 'later', http: 503 },
  OVERLOADED: { retry: 'later', http: 429 },
  STORE_FULL: { retry: 'later', http: 507 },
  DEADLINE_EXCEEDED: { retry: 'later', http: 504 },
  OUTCOME_UNKNOWN: { retry: 'same-id', http: 504 },
  UPGRADE_PENDING: { retry: 'later', http: 503 },
  CANCELLED: { retry: 'never', http: 499 },
  CLOSED: { retry: 'never', http: 503 },
  // What the caller sent.
  KEY_INVALID: { retry: 'never', http: 400 },
  VALUE_TOO_LARGE: { retry: 'never', http: 413 },
  TXN_TOO_LARGE: { retry: 'never', http: 413 },
  BAD_REQUEST: { retry: 'never', http: 400 },
  PROTOCOL_ERROR: { retry: 'never', http: 400 },
  PROTOCOL_VERSION: { retry: 'never', http: 426 },
  SESSION_EXPIRED: { retry: 'never', http: 410 },
  LOCK_LOST: { retry: 'never', http: 410 },
  MEMBER_REFUSED: { retry: 'never', http: 409 },
  COMPACTED: { retry: 'never', http: 410 },
  // Control data: families, tables, writers.
  NOT_FOUND: { retry: 'never', http: 404 },
  ALREADY_EXISTS: { retry: 'never', http: 409 },
  SCHEMA_MISMATCH: { retry: 'never', http: 400 },
  COOKIE_CONFLICT: { retry: 'never', http: 409 },
  FORBIDDEN: { retry: 'never', http: 403 },
  TOKEN_INVALID: { retry: 'never', http: 401 },
  RATE_LIMITED: { retry: 'later', http: 429 },
  TABLE_FULL: { retry: 'later', http: 507 },
  DISABLED: { retry: 'never', http: 403 },
  // Files and start-up.
  CONFIG_INVALID: { retry: 'never', http: 500 },
  DIR_LOCKED: { retry: 'later', http: 503 },
  DIR_FOREIGN: { retry: 'never', http: 500 },
  WAL_CORRUPT: { retry: 'never', http: 500 },
  DISK_FAILED: { retry: 'elsewhere', http: 503 },
  TABLE_CORRUPT: { retry: 'elsewhere', http: 500 },
  DIVERGED: { retry: 'elsewhere', http: 500 },
  DIR_ROLLED_BACK: { retry: 'elsewhere', http: 500 },
  READ_ONLY: { retry: 'never', http: 409 },
  // Local replicas.
  LDB_MISSING: { retry: 'later', http: 404 },
  LDB_FOREIGN: { retry: 'never', http: 409 },
  LDB_CORRUPT: { retry: 'never', http: 500 },
  LDB_GAP: { retry: 'later', http: 503 },
  LEDGER_DAMAGED: { retry: 'later', http: 503 },
  TOO_STALE: { retry: 'later', http: 503 },
  RELAY_LOOP: { retry: 'elsewhere', http: 409 },
  // The write is done; it is its visibility that was waited for.
  NOT_VISIBLE: { retry: 'never', http: 504 },
  // A worker or an embedding application.
  ACTOR_STOPPED: { retry: 'later', http: 503 },
  ASK_CYCLE: { retry: 'never', http: 508 },
  INTERNAL: { retry: 'elsewhere', http: 500 },
};

export interface StoreErrorOptions {
  readonly cause?: unknown;
  /** Facts for programs: `{ limit, size }`, `{ leader }`, `{ oldestRevision }`, … */
  readonly data?: Readonly<Record<string, unknown>>;
}

/** An expected failure. `code` is stable; `retry` says what the caller may do. */
export class StoreError extends Error {
  override readonly name: string = 'StoreError';
  readonly code: ErrorCode;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: StoreErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.data = options.data ?? {};
  }

  get retry(): Retry {
    return ERROR_CODES[this.code].retry;
  }

  get http(): number {
    return ERROR_CODES[this.code].http;
  }
}

export function isStoreError(error: unknown, code?: ErrorCode): error is StoreError {
  return error instanceof StoreError && (code === undefined || error.code === code);
}
