/**
 * Port: between the thread where the actors are and the one where the mesh's sockets are: whole batches, and which peers
 * can be reached. Its bounds are those of the peers' windows (peer.ts).
 */
import type { MessagePort } from '../thread.ts';

export type ToSockets = { readonly kind: 'batch'; readonly to: string; readonly batch: Uint8Array<ArrayBuffer> };

export type FromSockets =
  /** What is sent to it arrives, or is followed by a `down`. */
  | { readonly kind: 'up'; readonly peer: string }
  /** What was under way, either way, may be lost. */
  | { readonly kind: 'down'; readonly peer: string }
  | { readonly kind: 'batch'; readonly from: string; readonly batch: Uint8Array };

/** How batches leave, and who hears what comes. */
export interface Wire {
  send(to: string, batch: Uint8Array<ArrayBuffer>): void;
}

export interface WireEvents {
  up(peer: string): void;
  down(peer: string): void;
  batch(from: string, batch: Uint8Array): void;
}

/** The actors' end. With the other end everybody is out of reach. */
export function wireOver(port: MessagePort, events: WireEvents): Wire {
  const reached = new Set<string>();
  port.on('message', (message: FromSockets) => {
    switch (message.kind) {
      case 'up':
        reached.add(message.peer);
        events.up(message.peer);
        break;
      case 'down':
        reached.delete(message.peer);
        events.down(message.peer);
        break;
      case 'batch':
        events.batch(message.from, message.batch);
        break;
    }
  });
  port.on('close', () => {
    for (const peer of reached) events.down(peer);
    reached.clear();
  });
  return {
    send: (to, batch) => port.postMessage({ kind: 'batch', to, batch } satisfies ToSockets, [batch.buffer]),
  };
}
