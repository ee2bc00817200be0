import { expect, test } from 'vitest';
import { ByteReader, ByteWriter, text } from '../../../src/core/base/bytes.ts';
import * as wire from '../../../src/core/wire/client.ts';
import { encodeFleetRequest, encodeReport, type FleetVisibility, type LdbRow } from '../../../src/core/wire/fleet.ts';
import { type Ask, GatewayWorld, type Peer } from './gateway-world.ts';

const follow = (id: number, name: string, instance = 'i'): Ask => ({
  id,
  kind: wire.REQUEST.ledger,
  body: (writer) => {
    const identity = { id: name, instance, host: 'h', labels: {}, pid: 1, version: '0' };
    wire.encodeLedger(writer, { fromRevision: 1, cluster: '', creditBytes: 1_000, ldb: { identity, streamMs: 1 } });
  },
});

const visible = (id: number, revision: number, share = 1, withinMs = 1_000): Ask => ({
  id,
  kind: wire.REQUEST.fleet,
  deadlineMs: 10_000,
  body: (writer) => writer.raw(encodeFleetRequest({ op: 'visible', revision, share, replicasMin: 0, withinMs })),
});

function report(peer: Peer, id: number, revision: number): void {
  const frame = new ByteWriter(32).u8(wire.FRAME.report).varint(id);
  encodeReport(frame, { revision, timeMs: 1, isInSnapshot: false });
  peer.raw(frame.take());
}

function seenBy(peer: Peer, id: number): FleetVisibility | undefined {
  const heard = peer.heard.find((one) => one.kind === 'reply' && one.id === id);
  return heard?.kind === 'reply' ? (JSON.parse(text(heard.extra)) as FleetVisibility) : undefined;
}

const row = (id: string, revision: number, state: LdbRow['state'], streamMs = 1): LdbRow => ({
  ...{ id, instance: 'i', host: 'h', labels: {}, pid: 1, version: '0' },
  ...{ via: 'n2', filter: null, revision, timeMs: 0, state, silentMs: 0, streamMs },
});

/** The round that is under way, if one is. */
function round(world: GatewayWorld): number {
  const asked = world.handed().fleetAsks.at(-1);
  if (asked === undefined) throw new Error('no round is under way');
  return asked.id;
}

test('an LDB is asked to report what somebody waits for, once, and its report is enough', () => {
  const world = new GatewayWorld();
  const [ldb, client] = [world.peer(), world.peer()];
  ldb.ask(follow(1, 'a'));
  client.ask(visible(5, 9));
  world.fleetPeers(round(world), []);
  expect(client.outcome(5)).toBeUndefined();
  world.pass(25);
  world.fleetPeers(round(world), []);
  const asked = ldb.parts(1).map(({ payload }) => new ByteReader(payload));
  expect(asked.map((reader) => [reader.u8(), reader.u64()])).toEqual([[wire.PART.asked, 9]]);
  report(ldb, 1, 9);
  world.pass(25);
  world.fleetPeers(round(world), []);
  expect(seenBy(client, 5)).toEqual({ replicas: 1, showing: 1, missing: [], unheard: [] });
  expect(client.connection.inFlight).toBe(0);
});

test('a node that is away counts against it until its replicas would have gone elsewhere', () => {
  const world = new GatewayWorld();
  const client = world.peer();
  client.ask(visible(5, 9, 1, 500));
  world.fleetPeers(round(world), [], [{ id: 'n2', awayMs: 29_000 }]);
  world.pass(400);
  world.fleetPeers(round(world), [], [{ id: 'n2', awayMs: 29_400 }]);
  world.pass(100);
  expect(client.outcome(5)).toBe('NOT_VISIBLE');
  expect(client.errorOf(5)?.data).toMatchObject({ revision: 9, replicas: 0, unheard: ['n2'] });
  world.handed();
  client.ask(visible(6, 9));
  world.fleetPeers(round(world), [], [{ id: 'n2', awayMs: 30_000 }]);
  expect(seenBy(client, 6)).toMatchObject({ replicas: 0, unheard: [] });
});

test('a node that is asked and says nothing is named when the time is up', () => {
  const world = new GatewayWorld();
  const client = world.peer();
  client.ask(visible(5, 9, 1, 100));
  world.fleetPeers(round(world), ['n2', 'n3']);
  world.pass(1_000);
  world.pass(1_000);
  expect(client.errorOf(5)?.data).toMatchObject({ unheard: ['n2', 'n3'] });
});

test('an LDB that left one node and is at another counts once, and as what it is there', () => {
  const world = new GatewayWorld();
  const client = world.peer();
  client.ask(visible(5, 9));
  const first = round(world);
  world.fleetPeers(first, ['n2', 'n3']);
  world.fleetAnswer(first, 'n2', { connected: 0, behind: [1], rows: [row('a', 3, 'gone')] });
  world.fleetAnswer(first, 'n3', { connected: 1 });
  expect(seenBy(client, 5)).toBeUndefined();
  world.pass(25);
  const [next] = world.handed().fleetAsks;
  expect(next?.ask.sought).toEqual(['a']);
  const second = next?.id ?? 0;
  world.fleetPeers(second, ['n2', 'n3']);
  world.fleetAnswer(second, 'n2', { connected: 0, behind: [1], rows: [row('a', 3, 'gone')] });
  world.fleetAnswer(second, 'n3', { connected: 1, found: [{ id: 'a', instance: 'i', streamMs: 2 }] });
  expect(seenBy(client, 5)).toEqual({ replicas: 1, showing: 1, missing: [], unheard: [] });
});

test('answers of an earlier round, of strangers, and twice from one node count for nothing', () => {
  const world = new GatewayWorld();
  const client = world.peer();
  client.ask(visible(5, 9));
  const first = round(world);
  world.fleetPeers(first, ['n2']);
  world.fleetAnswer(first - 1, 'n2', { connected: 1 });
  world.fleetAnswer(first, 'n9', { connected: 1 });
  expect(client.outcome(5)).toBeUndefined();
  world.fleetAnswer(first, 'n2', { connected: 4, behind: [1], rows: [row('a', 3, 'following')] });
  world.fleetAnswer(first, 'n2', { connected: 4 });
  expect(client.outcome(5)).toBeUndefined();
});

test('those that a node had no room to name do not show it', () => {
  const world = new GatewayWorld();
  const client = world.peer();
  client.ask(visible(5, 9, 0.99, 100));
  const id = round(world);
  world.fleetPeers(id, ['n2']);
  world.fleetAnswer(id, 'n2', { connected: 100, behind: [30], rows: [row('a', 3, 'following')] });
  world.pass(200);
  world.pass(2_000);
  expect(client.errorOf(5)?.data).toMatchObject({ replicas: 100, showing: 70, missing: [{ id: 'a' }] });
});

test('a report that is none ends its connection; a question that is none is refused', () => {
  const world = new GatewayWorld();
  const [ldb, client] = [world.peer(), world.peer()];
  ldb.ask(follow(1, 'a'));
  ldb.raw(new ByteWriter(8).u8(wire.FRAME.report).varint(1).u8(0).take());
  expect(ldb.goodbye).toBe('PROTOCOL_ERROR');
  expect(world.gateway.fleet.rows()).toMatchObject([{ id: 'a', state: 'gone' }]);
  client.ask(visible(5, 9, 1.5));
  expect(client.outcome(5)).toBe('BAD_REQUEST');
  expect(client.goodbye).toBeUndefined();
});

test('a client that leaves takes its questions along', () => {
  const world = new GatewayWorld();
  const client = world.peer();
  client.ask(visible(5, 9));
  world.gateway.closed(client.connection);
  world.fleetPeers(round(world), []);
  world.pass(25);
  expect(world.handed().fleetAsks).toEqual([]);
  expect(world.gateway.inFlight).toBe(0);
});
