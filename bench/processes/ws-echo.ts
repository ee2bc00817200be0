/**
 * The other end of the ws floor: sends every frame back.
 */
import { WebSocketServer } from 'ws';
import { serve } from '../support/child.ts';

export type EchoTo = { readonly kind: 'none' };
export type EchoFrom = { readonly kind: 'listening'; readonly port: number };

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('connection', (socket) => socket.on('message', (data: Buffer) => socket.send(data)));
server.on('listening', () => {
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  process.send?.({ kind: 'listening', port } satisfies EchoFrom);
});
serve(() => {});
