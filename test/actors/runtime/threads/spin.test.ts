/** Looking for what another thread has posted, before sleeping: found once, in order, and given up when it is in vain. */
import { MessageChannel } from 'node:worker_threads';
import { expect, onTestFinished, test } from 'vitest';
import { createSystem } from '../../../../src/actors/runtime/index.ts';
import { Posted, Spin } from '../../../../src/actors/runtime/threads/spin.ts';
import { worker } from '../fixtures/worker-actors.ts';

function ends() {
  const buffer = Posted.create();
  const { port1, port2 } = new MessageChannel();
  onTestFinished(() => port1.close());
  return { far: port2, near: port1, farPosted: new Posted(buffer, 'far'), nearPosted: new Posted(buffer, 'near') };
}

const round = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('what was posted is found by the next look, once; the rest comes by itself, behind it', async () => {
  const { near, far, nearPosted, farPosted } = ends();
  const heard: string[] = [];
  const spin = new Spin(near, nearPosted, (message) => heard.push(`found ${String(message)}`));
  spin.plan();
  spin.plan();
  for (const n of [1, 2, 3]) {
    far.postMessage(n);
    farPosted.add();
  }
  await round();
  expect(heard).toEqual(['found 1']);
  await new Promise<void>((resolve) =>
    near.on('message', (message) => {
      spin.came();
      heard.push(`came ${String(message)}`);
      if (message === 3) resolve();
    }),
  );
  expect(heard).toEqual(['found 1', 'came 2', 'came 3']);
  far.postMessage(4);
  farPosted.add();
  spin.plan();
  await round();
  expect(heard.at(-1)).toMatch(/ 4$/);
  expect(heard).toHaveLength(4);
});

test('what came by itself before it was counted is not looked for', async () => {
  const { near, far, nearPosted, farPosted } = ends();
  const found: unknown[] = [];
  const spin = new Spin(near, nearPosted, (message) => found.push(message));
  far.postMessage(1);
  await new Promise<void>((resolve) => near.once('message', () => resolve(spin.came())));
  farPosted.add();
  spin.plan();
  await round();
  expect(found).toEqual([]);
  expect(nearPosted.isMoreThan(1)).toBe(false);
});

test('after each try in vain twice as many occasions are let go; one that finds something begins anew', async () => {
  const { near, far, nearPosted, farPosted } = ends();
  let looks = 0;
  const counted = new Proxy(nearPosted, {
    get: (posted, name) =>
      name === 'isMoreThan'
        ? (received: number) => {
            looks++;
            return posted.isMoreThan(received);
          }
        : Reflect.get(posted, name),
  });
  const spin = new Spin(near, counted, () => {});
  const looked = async (occasions: number): Promise<number[]> => {
    const at: number[] = [];
    for (let occasion = 1; occasion <= occasions; occasion++) {
      looks = 0;
      spin.plan();
      await round();
      if (looks > 0) at.push(occasion);
    }
    return at;
  };
  expect(await looked(40)).toEqual([1, 3, 6, 11, 20, 37]);
  far.postMessage(1);
  farPosted.add();
  // 37 + 32 skipped: the next is 70.
  expect(await looked(30)).toEqual([30]);
  expect(await looked(3)).toEqual([1, 3]);
});

test('cancelled, it does not look', async () => {
  const { near, far, nearPosted, farPosted } = ends();
  const found: unknown[] = [];
  const spin = new Spin(near, nearPosted, (message) => found.push(message));
  far.postMessage(1);
  farPosted.add();
  spin.plan();
  spin.cancel();
  await round();
  expect(found).toEqual([]);
});

test('counts go round', () => {
  const buffer = Posted.create();
  new Int32Array(buffer).fill(2 ** 31 - 1);
  const [near, far] = [new Posted(buffer, 'near'), new Posted(buffer, 'far')];
  expect(near.isMoreThan(2 ** 31 - 1)).toBe(false);
  far.add();
  expect(near.isMoreThan(2 ** 31 - 1)).toBe(true);
  expect(near.isMoreThan((2 ** 31) | 0)).toBe(false);
});

test('threads that ask each other without a pause still have their timers and sockets', async () => {
  const actors = createSystem();
  onTestFinished(() => actors.stop());
  const ref = await actors.spawn(worker, { thread: 'own' });
  let timers = 0;
  const timer = setInterval(() => timers++, 1);
  let asked = 0;
  while (timers < 5) {
    expect((await ref.ask({ kind: 'where' })).incarnation).toBe(1);
    asked++;
  }
  clearInterval(timer);
  expect(asked).toBeGreaterThan(0);
});
