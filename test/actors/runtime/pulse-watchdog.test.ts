import { expect, test } from 'vitest';
import type { LogFunction } from '../../../src/actors/runtime/thread.ts';
import { PulseWatchdog, type Watched } from '../../../src/actors/runtime/ports/pulse-watchdog.ts';
import type { StoreError } from '../../../src/core/base/errors.ts';

const BOUNDS = { tickMs: 1_000, reportTicks: 3, killTicks: 6 };

/** Threads that answer when the test says so, and what the watchdog says of them. */
function world() {
  const lines: string[] = [];
  const log: LogFunction = (_level, event, fields = {}) =>
    lines.push([event, ...Object.values(fields)].map(String).join(' '));
  const thread = (name: string, isKilledWhenStuck = true) => {
    const killed: StoreError[] = [];
    let asks = 0;
    let settle: { resolve: () => void; reject: (error: Error) => void } | undefined;
    const watched: Watched = {
      name,
      isKilledWhenStuck,
      isStuck: false,
      pulse: () => {
        asks++;
        return new Promise<void>((resolve, reject) => {
          settle = { resolve, reject };
        });
      },
      endByForce: (reason) => void killed.push(reason),
    };
    const answer = async (): Promise<void> => {
      settle?.resolve();
      await Promise.resolve();
    };
    const end = async (): Promise<void> => {
      settle?.reject(new Error('ended'));
      await Promise.resolve();
    };
    return { watched, killed, answer, end, asks: () => asks };
  };
  return { dog: new PulseWatchdog(BOUNDS, log), lines, thread };
}

test('who answers is asked again with each tick, and never told of', async () => {
  const { dog, lines, thread } = world();
  const well = thread('memtable');
  for (let i = 0; i < 20; i++) {
    dog.tick([well.watched]);
    await well.answer();
    await Promise.resolve();
  }
  expect([well.asks(), lines, well.watched.isStuck]).toEqual([20, [], false]);
});

test('who does not answer is told of by name, once, and ended later; who answers at last is told of too', async () => {
  const { dog, lines, thread } = world();
  const [stuck, slow, well] = [thread('compactor'), thread('memtable'), thread('shipper')];
  for (let i = 0; i < 5; i++) {
    dog.tick([stuck.watched, slow.watched, well.watched]);
    await well.answer();
    await Promise.resolve();
  }
  expect(lines).toEqual(['actor.stuck compactor 3000', 'actor.stuck memtable 3000']);
  expect([stuck.watched.isStuck, well.watched.isStuck]).toEqual([true, false]);
  await slow.answer();
  await Promise.resolve();
  expect(lines.slice(2)).toEqual(['actor.unstuck memtable 4000']);
  expect(slow.watched.isStuck).toBe(false);
  for (let i = 0; i < 10; i++) dog.tick([stuck.watched]);
  expect([stuck.asks(), stuck.killed.length]).toEqual([1, 1]);
  expect(stuck.killed[0]).toMatchObject({ code: 'ACTOR_STOPPED', message: expect.stringContaining('compactor') });
});

test('the log’s two are told of and never ended; who has ended is forgotten', async () => {
  const { dog, lines, thread } = world();
  const syncer = thread('syncer', false);
  for (let i = 0; i < 50; i++) dog.tick([syncer.watched]);
  expect([lines, syncer.killed]).toEqual([['actor.stuck syncer 3000'], []]);
  await syncer.end();
  await Promise.resolve();
  expect(syncer.watched.isStuck).toBe(false);
});
