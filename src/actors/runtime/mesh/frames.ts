/**
 * Frames: what the actors of two nodes say to each other. A turn's frames leave as one batch; batches to a peer are
 * numbered within a session, which ends when one may have been lost: who reads them sees a gap, or another session, and
 * knows that answers may be missing.
 *
 *   batch    JSON { session, number, frames }
 *   welcome  the peer's session was heard of: what was sent before it is settled, and what follows is not lost unheard
 *   say      a message: to an actor of this life of the peer's, or to whoever has an address; told, asked, or for a stream
 *   answer, failed   of what was asked; `failed` also of what was told and not taken, of streams, watches and stops
 *   taken    so many that were told have left their mailboxes there: the sender may send as much again
 *   item, end        of a stream; `want`: so many items were taken, as many more may come
 *   giveUp   nobody waits for the answer, or the items, any more
 *   watch, ended     the end of an actor; `stop`: it is wanted, and told as to who watches; `kill`: so it is, and nobody waits
 *
 * A session's name begins with what its side speaks (SPEAKS). Nodes of a cluster that is being upgraded meet: one whose sessions
 * say nothing reads no frames but the first ones, and is sent no others, nor who waits for an ask (`askers`).
 *
 * `call` is the number that the asking side gave. What comes is parsed here (its form) and by the protocol of the actor
 * that it is for (its fields): peers may run other programs, or other versions of this one.
 */
import { z } from 'zod';
import { ERROR_CODE_LIST, type ErrorCode, StoreError } from '../../../core/base/errors.ts';
import { STREAM_WINDOW_MAX } from '../core/flow.ts';
import { type FarAsker, farAskers } from './askers.ts';
import { decodeValue } from './codec.ts';

const number = z.int().min(0);
const path = z.string().max(1024);

/** Which try of which question it is: whoever remembers its answer gives that again. */
export interface CallId {
  readonly asker: string;
  readonly seq: number;
  /** No question of this asker before this one is open any more. */
  readonly floor: number;
  /** 1: it was not sent before. */
  readonly attempt: number;
}
const callId = z.strictObject({ asker: z.string().max(512), seq: number, floor: number, attempt: z.int().min(1) });

/** An actor of one life of a node. */
export interface ToActor {
  readonly boot: string;
  readonly id: number;
  readonly path: string;
}
const toActor = z.strictObject({ boot: z.string().max(64), id: number, path });
/** Whoever has the address. */
export interface ToAddress {
  readonly address: string;
  readonly call?: CallId | undefined;
}
const toAddress = z.strictObject({ address: path, call: callId.optional() });
const to = z.union([toActor, toAddress]);
export type To = ToActor | ToAddress;

interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}
const failure = z.strictObject({
  code: z.enum(ERROR_CODE_LIST),
  message: z.string(),
  data: z.record(z.string(), z.unknown()),
});

export interface Say<Whom extends To = To> {
  readonly frame: 'say';
  readonly call: number;
  readonly how: 'tell' | 'ask' | 'stream';
  readonly to: Whom;
  readonly message: unknown;
  /** What an asker will still wait. */
  readonly remainingMs?: number | undefined;
  /** Items of a stream that may be under way. */
  readonly window?: number | undefined;
  readonly trace?: string | undefined;
  /** Of an ask: the actors that wait for its answer, and for each other. */
  readonly askers?: readonly FarAsker[] | undefined;
}

export type Frame =
  | { readonly frame: 'welcome'; readonly session: string }
  | Say
  | { readonly frame: 'answer'; readonly call: number; readonly value: unknown }
  | { readonly frame: 'failed'; readonly call: number; readonly failure: Failure }
  | { readonly frame: 'taken'; readonly calls: readonly number[] }
  | { readonly frame: 'item'; readonly call: number; readonly value: unknown }
  | { readonly frame: 'end'; readonly call: number }
  | { readonly frame: 'want'; readonly call: number; readonly count: number }
  | { readonly frame: 'giveUp'; readonly call: number }
  | { readonly frame: 'watch'; readonly call: number; readonly to: ToActor }
  | { readonly frame: 'unwatch'; readonly call: number }
  | {
      readonly frame: 'stop';
      readonly call: number;
      readonly to: ToActor;
      readonly drain: boolean;
      readonly deadlineMs?: number | undefined;
    }
  | { readonly frame: 'kill'; readonly to: ToActor }
  | { readonly frame: 'ended'; readonly call: number; readonly failure?: Failure | undefined };

const frame = z.discriminatedUnion('frame', [
  z.strictObject({ frame: z.literal('welcome'), session: z.string().max(64) }),
  z.strictObject({
    frame: z.literal('say'),
    call: number,
    how: z.enum(['tell', 'ask', 'stream']),
    to,
    message: z.unknown(),
    remainingMs: z.number().min(0).optional(),
    window: z.int().min(1).max(STREAM_WINDOW_MAX).optional(),
    trace: z.string().max(1024).optional(),
    askers: farAskers.optional(),
  }),
  z.strictObject({ frame: z.literal('answer'), call: number, value: z.unknown() }),
  z.strictObject({ frame: z.literal('failed'), call: number, failure }),
  z.strictObject({ frame: z.literal('taken'), calls: z.array(number) }),
  z.strictObject({ frame: z.literal('item'), call: number, value: z.unknown() }),
  z.strictObject({ frame: z.literal('end'), call: number }),
  z.strictObject({ frame: z.literal('want'), call: number, count: z.int().min(1) }),
  z.strictObject({ frame: z.literal('giveUp'), call: number }),
  z.strictObject({ frame: z.literal('watch'), call: number, to: toActor }),
  z.strictObject({ frame: z.literal('unwatch'), call: number }),
  z.strictObject({
    frame: z.literal('stop'),
    call: number,
    to: toActor,
    drain: z.boolean(),
    deadlineMs: z.number().min(0).optional(),
  }),
  z.strictObject({ frame: z.literal('kill'), to: toActor }),
  z.strictObject({ frame: z.literal('ended'), call: number, failure: failure.optional() }),
]);

export interface Batch {
  readonly session: string;
  readonly number: number;
  readonly frames: readonly Frame[];
}
const batch = z.strictObject({ session: z.string().max(64), number, frames: z.array(frame) });

/** Streams, `stop`, `kill`, `askers`. */
const SPEAKS = '2 ';

export const sessionNamed = (name: string): string => `${SPEAKS}${name}`;

/** Whether whoever named this session so reads all of these frames. */
export const speaksAll = (session: string): boolean => session.startsWith(SPEAKS);

/** Frames are text when they are put together, so that a message is measured before it is sent. */
export function encodeBatch(session: string, batchNumber: number, frames: readonly string[]): Uint8Array<ArrayBuffer> {
  const text = `{"session":${JSON.stringify(session)},"number":${batchNumber},"frames":[${frames.join(',')}]}`;
  return new TextEncoder().encode(text);
}

/** PROTOCOL_ERROR: no batch. Its values are still as the codec wrote them. */
export function decodeBatch(bytes: Uint8Array): Batch {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new StoreError('PROTOCOL_ERROR', 'what a peer’s actors said is no JSON', { cause });
  }
  const parsed = batch.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new StoreError('PROTOCOL_ERROR', `what a peer’s actors said: ${z.prettifyError(parsed.error)}`);
}

/** Facts that JSON does not bear stay behind; code and text travel. */
export function toFailure(error: Error): Failure {
  const code: ErrorCode = error instanceof StoreError ? error.code : 'INTERNAL';
  const data: Record<string, unknown> = {};
  for (const [name, fact] of Object.entries(error instanceof StoreError ? error.data : {})) {
    if (['string', 'number', 'boolean'].includes(typeof fact)) data[name] = fact;
  }
  return { code, message: error.message, data };
}

export function fromFailure({ code, message, data }: Failure): StoreError {
  return new StoreError(code, message, { data });
}

export function messageOf(say: Say): unknown {
  return decodeValue(say.message);
}
