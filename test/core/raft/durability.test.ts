/**
 * What a node says it has, it has on disk: votes, acks, candidacies, and the own share of a quorum.
 */
import { describe, expect, test } from 'vitest';
import type { Message } from '../../../src/core/raft/types.ts';
import { RaftCluster } from '../../support/raft-cluster.ts';

describe('votes', () => {
  test('a vote leaves only once it is on disk', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.node('n2').disk.isStalled = true;
    cluster.isolate('n3');
    cluster.elect('n1');
    expect(cluster.raft('n2').hardState).toMatchObject({ term: 1, vote: 'n1' });
    expect(cluster.node('n2').disk.hardState.term).toBe(0);
    expect(cluster.raft('n1').role).toBe('candidate');
    cluster.node('n2').disk.isStalled = false;
    cluster.settle();
    expect(cluster.raft('n1').role).toBe('leader');
  });

  test('a node that crashes after its vote has left does not vote twice', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    // n1's voters forget nothing: in term 1 n2 has voted for n1, whoever asks and however often n2 restarts.
    cluster.restart('n2');
    expect(cluster.raft('n2').hardState.vote).toBe('n1');
    const { last: lastIndex, lastTerm } = cluster.raft('n2').log;
    const term = cluster.raft('n2').term;
    cluster.step({ kind: 'vote', from: 'n3', to: 'n2', term, lastIndex, lastTerm, isTransfer: false });
    cluster.turn(cluster.node('n2'));
    expect(cluster.wire).toMatchObject([{ kind: 'voteReply', to: 'n3', granted: false }]);
    cluster.wire = [];
    cluster.step({ kind: 'vote', from: 'n1', to: 'n2', term, lastIndex, lastTerm, isTransfer: false });
    cluster.turn(cluster.node('n2'));
    expect(cluster.wire).toMatchObject([{ kind: 'voteReply', to: 'n1', granted: true }]);
  });

  test('a vote that never became durable was never given', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.node('n2').disk.isStalled = true;
    cluster.isolate('n3');
    cluster.elect('n1');
    cluster.restart('n2');
    expect(cluster.raft('n2').hardState).toMatchObject({ term: 0, vote: '' });
    expect(cluster.wire).toEqual([]);
  });

  test("a candidate's own vote counts only once it is on disk", () => {
    const cluster = new RaftCluster({ size: 1 });
    cluster.node('n1').disk.isStalled = true;
    cluster.elect('n1');
    expect(cluster.raft('n1').role).toBe('candidate');
    cluster.node('n1').disk.isStalled = false;
    cluster.settle();
    expect(cluster.raft('n1').role).toBe('leader');
  });

  test('a candidate asks for votes only once its own vote, and the log it boasts of, are on disk', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.node('n2').disk.isStalled = true;
    cluster.elect('n2');
    expect(cluster.raft('n2').role).toBe('candidate');
    expect(cluster.raft('n1').term).toBe(0);
    cluster.node('n2').disk.isStalled = false;
    cluster.settle();
    expect(cluster.raft('n2').role).toBe('leader');
  });

  test('replies to a candidacy that a crash wiped out do not elect the shorter log that came back', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    // Index 2 is committed by n1 and n3; n2 has it in memory only.
    cluster.node('n2').disk.isStalled = true;
    cluster.propose('n1', 'x');
    cluster.settle();
    expect(cluster.checker.committed).toBe(2);
    expect(cluster.node('n2').disk.lastIndex).toBe(1);
    // n1 is gone. n2 stands, boasting of index 2; of n3's answers the first comes in time, and all come again, late.
    cluster.isolate('n1');
    const late: Message[] = [];
    cluster.passes = (message) => {
      if (message.to === 'n2') late.push(message);
      return message.kind !== 'voteReply';
    };
    cluster.elect('n2');
    cluster.restart('n2');
    expect(cluster.raft('n2').log.last).toBe(1);
    cluster.node('n2').disk.isStalled = false;
    cluster.passes = () => true;
    cluster.raft('n2').campaign();
    cluster.wire.push(...late);
    cluster.settle();
    cluster.wire.push(...late);
    cluster.settle();
    expect(late.map(({ kind }) => kind)).toContain('preVoteReply');
    expect(cluster.raft('n2').isLeader).toBe(false);
  });
});
