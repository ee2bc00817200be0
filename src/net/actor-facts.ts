/**
 * Actor facts: an actor of a process in the shape in which it is shown, and counted: a row of `kvctl actors`, and what
 * /metrics adds up.
 */
import type { DeadLetters } from '../actors/runtime/core/dead-letters.ts';
import { type DurationCounts, quantileMs, sumOf } from '../actors/runtime/core/durations.ts';
import type { MailboxLimits } from '../actors/runtime/core/mailbox.ts';
import type { ActorReport } from '../actors/runtime/core/target.ts';
import { watchdogRules } from '../actors/runtime/core/watchdog.ts';
import { ACTOR_ROWS_MAX, type ActorRow, type ActorsView, type ActorState } from '../core/wire/actors.ts';

/** A row, and for metrics what it was made from. */
export interface ActorFacts {
  readonly row: ActorRow;
  readonly durations: DurationCounts;
  /** Which of its lives this is: counts begin anew with each. */
  readonly incarnation: number;
}

interface Filling {
  readonly mailbox: number;
  readonly mailboxBytes: number;
  readonly limits: MailboxLimits;
}

/** By whichever of its bounds is nearer. */
export const fullnessOf = ({ mailbox, mailboxBytes, limits }: Filling): number =>
  Math.max(mailbox / limits.messagesMax, mailboxBytes / limits.bytesMax);

const P99 = 0.99;

export const p99Of = (durations: DurationCounts): number | null => quantileMs(durations, P99) ?? null;

export function factsOf(report: ActorReport, part: ActorRow['part']): ActorFacts {
  const { path, name, thread, mailbox, mailboxMost, handled, handling, incarnation, busyWith } = report;
  const durations = sumOf(handling.map((kind) => kind.durations));
  const row: ActorRow = {
    part,
    path,
    name,
    thread,
    state: stateOf(report),
    waits: mailbox,
    ...(mailboxMost === undefined ? {} : { waitsMost: mailboxMost }),
    fullness: fullnessOf(report),
    handled,
    p99Ms: p99Of(durations),
    kinds: handling.flatMap(({ kind, durations: ofKind }) => {
      const p99Ms = quantileMs(ofKind, P99);
      return p99Ms === undefined ? [] : [{ kind, p99Ms }];
    }),
    restarts: incarnation - 1,
    ...(busyWith === undefined ? {} : { busyWith }),
  };
  return { row, durations, incarnation };
}

function stateOf({ phase, busyWith }: ActorReport): ActorState {
  if (phase === 'starting') return 'starting';
  if (phase === 'ended') return 'coming back';
  if (phase === 'draining' || phase === 'ending') return 'stopping';
  // Its thread does not answer.
  if (phase === 'unknown') return 'stuck';
  return (busyWith?.forMs ?? 0) >= watchdogRules().limitMs ? 'stuck' : 'running';
}

export function viewOf(
  node: string,
  facts: readonly ActorFacts[],
  deadLetters: Pick<DeadLetters, 'counts'>,
): ActorsView {
  const rows = facts.slice(0, ACTOR_ROWS_MAX).map(({ row }) => row);
  return { node, rows, leftOff: facts.length - rows.length, deadLetters: deadLetters.counts };
}
