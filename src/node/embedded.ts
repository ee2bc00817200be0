/**
 * Embedded: the SDK's way into the gateway of its own process: the same frames as through a socket, and no socket.
 *
 * While the node starts again there is no gateway: a dial waits for the next one, so that the application's calls go on
 * as soon as there is somebody to take them.
 */
import { OWN_CALLER } from '../actors/gateway/callers.ts';
import type { Gateway } from '../actors/gateway/gateway.ts';
import type { Dial } from '../client/transport.ts';

export class EmbeddedDoor {
  #gateway: Gateway | undefined;
  readonly #waiting = new Set<(gateway: Gateway) => void>();

  open(gateway: Gateway): void {
    this.#gateway = gateway;
    for (const connect of this.#waiting) connect(gateway);
    this.#waiting.clear();
  }

  /** No new connection; those there are get the gateway's goodbye. */
  shut(): void {
    this.#gateway = undefined;
  }

  readonly dial: Dial = (_url, events) => {
    let isClosed = false;
    let send: (frame: Uint8Array) => void = () => {};
    let leave = (): void => {};
    const close = (): void => {
      if (isClosed) return;
      isClosed = true;
      events.onClose('closed');
    };
    const connect = (gateway: Gateway): void => {
      const deliver = (frame: Uint8Array): void => {
        if (!isClosed) events.onFrame(frame);
      };
      const connection = gateway.open({ send: deliver, close, bufferedBytes: 0 }, OWN_CALLER);
      send = (frame) => gateway.receive(connection, frame);
      leave = () => gateway.closed(connection);
      queueMicrotask(() => events.onOpen());
    };
    if (this.#gateway === undefined) this.#waiting.add(connect);
    else connect(this.#gateway);
    return {
      send: (frame) => send(frame),
      bufferedBytes: 0,
      close: () => {
        this.#waiting.delete(connect);
        leave();
        close();
      },
    };
  };
}
