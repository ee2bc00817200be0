/**
 * SimNetwork: the mesh between nodes, as net/mesh does it over sockets: each node dials every peer twice and sends on
 * what it dialled. A socket is an ordered stream that breaks: what was under way is then lost from some place on, and a
 * stream that was broken at one end may go on to be read at the other, beside its successor.
 *
 * What a wire does: it delays; it holds back all packets of one direction (a partition or a clog: held packets are
 * delivered when it ends, as TCP sends them again, if nobody gave the socket up meanwhile); it resets sockets.
 */
import { must } from '../../src/core/base/assert.ts';
import type { StoreError } from '../../src/core/base/errors.ts';
import { type Channel, decodeMesh, type MeshHello, type MeshMessage } from '../../src/core/wire/mesh.ts';
import { Backoff } from '../../src/net/backoff.ts';
import type { Chance } from './chance.ts';
import type { Presence } from './presence.ts';
import type { Ear } from './ear.ts';
import type { EventQueue } from './queue.ts';
import type { Trace } from './trace.ts';

/** A node as the network sees it. Calls reach it only while it is up; a paused one takes them when it wakes. */
export interface Host {
  readonly name: string;
  /** Counts lives; undefined: it is down. */
  readonly life: number | undefined;
  readonly isPaused: boolean;
  /** Of this life, or of one that is about to begin. */
  readonly presence: Presence | undefined;
  readonly ear: Ear;
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

/** Whom a life dials. */
interface Dialled {
  readonly peers: Set<string>;
  /** Let in though they are no peers, and answered while they are there. */
  readonly guests: Set<string>;
}

/** One socket, from its dialling to its end at both sides. */
interface Socket {
  readonly from: string;
  readonly to: string;
  readonly channel: Channel;
  readonly fromLife: number;
  readonly toLife: number;
  /** What was said when it was opened. */
  readonly hello: MeshHello;
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
  readonly #dialled = new Map<string, Dialled>();
  /** By host and its directory: which life of each other one it has let in as a peer, last. */
  readonly #met = new Map<string, number>();
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

  /** Other members are its peers from now on. */
  membersChanged(host: Host): void {
    const { name } = host;
    const { admission } = must(host.presence, 'who goes by members is about to live');
    const { peers, guests } = this.#dialledBy(name);
    for (const guest of guests) if (admission.peers.has(guest) || !admission.isGuest(guest)) guests.delete(guest);
    for (const socket of [...this.#sockets]) {
      if (socket.from === name && !this.#isLinked(host, socket.to)) this.#closeAtDialler(socket);
      if (socket.to !== name || !socket.isHeard) continue;
      const { from, hello } = socket;
      if (!this.#isLinked(host, from) || !admission.isKnownBy(from, hello)) this.#refuse(socket);
    }
    const fresh = [...admission.peers.keys()].filter((to) => !peers.has(to));
    peers.clear();
    for (const to of admission.peers.keys()) peers.add(to);
    // A life says so before its constructor is done: it dials when it lives.
    this.#world.queue.after(0, () => {
      for (const to of fresh) this.#link(host, to);
    });
  }

  #dialledBy(name: string): Dialled {
    const known = this.#dialled.get(name);
    if (known !== undefined) return known;
    const fresh = { peers: new Set<string>(), guests: new Set<string>() };
    this.#dialled.set(name, fresh);
    return fresh;
  }

  #link(host: Host, to: string): void {
    if (host.life === undefined) return;
    for (const channel of DIALLED) {
      const { random } = this.#world.chance;
      this.#dial(host, host.life, to, channel, new Backoff({ minMs: 20, maxMs: 1_000, random }));
    }
  }

  /** Is `other` a peer or a guest of `host`? */
  #isLinked({ name, presence }: Host, other: string): boolean {
    return presence?.admission.peers.has(other) === true || this.#dialled.get(name)?.guests.has(other) === true;
  }

  /** It is no peer any more: nothing of it is heard. */
  #refuse(socket: Socket): void {
    socket.queue.length = 0;
    this.#closeAtOther(socket);
    this.#after(socket.to, socket.from, () => this.#closeAtDialler(socket));
  }

  /** A node's life ended. `isSilent`: its host went with it, and says nothing to anybody. */
  ended(name: string, isSilent: boolean): void {
    this.#dialled.delete(name);
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

  /** The last life of `other`, with the directory that it has, that `host` has let in from the one that it has. */
  lifeMet(host: Host, other: Host): number | undefined {
    const { presence } = other;
    return presence === undefined ? undefined : this.#met.get(metKey(host, other.name, presence.dirId));
  }

  isBlocked(from: string, to: string): boolean {
    return this.#blocked.has(`${from}/${to}`);
  }

  // ── sockets ───────────────────────────────────────────────────────────────────────────────────────────────

  #dial(host: Host, life: number, to: string, channel: Channel, backoff: Backoff): void {
    const { queue, chance } = this.#world;
    // One that is no peer any more may become one again: it is then dialled anew.
    if (host.life !== life || !this.#isLinked(host, to)) return;
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
      const hello = must(host.presence, 'who dials lives').hello(to, channel);
      const greeting = peer.life === toLife && !peer.isPaused ? peer.ear.greet(hello) : 'gone';
      if (greeting !== 'peer' && greeting !== 'guest') {
        if (greeting !== 'gone') this.#refused(host, life, to, greeting);
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
        hello,
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
      host.ear.connected(to);
      this.#greeted(peer, hello, greeting);
    });
  }

  /** Who was refused is told so, as Link has it. */
  #refused(host: Host, life: number, by: string, { code, message }: StoreError): void {
    this.#world.trace.say(this.#world.queue.nowMs, by, () => `refuses ${host.name}: ${message}`);
    if (code !== 'DIR_ROLLED_BACK') return;
    this.#after(by, host.name, () => {
      if (host.life === life) host.ear.forgetful(by, message);
    });
  }

  /** The caller was let in: a guest is dialled back, a peer's directory is told. */
  #greeted(host: Host, hello: MeshHello, as: 'peer' | 'guest'): void {
    const { from, dir } = hello;
    if (as === 'peer') {
      this.#met.set(metKey(host, from, dir), must(this.#hosts.get(from)?.life, 'who dials lives'));
      host.ear.met(from, hello);
      return;
    }
    const { guests } = this.#dialledBy(host.name);
    const isNew = !guests.has(from);
    guests.add(from);
    host.presence?.admission.came(hello);
    if (isNew) this.#link(host, from);
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
    if (socket.channel === 'bulk') host.ear.disconnected(socket.to);
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
    this.#dialled.get(socket.to)?.guests.delete(socket.from);
    host.presence?.admission.left(socket.from);
    host.ear.peerLeft(socket.from);
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
    host.ear.messages(socket.from, batch.messages);
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
const metKey = ({ name, presence }: Host, other: string, dir: string): string =>
  `${name}/${presence?.dirId}/${other}/${dir}`;
