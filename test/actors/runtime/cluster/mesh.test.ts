/** Refs between nodes: what is promised of a message to another node's actor, and of the border that it crosses. */
import { expect, test } from 'vitest';
import { z } from 'zod';
import { type ActorRef, ask, defineActor, tell } from '../../../../src/actors/runtime/index.ts';
import { MESSAGE_BYTES_MAX } from '../../../../src/actors/runtime/mesh/peer.ts';
import { ClusterWorld, type WorldOptions } from './cluster-world.ts';
import { farRef } from './far-ref.ts';

const echo = {
  say: ask({ value: z.unknown() }, z.unknown()),
  note: tell({ n: z.int() }),
  never: ask({}, z.string()),
  text: ask({ text: z.string() }, z.string()),
  picky: ask(
    {
      text: z.string().refine((text) => {
        if (text === 'throw') throw new Error('the schema threw');
        return true;
      }),
    },
    z.string(),
  ),
  fail: ask({}, z.string()),
  end: tell(),
};
type Echo = ActorRef<typeof echo>;

/** The echo of node 2, as node 1 has it: the ref came in a message, by an actor that both know. */
async function pair(
  schemas: typeof echo = echo,
  options: WorldOptions = {},
): Promise<{
  readonly at: ClusterWorld;
  readonly ref: Echo;
  readonly local: Echo;
  readonly notes: number[];
  readonly aborted: string[];
}> {
  const at = new ClusterWorld({ nodes: 2, ...options });
  const notes: number[] = [];
  const aborted: string[] = [];
  const definition = defineActor({
    name: 'echo',
    protocol: echo,
    start: () => ({}),
    on: {
      say: (_state, { value }) => value,
      note: (_state, { n }) => void notes.push(n),
      never: (_state, _message, { signal }) =>
        new Promise<string>((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            aborted.push((signal.reason as Error).message);
            reject(signal.reason as Error);
          });
        }),
      text: (_state, { text }) => text,
      picky: (_state, { text }) => text,
      fail: () => {
        throw new Error('a bug');
      },
      end: (_state, _message, ctx) => ctx.stop(),
    },
  });
  return { at, ...(await farRef(at, definition, schemas)), notes, aborted };
}

test('values come as they were, and answers too', async () => {
  const { at, ref } = await pair();
  expect(`${ref.path}#${ref.incarnation}`).toBe('n2:/echo#1');
  const value = {
    big: 2n ** 70n,
    bytes: new Uint8Array([1, 2, 255]),
    date: new Date(5),
    odd: [Number.NaN, Number.NEGATIVE_INFINITY, -0, null, undefined, 'ü'],
    map: new Map<unknown, unknown>([[{ a: 1 }, new Set([1n])]]),
    tricky: { $: 'bigint', v: 'x', ['__proto__']: 1 },
  };
  const back = await at.run(ref.ask({ kind: 'say', value }));
  expect(back).toEqual(value);
  expect(Object.getPrototypeOf((back as typeof value).tricky)).toBe(Object.prototype);
  await at.stop();
});

test('what cannot travel is told to who sends it', async () => {
  const { at, ref, local } = await pair();
  for (const value of [() => 1, Symbol('s'), new URL('http://a/'), local]) {
    await expect(at.run(ref.ask({ kind: 'say', value }))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  }
  const deep = { a: {} };
  let inner: { a: object } = deep;
  for (let i = 0; i < 100; i++) inner = inner.a = { a: {} };
  await expect(at.run(ref.ask({ kind: 'say', value: deep }))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  const text = 'x'.repeat(MESSAGE_BYTES_MAX);
  await expect(at.run(ref.ask({ kind: 'text', text }))).rejects.toMatchObject({ code: 'VALUE_TOO_LARGE' });
  await expect(at.run(ref.ask({ kind: 'picky', text: 'throw' }))).rejects.toMatchObject({ code: 'INTERNAL' });
  // What the compiler would have refused is refused by the receiving side.
  const wrong = { kind: 'text', text: 5 } as unknown as { kind: 'text'; text: string };
  await expect(at.run(ref.ask(wrong))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await at.stop();
});

test('what is no message of ours ends no node', async () => {
  const { at, ref } = await pair();
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  const batches = ['', '{', '[]', '{"session":"s","number":0,"frames":[{"frame":"say"}]}', '\u{10ffff}'];
  for (const batch of batches) at.node(1).actors.mesh.batch('n2', bytes(batch));
  at.node(1).actors.mesh.batch('n2', new Uint8Array([0xff, 0xfe]));
  const refused = at.node(1).lines.filter(({ event }) => event === 'actors.mesh.refused');
  expect(refused).toHaveLength(batches.length + 1);
  expect(await at.run(ref.ask({ kind: 'text', text: 'still here' }))).toBe('still here');
  await at.stop();
});

test('the connection breaks: who waits is told at once, the handler hears of it, and later messages arrive', async () => {
  const { at, ref, aborted } = await pair();
  const asked = ref.ask({ kind: 'never' }, { deadlineMs: 60_000 });
  const failed = expect(asked).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  await at.advance(50);
  const nowMs = at.clock.nowMs();
  at.cut(at.node(2));
  await failed;
  expect(at.clock.nowMs()).toBe(nowMs);
  await at.settle();
  expect(aborted).toHaveLength(1);
  // Away: nothing is kept for later.
  await expect(at.run(ref.ask({ kind: 'text', text: 'a' }))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(ref.tell({ kind: 'note', n: 1 })).toBe(false);
  at.heal(at.node(2));
  await at.advance(50);
  expect(await at.run(ref.ask({ kind: 'text', text: 'b' }))).toBe('b');
  await at.stop();
});

test('who gives up is heard: the handler is aborted, and a late answer is nobody’s', async () => {
  const { at, ref, aborted } = await pair();
  await expect(at.run(ref.ask({ kind: 'never' }, { deadlineMs: 100 }))).rejects.toMatchObject({
    code: 'DEADLINE_EXCEEDED',
  });
  await at.advance(50);
  expect(aborted).toHaveLength(1);
  expect(await at.run(ref.ask({ kind: 'text', text: 'next' }))).toBe('next');
  await at.stop();
});

test('an actor that ends tells its watchers on other nodes, and who asks it', async () => {
  const { at, ref } = await pair();
  const ends: string[] = [];
  at.node(1).actors.watch(ref, ({ path, reason }) => void ends.push(`${path} ${reason.kind}`));
  await expect(at.run(ref.ask({ kind: 'fail' }))).rejects.toMatchObject({ code: 'ACTOR_STOPPED' });
  await at.advance(50);
  expect(ends).toEqual(['n2:/echo failed']);
  await expect(at.run(ref.ask({ kind: 'text', text: 'x' }))).rejects.toMatchObject({ code: 'ACTOR_STOPPED' });
  await at.stop();
});

test('a flood is refused where it is made: what is under way is bounded, and comes in order', async () => {
  const { at, ref, notes } = await pair();
  let taken = 0;
  for (let n = 0; n < 5_000; n++) if (ref.tell({ kind: 'note', n })) taken++;
  expect(taken).toBe(1_024);
  expect(at.node(1).actors.deadLetters.counts.full).toBe(5_000 - taken);
  await expect(at.run(ref.ask({ kind: 'text', text: 'x' }))).rejects.toMatchObject({ code: 'OVERLOADED' });
  await at.advance(1_000);
  expect(notes).toEqual(Array.from({ length: 1_024 }, (_, n) => n));
  // There is room again.
  expect(await at.run(ref.ask({ kind: 'text', text: 'x' }))).toBe('x');
  await at.stop();
});

test('an answer that the asker’s protocol does not have is not given', async () => {
  // The asker's version of the protocol is another than the actor's.
  const { at, ref } = await pair({ ...echo, text: ask({ text: z.string() }, z.string().max(3)) });
  expect(await at.run(ref.ask({ kind: 'text', text: 'abc' }))).toBe('abc');
  await expect(at.run(ref.ask({ kind: 'text', text: 'abcd' }))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await at.stop();
});

test('an actor is stopped, and killed, from another node: as by its own', async () => {
  const { at, ref, notes } = await pair();
  const ends: string[] = [];
  at.node(2).actors.watch(ref, ({ reason }) => void ends.push(reason.kind));
  for (let n = 0; n < 5; n++) ref.tell({ kind: 'note', n });
  // What was told before is handled before.
  await at.run(ref.stop());
  expect([notes, ends]).toEqual([[0, 1, 2, 3, 4], ['stopped']]);
  await at.run(ref.stop());
  await expect(at.run(ref.ask({ kind: 'text', text: 'x' }))).rejects.toMatchObject({ code: 'ACTOR_STOPPED' });
  await at.stop();

  const other = await pair();
  const asked = other.ref.ask({ kind: 'never' });
  const failed = expect(other.at.run(asked)).rejects.toMatchObject({ code: 'ACTOR_STOPPED' });
  other.at.node(1).actors.watch(other.ref, ({ reason }) => void ends.push(reason.kind));
  other.ref.kill();
  await failed;
  expect(ends).toEqual(['stopped', 'stopped']);
  await other.at.stop();
});

test('a stop that the connection took may have happened; out of reach nothing is said', async () => {
  const { at, ref } = await pair();
  const asked = at.run(ref.ask({ kind: 'never' }, { deadlineMs: 60_000 })).catch((error: unknown) => error);
  const stopping = expect(at.run(ref.stop({ deadlineMs: 30_000 }))).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  await at.advance(50);
  at.cut(at.node(2));
  await stopping;
  await asked;
  await expect(at.run(ref.stop())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(() => ref.kill()).toThrow('n2 is out of reach');
  await at.stop();
});

test('a node of an older version is sent nothing that it cannot read, and the rest goes on', async () => {
  const { at, ref } = await pair(echo, { old: 'n2' });
  expect(await at.run(ref.ask({ kind: 'text', text: 'a' }))).toBe('a');
  const relay = defineActor({
    name: 'relay',
    protocol: { go: ask({}, z.string()) },
    start: () => ({}),
    // Somebody waits for this one: an older node is not told who.
    on: { go: () => ref.ask({ kind: 'text', text: 'b' }) },
  });
  const own = await at.run(at.node(1).actors.spawn(relay));
  expect(await at.run(own.ask({ kind: 'go' }))).toBe('b');
  await expect(at.run(ref.stop())).rejects.toMatchObject({ code: 'UPGRADE_PENDING' });
  expect(() => ref.kill()).toThrow('n2 runs a version without kills between nodes');
  await at.stop();
});
