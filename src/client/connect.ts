/**
 * Connecting, whatever the frames travel on.
 */
import { StoreError } from '../core/base/errors.ts';
import { StoreClient } from './client.ts';
import { PLATFORM, type Timing } from './timing.ts';
import type { Dial } from './transport.ts';
import type { Client, ConnectOptions } from './types.ts';

const CONNECT_DEADLINE_MS = 10_000;

export async function connectWith(
  dial: Dial,
  urls: string | readonly string[],
  options: ConnectOptions = {},
  timing: Timing = PLATFORM,
): Promise<Client> {
  const { signal } = options;
  const cancelled = (): StoreError =>
    new StoreError('CANCELLED', 'connecting was cancelled', { cause: signal?.reason });
  if (signal?.aborted === true) throw cancelled();
  const client = new StoreClient(typeof urls === 'string' ? [urls] : urls, options, dial, timing);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(cancelled());
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([client.ready(options.connectDeadlineMs ?? CONNECT_DEADLINE_MS), aborted]);
  } catch (error) {
    await client.close();
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
  return client;
}
