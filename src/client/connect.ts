/**
 * Connecting, whatever the frames travel on.
 */
import { StoreClient } from './client.ts';
import type { Dial } from './transport.ts';
import type { Client, ConnectOptions } from './types.ts';

const CONNECT_DEADLINE_MS = 10_000;

export async function connectWith(
  dial: Dial,
  urls: string | readonly string[],
  options: ConnectOptions = {},
): Promise<Client> {
  const client = new StoreClient(typeof urls === 'string' ? [urls] : urls, options, dial);
  try {
    await client.ready(options.connectDeadlineMs ?? CONNECT_DEADLINE_MS);
  } catch (error) {
    await client.close();
    throw error;
  }
  return client;
}
