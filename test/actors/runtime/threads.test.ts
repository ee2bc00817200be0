/** Actors in other threads: the same as here, and what becomes of them when their thread goes. */
import { threadId } from 'node:worker_threads';
import { describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import {
  type ActorRef,
  type ActorSystem,
  createSystem,
  defineActor,
  refTo,
  stream,
  type SystemOptions,
  tell,
} from '../../../src/actors/runtime/index.ts';
import { errorOf, type Line } from './core/support.ts';
import {
  type CollectorProtocol,
  type ListenerProtocol,
  native,
  worker,
  type WorkerProtocol,
} from './fixtures/worker-actors.ts';

function system(options: SystemOptions = {}): { readonly system: ActorSystem; readonly lines: Line[] } {
  const lines: Line[] = [];
  const log = (level: string, event: string, fields: Record<string, unknown> = {}) =>
    void lines.push({ level, event, fields });
  const made = createSystem({ log, ...options, supervise: { backoffMinMs: 1, ...options.supervise } });
  onTestFinished(() => made.stop());
  return { system: made, lines };
}

const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
};

test('messages, answers, bytes, traces and streams cross threads; order stays', async () => {
  const { system: actors } = system();
  const ref = await actors.spawn(worker, { thread: 'own', name: 'w' });
  const where = await ref.ask({ kind: 'where' }, { trace: '00-a-b-01' });
  expect(where).toMatchObject({ incarnation: 1, trace: '00-a-b-01' });
  expect(where.thread).not.toBe(threadId);
  for (let n = 0; n < 3_000; n++) await ref.send({ kind: 'note', n });
  expect(await ref.ask({ kind: 'notes' })).toEqual(Array.from({ length: 3_000 }, (_, n) => n));
  const bytes = new Uint8Array([1, 2, 3]);
  expect(await ref.ask({ kind: 'bytes', bytes })).toEqual(new Uint8Array([2, 3, 4]));
  expect(await ref.ask({ kind: 'bytes', bytes }, { transfer: [bytes.buffer] })).toEqual(new Uint8Array([2, 3, 4]));
  expect(bytes.length).toBe(0);
  let sum = 0;
  for await (const item of ref.stream({ kind: 'count', to: 500 }, { window: 4 })) sum += item;
  expect(sum).toBe(125_250);
  const [report] = await actors.inspect();
  expect(report).toMatchObject({ path: '/w', name: 'worker', thread: '/w', phase: 'running', children: [] });
  expect(report?.handled).toBeGreaterThan(3_000);
});

test('dead letters of another thread are counted here too, also when it ends', async () => {
  const { system: actors } = system();
  const ref = await actors.spawn(worker, { thread: 'own' });
  const giveUp = async (): Promise<void> => {
    const leave = new AbortController();
    const asked = errorOf(ref.ask({ kind: 'where' }, { signal: leave.signal }));
    // In the same turn: both are there together.
    leave.abort();
    expect((await asked).code).toBe('CANCELLED');
  };
  for (let i = 0; i < 3; i++) await giveUp();
  await until(() => actors.deadLetters.counts['given-up'] === 3);
  await giveUp();
  await ref.stop();
  await until(() => actors.deadLetters.counts['given-up'] === 4);
  expect(actors.deadLetters.total).toBe(4);
});

test('a burst beyond the bounds is refused here, not piled up there; what was taken is handled', async () => {
  const { system: actors } = system();
  const ref = await actors.spawn(worker, { thread: 'own' });
  let taken = 0;
  for (let n = 0; n < 20_000; n++) if (ref.tell({ kind: 'note', n })) taken++;
  // The mailbox here, and as much under way.
  expect(taken).toBe(2_048);
  expect(actors.deadLetters.counts.full).toBe(20_000 - 2_048);
  expect((await ref.ask({ kind: 'notes' })).length).toBe(2_048);
});

test('failures keep their code and facts, and cancelling reaches the handler', async () => {
  const { system: actors } = system();
  const ref = await actors.spawn(worker, { thread: 'own' });
  expect(await errorOf(ref.ask({ kind: 'fail', how: 'expected' }))).toMatchObject({
    code: 'READ_ONLY',
    message: 'not here',
    data: { why: 1 },
  });
  expect((await errorOf(ref.ask({ kind: 'wait' }, { deadlineMs: 30 }))).code).toBe('DEADLINE_EXCEEDED');
  const abort = new AbortController();
  const waiting = errorOf(ref.ask({ kind: 'wait' }, { signal: abort.signal }));
  await new Promise((resolve) => setTimeout(resolve, 20));
  abort.abort();
  expect((await waiting).code).toBe('CANCELLED');
  expect(await ref.ask({ kind: 'aborted' })).toEqual(['DEADLINE_EXCEEDED', 'CANCELLED']);
});

test('what cannot be cloned is told to who said it, and nothing else of that turn is lost', async () => {
  const { system: actors } = system();
  const ref = await actors.spawn(worker, { thread: 'own' });
  const bad = { kind: 'bytes', bytes: () => {} } as unknown as { kind: 'bytes'; bytes: Uint8Array };
  ref.tell({ kind: 'note', n: 1 });
  const refused = errorOf(ref.ask(bad));
  ref.tell({ kind: 'note', n: 2 });
  expect((await refused).code).toBe('BAD_REQUEST');
  expect((await errorOf(ref.ask({ kind: 'badAnswer' }))).code).toBe('BAD_REQUEST');
  expect(await ref.ask({ kind: 'notes' })).toEqual([1, 2]);
  expect(actors.deadLetters.counts.uncloneable).toBe(1);
  expect((await errorOf(actors.spawn(worker, { thread: 'own', args: { what: () => {} } }))).code).toBe('BAD_REQUEST');
  expect(actors.actors).toBe(1);
});

test('refs travel: an actor there tells one here, and one in a third thread', async () => {
  const { system: actors } = system();
  const heard: number[] = [];
  const listener = defineActor({
    name: 'listener',
    protocol: { heard: tell({ n: z.int() }) } satisfies ListenerProtocol,
    start: () => ({}),
    on: { heard: (_state, { n }) => void heard.push(n) },
  });
  const ref = await actors.spawn(worker, { thread: 'own' });
  const here = await actors.spawn(listener);
  ref.tell({ kind: 'subscribe', who: here, count: 100 });
  await until(() => heard.length === 100);
  expect(heard).toEqual(Array.from({ length: 100 }, (_, n) => n));
  // It ends here: the other side hears of it, and its messages are dead letters there.
  await here.stop();
  ref.tell({ kind: 'subscribe', who: here, count: 1 });
  expect(await ref.ask({ kind: 'notes' })).toEqual([]);
});

test('actors share a thread by its name; it ends with the last of them', async () => {
  const { system: actors } = system();
  const thread = { name: 'pool' };
  const [a, b] = await Promise.all([
    actors.spawn(worker, { thread, name: 'a' }),
    actors.spawn(worker, { thread, name: 'b' }),
  ]);
  const [first, second] = await Promise.all([a.ask({ kind: 'where' }), b.ask({ kind: 'where' })]);
  expect(first.thread).toBe(second.thread);
  expect(await a.ask({ kind: 'spawnChild', name: 'c' })).toBe('/a/c');
  expect((await actors.inspect())[0]?.children[0]).toMatchObject({ path: '/a/c', thread: 'pool' });
  await a.stop();
  expect((await b.ask({ kind: 'where' })).thread).toBe(first.thread);
  await b.stop();
  expect((await (await actors.spawn(worker, { thread })).ask({ kind: 'where' })).thread).not.toBe(first.thread);
});

describe('a thread that dies takes nobody by surprise', () => {
  test.each(['exit', 'throw-late', 'bug'] as const)(
    '%s: asks fail at once, both actors in it come back',
    async (how) => {
      const { system: actors } = system();
      const thread = { name: 'shared' };
      const a = await actors.spawn(worker, { thread, name: 'a' });
      const b = await actors.spawn(worker, { thread, name: 'b' });
      const ends: string[] = [];
      for (const ref of [a, b]) actors.watch(ref, ({ path, reason }) => ends.push(`${path} ${reason.kind}`));
      const asked = [
        a.ask({ kind: 'fail', how }, { deadlineMs: 60_000 }),
        a.ask({ kind: 'notes' }, { deadlineMs: 60_000 }),
      ].map(errorOf);
      for (const error of await Promise.all(asked)) expect(error.code).toBe('ACTOR_STOPPED');
      await until(() => a.stable().incarnation === 2);
      const back = async (): Promise<boolean> =>
        a
          .stable()
          .ask({ kind: 'where' })
          .then(
            ({ incarnation }) => incarnation === 2,
            () => false,
          );
      while (!(await back())) await new Promise((resolve) => setTimeout(resolve, 5));
      expect((await errorOf(a.ask({ kind: 'notes' }))).code).toBe('ACTOR_STOPPED');
      if (how === 'bug') {
        // The actor's fault alone.
        expect(await b.ask({ kind: 'notes' })).toEqual([]);
        expect(ends).toEqual(['/a failed']);
      } else {
        await until(() => b.stable().incarnation === 2);
        expect(ends.toSorted()).toEqual(['/a failed', '/b failed']);
      }
    },
  );

  test('no memory left: its actor comes back', async () => {
    const { system: actors, lines } = system({ threadHeapMiB: 24 });
    const ref = await actors.spawn(worker, { thread: 'own', name: 'w' });
    const error = await errorOf(ref.ask({ kind: 'fail', how: 'memory' }, { deadlineMs: 60_000 }));
    expect(error.code).toBe('ACTOR_STOPPED');
    await until(() => ref.stable().incarnation === 2);
    expect(lines.find(({ event }) => event === 'actor.thread.died')?.fields['message']).toMatch(/memory/);
  });

  test('a start in a thread that cannot find the actor says so', async () => {
    const { system: actors } = system();
    const lost = { ...worker, name: 'lost' };
    expect((await errorOf(actors.spawn(lost, { thread: 'own' }))).message).toContain('exports no actor "lost"');
    const nowhere = { ...worker, module: 'file:///nowhere.ts' };
    expect((await errorOf(actors.spawn(nowhere, { thread: 'own' }))).code).toBe('ACTOR_STOPPED');
    expect(actors.actors).toBe(0);
  });
});

describe('a handler that never gives its thread back', () => {
  test('is named by the watchdog, and its thread is made anew', async () => {
    const { system: actors, lines } = system({ watchdog: { limitMs: 60, policy: 'restart' } });
    const ref = await actors.spawn(worker, { thread: 'own', name: 'w' });
    const spinning = errorOf(ref.ask({ kind: 'fail', how: 'spin' }, { deadlineMs: 60_000 }));
    expect((await spinning).code).toBe('ACTOR_STOPPED');
    expect(lines.find(({ event }) => event === 'actor.stuck')?.fields).toMatchObject({ path: '/w', kind: 'fail' });
    await until(() => ref.stable().incarnation === 2);
  });

  test('and holds native handles: nobody ends it by force; the system says that it cannot go on', async () => {
    const { system: actors } = system({ watchdog: { limitMs: 60, policy: 'restart' } });
    const ref = await actors.spawn(native, { thread: 'own', name: 'n' });
    expect(await ref.ask({ kind: 'ping' })).toBeGreaterThan(0);
    ref.tell({ kind: 'spin' });
    expect((await actors.failed).message).toContain('/n did not return from spin');
  });
});

test('a thread that is stuck when it is to stop is ended by force', async () => {
  const { system: actors, lines } = system();
  const ref = await actors.spawn(worker, { thread: 'own', stopDeadlineMs: 10 });
  const asked = errorOf(ref.ask({ kind: 'fail', how: 'spin' }, { deadlineMs: 60_000 }));
  await actors.stop();
  expect((await asked).code).toBe('ACTOR_STOPPED');
  expect(lines.map(({ event }) => event)).toContain('actor.thread.stuck');
});

test('refs into a thread end with it, also those that somebody there handed out', async () => {
  const { system: actors } = system();
  const received: ActorRef<WorkerProtocol>[] = [];
  const collector = defineActor({
    name: 'collector',
    protocol: { take: tell({ who: refTo<WorkerProtocol>() }) } satisfies CollectorProtocol,
    start: () => ({}),
    on: { take: (_state, { who }) => void received.push(who) },
  });
  const here = await actors.spawn(collector);
  const ref = await actors.spawn(worker, { thread: 'own', name: 'w', restart: 'temporary' });
  ref.tell({ kind: 'handOut', to: here });
  await until(() => received.length === 1);
  const child = received[0] as ActorRef<WorkerProtocol>;
  expect(child.path).toBe('/w/handed-out');
  child.tell({ kind: 'note', n: 7 });
  expect(await child.ask({ kind: 'notes' })).toEqual([7]);
  const waiting = errorOf(child.ask({ kind: 'wait' }, { deadlineMs: 60_000 }));
  await errorOf(ref.ask({ kind: 'fail', how: 'exit' }));
  expect((await waiting).code).toBe('ACTOR_STOPPED');
  expect(child.tell({ kind: 'note', n: 8 })).toBe(false);
});

test('native handles: a stop by message ends the thread by itself', async () => {
  const { system: actors, lines } = system();
  const ref = await actors.spawn(native, { thread: 'own' });
  await ref.ask({ kind: 'ping' });
  await actors.stop();
  expect(lines.filter(({ level }) => level !== 'info')).toEqual([]);
});

test('closing under load leaves no thread, port or timer behind', async () => {
  const handles = (): string[] =>
    process.getActiveResourcesInfo().filter((name) => ['MessagePort', 'Worker', 'Timeout', 'Immediate'].includes(name));
  const before = handles().length;
  const { system: actors } = system();
  const refs = await Promise.all([
    actors.spawn(worker, { thread: 'own' }),
    actors.spawn(worker, { thread: { name: 'x' } }),
    actors.spawn(worker),
  ]);
  const producer = defineActor({
    name: 'producer',
    protocol: { tick: tell(), items: stream({}, z.int()) },
    start: (ctx) => {
      ctx.timers.every('tick', 1, { kind: 'tick' });
      return {};
    },
    on: {
      tick() {
        for (const ref of refs) for (let n = 0; n < 100; n++) ref.tell({ kind: 'note', n });
      },
      async *items() {
        for (let n = 0; ; n++) yield n;
      },
    },
  });
  await actors.spawn(producer);
  const asked = refs.flatMap((ref) =>
    Array.from({ length: 50 }, () => ref.ask({ kind: 'wait' }, { deadlineMs: 60_000 })),
  );
  const outcomes = Promise.allSettled(asked);
  const stopping = actors.stop({ deadlineMs: 500 });
  await stopping;
  const codes = (await outcomes).map((outcome) =>
    outcome.status === 'rejected' ? (outcome.reason as { code: string }).code : 'answered',
  );
  expect(new Set(codes)).toEqual(new Set(['ACTOR_STOPPED']));
  expect(actors.actors).toBe(0);
  // The runner's own come and go; what was left behind would stay.
  await until(() => handles().length <= before);
});
