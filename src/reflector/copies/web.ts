/**
 * One exchange over HTTP for objects: bounded in time and bytes, and every failure a StoreError that says whether to try
 * again.
 */
import { type ErrorCode, StoreError } from '../../core/base/errors.ts';

const DEADLINE_MS = 60_000;
const ERROR_BYTES_MAX = 4_096;

export interface Exchange {
  /** What is asked for, without secrets, for the error. */
  readonly what: string;
  /** Of the answer. */
  readonly bytesMax: number;
  readonly send: (signal: AbortSignal) => Promise<Response>;
}

/** The body of a good answer. */
export async function exchange({ what, bytesMax, send }: Exchange): Promise<Uint8Array> {
  try {
    const response = await send(AbortSignal.timeout(DEADLINE_MS));
    if (response.ok) return await bodyOf(response, bytesMax);
    const said = new TextDecoder().decode(await bodyOf(response, ERROR_BYTES_MAX).catch(() => new Uint8Array(0)));
    const message = `${what}: ${response.status} ${/<Code>(\w+)<\/Code>/.exec(said)?.[1] ?? said.trim().slice(0, 200)}`;
    throw new StoreError(codeOf(response.status), message, { data: { status: response.status } });
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    const { message, cause: deeper } = cause as Error & { readonly cause?: unknown };
    throw new StoreError('UNAVAILABLE', `${what}: ${deeper instanceof Error ? deeper.message : message}`, { cause });
  }
}

function codeOf(status: number): ErrorCode {
  if (status === 404) return 'NOT_FOUND';
  if (status === 401 || status === 403) return 'FORBIDDEN';
  // Too many requests, or a timeout of theirs, are worth another try; what else is wrong with the question is not.
  const isTheirs = status >= 500 || status === 408 || status === 429;
  return isTheirs ? 'UNAVAILABLE' : 'BAD_REQUEST';
}

async function bodyOf(response: Response, bytesMax: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > bytesMax) throw new StoreError('PROTOCOL_ERROR', `an answer of more than ${bytesMax} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}
