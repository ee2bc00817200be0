/**
 * Embedded: the SDK's way into the gateway of its own process: the same frames as through a socket, and no socket.
 */
import type { Gateway } from '../actors/gateway/gateway.ts';
import type { Dial } from '../client/transport.ts';

/** Dials whatever gateway there is; while there is none, a dial fails as one to a node that is down, and is repeated. */
export function dialGateway(current: () => Gateway | undefined): Dial {
  return (_url, events) => {
    let isClosed = false;
    const close = (): void => {
      if (isClosed) return;
      isClosed = true;
      events.onClose('closed');
    };
    const gateway = current();
    if (gateway === undefined) {
      queueMicrotask(() => events.onClose('the node starts again'));
      return { send: () => {}, bufferedBytes: 0, close: () => {} };
    }
    const connection = gateway.open({
      send: (frame) => {
        if (!isClosed) events.onFrame(frame);
      },
      close,
      bufferedBytes: 0,
    });
    queueMicrotask(() => events.onOpen());
    return {
      send: (frame) => gateway.receive(connection, frame),
      bufferedBytes: 0,
      close: () => {
        gateway.closed(connection);
        close();
      },
    };
  };
}
