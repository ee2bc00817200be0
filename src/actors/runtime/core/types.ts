/**
 * Types that users of the runtime meet: refs, what may be asked of them, and how an actor's life ends.
 */
import type { Asker } from './asker.ts';
import type { ItemOf, KindsOf, MessageOf, Protocol, ReplyOf } from './protocol.ts';

/** Why an actor ended. */
export type EndReason =
  /** It stopped itself. */
  | { readonly kind: 'done' }
  /** Somebody stopped it, or its supervisor did. */
  | { readonly kind: 'stopped' }
  /** Somebody killed it, or its stop took too long. */
  | { readonly kind: 'killed' }
  /** A handler or `start` threw, or its thread died. */
  | { readonly kind: 'failed'; readonly error: Error };

/** What a watcher is told, once. */
export interface DeathNotice {
  readonly path: string;
  readonly incarnation: number;
  readonly reason: EndReason;
}

export interface TellOptions {
  /** Trace context that travels with the message (W3C traceparent). */
  readonly trace?: string | undefined;
  /** Buffers and ports that another thread gets instead of a copy; they are gone here. */
  readonly transfer?: readonly (ArrayBuffer | object)[] | undefined;
}

export interface AskOptions extends TellOptions {
  /** How long to wait: 5 s. At most an hour. */
  readonly deadlineMs?: number | undefined;
  /** Gives up: CANCELLED. The handler's `ctx.signal` is aborted too. */
  readonly signal?: AbortSignal | undefined;
  /**
   * On behalf of the message in hand: `from: ctx`. It waits no longer than that one's asker does, has its trace, and is
   * refused at once (ASK_CYCLE) where it would wait for itself. Asks before a handler's first `await` need not say so for
   * the last.
   */
  readonly from?: AskingContext | undefined;
}

/** A handler's context. */
export interface AskingContext {
  /** For the runtime. */
  readonly asker: Asker | undefined;
  readonly remainingMs: number;
  readonly trace: string | undefined;
}

export interface StreamOptions extends TellOptions {
  /** Ends it: CANCELLED. */
  readonly signal?: AbortSignal | undefined;
  /** Items under way at once: 64. */
  readonly window?: number | undefined;
}

export interface StopOptions {
  /** Handle first what is in the mailbox: yes. Otherwise it goes to the dead letters. */
  readonly drain?: boolean | undefined;
  /** After this it is killed: 5 s. */
  readonly deadlineMs?: number | undefined;
}

/** A ref of whatever protocol: who it is, and its end. */
export interface AnyRef {
  /** `/` and the names of its parents and its own. */
  readonly path: string;
  /** 1 for the first that had this path, and one more for each restart. A stable ref has the newest's. */
  readonly incarnation: number;
  /**
   * Stops it, and those it spawned before it, newest first; it is not started again. Resolves when it has ended, also
   * when it had before. May be called twice. Of an actor of another node it rejects with UNAVAILABLE (nothing was said),
   * OVERLOADED, OUTCOME_UNKNOWN (the connection broke), UPGRADE_PENDING; of an address with BAD_REQUEST.
   */
  stop(options?: StopOptions): Promise<void>;
  /**
   * Ends it without another word to it: no stop hook, no drain. A failure to its supervisor, who may start it again.
   * Throws UNAVAILABLE when its node is out of reach, BAD_REQUEST for an address.
   */
  kill(): void;
}

/**
 * Somebody to talk to. A ref is of one incarnation: when that has ended, so has the ref, for ever, and nothing sent to
 * it reaches a successor (which knows nothing of what went before). `stable()` gives one that follows restarts.
 */
export interface ActorRef<P extends Protocol> extends AnyRef {
  /**
   * Puts a message into the mailbox, now or not at all. False: it was full or the actor had ended, and the message is a
   * dead letter. Messages of one sender arrive in the order in which they were sent.
   */
  tell(message: MessageOf<P, KindsOf<P, 'tell'>>, options?: TellOptions): boolean;
  /**
   * The same, but waits for room where the mailbox's policy is `wait`. Rejects with OVERLOADED (another policy, or too
   * many wait), VALUE_TOO_LARGE, ACTOR_STOPPED, DEADLINE_EXCEEDED, CANCELLED.
   */
  send(message: MessageOf<P, KindsOf<P, 'tell'>>, options?: AskOptions): Promise<void>;
  /**
   * Sends a message and waits for its answer. Rejects with what the handler threw, if that was a StoreError; with
   * ACTOR_STOPPED at once when the actor ends, handled or not; DEADLINE_EXCEEDED, CANCELLED (it may have been handled,
   * or may yet be if it has begun); OVERLOADED, VALUE_TOO_LARGE (it was not).
   */
  ask<K extends KindsOf<P, 'ask'>>(message: MessageOf<P, K>, options?: AskOptions): Promise<ReplyOf<P, K>>;
  /**
   * Opens a stream. Nothing happens before the first item is asked for; `return()` (the end of a `for await`) cancels
   * it. Throws what the handler threw, and what `ask` rejects with.
   */
  stream<K extends KindsOf<P, 'stream'>>(
    message: MessageOf<P, K>,
    options?: StreamOptions,
  ): AsyncIterableIterator<ItemOf<P, K>>;
  /** A ref that follows restarts: whoever has the path. Between two of them it fails like any that has ended. */
  stable(): ActorRef<P>;
}

/** At a mailbox's bound: wait (those who can; `tell` is refused), refuse, or let the oldest go. */
export type MailboxPolicy = 'wait' | 'refuse' | 'drop-oldest';

export interface MailboxOptions {
  /** Messages that wait at most: 1024. As many senders may wait for room. */
  readonly messagesMax?: number;
  /** Bytes of messages that wait at most, as estimated: 16 MiB. */
  readonly bytesMax?: number;
  /** wait. */
  readonly policy?: MailboxPolicy;
}

/** Which children are started again with one that failed: it alone, all, or it and those spawned after it. */
export type Strategy = 'one-for-one' | 'one-for-all' | 'rest-for-one';

export interface SuperviseOptions {
  /** one-for-one. */
  readonly strategy?: Strategy;
  /** This many restarts are taken: 5 … */
  readonly restartsMax?: number;
  /** … in this time: 30 s. One more fails the parent itself. */
  readonly withinMs?: number;
  /** The first pause before a restart; doubles each time, with jitter: 50 ms. */
  readonly backoffMinMs?: number;
  /** The longest pause: 10 s. */
  readonly backoffMaxMs?: number;
  /** A child that ran for so long begins with the shortest pause again: 30 s. */
  readonly resetMs?: number;
  /** So many restarts of a child come before the first pause: 0. */
  readonly restartsAtOnce?: number;
}

/** When a child is started again: always; after a failure; never. */
export type Restart = 'permanent' | 'transient' | 'temporary';

/** Where an actor runs: with its parent, in a thread of its own, or in the thread of that name. */
export type ThreadChoice = 'same' | 'own' | { readonly name: string };

interface SpawnBase {
  /** Unique among its siblings; default: the definition's name and a number. No `/`. */
  readonly name?: string;
  readonly thread?: ThreadChoice;
  /** transient. */
  readonly restart?: Restart;
  /** How long a stop by its supervisor may take: 5 s. */
  readonly stopDeadlineMs?: number;
  /** How long `start` may take: 30 s. */
  readonly startDeadlineMs?: number;
}

/** `args` is what `start` gets; to another thread it is cloned, once for each restart. */
export type SpawnOptions<Args> = SpawnBase &
  (undefined extends Args ? { readonly args?: Args } : { readonly args: Args });

export type WatchdogPolicy = 'report' | 'restart' | 'escalate';

export interface WatchdogOptions {
  /** A handler that has not returned for so long is stuck: 10 s. */
  readonly limitMs?: number;
  /** report. */
  readonly policy?: WatchdogPolicy;
}
