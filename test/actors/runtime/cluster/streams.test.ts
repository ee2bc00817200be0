/** Streams between nodes: what is promised of items, of their ends, and of what is under way. */
import { expect, test } from 'vitest';
import { z } from 'zod';
import { type ActorRef, ask, defineActor, isStoreError, stream } from '../../../../src/actors/runtime/index.ts';
import { ITEM_BYTES_MAX } from '../../../../src/actors/runtime/mesh/served.ts';
import { StoreError } from '../../../../src/core/base/errors.ts';
import { ClusterWorld, type TestNode } from './cluster-world.ts';
import { farRef } from './far-ref.ts';

const protocol = {
  count: stream({ to: z.int() }, z.int()),
  texts: stream({ bytes: z.int() }, z.string()),
  wrong: stream({}, z.string()),
  fails: stream({ how: z.enum(['answer', 'bug']) }, z.int()),
  ping: ask({}, z.string()),
};

interface Maker {
  made: number;
  begun: number;
  ended: number;
}

function counter(maker: Maker) {
  const noted = async function* <T>(items: () => Generator<T>): AsyncGenerator<T> {
    maker.begun++;
    try {
      for (const item of items()) {
        maker.made++;
        yield item;
        await Promise.resolve();
      }
    } finally {
      maker.ended++;
    }
  };
  return defineActor({
    name: 'counter',
    protocol,
    start: () => ({}),
    on: {
      count: (_state, { to }) =>
        noted(function* () {
          for (let i = 1; i <= to; i++) yield i;
        }),
      texts: (_state, { bytes }) =>
        noted(function* () {
          for (;;) yield 'x'.repeat(bytes);
        }),
      wrong: () =>
        noted(function* () {
          yield 5 as unknown as string;
        }),
      fails: (_state, { how }) =>
        noted(function* () {
          yield 1;
          throw how === 'bug' ? new Error('a bug') : new StoreError('NOT_FOUND', 'no more of them');
        }),
      ping: () => 'pong',
    },
  });
}

type Counter = ActorRef<typeof protocol>;

async function pair(): Promise<{ readonly at: ClusterWorld; readonly ref: Counter; readonly maker: Maker }> {
  const at = new ClusterWorld({ nodes: 2 });
  const maker = { made: 0, begun: 0, ended: 0 };
  const { ref } = await farRef(at, counter(maker), protocol);
  return { at, ref, maker };
}

/** What came, and how it ended. */
async function taken<T>(at: ClusterWorld, items: AsyncIterable<T>): Promise<{ items: T[]; end: string }> {
  const got: T[] = [];
  const taking = (async () => {
    for await (const item of items) got.push(item);
  })();
  const end = await at.run(
    taking.then(
      () => 'end',
      (error: unknown) => (isStoreError(error) ? error.code : String(error)),
    ),
  );
  return { items: got, end };
}

const upTo = (to: number): number[] => Array.from({ length: to }, (_, i) => i + 1);

test('items come in their order, made as they are wanted, and then the end', async () => {
  const { at, ref, maker } = await pair();
  expect(await taken(at, ref.stream({ kind: 'count', to: 1_000 }))).toEqual({ items: upTo(1_000), end: 'end' });
  for (const window of [1, 2, 3]) {
    expect(await taken(at, ref.stream({ kind: 'count', to: 10 }, { window }))).toEqual({ items: upTo(10), end: 'end' });
  }
  expect(maker.begun - maker.ended).toBe(0);

  maker.made = 0;
  const slow = ref.stream({ kind: 'count', to: 1_000 }, { window: 8 });
  await at.run(slow.next());
  await at.advance(1_000);
  // Eight under way, and the one that was taken; others are asked for by halves of the window.
  expect(maker.made).toBeLessThanOrEqual(8 + 1 + 4);
  // The actor is free for others meanwhile.
  expect(await at.run(ref.ask({ kind: 'ping' }))).toBe('pong');
  await at.run(Promise.resolve(slow.return?.()));
  await at.advance(50);
  expect(maker.begun - maker.ended).toBe(0);
  await at.stop();
});

test('what ends a stream is told as it is: an answer, a bug, its actor’s end, an item that is none', async () => {
  const { at, ref, maker } = await pair();
  expect(await taken(at, ref.stream({ kind: 'fails', how: 'answer' }))).toEqual({ items: [1], end: 'NOT_FOUND' });
  expect(await taken(at, ref.stream({ kind: 'wrong' }))).toEqual({ items: [], end: 'BAD_REQUEST' });
  expect(await taken(at, ref.stream({ kind: 'texts', bytes: 1024 * 1024 }))).toEqual({
    items: [],
    end: 'VALUE_TOO_LARGE',
  });
  await at.advance(50);
  expect(maker.begun - maker.ended).toBe(0);
  const open = taken(at, ref.stream({ kind: 'texts', bytes: 1 }));
  expect(await taken(at, ref.stream({ kind: 'fails', how: 'bug' }))).toEqual({ items: [1], end: 'ACTOR_STOPPED' });
  expect((await open).end).toBe('ACTOR_STOPPED');
  expect(maker.begun - maker.ended).toBe(0);
  await at.stop();
});

test('the connection breaks: what had come is taken, then the doubt; the maker ends, and the next stream is whole', async () => {
  const { at, ref, maker } = await pair();
  const items = ref.stream({ kind: 'count', to: 1_000_000 });
  for (let i = 1; i <= 100; i++) expect((await at.run(items.next())).value).toBe(i);
  at.cut(at.node(2));
  const rest = await taken(at, items);
  expect(rest.end).toBe('OUTCOME_UNKNOWN');
  expect(rest.items).toEqual(upTo(rest.items.length).map((i) => i + 100));
  expect(rest.items.length).toBeLessThanOrEqual(64);
  await at.settle();
  expect(maker.begun - maker.ended).toBe(0);
  expect((await taken(at, ref.stream({ kind: 'count', to: 1 }))).end).toBe('UNAVAILABLE');
  at.heal(at.node(2));
  await at.advance(50);
  expect(await taken(at, ref.stream({ kind: 'count', to: 100 }))).toEqual({ items: upTo(100), end: 'end' });
  await at.stop();
});

test('large items: all streams of a peer share a bound, and one that nobody takes from holds up no other', async () => {
  const { at, ref, maker } = await pair();
  const bytes = 900_000;
  const idle = ref.stream({ kind: 'texts', bytes });
  await at.run(idle.next());
  await at.advance(1_000);
  expect(maker.made * bytes).toBeLessThan(ITEM_BYTES_MAX + 3 * bytes);
  const other = ref.stream({ kind: 'texts', bytes });
  for (let i = 0; i < 12; i++) expect((await at.run(other.next())).done).toBe(false);
  await at.run(Promise.resolve(other.return?.()));
  await at.run(Promise.resolve(idle.return?.()));
  await at.advance(50);
  expect(maker.begun - maker.ended).toBe(0);
  // All of the room is there again.
  const third = ref.stream({ kind: 'texts', bytes });
  for (let i = 0; i < 12; i++) expect((await at.run(third.next())).done).toBe(false);
  await at.stop();
});

test('under cuts at random each stream is a beginning of what it should be, and ends; no maker goes on', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const at = new ClusterWorld({ nodes: 2, seed });
    const maker = { made: 0, begun: 0, ended: 0 };
    const { ref } = await farRef(at, counter(maker), protocol);
    const ends = new Set<string>();
    const takers = Array.from({ length: 5 }, async () => {
      for (let round = 0; round < 10; round++) {
        const to = Math.floor(at.chance() * 200);
        const { items, end } = await taken(at, ref.stream({ kind: 'count', to }, { window: 1 + (round % 5) }));
        expect(items, `seed ${seed}`).toEqual(upTo(items.length));
        if (end === 'end') expect(items.length, `seed ${seed}`).toBe(to);
        ends.add(end);
      }
    });
    const node = at.node(2);
    for (let i = 0; i < 10; i++) {
      await at.advance(50 * at.chance());
      at.cut(node);
      await at.advance(5 * at.chance());
      at.heal(node);
    }
    await at.run(Promise.all(takers));
    await at.advance(100);
    expect(maker.begun - maker.ended, `seed ${seed}`).toBe(0);
    expect([...ends].filter((end) => !['end', 'OUTCOME_UNKNOWN', 'UNAVAILABLE'].includes(end))).toEqual([]);
    await at.stop();
  }
});

test('a singleton streams from wherever it is; a stream waits until it is there, and hears of its end', async () => {
  const at = new ClusterWorld();
  const maker = { made: 0, begun: 0, ended: 0 };
  const definition = counter(maker);
  for (const { actors } of at.nodes) actors.singleton(definition);
  const results = await Promise.all(
    at.nodes.map(({ actors }) => taken(at, actors.lookup(definition).stream({ kind: 'count', to: 200 }))),
  );
  for (const result of results) expect(result).toEqual({ items: upTo(200), end: 'end' });
  const host = at.nodes.find(({ id }) => at.holder('actor-singleton/counter') === id) as TestNode;
  const other = at.nodes.find(({ id }) => id !== host.id) as TestNode;
  const items = other.actors.lookup(definition).stream({ kind: 'count', to: 1_000_000 });
  await at.run(items.next());
  at.cut(host);
  expect((await taken(at, items)).end).toBe('OUTCOME_UNKNOWN');
  await at.stop();
});

test('a node of an older version has no streams for others, and says so', async () => {
  const at = new ClusterWorld({ nodes: 2, old: 'n2' });
  const { ref } = await farRef(at, counter({ made: 0, begun: 0, ended: 0 }), protocol);
  expect(await taken(at, ref.stream({ kind: 'count', to: 1 }))).toEqual({ items: [], end: 'UPGRADE_PENDING' });
  expect(await at.run(ref.ask({ kind: 'ping' }))).toBe('pong');
  await at.stop();
});
