/**
 * ctlmesh/client for browsers: the same SDK over the platform's own WebSocket. Nothing of Node on this path.
 *
 * @module
 */
import { connectWith } from './connect.ts';
import { dialWebSocket } from './transport.ts';
import type { Client, ConnectOptions } from './types.ts';

export * from './public.ts';

/** As in Node; see index.ts. The nodes must allow this page's origin (`originsAllowed`). */
export function connect(urls: string | readonly string[], options?: ConnectOptions): Promise<Client> {
  return connectWith(dialWebSocket, urls, options);
}
