/**
 * Define: an actor as its author writes it down: name, protocol, how it starts, what it does with each kind.
 *
 *   const counter = defineActor({
 *     name: 'counter',
 *     protocol: { add: tell({ by: z.int() }), total: ask({}, z.int()) },
 *     start: (_ctx, args: { readonly from: number }) => ({ total: args.from }),
 *     on: {
 *       add(state, { by }) { state.total += by; },
 *       total: (state) => state.total,
 *     },
 *   });
 *
 * The state is what `start` returns, so a half-started actor does not exist. `start` comes before `on` in the record:
 * the compiler learns the state's type from it.
 */
import { StoreError } from '../../../core/base/errors.ts';
import type { LogFunction } from '../thread.ts';
import type { Ask, KindsOf, MessageOf, Protocol, Stream } from './protocol.ts';
import type {
  AskingContext,
  ActorRef,
  AnyRef,
  DeathNotice,
  EndReason,
  MailboxOptions,
  SpawnOptions,
  SuperviseOptions,
} from './types.ts';

declare const ARGS: unique symbol;

/** A handler returns this to say that its message is put aside: `return ctx.stash()`. */
export interface Stashed {
  readonly [STASH]: true;
}

declare const STASH: unique symbol;

/** The only one there is: known by its identity. */
export const STASHED: Stashed = Object.freeze({}) as Stashed;

/** What an actor can do beside answering; valid until it ends. */
export interface Context<P extends Protocol, Behaviour extends string = never> extends AskingContext {
  readonly self: ActorRef<P>;
  readonly path: string;
  readonly incarnation: number;
  /** Of the message in hand: aborted when its asker gives up, or this actor ends. */
  readonly signal: AbortSignal;
  /** Of the message in hand: what its asker will still wait; Infinity for who does not ask. */
  readonly remainingMs: number;
  /** Of the message in hand: the trace context it came with. */
  readonly trace: string | undefined;
  readonly log: LogFunction;
  readonly timers: Timers<P>;
  /**
   * Starts a child. Resolves when its `start` has ended; rejects with what that threw, BAD_REQUEST (the name is taken),
   * OVERLOADED (too many actors, or too deep a tree), ACTOR_STOPPED (this actor is ending).
   */
  spawn<Q extends Protocol, Args>(
    definition: ActorDefinition<Q, Args>,
    ...options: SpawnArguments<Args>
  ): Promise<ActorRef<Q>>;
  /**
   * Tells this actor, once, when that one has ended; at once when it has. The notice comes before waiting messages, in
   * the form that `toMessage` gives it. The result ends the watch. OVERLOADED: it watches too many.
   */
  watch(ref: AnyRef, toMessage: (notice: DeathNotice) => MessageOf<P, KindsOf<P, 'tell'>>): () => void;
  /**
   * Puts the message in hand aside: `return ctx.stash()`. With no room there (as many as the mailbox has) an asker is
   * told OVERLOADED, and a tell is a dead letter.
   */
  stash(): Stashed;
  /** Takes up again what was put aside, in its order, before what waits. */
  unstash(): void;
  /** From the next message on, that behaviour's handlers come before those in `on`; 'on' for those alone. */
  become(behaviour: Behaviour | 'on'): void;
  /** Ends this actor after the message in hand; what waits becomes dead letters. */
  stop(): void;
}

/** Timers by name: setting one again replaces it. They end with the incarnation. */
export interface Timers<P extends Protocol> {
  /** Tells this actor once, after a pause. */
  after(name: string, pauseMs: number, message: MessageOf<P, KindsOf<P, 'tell'>>): void;
  /** Tells it again and again; a tick whose predecessor still waits is left out. */
  every(name: string, pauseMs: number, message: MessageOf<P, KindsOf<P, 'tell'>>): void;
  cancel(name: string): void;
}

type Promised<T> = T | Promise<T>;

/** What a handler of kind K returns. */
type ResultOf<P extends Protocol, K extends keyof P & string> =
  P[K] extends Stream<infer _F, infer I>
    ? AsyncIterable<I>
    : P[K] extends Ask<infer _F, infer R>
      ? Promised<R | Stashed>
      : Promised<void | Stashed>;

/**
 * A handler for each kind. A stream's handler gets its own signal; it shares the actor: see docs/actors.md. (Written as a
 * function whose parts are conditional: a type that decides whether it is a function gives no inference to the compiler.)
 */
export type Handlers<P extends Protocol, State, B extends string = never> = {
  readonly [K in keyof P & string]: (
    state: State,
    message: MessageOf<P, K>,
    ctx: Context<P, B>,
    signal: P[K]['how'] extends 'stream' ? AbortSignal : undefined,
  ) => ResultOf<P, K>;
};

export interface DefinitionInput<P extends Protocol, Args, State, B extends string> {
  /** Names its actors, in paths and logs. */
  readonly name: string;
  readonly protocol: P;
  /** `import.meta.url` of the module that defines it: needed to run it in another thread, which imports it there. */
  readonly module?: string;
  readonly mailbox?: MailboxOptions;
  /** How its children are looked after. */
  readonly supervise?: SuperviseOptions;
  /** It holds native handles (a database): its thread is stopped by message only, never terminated. */
  readonly native?: boolean;
  /** Makes the state. What it throws fails the spawn. */
  start(ctx: Context<P, B>, args: Args): Promised<State>;
  readonly on: Handlers<P, State, B>;
  /** Handlers that come before those in `on` while they are the behaviour; see `ctx.become`. */
  readonly behaviours?: Readonly<Record<B, Partial<Handlers<P, State, B>>>>;
  /** Releases what `start` took: whenever it ended, unless it was killed. */
  stop?(state: State, reason: EndReason): Promised<void>;
}

/** An actor as it was defined; give it to `spawn`. */
export interface ActorDefinition<P extends Protocol, Args> {
  readonly name: string;
  readonly protocol: P;
  readonly module: string | undefined;
  readonly native: boolean;
  readonly mailbox: MailboxOptions;
  readonly supervise: SuperviseOptions;
  /** For the runtime. */
  readonly parts: DefinitionParts;
  readonly [ARGS]?: (args: Args) => void;
}

export type AnyHandler = (state: unknown, message: unknown, ctx: unknown, signal?: AbortSignal) => unknown;

/** The same without its types: the runtime calls each handler with what its kind says. */
export interface DefinitionParts {
  readonly start: (ctx: unknown, args: unknown) => unknown;
  readonly stop: ((state: unknown, reason: EndReason) => unknown) | undefined;
  /** By behaviour, whole: what a behaviour does not have is in it from `on`. */
  readonly handlers: Readonly<Record<string, Readonly<Record<string, AnyHandler>>>>;
}

/** Arguments of `spawn` behind the definition: left out where nothing is needed. */
export type SpawnArguments<Args> = undefined extends Args
  ? [options?: SpawnOptions<Args>]
  : [options: SpawnOptions<Args>];

/** Whatever definition. */
export type AnyDefinition = Omit<ActorDefinition<Protocol, never>, typeof ARGS>;

/** Between threads a byte says how many there are. */
const FIELDS_MAX = 255;
const NAME = /^[\w.:-]+$/;

export function checkName(name: string): void {
  if (!NAME.test(name))
    throw new StoreError('BAD_REQUEST', `"${name}" is no name for an actor: letters, digits, _ . : -`);
}

/** Defines an actor. BAD_REQUEST: its name, or a field called `kind`. */
export function defineActor<P extends Protocol, State, Args = undefined, B extends string = never>(
  input: DefinitionInput<P, Args, State, B>,
): ActorDefinition<P, Args> {
  checkName(input.name);
  for (const [kind, { shape }] of Object.entries(input.protocol)) {
    if (Object.keys(shape).length > FIELDS_MAX) {
      throw new StoreError('BAD_REQUEST', `${input.name}.${kind}: a message has at most ${FIELDS_MAX} fields`);
    }
    if ('kind' in shape) throw new StoreError('BAD_REQUEST', `${input.name}.${kind}: "kind" is no name for a field`);
  }
  const on = handlersOf(input.on);
  const behaviours: Readonly<Record<string, object>> = input.behaviours ?? {};
  const handlers = Object.fromEntries(
    Object.entries(behaviours).map(([name, some]) => [name, handlersOf({ ...input.on, ...some })]),
  );
  return {
    name: input.name,
    protocol: input.protocol,
    module: input.module,
    native: input.native ?? false,
    mailbox: input.mailbox ?? {},
    supervise: input.supervise ?? {},
    parts: {
      start: (ctx, args) => input.start(ctx as Context<P, B>, args as Args),
      stop: input.stop === undefined ? undefined : (state, reason) => input.stop?.(state as State, reason),
      handlers: { ...handlers, on },
    },
  };
}

/** Without a prototype: a kind called `constructor` is found only where there is one. */
function handlersOf(handlers: object): Readonly<Record<string, AnyHandler>> {
  return Object.assign(Object.create(null) as Record<string, AnyHandler>, handlers);
}
