/**
 * Singletons: actors of which the cluster has one. Each node that wants to host one queues up for its lease; who has it
 * writes down that it is here, starts the actor, and ends it when the lease is lost or the actor has ended. Then the next
 * one's turn comes.
 *
 * The lease ends here before it ends in the log, so handlers stop before another's begin, as far as clocks run alike. What
 * makes it safe is the fence: what the actor writes with `t.if(fence.condition())` changes nothing once it is lost.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { ActorDefinition, AnyHandler } from '../core/define.ts';
import type { Protocol } from '../core/protocol.ts';
import { Ref } from '../core/ref.ts';
import { RestartBackoff, superviseRules } from '../core/strategy.ts';
import type { ActorSystem } from '../core/system.ts';
import type { Target } from '../core/target.ts';
import { encodeJson, moved, placeKey } from './placement.ts';
import type { ActorStore, HostLease, StoreCondition } from './store.ts';

/** What a singleton has while it is the one. */
export interface Fence {
  /** Larger than that of every one before it: send it along to whatever is outside of the store. */
  readonly token: number;
  /** By this node's clock, and early. */
  readonly isHeld: boolean;
  /** Aborted when it is lost. */
  readonly lost: AbortSignal;
  /** For transactions: `t.if(fence.condition())`. */
  condition(): StoreCondition;
}

export interface SingletonOptions<Args> {
  /** Its name in the cluster; that of the definition. */
  readonly name?: string;
  /** Makes what `start` gets, each time it is started here. */
  readonly args?: (fence: Fence) => Args;
}

export interface SingletonsOptions {
  readonly node: string;
  readonly system: ActorSystem;
  readonly store: ActorStore;
}

interface Singleton {
  readonly definition: ActorDefinition<Protocol, unknown>;
  readonly args: ((fence: Fence) => unknown) | undefined;
  running: { readonly target: Target; readonly lease: HostLease } | undefined;
  /** Resolves when this node has given it up. */
  over: Promise<void>;
}

const PLACE_DEADLINE_MS = 10_000;

export class Singletons {
  readonly #options: SingletonsOptions;
  readonly #all = new Map<string, Singleton>();
  readonly #closing = new AbortController();

  constructor(options: SingletonsOptions) {
    this.#options = options;
  }

  /** BAD_REQUEST: there is one of this name. */
  host(
    name: string,
    definition: ActorDefinition<Protocol, unknown>,
    args: ((fence: Fence) => unknown) | undefined,
  ): void {
    if (this.#all.has(name)) throw new StoreError('BAD_REQUEST', `this node hosts a singleton "${name}" already`);
    const singleton: Singleton = { definition, args, running: undefined, over: Promise.resolve() };
    this.#all.set(name, singleton);
    singleton.over = this.#keep(name, singleton);
  }

  definitionOf(name: string): ActorDefinition<Protocol, unknown> | undefined {
    return this.#all.get(name)?.definition;
  }

  /** It, if it is here now. */
  active(name: string): Target | undefined {
    const running = this.#all.get(name)?.running;
    return running?.lease.isHeld === true ? running.target : undefined;
  }

  /** No more starts here; what runs ends with the system. Then `release`. */
  close(): void {
    this.#closing.abort(new StoreError('ACTOR_STOPPED', 'this node’s actors are stopping'));
  }

  /** Resolves when the leases are given back. What was to be released must have ended. */
  async release(): Promise<void> {
    await Promise.all([...this.#all.values()].map(({ over }) => over));
  }

  async #keep(name: string, singleton: Singleton): Promise<void> {
    const { store, system } = this.#options;
    const { clock, random, log } = system.world;
    const { signal } = this.#closing;
    const backoff = new RestartBackoff(superviseRules({}), random);
    while (!signal.aborted) {
      let lease: HostLease | undefined;
      try {
        lease = await store.lease(`actor-singleton/${name}`, signal);
        await this.#run(name, singleton, lease);
      } catch (error) {
        if (!signal.aborted) log('warn', 'actor.singleton.failed', { name, message: String(error) });
      }
      singleton.running = undefined;
      try {
        await lease?.release();
      } catch (error) {
        // It goes by its time to live.
        log('info', 'actor.singleton.not-released', { name, message: String(error) });
      }
      if (!signal.aborted) await this.#pause(backoff.next(clock.nowMs()));
    }
  }

  /** From its start to its end, here. */
  async #run(name: string, singleton: Singleton, lease: HostLease): Promise<void> {
    const { store, system, node } = this.#options;
    const { definition, args } = singleton;
    const puts = [[placeKey(name), encodeJson({ node, lease: lease.key })]] as const;
    const change = { conditions: [lease.condition()], puts };
    if (!(await store.commit(change, { deadlineMs: PLACE_DEADLINE_MS })).succeeded) return;
    this.#closing.signal.throwIfAborted();
    const fence: Fence = {
      token: lease.token,
      lost: lease.lost,
      condition: () => lease.condition(),
      get isHeld() {
        return lease.isHeld;
      },
    };
    const options = { name, restart: 'temporary', args: args?.(fence) } as const;
    const ref = await system.spawn(fenced(definition, name, fence), options);
    if (!(ref instanceof Ref)) throw new StoreError('INTERNAL', 'a system spawns refs of its own');
    const { target } = ref;
    const ended = new Promise<void>((resolve) => void target.watch(() => resolve()));
    const onLost = (): void => target.kill();
    lease.lost.addEventListener('abort', onLost, { once: true });
    if (lease.lost.aborted) target.kill();
    singleton.running = { target, lease };
    await ended;
    lease.lost.removeEventListener('abort', onLost);
  }

  #pause(pauseMs: number): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#closing;
      const cancel = this.#options.system.world.clock.after(pauseMs, () => end());
      const end = (): void => {
        cancel();
        signal.removeEventListener('abort', end);
        resolve();
      };
      signal.addEventListener('abort', end, { once: true });
      if (signal.aborted) end();
    });
  }
}

/**
 * The same definition, whose handlers look at the fence: a thread that stood still may handle a message before it hears
 * that the lease is lost. An answer that comes from behind the fence is not given.
 */
function fenced<P extends Protocol, Args>(
  definition: ActorDefinition<P, Args>,
  name: string,
  fence: Fence,
): ActorDefinition<P, Args> {
  const late = (): StoreError =>
    new StoreError('OUTCOME_UNKNOWN', `${name} lost its lease while it handled this; it may have had an effect`);
  const guard =
    (handler: AnyHandler): AnyHandler =>
    (state, message, ctx, signal) => {
      if (!fence.isHeld) throw moved(name);
      const result = handler(state, message, ctx, signal);
      // A stream's items come as they come; its taker hears of the end.
      if (signal !== undefined) return result;
      const check = (value: unknown): unknown => {
        if (!fence.isHeld) throw late();
        return value;
      };
      return result instanceof Promise ? result.then(check) : check(result);
    };
  const handlers = Object.fromEntries(
    Object.entries(definition.parts.handlers).map(([behaviour, byKind]) => {
      const guarded = Object.entries(byKind).map(([kind, handler]) => [kind, guard(handler)] as const);
      return [behaviour, Object.assign(Object.create(null), Object.fromEntries(guarded)) as typeof byKind];
    }),
  );
  return { ...definition, parts: { ...definition.parts, handlers } };
}
