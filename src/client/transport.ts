/**
 * Transport: frames to a node and back. Over a WebSocket (Node and browsers alike), or straight into the
 * gateway of an embedded node.
 */
import { StoreError } from '../core/base/errors.ts';

export interface TransportEvents {
  /** The connection stands; nothing was sent on it yet. */
  readonly onOpen: () => void;
  /** One frame; the bytes are the receiver's. */
  readonly onFrame: (frame: Uint8Array) => void;
  /** Once, at the end, however it came. Nothing follows. */
  readonly onClose: (reason: string) => void;
}

export interface Transport {
  /** Sends one frame; the bytes are the transport's from now on. */
  send(frame: Uint8Array<ArrayBuffer>): void;
  /** Sent and not yet taken by the network. */
  readonly bufferedBytes: number;
  close(): void;
}

/** Opens a connection to `url`. Failures come as `onClose`. */
export type Dial = (url: string, events: TransportEvents) => Transport;

/** The platform's own WebSocket, as browsers have it. */
export const dialWebSocket: Dial = (url, events) => {
  let socket: WebSocket;
  try {
    socket = new WebSocket(url);
  } catch (cause) {
    throw new StoreError('BAD_REQUEST', `not a WebSocket URL: ${url}`, { cause });
  }
  socket.binaryType = 'arraybuffer';
  let isClosed = false;
  const close = (reason: string): void => {
    if (isClosed) return;
    isClosed = true;
    events.onClose(reason);
  };
  socket.addEventListener('open', () => events.onOpen());
  socket.addEventListener('message', (event: MessageEvent) => {
    if (event.data instanceof ArrayBuffer) events.onFrame(new Uint8Array(event.data));
    else socket.close(1003);
  });
  // An 'error' says nothing here: the platform hides the reason, and 'close' follows.
  socket.addEventListener('close', (event: CloseEvent) =>
    close(event.reason === '' ? `closed (${event.code})` : event.reason),
  );
  return {
    send: (frame) => {
      if (socket.readyState === 1) socket.send(frame);
    },
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    close: () => {
      socket.close();
      // A close handshake may never be answered; who closes does not wait for it.
      close('closed by the client');
    },
  };
};
