/**
 * Mesh: this node's sockets to and from its peers, in the replication thread, so that no client can delay a
 * heartbeat.
 *
 * Out: two links per peer, `control` and `bulk`: a heartbeat never queues behind a megabyte of entries. In: a
 * server on the peer address; whoever connects must say within a deadline who it is, to whom it speaks, and of
 * which cluster it is, before anything it says is read. Each batch carries a checksum; a bad one ends the
 * socket, and Raft sends again what was in it.
 */
import { type AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Transport } from '../../actors/mesh-outbox.ts';
import type { LogFunction } from '../../actors/runtime/thread.ts';
import { crc32c } from '../../core/base/crc32c.ts';
import { StoreError } from '../../core/base/errors.ts';
import { COMMAND_HEADER_BYTES } from '../../core/model/commands.ts';
import { type Channel, decodeMesh, decodeMeshHello, type MeshMessage } from '../../core/wire/mesh.ts';
import { Link, SILENCE_MS_MAX } from './link.ts';

export interface MeshOptions {
  readonly cluster: string;
  readonly node: string;
  readonly boot: number;
  /** Peer URL of every node, this one included. */
  readonly peers: Readonly<Record<string, string>>;
  readonly log: LogFunction;
  readonly onMessages: (from: string, messages: readonly MeshMessage[]) => void;
  readonly onConnected: (peer: string) => void;
  readonly onDisconnected: (peer: string) => void;
  /** The last socket on which `peer` spoke to us closed. */
  readonly onPeerLeft: (peer: string) => void;
}

const HELLO_DEADLINE_MS = 5_000;
/** How long who was refused may take to close. */
const CLOSE_MS = 1_000;
const FRAME_BYTES_MAX = 16 * 1024 * 1024;
/** Four sockets per peer are in order (two, and two that replace them); the rest is somebody else's mistake. */
const SOCKETS_PER_PEER = 8;

export class Mesh implements Transport {
  readonly #options: MeshOptions;
  readonly #links = new Map<string, Link>();
  readonly #inbound = new Map<string, number>();
  #server: WebSocketServer | undefined;
  #isClosed = false;

  constructor(options: MeshOptions) {
    this.#options = options;
  }

  /** Listens and dials. Rejects with the system's error when the address is taken. */
  async open(): Promise<AddressInfo> {
    const { node, peers } = this.#options;
    const own = new URL(peers[node] ?? '');
    const server = new WebSocketServer({
      host: own.hostname.replace(/^\[|\]$/g, ''),
      port: Number(own.port),
      perMessageDeflate: false,
      maxPayload: FRAME_BYTES_MAX,
      clientTracking: true,
    });
    await new Promise<void>((resolve, reject) => {
      server.once('listening', resolve);
      server.once('error', reject);
    });
    server.on('error', (error) => this.#options.log('error', 'mesh.server', { message: error.message }));
    server.on('connection', (socket) => this.#accept(socket));
    this.#server = server;
    for (const peer of Object.keys(peers)) if (peer !== node) this.#dial(peer);
    return server.address() as AddressInfo;
  }

  send(to: string, channel: Channel, bytes: Uint8Array): boolean {
    return this.#links.get(`${channel}/${to}`)?.send(bytes) ?? false;
  }

  isOpen(to: string, channel: Channel): boolean {
    return this.#links.get(`${channel}/${to}`)?.isOpen ?? false;
  }

  close(): void {
    this.#isClosed = true;
    for (const link of this.#links.values()) link.close();
    for (const socket of this.#server?.clients ?? []) socket.terminate();
    this.#server?.close();
  }

  #dial(to: string): void {
    const { cluster, node, boot, peers, log, onConnected, onDisconnected } = this.#options;
    const url = peers[to] ?? '';
    for (const channel of ['control', 'bulk'] as const) {
      const link = new Link({
        url,
        cluster,
        from: node,
        to,
        boot,
        channel,
        onOpen: () => {
          log('debug', 'mesh.connected', { peer: to, channel });
          onConnected(to);
        },
        onClose: (reason) => {
          log('info', 'mesh.disconnected', { peer: to, channel, reason });
          if (channel === 'bulk') onDisconnected(to);
        },
      });
      this.#links.set(`${channel}/${to}`, link);
    }
  }

  #accept(socket: WebSocket): void {
    let from: string | undefined;
    let heardMs = performance.now();
    let isRefused = false;
    const refuse = (reason: string): void => {
      isRefused = true;
      socket.close(1002, closeReason(reason));
      setTimeout(() => socket.terminate(), CLOSE_MS).unref();
    };
    const deadline = setTimeout(() => refuse('no hello'), HELLO_DEADLINE_MS);
    // A peer pings; one that is silent for long is gone without a word.
    const watchdog = setInterval(() => {
      if (performance.now() - heardMs > 2 * SILENCE_MS_MAX) socket.terminate();
    }, SILENCE_MS_MAX);
    socket.on('ping', () => {
      heardMs = performance.now();
    });
    socket.on('error', (error) => this.#options.log('warn', 'mesh.socket', { peer: from, message: error.message }));
    socket.on('message', (data: Buffer, isBinary) => {
      heardMs = performance.now();
      // What was under way when it was refused.
      if (isRefused) return;
      try {
        if (!isBinary) throw new StoreError('PROTOCOL_ERROR', 'mesh messages are binary');
        if (from === undefined) {
          from = this.#greet(data);
          clearTimeout(deadline);
        } else this.#options.onMessages(from, decodeWhole(checked(data), from, this.#options.node));
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        this.#options.log('warn', 'mesh.refused', { peer: from, code: error.code, message: error.message });
        refuse(error.message);
      }
    });
    socket.on('close', () => {
      clearTimeout(deadline);
      clearInterval(watchdog);
      if (from === undefined) return;
      const left = (this.#inbound.get(from) ?? 1) - 1;
      this.#inbound.set(from, left);
      if (left === 0 && !this.#isClosed) this.#options.onPeerLeft(from);
    });
  }

  /** Who speaks, when it is one of ours. */
  #greet(data: Buffer): string {
    const hello = decodeMeshHello(data);
    const { cluster, node, peers } = this.#options;
    if (hello.cluster !== cluster) {
      throw new StoreError('PROTOCOL_ERROR', `of cluster "${hello.cluster}"; this is "${cluster}"`);
    }
    if (hello.to !== node) throw new StoreError('PROTOCOL_ERROR', `for node "${hello.to}"; this is "${node}"`);
    if (hello.from === node || !Object.hasOwn(peers, hello.from)) {
      throw new StoreError('PROTOCOL_ERROR', `from "${hello.from}", which is no peer of this node`);
    }
    const count = (this.#inbound.get(hello.from) ?? 0) + 1;
    if (count > SOCKETS_PER_PEER) throw new StoreError('PROTOCOL_ERROR', `too many sockets from "${hello.from}"`);
    this.#inbound.set(hello.from, count);
    return hello.from;
  }
}

/** At most 123 bytes of UTF-8 may stand in a close frame; what a stranger sent may be in the text. */
function closeReason(text: string): string {
  return text.replace(/[^ -~]/g, '?').slice(0, 120);
}

/** The batch without its checksum, if that is right. */
function checked(data: Buffer): Uint8Array {
  if (data.length < 4 || data.readUInt32LE(0) !== crc32c(data, 4)) {
    throw new StoreError('PROTOCOL_ERROR', 'a batch with a bad checksum');
  }
  return data.subarray(4);
}

/** A batch whose forwarded commands can be read and stamped: a peer's mistake must not reach the log, or stop us. */
function decodeWhole(bytes: Uint8Array, from: string, to: string): MeshMessage[] {
  const messages = decodeMesh(bytes, from, to);
  for (const message of messages) {
    if (message.kind !== 'forward') continue;
    if (message.commands.some((command) => command.length < COMMAND_HEADER_BYTES)) {
      throw new StoreError('PROTOCOL_ERROR', 'a forwarded command without its header');
    }
  }
  return messages;
}
