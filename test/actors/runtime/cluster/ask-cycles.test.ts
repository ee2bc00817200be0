/** Who waits for whom over several nodes: a circle is refused at once, and a line that is none is not. */
import { expect, test } from 'vitest';
import { z } from 'zod';
import {
  type ActorRef,
  ask,
  defineActor,
  durable,
  type DurableDefinition,
} from '../../../../src/actors/runtime/index.ts';
import { type Asker, asker, waitsIn } from '../../../../src/actors/runtime/core/asker.ts';
import { askersIn, askersOut } from '../../../../src/actors/runtime/mesh/askers.ts';
import { ClusterWorld, type TestNode } from './cluster-world.ts';

/** Walks over the actors it is told, one after the other, each asked by the one before. */
const protocol = { walk: ask({ ways: z.array(z.string()), late: z.boolean() }, z.string()) };
type Walker = ActorRef<typeof protocol>;

const LONG = { deadlineMs: 60_000 };

/** On each node a kind of durable actors, `on-n1` and so on: where one is follows from its name. */
function world(): { readonly at: ClusterWorld; readonly walker: (node: TestNode, address: string) => Walker } {
  const at = new ClusterWorld();
  const kinds = new Map<string, DurableDefinition<typeof protocol>>();
  const walker = (node: TestNode, address: string): Walker => {
    const [kind = '', id = ''] = address.split('/');
    return node.actors.lookup(kinds.get(kind) as DurableDefinition<typeof protocol>, id);
  };
  for (const node of at.nodes) {
    const kind = durable({
      name: `on-${node.id}`,
      protocol,
      state: z.strictObject({}),
      initial: () => ({}),
      on: {
        walk: async (_state, { ways: [next, ...ways], late }, ctx) => {
          if (next === undefined) return 'the end';
          const message = { kind: 'walk', ways, late } as const;
          if (!late) return walker(node, next).ask(message, LONG);
          // Which actor goes on after this nobody sees: it says so.
          await new Promise<void>((resolve) => void at.clock.after(5, resolve));
          return walker(node, next).ask(message, { ...LONG, from: ctx });
        },
      },
    });
    kinds.set(kind.name, kind);
    node.actors.host(kind);
  }
  return { at, walker };
}

const CIRCLES = [
  ['on-n1/a', 'on-n2/b', 'on-n1/a'],
  ['on-n1/a', 'on-n2/b', 'on-n3/c', 'on-n1/a'],
  ['on-n1/a', 'on-n2/b', 'on-n3/c', 'on-n2/b'],
  ['on-n1/a', 'on-n1/b', 'on-n2/c', 'on-n1/b'],
];

test('a circle over nodes is refused at once, and names who is in it; before an await, and after one', async () => {
  for (const late of [false, true]) {
    for (const [first = '', ...ways] of CIRCLES) {
      const { at, walker } = world();
      const asked = walker(at.node(1), first).ask({ kind: 'walk', ways, late }, LONG);
      const error: unknown = await at.run(asked.catch((reason: unknown) => reason));
      expect(error, ways.join()).toMatchObject({ code: 'ASK_CYCLE' });
      const circle = ways.slice(0, -1).concat(ways.at(-1) as string);
      for (const address of circle) expect((error as Error).message).toContain(address.replace('/', ':'));
      // At once: nothing of it waited for a deadline.
      expect(at.clock.nowMs()).toBeLessThan(5_000);
      await at.stop();
    }
  }
});

test('a line that comes by another actor, or by the same with another message, is none', async () => {
  const { at, walker } = world();
  const lines = [
    ['on-n2/b', 'on-n1/z', 'on-n3/c'],
    ['on-n2/b', 'on-n2/c', 'on-n3/b'],
  ];
  for (const ways of lines) {
    const asked = walker(at.node(1), 'on-n1/a').ask({ kind: 'walk', ways, late: true }, LONG);
    expect(await at.run(asked)).toBe('the end');
  }
  // Two who ask the same one have only to wait their turn.
  const both = ['on-n1/x', 'on-n3/y'].map((first) =>
    walker(at.node(2), first).ask({ kind: 'walk', ways: ['on-n2/b'], late: true }, LONG),
  );
  expect(await at.run(Promise.all(both))).toEqual(['the end', 'the end']);
  await at.stop();
});

test('an actor of one life is in the line too', async () => {
  const { at, walker } = world();
  const definition = defineActor({
    name: 'asker',
    protocol,
    start: () => ({}),
    on: {
      walk: (_state, { ways }, ctx) =>
        walker(at.node(1), 'on-n2/b').ask({ kind: 'walk', ways, late: true }, { from: ctx }),
    },
  });
  const ref = await at.run(at.node(1).actors.spawn(definition));
  const ways = ['on-n3/c', 'on-n2/b'];
  const error: unknown = await at.run(
    ref.ask({ kind: 'walk', ways, late: false }, LONG).catch((reason: unknown) => reason),
  );
  expect(error).toMatchObject({ code: 'ASK_CYCLE' });
  await at.stop();
});

test('a number that another life of the same node gave is not one of this life', () => {
  const line = asker(
    { boot: '', id: 5, path: '/b', turn: 2 },
    asker({ boot: '', id: 4, path: '/a', turn: 1 }, undefined),
  );
  const there = askersIn(askersOut(line, { node: 'n1', boot: 'first' }), { node: 'n2', boot: 'other' });
  const back = askersOut(there as Asker, { node: 'n2', boot: 'other' });
  expect(askersIn(back, { node: 'n1', boot: 'first' })).toEqual(line);
  const later = askersIn(back, { node: 'n1', boot: 'second' });
  expect([waitsIn(there, 5, 2), waitsIn(later, 5, 2), waitsIn(line, 5, 2)]).toEqual([false, false, true]);
});
