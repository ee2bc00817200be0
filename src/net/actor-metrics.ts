/**
 * Actor metrics: what actors do, as Prometheus series. They are asked when a scrape comes, once for all series, and what
 * they answer is added up by label.
 *
 * Labels are few whatever an application spawns: its actors below the root under their names, when they were given one;
 * all others by what they are, below whom; past LABELS_MAX as `other`.
 *
 * An actor's counts begin anew with each of its lives, and end with it. A sum over several must not fall with one of
 * them: so what each has counted since the last scrape is added to a total that stays (what it counted between that and
 * its end is not seen).
 */
import type { Registry } from 'prom-client';
import type { HostedActors } from '../actors/runtime/cluster/cluster-actors.ts';
import type { DeadLetters } from '../actors/runtime/core/dead-letters.ts';
import { boundMs, BUCKETS, type DurationCounts, NO_DURATIONS, sumOf } from '../actors/runtime/core/durations.ts';
import type { ActorRow } from '../core/wire/actors.ts';
import type { ActorFacts } from './actor-facts.ts';

export interface ActorMetricsWorld {
  readonly actorTotals: ActorTotals;
  readonly actors: () => Promise<readonly ActorFacts[]>;
  readonly deadLetters: Pick<DeadLetters, 'counts'>;
}

interface Labels {
  readonly actor: string;
  readonly thread: string;
}

interface Counts {
  readonly handled: number;
  readonly restarts: number;
  readonly durations: DurationCounts;
}

interface Group {
  readonly labels: Labels;
  depth: number;
  /** Undefined where nobody counts it. */
  most: number | undefined;
  fullness: number;
  total: Counts;
}

export const LABELS_MAX = 64;
const OTHER: Labels = { actor: 'other', thread: 'other' };
const NOTHING: Counts = { handled: 0, restarts: 0, durations: NO_DURATIONS };

/** Adds up what scrapes see; kept by who outlives the node's lives. */
export class ActorTotals {
  readonly #groups = new Map<string, Group>();
  /** By actor: what its newest life had counted when it was last seen. */
  #seen = new Map<string, ActorFacts>();

  note(actors: readonly ActorFacts[]): readonly Group[] {
    for (const group of this.#groups.values()) Object.assign(group, { depth: 0, most: undefined, fullness: 0 });
    const seen = new Map<string, ActorFacts>();
    const labelOf = labels(actors);
    for (const actor of actors) {
      const group = this.#group(labelOf(actor.row));
      const { part, path, waits, waitsMost, fullness } = actor.row;
      group.depth += waits;
      if (waitsMost !== undefined) group.most = Math.max(group.most ?? 0, waitsMost);
      group.fullness = Math.max(group.fullness, fullness);
      const key = `${part}${path}`;
      group.total = plus(group.total, actor, this.#seen.get(key));
      seen.set(key, actor);
    }
    this.#seen = seen;
    return [...this.#groups.values()];
  }

  #group(wanted: Labels): Group {
    const known = this.#groups.get(keyOf(wanted));
    if (known !== undefined) return known;
    const labelsOf = this.#groups.size < LABELS_MAX ? wanted : OTHER;
    const group = this.#groups.get(keyOf(labelsOf)) ?? {
      labels: labelsOf,
      depth: 0,
      most: undefined,
      fullness: 0,
      total: NOTHING,
    };
    this.#groups.set(keyOf(labelsOf), group);
    return group;
  }
}

const keyOf = ({ actor, thread }: Labels): string => `${actor} ${thread}`;

/** The total with what `now` has counted since it was seen as `before`. */
function plus(total: Counts, now: ActorFacts, before: ActorFacts | undefined): Counts {
  // Another life has counted nothing of what this one has; so has one that has counted less, of the same name.
  const isSame = before?.incarnation === now.incarnation && now.row.handled >= before.row.handled;
  const counted = before !== undefined && isSame ? before : undefined;
  return {
    handled: total.handled + now.row.handled - (counted?.row.handled ?? 0),
    restarts: total.restarts + Math.max(0, now.row.restarts - (before?.row.restarts ?? 0)),
    durations: added(total.durations, now.durations, counted?.durations ?? NO_DURATIONS),
  };
}

function added(total: DurationCounts, now: DurationCounts, before: DurationCounts): DurationCounts {
  const minus = { counts: before.counts.map((count) => -count), sumMs: -before.sumMs };
  return sumOf([total, now, minus]);
}

/** Names that the runtime gave: what it is, and a number. */
const isNamed = ({ path, name }: ActorRow): boolean => {
  const last = path.slice(path.lastIndexOf('/') + 1);
  return !(last.startsWith(`${name}-`) && /^\d+$/.test(last.slice(name.length + 1)));
};

function labels(actors: readonly ActorFacts[]): (actor: ActorRow) => Labels {
  const tops = new Map<string, string>();
  for (const { row: actor } of actors) {
    if (actor.part === 'application' && actor.path.lastIndexOf('/') === 0) {
      tops.set(actor.path, isNamed(actor) ? actor.path : `/${actor.name}`);
    }
  }
  return (actor) => {
    if (actor.part === 'node') return { actor: actor.name, thread: actor.thread };
    // A thread of its own has its actor's path for a name.
    const thread = actor.thread.startsWith('/') ? 'own' : actor.thread;
    const top = actor.path.slice(0, `${actor.path}/`.indexOf('/', 1));
    const above = tops.get(top) ?? '';
    return { actor: top === actor.path ? above : `${above}/${actor.name}`, thread };
  };
}

/** Every second bound: 1 µs, 4 µs, … 67 s. */
const BOUNDS = Array.from({ length: BUCKETS - 1 }, (_, i) => i).filter((i) => i % 2 === 0);

interface Value {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName?: string;
}

export function addActors(registry: Registry, { actors, actorTotals, deadLetters }: ActorMetricsWorld): void {
  let looking: Promise<readonly Group[]> | undefined;
  /** One look for all series of a scrape. */
  const look = async (): Promise<readonly Group[]> => {
    looking ??= actors().then((seen) => actorTotals.note(seen));
    try {
      return await looking;
    } finally {
      looking = undefined;
    }
  };
  const add = (
    type: 'gauge' | 'counter' | 'histogram',
    name: string,
    help: string,
    read: () => Promise<Value[]>,
  ): void => {
    const get = async (): Promise<object> => ({ name, help, type, values: await read(), aggregator: 'sum' });
    // The library's own metrics are told their values one by one; a registry asks no more of one than this.
    registry.registerMetric({ name, help, type, get, reset: () => {} } as never);
  };
  const ofGroups = (value: (group: Group) => number) => async (): Promise<Value[]> =>
    (await look()).map((group) => ({ value: value(group), labels: { ...group.labels } }));

  add(
    'gauge',
    'ctlmesh_actor_mailbox_depth',
    'Messages that wait.',
    ofGroups(({ depth }) => depth),
  );
  add(
    'gauge',
    'ctlmesh_actor_mailbox_max',
    'The most messages that waited at once for one of them since it last started.',
    async () =>
      (await look()).flatMap(({ labels: of, most }) =>
        most === undefined ? [] : [{ value: most, labels: { ...of } }],
      ),
  );
  add(
    'gauge',
    'ctlmesh_actor_mailbox_fullness_ratio',
    'How full the fullest mailbox is, by messages or bytes.',
    ofGroups(({ fullness }) => fullness),
  );
  add(
    'counter',
    'ctlmesh_actor_handled_total',
    'Messages handled; turns, of the node’s own actors.',
    ofGroups(({ total }) => total.handled),
  );
  add(
    'counter',
    'ctlmesh_actor_restarts_total',
    'Times that an actor ended and was started again.',
    ofGroups(({ total }) => total.restarts),
  );
  add(
    'histogram',
    'ctlmesh_actor_handling_seconds',
    'How long a message took its actor (one of 61 is timed, and counts for them), or a turn an actor of the node.',
    async () => (await look()).flatMap(({ labels: of, total }) => histogramOf(of, total.durations)),
  );
  add('counter', 'ctlmesh_actor_dead_letters_total', 'Messages to actors that reached nobody.', () =>
    Promise.resolve(Object.entries(deadLetters.counts).map(([reason, value]) => ({ value, labels: { reason } }))),
  );
}

const HOSTED: readonly (readonly [keyof HostedActors, string, string])[] = [
  ['active', 'active', 'Durable actors in memory here.'],
  ['activations', 'activations_total', 'Times that a durable actor came into memory here.'],
  ['passivations', 'passivations_total', 'Times that one was idle for long, and left.'],
  ['commits', 'commits_total', 'States of durable actors that were written.'],
  ['fencesLost', 'fences_lost_total', 'Commits that did nothing, since another node or activation had the actor.'],
  ['doubts', 'doubts_total', 'Commits of which nobody knows; the next activation reads what became of them.'],
];

/** Of the durable actors of a node. */
export function addHosted(
  gauge: (name: string, help: string, read: () => number) => void,
  hosted: () => HostedActors,
): void {
  for (const [count, name, help] of HOSTED) gauge(`actor_durable_${name}`, help, () => hosted()[count]);
}

function histogramOf(of: Labels, { counts, sumMs }: DurationCounts): Value[] {
  const name = 'ctlmesh_actor_handling_seconds';
  const upTo = (bucket: number): number => counts.slice(0, bucket + 1).reduce((sum, count) => sum + count, 0);
  const all = upTo(BUCKETS);
  const bucket = (le: string | number, value: number): Value => ({
    metricName: `${name}_bucket`,
    value,
    labels: { le, ...of },
  });
  return [
    ...BOUNDS.map((at) => bucket(boundMs(at) / 1_000, upTo(at))),
    bucket('+Inf', all),
    { metricName: `${name}_sum`, value: sumMs / 1_000, labels: { ...of } },
    { metricName: `${name}_count`, value: all, labels: { ...of } },
  ];
}
