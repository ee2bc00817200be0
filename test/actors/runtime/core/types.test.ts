/** What must not compile, and what the compiler knows by itself. tsc is the test; one run shows that it also works. */
import { expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import { type ActorRef, ask, defineActor, refTo, stream, tell } from '../../../../src/actors/runtime/index.ts';
import { createTestSystem } from './support.ts';

const protocol = {
  add: tell({ by: z.int(), note: z.string().optional() }),
  reset: tell(),
  total: ask({}, z.int()),
  names: ask({ prefix: z.string() }, z.array(z.string())),
  count: stream({ to: z.int() }, z.int()),
};

const counter = defineActor({
  name: 'counter',
  protocol,
  start: (ctx, args: { readonly from: number }) => {
    expectTypeOf(ctx.self).toEqualTypeOf<ActorRef<typeof protocol>>();
    return { total: args.from };
  },
  on: {
    add(state, message, ctx) {
      expectTypeOf(state).toEqualTypeOf<{ total: number }>();
      expectTypeOf(message.by).toEqualTypeOf<number>();
      expectTypeOf(message.note).toEqualTypeOf<string | undefined>();
      expectTypeOf(ctx.signal).toEqualTypeOf<AbortSignal>();
      state.total += message.by;
    },
    reset(state) {
      state.total = 0;
    },
    total: (state) => state.total,
    names: async (_state, { prefix }) => [prefix],
    async *count(_state, { to }) {
      for (let i = 1; i <= to; i++) yield i;
    },
  },
});

test('messages and answers are what the protocol says', async () => {
  const { system } = createTestSystem();
  const ref = await system.spawn(counter, { args: { from: 3 } });
  expect(ref.tell({ kind: 'add', by: 2 })).toBe(true);
  ref.tell({ kind: 'reset' });
  ref.tell({ kind: 'add', by: 4, note: 'four' });
  const total = await ref.ask({ kind: 'total' });
  expectTypeOf(total).toEqualTypeOf<number>();
  expect(total).toBe(4);
  expectTypeOf(await ref.ask({ kind: 'names', prefix: 'a' })).toEqualTypeOf<string[]>();
  const items: number[] = [];
  for await (const item of ref.stream({ kind: 'count', to: 3 })) items.push(item);
  expect(items).toEqual([1, 2, 3]);
});

/** Never run: each line is an error of its own, and tsc says when one is not. */
function doesNotCompile(ref: ActorRef<typeof protocol>, system: ReturnType<typeof createTestSystem>['system']): void {
  // @ts-expect-error There is no such message.
  ref.tell({ kind: 'nothing' });
  // @ts-expect-error A field is missing.
  ref.tell({ kind: 'add' });
  // @ts-expect-error A field is of another type.
  ref.tell({ kind: 'add', by: 'one' });
  // @ts-expect-error A field too many.
  ref.tell({ kind: 'add', by: 1, twice: true });
  // @ts-expect-error What is asked is not told.
  ref.tell({ kind: 'total' });
  // @ts-expect-error What is told is not asked.
  void ref.ask({ kind: 'add', by: 1 });
  // @ts-expect-error A stream is not asked.
  void ref.ask({ kind: 'count', to: 1 });
  // @ts-expect-error A field of an ask is missing.
  void ref.ask({ kind: 'names' });
  // @ts-expect-error The arguments are missing.
  void system.spawn(counter);
  // @ts-expect-error The arguments are others.
  void system.spawn(counter, { args: { from: 'here' } });
  const base = { name: 'x', start: () => ({ n: 0 }) };
  defineActor({
    ...base,
    protocol: { one: tell(), two: tell() },
    // @ts-expect-error A handler is missing.
    on: { one() {} },
  });
  defineActor({
    ...base,
    protocol: { one: tell() },
    // @ts-expect-error A handler too many.
    on: { one() {}, three() {} },
  });
  defineActor({
    ...base,
    protocol: { one: ask({}, z.string()) },
    // @ts-expect-error An answer of another type.
    on: { one: () => 1 },
  });
  defineActor({
    ...base,
    protocol: { one: tell({ a: z.string() }) },
    // @ts-expect-error A handler for other fields.
    on: { one: (_state: { n: number }, message: { b: number }) => void message.b },
  });
  defineActor({
    ...base,
    protocol: { one: stream({}, z.string()) },
    on: {
      // @ts-expect-error Items of another type.
      async *one() {
        yield 1;
      },
    },
  });
  defineActor({
    name: 'x',
    protocol: { one: tell() },
    start: (ctx) => {
      // @ts-expect-error Timers tell what the actor is told.
      ctx.timers.after('t', 1, { kind: 'two' });
      // @ts-expect-error There is no such behaviour.
      ctx.become('elsewhere');
      return {};
    },
    on: { one() {} },
  });
}

test('what does not compile is looked at', () => {
  expect(doesNotCompile).toBeTypeOf('function');
});

test('a field can hold a ref, of a protocol', () => {
  const subscriber = { news: tell({ text: z.string() }) };
  const publisher = { subscribe: tell({ who: refTo<typeof subscriber>() }) };
  const definition = defineActor({
    name: 'publisher',
    protocol: publisher,
    start: () => ({}),
    on: {
      subscribe(_state, { who }) {
        expectTypeOf(who).toEqualTypeOf<ActorRef<typeof subscriber>>();
        who.tell({ kind: 'news', text: 'hello' });
      },
    },
  });
  expect(definition.name).toBe('publisher');
});
