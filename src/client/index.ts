/**
 * ctlmesh/client: the SDK.
 *
 *   import { connect } from 'ctlmesh/client';
 *   const db = await connect(['ws://127.0.0.1:7411', 'ws://127.0.0.1:7412', 'ws://127.0.0.1:7413']);
 *   const { revision } = await db.put('flags/new-ui', 'on');
 *   const entry = await db.get('flags/new-ui');
 *   await db.close();
 *
 * @module
 */
import { connectWith } from './connect.ts';
import { dialWs } from './transport-ws.ts';
import type { Client, ConnectOptions } from './types.ts';

export * from './public.ts';

/**
 * Connects to a cluster: to any of `urls`, then to its leader. Reconnects by itself for as long as the client
 * lives. Rejects with UNAVAILABLE when no endpoint answers within `connectDeadlineMs` (10 000).
 */
export function connect(urls: string | readonly string[], options?: ConnectOptions): Promise<Client> {
  return connectWith(dialWs, urls, options);
}
