/**
 * Linearizable reads without a log entry.
 */
import { describe, expect, test } from 'vitest';
import type { RaftNode } from '../../support/raft-cluster.ts';
import { RaftCluster } from '../../support/raft-cluster.ts';

const answers = (node: RaftNode): unknown[] => node.reads.map(({ id, index }) => [id, index]);

describe('a read', () => {
  test('is answered with what was committed, after a quorum has confirmed the leader', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.propose('n1', 'x');
    cluster.settle();
    const id = cluster.read('n1');
    cluster.turn(cluster.node('n1'));
    expect(cluster.wire.map(({ kind }) => kind)).toEqual(['heartbeat', 'heartbeat']);
    expect(answers(cluster.node('n1'))).toEqual([]);
    cluster.settle();
    expect(answers(cluster.node('n1'))).toEqual([[id, 2]]);
  });

  test('needs answers to heartbeats that were sent after it was asked', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    // Answers to older heartbeats are still under way when the read is asked.
    cluster.tick(cluster.node('n1'), 2);
    cluster.turn(cluster.node('n1'));
    for (const id of ['n2', 'n3']) {
      cluster.deliver();
      cluster.turn(cluster.node(id));
    }
    expect(cluster.wire.map(({ kind }) => kind)).toEqual(['heartbeatReply', 'heartbeatReply']);
    cluster.read('n1');
    cluster.turn(cluster.node('n1'));
    cluster.deliver();
    cluster.deliver();
    cluster.turn(cluster.node('n1'));
    expect(answers(cluster.node('n1'))).toEqual([]);
    cluster.settle();
    expect(answers(cluster.node('n1'))).toHaveLength(1);
  });

  test('counts each follower once, however often its answer comes', () => {
    const cluster = new RaftCluster({ size: 5 });
    cluster.elect('n1');
    cluster.isolate('n3', 'n4', 'n5');
    cluster.read('n1');
    cluster.turn(cluster.node('n1'));
    cluster.deliver();
    cluster.turn(cluster.node('n2'));
    const reply = cluster.wire.find(({ kind }) => kind === 'heartbeatReply');
    expect(reply).toBeDefined();
    for (let i = 0; i < 5 && reply !== undefined; i++) cluster.wire.push(reply);
    cluster.settle();
    expect(answers(cluster.node('n1'))).toEqual([]);
  });

  test('shares its round with all reads of the turn', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    for (let i = 0; i < 100; i++) cluster.read('n1');
    cluster.turn(cluster.node('n1'));
    expect(cluster.wire).toHaveLength(2);
    cluster.settle();
    expect(cluster.node('n1').reads).toHaveLength(100);
  });

  test('outlives lost heartbeats: later ones carry its round', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.read('n1');
    cluster.turn(cluster.node('n1'));
    cluster.wire = [];
    cluster.settle();
    expect(answers(cluster.node('n1'))).toEqual([]);
    cluster.pass(2);
    expect(answers(cluster.node('n1'))).toHaveLength(1);
  });

  test("waits for the commit of the term's no-op: before, a leader does not know what is committed", () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.propose('n1', 'x');
    cluster.passes = ({ kind }) => kind !== 'commit';
    cluster.settle();
    expect(cluster.raft('n2').log.committed).toBe(1);
    // n2 has x, committed, and does not know it is.
    cluster.isolate('n1');
    cluster.passes = ({ kind }) => kind !== 'append';
    cluster.elect('n2');
    expect(cluster.raft('n2')).toMatchObject({ isLeader: true, hasCommittedInTerm: false });
    const id = cluster.read('n2');
    cluster.pass(4);
    expect(answers(cluster.node('n2'))).toEqual([]);
    cluster.passes = () => true;
    cluster.pass(4);
    expect(answers(cluster.node('n2'))).toEqual([[id, 3]]);
  });

  test('fails when leadership is lost: waiting, or in a round', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.isolate('n1');
    const first = cluster.read('n1');
    cluster.settle();
    const second = cluster.read('n1');
    // It hears of another leader before its turn.
    cluster.elect('n2');
    cluster.heal();
    cluster.pass(2);
    expect(answers(cluster.node('n1'))).toEqual([
      [first, undefined],
      [second, undefined],
    ]);
  });

  test('is never answered by a leader that was replaced without knowing it', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.isolate('n1');
    cluster.elect('n2');
    cluster.propose('n2', 'x');
    cluster.settle();
    expect(cluster.raft('n1').isLeader).toBe(true);
    const id = cluster.read('n1');
    for (let i = 0; i < 30; i++) cluster.tick(cluster.node('n1'));
    cluster.settle();
    expect(answers(cluster.node('n1'))).toEqual([[id, undefined]]);
  });

  test('of a lone node needs nobody, and the no-op', () => {
    const cluster = new RaftCluster({ size: 1 });
    cluster.node('n1').disk.isStalled = true;
    cluster.elect('n1');
    cluster.sync(cluster.node('n1'));
    expect(cluster.raft('n1').isLeader).toBe(true);
    const id = cluster.read('n1');
    cluster.settle();
    expect(answers(cluster.node('n1'))).toEqual([]);
    cluster.node('n1').disk.isStalled = false;
    cluster.settle();
    expect(answers(cluster.node('n1'))).toEqual([[id, 1]]);
  });
});
