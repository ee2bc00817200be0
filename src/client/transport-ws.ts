/**
 * Frames over `ws`, for Node: no compression, one copy less than the platform's own WebSocket, and the reason of
 * a failed connection.
 */
import { WebSocket } from 'ws';
import { LIMITS } from '../core/model/limits.ts';
import { StoreError } from '../core/base/errors.ts';
import type { Dial } from './transport.ts';

const HANDSHAKE_MS = 3_000;
/** How long a server may take to answer a close: a process that wants to end does not wait for it any longer. */
const CLOSE_MS = 1_000;

export const dialWs: Dial = (url, events) => {
  let socket: WebSocket;
  try {
    socket = new WebSocket(url, {
      perMessageDeflate: false,
      handshakeTimeout: HANDSHAKE_MS,
      maxPayload: 2 * LIMITS.frameBytesMax,
    });
  } catch (cause) {
    throw new StoreError('BAD_REQUEST', `not a WebSocket URL: ${url}`, { cause });
  }
  let isClosed = false;
  let reason = '';
  const close = (why: string): void => {
    if (isClosed) return;
    isClosed = true;
    events.onClose(why);
  };
  socket.on('open', () => events.onOpen());
  socket.on('message', (data: Buffer) => {
    if (!isClosed) events.onFrame(data);
  });
  socket.on('error', (error) => {
    reason = error.message === '' ? ((error as NodeJS.ErrnoException).code ?? 'failed') : error.message;
  });
  socket.on('close', (code, text) =>
    close(reason !== '' ? reason : text.length > 0 ? text.toString() : `closed (${code})`),
  );
  return {
    send: (frame) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(frame);
    },
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    close: () => {
      if (socket.readyState === WebSocket.OPEN) {
        socket.close();
        const late = setTimeout(() => socket.terminate(), CLOSE_MS).unref();
        socket.once('close', () => clearTimeout(late));
      } else socket.terminate();
      close('closed by the client');
    },
  };
};
