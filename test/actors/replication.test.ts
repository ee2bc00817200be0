import { describe, expect, test } from 'vitest';
import { resultCode } from '../../src/core/model/machine.ts';
import { toIndex, toTerm } from '../../src/core/base/position.ts';
import { commandKind } from '../../src/core/model/commands.ts';
import { ReplicationWorld } from './replication-world.ts';
import { putCommand } from './support.ts';

const MIB = 1024 * 1024;
const put = (token: number, bytes = 10): Uint8Array => putCommand(`k${token}`, new Uint8Array(bytes), { token });
const tokenOf = (data: Uint8Array): number => new DataView(data.buffer, data.byteOffset).getUint32(17, true);
const timeOf = (data: Uint8Array): number => new DataView(data.buffer, data.byteOffset).getFloat64(1, true);
const kindOf = (data: Uint8Array): string | undefined => commandKind(data[0] ?? 0);
const tokens = (entries: readonly { data: Uint8Array }[]): number[] =>
  entries.filter(({ data }) => data.length > 0 && kindOf(data) !== 'clock').map(({ data }) => tokenOf(data));

/** A node alone, elected, with its no-op applied. */
function alone(options: ConstructorParameters<typeof ReplicationWorld>[0] = {}): ReplicationWorld {
  const world = new ReplicationWorld(options);
  world.settle();
  world.takeApplied();
  world.told();
  expect(world.raft.isLeader).toBe(true);
  return world;
}

describe('to the disk and back', () => {
  test('a command is applied only after the sync of its own record', () => {
    const world = alone();
    world.propose(put(1));
    const [record] = world.takeRecords();
    expect(tokens(record?.entries ?? [])).toEqual([1]);
    world.sync(world.lastLsn - 1);
    expect(world.takeApplied()).toEqual([]);
    world.sync();
    expect(tokens(world.takeApplied())).toEqual([1]);
  });

  test('a sync that covers some of several records lets go of those only, in index order', () => {
    const world = alone();
    for (const token of [1, 2, 3]) world.propose(put(token));
    expect(world.takeRecords()).toHaveLength(3);
    world.sync(world.lastLsn - 1);
    expect(tokens(world.takeApplied())).toEqual([1, 2]);
    world.sync();
    expect(tokens(world.takeApplied())).toEqual([3]);
  });

  test('after a segment was closed, the LSN of its mark is not taken for that of a record', () => {
    const world = alone();
    // The committer closed a segment: its mark took the next LSN, and was counted before it was logged.
    const mark = world.lastLsn + 1;
    world.shared.set('walMarks', 1);
    world.propose(put(1));
    world.takeRecords();
    // The mark is synced; the record behind it is not.
    world.sync(mark);
    expect(world.takeApplied()).toEqual([]);
    world.sync(mark + 1);
    expect(tokens(world.takeApplied())).toEqual([1]);
  });

  test('the first LSN is the one after what recovery found', () => {
    const world = new ReplicationWorld({ lastLsn: 41 });
    world.replication.turn();
    expect(world.takeRecords().map((record) => record.lsn)).toEqual([42]);
    world.sync(41);
    expect(world.raft.isLeader).toBe(false);
    world.sync(42);
    expect(world.raft.isLeader).toBe(true);
  });

  test('a big persist becomes several records; it is synced once the last of them is', () => {
    const world = alone();
    world.propose(...[1, 2, 3, 4, 5].map((token) => put(token, 700_000)));
    const records = world.takeRecords();
    expect(records.length).toBeGreaterThanOrEqual(3);
    expect(records.flatMap((record) => tokens(record.entries))).toEqual([1, 2, 3, 4, 5]);
    // The commit index may name entries of the last part, so only that part tells it.
    expect(records.slice(0, -1).map((record) => record.hardState.commit)).toEqual(records.slice(0, -1).map(() => 0));
    world.sync(world.lastLsn - 1);
    expect(world.takeApplied()).toEqual([]);
    world.sync();
    expect(tokens(world.takeApplied())).toEqual([1, 2, 3, 4, 5]);
    // The LSNs of what follows are right, too.
    world.propose(put(6));
    world.takeRecords();
    world.sync(world.lastLsn - 1);
    expect(world.takeApplied()).toEqual([]);
    world.sync();
    expect(tokens(world.takeApplied())).toEqual([6]);
  });

  test('records that find no room keep their order, also before newer ones that would fit', () => {
    const world = alone({ recordsBytes: 64 * 1024 });
    const sizes = [20_000, 20_000, 25_000, 10, 25_000, 10, 10];
    for (const [i, bytes] of sizes.entries()) world.propose(put(i + 1, bytes));
    expect(world.replication.inspect().recordBacklog).toBeGreaterThan(0);
    const written: number[] = [];
    for (let turns = 0; written.length < sizes.length && turns < 100; turns++) {
      for (const record of world.takeRecords(1)) written.push(...tokens(record.entries));
      world.sync();
    }
    expect(written).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(tokens(world.takeApplied())).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });
});

describe('to the memtable', () => {
  test('what has no room in its ring waits, and none is lost or doubled', () => {
    const world = alone();
    const count = 60;
    for (let token = 1; token <= count; token++) {
      world.propose(put(token, 500_000));
      world.takeRecords();
      world.sync();
    }
    const applied: number[] = [];
    for (let turns = 0; applied.length < count && turns < 1_000; turns++) {
      applied.push(...tokens(world.takeApplied(1)));
      world.replication.turn();
    }
    expect(applied).toEqual(Array.from({ length: count }, (_, i) => i + 1));
  });

  test('the largest entry waits for room when the ring would have to be wrapped for it', () => {
    const world = alone();
    const words = new Int32Array(world.buffers.committed, 0, 2);
    // The memtable lags: 9.5 MiB are not read yet, and the ring ends in 4 MiB.
    words[0] = 2.5 * MIB;
    words[1] = 12 * MIB;
    world.propose(put(1, 4 * MIB + 1_000));
    world.takeRecords();
    world.sync();
    expect(words[1]).toBe(12 * MIB);
    // It caught up.
    words[0] = words[1] ?? 0;
    world.replication.turn();
    expect(tokens(world.takeApplied())).toEqual([1]);
  });

  test('entries larger and smaller than a frame come out whole, wherever the ring stands', () => {
    const world = alone();
    const sizes = [4 * MIB, 100, 3 * MIB, 700_000, 4 * MIB, 1, 2 * MIB, 4 * MIB, 500_000, 4 * MIB, 4 * MIB];
    const applied: { index: number; data: Uint8Array }[] = [];
    for (let round = 0; round < 5; round++) {
      for (const [i, bytes] of sizes.entries()) {
        world.propose(put(round * sizes.length + i + 1, bytes));
        world.takeRecords();
        world.sync();
        if (i % 2 === 0) applied.push(...world.takeApplied(1));
      }
      for (let more = world.takeApplied(1); more.length > 0; more = world.takeApplied(1)) {
        applied.push(...more);
        world.replication.turn();
      }
    }
    expect(tokens(applied)).toEqual(Array.from({ length: 5 * sizes.length }, (_, i) => i + 1));
  });
});

describe('from the gateway', () => {
  test('a leader stamps by its wall clock and then by its monotonic one, whatever the wall clock is set to', () => {
    const world = alone();
    world.clock.wallMs = 5_000_000;
    world.propose(put(1));
    world.clock.wallMs = 4_000_000;
    world.clock.upMs = 10;
    world.propose(put(2));
    world.clock.wallMs = 6_000_000;
    world.clock.upMs = 30;
    world.propose(put(3));
    world.settle();
    expect(world.takeApplied().map(({ data }) => timeOf(data))).toEqual([5_000_000, 5_000_010, 5_000_030]);
  });

  test('a wall clock that was set is told in the log, unless the log has no room: then the old stamps go on', () => {
    const world = alone({ clockEveryMs: 1_000_000, uncommittedBytesMax: 10_000 });
    const times = (): number[] => {
      world.settle();
      return world.takeApplied().map(({ data }) => timeOf(data));
    };
    world.propose(put(1));
    expect(times()).toEqual([1_000_000]);
    world.clock.upMs = 2_000;
    world.clock.wallMs = 9_000_000;
    // Nothing more is taken until this is synced.
    world.propose(put(2, 20_000));
    world.replication.tick();
    world.propose(put(3));
    expect(times()).toEqual([1_002_000]);
    world.replication.tick();
    world.propose(put(4));
    expect(times()).toEqual([1_002_000, 9_000_000, 9_000_000]);
  });

  test('what exceeds the bound of uncommitted bytes is refused, by token', () => {
    const world = alone({ uncommittedBytesMax: 10_000 });
    world.propose(put(1, 20_000));
    world.propose(put(2), put(3));
    expect(world.toldOf('refused')).toEqual([{ kind: 'refused', code: resultCode('OVERLOADED'), tokens: [2, 3] }]);
    world.settle();
    world.propose(put(4));
    world.settle();
    expect(tokens(world.takeApplied())).toEqual([1, 4]);
  });

  test('refusals that find no room in the ring to the gateway come later, in their order', () => {
    const world = alone({ uncommittedBytesMax: 10_000, toGatewayBytes: 512 });
    world.propose(put(1, 20_000));
    for (let token = 2; token <= 40; token++) world.propose(put(token));
    const refused: number[] = [];
    for (let turns = 0; turns < 100 && refused.length < 39; turns++) {
      for (const message of world.toldOf('refused')) refused.push(...message.tokens);
      world.replication.turn();
    }
    expect(refused).toEqual(Array.from({ length: 39 }, (_, i) => i + 2));
  });

  test('a follower forwards to its leader and keeps nothing', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.follow('n2', 3);
    world.sentTo('n2');
    world.propose(put(1), put(2));
    const [forward] = world.sentTo('n2').filter((message) => message.kind === 'forward');
    expect(forward?.kind === 'forward' && forward.commands.map(tokenOf)).toEqual([1, 2]);
    expect(world.replication.inspect().held).toBe(0);
    expect(world.toldOf('refused')).toEqual([]);
  });

  test('while nobody leads commands are held, and go to the leader that comes, in their order', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.propose(put(1), put(2));
    world.propose(put(3));
    expect(world.replication.inspect().held).toBe(3);
    world.follow('n3', 2);
    const forwards = world.sentTo('n3').flatMap((message) => (message.kind === 'forward' ? message.commands : []));
    expect(forwards.map(tokenOf)).toEqual([1, 2, 3]);
    expect(world.replication.inspect().held).toBe(0);
  });

  test('a leader that cannot be reached yet gets the commands once its connection is there', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.open.delete('n2');
    world.follow('n2', 2);
    world.propose(put(1));
    expect(world.replication.inspect().held).toBe(1);
    world.open.add('n2');
    world.replication.connected('n2');
    const forwards = world.sentTo('n2').flatMap((message) => (message.kind === 'forward' ? message.commands : []));
    expect(forwards.map(tokenOf)).toEqual([1]);
  });

  test('held commands enter the own log when this node is elected', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.propose(put(1));
    world.lead();
    world.ack('n2');
    world.settle();
    expect(tokens(world.takeApplied())).toEqual([1]);
  });

  test('past the bound of what is held, commands are refused as not done', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    for (let token = 1; token <= 16; token++) world.propose(put(token, MIB - 100));
    expect(world.toldOf('refused')).toEqual([]);
    world.propose(put(17, MIB - 100));
    expect(world.toldOf('refused')).toEqual([{ kind: 'refused', code: resultCode('UNAVAILABLE'), tokens: [17] }]);
    world.propose(put(18));
    expect(world.toldOf('refused')).toEqual([]);
  });

  test('what was held leaves in messages that a peer takes', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    for (let token = 1; token <= 16; token++) world.propose(put(token, MIB - 100));
    world.batches.length = 0;
    world.follow('n2', 2);
    const forwards = world.sentTo('n2').flatMap((message) => (message.kind === 'forward' ? message.commands : []));
    expect(forwards.map(tokenOf)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
    // A socket of the mesh ends at 16 MiB in one message.
    expect(Math.max(...world.batches)).toBeLessThan(8 * MIB);
  });
});

describe('from the mesh', () => {
  test('a forwarded command enters the log; one that came to no leader is refused to whoever sent it', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.follow('n2', 1);
    world.sentTo('n3');
    world.receive('n3', { kind: 'forward', commands: [put(8), put(9)] });
    expect(world.sentTo('n3')).toEqual([{ kind: 'refused', code: resultCode('NOT_LEADER'), tokens: [8, 9] }]);
    const leader = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    leader.lead();
    leader.takeApplied();
    leader.receive('n3', { kind: 'forward', commands: [put(8), put(9)] });
    leader.settle();
    leader.ack('n3');
    expect(tokens(leader.takeApplied())).toEqual([8, 9]);
  });

  test('a refusal goes on to the gateway as it is', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.receive('n2', { kind: 'refused', code: resultCode('OVERLOADED'), tokens: [4, 5] });
    expect(world.toldOf('refused')).toEqual([{ kind: 'refused', code: resultCode('OVERLOADED'), tokens: [4, 5] }]);
  });

  test('an ack leaves only after the sync of what it acknowledges', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    const isAck = (): boolean =>
      world.sentTo('n2').some((sent) => sent.kind === 'raft' && sent.message.kind === 'appendReply');
    world.receive('n2', {
      kind: 'raft',
      message: {
        kind: 'append',
        from: 'n2',
        to: 'n1',
        term: toTerm(1),
        prevIndex: toIndex(0),
        prevTerm: toTerm(0),
        commit: toIndex(0),
        entries: [{ index: toIndex(1), term: toTerm(1), data: put(1) }],
      },
    });
    expect(isAck()).toBe(false);
    world.takeRecords();
    world.replication.tick();
    expect(isAck()).toBe(false);
    world.sync();
    expect(isAck()).toBe(true);
  });

  test('a leader sends its appends while its own disk still writes', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.lead();
    world.sentTo('n2');
    world.propose(put(1));
    const appends = world
      .sentTo('n2')
      .filter((sent) => sent.kind === 'raft' && sent.message.kind === 'append' && sent.message.entries.length > 0);
    expect(appends).toHaveLength(1);
    expect(world.takeRecords()).toHaveLength(1);
  });
});

describe('reads', () => {
  test('a leader alone confirms at its commit index', () => {
    const world = alone();
    world.propose(put(1));
    world.settle();
    world.askRead(5);
    expect(world.toldOf('read')).toEqual([{ kind: 'read', id: 5, index: 2 }]);
  });

  test('a leader of three confirms only after a quorum answered', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.lead();
    world.told();
    world.sentTo('n2');
    world.askRead(5);
    expect(world.toldOf('read')).toEqual([]);
    const heartbeat = world
      .sentTo('n2')
      .flatMap((sent) => (sent.kind === 'raft' && sent.message.kind === 'heartbeat' ? [sent.message] : []))
      .at(-1);
    expect(heartbeat?.readRound).toBeGreaterThan(0);
    world.receive('n2', {
      kind: 'raft',
      message: {
        kind: 'heartbeatReply',
        from: 'n2',
        to: 'n1',
        term: world.raft.term,
        readRound: heartbeat?.readRound ?? 0,
      },
    });
    expect(world.toldOf('read')).toEqual([{ kind: 'read', id: 5, index: world.raft.log.committed }]);
  });

  test('a follower asks its leader and passes the answer on', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.follow('n2', 1);
    world.sentTo('n2');
    world.askRead(7);
    expect(world.sentTo('n2')).toEqual([{ kind: 'readIndex', id: 7 }]);
    world.receive('n2', { kind: 'readIndexReply', id: 7, index: 33 });
    expect(world.toldOf('read')).toEqual([{ kind: 'read', id: 7, index: 33 }]);
  });

  test('with no leader, and at a peer that does not lead, a read is refused and not passed on', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.askRead(7);
    expect(world.toldOf('read')).toEqual([{ kind: 'read', id: 7, index: 0 }]);
    world.follow('n2', 1);
    world.sentTo('n2');
    world.receive('n3', { kind: 'readIndex', id: 9 });
    expect(world.sent.filter(({ to }) => to === 'n2').filter(({ message }) => message.kind !== 'raft')).toEqual([]);
    expect(world.sentTo('n3')).toEqual([{ kind: 'readIndexReply', id: 9, index: 0 }]);
  });

  test('open reads fail when leadership is lost', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.lead();
    world.told();
    world.askRead(5);
    world.receive('n3', { kind: 'readIndex', id: 6 });
    world.sentTo('n3');
    world.follow('n2', world.raft.term + 1);
    expect(world.toldOf('read')).toEqual([{ kind: 'read', id: 5, index: 0 }]);
    expect(world.sentTo('n3')).toEqual([{ kind: 'readIndexReply', id: 6, index: 0 }]);
  });
});

describe('log time and news', () => {
  test('an idle leader writes a clock entry once per interval, a busy one none', () => {
    const world = alone({ clockEveryMs: 1_000 });
    const clocks = (): number => {
      world.settle();
      return world.takeApplied().filter(({ data }) => kindOf(data) === 'clock').length;
    };
    world.pass(500);
    world.replication.tick();
    expect(clocks()).toBe(0);
    world.pass(500);
    world.replication.tick();
    world.replication.tick();
    expect(clocks()).toBe(1);
    world.pass(900);
    world.propose(put(1));
    world.pass(200);
    world.replication.tick();
    expect(clocks()).toBe(0);
  });

  test('an expiry that is due brings the clock forward at once, and again while more is due', () => {
    const world = alone({ clockEveryMs: 1_000_000 });
    const clocks = (): number => {
      world.settle();
      return world.takeApplied().filter(({ data }) => kindOf(data) === 'clock').length;
    };
    world.shared.set('nextExpiryMs', 1_000_500);
    world.replication.tick();
    expect(clocks()).toBe(0);
    world.pass(500);
    world.replication.tick();
    expect(clocks()).toBe(1);
    // The memtable has applied it, and still has keys that are due.
    world.replication.tick();
    expect(clocks()).toBe(1);
    world.shared.set('nextExpiryMs', 0);
    world.replication.tick();
    expect(clocks()).toBe(0);
  });

  test('a follower writes no clock entries', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'], clockEveryMs: 10 });
    world.follow('n2', 1);
    world.clock.upMs = 10_000;
    world.replication.tick();
    expect(world.takeRecords().flatMap((record) => record.entries)).toEqual([]);
  });

  test('the gateway is told of each change of leader, once', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.replication.turn();
    world.follow('n2', 4);
    world.follow('n2', 4);
    world.follow('n3', 5);
    expect(world.toldOf('leader')).toEqual([
      { kind: 'leader', term: 0, leader: 0 },
      { kind: 'leader', term: 4, leader: 2 },
      { kind: 'leader', term: 5, leader: 3 },
    ]);
    expect(world.shared.get('leader')).toBe(3);
  });
});
