import { Worker } from 'node:worker_threads';
import { expect, onTestFinished, test } from 'vitest';
import { Bell, BELL_WORDS, listen, park } from '../../../src/actors/runtime/bell.ts';
import { until } from '../support.ts';

const newBell = (): Bell => new Bell(new Int32Array(new SharedArrayBuffer(4 * BELL_WORDS)), 0);

test('ten thousand pings and pongs between two threads: no ring is missed between the look and the sleep', async () => {
  const count = 10_000;
  const buffer = new SharedArrayBuffer(4 * (2 * BELL_WORDS + 2));
  const ASKED = 2 * BELL_WORDS;
  const words = new Int32Array(buffer);
  const ponger = new Worker(new URL('../fixtures/bell-ponger.ts', import.meta.url), { workerData: { buffer, count } });
  onTestFinished(async () => {
    await ponger.terminate();
  });
  let failure: string | undefined;
  ponger.on('error', (error) => (failure = String(error)));
  const own = new Bell(words, BELL_WORDS);
  const other = new Bell(words, 0);
  let sleptLong = 0;
  for (let n = 1; n <= count; n++) {
    Atomics.store(words, ASKED, n);
    other.ring();
    for (;;) {
      const seen = own.read();
      if (Atomics.load(words, ASKED + 1) === n) break;
      const sleptAt = performance.now();
      // Every other time the way of a thread with sockets, and else that of one without.
      if (n % 2 === 0) {
        // Without a bound: a ring that is missed here ends the test by its deadline.
        await own.waitAsync(seen);
        own.awake();
      } else own.wait(seen, 5_000);
      if (performance.now() - sleptAt > 4_000) sleptLong++;
      if (failure !== undefined) throw new Error(failure);
    }
  }
  expect(sleptLong).toBe(0);
});

test('a ring between the look and the sleep ends the sleep before it begins', async () => {
  const bell = newBell();
  const seen = bell.read();
  bell.ring();
  const startedAt = performance.now();
  bell.wait(seen, 5_000);
  expect(bell.waitAsync(seen)).toBeUndefined();
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});

test('a listener turns once for every ring or burst of rings, and stops when it is told to', async () => {
  const bell = newBell();
  let turns = 0;
  const loop = listen(bell, () => turns++);
  await until('it has looked once', () => turns === 1);
  bell.ring();
  await until('it has turned again', () => turns === 2);
  for (let i = 0; i < 100; i++) bell.ring();
  await until('it has seen the burst', () => turns >= 3);
  await loop.stop();
  const stopped = turns;
  bell.ring();
  await new Promise((resolve) => setImmediate(resolve));
  expect(turns).toBe(stopped);
});

test('what a turn throws ends the loop and is told', async () => {
  const bell = newBell();
  const loop = listen(bell, () => {
    if (bell.read() > 0) throw new Error('a bad turn');
  });
  bell.ring();
  await expect(loop.ended).rejects.toThrow('a bad turn');
  await expect(loop.stop()).rejects.toThrow('a bad turn');
});

test('a parked loop lets the event loop go round while it is wanted, and stops without being rung', async () => {
  const bell = newBell();
  let turns = 0;
  const loop = park(
    bell,
    () => {
      turns++;
      return turns < 5;
    },
    () => true,
  );
  await until('it has turned', () => turns > 5);
  await loop.stop();
});
