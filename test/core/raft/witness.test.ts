/**
 * Disks that were put back to an older state: what the others see of it, and that nobody else is ever taken for one. (That
 * no honest node is refused is looked at in every start of chaos.test.ts as well.)
 */
import { describe, expect, test } from 'vitest';
import { toIndex, toTerm } from '../../../src/core/base/position.ts';
import type { Message } from '../../../src/core/raft/types.ts';
import { LINEAGE_MAX, type LifeSign, Witness } from '../../../src/core/raft/witness.ts';
import { RaftCluster } from '../../support/raft-cluster.ts';

/** n1 leads three, all of whom hold the same. */
function led(): RaftCluster {
  const cluster = new RaftCluster({ size: 3 });
  cluster.elect('n1');
  cluster.propose('n1', 'x');
  cluster.pass(3);
  return cluster;
}

/** n3 lives on from what `then` leaves of it, with what it had before `then`. */
function putBack(cluster: RaftCluster, then: () => void): void {
  const node = cluster.node('n3');
  const [disk, lineage] = [node.disk.save(), node.lineage];
  then();
  cluster.crash(node);
  node.disk.load(disk);
  node.lineage = lineage;
  cluster.checker.wiped('n3');
  cluster.start(node);
}

describe('a disk that was put back', () => {
  test('to before its last life is known for one by everybody who saw that life', () => {
    const cluster = led();
    putBack(cluster, () => cluster.restart('n3'));
    expect(cluster.losses).toEqual(['n1 of n3', 'n2 of n3']);
  });

  test('however often it is started, and also when the others were started meanwhile', () => {
    const cluster = led();
    for (const id of ['n1', 'n2']) cluster.restart(id);
    putBack(cluster, () => {
      cluster.restart('n3');
      cluster.restart('n1');
      cluster.restart('n2');
    });
    expect(cluster.losses).toEqual(['n1 of n3', 'n2 of n3']);
    cluster.restart('n3');
    cluster.restart('n3');
    expect(cluster.losses).toHaveLength(6);
  });

  test('within its life, behind what it has acknowledged, is known for one by the leader', () => {
    const cluster = led();
    putBack(cluster, () => {
      cluster.propose('n1', 'acknowledged');
      cluster.settle();
    });
    expect(cluster.losses).toEqual(['n1 of n3']);
  });

  test('within its life, before a vote, is known for one by whom it voted for', () => {
    const cluster = led();
    putBack(cluster, () => {
      cluster.isolate('n1');
      cluster.raft('n3').suspectLeader('n1');
      cluster.raft('n2').suspectLeader('n1');
      // Its vote arrives, and nothing of the new term comes back.
      cluster.passes = ({ from, kind }) => from === 'n3' || kind === 'preVote' || kind === 'vote';
      cluster.elect('n2');
      cluster.settle();
      expect(cluster.raft('n2').isLeader).toBe(true);
    });
    expect(cluster.losses).toEqual(['n2 of n3']);
  });

  test('behind nothing that anybody has seen, is not known for one', () => {
    const cluster = led();
    putBack(cluster, () => {
      cluster.propose('n1', 'acknowledged');
      cluster.settle();
      // Who saw it has forgotten it.
      cluster.restart('n1');
    });
    expect(cluster.losses).toEqual([]);
  });
});

describe('who has lost nothing that it promised', () => {
  test('is let in after a crash that took what was not synced', () => {
    const cluster = led();
    cluster.node('n3').disk.isStalled = true;
    cluster.propose('n1', 'a', 'b');
    cluster.settle();
    expect(cluster.node('n3').disk.unsynced).toBeGreaterThan(0);
    const before = cluster.raft('n3').log.last;
    expect(cluster.restart('n3').log.last, 'its end was torn').toBeLessThan(before);
    expect(cluster.losses).toEqual([]);
  });

  test('is let in with a log that another leader has made shorter', () => {
    const cluster = new RaftCluster({ size: 5 });
    cluster.elect('n1');
    cluster.pass(3);
    cluster.isolate('n1', 'n3');
    cluster.propose('n1', 'a', 'b', 'c');
    cluster.settle();
    const acknowledged = cluster.raft('n1').progressOf('n3')?.match ?? 0;
    expect(acknowledged).toBe(cluster.raft('n1').log.last);
    cluster.elect('n2');
    cluster.settle();
    cluster.heal();
    cluster.isolate('n1');
    cluster.pass(3);
    expect(cluster.raft('n3').log.last).toBeLessThan(acknowledged);
    cluster.restart('n3');
    expect(cluster.losses).toEqual([]);
  });

  test('is let in when all were killed at once, and then one of them is elected', () => {
    const cluster = led();
    cluster.propose('n1', 'under way');
    for (const node of cluster.nodes) cluster.turn(node);
    for (const node of cluster.nodes) cluster.crash(node);
    for (const node of cluster.nodes) cluster.start(node);
    expect(cluster.losses).toEqual([]);
    cluster.wire = [];
    cluster.elect('n2');
    cluster.settle();
    expect(cluster.leaders.map(({ id }) => id)).toEqual(['n2']);
  });
});

describe('a witness by itself', () => {
  const began = { term: toTerm(3), lastTerm: toTerm(3), lastIndex: toIndex(9) };
  const sign = (boot: number, fields: Partial<LifeSign> = {}): LifeSign => {
    const lineage = Array.from({ length: Math.min(boot - 1, LINEAGE_MAX) }, (_, i) => boot - 1 - i);
    return { dir: 'd', boot, life: boot, lineage, began, ...fields };
  };
  const ack = (index: number, term = 3, rejected = false): Message => ({
    kind: 'appendReply',
    ...{ from: 'n2', to: 'n1', term: toTerm(term), rejected, index: toIndex(index) },
    ...{ hintIndex: toIndex(0), hintTerm: toTerm(0) },
  });
  const raft = { term: toTerm(3), log: { term: () => toTerm(3) } };

  test('a life may say so on many sockets, however far it has come since', () => {
    const witness = new Witness();
    expect(witness.meet('n2', sign(1))).toBeUndefined();
    witness.heard(ack(500), raft);
    expect(witness.meet('n2', sign(1))).toBeUndefined();
    expect(witness.meet('n2', sign(2))).toContain('entry 9 of term 3 in term 3');
  });

  test.each([
    ['an earlier term', { term: toTerm(2), lastTerm: toTerm(2), lastIndex: toIndex(900) }, true],
    ['a shorter log', { ...began, lastIndex: toIndex(8) }, true],
    ['a longer log, of an earlier term', { ...began, lastTerm: toTerm(2), lastIndex: toIndex(900) }, true],
    ['the same log', began, false],
    ['a longer one', { ...began, lastIndex: toIndex(10) }, false],
    ['a shorter one, in a later term', { term: toTerm(4), lastTerm: toTerm(2), lastIndex: toIndex(1) }, false],
  ])('after an ack of entry 9 a life that begins with %s', (_what, beginning, isLoss) => {
    const witness = new Witness();
    witness.meet('n2', sign(1));
    witness.heard(ack(7), raft);
    witness.heard(ack(9), raft);
    witness.heard(ack(3), raft);
    witness.heard(ack(5_000, 2), raft);
    witness.heard(ack(5_000, 3, true), raft);
    expect(witness.meet('n2', sign(2, { began: beginning })) !== undefined).toBe(isLoss);
  });

  test('who was away for more lives than it remembers is believed', () => {
    const witness = new Witness();
    witness.meet('n2', sign(1));
    expect(witness.meet('n2', sign(2 + LINEAGE_MAX))).toBeUndefined();
    expect(witness.meet('n2', sign(2 + LINEAGE_MAX + LINEAGE_MAX, { lineage: [] }))).toContain('remembers nothing');
  });

  test('another directory begins anew', () => {
    const witness = new Witness();
    witness.meet('n2', sign(7));
    witness.heard(ack(5_000), raft);
    expect(witness.meet('n2', sign(1, { dir: 'repaired-1' }))).toBeUndefined();
    expect(witness.meet('n2', sign(2, { dir: 'repaired-1' }))).toBeUndefined();
    expect(new Witness(witness.seen).meet('n2', sign(1, { dir: 'repaired-1', boot: 98 }))).toContain('life 2');
  });
});
