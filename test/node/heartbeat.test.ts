import { afterEach, expect, test } from 'vitest';
import { StoreError } from '../../src/core/base/errors.ts';
import { Heartbeat } from '../../src/node/heartbeat.ts';
import { type HttpNode, startHttpNode } from '../support/http-node.ts';

let node: HttpNode | undefined;
let heartbeat: Heartbeat | undefined;
afterEach(async () => {
  await heartbeat?.stop();
  await node?.stop();
  [node, heartbeat] = [undefined, undefined];
});

const WAIT = { timeout: 60_000, interval: 10 };

test('a leader makes what is missing and writes the time, again and again', async () => {
  node = await startHttpNode({ ledgerHeartbeatMs: 20 });
  const { ask } = node;
  const value = async (): Promise<unknown> => {
    const { status, body } = await ask('GET /row/ctlmesh/heartbeats?key=heartbeat');
    return status === 200 ? (JSON.parse(body) as { readonly value: unknown }).value : undefined;
  };
  await expect.poll(value, WAIT).toBeTypeOf('number');
  const first = await value();
  await expect.poll(value, WAIT).not.toBe(first);
});

test('who does not lead writes nothing; what fails is told once, until it succeeds', async () => {
  const told: unknown[] = [];
  let beats = 0;
  let isLeader = false;
  let mayWrite = false;
  const mutate = (): Promise<never> => {
    beats++;
    return mayWrite ? (Promise.resolve({ revision: 1 }) as never) : Promise.reject(new StoreError('UNAVAILABLE', 'no'));
  };
  heartbeat = new Heartbeat({
    everyMs: 1,
    isLeader: () => {
      const was = isLeader;
      isLeader = true;
      return was;
    },
    control: { mutate } as never,
    log: (_level, event) => told.push(event),
  });
  await expect.poll(() => beats, WAIT).toBeGreaterThan(3);
  expect(told).toEqual(['heartbeat.failed']);
  mayWrite = true;
  const before = beats;
  await expect.poll(() => beats, WAIT).toBeGreaterThan(before + 2);
  mayWrite = false;
  await expect.poll(() => told.length, WAIT).toBe(2);
});
