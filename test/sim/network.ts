/**
 * SimNetwork: the mesh between nodes, as net/mesh does it over sockets: each node dials every peer twice and sends on
 * what it dialled. A socket is an ordered stream that breaks: what was under way is then lost from some place on, and a
 * stream that was broken at one end may go on to be read at the other, beside its successor.
 *
 * What a wire does: it delays; it holds back all packets of one direction (a partition or a clog: held packets are
 * delivered when it ends, as TCP sends them again, if nobody gave the socket up meanwhile); it resets sockets.
 */
import { must } from '../../src/core/base/assert.ts';
import { type Channel, decodeMesh, type MeshMessage } from '../../src/core/wire/mesh.ts';
import { Backoff } from '../../src/net/backoff.ts';
import type { Chance } from './chance.ts';
import type { EventQueue } from './queue.ts';
import type { Trace } from './trace.ts';

/** A node as the network sees it. Calls reach it only while it is up; a paused one takes them when it wakes. */
export interface Host {
  readonly name: string;
  /** Counts lives; undefined: it is down. */
  readonly life: number | undefined;
  readonly isPaused: boolean;
  /** Identity of its data directory: it says so when it dials. */
  readonly dir: string;
  /** It waits, or waited, to be added. */
  readonly joins: boolean;
  /** `peer` was let in. */
  sawDir(peer: string, dir: string): void;
  messages(from: string, messages: readonly MeshMessage[]): void;
  connected(peer: string): void;
  disconnected(peer: string): void;
  peerLeft(peer: string): void;
}

export interface NetworkWorld {
  readonly queue: EventQueue;
  readonly chance: Chance;
  readonly trace: Trace;
  /** A batch leaves `from`: looked at by the oracle. */
  readonly onSend: (from: string, to: string, messages: readonly MeshMessage[]) => void;
}

const DIALLED = ['control', 'bulk'] as const satisfies readonly Channel[];
const PING_EVERY_MS = 1_000;
/** As net/mesh/link.ts: no answer to a ping for this long ends a socket at the dialler, twice as long at the other end. */
const SILENCE_MS_MAX = 4_000;

interface Batch {
  readonly atMs: number;
  readonly messages: readonly MeshMessage[];
}

/** What a node knows of the others. */
interface Known {
  /** Peers, with the directory that is known of each; '' none. */
  readonly dirs: ReadonlyMap<string, string>;
  /** The entry of its log that names them. */
  readonly index: number;
  /** Let in though they are no peers: with the entry of members that they know. */
  readonly guests: Map<string, number>;
}

/** One socket, from its dialling to its end at both sides. */
interface Socket {
  readonly from: string;
  readonly to: string;
  readonly channel: Channel;
  readonly fromLife: number;
  readonly toLife: number;
  readonly queue: Batch[];
  /** Open at the dialler. */
  isOpen: boolean;
  /** Open at the other end. */
  isHeard: boolean;
  heardMs: number;
  /** When the last batch that was sent arrives: later ones come after it. */
  lastMs: number;
  isPlanned: boolean;
  /** No more is sent on it; what is in the queue is still read. */
  isEnding: boolean;
}

export class SimNetwork {
  readonly #world: NetworkWorld;
  readonly #hosts = new Map<string, Host>();
  /** "from/to" whose packets do not get through. */
  readonly #blocked = new Set<string>();
  /** The open sockets by "channel/from/to". */
  readonly #open = new Map<string, Socket>();
  /** All that somebody still has open, and those that others have not noticed to be over. */
  readonly #sockets = new Set<Socket>();
  readonly #known = new Map<string, Known>();
  latencyMs = 0.3;
  sent = 0;

  constructor(world: NetworkWorld) {
    this.#world = world;
  }

  add(host: Host): void {
    this.#hosts.set(host.name, host);
  }

  // ── what nodes do ─────────────────────────────────────────────────────────────────────────────────────────

  /** A node began to live: whom it was told of so far is dialled. */
  began(host: Host): void {
    const life = must(host.life, 'who dials lives');
    const ping = (): void => {
      if (host.life !== life) return;
      this.#ping(host);
      this.#world.queue.after(PING_EVERY_MS, ping);
    };
    this.#world.queue.after(PING_EVERY_MS * this.#world.chance.random(), ping);
  }

  /** Whom `host` dials from now on, and whom it lets in; by entry `index` of its log. */
  setPeers(host: Host, peers: readonly { readonly id: string; readonly dir: string }[], index: number): void {
    const { name } = host;
    const before = this.#known.get(name);
    const dirs = new Map(peers.filter(({ id }) => id !== name).map(({ id, dir }) => [id, dir]));
    const guests = before?.guests ?? new Map<string, number>();
    this.#known.set(name, { dirs, index, guests });
    for (const [guest, ahead] of guests) {
      if (dirs.has(guest) || (!host.joins && ahead <= index)) guests.delete(guest);
    }
    for (const socket of [...this.#sockets]) {
      if (socket.from === name && !this.#isLinked(name, socket.to)) this.#closeAtDialler(socket);
      if (socket.to === name && socket.isHeard && !this.#isLinked(name, socket.from)) this.#refuse(socket);
    }
    // A life says so before its constructor is done: it dials when it lives.
    this.#world.queue.after(0, () => {
      for (const to of dirs.keys()) if (before?.dirs.has(to) !== true) this.#link(host, to);
    });
  }

  #link(host: Host, to: string): void {
    if (host.life === undefined) return;
    for (const channel of DIALLED) {
      const { random } = this.#world.chance;
      this.#dial(host, host.life, to, channel, new Backoff({ minMs: 20, maxMs: 1_000, random }));
    }
  }

  /** Is `other` a peer or a guest of `name`? */
  #isLinked(name: string, other: string): boolean {
    const known = this.#known.get(name);
    return known !== undefined && (known.dirs.has(other) || known.guests.has(other));
  }

  /** It is no peer any more: nothing of it is heard. */
  #refuse(socket: Socket): void {
    socket.queue.length = 0;
    this.#closeAtOther(socket);
    this.#after(socket.to, socket.from, () => this.#closeAtDialler(socket));
  }

  /** A node's life ended. `isSilent`: its host went with it, and says nothing to anybody. */
  ended(name: string, isSilent: boolean): void {
    this.#known.delete(name);
    for (const socket of [...this.#sockets]) {
      if (socket.from === name) {
        socket.isOpen = false;
        this.#open.delete(keyOf(socket));
        // What its kernel had is lost with the host, and sent on by it otherwise.
        if (isSilent) socket.queue.length = 0;
        else this.#end(socket);
        if (!socket.isHeard) this.#sockets.delete(socket);
      } else if (socket.to === name) {
        socket.isHeard = false;
        socket.queue.length = 0;
        if (!socket.isOpen) this.#sockets.delete(socket);
        if (!isSilent && socket.isOpen) this.#after(name, socket.from, () => this.#closeAtDialler(socket));
      }
    }
  }

  send(from: string, to: string, channel: Channel, bytes: Uint8Array): boolean {
    const socket = this.#open.get(`${channel}/${from}/${to}`);
    if (socket === undefined) return false;
    const { queue, chance, trace } = this.#world;
    const messages = decodeMesh(bytes.slice(), from, to);
    this.#world.onSend(from, to, messages);
    this.sent += messages.length;
    trace.note(queue.nowMs, 'send', from, to.charCodeAt(to.length - 1), messages.length, bytes.length);
    const atMs = Math.max(socket.lastMs, queue.nowMs + chance.delay(this.latencyMs));
    socket.lastMs = atMs;
    socket.queue.push({ atMs, messages });
    this.#plan(socket);
    return true;
  }

  isOpen(from: string, to: string, channel: Channel): boolean {
    return this.#open.has(`${channel}/${from}/${to}`);
  }

  // ── what happens to wires ─────────────────────────────────────────────────────────────────────────────────

  block(from: string, to: string): void {
    this.#blocked.add(`${from}/${to}`);
  }

  unblock(from: string, to: string): void {
    if (!this.#blocked.delete(`${from}/${to}`)) return;
    for (const socket of this.#sockets) if (socket.from === from && socket.to === to) this.#plan(socket);
  }

  unblockAll(): void {
    for (const pair of [...this.#blocked]) {
      const [from, to] = pair.split('/') as [string, string];
      this.unblock(from, to);
    }
  }

  /** Breaks one open socket in the middle of what it carries: a part of that still arrives. False: none is open. */
  reset(): boolean {
    const open = [...this.#open.values()];
    if (open.length === 0) return false;
    const { chance, queue, trace } = this.#world;
    const socket = chance.of(open);
    trace.note(queue.nowMs, 'reset', socket.from, socket.to.charCodeAt(socket.to.length - 1));
    socket.queue.length = chance.below(socket.queue.length + 1);
    this.#closeAtDialler(socket);
    return true;
  }

  isBlocked(from: string, to: string): boolean {
    return this.#blocked.has(`${from}/${to}`);
  }

  // ── sockets ───────────────────────────────────────────────────────────────────────────────────────────────

  #dial(host: Host, life: number, to: string, channel: Channel, backoff: Backoff): void {
    const { queue, chance } = this.#world;
    // One that is no peer any more may become one again: it is then dialled anew.
    if (host.life !== life || !this.#isLinked(host.name, to)) return;
    if (this.#open.has(`${channel}/${host.name}/${to}`)) return;
    const peer = must(this.#hosts.get(to), 'a peer is known');
    const again = (): void => {
      queue.after(backoff.next(), () => this.#dial(host, life, to, channel, backoff));
    };
    const toLife = peer.life;
    const isReachable = !this.isBlocked(host.name, to) && !this.isBlocked(to, host.name);
    if (host.isPaused || toLife === undefined || !isReachable) {
      again();
      return;
    }
    queue.after(chance.delay(2 * this.latencyMs), () => {
      if (host.life !== life || this.#open.has(`${channel}/${host.name}/${to}`)) return;
      if (peer.life !== toLife || !this.#letsIn(peer, host)) {
        again();
        return;
      }
      const nowMs = queue.nowMs;
      const socket: Socket = {
        from: host.name,
        to,
        channel,
        fromLife: life,
        toLife,
        queue: [],
        isOpen: true,
        isHeard: true,
        heardMs: nowMs,
        lastMs: nowMs,
        isPlanned: false,
        isEnding: false,
      };
      this.#sockets.add(socket);
      this.#world.trace.note(queue.nowMs, `open ${channel} ${to}`, host.name);
      this.#open.set(keyOf(socket), socket);
      backoff.reset();
      this.#redial.set(socket, again);
      host.connected(to);
      this.#greeted(peer, host);
    });
  }

  /**
   * As net/mesh/mesh.ts: a peer, with the directory that is known of it, or a guest: anybody at a node that waits to be
   * added, and who knows a newer entry of members.
   */
  #letsIn(host: Host, caller: Host): boolean {
    const known = this.#known.get(host.name);
    if (known === undefined) return false;
    const dir = known.dirs.get(caller.name);
    if (dir === undefined) return host.joins || (this.#known.get(caller.name)?.index ?? 0) > known.index;
    return dir === '' || dir === caller.dir;
  }

  /** `caller` was let in: a guest is dialled back, a peer's directory is told. */
  #greeted(host: Host, caller: Host): void {
    const known = this.#known.get(host.name);
    if (known === undefined) return;
    if (known.dirs.has(caller.name)) {
      host.sawDir(caller.name, caller.dir);
      return;
    }
    const isNew = !known.guests.has(caller.name);
    known.guests.set(caller.name, this.#known.get(caller.name)?.index ?? 0);
    if (isNew) this.#link(host, caller.name);
  }

  readonly #redial = new WeakMap<Socket, () => void>();

  /** The dialler knows that it is over; the other end hears of it when it can. */
  #closeAtDialler(socket: Socket): void {
    if (!socket.isOpen) return;
    socket.isOpen = false;
    this.#world.trace.note(this.#world.queue.nowMs, `close ${socket.channel} ${socket.to}`, socket.from);
    this.#open.delete(keyOf(socket));
    if (socket.isHeard) this.#end(socket);
    else this.#sockets.delete(socket);
    const host = this.#hosts.get(socket.from);
    if (host?.life !== socket.fromLife) return;
    if (socket.channel === 'bulk') host.disconnected(socket.to);
    this.#redial.get(socket)?.();
  }

  /** Nothing more is sent on it: once what is under way has been read, the other end is told. */
  #end(socket: Socket): void {
    socket.isEnding = true;
    this.#plan(socket);
  }

  #closeAtOther(socket: Socket): void {
    if (!socket.isHeard) return;
    socket.isHeard = false;
    socket.queue.length = 0;
    if (!socket.isOpen) this.#sockets.delete(socket);
    const host = this.#hosts.get(socket.to);
    if (host?.life !== socket.toLife) return;
    for (const other of this.#sockets) {
      if (other.from === socket.from && other.to === socket.to && other.isHeard) return;
    }
    this.#known.get(socket.to)?.guests.delete(socket.from);
    host.peerLeft(socket.from);
  }

  #plan(socket: Socket): void {
    if (socket.isPlanned || this.isBlocked(socket.from, socket.to)) return;
    const [first] = socket.queue;
    if (first === undefined && !socket.isEnding) return;
    const { queue, chance } = this.#world;
    socket.isPlanned = true;
    const atMs = first?.atMs ?? queue.nowMs + chance.delay(this.latencyMs);
    queue.after(Math.max(0, atMs - queue.nowMs), () => {
      socket.isPlanned = false;
      if (this.isBlocked(socket.from, socket.to)) return;
      this.#arrive(socket);
      this.#plan(socket);
    });
  }

  #arrive(socket: Socket): void {
    const batch = socket.queue.shift();
    if (batch === undefined) {
      // What was on its way may have gone with its host.
      if (socket.isEnding) this.#closeAtOther(socket);
      socket.isEnding = false;
      return;
    }
    const host = this.#hosts.get(socket.to);
    if (!socket.isHeard || host?.life !== socket.toLife) return;
    host.messages(socket.from, batch.messages);
  }

  /** Sockets of `host` that have been silent for too long are given up, at either end. */
  #ping(host: Host): void {
    const { queue } = this.#world;
    if (host.isPaused) return;
    for (const socket of [...this.#sockets]) {
      const isDialler = socket.from === host.name && socket.isOpen;
      const isOther = socket.to === host.name && socket.isHeard;
      if (!isDialler && !isOther) continue;
      const other = this.#hosts.get(isDialler ? socket.to : socket.from);
      const otherLife = isDialler ? socket.toLife : socket.fromLife;
      const isWhole = isDialler ? socket.isHeard : socket.isOpen;
      const isThere = isWhole && other?.life === otherLife && !other.isPaused;
      const getsThrough = !this.isBlocked(socket.from, socket.to) && !this.isBlocked(socket.to, socket.from);
      if (isThere && getsThrough) {
        socket.heardMs = queue.nowMs;
        continue;
      }
      const silentMs = queue.nowMs - socket.heardMs;
      if (isDialler && silentMs > SILENCE_MS_MAX) this.#closeAtDialler(socket);
      else if (isOther && silentMs > 2 * SILENCE_MS_MAX) this.#closeAtOther(socket);
    }
  }

  /** Tells the far end something, when packets from `from` get there. */
  #after(from: string, to: string, work: () => void): void {
    const { queue, chance } = this.#world;
    queue.after(chance.delay(this.latencyMs), () => {
      if (!this.isBlocked(from, to)) work();
    });
  }
}

const keyOf = ({ channel, from, to }: Socket): string => `${channel}/${from}/${to}`;
