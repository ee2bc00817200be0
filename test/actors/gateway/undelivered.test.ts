/** What clients' sockets hold of watches, as the shipper is told it. */
import { expect, test } from 'vitest';
import * as wire from '../../../src/core/wire/client.ts';
import { ask, GatewayWorld, type Peer } from './gateway-world.ts';
import type { Subscribe } from '../../../src/actors/shipper-messages.ts';

const subscribed = (world: GatewayWorld): Subscribe[] =>
  world.shipped.splice(0).flatMap((message) => (message.kind === 'subscribe' ? [message] : []));

const taken = (world: GatewayWorld): (readonly [number, number])[] =>
  world.shipped.splice(0).flatMap((message) => (message.kind === 'taken' ? message.taken : []));

/** The shipper hands `bytes` to the socket of `peer`, which keeps them until the test drains it. */
function hand(world: GatewayWorld, peer: Peer, { sub, reader, request }: Subscribe, bytes: number): void {
  peer.bufferedBytes += bytes;
  const frame = new Uint8Array(bytes).with(0, wire.FRAME.stream).with(1, request);
  world.gateway.ship({ kind: 'parts', frames: [frame], to: [sub, reader, 0], endsSlice: false });
}

test('what a client wishes for goes to the shipper, with one number for all that it reads', () => {
  const world = new GatewayWorld();
  const [peer, other] = [world.peer(), world.peer()];
  peer.ask(ask.watch(1, 5, 1_000, { bookmarks: true, tellSlow: true }), ask.ledger(2));
  other.ask(ask.watch(1, 5));
  const [watch, ledger, elsewhere] = subscribed(world);
  expect(watch).toMatchObject({ bookmarks: true, tellSlow: true });
  expect(elsewhere).toMatchObject({ bookmarks: false, tellSlow: false });
  expect(ledger?.reader).toBe(watch?.reader);
  expect(elsewhere?.reader).not.toBe(watch?.reader);
});

test('a part is taken when it has left the socket, and told with the next sweep, to the byte', () => {
  const world = new GatewayWorld();
  const peer = world.peer();
  peer.ask(ask.watch(7, 1));
  const [watch] = subscribed(world);
  if (watch === undefined) throw new Error('a watch subscribes');
  hand(world, peer, watch, 400);
  hand(world, peer, watch, 600);
  world.pass(25);
  expect(taken(world)).toEqual([]);
  peer.bufferedBytes = 700;
  world.pass(25);
  expect(taken(world)).toEqual([[watch.reader, 300]]);
  // What else waits in the socket came later, and is not the watch's.
  peer.bufferedBytes = 5_000;
  world.pass(25);
  expect(taken(world)).toEqual([]);
  peer.bufferedBytes = 0;
  world.pass(25);
  expect(taken(world)).toEqual([[watch.reader, 700]]);
  world.pass(25);
  expect(world.shipped).toEqual([]);
});

test('whoever is gone holds nothing: neither what its socket had, nor what comes after', () => {
  const world = new GatewayWorld();
  const peer = world.peer();
  peer.ask(ask.watch(7, 1), ask.watch(8, 1));
  const [first, second] = subscribed(world);
  if (first === undefined || second === undefined) throw new Error('two watches subscribe');
  peer.cancel(8);
  // It was on its way when the watch was cancelled.
  hand(world, peer, second, 100);
  hand(world, peer, first, 50);
  peer.bufferedBytes = 50;
  world.pass(25);
  expect(taken(world)).toEqual([[first.reader, 100]]);
  world.gateway.closed(peer.connection);
  hand(world, peer, first, 30);
  world.pass(25);
  const rest = taken(world);
  expect(rest.map(([reader]) => reader)).toEqual(rest.map(() => first.reader));
  expect(rest.reduce((sum, [, bytes]) => sum + bytes, 0)).toBe(80);
});
