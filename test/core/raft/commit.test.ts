/**
 * What is committed, and when: by a quorum of disks, and only through an entry of the leader's own term.
 */
import { describe, expect, test } from 'vitest';
import { toIndex } from '../../../src/core/base/position.ts';
import { RaftCluster } from '../../support/raft-cluster.ts';

describe('commit', () => {
  test('an entry is committed once a quorum has it on disk, and applied by all', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    expect(cluster.propose('n1', 'a', 'b')).toBe(2);
    cluster.settle();
    for (const { applied } of cluster.nodes) {
      expect(applied.map(({ data }) => new TextDecoder().decode(data))).toEqual(['', 'a', 'b']);
    }
  });

  test('proposals made together share one persist and one append per follower', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.propose('n1', 'a');
    cluster.propose('n1', 'b', 'c');
    const ready = cluster.turn(cluster.node('n1'));
    expect(ready?.persist?.entries).toHaveLength(3);
    expect(ready?.send.map(({ kind, to }) => `${kind} ${to}`)).toEqual(['append n2', 'append n3']);
  });

  test('followers alone can commit: the leader may be the slowest disk, and applies only what is on its own', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.node('n1').disk.isStalled = true;
    cluster.propose('n1', 'x');
    cluster.settle();
    expect(cluster.raft('n1').log.committed).toBe(2);
    expect(cluster.raft('n1').log.stable).toBe(1);
    expect(cluster.node('n1').applied).toHaveLength(1);
    expect(cluster.node('n2').applied).toHaveLength(2);
    cluster.node('n1').disk.isStalled = false;
    cluster.settle();
    expect(cluster.node('n1').applied).toHaveLength(2);
  });

  test('an ack leaves only once what it acks is on disk', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.isolate('n3');
    cluster.node('n2').disk.isStalled = true;
    cluster.propose('n1', 'x');
    cluster.settle();
    expect(cluster.raft('n2').log.last).toBe(2);
    expect(cluster.raft('n1').log.committed).toBe(1);
    cluster.node('n2').disk.isStalled = false;
    cluster.settle();
    expect(cluster.raft('n1').log.committed).toBe(2);
  });

  test('a leader counts itself only up to what is on its own disk', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.isolate('n3');
    cluster.node('n1').disk.isStalled = true;
    cluster.propose('n1', 'x');
    cluster.settle();
    expect(cluster.node('n2').disk.lastIndex).toBe(2);
    expect(cluster.raft('n1').log.committed).toBe(1);
    cluster.node('n1').disk.isStalled = false;
    cluster.settle();
    expect(cluster.raft('n1').log.committed).toBe(2);
  });

  test('a lone node commits only what is on disk', () => {
    const cluster = new RaftCluster({ size: 1 });
    cluster.elect('n1');
    cluster.node('n1').disk.isStalled = true;
    cluster.propose('n1', 'x');
    cluster.settle();
    expect(cluster.raft('n1').log.committed).toBe(1);
    cluster.node('n1').disk.isStalled = false;
    cluster.settle();
    expect(cluster.raft('n1').log.committed).toBe(2);
    expect(cluster.node('n1').applied).toHaveLength(2);
  });

  test('a commit waits for the next append, or until it is to be told, or for a tick', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.tellsCommits = false;
    const committed = (): (number | undefined)[] => cluster.nodes.map(({ raft }) => raft?.log.committed);
    cluster.propose('n1', 'x');
    cluster.settle();
    expect(committed()).toEqual([2, 1, 1]);
    expect(cluster.raft('n1').hasUntoldCommit(toIndex(2))).toBe(true);
    expect(cluster.raft('n1').hasUntoldCommit(toIndex(1))).toBe(false);
    cluster.propose('n1', 'y');
    cluster.settle();
    expect(committed()).toEqual([3, 2, 2]);
    cluster.raft('n1').tellCommits();
    cluster.settle();
    expect(committed()).toEqual([3, 3, 3]);
    expect(cluster.raft('n1').hasUntoldCommit(toIndex(3))).toBe(false);
    cluster.propose('n1', 'z');
    cluster.settle();
    cluster.pass(1);
    expect(committed()).toEqual([4, 4, 4]);
  });

  test('a commit that somebody at a follower waits for is told there at once, and there only', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.tellsCommits = false;
    cluster.propose('n1', 'x');
    cluster.raft('n1').awaitCommit('n2', toIndex(2));
    cluster.settle();
    expect(cluster.nodes.map(({ raft }) => raft?.log.committed)).toEqual([2, 2, 1]);
  });

  test('followers that are told of a commit need no heartbeat and no next append', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.propose('n1', 'x');
    cluster.settle();
    expect(cluster.nodes.map(({ raft }) => raft?.log.committed)).toEqual([2, 2, 2]);
  });

  test('without a quorum nothing is committed, and past a bound nothing is taken', () => {
    const cluster = new RaftCluster({ size: 3, limits: { uncommittedBytesMax: 100 } });
    cluster.elect('n1');
    cluster.isolate('n1');
    let taken = 0;
    while (cluster.propose('n1', 'x'.repeat(20)) !== undefined && taken < 1000) taken++;
    expect(taken).toBe(3);
    expect(cluster.raft('n1').isUncommittedFull).toBe(true);
    cluster.heal();
    cluster.pass(5);
    expect(cluster.raft('n1').log.committed).toBe(4);
    expect(cluster.raft('n1').log.uncommittedBytes).toBe(0);
    expect(cluster.propose('n1', 'x')).toBe(5);
  });

  test('past a bound nothing is taken that waits for the own disk only', () => {
    const cluster = new RaftCluster({ size: 3, limits: { uncommittedBytesMax: 100 } });
    cluster.elect('n1');
    cluster.node('n1').disk.isStalled = true;
    let taken = 0;
    while (taken < 1000 && cluster.propose('n1', 'x'.repeat(20)) !== undefined) {
      cluster.settle();
      taken++;
    }
    expect(taken).toBe(3);
    expect(cluster.raft('n1').log).toMatchObject({ committed: 4, uncommittedBytes: 0, stable: 1 });
    cluster.node('n1').disk.isStalled = false;
    cluster.settle();
    expect(cluster.raft('n1').log).toMatchObject({ stable: 4, unstableBytes: 0 });
    expect(cluster.propose('n1', 'x')).toBe(5);
  });

  test('only the leader takes proposals', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    expect(cluster.propose('n2', 'x')).toBeUndefined();
    expect(cluster.raft('n2').readIndex(1)).toBe(false);
  });
});

describe('figure 8: an entry of an earlier term', () => {
  /** S1 … S5 as in (c): S1 leads term 4, and index 2 of term 2 has reached a majority. */
  function figure8c(): RaftCluster {
    const cluster = new RaftCluster({
      size: 5,
      // (b): S1 led term 2 and reached S2; S5 led term 3, with the votes of S3 and S4, and reached nobody.
      disks: [
        { terms: [1, 2], term: 2, commit: 1 },
        { terms: [1, 2], term: 2, commit: 1 },
        { terms: [1], term: 3, vote: 'n5', commit: 1 },
        { terms: [1], term: 3, vote: 'n5', commit: 1 },
        { terms: [1, 3], term: 3, vote: 'n5', commit: 1 },
      ],
    });
    cluster.crash(cluster.node('n5'));
    // No entry of term 4 leaves S1 yet: it gets as far as index 2 only.
    cluster.passes = (message) => message.kind !== 'append' || message.entries.every(({ term }) => term === 2);
    cluster.elect('n1');
    if (!cluster.raft('n1').isLeader) cluster.elect('n1');
    expect(cluster.raft('n1')).toMatchObject({ isLeader: true, term: 4 });
    return cluster;
  }

  test('is not committed by counting, though a majority has it on disk', () => {
    const cluster = figure8c();
    // Index 2 alone reaches S3, of all that S1 would send.
    cluster.step({
      kind: 'append',
      from: 'n1',
      to: 'n3',
      term: cluster.raft('n1').term,
      prevIndex: 1 as never,
      prevTerm: 1 as never,
      commit: 1 as never,
      entries: cluster.node('n1').disk.entries.slice(1, 2),
    });
    cluster.settle();
    expect(cluster.terms('n3')).toEqual([1, 2]);
    expect(cluster.raft('n1').progressOf('n3')?.match).toBe(2);
    // S1, S2, S3 hold index 2 on disk, S1 knows of S3; an ack of S2 makes the majority known.
    cluster.step({
      kind: 'append',
      from: 'n1',
      to: 'n2',
      term: cluster.raft('n1').term,
      prevIndex: 2 as never,
      prevTerm: 2 as never,
      commit: 1 as never,
      entries: [],
    });
    cluster.settle();
    expect(cluster.raft('n1').progressOf('n2')?.match).toBe(2);
    expect(cluster.raft('n1').log.committed).toBe(1);

    // (d): so S5 may still be elected, by S2, S3 and S4, and overwrite it everywhere.
    cluster.isolate('n1');
    cluster.start(cluster.node('n5'));
    cluster.passes = () => true;
    cluster.elect('n5');
    if (!cluster.raft('n5').isLeader) cluster.elect('n5');
    cluster.settle();
    expect(cluster.raft('n5').isLeader).toBe(true);
    expect(cluster.terms('n3')).toEqual([1, 3, 5]);
    cluster.heal();
    cluster.pass(10);
    expect(cluster.terms('n1')).toEqual([1, 3, 5]);
    expect(cluster.node('n1').disk.reverts).toEqual([2]);
  });

  test('is committed together with an entry of the own term, and then S5 cannot be elected', () => {
    const cluster = figure8c();
    cluster.passes = () => true;
    // (e): the no-op of term 4 reaches a majority.
    cluster.pass(4);
    expect(cluster.terms('n3')).toEqual([1, 2, 4]);
    expect(cluster.raft('n1').log.committed).toBe(3);
    cluster.isolate('n1');
    cluster.start(cluster.node('n5'));
    cluster.elect('n5');
    cluster.elect('n5');
    expect(cluster.raft('n5').isLeader).toBe(false);
    cluster.elect('n2');
    expect(cluster.raft('n2').isLeader).toBe(true);
    expect(cluster.terms('n5')).toEqual([1, 2, 4, cluster.raft('n2').term]);
  });
});
