/**
 * ActorMesh: the actors of this node, as those of other nodes meet them, and the other way round.
 *
 * What comes is for an actor of this life, by its number, or for an address, which somebody else resolves (`addresses`).
 * Both ways it is parsed by the receiving actor's protocol before that sees it: this is a border between processes.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { Waiting } from '../core/envelope.ts';
import { Envelope } from '../core/envelope.ts';
import type { Protocol } from '../core/protocol.ts';
import { Ref } from '../core/ref.ts';
import type { ActorSystem } from '../core/system.ts';
import { bytesOf, protocolOf, refProtocolOf, type Table, tableOf } from '../core/table.ts';
import { refusal, stopped, type Target } from '../core/target.ts';
import { parseMessage } from '../core/trust.ts';
import type { EndReason } from '../core/types.ts';
import type { MessagePort } from '../thread.ts';
import { FarActor, meshToken, type MeshToken } from './far-actor.ts';
import { decodeBatch, messageOf, type Say, type ToActor, type ToAddress } from './frames.ts';
import { Peer } from './peer.ts';
import { type Wire, type WireEvents, wireOver } from './port.ts';

/** What is said to an address. Throws a StoreError: why not, and then it was not handled. */
export type Arrived = (say: Say<ToAddress>, waiting: Waiting) => void;

export interface ActorMeshOptions {
  readonly node: string;
  readonly system: ActorSystem;
  readonly toAddress: Arrived;
  /** Default: chance. */
  readonly newName?: () => string;
  /** Default: behind the microtasks of this turn. */
  readonly soon?: (call: () => void) => void;
}

/** Nodes that this one heard of, before it forgets those that it does not speak with. */
const PEERS_MAX = 256;

export class ActorMesh implements WireEvents {
  readonly #options: ActorMeshOptions;
  readonly #newName: () => string;
  readonly #boot: string;
  readonly #peers = new Map<string, Peer>();
  #wire: Wire | undefined;

  constructor(options: ActorMeshOptions) {
    this.#options = options;
    this.#newName = options.newName ?? (() => crypto.randomUUID());
    this.#boot = this.#newName();
  }

  /** Of this life of the node's actors. */
  get boot(): string {
    return this.#boot;
  }

  /** From now on peers are reached this way; what was under way on the last one is lost. */
  attach(port: MessagePort): void {
    const wire: Wire = wireOver(port, {
      up: (peer) => wire === this.#wire && this.up(peer),
      down: (peer) => wire === this.#wire && this.down(peer),
      batch: (from, batch) => wire === this.#wire && this.batch(from, batch),
    });
    // The store's threads keep the process, not this.
    port.unref();
    this.attachWire(wire);
  }

  attachWire(wire: Wire): void {
    this.#wire = undefined;
    for (const peer of this.#peers.values()) peer.down();
    this.#wire = wire;
  }

  /** Peers that can be reached now. */
  get reachable(): readonly Peer[] {
    return [...this.#peers.values()].filter(({ isUp }) => isUp);
  }

  peer(id: string): Peer {
    const known = this.#peers.get(id);
    if (known !== undefined) return known;
    // Names may come in tokens: of those that are no peers none stays.
    if (this.#peers.size >= PEERS_MAX) {
      for (const [other, { isIdle }] of this.#peers) if (isIdle) this.#peers.delete(other);
    }
    const { system } = this.#options;
    const peer: Peer = new Peer(id, {
      clock: system.world.clock,
      log: system.world.log,
      deadLetters: system.deadLetters,
      own: { node: this.#options.node, boot: this.#boot },
      newSession: this.#newName,
      send: (batch) => this.#wire?.send(id, batch),
      deliver: (say, waiting) => this.#deliver(say, waiting),
      here: {
        watch: (to, hasEnded) => this.#watch(to, hasEnded),
        // Whoever asked hears of the end, not of this.
        stop: (to, stopOptions) => void this.#find(to)?.stop(stopOptions),
        kill: (to) => this.#find(to)?.kill(),
      },
      soon: this.#options.soon ?? ((call) => void setImmediate(call)),
    });
    this.#peers.set(id, peer);
    return peer;
  }

  up(id: string): void {
    this.peer(id).up();
  }

  down(id: string): void {
    this.peer(id).down();
  }

  batch(from: string, bytes: Uint8Array): void {
    const peer = this.peer(from);
    try {
      peer.heard(decodeBatch(bytes));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      const { code, message } = error;
      this.#options.system.world.log('warn', 'actors.mesh.refused', { peer: from, code, message });
      peer.lost('something it said could not be read');
    }
  }

  // ── refs ──

  /** A message as it leaves: refs are tokens. BAD_REQUEST: a ref that no other node could use. */
  exportMessage(table: Table, message: Readonly<Record<string, unknown>> & { readonly kind: string }): unknown {
    const refs = table.byKind[message.kind]?.refs ?? [];
    if (refs.length === 0) return message;
    const exported: Record<string, unknown> = { ...message };
    for (const field of refs) {
      const value = message[field];
      if (value instanceof Ref) exported[field] = this.#exportRef(value.target);
    }
    return exported;
  }

  #exportRef(target: Target): MeshToken {
    if (target instanceof FarActor) return target.token;
    if (protocolOf(target.table) === undefined || this.#options.system.find(target.id) !== target) {
      throw new StoreError('BAD_REQUEST', `the ref to ${target.path} cannot leave this node`);
    }
    const { id, path, incarnation, table } = target;
    const kinds = table.byNumber.map(({ kind, how, refs }) => ({ kind, how, refs: [...refs] }));
    return { node: this.#options.node, boot: this.#boot, id, path, incarnation, kinds };
  }

  /** A message as it came: tokens are refs. */
  importMessage(protocol: Protocol, value: unknown): unknown {
    const { kind } = (value ?? {}) as { readonly kind?: unknown };
    if (typeof kind !== 'string') return value;
    const refs = tableOf(protocol).byKind[kind]?.refs ?? [];
    if (refs.length === 0) return value;
    const imported: Record<string, unknown> = { ...(value as Record<string, unknown>) };
    for (const field of refs) {
      if (imported[field] === undefined) continue;
      imported[field] = this.#importRef(imported[field], refProtocolOf(protocol, kind, field));
    }
    return imported;
  }

  #importRef(value: unknown, protocol: Protocol | undefined): unknown {
    const token = meshToken.safeParse(value);
    // The schema that wants a ref says what is wrong.
    if (!token.success) return value;
    const { world } = this.#options.system;
    const target = this.#targetOf(token.data, protocol);
    const here = (): Target => target;
    return new Ref(world, here, here);
  }

  #targetOf(token: MeshToken, protocol: Protocol | undefined): Target {
    if (token.node === this.#options.node) {
      const own = token.boot === this.#boot ? this.#options.system.find(token.id) : undefined;
      if (own === undefined) throw stopped(token.path);
      return own;
    }
    return new FarActor(token, {
      protocol,
      peer: () => this.peer(token.node),
      exportRefs: (table, { message }) =>
        this.exportMessage(table, message as Parameters<ActorMesh['exportMessage']>[1]),
      nextId: () => this.#options.system.world.nextId(),
    });
  }

  // ── in ──

  #deliver(say: Say, waiting: Waiting): void {
    const { to } = say;
    if ('address' in to) {
      this.#options.toAddress({ ...say, to }, waiting);
      return;
    }
    const target = this.#find(to);
    const protocol = target === undefined ? undefined : protocolOf(target.table);
    if (target === undefined || protocol === undefined) throw stopped(to.path);
    this.offer(target, protocol, say, waiting);
  }

  /** A stranger's message, parsed, for an actor of this node. */
  offer(target: Target, protocol: Protocol, say: Say, waiting: Waiting): void {
    const message = this.parse(protocol, say);
    const kind = target.table.byKind[message.kind];
    if (kind === undefined) throw new StoreError('BAD_REQUEST', `${target.path} has no "${message.kind}"`);
    this.put(target, new Envelope(message, bytesOf(kind, message), waiting));
  }

  /** BAD_REQUEST: it is not what the protocol says, or is not said that way. */
  parse(protocol: Protocol, say: Say): { readonly kind: string } {
    const message = parseMessage(protocol, this.importMessage(protocol, messageOf(say)));
    const how = protocol[message.kind]?.how;
    if (how !== say.how) throw new StoreError('BAD_REQUEST', `${message.kind} is a ${how}, not a ${say.how}`);
    return message;
  }

  /** Throws what refuses it. */
  put(target: Target, envelope: Envelope): void {
    const { answer, sink, asker } = envelope.waiting;
    if (asker !== undefined && target.refusesCircle?.(envelope) === true) return;
    const offered = target.offer(envelope, answer !== undefined || sink !== undefined);
    if (offered === 'taken' || offered === 'waits') return;
    throw refusal(offered, target.path, envelope.bytes);
  }

  #watch(to: ToActor, hasEnded: (reason: EndReason) => void): () => void {
    const target = this.#find(to);
    if (target !== undefined) return target.watch(({ reason }) => hasEnded(reason));
    hasEnded({ kind: 'stopped' });
    return () => {};
  }

  #find(to: ToActor): Target | undefined {
    return to.boot === this.#boot ? this.#options.system.find(to.id) : undefined;
  }
}
