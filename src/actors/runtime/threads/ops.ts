/**
 * Ops: what two threads say to each other. A turn's ops go in one flat array, by one postMessage: a structured clone of
 * a flat array of small values costs a fifth of one of as many records, and wakes the other side once.
 *
 *   tell      op target kindAndCount fields…              kindAndCount = kind's number × 256 + how many fields follow
 *   ask       op target kindAndCount call remainingMs fields…
 *   stream    op target kindAndCount call window fields…
 *   traced    op trace                                    of the message that follows
 *   asked     op askers                                   of the ask that follows: who waits for it (core/asker.ts)
 *   answer    op call value        failed   op call failure
 *   item      op call value        end      op call
 *   giveUp    op call failure      want     op call count
 *   taken     op target count                             so many messages have left the mailbox there
 *   control   op name record                              spawn, end, stop, kill, started, ended, watch, dead-letters, failed
 *
 * `call` is a number that the asking side gives. Fields come in the protocol's order; refs among them as RefToken.
 */
import type { DeadLetterCounts } from '../core/dead-letters.ts';
import type { KindTable } from '../core/table.ts';
import type { MailboxLimits } from '../core/mailbox.ts';
import type { EndReason, StopOptions } from '../core/types.ts';
import { fromPlain, type PlainFailure, toPlain } from '../thread.ts';

export const OP = {
  tell: 0,
  ask: 1,
  stream: 2,
  traced: 3,
  answer: 4,
  failed: 5,
  item: 6,
  end: 7,
  giveUp: 8,
  want: 9,
  taken: 10,
  control: 11,
  asked: 12,
} as const;

export const KIND_UNIT = 256;

/** A ref on its way: enough to speak to it from wherever it arrives. */
export interface RefToken {
  readonly id: number;
  readonly path: string;
  readonly incarnation: number;
  readonly kinds: readonly KindTable[];
  readonly limits: MailboxLimits;
}

export interface PlainReason {
  readonly kind: EndReason['kind'];
  readonly failure?: PlainFailure | undefined;
}

/** What the main thread tells about actors, and a thread answers. */
export type Control =
  | { readonly kind: 'spawn'; readonly id: number; readonly spec: PlainSpec; readonly incarnation: number }
  | { readonly kind: 'end'; readonly id: number; readonly options: StopOptions }
  | { readonly kind: 'stop'; readonly id: number; readonly options: StopOptions }
  | { readonly kind: 'kill'; readonly id: number }
  | { readonly kind: 'watch'; readonly id: number }
  | { readonly kind: 'started'; readonly id: number }
  | { readonly kind: 'ended'; readonly id: number; readonly reason: PlainReason }
  /** So many more, by reason, since it said so last. */
  | { readonly kind: 'dead-letters'; readonly counts: DeadLetterCounts }
  | { readonly kind: 'failed'; readonly failure: PlainFailure };

/** A spec without what cannot be cloned. */
export interface PlainSpec {
  readonly module: string;
  readonly definition: string;
  readonly args: unknown;
  readonly name: string;
  readonly path: string;
  readonly startDeadlineMs: number;
  readonly stopDeadlineMs: number;
}

export function plainReason(reason: EndReason): PlainReason {
  return reason.kind === 'failed' ? { kind: 'failed', failure: toPlain(reason.error) } : { kind: reason.kind };
}

export function reasonFrom({ kind, failure }: PlainReason, path: string): EndReason {
  if (kind !== 'failed') return { kind };
  return { kind, error: failure === undefined ? new Error(`${path} failed`) : fromPlain(failure, path) };
}
