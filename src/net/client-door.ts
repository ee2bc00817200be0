/**
 * The clients' door: WebSocket connections of SDKs, handed to the gateway frame by frame.
 *
 * Limits before anything else: how many connections, how large a frame, how long a handshake; compression off
 * (it costs memory per socket and invites bombs). A web page is turned away (its Origin header tells) unless its
 * origin is allowed: nobody's browser tab should reach a store on localhost. Half-open sockets are found by
 * pings.
 */
import { createServer, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import type { Connection, Door } from '../actors/gateway/connection.ts';
import type { LogFunction } from '../actors/runtime/thread.ts';
import { StoreError } from '../core/base/errors.ts';
import { LIMITS } from '../core/model/limits.ts';
import { encodeGoodbye } from '../core/wire/client.ts';
import { Arrivals } from './arrivals.ts';

/** Who is behind the door: a node's gateway, or a relay. */
export interface ClientHall {
  open(door: Door): Connection;
  receive(connection: Connection, frame: Uint8Array): void;
  /** What came is no frame. */
  refuse(connection: Connection, error: StoreError): void;
  closed(connection: Connection): void;
}

export interface ClientDoorOptions {
  readonly url: string;
  readonly connectionsMax: number;
  readonly originsAllowed: readonly string[];
  readonly gateway: ClientHall;
  /** Runs what a socket's event asks for; what that throws is the node's to answer for, not the process's. */
  readonly guard: (work: () => void) => void;
  readonly log: LogFunction;
  /** So many clients have come and are not let in yet. */
  readonly onWaiting?: (count: number) => void;
}

const PING_EVERY_MS = 5_000;
const SILENCE_MS_MAX = 15_000;
/** How long a client may take to close after a goodbye. */
const CLOSE_MS = 1_000;
const HANDSHAKE_MS = 5_000;
const HANDSHAKES_MAX = 256;
const FIN_BINARY = 0x82;

export class ClientDoor {
  readonly #options: ClientDoorOptions;
  readonly #http: Server;
  readonly #server: WebSocketServer;
  readonly #heard = new Map<WebSocket, number>();
  readonly #arrivals: Arrivals;
  readonly #pinger: NodeJS.Timeout;

  private constructor(options: ClientDoorOptions, http: Server, server: WebSocketServer, arrivals: Arrivals) {
    this.#options = options;
    this.#http = http;
    this.#server = server;
    this.#arrivals = arrivals;
    server.on('connection', (socket, { socket: tcp }) => this.#accept(socket, tcp));
    server.on('error', (error) => options.log('error', 'door.server', { message: error.message }));
    this.#pinger = setInterval(() => this.#ping(), PING_EVERY_MS);
  }

  static async open(options: ClientDoorOptions): Promise<ClientDoor> {
    const address = new URL(options.url);
    const http = createUpgradeServer(options.connectionsMax);
    const arrivals = new Arrivals(options.onWaiting);
    const server = new WebSocketServer({
      server: http,
      perMessageDeflate: false,
      maxPayload: LIMITS.frameBytesMax,
      clientTracking: true,
      verifyClient: ({ origin }: { origin: string | undefined }, done) => {
        const isAllowed = origin === undefined || options.originsAllowed.includes(origin);
        if (isAllowed) arrivals.add(() => done(true));
        else done(false, 403, 'this origin is not allowed');
      },
    });
    await new Promise<void>((resolve, reject) => {
      http.once('listening', resolve);
      // ws passes its server's errors on; one listener of each is told.
      server.once('error', reject);
      http.listen(Number(address.port), address.hostname.replace(/^\[|\]$/g, ''));
    });
    return new ClientDoor(options, http, server, arrivals);
  }

  get sockets(): number {
    return this.#server.clients.size;
  }

  /** Takes no new connection, and ends those there are; the gateway has said goodbye to them. */
  async close(): Promise<void> {
    clearInterval(this.#pinger);
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()));
    this.#server.close();
    this.#arrivals.close();
    for (const socket of this.#server.clients) {
      this.#closeSocket(socket, 1001, 'stopping');
    }
    await closed;
  }

  #accept(socket: WebSocket, tcp: Socket): void {
    const { gateway, guard, connectionsMax, log } = this.#options;
    socket.on('error', (error) => log('debug', 'door.socket', { message: error.message }));
    if (this.#server.clients.size > connectionsMax) {
      socket.send(
        encodeGoodbye(
          new StoreError('OVERLOADED', `this node takes ${connectionsMax} connections`, {
            data: { limit: connectionsMax },
          }),
        ),
      );
      this.#end(socket);
      return;
    }
    this.#heard.set(socket, performance.now());
    const door: Door = {
      send: (frame) => socket.send(frame),
      sendShared: (frame) => {
        // What ws does with each frame, done once: without compression it holds nothing back, so the order is kept.
        if (socket.readyState === WebSocket.OPEN) tcp.write((frame.onWire ??= binaryFrame(frame.bytes)));
      },
      close: () => this.#end(socket),
      get bufferedBytes() {
        // As ws counts it when it compresses nothing; asked for a thousand sockets, dozens of times a second.
        return tcp.writableLength;
      },
    };
    const connection = gateway.open(door);
    socket.on('message', (data: Buffer, isBinary) => {
      this.#heard.set(socket, performance.now());
      guard(() => {
        if (isBinary) gateway.receive(connection, data);
        else gateway.refuse(connection, new StoreError('PROTOCOL_ERROR', 'frames are binary; this one is text'));
      });
    });
    socket.on('pong', () => this.#heard.set(socket, performance.now()));
    socket.on('close', () => {
      this.#heard.delete(socket);
      guard(() => gateway.closed(connection));
    });
  }

  #end(socket: WebSocket): void {
    this.#closeSocket(socket, 1000);
  }

  #closeSocket(socket: WebSocket, code: number, reason?: string): void {
    socket.close(code, reason);
    const late = setTimeout(() => socket.terminate(), CLOSE_MS).unref();
    socket.once('close', () => clearTimeout(late));
  }

  #ping(): void {
    const nowMs = performance.now();
    for (const [socket, heardMs] of this.#heard) {
      if (nowMs - heardMs > SILENCE_MS_MAX) socket.terminate();
      else socket.ping();
    }
  }
}

/** Only upgrades: a socket that sends no whole request in time is closed, one that wants a page is told. */
function createUpgradeServer(connectionsMax: number): Server {
  const http = createServer({ connectionsCheckingInterval: 1_000 }, (_request, response) => {
    response.writeHead(426, { 'content-type': 'text/plain; charset=utf-8' });
    response.end('this address speaks WebSocket; see ctlmesh/client\n');
  });
  http.headersTimeout = HANDSHAKE_MS;
  http.requestTimeout = HANDSHAKE_MS;
  // Beside the connections there are those still shaking hands, and those about to be told that it is full.
  http.maxConnections = connectionsMax + HANDSHAKES_MAX;
  return http;
}

/** A whole WebSocket message as a server sends it: RFC 6455, section 5.2. */
function binaryFrame(payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const headerBytes = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafeSlow(headerBytes + length);
  frame[0] = FIN_BINARY;
  if (headerBytes === 2) frame[1] = length;
  else if (headerBytes === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.set(payload, headerBytes);
  return frame;
}
