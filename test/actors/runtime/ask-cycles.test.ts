/** Actors that would wait for each other are told so at once, instead of at their deadlines. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { asker, askersFrom, plainAskers, waitsIn } from '../../../src/actors/runtime/core/asker.ts';
import {
  type ActorRef,
  type ActorSystem,
  ask,
  createSystem,
  defineActor,
  type ThreadChoice,
} from '../../../src/actors/runtime/index.ts';
import { errorOf } from './core/support.ts';
import { asking, type AskingProtocol } from './fixtures/asking-actors.ts';

const GENEROUS = { deadlineMs: 120_000 };

function started(): ActorSystem {
  const system = createSystem();
  onTestFinished(() => system.stop());
  return system;
}

/** Each follows the one before it; the first is the last that is asked. */
async function line(system: ActorSystem, threads: readonly ThreadChoice[]): Promise<ActorRef<AskingProtocol>[]> {
  const refs: ActorRef<AskingProtocol>[] = [];
  for (const [i, thread] of threads.entries()) {
    const ref = await system.spawn(asking, { name: `a${i}`, thread });
    const before = refs.at(-1);
    if (before !== undefined) ref.tell({ kind: 'follow', next: before });
    refs.push(ref);
  }
  return refs;
}

describe.each([
  ['before anything else', false],
  ['after it has waited for something', true],
])('an actor that asks %s', (_when, late) => {
  test.each([
    ['itself', ['same']],
    ['one that asks it', ['same', 'same']],
    ['over another', ['same', 'same', 'same']],
    ['over other threads', ['same', 'own', { name: 'far' }, 'same']],
    ['in another thread', ['own', 'own']],
  ] as [string, ThreadChoice[]][])('%s, and waits', { timeout: 60_000 }, async (_whom, threads) => {
    const refs = await line(started(), threads);
    const [first, last] = [refs[0], refs.at(-1)] as [ActorRef<AskingProtocol>, ActorRef<AskingProtocol>];
    first.tell({ kind: 'follow', next: last });
    const error = await errorOf(last.ask({ kind: 'go', late }, GENEROUS));
    const names = refs.map(({ path }) => path).toReversed();
    expect([error.code, error.data['paths']]).toEqual(['ASK_CYCLE', [...names, names[0]]]);
    // It is over for all of them.
    expect(await Promise.all(refs.map((ref) => ref.ask({ kind: 'heard' }, GENEROUS)))).toEqual(refs.map(() => []));
  });
});

test('a long line that ends is none, nor is one that comes back to who does not wait', async () => {
  const refs = await line(
    started(),
    Array.from({ length: 40 }, () => 'same' as const),
  );
  const [first, last] = [refs[0], refs.at(-1)] as [ActorRef<AskingProtocol>, ActorRef<AskingProtocol>];
  expect(await last.ask({ kind: 'go', late: true }, GENEROUS)).toBe('the end');

  const [a, b] = await line(started(), ['same', 'same']);
  // b asks a, has answered already, and is asked back: its next is a, whose next is nobody.
  expect(await b?.ask({ kind: 'begin' }, GENEROUS)).toBe('begun');
  await expect.poll(() => b?.ask({ kind: 'heard' }, GENEROUS), { timeout: 60_000 }).toEqual(['the end']);
  expect(a?.path).toBe('/a0');
  expect(first.path).toBe('/a0');
});

test('an ask on behalf of the message in hand has its trace, and waits no longer than its asker', async () => {
  const system = started();
  const [end] = (await line(system, ['own'])) as [ActorRef<AskingProtocol>];
  const slow = await system.spawn(
    defineActor({
      name: 'slow',
      protocol: { wait: ask({}, z.string()) },
      start: () => ({}),
      on: { wait: () => new Promise<string>(() => {}) },
    }),
  );
  const front = await system.spawn(
    defineActor({
      name: 'front',
      protocol: { trace: ask({}, z.string()), wait: ask({}, z.string()) },
      start: () => ({}),
      on: {
        trace: (_state, _message, ctx) => end.ask({ kind: 'go', late: false }, { from: ctx }),
        wait: (_state, _message, ctx) => slow.ask({ kind: 'wait' }, { from: ctx, ...GENEROUS }),
      },
    }),
  );
  expect(await front.ask({ kind: 'trace' }, { trace: '00-a-b-01', ...GENEROUS })).toBe('00-a-b-01');
  await errorOf(front.ask({ kind: 'wait' }, { deadlineMs: 20 }));
  // Its own ask has ended with that of its asker: it takes the next.
  expect(await front.ask({ kind: 'trace' }, { trace: '00-c-d-01', ...GENEROUS })).toBe('00-c-d-01');
  slow.kill();
});

test('a line is bounded, and crosses threads as it is', () => {
  let long = asker({ boot: '', id: 0, path: '/0', turn: 1 }, undefined);
  for (let id = 1; id < 100; id++) long = asker({ boot: '', id, path: `/${id}`, turn: id }, long);
  expect(long.length).toBeLessThanOrEqual(32);
  expect([waitsIn(long, 99, 99), waitsIn(long, 99, 98), waitsIn(long, 0, 1)]).toEqual([true, false, false]);
  expect(askersFrom(plainAskers(long))).toEqual(long);
  expect(askersFrom([])).toBeUndefined();
});
