/** The test kit for actors: what it finds, that it finds it again, and that time is its own. */
import { expect, test } from 'vitest';
import { z } from 'zod';
import { type ActorRef, ask, defineActor, refTo, type Tell, tell } from '../../../src/actors/runtime/index.ts';
import { TestActors } from '../../../src/testing/index.ts';

const register = { read: ask({}, z.int()), write: tell({ n: z.int() }) };

const cell = defineActor({
  name: 'cell',
  protocol: register,
  start: () => ({ n: 0 }),
  on: {
    read: (state) => state.n,
    write: (state, { n }) => {
      state.n = n;
    },
  },
});

/** Reads, and writes one more: between the two somebody else may have done the same. */
const careless = defineActor({
  name: 'careless',
  protocol: { go: ask({}, z.int()) },
  start: (_ctx, where: ActorRef<typeof register>) => ({ where }),
  on: {
    async go({ where }) {
      const n = await where.ask({ kind: 'read' });
      where.tell({ kind: 'write', n: n + 1 });
      return n;
    },
  },
});

/** What two careless actors count to, and the turns it took. */
async function count(seed: number): Promise<string> {
  const actors = new TestActors({ seed });
  const where = await actors.spawn(cell);
  const [a, b] = [await actors.spawn(careless, { args: where }), await actors.spawn(careless, { args: where })];
  await actors.run(Promise.all([a.ask({ kind: 'go' }), b.ask({ kind: 'go' })]));
  const turns = await actors.settle();
  const total = await actors.run(where.ask({ kind: 'read' }));
  await actors.stop();
  return `${total} after ${turns}`;
}

test('orders that are possible are found, the bad ones too, and a seed gives the same one again', async () => {
  const seeds = Array.from({ length: 40 }, (_, seed) => seed + 1);
  const first = [];
  for (const seed of seeds) first.push(await count(seed));
  const again = [];
  for (const seed of seeds) again.push(await count(seed));
  expect(again).toEqual(first);
  expect(new Set(first.map((outcome) => outcome[0]))).toEqual(new Set(['1', '2']));
});

test('time passes from timer to timer, and an hour costs nothing', async () => {
  const actors = new TestActors();
  const clock = defineActor({
    name: 'clock',
    protocol: { start: tell({ who: refTo<{ tick: Tell<unknown> }>() }), tick: tell() },
    start: () => ({ who: undefined as ActorRef<{ tick: Tell<unknown> }> | undefined }),
    on: {
      start(state, { who }, ctx) {
        state.who = who;
        ctx.timers.every('tick', 60_000, { kind: 'tick' });
      },
      tick: (state) => void state.who?.tell({ kind: 'tick' }),
    },
  });
  const probe = await actors.probe({ tick: tell() });
  const ref = await actors.spawn(clock);
  ref.tell({ kind: 'start', who: probe.ref });
  await actors.advance(3_600_000);
  expect(probe.messages).toHaveLength(60);
  await actors.stop();
});

test('a probe answers; a deadline comes in virtual time; a deadlock is found', async () => {
  const actors = new TestActors();
  const probe = await actors.probe({ ask: ask({ n: z.int() }, z.int()), never: ask({}, z.int()) });
  probe.answer('ask', ({ n }) => n * 2);
  probe.answer('never', () => new Promise(() => {}));
  expect(await actors.run(probe.ref.ask({ kind: 'ask', n: 4 }))).toBe(8);
  expect(probe.messages).toEqual([{ kind: 'ask', n: 4 }]);
  await expect(actors.run(probe.ref.ask({ kind: 'never' }))).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  expect(actors.clock.nowMs()).toBe(5_000);
  await expect(actors.run(new Promise(() => {}))).rejects.toThrow(/nothing is left/);
});

test('supervision runs on virtual time: pauses, intensity, and the end of the system', async () => {
  const actors = new TestActors({ seed: 3, supervise: { restartsMax: 3 } });
  const fragile = defineActor({
    name: 'fragile',
    protocol: { crash: tell() },
    start: () => ({}),
    on: {
      crash() {
        throw new Error('crashed');
      },
    },
  });
  const ref = (await actors.spawn(fragile, { thread: 'own' })).stable();
  for (let i = 0; i < 4; i++) {
    ref.tell({ kind: 'crash' });
    await actors.advance(1_000);
  }
  expect((await actors.run(actors.system.failed)).message).toContain('more than 3 restarts');
  expect(actors.lines.filter(({ event }) => event === 'actor.restarted')).toHaveLength(3);
});
