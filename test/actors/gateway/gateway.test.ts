import { describe, expect, test } from 'vitest';
import { ByteWriter, utf8 } from '../../../src/core/base/bytes.ts';
import { encodeTxn } from '../../../src/core/model/commands.ts';
import { LIMITS } from '../../../src/core/model/limits.ts';
import * as wire from '../../../src/core/wire/client.ts';
import { ask, type Ask, GatewayWorld, tokenOf } from './gateway-world.ts';

const MIB = 1024 * 1024;

describe('greetings', () => {
  test('a client of our version is welcomed, with who leads', () => {
    const world = new GatewayWorld();
    world.leads('n1', 3);
    const peer = world.peer(false);
    peer.hello();
    expect(peer.heard).toMatchObject([
      { kind: 'welcome', welcome: { version: 1, node: 'n1', cluster: 'test', leader: 'n1', leaderUrl: 'ws://n1' } },
    ]);
  });

  test.each([
    ['only older versions', 0, 0, 'PROTOCOL_VERSION'],
    ['only newer versions', 2, 9, 'PROTOCOL_VERSION'],
    ['no version at all', 3, 1, 'PROTOCOL_VERSION'],
  ] as const)('one that speaks %s is told so and let go', (_what, min, max, code) => {
    const peer = new GatewayWorld().peer(false);
    peer.hello(min, max);
    expect([peer.goodbye, peer.isClosed]).toEqual([code, true]);
  });

  test('one that speaks newer versions beside ours is welcome', () => {
    const peer = new GatewayWorld().peer(false);
    peer.hello(1, 7);
    expect(peer.heard[0]).toMatchObject({ kind: 'welcome', welcome: { version: 1 } });
  });

  test.each([
    ['an empty frame', new Uint8Array(0)],
    ['a frame of no type', Uint8Array.of(99, 1, 2, 3)],
    ['a hello of another protocol', new ByteWriter(16).u8(wire.FRAME.hello).u32(1).u8(1).u8(1).string('x').take()],
    ['a hello that ends too early', Uint8Array.of(wire.FRAME.hello, 0x43)],
    ['requests before the hello', new ByteWriter(16).u8(wire.FRAME.requests).varint(1).take()],
  ])('%s is no greeting: goodbye, and nothing after it is heard', (_what, frame) => {
    const world = new GatewayWorld();
    const peer = world.peer(false);
    peer.raw(frame);
    expect([peer.goodbye, peer.isClosed]).toEqual(['PROTOCOL_ERROR', true]);
    expect(world.gateway.connections).toBe(0);
    peer.hello();
    expect(peer.heard).toHaveLength(1);
  });

  test('who says nothing is let go after five seconds', () => {
    const world = new GatewayWorld();
    const peer = world.peer(false);
    world.pass(5_000);
    expect(peer.isClosed).toBe(false);
    world.pass(250);
    expect([peer.goodbye, peer.isClosed]).toEqual(['DEADLINE_EXCEEDED', true]);
  });

  test.each([
    ['a second hello', wire.encodeHello({ versionMin: 1, versionMax: 1, client: '' })],
    ['a frame that only servers send', Uint8Array.of(wire.FRAME.welcome)],
    ['an unknown frame', Uint8Array.of(200)],
    ['a request that is longer than its frame', new ByteWriter(16).u8(3).varint(1).u8(1).varint(0).u32(99).take()],
    ['a number that never ends', new Uint8Array(30).fill(0xff).with(0, wire.FRAME.requests)],
  ])('%s ends a connection; its neighbour notices nothing', (_what, frame) => {
    const world = new GatewayWorld();
    const [bad, good] = [world.peer(), world.peer()];
    good.ask(ask.status(1));
    bad.raw(frame);
    expect([bad.goodbye, bad.isClosed]).toEqual(['PROTOCOL_ERROR', true]);
    good.ask(ask.status(2));
    expect([good.outcome(1), good.outcome(2), good.isClosed]).toEqual(['ok', 'ok', false]);
  });

  test('a stopping gateway says goodbye to everybody', () => {
    const world = new GatewayWorld();
    const peers = [world.peer(), world.peer()];
    world.gateway.close();
    expect(peers.map((peer) => [peer.goodbye, peer.isClosed])).toEqual([
      ['UNAVAILABLE', true],
      ['UNAVAILABLE', true],
    ]);
  });
});

describe('limits', () => {
  const txn = (id: number, body: Parameters<typeof encodeTxn>[1]): Ask => ({
    id,
    kind: wire.REQUEST.txn,
    body: (writer) => {
      writer.varint(0).varint(0).varint(0);
      encodeTxn(writer, body);
    },
  });
  const puts = (count: number, bytes: number): Parameters<typeof encodeTxn>[1] => ({
    conditions: [],
    then: Array.from({ length: count }, (_, i) => ({
      kind: 'put' as const,
      key: utf8(`k${i}`),
      value: new Uint8Array(bytes),
      ttlMs: 0,
    })),
    otherwise: [],
  });

  test.each([
    ['an empty key', ask.put(1, ''), 'KEY_INVALID'],
    ['a long key', ask.put(1, 'x'.repeat(LIMITS.keyBytesMax + 1)), 'KEY_INVALID'],
    ['a long key to read', ask.get(1, 'x'.repeat(LIMITS.keyBytesMax + 1)), 'KEY_INVALID'],
    ['a large value', ask.put(1, 'k', new Uint8Array(LIMITS.valueBytesMax + 1)), 'VALUE_TOO_LARGE'],
    ['a txn of many operations', txn(1, puts(LIMITS.txnOpsMax + 1, 1)), 'TXN_TOO_LARGE'],
    ['a txn of many bytes', txn(1, puts(5, 900_000)), 'TXN_TOO_LARGE'],
    [
      'a txn that writes a key twice',
      txn(1, { ...puts(1, 1), then: [...puts(1, 1).then, ...puts(1, 2).then] }),
      'BAD_REQUEST',
    ],
    ['an unknown request', { id: 1, kind: 99, body: () => {} }, 'BAD_REQUEST'],
    [
      'the clock',
      { id: 1, kind: 7, body: (writer: ByteWriter) => writer.varint(0).varint(0).varint(0) },
      'BAD_REQUEST',
    ],
    [
      'a body that ends too early',
      { id: 1, kind: wire.REQUEST.put, body: (writer: ByteWriter) => writer.varint(0) },
      'PROTOCOL_ERROR',
    ],
    ['a body with more behind it', { ...ask.status(1), body: (writer: ByteWriter) => writer.u8(1) }, 'PROTOCOL_ERROR'],
    ['another cluster’s replica', ask.ledger(1, 'other'), 'LDB_FOREIGN'],
    ['a replica that goes on, of a node that has nothing', ask.ledger(1, 'test', 2), 'LDB_MISSING'],
    ['a ledger from before the first revision', ask.ledger(1, 'test', 0), 'BAD_REQUEST'],
  ] as [string, Ask, string][])(
    '%s is refused with its code; the next request of the frame is served',
    (_what, bad, code) => {
      const world = new GatewayWorld();
      const peer = world.peer();
      peer.ask(bad, ask.status(2));
      expect([peer.outcome(1), peer.outcome(2), peer.isClosed]).toEqual([code, 'ok', false]);
      expect(world.handed().commands).toEqual([]);
      expect(world.gateway.inFlight).toBe(0);
    },
  );

  test('limits are what may be: the largest key and value, and a full txn, pass', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    peer.ask(
      ask.put(1, 'x'.repeat(LIMITS.keyBytesMax), new Uint8Array(LIMITS.valueBytesMax)),
      txn(2, puts(LIMITS.txnOpsMax, 100)),
    );
    world.apply(world.handed().commands);
    expect([peer.outcome(1), peer.outcome(2)]).toEqual(['ok', 'ok']);
  });

  test('past the requests that a node holds at once, all kinds are OVERLOADED, until one is answered', () => {
    const world = new GatewayWorld({ inFlightMax: 2 });
    const [one, two] = [world.peer(), world.peer()];
    one.ask(ask.put(1, 'a'), ask.get(2, 'a'));
    two.ask(ask.put(1, 'b'), ask.get(2, 'b'), ask.range(3, { isLocal: false }));
    expect([1, 2, 3].map((id) => two.outcome(id))).toEqual(['OVERLOADED', 'OVERLOADED', 'OVERLOADED']);
    expect(two.errorOf(1)?.data).toEqual({ limit: 2 });
    world.apply(world.handed().commands);
    two.ask(ask.put(4, 'b'));
    expect(two.outcome(4)).toBeUndefined();
  });

  test('past the bytes of writes under way, writes are OVERLOADED, and reads go on', () => {
    const world = new GatewayWorld({ memtableBytes: 512 * MIB });
    const peer = world.peer();
    const value = new Uint8Array(LIMITS.valueBytesMax);
    for (let id = 1; id <= 63; id++) peer.ask(ask.put(id, `k${id}`, value));
    expect(peer.heard).toEqual([]);
    peer.ask(ask.put(64, 'k64', value));
    expect(peer.outcome(64)).toBe('OVERLOADED');
    peer.ask(ask.get(65, 'k', { isLocal: true }));
    expect(peer.outcome(65)).toBe('ok');
  });

  test('what the inbox has no room for follows in order as soon as it has', () => {
    const world = new GatewayWorld({ memtableBytes: 256 * MIB, inboxBytes: 4 * MIB });
    const peer = world.peer();
    for (let id = 1; id <= 12; id++) peer.ask(ask.put(id, `k${id}`, new Uint8Array(900_000)));
    const commands: Uint8Array[] = [];
    for (let turns = 0; turns < 20; turns++) {
      commands.push(...world.handed().commands);
      world.gateway.turn();
    }
    expect(commands).toHaveLength(12);
    expect(commands.map(tokenOf)).toEqual(commands.map((_, i) => tokenOf(commands[0] as Uint8Array) + i));
  });

  test('a full disk refuses what adds, and takes deletes', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    peer.ask(ask.put(1, 'k1'));
    world.apply(world.handed().commands);
    world.isFull = true;
    peer.ask(ask.put(2, 'k2'));
    expect(peer.outcome(2)).toBe('STORE_FULL');
    expect(world.handed().commands).toEqual([]);
    peer.ask(ask.remove(3, 'k1'));
    world.apply(world.handed().commands);
    expect(peer.outcome(3)).toBe('ok');
    world.isFull = false;
    peer.ask(ask.put(4, 'k2'));
    world.apply(world.handed().commands);
    expect(peer.outcome(4)).toBe('ok');
  });

  test('a connection has at most 256 streams, and a number names one', () => {
    const world = new GatewayWorld();
    world.write(['a']);
    const peer = world.peer();
    for (let id = 1; id <= 256; id++) peer.ask(ask.range(id, { creditBytes: 0 }));
    peer.ask(ask.range(257, { creditBytes: 0 }), ask.watch(258, 1));
    expect([peer.outcome(257), peer.outcome(258)]).toEqual(['OVERLOADED', 'OVERLOADED']);
    peer.ask(ask.range(9, { creditBytes: 0 }));
    expect(peer.errorOf(9)?.code).toBe('BAD_REQUEST');
    peer.cancel(10);
    peer.ask(ask.watch(259, 1));
    expect(peer.outcome(259)).toBeUndefined();
  });
});

describe('writes', () => {
  test('what one frame brings goes to replication in one, and its answers come back in one', () => {
    const world = new GatewayWorld();
    world.leads('n1', 1);
    const peer = world.peer();
    peer.ask(ask.put(1, 'a'), ask.put(2, 'b'), ask.remove(3, 'c'));
    const { commands } = world.handed();
    expect(commands).toHaveLength(3);
    peer.frames.length = 0;
    world.apply(commands);
    expect(peer.frames).toHaveLength(1);
    expect([1, 2, 3].map((id) => peer.outcome(id))).toEqual(['ok', 'ok', 'ok']);
    expect(peer.heard.map((heard) => heard.kind === 'reply' && heard.revision)).toEqual([1, 2, 3]);
    expect(world.gateway.inFlight).toBe(0);
  });

  test('the deadline of a write that a leader had: OUTCOME_UNKNOWN; its late answer is nobody’s', () => {
    const world = new GatewayWorld();
    world.leads('n1', 1);
    const peer = world.peer();
    peer.ask(ask.put(1, 'a', 'v', 500));
    const { commands } = world.handed();
    world.pass(499);
    expect(peer.outcome(1)).toBeUndefined();
    world.pass(1);
    expect(peer.outcome(1)).toBe('OUTCOME_UNKNOWN');
    world.apply(commands);
    expect(peer.settled(1)).toBe(1);
  });

  test('the deadline of a write that no leader had: UNAVAILABLE, and that it may yet happen', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    peer.ask(ask.put(1, 'a', 'v', 500));
    world.pass(500);
    expect(peer.errorOf(1)).toMatchObject({ code: 'UNAVAILABLE', data: { mayHappen: true } });
  });

  test('a deadline of none is ten minutes, and none is longer', () => {
    const world = new GatewayWorld();
    world.leads('n1', 1);
    const peer = world.peer();
    peer.ask(ask.put(1, 'a', 'v', 0), ask.put(2, 'b', 'v', 2 ** 50));
    world.pass(599_999);
    expect(peer.heard).toEqual([]);
    world.pass(1);
    expect([peer.outcome(1), peer.outcome(2)]).toEqual(['OUTCOME_UNKNOWN', 'OUTCOME_UNKNOWN']);
  });

  test('another leader: OUTCOME_UNKNOWN for what the last one had, and only for that', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    world.leads('n1', 4);
    peer.ask(ask.put(1, 'had'));
    world.leads('', 5);
    expect(peer.outcome(1)).toBeUndefined();
    peer.ask(ask.put(2, 'held'));
    world.leads('n2', 5);
    peer.ask(ask.put(3, 'new'));
    expect([1, 2, 3].map((id) => peer.outcome(id))).toEqual(['OUTCOME_UNKNOWN', undefined, undefined]);
    world.apply(world.handed().commands);
    expect([1, 2, 3].map((id) => peer.settled(id))).toEqual([1, 1, 1]);
    expect([peer.outcome(2), peer.outcome(3)]).toEqual(['ok', 'ok']);
  });

  test('what was held went to the leader that came, and is in doubt when that one goes', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    peer.ask(ask.put(1, 'held'));
    world.leads('n2', 5);
    world.leads('', 6);
    expect(peer.outcome(1)).toBeUndefined();
    world.leads('n3', 6);
    expect(peer.outcome(1)).toBe('OUTCOME_UNKNOWN');
  });

  test('the same leader again is no news for anybody’s write', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    world.leads('n2', 5);
    peer.ask(ask.put(1, 'a'));
    world.leads('', 5);
    world.leads('n2', 5);
    expect(peer.outcome(1)).toBeUndefined();
    expect(peer.heard.filter(({ kind }) => kind === 'notice')).toHaveLength(3);
  });

  test('a refusal is an error by its code, and nothing happened', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    peer.ask(ask.put(1, 'a'), ask.put(2, 'b'));
    const { commands } = world.handed();
    world.refuse('NOT_LEADER', commands.slice(0, 1));
    world.refuse('OVERLOADED', commands.slice(1));
    expect([peer.outcome(1), peer.outcome(2)]).toEqual(['NOT_LEADER', 'OVERLOADED']);
    expect(peer.errorOf(1)?.data).toEqual({});
    expect(world.gateway.inFlight).toBe(0);
  });

  test('tokens do not begin where those of another boot began', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    peer.ask(ask.put(1, 'a'));
    const [command] = world.handed().commands;
    expect(tokenOf(command as Uint8Array)).toBe(9_000_000_000 % 2 ** 32);
    // A refusal that was on its way to the boot before: its tokens were others.
    const stale = Uint8Array.from(command as Uint8Array);
    new DataView(stale.buffer).setUint32(17, 1, true);
    world.refuse('NOT_LEADER', [stale]);
    expect(peer.outcome(1)).toBeUndefined();
  });

  test('a connection that is gone hears nothing; its writes go on and are counted out when they are done', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    peer.ask(ask.put(1, 'a'));
    world.gateway.closed(peer.connection);
    expect(world.gateway.inFlight).toBe(1);
    world.apply(world.handed().commands);
    expect(world.gateway.inFlight).toBe(0);
    expect(peer.heard).toEqual([]);
    expect(world.memtable.get(utf8('a'), world.machine.applied)).toBeDefined();
  });
});

describe('reads', () => {
  test('a linearizable read waits for a confirmed index, and for that to be applied', () => {
    const world = new GatewayWorld();
    world.write(['a'], 'old');
    const peer = world.peer();
    peer.ask(ask.get(1, 'a'), ask.get(2, 'b'));
    const { reads } = world.handed();
    expect(reads).toHaveLength(1);
    world.confirm(reads[0] ?? 0, 3);
    expect(peer.heard).toEqual([]);
    expect(world.shared.get('readsWait')).toBe(1);
    world.write(['a'], 'new');
    expect(peer.heard).toEqual([]);
    world.write(['c']);
    expect(peer.heard.find((heard) => heard.kind === 'reply' && heard.id === 1)).toMatchObject({
      revision: 2,
      extra: new Uint8Array([...new Uint8Array(8), ...utf8('new')]),
    });
    expect(peer.heard.find((heard) => heard.kind === 'reply' && heard.id === 2)).toMatchObject({ revision: 0 });
    expect(world.shared.get('readsWait')).toBe(0);
  });

  test('a local read is answered at once, unless it names a revision that is not here yet', () => {
    const world = new GatewayWorld();
    world.write(['a']);
    const peer = world.peer();
    peer.ask(ask.get(1, 'a', { isLocal: true }), ask.get(2, 'a', { isLocal: true, atLeast: 2 }));
    expect([peer.outcome(1), peer.outcome(2)]).toEqual(['ok', undefined]);
    expect(world.handed().reads).toEqual([]);
    world.write(['b']);
    expect(peer.outcome(2)).toBe('ok');
  });

  test('a read that nobody confirms ends at its deadline, and leaves nothing behind', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    peer.ask(ask.get(1, 'a', { deadlineMs: 400 }), ask.watch(2, 0), ask.range(3, { isLocal: false }));
    world.pass(400);
    expect([peer.outcome(1), peer.outcome(2)]).toEqual(['DEADLINE_EXCEEDED', undefined]);
    world.pass(600);
    expect([peer.outcome(2), peer.outcome(3)]).toEqual(['DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED']);
    expect(world.gateway.inFlight).toBe(0);
    expect(world.shipped).toEqual([]);
  });

  test('a refused round is asked again, and the read answered', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    peer.ask(ask.get(1, 'a'));
    world.confirm(world.handed().reads[0] ?? 0, 0);
    world.pass(25);
    const { reads } = world.handed();
    expect(reads).toHaveLength(1);
    world.confirm(reads[0] ?? 0, 0 + 1);
    world.write(['x']);
    expect(peer.outcome(1)).toBe('ok');
  });

  test('a connection that is gone takes its reads with it', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    peer.ask(ask.get(1, 'a'), ask.get(2, 'a', { isLocal: true, atLeast: 9 }));
    world.gateway.closed(peer.connection);
    expect(world.gateway.inFlight).toBe(0);
  });

  test('status is JSON, and needs nobody', () => {
    const peer = new GatewayWorld().peer();
    peer.ask(ask.status(1));
    const [reply] = peer.heard;
    expect(reply?.kind === 'reply' && JSON.parse(Buffer.from(reply.extra).toString())).toEqual({
      node: 'n1',
      role: 'leader',
    });
  });
});

describe('ranges', () => {
  const names = Array.from({ length: 500 }, (_, i) => `k${String(i).padStart(4, '0')}`);

  function filled(): GatewayWorld {
    const world = new GatewayWorld({ memtableBytes: 64 * MIB });
    world.write(names, 'x'.repeat(2_000));
    return world;
  }

  test('entries come in order, and an end', () => {
    const world = filled();
    const peer = world.peer();
    peer.ask(ask.range(1, { creditBytes: 100 * MIB }));
    expect(peer.keys(1)).toEqual(names);
    expect(peer.outcome(1)).toBe('ok');
    expect(peer.parts(1).length).toBeGreaterThan(10);
  });

  test('without credit nothing more comes; with credit it goes on, and gives nothing twice', () => {
    const world = filled();
    const peer = world.peer();
    peer.ask(ask.range(1, { creditBytes: 100_000 }));
    let sent = peer.parts(1).reduce((sum, { bytes }) => sum + bytes, 0);
    expect(sent).toBeGreaterThanOrEqual(100_000);
    expect(sent).toBeLessThan(200_000);
    world.pass(1_000);
    world.gateway.turn();
    expect(peer.parts(1).reduce((sum, { bytes }) => sum + bytes, 0)).toBe(sent);
    expect(peer.outcome(1)).toBeUndefined();
    for (let i = 0; i < 100 && peer.outcome(1) === undefined; i++) {
      peer.credit(1, 50_000);
      sent += 50_000;
    }
    expect(peer.outcome(1)).toBe('ok');
    expect(peer.keys(1)).toEqual(names);
    expect(peer.parts(1).reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(sent + 70_000);
  });

  test('it shows one revision, whatever is written meanwhile', () => {
    const world = filled();
    const peer = world.peer();
    peer.ask(ask.range(1, { creditBytes: 1 }));
    world.write(['k0001a', 'k0499', 'z']);
    peer.credit(1, 100 * MIB);
    expect(peer.keys(1)).toEqual(names);
    const revisions = peer
      .parts(1)
      .map(({ payload }) => Number(new DataView(payload.buffer, payload.byteOffset).getBigUint64(0, true)));
    expect(new Set(revisions)).toEqual(new Set([500]));
  });

  test('bounds, a limit and the other direction', () => {
    const world = filled();
    const peer = world.peer();
    peer.ask(
      ask.range(1, { from: 'k0010', to: 'k0013' }),
      ask.range(2, { from: 'k0010', to: 'k0013', reverse: true }),
      ask.range(3, { from: 'k0100', limit: 2 }),
      ask.range(4, { to: 'k0100', limit: 2, reverse: true }),
      ask.range(5, { from: 'x', to: 'a' }),
    );
    expect([1, 2, 3, 4, 5].map((id) => peer.keys(id))).toEqual([
      ['k0010', 'k0011', 'k0012'],
      ['k0012', 'k0011', 'k0010'],
      ['k0100', 'k0101'],
      ['k0099', 'k0098'],
      [],
    ]);
    expect([1, 2, 3, 4, 5].map((id) => peer.outcome(id))).toEqual(['ok', 'ok', 'ok', 'ok', 'ok']);
  });

  test('at a revision: the state of then; at one to come: once it is here', () => {
    const world = new GatewayWorld();
    world.write(['a', 'b', 'c']);
    const peer = world.peer();
    peer.ask(ask.range(1, { isLocal: false, revision: 2 }), ask.range(2, { isLocal: false, revision: 5 }));
    // A revision that was named is settled: nobody has to be asked.
    expect(world.handed().reads).toEqual([]);
    expect(peer.keys(1)).toEqual(['a', 'b']);
    expect(peer.outcome(2)).toBeUndefined();
    world.write(['d', 'e', 'f']);
    expect(peer.keys(2)).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  test('a cancelled one says nothing more', () => {
    const world = filled();
    const peer = world.peer();
    peer.ask(ask.range(1, { creditBytes: 1 }), ask.range(2, { isLocal: false }));
    const count = peer.parts(1).length;
    peer.cancel(1);
    peer.cancel(2);
    peer.credit(1, 100 * MIB);
    world.confirm(world.handed().reads[0] ?? 0, 1);
    expect(peer.parts(1)).toHaveLength(count);
    expect([peer.settled(1), peer.settled(2)]).toEqual([0, 0]);
    expect(world.gateway.inFlight).toBe(0);
  });

  test('one with credit without end waits for its socket, and goes on when that has drained', () => {
    const world = filled();
    const peer = world.peer();
    peer.bufferedBytes = 8 * MIB;
    peer.ask(ask.range(1, { creditBytes: 2 ** 50 }));
    expect(peer.parts(1)).toEqual([]);
    peer.bufferedBytes = 0;
    world.pass(25);
    expect(peer.keys(1)).toEqual(names);
  });
});

describe('watches and ledgers', () => {
  test('one from a revision goes to the shipper at once; its parts and its end come back', () => {
    const world = new GatewayWorld();
    world.write(['k']);
    const peer = world.peer();
    peer.ask(ask.watch(7, 12), ask.ledger(8, 'test', 3));
    expect(world.shipped).toMatchObject([
      { kind: 'subscribe', mode: 'watch', request: 7, fromRevision: 12, creditBytes: 1_000, from: utf8('a') },
      { kind: 'subscribe', mode: 'ledger', request: 8, fromRevision: 3 },
    ]);
    const [watch] = world.shipped;
    const sub = watch?.kind === 'subscribe' ? watch.sub : 0;
    const frame = new ByteWriter(16).u8(wire.FRAME.stream).varint(7).u8(wire.PART.progress).u64(11).take();
    world.gateway.ship({ kind: 'parts', frames: [frame], to: [sub, 1, 0], endsSlice: false });
    expect(peer.parts(7)).toHaveLength(1);
    world.gateway.ship({
      kind: 'end',
      sub,
      error: { code: 'COMPACTED', message: 'gone', data: { oldestRevision: 90 } },
    });
    expect(peer.errorOf(7)).toMatchObject({ code: 'COMPACTED', data: { oldestRevision: 90 } });
    world.gateway.ship({ kind: 'parts', frames: [frame], to: [sub, 1, 0], endsSlice: false });
    expect(peer.parts(7)).toHaveLength(1);
  });

  test('one from now on begins behind what a quorum had confirmed and this node has', () => {
    const world = new GatewayWorld();
    world.write(['a', 'b']);
    const peer = world.peer();
    peer.ask(ask.watch(7, 0));
    expect(world.shipped).toEqual([]);
    world.confirm(world.handed().reads[0] ?? 0, 4);
    expect(world.shipped).toEqual([]);
    world.write(['c', 'd']);
    expect(world.shipped).toMatchObject([{ kind: 'subscribe', fromRevision: 5 }]);
  });

  test('credit and cancel go on; a closed connection cancels all it had', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    peer.ask(ask.watch(7, 1), ask.watch(8, 1), ask.watch(9, 1));
    const subs = world.shipped.splice(0).map((message) => (message.kind === 'subscribe' ? message.sub : 0));
    peer.credit(7, 500);
    peer.cancel(8);
    expect(world.shipped.splice(0)).toEqual([
      { kind: 'credit', sub: subs[0], bytes: 500 },
      { kind: 'cancel', sub: subs[1] },
    ]);
    world.gateway.closed(peer.connection);
    expect(world.shipped).toEqual([
      { kind: 'cancel', sub: subs[0] },
      { kind: 'cancel', sub: subs[2] },
    ]);
  });

  test('more credit than memory is ours is not passed on at once, and what was sent comes back', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    peer.ask(ask.watch(7, 1, 2 ** 50));
    const [subscribe] = world.shipped.splice(0);
    if (subscribe?.kind !== 'subscribe') throw new Error('a watch subscribes');
    const first = subscribe.creditBytes;
    expect(first).toBeLessThanOrEqual(MIB);
    peer.credit(7, 2 ** 50);
    expect(world.shipped.splice(0)).toEqual([]);
    const frame = new Uint8Array(1_000).fill(0).with(0, wire.FRAME.stream).with(1, 7);
    const { sub, reader } = subscribe;
    world.gateway.ship({ kind: 'parts', frames: [frame], to: [sub, reader, 0], endsSlice: false });
    peer.credit(7, 2 ** 50);
    expect(world.shipped).toMatchObject([{ kind: 'credit', bytes: 1_000 }]);
  });
});

describe('a client that does not read', () => {
  test('is cut off once too much waits for it; its neighbour is not', () => {
    const world = new GatewayWorld();
    const [bad, good] = [world.peer(), world.peer()];
    bad.bufferedBytes = 16 * MIB + 1;
    world.pass(25);
    expect([bad.goodbye, bad.isClosed]).toEqual(['OVERLOADED', true]);
    expect([good.isClosed, world.gateway.connections]).toEqual([false, 1]);
  });

  test('gets no more values while many bytes wait, and is told why', () => {
    const world = new GatewayWorld();
    world.write(['a'], new Uint8Array(MIB));
    const peer = world.peer();
    peer.bufferedBytes = 10 * MIB;
    peer.ask(ask.get(1, 'a', { isLocal: true }));
    expect(peer.outcome(1)).toBe('OVERLOADED');
    peer.bufferedBytes = 0;
    peer.ask(ask.get(2, 'a', { isLocal: true }));
    expect(peer.outcome(2)).toBe('ok');
  });

  test('a flood of bad requests is answered in frames of bounded size', () => {
    const world = new GatewayWorld();
    const peer = world.peer();
    peer.ask(...Array.from({ length: 40_000 }, (_, i) => ({ id: i + 1, kind: 99, body: () => {} })));
    expect(peer.heard).toHaveLength(40_000);
    expect(Math.max(...peer.frames)).toBeLessThan(1.1 * MIB);
  });
});
