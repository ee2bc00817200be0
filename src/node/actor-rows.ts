/**
 * Actor rows: what the actors of a node do, its own and the application's, in one shape, for whoever looks: `kvctl actors`
 * and /metrics. Everything is read where it is when it is asked for: rings and meters of the node's own actors from
 * shared memory, the application's from its system, which asks its threads.
 */
import { gaugesOf } from '../actors/gauges.ts';
import type { Gateway } from '../actors/gateway/gateway.ts';
import type { ActorReport } from '../actors/runtime/core/target.ts';
import type { ActorSystem } from '../actors/runtime/index.ts';
import { sumOf } from '../actors/runtime/core/durations.ts';
import { type ActorName, ACTORS } from '../actors/shared.ts';
import { NODE_PATH, type Supervisor } from '../actors/supervisor.ts';
import type { Plumbing } from '../actors/topology.ts';
import type { ActorRow, ActorState } from '../core/wire/actors.ts';
import { type ActorFacts, factsOf, fullnessOf, p99Of } from '../net/actor-facts.ts';

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
    facts.push(factsOf(report, 'application'));
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
      p99Ms: p99Of(durations),
      kinds: [],
      restarts: times,
    };
    return { row, durations, incarnation: times + 1 };
  });
}

const STATES: Readonly<Record<string, ActorState>> = { stuck: 'stuck', ended: 'coming back' };
