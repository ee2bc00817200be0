/**
 * Actor rows: what the actors of a node do, its own and the application's, in one shape, for whoever looks: `kvctl actors`
 * and /metrics. Everything is read where it is when it is asked for: rings and meters of the node's own actors from
 * shared memory, the application's from its system, which asks its threads.
 */
import { gaugesOf } from '../actors/gauges.ts';
import type { Gateway } from '../actors/gateway/gateway.ts';
import type { DeadLetters } from '../actors/runtime/core/dead-letters.ts';
import type { ActorReport } from '../actors/runtime/core/target.ts';
import { watchdogRules } from '../actors/runtime/core/watchdog.ts';
import type { ActorSystem } from '../actors/runtime/index.ts';
import { type DurationCounts, quantileMs, sumOf } from '../actors/runtime/core/durations.ts';
import type { PortGauges } from '../actors/runtime/ports/port-actor.ts';
import { type ActorName, ACTORS } from '../actors/shared.ts';
import { NODE_PATH, type Supervisor } from '../actors/supervisor.ts';
import type { Plumbing } from '../actors/topology.ts';
import { ACTOR_ROWS_MAX, type ActorRow, type ActorsView, type ActorState } from '../core/wire/actors.ts';

/** A row, and for metrics what it was made from. */
export interface ActorFacts {
  readonly row: ActorRow;
  readonly durations: DurationCounts;
  /** Which of its lives this is: counts begin anew with each. */
  readonly incarnation: number;
}

export interface ActorsWorld {
  /** The application's. */
  readonly system: Pick<ActorSystem, 'inspect'>;
  readonly plumbing: Plumbing;
  readonly supervisor: Pick<Supervisor, 'actors'>;
  readonly gateway: Pick<Gateway, 'inFlight'>;
  readonly inFlightMax: number;
  readonly restarts: ReadonlyMap<ActorName, number>;
  /** Who has died, until all are back. */
  readonly comingBack: ActorName | undefined;
}

/** The node's own actors, then the application's, parents first. */
export async function actorFacts(world: ActorsWorld): Promise<ActorFacts[]> {
  const facts = nodeActors(world);
  const add = (report: ActorReport): void => {
    facts.push(factsOf(report));
    for (const child of report.children) add(child);
  };
  const reports = await world.system.inspect();
  // Its own are above, also between two lives.
  for (const report of reports) if (!report.path.startsWith(`${NODE_PATH}/`)) add(report);
  return facts;
}

function nodeActors({ plumbing, gateway, supervisor, restarts, comingBack, inFlightMax }: ActorsWorld): ActorFacts[] {
  const states = new Map<ActorName, string>(supervisor.actors);
  return ACTORS.map((actor) => {
    const gauges = gaugesOf(actor, plumbing);
    const durations = sumOf(gauges.handling.map((kind) => kind.durations));
    const times = restarts.get(actor) ?? 0;
    const state = comingBack === actor ? 'ended' : (states.get(actor) ?? 'running');
    const row: ActorRow = {
      part: 'node',
      path: `${NODE_PATH}/${actor}`,
      name: actor,
      thread: actor === 'gateway' ? 'main' : actor,
      state: STATES[state] ?? 'running',
      waits: gauges.mailbox,
      fullness: Math.max(fullnessOf(gauges), actor === 'gateway' ? gateway.inFlight / inFlightMax : 0),
      handled: gauges.handled,
      p99Ms: quantileMs(durations, P99) ?? null,
      kinds: [],
      restarts: times,
    };
    return { row, durations, incarnation: times + 1 };
  });
}

const fullnessOf = ({ mailbox, mailboxBytes, limits }: PortGauges): number =>
  Math.max(mailbox / limits.messagesMax, mailboxBytes / limits.bytesMax);

const P99 = 0.99;

const STATES: Readonly<Record<string, ActorState>> = { stuck: 'stuck', ended: 'coming back' };

function factsOf(report: ActorReport): ActorFacts {
  const { path, name, thread, mailbox, handled, handling, incarnation, busyWith } = report;
  const durations = sumOf(handling.map((kind) => kind.durations));
  const row: ActorRow = {
    part: 'application',
    path,
    name,
    thread,
    state: stateOf(report),
    waits: mailbox,
    fullness: fullnessOf(report),
    handled,
    p99Ms: quantileMs(durations, P99) ?? null,
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
