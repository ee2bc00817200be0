/**
 * ClusterActors: the actors of a node in a cluster: a system like any other, and beside it what can be reached from every
 * node by an address: durable actors and singletons. And what arrives here for one of them.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { ActorDefinition } from '../core/define.ts';
import { Envelope, type Waiting } from '../core/envelope.ts';
import type { Protocol } from '../core/protocol.ts';
import { Ref } from '../core/ref.ts';
import { ActorSystem, type SystemGround, type SystemOptions } from '../core/system.ts';
import { bytesOf, tableOf } from '../core/table.ts';
import type { Target } from '../core/target.ts';
import type { ActorRef } from '../core/types.ts';
import { ActorMesh, type ActorMeshOptions } from '../mesh/actor-mesh.ts';
import type { Say, ToAddress } from '../mesh/frames.ts';
import type { DurableDefinition } from './durable.ts';
import type { HostedCounts } from './hosted-counts.ts';
import { Hosting } from './hosting.ts';
import { Calls, Located, type Route } from './located.ts';
import { glanceAt, isPassing, moved, notHosted, partsOf } from './placement.ts';
import { type SingletonOptions, Singletons } from './singletons.ts';
import type { ActorStore } from './store.ts';

export interface ClusterOptions extends Pick<ActorMeshOptions, 'newName' | 'soon'> {
  readonly node: string;
  readonly store: ActorStore;
}

export interface HostedActors extends Readonly<HostedCounts> {
  /** In memory here now. */
  readonly active: number;
}

/** Messages from other nodes that wait until an actor is ready here, for each. */
const ARRIVING_MAX = 1_024;

export class ClusterActors extends ActorSystem {
  /** For the node: what peers say comes in here. */
  readonly mesh: ActorMesh;
  readonly #node: string;
  readonly #store: ActorStore;
  readonly #hosting: Hosting;
  readonly #singletons: Singletons;
  readonly #calls: Calls;
  /** By address: what waits until it is ready, in order. */
  readonly #arriving = new Map<string, Envelope[]>();
  #closing: Promise<void> | undefined;

  constructor(options: SystemOptions, ground: SystemGround, cluster: ClusterOptions) {
    super(options, ground);
    const { node, store } = cluster;
    const newName = cluster.newName ?? ((): string => crypto.randomUUID());
    this.#node = node;
    this.#store = store;
    this.mesh = new ActorMesh({
      ...cluster,
      newName,
      system: this,
      toAddress: (say, waiting) => this.#arrived(say, waiting),
    });
    this.#calls = new Calls(`${node}/${this.mesh.boot}`);
    this.#hosting = new Hosting({ node, store, system: this, newName });
    this.#singletons = new Singletons({ node, store, system: this });
  }

  /**
   * This node may host that kind of durable actors from now on: those that are asked for here and are nowhere, or whose
   * host is gone. BAD_REQUEST: it hosts another kind of that name.
   */
  host<P extends Protocol>(definition: DurableDefinition<P>): void {
    // The runtime calls each handler with what its kind says.
    this.#hosting.declare(definition);
  }

  /**
   * This node may host that singleton from now on; the cluster has one of its name, on one of the nodes that said so. It
   * is started again, here or there, whenever it has ended. Gives a ref that finds it. BAD_REQUEST: there is one of this
   * name here.
   */
  singleton<P extends Protocol, Args = undefined>(
    definition: ActorDefinition<P, Args>,
    options: SingletonOptions<Args> = {},
  ): ActorRef<P> {
    const { name = definition.name, args } = options;
    partsOf(name);
    this.#singletons.host(name, definition as unknown as ActorDefinition<Protocol, unknown>, args);
    return this.#refTo(name, definition.protocol, false);
  }

  /**
   * A ref to whoever has this address when a message leaves, on whatever node: a durable actor (`counter/42`, or its
   * definition and the id), or a singleton. By name alone it must be of a kind that this node hosts; with a definition it
   * need not. BAD_REQUEST: no address, or of a kind that this node does not know.
   */
  lookup<P extends Protocol = Protocol>(address: string): ActorRef<P>;
  lookup<P extends Protocol>(definition: DurableDefinition<P>, id: string): ActorRef<P>;
  lookup<P extends Protocol>(definition: Pick<ActorDefinition<P, never>, 'name' | 'protocol'>): ActorRef<P>;
  lookup(of: string | { readonly name: string; readonly protocol: Protocol }, id?: string): ActorRef<Protocol> {
    const address = typeof of === 'string' ? of : id === undefined ? of.name : `${of.name}/${id}`;
    const parts = partsOf(address);
    const isDurable = parts.id !== undefined;
    const hosted = isDurable ? this.#hosting.definitionOf(parts.name) : this.#singletons.definitionOf(parts.name);
    const definition = typeof of === 'string' ? hosted : of;
    if (definition === undefined) {
      throw new StoreError('BAD_REQUEST', `this node does not know "${parts.name}": host it, or give its definition`);
    }
    return this.#refTo(address, definition.protocol, isDurable);
  }

  /** The durable actors of this node: how many are in memory, and what became of them since it started. */
  get hosted(): HostedActors {
    const { activations, passivations, commits, fencesLost, doubts } = this.#hosting.counts;
    return { active: this.#hosting.count, activations, passivations, commits, fencesLost, doubts };
  }

  /** Ends what this node hosts, and all other actors; then others may have what was here. */
  override stop(options?: { readonly deadlineMs?: number }): Promise<void> {
    this.#closing ??= this.#close(options);
    return this.#closing;
  }

  async #close(options: { readonly deadlineMs?: number } | undefined): Promise<void> {
    this.#hosting.close();
    this.#singletons.close();
    await super.stop(options);
    await Promise.all([this.#hosting.release(), this.#singletons.release()]);
  }

  #refTo<P extends Protocol>(address: string, protocol: P, isDurable: boolean): ActorRef<P> {
    const { world } = this;
    const located = new Located(
      {
        clock: world.clock,
        deadLetters: world.deadLetters,
        nextId: () => world.nextId(),
        route: (to, attempt) => this.#route(to, isDurable, attempt),
        calls: this.#calls,
        exportMessage: (table, message) => this.mesh.exportMessage(table, { ...message }),
      },
      { address, protocol, isDurable },
    );
    const here = (): Target => located;
    return new Ref<P>(world, here, here);
  }

  #route(address: string, isDurable: boolean, attempt: number): Route {
    const route = this.#routeNow(address, isDurable, attempt);
    const isWaiting = route.kind === 'nowhere' || route.kind === 'soon';
    return isWaiting && this.#closing !== undefined ? { kind: 'closed' } : route;
  }

  #routeNow(address: string, isDurable: boolean, attempt: number): Route {
    const target = isDurable ? this.#hosting.active(address) : this.#singletons.active(address);
    if (target !== undefined) return { kind: 'here', target, isDurable };
    let at: ReturnType<typeof glanceAt>;
    try {
      at = glanceAt(this.#store, address);
    } catch (error) {
      // The node starts again; its state is read once it has.
      if (error instanceof StoreError) return { kind: 'nowhere' };
      throw error;
    }
    if (at?.isHeld === true && at.place.node !== this.#node) {
      const peer = this.mesh.peer(at.place.node);
      return peer.isUp ? { kind: 'there', peer } : { kind: 'nowhere' };
    }
    if (!isDurable) return { kind: 'nowhere' };
    if (this.#closing === undefined && this.#hosting.definitionOf(partsOf(address).name) !== undefined) {
      return { kind: 'soon', ready: this.#hosting.ensure(address) };
    }
    // One of the others may host it; who does not says so, and the next is asked.
    const peers = this.mesh.reachable;
    const peer = peers[attempt % peers.length];
    return peer === undefined ? { kind: 'nowhere' } : { kind: 'there', peer };
  }

  // ── from other nodes ──

  #arrived(say: Say<ToAddress>, waiting: Waiting): void {
    const { address, call } = say.to;
    const { name, id } = partsOf(address);
    if (id === undefined) {
      const definition = this.#singletons.definitionOf(name);
      const target = this.#singletons.active(name);
      if (definition === undefined || target === undefined) throw moved(address);
      this.mesh.offer(target, definition.protocol, say, waiting);
      return;
    }
    const definition = this.#hosting.definitionOf(name);
    if (definition === undefined) throw notHosted(address, this.#node);
    const message = this.mesh.parse(definition.protocol, say);
    const kind = tableOf(definition.protocol).byKind[message.kind];
    if (kind === undefined) throw new StoreError('BAD_REQUEST', `${address} has no "${message.kind}"`);
    const inner = waiting.answer === undefined ? { kind: 'tell', message } : { kind: 'ask', message, call };
    const envelope = new Envelope(inner, bytesOf(kind, message), waiting);
    const target = this.#arriving.has(address) ? undefined : this.#hosting.active(address);
    if (target === undefined) this.#whenReady(address, envelope);
    else this.mesh.put(target, envelope);
  }

  #whenReady(address: string, envelope: Envelope): void {
    const waiting = this.#arriving.get(address);
    if (waiting === undefined) {
      this.#arriving.set(address, [envelope]);
      void this.#makeReady(address);
    } else if (waiting.length < ARRIVING_MAX) waiting.push(envelope);
    else throw new StoreError('OVERLOADED', `${ARRIVING_MAX} messages wait for ${address}`);
  }

  async #makeReady(address: string): Promise<void> {
    let failure: StoreError | undefined;
    try {
      await this.#hosting.ensure(address);
    } catch (error) {
      failure = asFailure(address, error);
    }
    const waiting = this.#arriving.get(address) ?? [];
    this.#arriving.delete(address);
    for (const envelope of waiting) {
      const why = failure ?? this.#putWhereReady(address, envelope);
      if (why !== undefined) this.#unready(address, envelope, why);
    }
  }

  #putWhereReady(address: string, envelope: Envelope): StoreError | undefined {
    const target = this.#hosting.active(address);
    if (target === undefined) return moved(address);
    try {
      this.mesh.put(target, envelope);
      return undefined;
    } catch (error) {
      return asFailure(address, error);
    }
  }

  /** It was not handled, and whoever sent it hears so. */
  #unready(address: string, envelope: Envelope, error: StoreError): void {
    if (envelope.waiting.answer === undefined) this.deadLetters.add('stopped', address, envelope.message.kind);
    envelope.waiting.onTaken?.(envelope.bytes);
    envelope.discard(error);
  }
}

/** Why a message was not handled, for who sent it; what is over soon is a reason to look again. */
function asFailure(address: string, error: unknown): StoreError {
  if (!(error instanceof StoreError)) {
    const message = error instanceof Error ? error.message : 'it threw what is no error';
    return new StoreError('INTERNAL', `${address} did not start: ${message}`, { cause: error });
  }
  return isPassing(error) ? moved(address) : error;
}
