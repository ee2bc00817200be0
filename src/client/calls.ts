/**
 * Calls: requests under way, each answered exactly once: by the server, by its deadline, by its signal, or by
 * the client's end.
 *
 * A call that is in doubt (sent, and the connection lost before the answer) stays here and is sent again on the
 * next connection. For a write that is safe because its session and sequence say which one it is; a read may
 * be read twice.
 */
import type { Random } from '../core/base/env.ts';
import { StoreError } from '../core/base/errors.ts';
import type { RequestKind } from '../core/wire/client.ts';

export interface Answered {
  readonly revision: number;
  /** A copy. */
  readonly extra: Uint8Array;
}

export interface Call {
  readonly kind: RequestKind;
  readonly isWrite: boolean;
  /** A write's body after session, seq and acked; a read's whole body. */
  readonly body: Uint8Array;
  /** A sampled traceparent. */
  readonly trace: string | undefined;
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: (() => void) | undefined;
  readonly resolve: (answer: Answered) => void;
  readonly reject: (error: StoreError) => void;
  id: number;
  /** Its number in the session; 0 before it has one. */
  seq: number;
  /** The session it was numbered in. */
  session: number;
  /** Sent on this connection, and not answered yet. */
  isSent: boolean;
  /** It may have happened: it was sent once, and nobody said that it did not. */
  inDoubt: boolean;
  attempts: number;
  /** Not before this moment (back-off after a refusal). */
  notBeforeMs: number;
  lastError: StoreError | undefined;
}

/** Longest time that a timer takes: 24 days. */
const DEADLINE_MS_MAX = 2 ** 31 - 1;

/** A deadline as timers and the wire take it; refuses what is no time. Infinity is as long as there is. */
export function checkDeadline(deadlineMs: number): number {
  if (!(deadlineMs >= 0)) {
    throw new StoreError('BAD_REQUEST', `deadlineMs is a number of milliseconds (got ${deadlineMs})`);
  }
  return Math.min(Math.ceil(deadlineMs), DEADLINE_MS_MAX);
}

/** How a call that ran out of time ends: what is known decides. */
export function expiredError(call: Call, reason: string): StoreError {
  if (call.isWrite && (call.inDoubt || call.isSent)) {
    return new StoreError('OUTCOME_UNKNOWN', 'the deadline passed before an answer came; the write may have happened', {
      cause: call.lastError,
    });
  }
  if (call.lastError !== undefined) return call.lastError;
  return new StoreError('DEADLINE_EXCEEDED', `the deadline passed; nothing was done (${reason})`);
}

const RETRY_MS_MIN = 5;
const RETRY_MS_MAX = 250;

/** Full jitter over a doubling span. */
export function retryDelayMs(attempts: number, random: Random): number {
  const span = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(attempts, 10));
  return RETRY_MS_MIN + Math.floor(random() * span);
}

/** May the SDK try again by itself? Everything else is the caller's to decide. */
export function isRetried(error: StoreError): boolean {
  switch (error.code) {
    case 'NOT_LEADER':
    case 'UNAVAILABLE':
    case 'OVERLOADED':
    case 'OUTCOME_UNKNOWN':
      return true;
    default:
      return false;
  }
}
