/**
 * Who leads: elections, pre-votes, and leaders that nobody hears.
 */
import { describe, expect, test } from 'vitest';
import type { Message } from '../../../src/core/raft/types.ts';
import { RaftCluster } from '../../support/raft-cluster.ts';
import { seeded } from '../../support/raft-random.ts';

describe('an election', () => {
  test.for([1, 3, 5])('%i nodes left alone elect one leader, whom all follow', (size) => {
    const cluster = new RaftCluster({ size, random: seeded(size) });
    cluster.pass(60);
    expect(cluster.leaders).toHaveLength(1);
    const leader = cluster.leaders[0]?.id;
    for (const node of cluster.nodes) {
      expect(node.raft?.leader).toBe(leader);
      expect(node.raft?.term).toBe(cluster.raft('n1').term);
      // The no-op of the term.
      expect(node.applied).toMatchObject([{ index: 1, data: { length: 0 } }]);
    }
  });

  test('a leader that is heard stays, in its term', () => {
    const cluster = new RaftCluster({ size: 3, random: seeded(6) });
    cluster.elect('n1');
    cluster.pass(200);
    expect(cluster.leaders.map(({ id }) => id)).toEqual(['n1']);
    expect(cluster.raft('n1').term).toBe(1);
  });

  test('waits for an election are drawn between one and two timeouts', () => {
    for (const [drawn, ticks] of [
      [0, 10],
      [0.5, 15],
      [0.999, 19],
    ] as const) {
      const cluster = new RaftCluster({ size: 3, random: () => drawn });
      const n1 = cluster.raft('n1');
      for (let i = 1; i < ticks; i++) n1.tick();
      expect(n1.role).toBe('follower');
      n1.tick();
      expect(n1.role).toBe('preCandidate');
    }
  });

  test('a candidate without a quorum does not lead', () => {
    const cluster = new RaftCluster({ size: 5 });
    cluster.isolate('n1', 'n2');
    cluster.elect('n1');
    expect(cluster.raft('n1').isLeader).toBe(false);
    cluster.elect('n3');
    expect(cluster.raft('n3').isLeader).toBe(true);
  });

  test('a vote counts once, however often it comes', () => {
    const cluster = new RaftCluster({ size: 5 });
    cluster.passes = ({ from, to }) => from !== 'n3' && from !== 'n4' && from !== 'n5' && to !== 'n1';
    cluster.sent = [];
    cluster.elect('n1');
    const [yes] = cluster.sent.filter(({ kind, to }) => kind === 'preVoteReply' && to === 'n1');
    for (let i = 0; i < 5; i++) cluster.step(yes as Message);
    expect(cluster.raft('n1').role).toBe('preCandidate');
    // The pre-vote is won; of the votes, only n2's comes.
    cluster.passes = ({ kind, from }) => kind !== 'voteReply' || from === 'n2';
    cluster.elect('n1');
    expect(cluster.raft('n1').role).toBe('candidate');
    const [vote] = cluster.sent.filter(({ kind, from }) => kind === 'voteReply' && from === 'n2');
    for (let i = 0; i < 5; i++) cluster.step(vote as Message);
    expect(cluster.raft('n1').role).toBe('candidate');
  });

  test('two candidates of one term split the vote, and the next term decides', () => {
    const cluster = new RaftCluster({ size: 4, random: seeded(7) });
    cluster.raft('n1').campaign();
    cluster.raft('n2').campaign();
    cluster.pass(100);
    expect(cluster.leaders).toHaveLength(1);
  });

  test('nobody votes for a log older than its own: the last term decides, then the length', () => {
    const shorter = new RaftCluster({ size: 3, disks: [{ terms: [1, 1] }, { terms: [1] }, { terms: [1, 1] }] });
    shorter.elect('n2');
    expect(shorter.leaders).toEqual([]);
    shorter.elect('n1');
    expect(shorter.raft('n1').isLeader).toBe(true);
    const older = new RaftCluster({ size: 3, disks: [{ terms: [1, 1, 1] }, { terms: [1, 2] }, { terms: [1, 2] }] });
    older.elect('n1');
    expect(older.leaders).toEqual([]);
    older.elect('n2');
    expect(older.raft('n2').isLeader).toBe(true);
  });

  test('the real vote looks at the log too, not only the pre-vote', () => {
    const cluster = new RaftCluster({ size: 3, disks: [{ terms: [1] }, { terms: [1, 1] }, { terms: [1, 1] }] });
    const n2 = cluster.node('n2');
    cluster.step({
      kind: 'vote',
      from: 'n1',
      to: 'n2',
      term: 5 as never,
      lastIndex: 1 as never,
      lastTerm: 1 as never,
      isTransfer: false,
    });
    cluster.turn(n2);
    cluster.sync(n2);
    expect(cluster.wire).toMatchObject([{ kind: 'voteReply', term: 5, granted: false }]);
    expect(n2.disk.hardState).toMatchObject({ term: 5, vote: '' });
  });
});

describe('pre-vote', () => {
  test('a node that is cut off raises no term, however long, and deposes nobody when it returns', () => {
    const cluster = new RaftCluster({ size: 3, random: seeded(1) });
    cluster.elect('n1');
    cluster.isolate('n3');
    cluster.pass(500);
    expect(cluster.raft('n3').role).toBe('preCandidate');
    expect(cluster.raft('n3').term).toBe(1);
    cluster.heal();
    cluster.pass(50);
    expect(cluster.raft('n1').isLeader).toBe(true);
    expect(cluster.raft('n3').leader).toBe('n1');
    expect(cluster.nodes.map(({ raft }) => raft?.term)).toEqual([1, 1, 1]);
  });

  test('a node that is heard by the others, but hears nobody, deposes nobody', () => {
    const cluster = new RaftCluster({ size: 3, random: seeded(2) });
    cluster.elect('n1');
    cluster.cut('n1', 'n3');
    cluster.cut('n2', 'n3');
    cluster.pass(500);
    expect(cluster.raft('n1').isLeader).toBe(true);
    expect(cluster.raft('n1').term).toBe(1);
  });

  test('who follows a living leader refuses even a real vote of a later term', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    const vote = { kind: 'vote', from: 'n3', to: 'n2', term: 9, lastIndex: 9, lastTerm: 9 } as never;
    cluster.step(vote);
    cluster.settle();
    expect(cluster.raft('n2').term).toBe(1);
    cluster.tick(cluster.node('n2'), 10);
    cluster.step(vote);
    expect(cluster.raft('n2').term).toBe(9);
  });

  test('asking changes nothing at the asked node', () => {
    const cluster = new RaftCluster({ size: 3 });
    const before = cluster.raft('n2').hardState;
    const preVote = { kind: 'preVote', from: 'n1', to: 'n2', term: 9, lastIndex: 9, lastTerm: 9 } as never;
    cluster.step(preVote);
    expect(cluster.turn(cluster.node('n2'))?.persist).toBeUndefined();
    expect(cluster.raft('n2').hardState).toEqual(before);
    expect(cluster.wire).toMatchObject([{ kind: 'preVoteReply', term: 9, granted: true }]);
  });

  test('a no teaches a later term, so that a longer log in an earlier term is elected', () => {
    const disks = [{ terms: [1, 1] }, { terms: [1], term: 7 }, {}];
    const cluster = new RaftCluster({ size: 3, disks, random: seeded(3) });
    cluster.isolate('n3');
    cluster.pass(100);
    expect(cluster.leaders.map(({ id }) => id)).toEqual(['n1']);
    expect(cluster.raft('n1').term).toBe(8);
  });
});

describe('a follower that saw the connection of its leader break', () => {
  test('stands soon, long before its wait is over', () => {
    let drawn = 1000;
    const cluster = new RaftCluster({ size: 3, random: () => drawn });
    cluster.elect('n1');
    cluster.crash(cluster.node('n1'));
    drawn = 0;
    cluster.raft('n2').suspectLeader('n1');
    drawn = 0.9;
    cluster.raft('n3').suspectLeader('n1');
    cluster.pass(1);
    expect(cluster.raft('n2')).toMatchObject({ isLeader: true, term: 2 });
    expect(cluster.raft('n3').leader).toBe('n2');
  });

  test('deposes nobody when the others still hear the leader', () => {
    const cluster = new RaftCluster({ size: 3, random: seeded(9) });
    cluster.elect('n1');
    for (let i = 0; i < 50; i++) {
      cluster.raft('n2').suspectLeader('n1');
      cluster.pass();
    }
    expect(cluster.raft('n1')).toMatchObject({ isLeader: true, term: 1 });
  });

  test('takes no notice of a peer that is not its leader', () => {
    const cluster = new RaftCluster({ size: 3, random: seeded(9) });
    cluster.elect('n1');
    cluster.raft('n2').suspectLeader('n3');
    cluster.raft('n1').suspectLeader('n1');
    expect(cluster.raft('n2').leader).toBe('n1');
    expect(cluster.raft('n1').isLeader).toBe(true);
  });
});

describe('a leader that nobody hears', () => {
  test('steps down when no quorum has answered for an election timeout', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.isolate('n1');
    cluster.pass(21);
    expect(cluster.raft('n1').isLeader).toBe(false);
    expect(cluster.raft('n1').leader).not.toBe('n1');
  });

  test('steps down also when it is heard but hears nobody', () => {
    const cluster = new RaftCluster({ size: 3, random: seeded(5) });
    cluster.elect('n1');
    cluster.cut('n2', 'n1');
    cluster.cut('n3', 'n1');
    cluster.pass(60);
    expect(cluster.raft('n1').isLeader).toBe(false);
    expect(cluster.leaders).toHaveLength(1);
  });

  test('stays with one follower of two', () => {
    const cluster = new RaftCluster({ size: 3, random: seeded(8) });
    cluster.elect('n1');
    cluster.isolate('n3');
    cluster.pass(300);
    expect(cluster.raft('n1').isLeader).toBe(true);
  });

  test('learns of a later term from a node that is ahead, and steps down for a new election', () => {
    const cluster = new RaftCluster({ size: 3, random: seeded(4) });
    cluster.elect('n1');
    // n3 has entered a later term alone: its votes never arrived.
    cluster.crash(cluster.node('n3'));
    cluster.node('n3').disk.hardState = { ...cluster.node('n3').disk.hardState, term: 5 as never, vote: 'n3' };
    cluster.start(cluster.node('n3'));
    cluster.pass(60);
    expect(cluster.leaders).toHaveLength(1);
    expect(cluster.raft('n1').term).toBeGreaterThan(5);
    expect(cluster.raft('n3').leader).toBe(cluster.leaders[0]?.id);
  });
});
