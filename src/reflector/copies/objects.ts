/**
 * Objects: where copies of an LDB are kept and fetched from: named pieces of bytes, written whole or not at all.
 *
 *   file:///backup/ldb                 a directory
 *   s3://bucket/prefix                 Amazon's, or what speaks like it (AWS_ENDPOINT_URL_S3); s3-objects.ts
 *   http://relay:7440                  what a reflector with copies serves (routes.ts); read only
 *
 * All errors are StoreErrors: NOT_FOUND and FORBIDDEN are final, others are worth another try.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isStoreError, StoreError } from '../../core/base/errors.ts';

export interface Objects {
  /** Without secrets, for people. */
  readonly url: string;
  /** Replaces what had the name. */
  put(name: string, bytes: Uint8Array): Promise<void>;
  /** NOT_FOUND; PROTOCOL_ERROR when it is larger than that. */
  get(name: string, bytesMax: number): Promise<Uint8Array>;
  /** All names. */
  list(): Promise<string[]>;
  /** One that is not there is fine. */
  remove(name: string): Promise<void>;
}

const TRIES = 5;
const DELAY_MS = 200;

/** Tries again what may succeed, a few times, with growing, jittered pauses. */
export async function withTries<T>(
  work: () => Promise<T>,
  signal: AbortSignal,
  delayMs: number = DELAY_MS,
): Promise<T> {
  for (let tried = 1; ; tried++) {
    if (signal.aborted) throw new StoreError('CANCELLED', 'it was stopped', { cause: signal.reason });
    try {
      return await work();
    } catch (error) {
      if (!isStoreError(error) || error.retry === 'never' || tried === TRIES) throw error;
      await sleep(delayMs * 2 ** (tried - 1) * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
    }
  }
}
