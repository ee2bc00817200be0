/**
 * Problems: a failure as HTTP says it. The body is the message alone, as ctlstore's clients expect it, or a problem of RFC
 * 9457 for who asks for JSON; the code is in a header in both cases.
 */
import { ERROR_CODES, type ErrorCode, isStoreError, type Retry } from '../../core/base/errors.ts';
import { stringifyJson } from './json.ts';
import type { Answer } from './route.ts';

export interface Problem {
  readonly status: number;
  readonly code: ErrorCode;
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export const PROBLEM_TYPE = 'application/problem+json';
const RETRY_AFTER_S = 1;

/** Of whatever a route, or the library below it, threw; what is not known is INTERNAL, and told nobody outside. */
export function problemOf(error: unknown): Problem {
  if (isStoreError(error)) {
    const { code, http, message, data } = error;
    return { status: http, code, message, data };
  }
  const status = (error as { readonly statusCode?: unknown } | undefined)?.statusCode;
  if (status === 413) return { status, code: 'TXN_TOO_LARGE', message: 'Request too large', data: {} };
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return { status, code: 'BAD_REQUEST', message: (error as Error).message, data: {} };
  }
  return {
    status: ERROR_CODES.INTERNAL.http,
    code: 'INTERNAL',
    message: 'this node failed; its log says how',
    data: {},
  };
}

export function problemAnswer(problem: Problem, options: { readonly asJson: boolean; readonly id: string }): Answer {
  const { status, code, message, data } = problem;
  const { retry } = ERROR_CODES[code];
  const asks = status === 401 ? { 'www-authenticate': 'Bearer' } : {};
  const headers = { 'ctlmesh-code': code, ...asks, ...retryAfter(retry, data) };
  if (!options.asJson) return { status, headers, contentType: 'text/plain; charset=utf-8', body: message };
  const title = code.toLowerCase().replaceAll('_', ' ');
  const body = { type: 'about:blank', title, status, detail: message, code, retry, data, requestId: options.id };
  return { status, headers, contentType: PROBLEM_TYPE, body: stringifyJson(body) };
}

function retryAfter(retry: Retry, { retryMs }: Readonly<Record<string, unknown>>): Record<string, string> {
  if (retry === 'never') return {};
  const seconds = typeof retryMs === 'number' ? Math.ceil(retryMs / 1000) : RETRY_AFTER_S;
  return { 'retry-after': String(seconds) };
}
