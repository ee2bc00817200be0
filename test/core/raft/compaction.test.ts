/**
 * Logs that begin later: what the cluster agrees to let go of, lives that begin without it, and a follower that
 * nobody can help any more.
 */
import { describe, expect, test } from 'vitest';
import { toIndex, toTerm } from '../../../src/core/base/position.ts';
import type { Append, Heartbeat, Message } from '../../../src/core/raft/types.ts';
import { RaftCluster } from '../../support/raft-cluster.ts';

const isAppendTo =
  (to: string) =>
  (message: Message): message is Append =>
    message.kind === 'append' && message.to === to;

const HEARTBEAT = 2;

/** n1 leads three nodes that all have applied the no-op and `count` more. */
function filled(count: number): RaftCluster {
  const cluster = new RaftCluster({ size: 3 });
  cluster.elect('n1');
  for (let i = 0; i < count; i++) cluster.propose('n1', `${i}`);
  cluster.settle();
  cluster.pass(HEARTBEAT);
  expect(cluster.nodes.map(({ appliedIndex }) => appliedIndex)).toEqual([count + 1, count + 1, count + 1]);
  return cluster;
}

/** The same, and nobody has kept any of it. */
function compacted(count: number): RaftCluster {
  const cluster = filled(count);
  for (const node of cluster.nodes) {
    cluster.flush(node);
    cluster.compact(node);
    expect(node.disk.base).toBe(count + 1);
  }
  return cluster;
}

/** n1 leads no more; `id` does. */
function succeed(cluster: RaftCluster, id: string): void {
  cluster.restart('n1');
  cluster.elect(id);
  expect(cluster.raft(id).isLeader).toBe(true);
}

const truncatable = (cluster: RaftCluster): (number | undefined)[] => {
  return cluster.nodes.map(({ raft }) => raft?.log.truncatable);
};

describe('what may go', () => {
  test('is what every voter has on its disk; the followers learn it with a heartbeat', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.propose('n1', 'a', 'b');
    cluster.settle();
    expect(truncatable(cluster)).toEqual([0, 0, 0]);
    cluster.pass(HEARTBEAT);
    expect(truncatable(cluster)).toEqual([3, 3, 3]);
  });

  test('is held back by a voter that is down, and the leader says by whom and how much', () => {
    const cluster = filled(2);
    expect(cluster.raft('n1').logHolders).toEqual({ slowest: 'n1', entries: 0, stranded: [] });
    cluster.crash(cluster.node('n3'));
    cluster.propose('n1', 'c', 'd', 'e');
    cluster.settle();
    cluster.pass(5 * HEARTBEAT);
    expect(cluster.raft('n1').log.committed).toBe(6);
    expect(truncatable(cluster)).toEqual([3, 3, undefined]);
    expect(cluster.raft('n1').logHolders).toEqual({ slowest: 'n3', entries: 3, stranded: [] });
    expect(cluster.raft('n2').logHolders).toBeUndefined();
    cluster.start(cluster.node('n3'));
    cluster.pass(3 * HEARTBEAT);
    expect(truncatable(cluster)).toEqual([6, 6, 6]);
    expect(cluster.raft('n1').logHolders).toMatchObject({ entries: 0 });
  });

  test('is held back by the slowest of several', () => {
    const cluster = new RaftCluster({ size: 5 });
    cluster.elect('n1');
    for (const id of ['n3', 'n5']) {
      cluster.crash(cluster.node(id));
      cluster.propose('n1', 'a', 'b');
      cluster.settle();
    }
    cluster.pass(2 * HEARTBEAT);
    expect(cluster.raft('n1').logHolders).toEqual({ slowest: 'n3', entries: 4, stranded: [] });
    expect(truncatable(cluster)).toEqual([1, 1, undefined, 1, undefined]);
  });

  test('is held back by the own disk of the leader, too', () => {
    const cluster = filled(2);
    cluster.node('n1').disk.isStalled = true;
    cluster.propose('n1', 'c', 'd');
    cluster.settle();
    cluster.pass(2 * HEARTBEAT);
    expect(cluster.raft('n1').log.committed).toBe(5);
    expect(truncatable(cluster)).toEqual([3, 3, 3]);
    expect(cluster.raft('n1').logHolders).toEqual({ slowest: 'n1', entries: 2, stranded: [] });
  });

  test('is at a node no more than it has handed out to be applied', () => {
    const cluster = filled(2);
    cluster.applyBytesMax = 0;
    cluster.propose('n1', 'c');
    cluster.settle();
    cluster.pass(2 * HEARTBEAT);
    expect(cluster.raft('n2').log).toMatchObject({ matchedByAll: 4, committed: 4, applying: 3 });
    expect(truncatable(cluster)).toEqual([3, 3, 3]);
  });

  test('is committed: what all have acked, and no leader of its own term has counted, stays', () => {
    const disks = Array.from({ length: 3 }, () => ({ terms: [1, 1, 1], commit: 1, term: 1 }));
    const cluster = new RaftCluster({ size: 3, disks });
    // The no-op of term 2 reaches nobody; an empty append shows the leader that all hold index 3.
    cluster.passes = (message) => message.kind !== 'append' || message.entries.length === 0;
    cluster.elect('n1');
    for (const to of ['n2', 'n3']) {
      const place = { prevIndex: toIndex(3), prevTerm: toTerm(1), commit: toIndex(1), entries: [] };
      cluster.step({ kind: 'append', from: 'n1', to, term: cluster.raft('n1').term, ...place });
    }
    cluster.settle();
    cluster.pass(2 * HEARTBEAT);
    expect(cluster.raft('n1').progressOf('n2')?.match).toBe(3);
    expect(cluster.raft('n1').progressOf('n3')?.match).toBe(3);
    expect(cluster.raft('n1').log).toMatchObject({ committed: 1, matchedByAll: 1 });
    cluster.heal();
    cluster.pass(3 * HEARTBEAT);
    expect(cluster.raft('n2').log.matchedByAll).toBe(4);
  });

  test('never falls: not under a leader that knows less, and not for a message that comes late', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.sent = [];
    cluster.elect('n1');
    cluster.pass(HEARTBEAT);
    const isHeartbeat = (message: Message): message is Heartbeat => message.kind === 'heartbeat';
    const early = cluster.sent.filter(isHeartbeat).filter(({ to }) => to === 'n2');
    cluster.propose('n1', 'a', 'b');
    cluster.settle();
    cluster.pass(HEARTBEAT);
    expect(early.map(({ matchedByAll }) => matchedByAll)).toContain(1);
    cluster.wire.push(...early);
    cluster.settle();
    expect(cluster.raft('n2').log.matchedByAll).toBe(3);
    // n2 leads and has heard nothing of n3 in its term.
    cluster.crash(cluster.node('n3'));
    succeed(cluster, 'n2');
    cluster.sent = [];
    cluster.pass(2 * HEARTBEAT);
    expect(cluster.raft('n2').progressOf('n3')?.match).toBe(0);
    const told = cluster.sent.filter(isHeartbeat).map(({ matchedByAll }) => matchedByAll);
    expect([...new Set(told)]).toEqual([3]);
    expect(truncatable(cluster)).toEqual([3, 3, undefined]);
  });

  test('is everything to a node alone', () => {
    const cluster = new RaftCluster({ size: 1 });
    cluster.elect('n1');
    cluster.propose('n1', 'a');
    cluster.settle();
    cluster.pass(HEARTBEAT);
    expect(truncatable(cluster)).toEqual([2]);
  });
});

describe('a life that begins without the oldest entries', () => {
  test('applies what comes after the flush, and reads nothing before its base', () => {
    const cluster = filled(9);
    const n3 = cluster.node('n3');
    cluster.flush(n3, toIndex(7));
    cluster.compact(n3, toIndex(5), toIndex(4));
    cluster.restart('n3');
    expect(cluster.raft('n3').log).toMatchObject({ base: 4, first: 5, applying: 7, last: 10 });
    cluster.pass(2 * HEARTBEAT);
    expect(n3.applied.map(({ index }) => index)).toEqual([8, 9, 10]);
    cluster.elect('n3');
    cluster.propose('n3', 'more');
    cluster.settle();
    expect(cluster.nodes.map(({ appliedIndex }) => appliedIndex)).toEqual([12, 12, 12]);
  });

  test('knows that what was flushed is committed, though its disk has not noted it', () => {
    const terms = [1, 1, 2, 2];
    const disks = [1, 2, 3].map(() => ({ terms, term: 2, commit: 1 }));
    const cluster = new RaftCluster({ size: 3, disks });
    cluster.elect('n1');
    cluster.pass(HEARTBEAT);
    const n2 = cluster.node('n2');
    cluster.flush(n2, toIndex(4));
    cluster.crash(n2);
    n2.disk.hardState = { ...n2.disk.hardState, commit: toIndex(1) };
    cluster.start(n2);
    expect(cluster.raft('n2').log).toMatchObject({ committed: 4, applying: 4 });
  });

  test('of all nodes at once, with nothing left of their logs, goes on where they were', () => {
    const cluster = compacted(4);
    for (const { id } of cluster.nodes) cluster.restart(id);
    expect(cluster.nodes.map(({ id }) => cluster.terms(id))).toEqual([[], [], []]);
    expect(cluster.raft('n2').log).toMatchObject({ base: 5, lastTerm: 1, last: 5 });
    cluster.elect('n2');
    expect(cluster.raft('n2').isLeader).toBe(true);
    cluster.propose('n2', 'x');
    cluster.pass(HEARTBEAT);
    expect(cluster.nodes.map(({ id }) => cluster.terms(id))).toEqual([
      [2, 2],
      [2, 2],
      [2, 2],
    ]);
    for (const { applied } of cluster.nodes) expect(applied.map(({ index }) => index)).toEqual([6, 7]);
  });
});

describe('a follower that lags', () => {
  test('is sent all it lacks by a leader elected later, which has let go of all that it has', () => {
    const cluster = compacted(4);
    cluster.crash(cluster.node('n3'));
    for (let i = 0; i < 10; i++) cluster.propose('n1', `${i}`.repeat(20));
    cluster.settle();
    cluster.pass(2 * HEARTBEAT);
    for (const id of ['n1', 'n2']) {
      cluster.flush(cluster.node(id));
      expect(cluster.mayCompactTo(cluster.node(id))).toBe(5);
    }
    succeed(cluster, 'n2');
    cluster.start(cluster.node('n3'));
    cluster.pass(3 * HEARTBEAT);
    expect(cluster.node('n3').applied.map(({ index }) => index)).toEqual([6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    expect(truncatable(cluster)).toEqual([16, 16, 16]);
  });

  test('has a suffix reverted that begins right behind the base', () => {
    const cluster = compacted(2);
    cluster.isolate('n1');
    cluster.propose('n1', 'lost', 'lost');
    cluster.settle();
    cluster.elect('n2');
    cluster.propose('n2', 'new');
    cluster.heal();
    cluster.pass(3 * HEARTBEAT);
    expect(cluster.node('n1').disk.reverts).toEqual([4]);
    expect(cluster.nodes.map(({ id }) => cluster.terms(id))).toEqual([
      [2, 2],
      [2, 2],
      [2, 2],
    ]);
  });

  test('agrees behind the base after a few words, whatever suffixes of other terms there are', () => {
    const cluster = compacted(2);
    cluster.isolate('n1');
    cluster.propose('n1', 'lost', 'lost', 'lost', 'lost');
    cluster.elect('n2');
    cluster.isolate('n2');
    cluster.propose('n2', 'lost', 'lost', 'lost');
    cluster.settle();
    expect(cluster.nodes.map(({ id }) => cluster.terms(id).join(''))).toEqual(['1111', '2222', '2']);
    cluster.heal();
    cluster.isolate('n2');
    succeed(cluster, 'n3');
    cluster.propose('n3', 'new');
    cluster.settle();
    cluster.heal();
    cluster.sent = [];
    cluster.pass(4 * HEARTBEAT);
    expect(cluster.nodes.map(({ id }) => cluster.terms(id).join(''))).toEqual(['233', '233', '233']);
    const noes = cluster.sent.filter((message) => message.kind === 'appendReply' && message.rejected);
    expect(noes.length).toBeLessThanOrEqual(3);
    expect(cluster.nodes.map(({ raft }) => raft?.log.base)).toEqual([3, 3, 3]);
    expect(truncatable(cluster)).toEqual([6, 6, 6]);
  });
});

describe('a follower whose disk was wiped', () => {
  /** n3 has the oldest `left` entries; n2 leads, in whose term n3 has acked nothing. The others begin behind 5. */
  function wiped(left = 0): RaftCluster {
    const cluster = compacted(4);
    cluster.wipe('n3');
    cluster.node('n3').disk.copyFrom(cluster.node('n1').disk, left);
    succeed(cluster, 'n2');
    cluster.start(cluster.node('n3'));
    cluster.pass(3 * HEARTBEAT);
    return cluster;
  }

  test('stays behind and is named; the others go on', () => {
    const cluster = wiped();
    expect(cluster.raft('n2').logHolders).toEqual({ slowest: 'n3', entries: 6, stranded: ['n3'] });
    cluster.propose('n2', 'a', 'b');
    cluster.read('n2');
    cluster.pass(20 * HEARTBEAT);
    expect(cluster.nodes.map(({ appliedIndex }) => appliedIndex)).toEqual([8, 8, 0]);
    expect(cluster.node('n2').reads).toMatchObject([{ index: 6 }]);
    expect(cluster.raft('n3')).toMatchObject({ role: 'follower', leader: 'n2' });
    expect(truncatable(cluster)).toEqual([5, 5, 0]);
  });

  test('is asked once per heartbeat whether it fits now, with no entries', () => {
    const cluster = wiped();
    cluster.sent = [];
    cluster.propose('n2', 'a');
    cluster.pass(10 * HEARTBEAT);
    const appends = cluster.sent.filter(isAppendTo('n3'));
    expect(appends.length).toBeGreaterThan(7);
    expect(appends.length).toBeLessThan(13);
    for (const append of appends) expect(append).toMatchObject({ prevIndex: 5, prevTerm: 1, entries: [] });
  });

  test('goes on by itself once a copy of another disk has been put in its place', () => {
    const cluster = wiped();
    cluster.crash(cluster.node('n3'));
    cluster.node('n3').disk.wipe();
    cluster.node('n3').disk.copyFrom(cluster.node('n1').disk, 5);
    cluster.start(cluster.node('n3'));
    cluster.pass(3 * HEARTBEAT);
    expect(cluster.raft('n2').logHolders).toMatchObject({ entries: 0, stranded: [] });
    expect(cluster.node('n3').appliedIndex).toBe(6);
  });

  test.for([1, 4])('put back to a copy that ends with %i, before the base, stays behind as well', (count) => {
    const cluster = wiped(count);
    cluster.pass(5 * HEARTBEAT);
    expect(cluster.raft('n2').logHolders).toEqual({ slowest: 'n3', entries: 6, stranded: ['n3'] });
    expect(cluster.raft('n3').log.last).toBe(count);
  });

  test('cannot be elected, and its candidacy harms nobody', () => {
    const cluster = wiped();
    cluster.elect('n3');
    expect(cluster.raft('n3').isLeader).toBe(false);
    cluster.pass(30);
    expect(cluster.leaders).toHaveLength(1);
    expect(cluster.leaders[0]?.id).not.toBe('n3');
  });

  test('its vote elects nobody who lacks what was committed', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.propose('n1', 'held by all');
    cluster.pass(3 * HEARTBEAT);
    // n3 misses what n1 and n2 commit; then n2 loses its disk, and n1 is down.
    cluster.isolate('n3');
    cluster.propose('n1', 'committed');
    cluster.pass(HEARTBEAT);
    expect(cluster.raft('n2').log.committed).toBe(3);
    cluster.wipe('n2');
    cluster.crash(cluster.node('n1'));
    cluster.start(cluster.node('n2'));
    cluster.heal();
    cluster.elect('n3');
    cluster.pass(30);
    expect(cluster.leaders, 'nobody can be elected without n1').toEqual([]);
    cluster.start(cluster.node('n1'));
    cluster.elect('n1');
    cluster.pass(3);
    expect(cluster.raft('n1').isLeader, 'and with n1, n3 has a vote that counts').toBe(true);
  });

  test('while the leader lives that has its acks, stops itself: it owes what it acked. The leader goes on', () => {
    const cluster = compacted(4);
    cluster.wipe('n3');
    cluster.start(cluster.node('n3'));
    let ended: unknown;
    try {
      cluster.pass(2 * HEARTBEAT);
    } catch (error) {
      ended = error;
    }
    expect(ended).toMatchObject({ code: 'DIR_ROLLED_BACK', data: { peer: 'n1', acknowledged: expect.any(Number) } });
    expect(String(ended)).toMatch(/its log ends at entry \d, and n1, which leads term 1, has its word for entry \d/);
    cluster.crash(cluster.node('n3'));
    cluster.propose('n1', 'a');
    cluster.pass(3 * HEARTBEAT);
    expect(cluster.node('n2').appliedIndex).toBe(6);
  });

  test('that hears no heartbeat and denies what it acked is not asked again and again', () => {
    const cluster = compacted(4);
    cluster.wipe('n3');
    cluster.start(cluster.node('n3'));
    cluster.raft('n1').unreachable('n3');
    cluster.passes = ({ kind, to }) => kind !== 'heartbeat' || to !== 'n3';
    cluster.sent = [];
    cluster.propose('n1', 'a');
    cluster.settle();
    expect(cluster.sent.filter(isAppendTo('n3'))).toHaveLength(1);
  });
});
