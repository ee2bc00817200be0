/**
 * Target: what a ref speaks to: an incarnation in this thread, or the near end of one in another. And what the parts of
 * a system know of it.
 */
import type { Random } from '../../../core/base/env.ts';
import { unreachable } from '../../../core/base/assert.ts';
import { StoreError } from '../../../core/base/errors.ts';
import type { LogFunction } from '../thread.ts';
import type { Asker } from './asker.ts';
import type { ActorClock } from './clock.ts';
import type { DeadLetterReason, DeadLetters } from './dead-letters.ts';
import type { AnyDefinition } from './define.ts';
import type { Envelope } from './envelope.ts';
import type { KindHandling } from './handling.ts';
import type { MailboxLimits, Offered } from './mailbox.ts';
import type { Runnable } from './run-queue.ts';
import type { Table } from './table.ts';
import type { DeathNotice, EndReason, Restart, StopOptions, ThreadChoice } from './types.ts';

/** Ids say which thread's they are, whoever holds them. */
export const THREADS_MAX = 65_536;
export const threadOf = (id: number): number => id % THREADS_MAX;
/** What is left of an id where there is room for 32 bits: it names one of a thread's actors. */
export const shortOf = (id: number): number => Math.floor(id / THREADS_MAX) | 0;

export interface Target {
  readonly path: string;
  readonly incarnation: number;
  /** For all threads of a system; never given twice. */
  readonly id: number;
  readonly table: Table;
  /** Of its mailbox. */
  readonly limits: MailboxLimits;
  offer(envelope: Envelope, mayWait: boolean): Offered | 'ended';
  /** Before the offer of an ask that an actor waits for: true: it would wait for itself, and was told so. */
  refusesCircle?(envelope: Envelope): boolean;
  /** Calls once when it has ended, at once if it has. The result ends the watch. */
  watch(listener: (notice: DeathNotice) => void): () => void;
  stop(options?: StopOptions): Promise<void>;
  kill(): void;
}

/** What is to be spawned, as often as it is started again. */
export interface Spec {
  readonly definition: AnyDefinition;
  readonly args: unknown;
  readonly name: string;
  readonly path: string;
  readonly thread: ThreadChoice;
  readonly restart: Restart;
  readonly startDeadlineMs: number;
  readonly stopDeadlineMs: number;
}

/** One life of an actor, as its supervisor holds it. */
export interface Incarnation extends Target {
  readonly spec: Spec;
  /** Runs `start`; throws what that throws, and then it has ended. */
  start(): Promise<void>;
  /** Ends it on behalf of its supervisor, who may start it again. */
  end(options?: StopOptions): Promise<void>;
  /** Resolves when it has ended; never rejects. */
  readonly ended: Promise<EndReason>;
  /** Somebody called `stop`: it is not wanted any more. */
  readonly isStopAsked: boolean;
  /** The actor and those below it. */
  report(): Promise<ActorReport>;
}

/** An actor as it is now: for `inspect()`. */
export interface ActorReport {
  readonly path: string;
  readonly name: string;
  readonly incarnation: number;
  /** 'main', or the thread's name. */
  readonly thread: string;
  readonly phase: string;
  /** Messages and bytes that wait. */
  readonly mailbox: number;
  readonly mailboxBytes: number;
  /** The most messages that waited at once in this incarnation; undefined where that is not counted (rings). */
  readonly mailboxMost?: number | undefined;
  /** Of its mailbox. */
  readonly limits: MailboxLimits;
  /** Messages handled by this incarnation. */
  readonly handled: number;
  /** How long its handlers took, by kind: of those that return at once one in 61 is timed, and stands for them. */
  readonly handling: readonly KindHandling[];
  /** The kind in hand, and for how long, when its handler has not returned. */
  readonly busyWith?: { readonly kind: string; readonly forMs: number } | undefined;
  readonly children: readonly ActorReport[];
}

/** Whose handler was called last; nobody's while others run that went on after an `await`. */
export interface Running {
  cell: { readonly asker: Asker | undefined } | undefined;
}

/** What all parts of a system in one thread share. */
export interface World {
  /** 0: the thread that made the system. */
  readonly thread: number;
  /** 'main', or the thread's name. */
  readonly threadName: string;
  readonly clock: ActorClock;
  readonly random: Random;
  readonly log: LogFunction;
  readonly deadLetters: DeadLetters;
  /** Whose handler runs now, until it returns. */
  readonly running: Running;
  wake(actor: Runnable): void;
  nextId(): number;
  /** Makes an incarnation, here or in another thread. */
  incarnate(spec: Spec, incarnation: number): Incarnation;
  /** Counts actors: OVERLOADED at the bound. The result gives the place back. */
  admit(path: string): () => void;
  /** It can be found by its address from now on; until `leave`. */
  join(target: Target): void;
  leave(target: Target): void;
  /** Written for the watchdog of another thread: who handles what. */
  readonly beacon: Int32Array | undefined;
}

/** Why an offer was not taken, as an error for who waits. */
export function refusal(offered: 'full' | 'too-large' | 'ended', path: string, bytes: number): StoreError {
  switch (offered) {
    case 'full':
      return new StoreError('OVERLOADED', `the mailbox of ${path} is full`);
    case 'too-large':
      return new StoreError('VALUE_TOO_LARGE', `a message of ${bytes} bytes is too large for the mailbox of ${path}`, {
        data: { size: bytes },
      });
    case 'ended':
      return stopped(path);
    default:
      return unreachable(offered);
  }
}

export const refusalReason: Readonly<Record<'full' | 'too-large' | 'ended', DeadLetterReason>> = {
  full: 'full',
  'too-large': 'too-large',
  ended: 'stopped',
};

/** An actor has ended, with whatever it was about to do. */
export function stopped(path: string, reason?: EndReason): StoreError {
  if (reason?.kind !== 'failed') return new StoreError('ACTOR_STOPPED', `${path} has ended`, { data: { path } });
  const { error } = reason;
  return new StoreError('ACTOR_STOPPED', `${path} failed: ${error.message}`, { cause: error, data: { path } });
}

/** Tells each of an end; what one of them throws is its own, and is logged. */
export function tellWatchers(
  watchers: Set<(notice: DeathNotice) => void>,
  notice: DeathNotice,
  log: LogFunction,
): void {
  for (const listener of watchers) {
    try {
      listener(notice);
    } catch (error) {
      log('error', 'actor.watcher.failed', { path: notice.path, message: String(error) });
    }
  }
  watchers.clear();
}
