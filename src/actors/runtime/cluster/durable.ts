/**
 * Durable: an actor whose state is in the replicated log. It is nowhere until somebody asks for it, lives on one node at a
 * time, and when that node is gone it goes on where it is asked next, with its state.
 *
 *   export const counter = durable({
 *     name: 'counter',
 *     protocol: { add: ask({ by: z.int() }, z.int()), total: ask({}, z.int()) },
 *     state: z.object({ total: z.int() }),
 *     initial: () => ({ total: 0 }),
 *     on: {
 *       add: ({ total }, { by }) => commit({ total: total + by }, total + by),
 *       total: ({ total }) => total,
 *     },
 *   });
 *
 * A handler changes nothing: it gives the next state to `commit`, with the answer. The answer leaves once a majority has
 * the state on its disks. What a handler returns without `commit` is an answer that changes nothing.
 */
import type { z } from 'zod';
import { StoreError } from '../../../core/base/errors.ts';
import { checkName } from '../core/define.ts';
import type { Ask, MessageOf, Protocol } from '../core/protocol.ts';
import type { AskingContext, MailboxOptions } from '../core/types.ts';
import type { LogFunction } from '../thread.ts';

const COMMIT: unique symbol = Symbol('commit');

/** The next state, and what the asker gets once it is in the log. */
export interface Commit<State, Reply> {
  readonly [COMMIT]: true;
  readonly state: State;
  readonly reply: Reply;
}

export function commit<State>(state: State): Commit<State, undefined>;
export function commit<State, Reply>(state: State, reply: Reply): Commit<State, Reply>;
export function commit(state: unknown, reply?: unknown): Commit<unknown, unknown> {
  return { [COMMIT]: true, state, reply };
}

export const isCommit = (value: unknown): value is Commit<unknown, unknown> =>
  typeof value === 'object' && value !== null && COMMIT in value;

/** What a durable actor's handler can see of its place. */
export interface DurableContext extends AskingContext {
  /** Behind the slash of its address. */
  readonly id: string;
  /** Aborted when the asker gives up, or this actor has to end here. */
  readonly signal: AbortSignal;
  /** What its asker will still wait; Infinity for who does not ask. */
  readonly remainingMs: number;
  readonly trace: string | undefined;
  readonly log: LogFunction;
}

type Promised<T> = T | Promise<T>;

type DurableResult<P extends Protocol, K extends keyof P & string, State> =
  P[K] extends Ask<infer _F, infer R> ? Promised<R | Commit<State, R>> : Promised<void | Commit<State, undefined>>;

/** A handler for each kind. The state is frozen. */
export type DurableHandlers<P extends Protocol, State> = {
  readonly [K in keyof P & string]: (
    state: State,
    message: MessageOf<P, K>,
    ctx: DurableContext,
  ) => DurableResult<P, K, State>;
};

export interface DurableInput<P extends Protocol, S extends z.ZodType> {
  /** Names its kind, and begins its addresses: `counter/42`. */
  readonly name: string;
  /** Tells and asks; BAD_REQUEST: a stream. */
  readonly protocol: P;
  /** Plain data; parsed whenever it is read, and before each commit. At most 1 MiB as JSON, answers kept with it included. */
  readonly state: S;
  /** Its state before the first commit. */
  readonly initial: (id: string) => z.output<S>;
  readonly on: DurableHandlers<P, z.output<S>>;
  readonly mailbox?: MailboxOptions;
  /** It leaves memory when nobody has said anything to it for so long: a minute. */
  readonly passivateAfterMs?: number;
}

export type AnyDurableHandler = (state: unknown, message: unknown, ctx: DurableContext) => unknown;

/** A durable actor's kind as it was defined: give it to `node.actors.host`. */
export interface DurableDefinition<P extends Protocol> {
  readonly name: string;
  readonly protocol: P;
  /** For the runtime. */
  readonly parts: {
    readonly state: z.ZodType;
    readonly initial: (id: string) => unknown;
    readonly handlers: Readonly<Record<string, AnyDurableHandler>>;
    readonly mailbox: MailboxOptions;
    readonly passivateAfterMs: number;
  };
}

const PASSIVATE_AFTER_MS = 60_000;
/** A timer takes no longer pause. */
const PASSIVATE_AFTER_MS_MAX = 2 ** 31 - 1;

export function durable<P extends Protocol, S extends z.ZodType>(input: DurableInput<P, S>): DurableDefinition<P> {
  checkName(input.name);
  for (const [kind, { how }] of Object.entries(input.protocol)) {
    if (how === 'stream') throw new StoreError('BAD_REQUEST', `${input.name}.${kind}: a durable actor has no streams`);
  }
  const { passivateAfterMs = PASSIVATE_AFTER_MS } = input;
  if (!(passivateAfterMs > 0 && passivateAfterMs <= PASSIVATE_AFTER_MS_MAX)) {
    throw new StoreError('BAD_REQUEST', `passivateAfterMs is above 0, and at most ${PASSIVATE_AFTER_MS_MAX}`);
  }
  return {
    name: input.name,
    protocol: input.protocol,
    parts: {
      state: input.state,
      initial: input.initial,
      // Without a prototype: a kind called `constructor` is found only where there is one. Each is called with what its
      // kind says.
      handlers: Object.assign(Object.create(null) as Record<string, AnyDurableHandler>, input.on),
      mailbox: input.mailbox ?? {},
      passivateAfterMs,
    },
  };
}
