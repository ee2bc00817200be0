/** What happens at a mailbox's bound, and in what order messages come. */
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ask, defineActor, tell } from '../../../../src/actors/runtime/index.ts';
import type { MailboxOptions } from '../../../../src/actors/runtime/core/types.ts';
import { createTestSystem, errorOf, gate } from './support.ts';

/** An actor that is held by a gate with its first message, and notes what it is told. */
function slow(mailbox: MailboxOptions) {
  const hold = gate();
  const seen: (number | string)[] = [];
  const definition = defineActor({
    name: 'slow',
    protocol: {
      hold: tell(),
      note: tell({ n: z.int() }),
      text: tell({ text: z.string() }),
      get: ask({ n: z.int() }, z.int()),
    },
    mailbox,
    start: () => ({}),
    on: {
      hold: () => hold.promise,
      note: (_state, { n }) => void seen.push(n),
      text: (_state, { text }) => void seen.push(text.length),
      get: (_state, { n }) => {
        seen.push(n);
        return n * 10;
      },
    },
  });
  return { definition, hold, seen };
}

const turns = async (count = 5): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

test('messages come one at a time and in order, through more than one slice and budget', async () => {
  const { system } = createTestSystem();
  const { definition, seen, hold } = slow({ messagesMax: 10_000 });
  const ref = await system.spawn(definition);
  hold.open();
  for (let n = 0; n < 5_000; n++) expect(ref.tell({ kind: 'note', n })).toBe(true);
  expect(await ref.ask({ kind: 'get', n: 5_000 })).toBe(50_000);
  expect(seen).toEqual(Array.from({ length: 5_001 }, (_, n) => n));
  expect(await system.inspect()).toMatchObject([{ mailbox: 0, mailboxMost: 5_001 }]);
});

test('two actors that tell each other for ever leave the event loop its turns', async () => {
  const { system } = createTestSystem();
  let count = 0;
  let isOver = false;
  const ball = tell();
  const player = defineActor({
    name: 'player',
    protocol: { ball },
    start: () => ({}),
    on: {
      ball(_state, _message, ctx) {
        count++;
        if (!isOver) ctx.self.tell({ kind: 'ball' });
      },
    },
  });
  (await system.spawn(player)).tell({ kind: 'ball' });
  await turns(3);
  isOver = true;
  expect(count).toBeGreaterThan(1_000);
});

describe('a full mailbox', () => {
  test('refuses: tell says no, ask and send fail, and each is a dead letter', async () => {
    const { system } = createTestSystem();
    const { definition, seen, hold } = slow({ messagesMax: 2, policy: 'refuse' });
    const ref = await system.spawn(definition);
    ref.tell({ kind: 'hold' });
    await turns();
    expect([1, 2, 3].map((n) => ref.tell({ kind: 'note', n }))).toEqual([true, true, false]);
    expect((await errorOf(ref.ask({ kind: 'get', n: 4 }))).code).toBe('OVERLOADED');
    expect((await errorOf(ref.send({ kind: 'note', n: 5 }))).code).toBe('OVERLOADED');
    expect(system.deadLetters.counts.full).toBe(3);
    hold.open();
    await turns();
    expect(seen).toEqual([1, 2]);
  });

  test('waits: asks and sends stand in line, in order; a tell cannot overtake them', async () => {
    const { system } = createTestSystem();
    const { definition, seen, hold } = slow({ messagesMax: 2, policy: 'wait' });
    const ref = await system.spawn(definition);
    ref.tell({ kind: 'hold' });
    await turns();
    ref.tell({ kind: 'note', n: 1 });
    ref.tell({ kind: 'note', n: 2 });
    const sent = ref.send({ kind: 'note', n: 3 });
    const asked = ref.ask({ kind: 'get', n: 4 });
    expect(ref.tell({ kind: 'note', n: 5 })).toBe(false);
    // The line is as long as the mailbox.
    expect((await errorOf(ref.send({ kind: 'note', n: 6 }))).code).toBe('OVERLOADED');
    hold.open();
    await sent;
    expect(await asked).toBe(40);
    expect(seen).toEqual([1, 2, 3, 4]);
  });

  test('one in line who gives up is passed over', async () => {
    const { system } = createTestSystem();
    const { definition, seen, hold } = slow({ messagesMax: 1 });
    const ref = await system.spawn(definition);
    ref.tell({ kind: 'hold' });
    await turns();
    ref.tell({ kind: 'note', n: 1 });
    const abort = new AbortController();
    const first = errorOf(ref.send({ kind: 'note', n: 2 }, { signal: abort.signal }));
    abort.abort();
    expect((await first).code).toBe('CANCELLED');
    const second = ref.send({ kind: 'note', n: 3 });
    // The line holds one: who gave up still stands in it, until it moves.
    expect((await errorOf(second)).code).toBe('OVERLOADED');
    hold.open();
    await turns();
    await ref.ask({ kind: 'get', n: 4 });
    expect(seen).toEqual([1, 4]);
    expect(system.deadLetters.counts['given-up']).toBe(1);
  });

  test('lets the oldest go: its asker is told', async () => {
    const { system } = createTestSystem();
    const { definition, seen, hold } = slow({ messagesMax: 2, policy: 'drop-oldest' });
    const ref = await system.spawn(definition);
    ref.tell({ kind: 'hold' });
    await turns();
    const lost = errorOf(ref.ask({ kind: 'get', n: 1 }));
    expect([2, 3, 4].map((n) => ref.tell({ kind: 'note', n }))).toEqual([true, true, true]);
    expect((await lost).code).toBe('OVERLOADED');
    hold.open();
    await turns();
    expect(seen).toEqual([3, 4]);
    expect(system.deadLetters.counts.dropped).toBe(2);
  });

  test('counts bytes too, and takes nothing larger than itself', async () => {
    const { system } = createTestSystem();
    const { definition, seen, hold } = slow({ bytesMax: 10_000 });
    const ref = await system.spawn(definition);
    ref.tell({ kind: 'hold' });
    await turns();
    const text = 'x'.repeat(4_000);
    expect([1, 2, 3].map(() => ref.tell({ kind: 'text', text }))).toEqual([true, true, false]);
    const error = await errorOf(ref.send({ kind: 'text', text: 'x'.repeat(20_000) }));
    expect(error.code).toBe('VALUE_TOO_LARGE');
    hold.open();
    await turns();
    expect(seen).toEqual([4_000, 4_000]);
    expect(system.deadLetters.counts).toMatchObject({ full: 1, 'too-large': 1 });
  });
});

test('a flood of dead letters becomes ten lines, and later one that counts', async () => {
  let nowMs = 0;
  const clock = { nowMs: () => nowMs, after: () => () => {} };
  const { system, lines } = createTestSystem({}, { clock });
  const { definition } = slow({ messagesMax: 1, policy: 'refuse' });
  const ref = await system.spawn(definition);
  ref.tell({ kind: 'hold' });
  for (let n = 0; n < 1_000; n++) ref.tell({ kind: 'note', n });
  expect(lines.filter(({ event }) => event === 'actor.dead-letter')).toHaveLength(10);
  nowMs = 400_000;
  ref.tell({ kind: 'note', n: 1 });
  expect(lines.find(({ event }) => event === 'actor.dead-letters')?.fields).toMatchObject({
    full: 1_001,
    unlogged: 990,
  });
  ref.kill();
});
