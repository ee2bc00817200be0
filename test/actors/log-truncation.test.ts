/**
 * How far the log may go: the cluster's word and this node's flush, in the order that the core and the WAL need.
 */
import { describe, expect, test } from 'vitest';
import { toIndex, toTerm } from '../../src/core/base/position.ts';
import { ReplicationWorld } from './replication-world.ts';
import { putCommand } from './support.ts';

const put = (token: number): Uint8Array => putCommand(`k${token}`, new Uint8Array(10), { token });

/** n1 leads n2 and n3, has `count` entries beside its no-op, and n2 has them too. */
function leader(count: number): ReplicationWorld {
  const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'], clockEveryMs: 1_000_000 });
  world.lead();
  for (let token = 1; token <= count; token++) world.propose(put(token));
  world.settle();
  world.ack('n2');
  world.settle();
  expect(world.raft.log.committed).toBe(count + 1);
  return world;
}

/** Time passes: enough ticks for a heartbeat, and for a step. */
function pass(world: ReplicationWorld, ms = 1_000): void {
  for (let i = 0; i < 4; i++) {
    world.clock.upMs += ms / 4;
    world.replication.tick();
  }
}

const mark = (world: ReplicationWorld): number => world.shared.get('walTruncateTo');

describe('the log is truncated', () => {
  test('to what all voters have and the state machine has flushed, whichever is less', () => {
    const world = leader(5);
    world.shared.set('flushed', 6);
    pass(world);
    expect(mark(world)).toBe(0);
    world.ack('n3', 4);
    pass(world);
    expect(mark(world)).toBe(4);
    expect(world.raft.log).toMatchObject({ base: 4, first: 5 });
    world.shared.set('flushed', 5);
    world.ack('n3', 6);
    pass(world);
    expect(mark(world)).toBe(5);
    expect(world.raft.log.base).toBe(5);
  });

  test('not at all while nothing was flushed', () => {
    const world = leader(5);
    world.ack('n3');
    pass(world, 60_000);
    expect(world.raft.log.truncatable).toBe(6);
    expect(mark(world)).toBe(0);
    expect(world.raft.log.base).toBe(0);
  });

  test('not past what was handed out to be applied, whatever the compactor says', () => {
    const world = leader(5);
    world.ack('n3');
    world.shared.set('flushed', 1_000_000);
    pass(world);
    expect(mark(world)).toBe(6);
  });

  test('at a follower by the word of its leader, in steps', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    const envelope = { from: 'n2', to: 'n1', term: toTerm(1), commit: toIndex(3) };
    const entries = [1, 2, 3].map((index) => ({ index: toIndex(index), term: toTerm(1), data: put(index) }));
    const place = { prevIndex: toIndex(0), prevTerm: toTerm(0) };
    world.receive('n2', { kind: 'raft', message: { ...envelope, ...place, kind: 'append', entries } });
    world.settle();
    world.shared.set('flushed', 3);
    const tell = (matchedByAll: number): void => {
      const message = {
        ...envelope,
        kind: 'heartbeat',
        readRound: 0,
        matchedByAll: toIndex(matchedByAll),
        held: toIndex(0),
        members: toIndex(0),
      } as const;
      world.receive('n2', { kind: 'raft', message });
    };
    tell(2);
    world.clock.upMs += 999;
    world.replication.tick();
    expect(mark(world)).toBe(0);
    world.clock.upMs += 1;
    world.replication.tick();
    expect(mark(world)).toBe(2);
    tell(9);
    world.replication.tick();
    expect(mark(world)).toBe(2);
    world.clock.upMs += 1_000;
    world.replication.tick();
    expect(mark(world)).toBe(3);
    expect(world.raft.log).toMatchObject({ base: 3, last: 3, lastTerm: 1 });
  });

  test('in the core before the committer may remove anything', () => {
    const world = leader(5);
    world.ack('n3');
    world.shared.set('flushed', 6);
    const { log } = world.raft;
    const compactTo = log.compactTo.bind(log);
    const marks: number[] = [];
    log.compactTo = (index) => {
      marks.push(mark(world));
      compactTo(index);
    };
    pass(world);
    expect(marks).toEqual([0]);
    expect(mark(world)).toBe(6);
  });
});

describe('who holds the log back', () => {
  test('is seen at the leader, with how many entries', () => {
    const world = leader(5);
    world.ack('n3', 2);
    pass(world);
    expect(world.replication.inspect().log).toEqual({
      ...{ first: 1, matchedByAll: 2, truncatable: 2, flushed: 0, keptFrom: 0 },
      heldBy: { slowest: 'n3', entries: 4, stranded: [] },
    });
    world.follow('n2', world.raft.term + 1);
    expect(world.replication.inspect().log).toMatchObject({ matchedByAll: 2, heldBy: undefined });
  });

  test('and needs what is gone, is named there', () => {
    const world = leader(5);
    // n3 has said nothing yet, and the log does not wait for it.
    world.shared.set('flushed', 6);
    world.shared.set('walKeepFrom', 6);
    pass(world);
    expect(world.raft.log.base).toBe(6);
    expect(world.raft.logHolders?.stranded).toEqual(['n3']);
    world.ack('n3', 6);
    expect(world.raft.logHolders?.stranded).toEqual([]);
  });
});

describe('a log that has grown too long', () => {
  test('begins later though a voter does not have it, as far as it is too long, applied and flushed', () => {
    const world = leader(5);
    world.ack('n3', 2);
    world.shared.set('flushed', 5);
    world.shared.set('walKeepFrom', 3);
    pass(world);
    expect(mark(world)).toBe(3);
    world.shared.set('walKeepFrom', 6);
    pass(world);
    expect(mark(world)).toBe(5);
    world.shared.set('walKeepFrom', 1_000);
    world.shared.set('flushed', 1_000);
    pass(world);
    expect(mark(world)).toBe(6);
  });
});
