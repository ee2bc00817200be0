/** One actor's life: how it starts, answers, waits, changes, and ends. */
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  ask,
  deliver,
  defineActor,
  parseReply,
  stream,
  StoreError,
  tell,
} from '../../../../src/actors/runtime/index.ts';
import { createTestSystem, errorOf, gate } from './support.ts';

const protocol = {
  note: tell({ what: z.string() }),
  notes: ask({}, z.array(z.string())),
  wait: ask({}, z.string()),
  fail: ask({ how: z.enum(['expected', 'bug', 'late-bug']) }, z.string()),
  hold: tell(),
  end: tell(),
  crash: tell(),
  lock: tell(),
  unlock: tell(),
  later: tell({ ms: z.int() }),
  trace: ask({}, z.string().optional()),
  count: stream({ to: z.int(), how: z.enum(['end', 'expected', 'bug', 'hang']) }, z.int()),
};

/** An actor that does what it is told, and a record of what it did. */
function actor() {
  const log: string[] = [];
  const hold = gate();
  const definition = defineActor({
    name: 'actor',
    protocol,
    start: (ctx) => {
      log.push(`start ${ctx.incarnation}`);
      return { notes: [] as string[] };
    },
    on: {
      note: (state, { what }) => void state.notes.push(what),
      notes: (state) => [...state.notes],
      async wait(_state, _message, ctx) {
        const { signal } = ctx;
        return new Promise<string>((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            log.push(`aborted ${(signal.reason as StoreError).code}`);
            reject(signal.reason as Error);
          });
        });
      },
      async fail(_state, { how }) {
        if (how === 'expected') throw new StoreError('READ_ONLY', 'not here', { data: { why: 1 } });
        if (how === 'late-bug') await Promise.resolve();
        throw new TypeError('oops');
      },
      hold: () => hold.promise,
      end: (_state, _message, ctx) => ctx.stop(),
      crash: () => {
        throw new Error('crashed');
      },
      lock: (_state, _message, ctx) => ctx.become('locked'),
      unlock: () => {},
      later: (_state, { ms }, ctx) => {
        ctx.timers.after('a', ms, { kind: 'note', what: 'replaced' });
        ctx.timers.after('a', ms, { kind: 'note', what: 'later' });
        ctx.timers.every('b', ms, { kind: 'note', what: 'tick' });
      },
      trace: (_state, _message, ctx) => ctx.trace,
      async *count(_state, { to, how }, _ctx, signal) {
        try {
          for (let i = 1; i <= to; i++) {
            log.push(`made ${i}`);
            yield i;
          }
          if (how === 'expected') throw new StoreError('COMPACTED', 'gone');
          if (how === 'bug') throw new TypeError('oops');
          if (how === 'hang')
            await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
        } finally {
          log.push('closed');
        }
      },
    },
    behaviours: {
      locked: {
        note: (_state, _message, ctx) => ctx.stash(),
        notes: (_state, _message, ctx) => ctx.stash(),
        unlock: (_state, _message, ctx) => {
          ctx.become('on');
          ctx.unstash();
        },
      },
    },
    stop: (_state, reason) => void log.push(`stop ${reason.kind}`),
  });
  return { definition, log, hold };
}

const turns = async (count = 5): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

describe('an ask', () => {
  test('is answered with what its handler throws, if that is a StoreError, and the actor lives', async () => {
    const { system } = createTestSystem();
    const ref = await system.spawn(actor().definition);
    expect(await errorOf(ref.ask({ kind: 'fail', how: 'expected' }))).toMatchObject({
      code: 'READ_ONLY',
      data: { why: 1 },
    });
    expect(await ref.ask({ kind: 'notes' })).toEqual([]);
  });

  test.each(['bug', 'late-bug'] as const)(
    'fails with ACTOR_STOPPED and the cause when its handler has a %s',
    async (how) => {
      const { system } = createTestSystem();
      const { definition, log } = actor();
      const ref = await system.spawn(definition, { restart: 'temporary' });
      const behind = errorOf(ref.ask({ kind: 'notes' }));
      const error = await errorOf(ref.ask({ kind: 'fail', how }));
      expect(error).toMatchObject({ code: 'ACTOR_STOPPED', cause: { message: 'oops' } });
      await behind.catch(() => {});
      expect((await errorOf(ref.ask({ kind: 'notes' }))).code).toBe('ACTOR_STOPPED');
      await turns();
      expect(log).toEqual(['start 1', 'stop failed']);
    },
  );

  test('has a deadline; its handler is told, and the next message has its turn', async () => {
    const { system } = createTestSystem();
    const { definition, log } = actor();
    const ref = await system.spawn(definition);
    const next = ref.ask({ kind: 'notes' });
    const error = await errorOf(ref.ask({ kind: 'wait' }, { deadlineMs: 10 }));
    expect(error.code).toBe('DEADLINE_EXCEEDED');
    expect(await next).toEqual([]);
    expect(await ref.ask({ kind: 'notes' })).toEqual([]);
    expect(log).toEqual(['start 1', 'aborted DEADLINE_EXCEEDED']);
    expect(() => void ref.ask({ kind: 'notes' }, { deadlineMs: Number.POSITIVE_INFINITY })).toThrow(/deadlineMs/);
  });

  test('can be cancelled: before its turn it is never handled', async () => {
    const { system } = createTestSystem();
    const { definition, hold } = actor();
    const ref = await system.spawn(definition);
    ref.tell({ kind: 'hold' });
    const abort = new AbortController();
    const asked = errorOf(ref.ask({ kind: 'notes' }, { signal: abort.signal }));
    abort.abort(new Error('enough'));
    expect(await asked).toMatchObject({ code: 'CANCELLED', cause: { message: 'enough' } });
    expect((await errorOf(ref.ask({ kind: 'notes' }, { signal: abort.signal }))).code).toBe('CANCELLED');
    hold.open();
    await ref.ask({ kind: 'notes' });
    expect(system.deadLetters.counts['given-up']).toBe(1);
  });

  test('whose asker gave up and that is answered all the same is a dead letter', async () => {
    const { system } = createTestSystem();
    const hold = gate();
    const deaf = defineActor({
      name: 'deaf',
      protocol: { wait: ask({}, z.int()) },
      start: () => ({}),
      on: { wait: () => hold.promise.then(() => 1) },
    });
    const ref = await system.spawn(deaf);
    await errorOf(ref.ask({ kind: 'wait' }, { deadlineMs: 5 }));
    hold.open();
    await turns();
    expect(system.deadLetters.counts['late-answer']).toBe(1);
  });

  test('fails at once when the actor ends, in hand or waiting', async () => {
    const { system } = createTestSystem();
    const { definition } = actor();
    const ref = await system.spawn(definition);
    const asked = [
      ref.ask({ kind: 'wait' }),
      ref.ask({ kind: 'notes' }),
      ref.send({ kind: 'end' }).then(() => ref.ask({ kind: 'notes' })),
    ].map(errorOf);
    await turns();
    ref.kill();
    for (const error of await Promise.all(asked)) expect(error.code).toBe('ACTOR_STOPPED');
  });
});

describe('a stop', () => {
  test('handles what waits, then releases; nothing new is taken', async () => {
    const { system } = createTestSystem();
    const { definition, log, hold } = actor();
    const ref = await system.spawn(definition);
    ref.tell({ kind: 'hold' });
    const waiting = ref.ask({ kind: 'notes' });
    const stopped = ref.stop();
    expect(ref.tell({ kind: 'note', what: 'late' })).toBe(false);
    hold.open();
    expect(await waiting).toEqual([]);
    await stopped;
    await ref.stop();
    expect(log).toEqual(['start 1', 'stop stopped']);
    expect(system.actors).toBe(0);
  });

  test('without drain makes dead letters of what waits', async () => {
    const { system } = createTestSystem();
    const { definition, hold } = actor();
    const ref = await system.spawn(definition);
    ref.tell({ kind: 'hold' });
    await turns();
    const waiting = errorOf(ref.ask({ kind: 'notes' }));
    const stopped = ref.stop({ drain: false });
    expect((await waiting).code).toBe('ACTOR_STOPPED');
    hold.open();
    await stopped;
    expect(system.deadLetters.counts.stopped).toBe(1);
  });

  test('that takes too long becomes a kill', async () => {
    const { system } = createTestSystem();
    const { definition, log } = actor();
    const ref = await system.spawn(definition);
    ref.tell({ kind: 'hold' });
    await turns();
    await ref.stop({ deadlineMs: 10 });
    expect(log).toEqual(['start 1']);
  });

  test('during the start waits for it', async () => {
    const { system } = createTestSystem();
    const hold = gate();
    const log: string[] = [];
    const definition = defineActor({
      name: 'late',
      protocol: { a: tell() },
      start: async () => {
        await hold.promise;
        return {};
      },
      on: { a() {} },
      stop: () => void log.push('released'),
    });
    const spawned = errorOf(system.spawn(definition));
    const stopped = system.stop();
    hold.open();
    await stopped;
    await spawned.catch(() => {});
    expect(log).toEqual(['released']);
    expect((await errorOf(system.spawn(definition))).code).toBe('ACTOR_STOPPED');
  });

  test('of oneself ends after the message in hand', async () => {
    const { system } = createTestSystem();
    const { definition, log } = actor();
    const ref = await system.spawn(definition);
    ref.tell({ kind: 'end' });
    const behind = errorOf(ref.ask({ kind: 'notes' }));
    expect((await behind).code).toBe('ACTOR_STOPPED');
    await turns();
    expect(log).toEqual(['start 1', 'stop done']);
    expect(system.actors).toBe(0);
  });
});

test('a start that throws fails the spawn and leaves nothing; one that hangs is given up', async () => {
  const { system } = createTestSystem();
  const released: string[] = [];
  const hold = gate();
  const definition = defineActor({
    name: 'starts',
    protocol: { a: tell() },
    start: async (_ctx, how: 'throws' | 'hangs') => {
      if (how === 'throws') throw new StoreError('DISK_FAILED', 'no disk');
      await hold.promise;
      return {};
    },
    on: { a() {} },
    stop: () => void released.push('late'),
  });
  expect((await errorOf(system.spawn(definition, { args: 'throws' }))).code).toBe('DISK_FAILED');
  expect((await errorOf(system.spawn(definition, { args: 'hangs', startDeadlineMs: 5 }))).code).toBe(
    'DEADLINE_EXCEEDED',
  );
  expect(system.actors).toBe(0);
  hold.open();
  await turns();
  expect(released).toEqual(['late']);
});

test('a watcher hears of an end once, with its reason; of one that has ended, at once', async () => {
  const { system } = createTestSystem();
  const { definition } = actor();
  const heard: string[] = [];
  const watcher = defineActor({
    name: 'watcher',
    protocol: { gone: tell({ what: z.string() }), heard: ask({}, z.int()) },
    start: () => ({}),
    on: { gone: (_state, { what }) => void heard.push(what), heard: () => heard.length },
  });
  const ref = await system.spawn(definition, { name: 'victim', restart: 'temporary' });
  system.watch(ref, ({ path, incarnation, reason }) => heard.push(`${path}#${incarnation} ${reason.kind}`));
  const unwatch = system.watch(ref, () => heard.push('never'));
  unwatch();
  ref.tell({ kind: 'crash' });
  await turns();
  system.watch(ref, ({ reason }) => heard.push(`after: ${reason.kind}`));
  expect(heard).toEqual(['/victim#1 failed', 'after: failed']);
  await system.spawn(watcher);
});

test('one actor watches another: the notice comes before waiting messages', async () => {
  const { system } = createTestSystem();
  const { definition } = actor();
  const hold = gate();
  const victim = await system.spawn(definition, { restart: 'temporary' });
  const seen: string[] = [];
  const watcher = defineActor({
    name: 'watcher',
    protocol: { hold: tell(), gone: tell({ why: z.string() }), note: tell({ what: z.string() }) },
    start: (ctx) => {
      ctx.watch(victim, ({ reason }) => ({ kind: 'gone', why: reason.kind }));
      return {};
    },
    on: {
      hold: () => hold.promise,
      gone: (_state, { why }) => void seen.push(`gone: ${why}`),
      note: (_state, { what }) => void seen.push(what),
    },
  });
  const ref = await system.spawn(watcher);
  ref.tell({ kind: 'hold' });
  ref.tell({ kind: 'note', what: 'first' });
  await turns();
  victim.kill();
  await turns();
  hold.open();
  await turns();
  expect(seen).toEqual(['gone: killed', 'first']);
});

test('become and stash: what is put aside comes back in order, before what waits', async () => {
  const { system } = createTestSystem();
  const ref = await system.spawn(actor().definition);
  ref.tell({ kind: 'lock' });
  ref.tell({ kind: 'note', what: 'a' });
  ref.tell({ kind: 'note', what: 'b' });
  const notes = ref.ask({ kind: 'notes' });
  await turns();
  ref.tell({ kind: 'unlock' });
  ref.tell({ kind: 'note', what: 'c' });
  expect(await notes).toEqual(['a', 'b']);
  expect(await ref.ask({ kind: 'notes' })).toEqual(['a', 'b', 'c']);
});

test('a stash has a bound: an asker is told, a tell is a dead letter', async () => {
  const { system } = createTestSystem();
  const hoarder = defineActor({
    name: 'hoarder',
    protocol: { a: tell(), b: ask({}, z.int()) },
    mailbox: { messagesMax: 2 },
    start: () => ({}),
    on: { a: (_state, _message, ctx) => ctx.stash(), b: (_state, _message, ctx) => ctx.stash() },
  });
  const ref = await system.spawn(hoarder);
  for (let i = 0; i < 3; i++) await ref.send({ kind: 'a' });
  expect((await errorOf(ref.ask({ kind: 'b' }))).code).toBe('OVERLOADED');
  expect(system.deadLetters.counts['stash-full']).toBe(2);
});

test('timers: by name, replaced, repeated, and gone with the incarnation', async () => {
  let now = 0;
  const pending: { at: number; call: () => void }[] = [];
  const clock = {
    nowMs: () => now,
    after: (ms: number, call: () => void) => {
      const timer = { at: now + ms, call };
      pending.push(timer);
      return () => void pending.splice(pending.indexOf(timer), pending.includes(timer) ? 1 : 0);
    },
  };
  const advance = async (ms: number): Promise<void> => {
    now += ms;
    for (const timer of pending.filter(({ at }) => at <= now)) {
      pending.splice(pending.indexOf(timer), 1);
      timer.call();
    }
    await turns();
  };
  const { system } = createTestSystem({}, { clock });
  const ref = await system.spawn(actor().definition, { restart: 'temporary' });
  ref.tell({ kind: 'later', ms: 100 });
  await turns();
  await advance(100);
  await advance(100);
  const asked = ref.ask({ kind: 'notes' });
  expect(await asked).toEqual(['later', 'tick', 'tick']);
  ref.kill();
  await turns();
  // What is left is the watchdog's.
  expect(pending).toHaveLength(1);
});

describe('a stream', () => {
  test('gives items as they are wanted, ends, and fails as its handler does', async () => {
    const { system } = createTestSystem();
    const { definition, log } = actor();
    const ref = await system.spawn(definition);
    const items = ref.stream({ kind: 'count', to: 100, how: 'expected' }, { window: 2 });
    await turns();
    expect(log).toEqual(['start 1']);
    expect(await items.next()).toEqual({ done: false, value: 1 });
    await turns();
    // The one taken, and the window.
    expect(log).toEqual(['start 1', 'made 1', 'made 2', 'made 3']);
    let last = 0;
    const error = await errorOf(
      (async () => {
        for await (const item of items) last = item;
      })(),
    );
    expect([last, error.code]).toEqual([100, 'COMPACTED']);
    // Others were served all the while.
    expect(await ref.ask({ kind: 'notes' })).toEqual([]);
  });

  test('that its taker leaves is closed', async () => {
    const { system } = createTestSystem();
    const { definition, log } = actor();
    const ref = await system.spawn(definition);
    for await (const item of ref.stream({ kind: 'count', to: 100, how: 'end' }, { window: 1 })) if (item === 2) break;
    await turns();
    expect(log.at(-1)).toBe('closed');
    const abort = new AbortController();
    const hanging = ref.stream({ kind: 'count', to: 0, how: 'hang' }, { signal: abort.signal });
    const next = errorOf(hanging.next());
    await turns();
    abort.abort();
    expect((await next).code).toBe('CANCELLED');
    await turns();
    expect(log.at(-1)).toBe('closed');
    expect(await ref.ask({ kind: 'notes' })).toEqual([]);
  });

  test('fails when the actor ends; a bug in it ends the actor', async () => {
    const { system } = createTestSystem();
    const { definition, log } = actor();
    const ref = await system.spawn(definition, { restart: 'temporary' });
    const hanging = errorOf(ref.stream({ kind: 'count', to: 0, how: 'hang' }).next());
    await turns();
    expect((await errorOf(ref.stream({ kind: 'count', to: 0, how: 'bug' }).next())).code).toBe('ACTOR_STOPPED');
    expect((await hanging).code).toBe('ACTOR_STOPPED');
    await turns();
    expect(log).toContain('stop failed');
  });
});

test('a message carries its trace', async () => {
  const { system } = createTestSystem();
  const ref = await system.spawn(actor().definition);
  expect(await ref.ask({ kind: 'trace' }, { trace: '00-ab-cd-01' })).toBe('00-ab-cd-01');
  expect(await ref.ask({ kind: 'trace' })).toBeUndefined();
});

test('messages of strangers are parsed, and what is wrong with them is said', async () => {
  const { system } = createTestSystem();
  const ref = await system.spawn(actor().definition);
  expect(await deliver(ref, protocol, { kind: 'note', what: 'x' })).toBe(true);
  expect(await deliver(ref, protocol, JSON.parse('{"kind":"notes"}'))).toEqual(['x']);
  for (const bad of [
    { kind: 'note' },
    { kind: 'note', what: 1 },
    { kind: 'note', what: 'x', more: 1 },
    { kind: 'toString' },
    null,
    7,
    { kind: 'count', to: 1, how: 'end' },
  ]) {
    expect((await errorOf(deliver(ref, protocol, bad))).code).toBe('BAD_REQUEST');
  }
  expect(parseReply(protocol, 'notes', ['a'])).toEqual(['a']);
  expect(() => parseReply(protocol, 'notes', [1])).toThrow(/notes/);
});

test('a listener that throws harms nobody but itself, and is logged', async () => {
  const { system, lines } = createTestSystem();
  const ref = await system.spawn(actor().definition, { restart: 'temporary' });
  const heard: string[] = [];
  system.watch(ref, () => {
    throw new Error('a bad listener');
  });
  system.watch(ref, ({ path }) => heard.push(path));
  system.deadLetters.subscribe(() => {
    throw new Error('another');
  });
  await ref.stop();
  expect(ref.tell({ kind: 'note', what: 'x' })).toBe(false);
  expect(heard).toEqual(['/actor-1']);
  expect(lines.map(({ event }) => event)).toEqual(
    expect.arrayContaining(['actor.watcher.failed', 'actor.dead-letters.listener']),
  );
});

test('a promise of a library is waited for like any other', async () => {
  const { system } = createTestSystem();
  const order: string[] = [];
  const foreign = defineActor({
    name: 'foreign',
    protocol: { slow: ask({}, z.string()), quick: ask({}, z.string()) },
    start: () => ({}),
    on: {
      slow: () => {
        const promise = new Promise<string>((resolve) => setTimeout(() => resolve('slow'), 5));
        const thenable = { then: promise.then.bind(promise) };
        return thenable as unknown as Promise<string>;
      },
      quick: () => 'quick',
    },
  });
  const ref = await system.spawn(foreign);
  await Promise.all(
    [ref.ask({ kind: 'slow' }), ref.ask({ kind: 'quick' })].map(async (asked) => order.push(await asked)),
  );
  expect(order).toEqual(['slow', 'quick']);
});
