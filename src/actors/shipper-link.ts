/**
 * ShipperLink: the port between the gateway and the shipper, which is another one after the shipper's thread has died.
 * What the old one still brings, or was still to take, is dropped: the new shipper knows none of it.
 */
import { must } from '../core/base/assert.ts';
import { type MessagePort, portPair } from './runtime/thread.ts';
import type { FromShipper, ToShipper } from './shipper-messages.ts';

export class ShipperLink {
  readonly #receive: (message: FromShipper) => void;
  #port: MessagePort | undefined;
  #far: MessagePort | undefined;

  constructor(receive: (message: FromShipper) => void) {
    this.#receive = receive;
  }

  /** Begins anew; what is posted from now on waits for whoever takes the far end. */
  renew(): void {
    this.close();
    const [port, far] = portPair();
    port.on('message', (message: FromShipper) => {
      if (port === this.#port) this.#receive(message);
    });
    this.#port = port;
    this.#far = far;
  }

  /** For the shipper's thread, once after each `renew`. */
  far(): MessagePort {
    const far = must(this.#far, 'a far end is given away once');
    this.#far = undefined;
    return far;
  }

  post(message: ToShipper): void {
    this.#port?.postMessage(message);
  }

  close(): void {
    this.#port?.close();
    this.#port = undefined;
  }
}
