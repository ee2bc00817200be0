import { expect, test } from 'vitest';
import * as wire from '../../../src/core/wire/client.ts';
import { ask, type Ask, GatewayWorld } from './gateway-world.ts';

const SAMPLED = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

const traced = (request: Ask, traceparent: string): Ask => ({
  ...request,
  kind: request.kind | wire.TRACED,
  body: (writer) => request.body(writer.string(traceparent)),
});

test('a traced write is a write like any other, and is told when it is over', () => {
  const world = new GatewayWorld();
  world.leads('n1', 3);
  const peer = world.peer();
  peer.ask(traced(ask.put(1, 'a'), SAMPLED), ask.put(2, 'b'), traced(ask.put(3, 'c'), 'nonsense'));
  const { commands } = world.handed();
  expect([commands.length, world.shared.stages.isArmed, world.traced.length]).toEqual([3, true, 0]);
  world.pass(2_000);
  expect([1, 2, 3].map((id) => peer.outcome(id))).toEqual([1, 2, 3].map(() => 'OUTCOME_UNKNOWN'));
  expect(world.shared.stages.isArmed).toBe(false);
  expect(world.traced).toMatchObject([{ kind: 'put', stages: {}, error: { code: 'OUTCOME_UNKNOWN' } }]);
  const [trace] = world.traced;
  expect(trace?.sent).toBeGreaterThanOrEqual(trace?.received ?? 0n);
});

test('one that may not enter is not told; it leaves nothing behind', () => {
  const world = new GatewayWorld();
  world.leads('n1', 3);
  world.isFull = true;
  const peer = world.peer();
  peer.ask(traced(ask.put(1, 'a'), SAMPLED), traced(ask.status(2), SAMPLED));
  expect([peer.outcome(1), peer.outcome(2)]).toEqual(['STORE_FULL', 'BAD_REQUEST']);
  const broken: Ask = { id: 3, kind: wire.REQUEST.put | wire.TRACED, body: (writer) => writer.varint(1_000) };
  peer.ask(broken);
  expect([peer.settled(3), peer.isClosed, world.shared.stages.isArmed, world.traced]).toEqual([1, false, false, []]);
});
