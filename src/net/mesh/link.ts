/**
 * Link: one channel from this node to one peer. We dial it, we send on it, nothing comes back on it; it is
 * dialled again, with jittered back-off, for as long as it is a peer.
 *
 * A half-open socket (the peer's host is gone without a word) is found by pings: no answer within the silence
 * bound ends it.
 */
import { WebSocket } from 'ws';
import { ByteWriter } from '../../core/base/bytes.ts';
import { crc32c } from '../../core/base/crc32c.ts';
import { COMMAND_LEVEL } from '../../core/model/command-levels.ts';
import { type Channel, encodeMeshHello, MESH_VERSION } from '../../core/wire/mesh.ts';
import type { LifeSign } from '../../core/raft/witness.ts';
import { Backoff } from '../backoff.ts';

export interface LinkOptions {
  readonly url: string;
  readonly cluster: string;
  readonly from: string;
  readonly to: string;
  readonly life: LifeSign;
  readonly channel: Channel;
  /** Where this node listens. */
  readonly mesh: string;
  readonly membersIndex: () => number;
  readonly onOpen: () => void;
  /** `hasLasted`: it was of use; false where the peer took the socket and refused us. */
  readonly onClose: (reason: string, hasLasted: boolean) => void;
  /** The peer has seen more of this directory than there is in it. */
  readonly onRolledBack: (reason: string) => void;
}

/** With this a peer closes that refuses a directory which has forgotten something. */
export const ROLLED_BACK_CODE = 4_001;
const HANDSHAKE_MS = 3_000;
export const PING_EVERY_MS = 1_000;
export const SILENCE_MS_MAX = 4_000;
/** What may wait in the socket. Raft's windows keep bulk far below; past it the peer is not reading. */
const BUFFERED_BYTES_MAX = 64 * 1024 * 1024;
/** How long what is queued for a peer that is left may take to go. */
const LEAVE_MS = 1_000;

export class Link {
  readonly #options: LinkOptions;
  readonly #backoff: Backoff = new Backoff({ minMs: 20, maxMs: 1_000, random: Math.random });
  #socket: WebSocket | undefined;
  #isOpen = false;
  #isClosed = false;
  #heardMs = 0;
  #retry: NodeJS.Timeout | undefined;
  readonly #pinger: NodeJS.Timeout;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#pinger = setInterval(() => this.#ping(), PING_EVERY_MS);
    this.#dial();
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Sends one batch, with its checksum. `bytes` is the caller's again when this returns. */
  send(bytes: Uint8Array): boolean {
    const socket = this.#socket;
    if (socket === undefined || !this.#isOpen) return false;
    if (socket.bufferedAmount > BUFFERED_BYTES_MAX) {
      socket.terminate();
      return false;
    }
    const batch = Buffer.allocUnsafe(4 + bytes.length);
    batch.writeUInt32LE(crc32c(bytes), 0);
    batch.set(bytes, 4);
    socket.send(batch);
    return true;
  }

  /** Dials now if it waits to: the peer was heard, so it is there. */
  hurry(): void {
    if (this.#isClosed || this.#socket !== undefined) return;
    clearTimeout(this.#retry);
    this.#backoff.reset();
    this.#dial();
  }

  close(): void {
    this.#end();
    this.#socket?.terminate();
  }

  /** Closes once what was sent is on its way; at once where nothing could be. */
  leave(): void {
    const socket = this.#socket;
    const isOpen = this.#isOpen;
    this.#end();
    if (socket === undefined) return;
    if (!isOpen) {
      socket.terminate();
      return;
    }
    // The close frame goes behind what is queued.
    socket.close(1000);
    setTimeout(() => socket.terminate(), LEAVE_MS).unref();
  }

  #end(): void {
    this.#isClosed = true;
    this.#isOpen = false;
    clearTimeout(this.#retry);
    clearInterval(this.#pinger);
  }

  #dial(): void {
    const { url } = this.#options;
    const socket = new WebSocket(url, {
      perMessageDeflate: false,
      handshakeTimeout: HANDSHAKE_MS,
      // Masks protect proxies from hostile scripts; peers are neither. A zero mask saves touching every byte.
      generateMask: (mask) => mask.fill(0),
    });
    this.#socket = socket;
    let reason = 'closed';
    let hasLasted = false;
    socket.on('open', () => {
      const { cluster, from, to, life, channel, mesh, membersIndex } = this.#options;
      const hello = new ByteWriter(128);
      const known = { ...life, version: MESH_VERSION, channel, cluster, from, to };
      encodeMeshHello(hello, { ...known, mesh, membersIndex: membersIndex(), commands: COMMAND_LEVEL });
      socket.send(hello.take());
      this.#heardMs = performance.now();
      this.#isOpen = true;
      this.#options.onOpen();
    });
    socket.on('pong', () => {
      this.#heardMs = performance.now();
      // A peer that refuses us closes before the first ping.
      hasLasted = true;
      this.#backoff.reset();
    });
    socket.on('error', (error) => {
      reason = error.message;
    });
    socket.on('close', (code, text) => {
      if (this.#socket !== socket) return;
      const wasOpen = this.#isOpen;
      this.#isOpen = false;
      this.#socket = undefined;
      if (this.#isClosed) return;
      if (code === ROLLED_BACK_CODE) this.#options.onRolledBack(text.toString());
      if (wasOpen) this.#options.onClose(text.length > 0 ? `${code} ${text.toString()}` : reason, hasLasted);
      this.#retry = setTimeout(() => this.#dial(), this.#backoff.next());
    });
  }

  #ping(): void {
    const socket = this.#socket;
    if (socket === undefined || !this.#isOpen) return;
    if (performance.now() - this.#heardMs > SILENCE_MS_MAX) socket.terminate();
    else socket.ping();
  }
}
