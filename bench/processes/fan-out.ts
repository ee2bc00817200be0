/**
 * One frame to many sockets, again and again, with nothing of ours on top: the server's side, or the clients'.
 */
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { type Say, serve } from '../support/child.ts';
import { newHistogram, type Percentiles, percentilesOf, recordMs } from '../support/load.ts';

export type FanOutTo =
  | { readonly kind: 'listen'; readonly port: number; readonly sockets: number }
  | { readonly kind: 'send'; readonly perSecond: number; readonly ms: number }
  | { readonly kind: 'count' };

export type FanOutFrom =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'connected' }
  | { readonly kind: 'sent' }
  | ({ readonly kind: 'counted' } & Percentiles);

const FRAME_BYTES = 150;
const nowNs = (): bigint => process.hrtime.bigint();
const histogram = newHistogram();

const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });

function send(perSecond: number, ms: number): Promise<void> {
  const beganMs = performance.now();
  let sent = 0;
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const elapsedMs = performance.now() - beganMs;
      for (const due = Math.floor((Math.min(elapsedMs, ms) / 1000) * perSecond); sent < due; sent++) {
        const frame = Buffer.alloc(FRAME_BYTES);
        frame.writeBigUInt64LE(nowNs());
        for (const socket of server.clients) socket.send(frame);
      }
      if (elapsedMs < ms) return;
      clearInterval(timer);
      resolve();
    }, 1);
  });
}

function follow(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
    socket.on('message', (frame: Buffer) => recordMs(histogram, Number(nowNs() - frame.readBigUInt64LE()) / 1e6));
    socket.once('open', resolve);
    socket.once('error', reject);
  });
}

serve(async (message: FanOutTo, say: Say<FanOutFrom>) => {
  switch (message.kind) {
    case 'listen':
      for (let i = 0; i < message.sockets; i++) await follow(message.port);
      return say({ kind: 'connected' });
    case 'send':
      await send(message.perSecond, message.ms);
      return say({ kind: 'sent' });
    case 'count':
      return say({ kind: 'counted', ...percentilesOf(histogram) });
  }
});

server.once('listening', () => {
  process.send?.({ kind: 'listening', port: (server.address() as AddressInfo).port } satisfies FanOutFrom);
});
