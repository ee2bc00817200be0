import { expect, test } from 'vitest';
import { NodeDecider } from '../../src/actors/node-decider.ts';
import { type Death, Restarts } from '../../src/actors/restarts.ts';
import { createSystem, defineActor, tell } from '../../src/actors/runtime/index.ts';
import type { Spec } from '../../src/actors/runtime/core/target.ts';
import { type ActorName, ACTORS } from '../../src/actors/shared.ts';
import { RECOVERY, RESTARTS } from '../../src/actors/topology.ts';
import { StoreError } from '../../src/core/base/errors.ts';

function world({ onAlone = () => {} }: { readonly onAlone?: (death: Death) => void } = {}) {
  const restarts = new Restarts({ monotonicMs: () => 0, random: () => 0 });
  const decider = new NodeDecider({ log: () => {}, restarts, onAlone });
  return { decider, restarts };
}

const definition = defineActor({ name: 'any', protocol: { say: tell() }, start: () => ({}), on: { say: () => {} } });
const spec = (name: ActorName): Spec => ({
  definition,
  args: undefined,
  name,
  path: `/node/${name}`,
  thread: 'own',
  restart: 'transient',
  startDeadlineMs: 1,
  stopDeadlineMs: 1,
});
const vanished = { kind: 'killed' } as const;

test('who only reads starts again alone, once all run; of any other the whole life is told', () => {
  const alone: string[] = [];
  const { decider } = world({ onAlone: ({ actor }) => void alone.push(actor) });
  const kinds = (): string[] => ACTORS.map((actor) => decider.decide(spec(actor), vanished).kind);
  expect(new Set(kinds())).toEqual(new Set(['escalate']));
  expect(alone).toEqual([]);
  decider.hasStarted = true;
  expect(kinds()).toEqual(ACTORS.map((actor) => (RECOVERY[actor] === 'alone' ? 'restart' : 'escalate')));
  expect(alone).toEqual(['shipper']);
});

test('what starting again does not mend is not started again, and keeps its code', () => {
  const { decider, restarts } = world();
  decider.hasStarted = true;
  const error = new StoreError('TABLE_CORRUPT', 'a table is damaged');
  expect(decider.decide(spec('shipper'), { kind: 'failed', error })).toEqual({ kind: 'escalate', error });
  expect(restarts.counts.size).toBe(0);
});

test('the first time at once, then after pauses, and one time too many is the life’s', () => {
  const { decider } = world();
  decider.hasStarted = true;
  const verdicts = Array.from({ length: RESTARTS.restartsMax }, () => decider.decide(spec('shipper'), vanished));
  expect(verdicts.map((verdict) => verdict.kind === 'restart' && verdict.afterMs)).toEqual([0, 25, 50, 100, 200]);
  expect(decider.decide(spec('shipper'), vanished)).toMatchObject({
    kind: 'escalate',
    error: { code: 'ACTOR_STOPPED', message: expect.stringContaining('shipper died 6 times within 30 s') },
  });
});

test('when what it held cannot be let go, the whole life is told', () => {
  const { decider } = world({
    onAlone: () => {
      throw new Error('a pin of nobody');
    },
  });
  decider.hasStarted = true;
  expect(decider.decide(spec('shipper'), vanished)).toMatchObject({
    kind: 'escalate',
    error: { code: 'ACTOR_STOPPED' },
  });
});

test('a nursery does as its decider says: `restartsAtOnce` is for applications, too', async () => {
  const system = createSystem({ supervise: { restartsAtOnce: 1, backoffMinMs: 3_600_000, backoffMaxMs: 3_600_000 } });
  const ref = (await system.spawn(definition, { name: 'any' })).stable();
  ref.kill();
  // With a pause it would be an hour.
  await expect.poll(() => ref.incarnation, { timeout: 60_000 }).toBe(2);
  await system.stop();
});
