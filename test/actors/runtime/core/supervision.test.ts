/** Who is started again with whom, when it is enough, and what a tree does when it ends. */
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  type ActorRef,
  ask,
  defineActor,
  type Restart,
  StoreError,
  type SuperviseOptions,
  tell,
} from '../../../../src/actors/runtime/index.ts';
import { createTestSystem, errorOf, gate } from './support.ts';

const turns = async (count = 5): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** Waits for a condition; the test's own timeout is its bound. */
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
};

const childProtocol = { crash: tell(), end: tell(), ping: ask({}, z.int()) };

/** A parent with three children, and a record of what all of them did. */
function family(supervise: SuperviseOptions, restart: Restart = 'transient') {
  const log: string[] = [];
  const refs = new Map<string, ActorRef<typeof childProtocol>>();
  const failures = new Set<string>();
  const child = defineActor({
    name: 'child',
    protocol: childProtocol,
    start: (ctx, name: string) => {
      if (failures.has(name)) throw new Error(`${name} cannot start`);
      log.push(`+${name}${ctx.incarnation}`);
      return { name };
    },
    on: {
      crash: () => {
        throw new Error('crashed');
      },
      end: (_state, _message, ctx) => ctx.stop(),
      ping: (_state, _message, ctx) => ctx.incarnation,
    },
    stop: ({ name }, { kind }) => void log.push(`-${name} ${kind}`),
  });
  const parent = defineActor({
    name: 'parent',
    protocol: { none: tell() },
    supervise: { backoffMinMs: 1, ...supervise },
    start: async (ctx) => {
      log.push(`+parent${ctx.incarnation}`);
      for (const name of ['a', 'b', 'c']) refs.set(name, await ctx.spawn(child, { name, args: name, restart }));
      return {};
    },
    on: { none() {} },
    stop: (_state, { kind }) => void log.push(`-parent ${kind}`),
  });
  const ref = (name: string): ActorRef<typeof childProtocol> => refs.get(name) as ActorRef<typeof childProtocol>;
  return { parent, child, log, ref, failures, restarted: () => log.splice(0) };
}

describe('a child that fails', () => {
  test.each([
    ['one-for-one', ['-b failed', '+b2']],
    ['rest-for-one', ['-b failed', '-c stopped', '+b2', '+c2']],
    ['one-for-all', ['-b failed', '-c stopped', '-a stopped', '+a2', '+b2', '+c2']],
  ] as const)('under %s', async (strategy, expected) => {
    const { system } = createTestSystem();
    const { parent, log, ref } = family({ strategy });
    await system.spawn(parent);
    log.splice(0);
    ref('b').tell({ kind: 'crash' });
    await until(() => log.length >= expected.length);
    expect(log).toEqual(expected);
    expect(await ref('b').stable().ask({ kind: 'ping' })).toBe(2);
  });

  test('has a ref that ends with it, and a stable one that goes on', async () => {
    const { system } = createTestSystem();
    const { parent, log, ref } = family({});
    await system.spawn(parent);
    const old = ref('a');
    const stable = old.stable();
    log.splice(0);
    old.tell({ kind: 'crash' });
    // Between two lives it fails as one that has ended.
    await until(() => log.includes('-a failed'));
    await until(() => log.includes('+a2'));
    expect((await errorOf(old.ask({ kind: 'ping' }))).code).toBe('ACTOR_STOPPED');
    expect(old.tell({ kind: 'end' })).toBe(false);
    expect(old.incarnation).toBe(1);
    await until(() => stable.incarnation === 2);
    expect(await stable.ask({ kind: 'ping' })).toBe(2);
    // Nor does a stop of the old one touch the new.
    await old.stop();
    expect(await stable.ask({ kind: 'ping' })).toBe(2);
  });

  test('and another at the same moment are repaired once', async () => {
    const { system } = createTestSystem();
    const { parent, log, ref } = family({ strategy: 'one-for-all' });
    await system.spawn(parent);
    log.splice(0);
    ref('a').tell({ kind: 'crash' });
    ref('c').tell({ kind: 'crash' });
    await until(() => log.includes('+c2'));
    await turns();
    expect(log.filter((line) => line.startsWith('+'))).toEqual(['+a2', '+b2', '+c2']);
  });
});

test.each([
  ['permanent', 'end', true],
  ['permanent', 'crash', true],
  ['transient', 'end', false],
  ['transient', 'crash', true],
  ['temporary', 'end', false],
  ['temporary', 'crash', false],
] as const)('a %s child that does %s comes back: %s', async (restart, kind, comesBack) => {
  const { system } = createTestSystem();
  const { parent, log, ref } = family({}, restart);
  await system.spawn(parent);
  log.splice(0);
  ref('a').tell({ kind });
  await until(() => log.length > 0);
  if (comesBack) await until(() => log.includes('+a2'));
  else await new Promise((resolve) => setTimeout(resolve, 20));
  expect(log.includes('+a2')).toBe(comesBack);
});

test('a child that is stopped does not come back, whatever its kind; nor one killed while it is stopped', async () => {
  const { system } = createTestSystem();
  const { parent, log, ref } = family({}, 'permanent');
  await system.spawn(parent);
  await ref('a').stop();
  const stopping = ref('b').stop();
  ref('b').kill();
  await stopping;
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(log.filter((line) => line.startsWith('+'))).toEqual(['+parent1', '+a1', '+b1', '+c1']);
});

test('stop during the pause before a restart: it does not come back', async () => {
  const { system } = createTestSystem();
  const { parent, log, ref } = family({ backoffMinMs: 30 });
  await system.spawn(parent);
  ref('a').tell({ kind: 'crash' });
  await until(() => log.includes('-a failed'));
  await ref('a').stable().stop();
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(log).not.toContain('+a2');
  expect(system.actors).toBe(3);
});

test('too many restarts fail the parent, whose own supervisor starts all anew', async () => {
  const { system } = createTestSystem();
  const { parent, log, ref } = family({ restartsMax: 1 });
  await system.spawn(parent);
  log.splice(0);
  ref('a').tell({ kind: 'crash' });
  await until(() => log.includes('+a2'));
  await until(() => ref('a').stable().incarnation === 2);
  ref('a').stable().tell({ kind: 'crash' });
  await until(() => log.includes('+parent2') && log.filter((line) => line === '+c1').length === 1);
  // The children end first, newest first.
  expect(log).toEqual([
    '-a failed',
    '+a2',
    '-a failed',
    '-c stopped',
    '-b stopped',
    '-parent failed',
    '+parent2',
    '+a1',
    '+b1',
    '+c1',
  ]);
});

test('a start that fails again and again counts, up to the root: the system stops and says why', async () => {
  const { system, lines } = createTestSystem({ supervise: { restartsMax: 2, backoffMinMs: 1 } });
  const { parent, failures, ref } = family({ restartsMax: 1 });
  await system.spawn(parent);
  failures.add('a');
  ref('a').tell({ kind: 'crash' });
  const reason = await system.failed;
  expect(reason).toBeInstanceOf(StoreError);
  expect(reason.message).toContain('/parent');
  await system.stop();
  expect(system.actors).toBe(0);
  expect(lines.some(({ event }) => event === 'actors.failed')).toBe(true);
});

test('a tree stops from its newest leaves to its root, also under load', async () => {
  const { system } = createTestSystem();
  const { parent, log, ref } = family({});
  await system.spawn(parent);
  log.splice(0);
  const asked = Array.from({ length: 500 }, () => ref('b').ask({ kind: 'ping' }));
  await system.stop();
  expect(log).toEqual(['-c stopped', '-b stopped', '-a stopped', '-parent stopped']);
  expect(new Set(await Promise.all(asked))).toEqual(new Set([1]));
  expect((await errorOf(ref('b').ask({ kind: 'ping' }))).code).toBe('ACTOR_STOPPED');
});

test('an actor that hangs in its stop does not hold the others for longer than its deadline', async () => {
  const { system, lines } = createTestSystem();
  const hanging = defineActor({
    name: 'hanging',
    protocol: { none: tell() },
    start: () => ({}),
    on: { none() {} },
    stop: () => new Promise<void>(() => {}),
  });
  await system.spawn(hanging, { stopDeadlineMs: 10 });
  await system.stop();
  expect(lines.some(({ event }) => event === 'actor.stop.forced')).toBe(true);
});

describe('spawning', () => {
  test('a name is taken once; a name that is none is refused', async () => {
    const { system } = createTestSystem();
    const { child } = family({});
    await system.spawn(child, { name: 'x', args: 'x' });
    expect((await errorOf(system.spawn(child, { name: 'x', args: 'x' }))).code).toBe('BAD_REQUEST');
    expect((await errorOf(system.spawn(child, { name: 'x/y', args: 'x' }))).code).toBe('BAD_REQUEST');
    expect((await errorOf(system.spawn(child, { thread: 'own', args: 'x' }))).code).toBe('BAD_REQUEST');
    expect(system.actors).toBe(1);
  });

  test('in a loop, wide or deep, ends at a bound', async () => {
    const { system } = createTestSystem({ actorsMax: 100 });
    const { child } = family({});
    let error: StoreError | undefined;
    for (let i = 0; i < 200 && error === undefined; i++) {
      await system.spawn(child, { args: 'x' }).catch((reason: StoreError) => {
        error = reason;
      });
    }
    expect(error).toMatchObject({ code: 'OVERLOADED', data: { limit: 100 } });
    await system.stop();
    const { system: second } = createTestSystem();
    const deeper = defineActor({
      name: 'deeper',
      protocol: { none: tell() },
      start: async (ctx): Promise<object> => {
        await ctx.spawn(deeper, { name: 'd' });
        return {};
      },
      on: { none() {} },
    });
    expect(await errorOf(second.spawn(deeper))).toMatchObject({ code: 'OVERLOADED', data: { limit: 32 } });
    expect(second.actors).toBe(0);
  });

  test('while the parent stops is refused', async () => {
    const { system } = createTestSystem();
    const hold = gate();
    const { child } = family({});
    const errors: StoreError[] = [];
    const late = defineActor({
      name: 'late',
      protocol: { work: tell() },
      start: () => ({}),
      on: {
        async work(_state, _message, ctx) {
          await hold.promise;
          errors.push(await errorOf(ctx.spawn(child, { args: 'x' })));
        },
      },
    });
    const ref = await system.spawn(late);
    ref.tell({ kind: 'work' });
    await turns();
    ref.kill();
    hold.open();
    await until(() => errors.length === 1);
    expect(errors[0]?.code).toBe('ACTOR_STOPPED');
  });
});

describe('the watchdog names a handler that does not return', () => {
  const stuck = defineActor({
    name: 'stuck',
    protocol: { hang: ask({}, z.int()) },
    start: () => ({}),
    on: { hang: () => new Promise<number>(() => {}) },
  });

  test.each(['report', 'restart', 'escalate'] as const)('and does what its policy says: %s', async (policy) => {
    const { system, lines } = createTestSystem({ watchdog: { limitMs: 20, policy } });
    const ref = await system.spawn(stuck, { name: 'stuck' });
    const asked = errorOf(ref.ask({ kind: 'hang' }, { deadlineMs: 20_000 }));
    await until(() => lines.some(({ event }) => event === 'actor.stuck'));
    expect(lines.find(({ event }) => event === 'actor.stuck')?.fields).toMatchObject({ path: '/stuck', kind: 'hang' });
    if (policy === 'report') ref.kill();
    expect((await asked).code).toBe('ACTOR_STOPPED');
    if (policy === 'restart') await until(() => ref.stable().incarnation === 2);
    if (policy === 'escalate') expect((await system.failed).message).toContain('hang');
  });
});
