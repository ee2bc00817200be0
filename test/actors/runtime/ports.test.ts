/** Actors with ports: a thread of their own, spoken to by rings; and supervised, watched, stopped and shown as any other. */
import { expect, onTestFinished, test } from 'vitest';
import type { StoreError } from '../../../src/core/base/errors.ts';
import { ActorSystem } from '../../../src/actors/runtime/core/system.ts';
import type { ActorRef, DeathNotice, SuperviseOptions } from '../../../src/actors/runtime/core/types.ts';
import {
  type PortBeginning,
  portActor,
  type PortGauges,
  portLife,
  type PortProtocol,
} from '../../../src/actors/runtime/ports/port-actor.ts';
import type { PulseBounds } from '../../../src/actors/runtime/ports/pulse-watchdog.ts';
import { Threads } from '../../../src/actors/runtime/threads/threads.ts';
import * as fixture from '../fixtures/actor.ts';
import type { LogLine } from '../support.ts';

const WAIT_MS = 60_000;
const PULSE: PulseBounds = { tickMs: 50, reportTicks: 2, killTicks: 20 };
/** The watchdog's questions are questions, too: it asks none where that would count. */
const NO_PULSE: PulseBounds = { tickMs: 3_600_000, reportTicks: 1, killTicks: 2 };

const GAUGES: PortGauges = {
  mailbox: 3,
  mailboxBytes: 700,
  limits: { messagesMax: 10, bytesMax: 1_000, policy: 'wait' },
  handled: 9,
  handling: [],
};

interface Setup {
  readonly supervise?: SuperviseOptions;
  readonly pulse?: PulseBounds;
}

function systemOf({ supervise = {}, pulse = NO_PULSE }: Setup = {}) {
  const lines: LogLine[] = [];
  const options = {
    log: (level: string, event: string, fields: Record<string, unknown> = {}) =>
      void lines.push({ level, event, fields }),
    supervise: { backoffMinMs: 1, backoffMaxMs: 1, ...supervise },
  };
  const system = new ActorSystem(options, { path: '/test', elsewhere: new Threads(options, pulse) });
  onTestFinished(() => system.stop());
  const begun: string[] = [];
  /** Each life is told how to behave when it begins. */
  const spawn = async (
    name: string,
    lives: readonly (fixture.Args | 'throw')[] = [{}],
    args?: Promise<fixture.Args>,
  ): Promise<ActorRef<PortProtocol>> => {
    let life = 0;
    const begin = (): PortBeginning<fixture.Args> => {
      const next = lives[Math.min(life++, lives.length - 1)] ?? {};
      if (next === 'throw') throw new Error('there is nothing to begin with');
      return { args: args ?? Promise.resolve(next) };
    };
    return system.spawn(portActor(name), {
      name,
      thread: 'own',
      args: portLife(
        { url: new URL('../fixtures/actor.ts', import.meta.url).href, start: fixture.start },
        {
          begin,
          onStarted: ({ thread }) => void begun.push(`${name} ${thread}`),
          control: { begin: () => {}, end: () => {} },
          gauges: () => GAUGES,
          isKilledWhenStuck: true,
        },
      ),
    });
  };
  return { system, lines, begun, spawn };
}

const errorOf = (promise: Promise<unknown>): Promise<StoreError> =>
  promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: StoreError) => error,
  );

const ended = (system: ActorSystem, ref: ActorRef<PortProtocol>): Promise<DeathNotice> =>
  new Promise((resolve) => system.watch(ref, resolve));

/** Until a later life than `incarnation` answers. */
async function lives(ref: ActorRef<PortProtocol>, incarnation: number): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS;
  for (;;) {
    if (ref.incarnation >= incarnation) {
      try {
        await ref.ask({ kind: 'inspect' }, { deadlineMs: WAIT_MS });
        return;
      } catch (error) {
        if (performance.now() > deadlineMs) throw error;
      }
    }
    if (performance.now() > deadlineMs) throw new Error(`life ${incarnation} of ${ref.path} did not come`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

test('it tells of itself when it has started, answers, has a row like any other, and stops by message', async () => {
  const { system, begun, spawn, lines } = systemOf();
  const ref = await spawn('mover');
  expect(begun).toEqual(['mover actor']);
  expect(await ref.ask({ kind: 'inspect' }, { deadlineMs: WAIT_MS })).toEqual({ fine: true });
  const row = { path: '/test/mover', name: 'mover', incarnation: 1, thread: 'mover', phase: 'running', children: [] };
  expect(await system.inspect()).toEqual([{ ...row, ...GAUGES }]);
  const end = ended(system, ref);
  await ref.stop({ deadlineMs: WAIT_MS });
  expect((await end).reason).toEqual({ kind: 'stopped' });
  expect((await errorOf(ref.ask({ kind: 'inspect' }))).code).toBe('ACTOR_STOPPED');
  expect([await system.inspect(), system.actors]).toEqual([[], 0]);
  expect(lines.filter(({ level }) => level !== 'info')).toEqual([]);
});

test('a start that fails is told with its code, and leaves nothing; one that waits for another ends with a stop', async () => {
  const { system, spawn } = systemOf();
  expect(await errorOf(spawn('mover', [{ start: 'fail' }]))).toMatchObject({ code: 'WAL_CORRUPT' });
  expect(await errorOf(spawn('mover', [{}], Promise.reject(new Error('of another'))))).toMatchObject({
    message: 'of another',
  });
  expect(system.actors).toBe(0);
  const waiting = errorOf(spawn('mover', [{}], new Promise(() => {})));
  await system.stop();
  expect((await waiting).code).toBe('ACTOR_STOPPED');
});

test('whatever its thread ends with, who asks is told at once, and it lives again with what it is given anew', async () => {
  const { spawn, lines, begun } = systemOf();
  const ref = (
    await spawn('mover', [{ onInspect: 'throw-in-turn' }, { onInspect: 'exit' }, { onInspect: 'late-throw' }, {}])
  ).stable();
  for (const incarnation of [1, 2, 3]) {
    // The first may be answered before the end.
    await ref.ask({ kind: 'inspect' }, { deadlineMs: WAIT_MS }).catch((error: StoreError) => error);
    await expect.poll(() => ref.incarnation, { timeout: WAIT_MS }).toBe(incarnation + 1);
    await expect.poll(() => begun.length, { timeout: WAIT_MS }).toBe(incarnation + 1);
  }
  expect(await ref.ask({ kind: 'inspect' }, { deadlineMs: WAIT_MS })).toEqual({ fine: true });
  const failures = lines.filter(({ event }) => event === 'actor.failed').map(({ fields }) => fields['message']);
  expect(failures).toEqual([
    'fdatasync failed',
    expect.stringContaining('code 3'),
    expect.stringContaining('out of a timer'),
  ]);
});

test('when a life cannot even be made, the next one is', async () => {
  const { spawn, lines } = systemOf();
  const ref = (await spawn('mover', [{}, 'throw', 'throw', {}])).stable();
  ref.kill();
  await lives(ref, 2);
  expect(lines.filter(({ fields }) => fields['message'] === 'there is nothing to begin with')).toHaveLength(2);
});

test('strategies hold for it: with one that is killed, those spawned after it start again, and no other', async () => {
  const { spawn } = systemOf({ supervise: { strategy: 'rest-for-one' } });
  const refs = (await Promise.all(['a', 'b', 'c'].map((name) => spawn(name)))).map((ref) => ref.stable());
  const [a, b, c] = refs as [ActorRef<PortProtocol>, ActorRef<PortProtocol>, ActorRef<PortProtocol>];
  b.kill();
  await lives(b, 2);
  await lives(c, 2);
  expect([a.incarnation, b.incarnation, c.incarnation]).toEqual([1, 2, 2]);
});

test('too many deaths are the parent’s: the system stops, and every thread with it', async () => {
  const { system, spawn } = systemOf({ supervise: { restartsMax: 1 } });
  const other = await spawn('other');
  const end = ended(system, other);
  const ref = (await spawn('mover')).stable();
  ref.kill();
  await lives(ref, 2);
  ref.kill();
  expect(await system.failed).toMatchObject({ code: 'ACTOR_STOPPED', message: expect.stringContaining('/test/mover') });
  await system.stop();
  expect((await end).reason.kind).toBe('stopped');
});

test('one that never gives its thread back is told of by name, ended, and starts again', async () => {
  // A machine that stands still for a second has the next ones ended, too.
  const { spawn, lines } = systemOf({ pulse: PULSE, supervise: { restartsMax: 1_000 } });
  const ref = (await spawn('mover', [{ onInspect: 'spin' }, {}])).stable();
  // The watchdog's own question is the one that never ends.
  await lives(ref, 2);
  expect(lines.find(({ event }) => event === 'actor.stuck')?.fields).toMatchObject({ actor: 'mover' });
});

test('questions under way are bounded; a stop settles them', async () => {
  const { spawn } = systemOf();
  const ref = await spawn('mover', [{ onInspect: 'spin' }]);
  const asked = Array.from({ length: 65 }, () => errorOf(ref.ask({ kind: 'inspect' }, { deadlineMs: WAIT_MS })));
  expect((await asked[64])?.code).toBe('OVERLOADED');
  await ref.stop({ deadlineMs: 50 });
  expect(new Set((await Promise.all(asked.slice(0, 64))).map(({ code }) => code))).toEqual(new Set(['ACTOR_STOPPED']));
});

test('in a thread that others use there is no place for it', async () => {
  const { system } = systemOf();
  const begin = (): PortBeginning<fixture.Args> => ({ args: Promise.resolve({}) });
  const life = portLife(
    { url: 'none', start: fixture.start },
    {
      begin,
      control: { begin: () => {}, end: () => {} },
      gauges: () => GAUGES,
      isKilledWhenStuck: true,
    },
  );
  expect((await errorOf(system.spawn(portActor('mover'), { args: life }))).code).toBe('BAD_REQUEST');
});
