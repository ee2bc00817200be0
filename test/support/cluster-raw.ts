/**
 * A client that speaks the protocol byte by byte: for what the SDK would never send.
 */
import { WebSocket } from 'ws';
import { ByteReader, ByteWriter } from '../../src/core/base/bytes.ts';
import type { StoreError } from '../../src/client/index.ts';
import * as wire from '../../src/core/wire/client.ts';
import { until } from './cluster-process.ts';

export interface RawRequest {
  readonly id: number;
  readonly kind: number;
  readonly deadlineMs?: number;
  readonly fill: (writer: ByteWriter) => unknown;
}

export class RawClient {
  readonly socket: WebSocket;
  readonly replies: Map<number, wire.Reply> = new Map();
  readonly ends: Map<number, wire.Reply> = new Map();
  goodbye: StoreError | undefined;
  welcome: wire.Welcome | undefined;
  streamBytes = 0;
  closed: { readonly code: number } | undefined;
  failure: Error | undefined;

  private constructor(url: string, options: { readonly origin?: string } = {}) {
    this.socket = new WebSocket(url, { perMessageDeflate: false, ...options });
    this.socket.on('error', (error) => {
      this.failure = error;
    });
    this.socket.on('close', (code) => {
      this.closed = { code };
    });
    this.socket.on('message', (data: Buffer) => this.#frame(new ByteReader(data)));
  }

  /** Connected; nothing said yet. */
  static async dial(url: string, options: { readonly origin?: string } = {}): Promise<RawClient> {
    const client = new RawClient(url, options);
    await until('the socket opens', () => client.socket.readyState === WebSocket.OPEN || client.closed !== undefined, {
      everyMs: 1,
    });
    if (client.closed !== undefined) throw client.failure ?? new Error(`closed with ${client.closed.code}`);
    return client;
  }

  /** Connected and greeted. */
  static async open(url: string): Promise<RawClient> {
    const client = await RawClient.dial(url);
    client.socket.send(wire.encodeHello({ versionMin: 1, versionMax: 1, client: 'raw' }));
    await until('the welcome', () => client.welcome, { everyMs: 1 });
    return client;
  }

  /** A frame of requests: their bytes may be sent again, here or elsewhere. */
  static requests(...requests: readonly RawRequest[]): Uint8Array {
    const writer = new ByteWriter(256).u8(wire.FRAME.requests);
    for (const { id, kind, deadlineMs = 5_000, fill } of requests) {
      const at = wire.beginRequest(writer, { id, kind, deadlineMs });
      fill(writer);
      wire.endRequest(writer, at);
    }
    return writer.take();
  }

  async ask(
    id: number,
    kind: number,
    fill: (writer: ByteWriter) => unknown,
    deadlineMs: number = 5_000,
  ): Promise<wire.Reply> {
    this.socket.send(RawClient.requests({ id, kind, deadlineMs, fill }));
    return this.reply(id);
  }

  async reply(id: number): Promise<wire.Reply> {
    const reply = await until(
      `reply ${id}`,
      () => {
        if (this.closed !== undefined) throw new Error(`closed (${this.closed.code}) ${this.goodbye?.message ?? ''}`);
        return this.replies.get(id) ?? this.ends.get(id);
      },
      { everyMs: 2 },
    );
    this.replies.delete(id);
    this.ends.delete(id);
    return reply;
  }

  /** The server ends the connection; gives its close code. */
  async end(withinMs = 10_000): Promise<number> {
    const { code } = await until('the server closes', () => this.closed, { withinMs, everyMs: 2 });
    return code;
  }

  close(): void {
    this.socket.terminate();
  }

  #frame(reader: ByteReader): void {
    const type = reader.u8();
    if (type === wire.FRAME.welcome) this.welcome = wire.decodeWelcome(reader);
    else if (type === wire.FRAME.goodbye) this.goodbye = wire.decodeGoodbye(reader);
    else if (type === wire.FRAME.replies) {
      while (reader.left > 0) {
        const reply = wire.decodeReply(reader);
        this.replies.set(reply.id, reply);
      }
    } else if (type === wire.FRAME.end) {
      const reply = wire.decodeReply(reader);
      this.ends.set(reply.id, reply);
    } else if (type === wire.FRAME.stream) this.streamBytes += reader.left;
  }
}
