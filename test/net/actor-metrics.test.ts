import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { Durations } from '../../src/actors/runtime/core/durations.ts';
import type { ActorRow } from '../../src/core/wire/actors.ts';
import type { ActorFacts } from '../../src/net/actor-facts.ts';
import { ActorTotals, addActors, LABELS_MAX } from '../../src/net/actor-metrics.ts';

function actor(path: string, given: Partial<ActorRow & Omit<ActorFacts, 'row'>> = {}): ActorFacts {
  const { durations = new Durations(), incarnation = 1, ...rest } = given;
  const row: ActorRow = {
    part: 'application',
    path,
    name: 'worker',
    thread: 'main',
    state: 'running',
    waits: 0,
    fullness: 0,
    handled: 0,
    p99Ms: null,
    kinds: [],
    restarts: 0,
    ...rest,
  };
  return { row, durations, incarnation };
}

const labelsOf = (actors: readonly ActorFacts[]): string[] =>
  new ActorTotals().note(actors).map(({ labels }) => `${labels.actor} ${labels.thread}`);

test('actors below the root stand under the names that they were given, all others under what they are', () => {
  expect(
    labelsOf([
      actor('/gateway', { part: 'node', name: 'gateway' }),
      actor('/pool', { name: 'pool' }),
      actor('/pool/worker-1'),
      actor('/pool/worker-2'),
      actor('/pool/worker-2/eu', { name: 'cart' }),
      actor('/worker-3'),
      actor('/worker-4', { thread: '/worker-4' }),
      actor('/worker-5', { thread: '/worker-5' }),
      actor('/worker-x', { thread: 'shared' }),
    ]),
  ).toEqual([
    'gateway main',
    '/pool main',
    '/pool/worker main',
    '/pool/cart main',
    '/worker main',
    '/worker own',
    '/worker-x shared',
  ]);
});

test('labels are bounded, whatever an application spawns', () => {
  const many = Array.from({ length: 1_000 }, (_, i) => actor(`/cart-of-${i}`, { handled: 1, waits: 1 }));
  const groups = new ActorTotals().note(many);
  expect(groups.length).toBe(LABELS_MAX + 1);
  expect(groups.reduce((sum, { total }) => sum + total.handled, 0)).toBe(1_000);
  expect(groups.at(-1)).toMatchObject({ labels: { actor: 'other', thread: 'other' }, depth: 1_000 - LABELS_MAX });
});

test('a total never falls: not with an actor that ends, nor with one that begins again', () => {
  const totals = new ActorTotals();
  const took = (count: number): Durations => {
    const durations = new Durations();
    durations.add(1, count);
    return durations;
  };
  const scrape = (...actors: ActorFacts[]): unknown => {
    const { total } = totals.note(actors)[0] as ReturnType<ActorTotals['note']>[number];
    return [total.handled, total.restarts, total.durations.sumMs];
  };
  const one = (handled: number, incarnation = 1, path = '/worker-1'): ActorFacts =>
    actor(path, { handled, incarnation, restarts: incarnation - 1, durations: took(handled) });
  expect(scrape(one(10), one(5, 1, '/worker-2'))).toEqual([15, 0, 15]);
  expect(scrape(one(12))).toEqual([17, 0, 17]);
  expect(scrape(one(2, 3))).toEqual([19, 2, 19]);
  expect(scrape()).toEqual([19, 2, 19]);
  // Of the same name, and another.
  expect(scrape(one(4))).toEqual([23, 2, 23]);
  expect(scrape(one(1))).toEqual([24, 2, 24]);
});

test('the series are Prometheus text; a scrape looks once', async () => {
  const registry = new Registry();
  let looks = 0;
  const durations = new Durations();
  durations.add(0.003, 61);
  durations.add(100_000, 1);
  const actors = async (): Promise<ActorFacts[]> => {
    looks++;
    return [actor('/a "quoted"', { handled: 62, waits: 3, fullness: 0.5, restarts: 2, durations, waitsMost: 9 })];
  };
  addActors(registry, { actors, actorTotals: new ActorTotals(), deadLetters: { counts: { full: 7 } as never } });
  const text = await registry.metrics();
  expect(looks).toBe(1);
  const own = 'actor="/a \\"quoted\\"",thread="main"';
  for (const line of [
    `ctlmesh_actor_mailbox_depth{${own}} 3`,
    `ctlmesh_actor_mailbox_max{${own}} 9`,
    `ctlmesh_actor_mailbox_fullness_ratio{${own}} 0.5`,
    `ctlmesh_actor_handled_total{${own}} 62`,
    `ctlmesh_actor_restarts_total{${own}} 2`,
    'ctlmesh_actor_dead_letters_total{reason="full"} 7',
    '# TYPE ctlmesh_actor_handling_seconds histogram',
    `ctlmesh_actor_handling_seconds_bucket{le="0.000001",${own}} 0`,
    `ctlmesh_actor_handling_seconds_bucket{le="0.000004",${own}} 61`,
    `ctlmesh_actor_handling_seconds_bucket{le="+Inf",${own}} 62`,
    `ctlmesh_actor_handling_seconds_count{${own}} 62`,
  ]) {
    expect(text).toContain(`${line}\n`);
  }
  await registry.metrics();
  expect(looks).toBe(2);
});
