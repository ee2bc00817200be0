/**
 * Mesh: this node's sockets to and from its peers, in the replication thread, so that no client can delay a
 * heartbeat.
 *
 * Out: two links per peer, `control` and `bulk`: a heartbeat never queues behind a megabyte of entries. In: a
 * server on the peer address (inbound.ts). Who the peers are is said by `setPeers`, at the start and whenever the
 * members change: new ones are dialled and let in, those that are no peers any more are let go.
 *
 * Whom it hears is another matter (admission.ts). A guest is dialled while it is there, so that it can be answered, and
 * let go when the log has caught up and still does not name it.
 *
 * Bounds: links to peers and guests; sockets per peer; one warning per reason of refusal.
 */
import { type AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import type { Transport } from '../../actors/mesh-outbox.ts';
import type { LogFunction } from '../../actors/runtime/thread.ts';
import { StoreError } from '../../core/base/errors.ts';
import type { LifeSign } from '../../core/raft/witness.ts';
import type { Channel, MeshHello, MeshMessage } from '../../core/wire/mesh.ts';
import { Admission, type AdmissionOptions, type MeshPeer, otherDirectory } from './admission.ts';
import { Inbound, type InboundWorld } from './inbound.ts';
import { Link } from './link.ts';

export interface MeshOptions extends AdmissionOptions {
  /** How this node introduces itself. */
  readonly life: LifeSign;
  /** Where this node listens: "host:port". */
  readonly listen: string;
  readonly log: LogFunction;
  readonly onMessages: (from: string, messages: readonly MeshMessage[]) => void;
  /** A peer has seen more of this node's directory than there is in it. */
  readonly onRolledBack: (peer: string, reason: string) => void;
  /** A peer was let in, with this data directory; it can apply commands up to this level. */
  readonly onMet: (peer: string, dir: string, commands: number) => void;
  readonly onConnected: (peer: string) => void;
  readonly onDisconnected: (peer: string) => void;
  /** The last socket on which `peer` spoke to us closed. */
  readonly onPeerLeft: (peer: string) => void;
}

const FRAME_BYTES_MAX = 16 * 1024 * 1024;
/** Four sockets per peer are in order (two, and two that replace them); the rest is somebody else's mistake. */
const SOCKETS_PER_PEER = 8;
/** Reasons of refusals remembered, so that who knocks every second is told of once. */
const REFUSALS_MAX = 100;
const CHANNELS: readonly Channel[] = ['control', 'bulk'];

/** Where a peer or a guest is, and our two links to it. */
interface Linked {
  readonly mesh: string;
  readonly links: Readonly<Record<Channel, Link>>;
}

export class Mesh implements Transport {
  readonly #options: MeshOptions;
  readonly #admission: Admission;
  readonly #linked = new Map<string, Linked>();
  readonly #inbound = new Map<string, Set<Inbound>>();
  readonly #refusals = new Set<string>();
  readonly #inboundWorld: InboundWorld;
  #server: WebSocketServer | undefined;
  #isClosed = false;

  constructor(options: MeshOptions) {
    this.#options = options;
    this.#admission = new Admission(options);
    this.#inboundWorld = {
      node: options.node,
      greet: (hello, inbound) => this.#greet(hello, inbound),
      onMessages: options.onMessages,
      onRefused: (peer, error) => this.#tellRefused(peer, error),
      onError: (peer, { message }) => options.log('warn', 'mesh.socket', { peer, message }),
      onClosed: (peer, inbound) => this.#left(peer, inbound),
    };
  }

  /** Listens and dials. Rejects with the system's error when the address is taken. */
  async open(): Promise<AddressInfo> {
    const own = new URL(`ws://${this.#options.listen}`);
    const server = new WebSocketServer({
      host: own.hostname.replace(/^\[|\]$/g, ''),
      port: own.port === '' ? 80 : Number(own.port),
      perMessageDeflate: false,
      maxPayload: FRAME_BYTES_MAX,
      clientTracking: true,
    });
    await new Promise<void>((resolve, reject) => {
      server.once('listening', resolve);
      server.once('error', reject);
    });
    server.on('error', (error) => this.#options.log('error', 'mesh.server', { message: error.message }));
    server.on('connection', (socket) => void new Inbound(socket, this.#inboundWorld));
    this.#server = server;
    this.#link();
    return server.address() as AddressInfo;
  }

  /** Who belongs to the cluster from now on, by entry `index` of the log; this node may be among them. */
  setPeers(peers: readonly MeshPeer[], index: number): void {
    this.#admission.setPeers(peers, index);
    for (const id of [...this.#linked.keys(), ...this.#inbound.keys()]) {
      if (!this.#isPeer(id) && !this.#isGuest(id)) this.#letGo(id);
    }
    // What came from a directory that was replaced meanwhile is not heard: the new one has promised nothing of it.
    for (const [id, sockets] of this.#inbound) {
      for (const inbound of sockets) {
        if (!this.#admission.isKnownBy(id, inbound)) inbound.refuse(otherDirectory(id));
      }
    }
    this.#link();
  }

  send(to: string, channel: Channel, bytes: Uint8Array): boolean {
    return this.#linked.get(to)?.links[channel].send(bytes) ?? false;
  }

  isOpen(to: string, channel: Channel): boolean {
    return this.#linked.get(to)?.links[channel].isOpen ?? false;
  }

  close(): void {
    this.#isClosed = true;
    for (const { links } of this.#linked.values()) for (const channel of CHANNELS) links[channel].close();
    for (const socket of this.#server?.clients ?? []) socket.terminate();
    this.#server?.close();
  }

  /** Links to everybody who is a peer, at the address that they have now. */
  #link(): void {
    if (this.#server === undefined || this.#isClosed) return;
    for (const [id, mesh] of this.#admission.peers) this.#dial(id, mesh);
  }

  #dial(to: string, mesh: string): void {
    const linked = this.#linked.get(to);
    if (linked?.mesh === mesh) return;
    this.#unlink(to);
    const links = { control: this.#newLink(to, mesh, 'control'), bulk: this.#newLink(to, mesh, 'bulk') };
    this.#linked.set(to, { mesh, links });
  }

  #unlink(from: string): void {
    const linked = this.#linked.get(from);
    this.#linked.delete(from);
    for (const channel of CHANNELS) linked?.links[channel].leave();
  }

  #newLink(to: string, mesh: string, channel: Channel): Link {
    const { cluster, node, life, log, onConnected, onDisconnected, onRolledBack } = this.#options;
    let lastReason = '';
    return new Link({
      url: `ws://${mesh}`,
      cluster,
      from: node,
      to,
      life,
      channel,
      mesh: this.#options.listen,
      membersIndex: () => this.#admission.membersIndex,
      onOpen: () => {
        log('debug', 'mesh.connected', { peer: to, channel });
        onConnected(to);
      },
      onClose: (reason, hasLasted) => {
        // A peer that refuses us (we are no member yet, or no more) does so at every try.
        const isKnown = reason === lastReason && !hasLasted;
        lastReason = reason;
        log(isKnown ? 'debug' : 'info', 'mesh.disconnected', { peer: to, channel, reason });
        if (channel === 'bulk') onDisconnected(to);
      },
      onRolledBack: (reason) => onRolledBack(to, reason),
    });
  }

  /** Lets in who is one of ours; throws why not. */
  #greet(hello: MeshHello, inbound: Inbound): void {
    const { from } = hello;
    const guest = this.#admission.greet(hello);
    const sockets = this.#inbound.get(from) ?? new Set();
    if (sockets.size >= SOCKETS_PER_PEER) throw new StoreError('PROTOCOL_ERROR', `too many sockets from "${from}"`);
    this.#inbound.set(from, sockets.add(inbound));
    if (guest !== undefined) {
      this.#admission.came(hello);
      this.#dial(from, guest);
    } else this.#options.onMet(from, hello.dir, hello.commands);
    // It is there: what waits to try it again need not wait.
    const linked = this.#linked.get(from);
    for (const channel of CHANNELS) linked?.links[channel].hurry();
  }

  #isPeer(id: string): boolean {
    return this.#admission.peers.has(id);
  }

  #isGuest(id: string): boolean {
    return this.#inbound.has(id) && this.#admission.isGuest(id);
  }

  #left(peer: string, inbound: Inbound): void {
    const sockets = this.#inbound.get(peer);
    if (sockets === undefined || !sockets.delete(inbound) || sockets.size > 0) return;
    this.#inbound.delete(peer);
    this.#admission.left(peer);
    if (this.#isClosed) return;
    if (!this.#isPeer(peer)) this.#unlink(peer);
    this.#options.onPeerLeft(peer);
  }

  /** No peer any more: what was sent to it leaves, what it sends is not heard. */
  #letGo(id: string): void {
    this.#admission.left(id);
    this.#unlink(id);
    const sockets = this.#inbound.get(id);
    this.#inbound.delete(id);
    for (const inbound of sockets ?? []) inbound.refuse(`"${id}" is no peer of this node any more`);
  }

  #tellRefused(peer: string | undefined, error: StoreError): void {
    const { code, message } = error;
    const isKnown = this.#refusals.has(message);
    if (this.#refusals.size >= REFUSALS_MAX) this.#refusals.clear();
    this.#refusals.add(message);
    this.#options.log(isKnown ? 'debug' : 'warn', 'mesh.refused', { peer, code, message });
  }
}
