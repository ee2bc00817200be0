/**
 * Hosting: the durable actors that are on this node: how they come, and how they go.
 *
 * To come is one transaction: it writes the record that says where the actor is, on condition that nobody has since it was
 * read, that this node has its lease, and (where another had the actor) that the other's lease is gone; and it reads the
 * state in the same revision. To go: idle for long, the lease lost, a commit in doubt, a bug. All durable actors of a node
 * share one lease, which it takes with the first.
 *
 * Invariant: of one address there is one activation at a time here; the next begins when the last has ended.
 */
import { isStoreError, StoreError } from '../../../core/base/errors.ts';
import type { Protocol } from '../core/protocol.ts';
import { Ref } from '../core/ref.ts';
import type { ActorSystem } from '../core/system.ts';
import type { Target } from '../core/target.ts';
import type { DeathNotice } from '../core/types.ts';
import type { DurableDefinition } from './durable.ts';
import { cellOf } from './durable-cell.ts';
import { HostedCounts } from './hosted-counts.ts';
import { encodeJson, moved, notHosted, partsOf, type Place, placeKey, placeOf, stateKey } from './placement.ts';
import type { ActorStore, HostLease, StoredEntry } from './store.ts';

export interface HostingOptions {
  readonly node: string;
  readonly system: ActorSystem;
  readonly store: ActorStore;
  /** A name that nobody else ever has. */
  readonly newName: () => string;
}

interface Kind {
  readonly definition: DurableDefinition<Protocol>;
  readonly cell: ReturnType<typeof cellOf>;
}

interface Hosted {
  readonly target: Target;
  readonly lease: HostLease;
}

const CLAIM_DEADLINE_MS = 10_000;
/** Others may write the record between our look and our claim; not for ever. */
const CLAIMS_MAX = 4;

export class Hosting {
  readonly #options: HostingOptions;
  readonly #kinds = new Map<string, Kind>();
  readonly #active = new Map<string, Hosted>();
  /** Activations under way, and ends that are not over. */
  readonly #changing = new Map<string, Promise<unknown>>();
  readonly #closing = new AbortController();
  #lease: Promise<HostLease> | undefined;
  readonly counts: HostedCounts = new HostedCounts();

  constructor(options: HostingOptions) {
    this.#options = options;
  }

  /** BAD_REQUEST: there is another of this name. */
  declare(definition: DurableDefinition<Protocol>): void {
    const known = this.#kinds.get(definition.name);
    if (known !== undefined && known.definition !== definition) {
      throw new StoreError('BAD_REQUEST', `this node hosts another "${definition.name}"`);
    }
    if (known === undefined) this.#kinds.set(definition.name, { definition, cell: cellOf(definition) });
  }

  definitionOf(name: string): DurableDefinition<Protocol> | undefined {
    return this.#kinds.get(name)?.definition;
  }

  /** How many are here. */
  get count(): number {
    return this.#active.size;
  }

  /** The actor, if it is here now and this node may act for it. */
  active(address: string): Target | undefined {
    const hosted = this.#active.get(address);
    return hosted?.lease.isHeld === true && !this.#changing.has(address) ? hosted.target : undefined;
  }

  /** Has it here, unless another node may. Rejects with what `isElsewhere` knows, or what activating it threw. */
  async ensure(address: string): Promise<void> {
    // Somebody else's activation may fail for reasons of its own; whoever waits tries once itself.
    while (this.#changing.has(address)) await this.#changing.get(address)?.catch(() => {});
    if (this.active(address) !== undefined) return;
    const activating = this.#activate(address).finally(() => this.#changing.delete(address));
    this.#changing.set(address, activating);
    await activating;
  }

  /** No more activations; those there are end with the system. Then `release`. */
  close(): void {
    this.#closing.abort(new StoreError('ACTOR_STOPPED', 'this node’s actors are stopping'));
  }

  /** Others need not wait until the lease is over: nothing acts under it any more. */
  async release(): Promise<void> {
    const lease = await this.#lease?.catch(() => undefined);
    // What cannot be removed now goes by its time to live.
    await lease?.release().catch((error: unknown) => {
      if (!isStoreError(error)) throw error;
    });
  }

  async #activate(address: string): Promise<void> {
    const { node, system } = this.#options;
    const { name, id } = partsOf(address);
    const kind = this.#kinds.get(name);
    if (kind === undefined || id === undefined) throw notHosted(address, node);
    this.#closing.signal.throwIfAborted();
    const lease = await this.#ownLease();
    const { revision, stored } = await this.#claim(address, lease);
    this.#closing.signal.throwIfAborted();
    const spawning = system.spawn(kind.cell, {
      name: `${name}:${id}`,
      restart: 'temporary',
      args: {
        definition: kind.definition,
        ...{ address, id, lease, stored },
        store: this.#options.store,
        placeRevision: revision,
        nowMs: () => system.world.clock.nowMs(),
        counts: this.counts,
        passivate: () => {
          this.counts.passivations++;
          void spawning.then((ref) => ref.stop());
        },
      },
    });
    let ref: Awaited<typeof spawning>;
    try {
      ref = await spawning;
    } catch (error) {
      // Another node may have it, or this one later.
      await this.#leave(address, revision, lease);
      throw error;
    }
    if (!(ref instanceof Ref)) throw new StoreError('INTERNAL', 'a system spawns refs of its own');
    const { target } = ref;
    this.#active.set(address, { target, lease });
    this.counts.activations++;
    target.watch((notice) => this.#ended(address, target, notice, revision, lease));
    // While it started; later `#lost` ends it.
    if (lease.lost.aborted) target.kill();
  }

  /** It has ended here. When nothing was wrong the record goes too: it may be wanted elsewhere next. */
  #ended(address: string, target: Target, { reason }: DeathNotice, revision: number, lease: HostLease): void {
    if (this.#active.get(address)?.target !== target) return;
    this.#active.delete(address);
    if (reason.kind !== 'stopped' || !lease.isHeld || this.#closing.signal.aborted) return;
    const leaving = this.#leave(address, revision, lease).finally(() => this.#changing.delete(address));
    this.#changing.set(address, leaving);
  }

  async #leave(address: string, revision: number, lease: HostLease): Promise<void> {
    const key = placeKey(address);
    const conditions = [lease.condition(), { kind: 'revision', key, revision } as const];
    try {
      await this.#options.store.commit({ conditions, deletes: [key] }, { deadlineMs: CLAIM_DEADLINE_MS });
    } catch (error) {
      if (!isStoreError(error)) throw error;
      // The record stays, and says that it is here: it will be, when it is asked next.
    }
  }

  async #claim(
    address: string,
    lease: HostLease,
  ): Promise<{ readonly revision: number; readonly stored: StoredEntry | undefined }> {
    const { store, node } = this.#options;
    const key = placeKey(address);
    let entry = store.glance(key);
    for (let claims = 0; claims < CLAIMS_MAX; claims++) {
      const place = placeOf(entry);
      const isOthers = place !== undefined && place.lease !== lease.key;
      if (isOthers && store.glance(place.lease) !== undefined) throw moved(address);
      const conditions = [
        lease.condition(),
        entry === undefined
          ? ({ kind: 'absent', key } as const)
          : ({ kind: 'revision', key, revision: entry.revision } as const),
        ...(isOthers ? [{ kind: 'absent', key: place.lease } as const] : []),
      ];
      const value = encodeJson({ node, lease: lease.key } satisfies Omit<Place, 'revision'>);
      const change = { conditions, puts: [[key, value]] as const, read: stateKey(address), readElse: key };
      const outcome = await store.commit(change, { deadlineMs: CLAIM_DEADLINE_MS });
      if (outcome.succeeded) return { revision: outcome.revision, stored: outcome.read };
      // It is as it was: so one of the leases is not as this node saw it.
      if (outcome.read?.revision === entry?.revision) throw moved(address);
      entry = outcome.read;
    }
    throw moved(address);
  }

  /** Nothing may act under it any more. */
  #lost(lease: HostLease): void {
    this.#lease = undefined;
    for (const hosted of this.#active.values()) if (hosted.lease === lease) hosted.target.kill();
  }

  #ownLease(): Promise<HostLease> {
    this.#lease ??= this.#takeLease();
    return this.#lease;
  }

  async #takeLease(): Promise<HostLease> {
    const { store, node, newName } = this.#options;
    try {
      // A name of its own each time: nobody waits behind a lease of this node that is nobody's any more.
      const lease = await store.lease(`actor-host/${node}/${newName()}`, this.#closing.signal);
      lease.lost.addEventListener('abort', () => this.#lost(lease), { once: true });
      if (lease.lost.aborted) this.#lost(lease);
      return lease;
    } catch (error) {
      this.#lease = undefined;
      throw error;
    }
  }
}
