import { describe, expect, test } from 'vitest';
import type { StoreError } from '../../../src/core/base/errors.ts';
import type { Args } from '../fixtures/actor.ts';
import { fixture, spawn } from '../support.ts';

const actor = (args: Args, options: { readonly startDeadlineMs?: number } = {}) =>
  spawn<{ thread: string }>({ name: 'fixture', module: fixture('actor'), args, ...options });

const errorOf = (promise: Promise<unknown>): Promise<StoreError> =>
  promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: StoreError) => error,
  );

test('an actor starts, tells of itself, answers, and stops; its thread then ends without a reason', async () => {
  const { thread, lines } = actor({});
  expect(await thread.start()).toEqual({ thread: 'actor' });
  expect(await thread.inspect()).toEqual({ fine: true });
  await thread.stop(2_000);
  await thread.stop(2_000);
  expect(await thread.ended).toBeUndefined();
  expect(lines).toEqual([{ level: 'info', event: 'actor.begins', fields: { actor: 'fixture', at: 1 } }]);
});

describe('a start that fails', () => {
  test('keeps the code, the text and the facts of a StoreError, and names the actor', async () => {
    const error = await errorOf(actor({ start: 'fail' }).thread.start());
    expect(error).toMatchObject({ name: 'StoreError', code: 'WAL_CORRUPT', message: 'a hole in wal-1' });
    expect(error.data).toEqual({ offset: 42, actor: 'fixture' });
  });

  test('keeps the facts of the system error behind it', async () => {
    const error = await errorOf(actor({ start: 'system-error' }).thread.start());
    expect(error.code).toBe('UNAVAILABLE');
    expect(error.cause).toMatchObject({ code: 'EADDRINUSE', syscall: 'listen', port: 7001 });
  });

  test('of any other kind is ACTOR_STOPPED with its text', async () => {
    const error = await errorOf(actor({ start: 'throw-plain' }).thread.start());
    expect(error.code).toBe('ACTOR_STOPPED');
    expect(error.message).toContain('just an error');
  });

  test('because there is no such module is typed, too', async () => {
    const { thread } = spawn({ module: fixture('no-such-module') });
    expect((await errorOf(thread.start())).code).toBe('ACTOR_STOPPED');
  });

  test('by never ending is given up at its deadline', async () => {
    const { thread } = actor({ start: 'never' }, { startDeadlineMs: 300 });
    expect((await errorOf(thread.start())).code).toBe('DEADLINE_EXCEEDED');
    await thread.stop(1_000);
  });
});

describe('a thread that dies settles everything that waits for it, at once', () => {
  test.each([
    ['its loop fails', 'throw-in-turn', 'DISK_FAILED', /fdatasync failed/],
    ['a timer throws', 'late-throw', 'ACTOR_STOPPED', /out of a timer/],
    ['a promise rejects', 'reject', 'ACTOR_STOPPED', /nobody waits/],
    ['it exits', 'exit', 'ACTOR_STOPPED', /code 3/],
  ] as const)('%s', async (_how, onInspect, code, message) => {
    const { thread } = actor({ onInspect });
    await thread.start();
    const startedAt = performance.now();
    // The first may be answered before the end; the others find the thread dead or dying.
    const calls = [thread.inspect(10_000), thread.inspect(10_000), thread.inspect(10_000)].map((call) =>
      call.catch((error: StoreError) => error.code),
    );
    const reason = await thread.ended;
    expect(reason).toMatchObject({ code, message: expect.stringMatching(message) });
    for (const result of await Promise.all(calls)) if (typeof result === 'string') expect(result).toBe(code);
    expect((await errorOf(thread.inspect(10_000))).code).toBe(code);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  test('and so does one that is stopped while a call is under way', async () => {
    const { thread } = actor({ onInspect: 'spin' });
    await thread.start();
    const call = errorOf(thread.inspect(20_000));
    await thread.stop(100);
    expect((await call).code).toBe('ACTOR_STOPPED');
  });
});

test('a call has a deadline; the thread lives on', async () => {
  const { thread } = actor({ onInspect: 'spin' });
  await thread.start();
  expect((await errorOf(thread.inspect(50))).code).toBe('DEADLINE_EXCEEDED');
});

test('a failure of a call is that call’s alone', async () => {
  const { thread } = actor({ onInspect: 'fail' });
  await thread.start();
  expect(await errorOf(thread.inspect())).toMatchObject({ code: 'BAD_REQUEST', message: 'do not look' });
  expect(await errorOf(thread.inspect())).toMatchObject({ code: 'BAD_REQUEST' });
});

describe('a stop', () => {
  test.each([
    ['that never ends', 'never'],
    ['that fails', 'fail'],
  ] as const)('%s is made good by force, and told', async (_how, onStop) => {
    const { thread, lines } = actor({ onStop });
    await thread.start();
    const startedAt = performance.now();
    await thread.stop(100);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    await thread.ended;
    expect(lines.some(({ event }) => event === 'actor.stop.forced')).toBe(true);
  });

  test('that is asked for twice at once ends both', async () => {
    const { thread } = actor({ onStop: 'never' });
    await thread.start();
    await Promise.all([thread.stop(100), thread.stop(100)]);
  });

  test('of a thread that is dead already ends at once', async () => {
    const { thread } = actor({ onInspect: 'exit' });
    await thread.start();
    await thread.inspect().catch(() => {});
    await thread.ended;
    const startedAt = performance.now();
    await thread.stop(10_000);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});

test('a call wakes the actor before it is made and lets it sleep after, also when it fails', async () => {
  const begun: string[] = [];
  const { thread } = spawn({
    module: fixture('actor'),
    args: { onInspect: 'fail' },
    control: { begin: () => begun.push('begin'), end: () => begun.push('end') },
  });
  await thread.start();
  await thread.inspect().catch(() => {});
  expect(begun).toEqual(['begin', 'end', 'begin', 'end']);
});
