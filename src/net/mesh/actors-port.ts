/**
 * ActorsPort: what the actors of this node have to say to those of others, from their thread to the mesh's sockets and
 * back. It goes with the bulk, so that no flood of it delays a heartbeat.
 */
import type { FromSockets, ToSockets } from '../../actors/runtime/mesh/port.ts';
import type { MessagePort } from '../../actors/runtime/thread.ts';
import type { Transport } from '../../actors/mesh-outbox.ts';
import { ByteWriter } from '../../core/base/bytes.ts';
import { encodeMesh } from '../../core/wire/mesh.ts';

export class ActorsPort {
  readonly #port: MessagePort;
  readonly #transport: Pick<Transport, 'send' | 'isOpen'>;
  readonly #writer = new ByteWriter(64 * 1024);

  constructor(port: MessagePort, transport: Pick<Transport, 'send' | 'isOpen'>) {
    this.#port = port;
    this.#transport = transport;
    port.on('message', (message: ToSockets) => this.#send(message.to, message.batch));
  }

  /** One of our connections to `peer` is there. */
  connected(peer: string): void {
    if (this.#transport.isOpen(peer, 'bulk')) this.#post({ kind: 'up', peer });
  }

  /** What was under way to `peer`, or from it, may be lost. */
  disconnected(peer: string): void {
    this.#post({ kind: 'down', peer });
    // It was the other way only.
    this.connected(peer);
  }

  heard(from: string, batch: Uint8Array): void {
    // A view of what the socket brought: its own memory from here on.
    this.#post({ kind: 'batch', from, batch: batch.slice() });
  }

  close(): void {
    this.#port.close();
  }

  #send(to: string, batch: Uint8Array): void {
    this.#writer.reset();
    encodeMesh(this.#writer, { kind: 'actors', batch });
    if (!this.#transport.send(to, 'bulk', this.#writer.view())) this.#post({ kind: 'down', peer: to });
  }

  #post(message: FromSockets): void {
    this.#port.postMessage(message);
  }
}
