/**
 * How logs become equal: conflicts, windows, losses, restarts.
 */
import { describe, expect, test } from 'vitest';
import type { Append, Message } from '../../../src/core/raft/types.ts';
import { RaftCluster } from '../../support/raft-cluster.ts';

const isAppendTo =
  (to: string) =>
  (message: Message): message is Append =>
    message.kind === 'append' && message.to === to;

const repeat = (term: number, count: number): number[] => Array.from({ length: count }, () => term);

describe('logs that differ', () => {
  /** Figure 7: the leader of term 8, and followers (a) to (f). */
  test.for([
    ['(a) lacks an entry', [1, 1, 1, 4, 4, 5, 5, 6, 6]],
    ['(b) lacks many', [1, 1, 1, 4]],
    ['(c) has one more', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]],
    ['(d) has two more, of a later term', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]],
    ['(e) lacks some and has others', [1, 1, 1, 4, 4, 4, 4]],
    ['(f) was leader of terms that reached nobody', [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]],
  ] as const)('figure 7 %s: becomes equal to the leader', ([, terms]) => {
    const own = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    const cluster = new RaftCluster({
      size: 3,
      disks: [
        { terms: own, term: 7 },
        { terms, term: 7 },
        { terms: own, term: 7 },
      ],
    });
    cluster.elect('n1');
    cluster.pass(4);
    expect(cluster.raft('n1')).toMatchObject({ isLeader: true, term: 8 });
    expect(cluster.terms('n2')).toEqual([...own, 8]);
    expect(cluster.node('n2').disk.entries).toEqual(cluster.node('n1').disk.entries);
  });

  test('long logs that differ agree after a no per term, not per entry', () => {
    const cluster = new RaftCluster({
      size: 3,
      limits: { appendBytesMax: 1_000_000 },
      disks: [
        { terms: [...repeat(1, 100), ...repeat(3, 500)], term: 6 },
        { terms: [...repeat(1, 100), ...repeat(2, 300), ...repeat(4, 0), ...repeat(5, 300)], term: 6 },
        { terms: [...repeat(1, 100), ...repeat(3, 500)], term: 6 },
      ],
    });
    // n2's log is of a later term; it is down while n1 is elected and n3 follows.
    cluster.isolate('n2');
    cluster.elect('n1');
    cluster.heal();
    cluster.sent = [];
    cluster.pass(4);
    expect(cluster.terms('n2')).toEqual(cluster.terms('n1'));
    const noes = cluster.sent.filter(({ kind, from }) => kind === 'appendReply' && from === 'n2');
    expect(noes.filter((message) => message.kind === 'appendReply' && message.rejected).length).toBeLessThanOrEqual(3);
  });

  test("an old leader's uncommitted suffix is reverted, on disk too", () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.propose('n1', 'kept');
    cluster.settle();
    cluster.isolate('n1');
    cluster.propose('n1', 'lost', 'lost', 'lost');
    cluster.settle();
    expect(cluster.node('n1').disk.lastIndex).toBe(5);
    cluster.elect('n2');
    cluster.propose('n2', 'new');
    cluster.heal();
    cluster.pass(4);
    expect(cluster.node('n1').disk.reverts).toEqual([3]);
    expect(cluster.terms('n1')).toEqual([1, 1, 2, 2]);
    expect(cluster.node('n1').disk.entries).toEqual(cluster.node('n2').disk.entries);
    expect(cluster.node('n1').applied).toEqual(cluster.node('n2').applied);
  });

  test('a suffix that was never handed to the disk needs no revert there', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.isolate('n1');
    cluster.propose('n1', 'lost');
    cluster.elect('n2');
    cluster.heal();
    // elect() settles n1 too: a second one stays in its memory, as n1 takes no turn before it hears of n2.
    cluster.propose('n1', 'never handed');
    cluster.tick(cluster.node('n2'), 2);
    cluster.turn(cluster.node('n2'));
    cluster.pass(4);
    expect(cluster.node('n1').disk.reverts).toEqual([2]);
    expect(cluster.terms('n1')).toEqual(cluster.terms('n2'));
  });

  test('two reverts of one turn reach the disk as one, the longer', () => {
    const disks = Array.from({ length: 3 }, () => ({ terms: [1, 1, 1, 1] }));
    const cluster = new RaftCluster({ size: 3, disks });
    const append = (term: number, prevIndex: number, ...terms: number[]): void => {
      const entries = terms.map((of, i) => ({ index: prevIndex + 1 + i, term: of, data: new Uint8Array([of]) }));
      cluster.step({ kind: 'append', from: 'n2', to: 'n1', term, prevIndex, prevTerm: 1, commit: 0, entries } as never);
    };
    append(2, 3, 2, 2);
    append(3, 1, 3);
    append(4, 1, 4, 4, 4, 4, 4);
    const persist = cluster.turn(cluster.node('n1'))?.persist;
    expect(persist).toMatchObject({ revertFrom: 2, entries: [{ index: 2 }, {}, {}, {}, { index: 6 }] });
    cluster.sync(cluster.node('n1'));
    expect(cluster.node('n1').disk.entries.map(({ term }) => term)).toEqual([1, 4, 4, 4, 4, 4]);
  });

  test('an append commits only what it has shown to be equal, not the suffix behind it', () => {
    const cluster = new RaftCluster({
      size: 3,
      disks: [{ terms: [1, 2, 2, 2], commit: 4 }, { terms: [1, 1, 1, 1] }, { terms: [1, 2, 2, 2], commit: 4 }],
    });
    const message = { kind: 'append', from: 'n1', to: 'n2', term: 2, prevIndex: 0, prevTerm: 0, commit: 4 };
    cluster.step({ ...message, entries: cluster.node('n1').disk.entries.slice(0, 1) } as never);
    expect(cluster.raft('n2').log.committed).toBe(1);
    cluster.elect('n1');
    cluster.pass(4);
    expect(cluster.terms('n2')).toEqual([1, 2, 2, 2, 3]);
  });

  test('a sync that completes late proves nothing about entries reverted meanwhile (ABA)', () => {
    // n1 is a follower with index 1. Leaders n2 (term 2), n3 (term 3), then n2 (term 4) send it index 2 to 4.
    const cluster = new RaftCluster({ size: 5, disks: Array.from({ length: 5 }, () => ({ terms: [1] })) });
    const n1 = cluster.node('n1');
    const raft = cluster.raft('n1');
    n1.disk.isStalled = true;
    const entry = (index: number, term: number): unknown => ({ index, term, data: new Uint8Array([term]) });
    const append = (from: string, term: number, prevTerm: number, ...entries: unknown[]): void => {
      cluster.step({ kind: 'append', from, to: 'n1', term, prevIndex: 1, prevTerm, commit: 1, entries } as never);
      cluster.turn(n1);
    };
    append('n2', 2, 1, entry(2, 2), entry(3, 2));
    append('n3', 3, 1, entry(2, 3));
    append('n2', 4, 1, entry(2, 4), entry(3, 4), entry(4, 4));
    expect(n1.disk.reverts).toEqual([2, 2]);
    expect(n1.disk.unsynced).toBe(3);
    // Index 2 and 3 of term 2 are synced: they are not ours any more.
    cluster.sync(n1);
    expect(raft.log.stable).toBe(1);
    cluster.sync(n1);
    expect(raft.log.stable).toBe(1);
    // The ack to the leader of term 2 may leave; it is of a term that has passed.
    expect(cluster.wire.filter(({ term }) => term === 4)).toEqual([]);
    cluster.sync(n1);
    expect(raft.log.stable).toBe(4);
    expect(cluster.wire.filter(({ term }) => term === 4)).toMatchObject([{ kind: 'appendReply', index: 4 }]);
    expect(n1.disk.entries.map(({ term }) => term)).toEqual([1, 4, 4, 4]);
  });

  test('the same (index, term) that comes back after a revert waits for its own sync', () => {
    const cluster = new RaftCluster({ size: 3, disks: [{ terms: [1] }, { terms: [1] }, { terms: [1] }] });
    const n1 = cluster.node('n1');
    const raft = cluster.raft('n1');
    const entries = [{ index: 2, term: 2, data: new Uint8Array([2]) }];
    const base = { kind: 'append', to: 'n1', prevIndex: 1, prevTerm: 1, commit: 1 };
    cluster.step({ ...base, from: 'n2', term: 2, entries } as never);
    cluster.turn(n1);
    cluster.step({ ...base, from: 'n3', term: 3, entries: [{ ...entries[0], term: 3 }] } as never);
    cluster.turn(n1);
    // n2 leads again and has kept its entry of term 2.
    cluster.step({ ...base, from: 'n2', term: 4, entries } as never);
    cluster.turn(n1);
    cluster.sync(n1);
    expect(raft.log.stable).toBe(1);
    cluster.sync(n1);
    expect(raft.log.stable).toBe(1);
    cluster.sync(n1);
    expect(raft.log.stable).toBe(2);
    expect(n1.disk.holds(2 as never, 2)).toBe(true);
  });
});

describe('appends', () => {
  const limits = {
    inflightMessagesMax: 3,
    inflightBytesMax: 10_000,
    appendBytesMax: 100,
    uncommittedBytesMax: 100_000,
  };

  /** n1 leads n2 and n3, and both have acked the no-op. */
  function ready(more: Partial<typeof limits> = {}): RaftCluster {
    const cluster = new RaftCluster({ size: 3, limits: { ...limits, ...more } });
    cluster.elect('n1');
    expect(cluster.raft('n1').progressOf('n2')?.state).toBe('replicate');
    return cluster;
  }

  test('are sent ahead of their acks, up to a number of messages', () => {
    const cluster = ready();
    for (let i = 0; i < 10; i++) {
      cluster.propose('n1', 'x'.repeat(90));
      cluster.turn(cluster.node('n1'));
    }
    const indexes = cluster.wire.filter(isAppendTo('n2')).map(({ entries }) => entries[0]?.index);
    expect(indexes).toEqual([2, 3, 4]);
    cluster.settle();
    expect(cluster.raft('n1').log.committed).toBe(11);
  });

  test('are sent ahead of their acks, up to a number of bytes', () => {
    const cluster = ready({ inflightMessagesMax: 100, inflightBytesMax: 300 });
    for (let i = 0; i < 10; i++) {
      cluster.propose('n1', 'x'.repeat(90));
      cluster.turn(cluster.node('n1'));
    }
    // 90 bytes and 24 beside them, thrice: past 300, and no more.
    expect(cluster.wire.filter(isAppendTo('n2'))).toHaveLength(3);
    cluster.settle();
    expect(cluster.raft('n1').log.committed).toBe(11);
  });

  test('carry at least one entry and at most appendBytesMax', () => {
    const cluster = ready({ inflightMessagesMax: 100 });
    cluster.propose('n1', 'x'.repeat(1000), ...repeat(1, 10).map(String));
    cluster.turn(cluster.node('n1'));
    expect(cluster.wire.filter(isAppendTo('n2')).map(({ entries }) => entries.length)).toEqual([1, 4, 4, 2]);
  });

  test('that were lost are sent again with no new proposal: a heartbeat finds the gap', () => {
    const cluster = ready();
    for (let i = 0; i < 5; i++) cluster.propose('n1', 'x'.repeat(90));
    cluster.passes = ({ kind }) => kind !== 'append';
    cluster.settle();
    expect(cluster.raft('n1').progressOf('n2')?.isWindowFull).toBe(true);
    cluster.passes = () => true;
    cluster.pass(4);
    expect(cluster.raft('n1').log.committed).toBe(6);
    expect(cluster.nodes.map(({ applied }) => applied.length)).toEqual([6, 6, 6]);
  });

  test('whose acks were lost are found to be there by the next heartbeat', () => {
    const cluster = ready();
    cluster.propose('n1', 'x');
    cluster.passes = ({ kind }) => kind !== 'appendReply';
    cluster.settle();
    expect(cluster.node('n2').disk.lastIndex).toBe(2);
    expect(cluster.raft('n1').log.committed).toBe(1);
    cluster.passes = () => true;
    cluster.pass(2);
    expect(cluster.raft('n1').log.committed).toBe(2);
  });

  test('to a probed follower that was silent go on when it answers a heartbeat', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.isolate('n3');
    cluster.elect('n1');
    expect(cluster.raft('n1').progressOf('n3')).toMatchObject({ state: 'probe', isPaused: true });
    cluster.heal();
    cluster.pass(2);
    expect(cluster.terms('n3')).toEqual([1]);
    expect(cluster.raft('n1').progressOf('n3')?.state).toBe('replicate');
  });

  test('wait for no slow follower', () => {
    const cluster = ready();
    cluster.isolate('n3');
    for (let i = 0; i < 20; i++) {
      cluster.propose('n1', 'x'.repeat(90));
      cluster.settle();
    }
    expect(cluster.raft('n1').log.committed).toBe(21);
    expect(cluster.raft('n1').progressOf('n3')?.inflightMessages).toBe(3);
    cluster.heal();
    cluster.pass(4);
    expect(cluster.node('n3').applied).toHaveLength(21);
  });

  test('under way on a broken channel are sent again at once', () => {
    const cluster = ready();
    cluster.propose('n1', 'x');
    cluster.turn(cluster.node('n1'));
    cluster.wire = [];
    cluster.raft('n1').unreachable('n2');
    expect(cluster.raft('n1').progressOf('n2')).toMatchObject({ state: 'probe', inflightMessages: 0, match: 1 });
    cluster.settle();
    expect(cluster.raft('n1').progressOf('n2')).toMatchObject({ state: 'replicate', match: 2 });
    expect(cluster.raft('n1').log.committed).toBe(2);
  });

  test('may come twice, late and out of order: the log stays as it is, and the ack tells what is committed', () => {
    const cluster = ready();
    cluster.sent = [];
    cluster.propose('n1', 'a');
    cluster.settle();
    cluster.propose('n1', 'b', 'c');
    cluster.settle();
    const before = structuredClone(cluster.node('n2').disk.entries);
    const appends = cluster.sent.filter(isAppendTo('n2'));
    expect(appends.length).toBeGreaterThan(1);
    cluster.wire.push(...appends.toReversed(), ...appends);
    cluster.settle();
    expect(cluster.node('n2').disk.entries).toEqual(before);
    expect(cluster.node('n2').disk.reverts).toEqual([]);
    expect(cluster.raft('n1').progressOf('n2')?.match).toBe(4);
  });

  test('that are shorter and older than what the follower has cut nothing off', () => {
    const cluster = ready();
    cluster.sent = [];
    cluster.passes = ({ kind }) => kind !== 'appendReply';
    cluster.propose('n1', 'a');
    cluster.turn(cluster.node('n1'));
    cluster.propose('n1', 'b');
    cluster.settle();
    const [first] = cluster.sent.filter(isAppendTo('n2'));
    expect(first?.entries).toHaveLength(1);
    cluster.wire.push(first as Message);
    cluster.settle();
    expect(cluster.raft('n2').log.last).toBe(3);
    expect(cluster.node('n2').disk.reverts).toEqual([]);
  });

  test('of an earlier term are refused with the later one', () => {
    const cluster = ready();
    cluster.sent = [];
    cluster.propose('n1', 'a');
    cluster.settle();
    const [old] = cluster.sent.filter(isAppendTo('n3'));
    cluster.elect('n2');
    cluster.wire.push(old as Message);
    cluster.sent = [];
    cluster.settle();
    expect(cluster.sent).toMatchObject([{ kind: 'appendReply', to: 'n1', term: 2, rejected: true }]);
    expect(cluster.terms('n3')).toEqual([1, 1, 2]);
  });
});

describe('a restart', () => {
  test('a follower catches up with what it missed; the leader reads it back from its disk', () => {
    const cluster = new RaftCluster({ size: 3, limits: { cacheBytesMax: 0 } });
    cluster.elect('n1');
    cluster.crash(cluster.node('n3'));
    for (let i = 0; i < 100; i++) {
      cluster.propose('n1', `${i}`);
      cluster.settle();
    }
    const before = cluster.node('n1').disk.readCount;
    cluster.start(cluster.node('n3'));
    cluster.pass(4);
    expect(cluster.node('n1').disk.readCount).toBeGreaterThan(before);
    expect(cluster.node('n3').applied).toEqual(cluster.node('n1').applied);
  });

  test('of all nodes loses nothing that was committed, and applies it again from the first index', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.propose('n1', 'a', 'b');
    cluster.settle();
    for (const { id } of cluster.nodes) cluster.restart(id);
    cluster.elect('n3');
    expect(cluster.terms('n1')).toEqual([1, 1, 1, 2]);
    for (const { applied } of cluster.nodes) expect(applied.map(({ index }) => index)).toEqual([1, 2, 3, 4]);
  });

  test('after a crash that kept a part of what was unsynced the log is a prefix, and the rest comes again', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.node('n2').disk.isStalled = true;
    for (const data of ['a', 'b', 'c']) {
      cluster.propose('n1', data);
      cluster.settle();
    }
    expect(cluster.node('n2').disk.unsynced).toBe(3);
    expect(cluster.restart('n2', 2).log.last).toBe(3);
    cluster.node('n2').disk.isStalled = false;
    cluster.pass(4);
    expect(cluster.node('n2').applied).toEqual(cluster.node('n1').applied);
  });

  test('a leader that restarts follows, in the term it led', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    const n1 = cluster.restart('n1');
    expect(n1).toMatchObject({ role: 'follower', term: 1, isLeader: false });
    cluster.raft('n1').campaign();
    cluster.tick(cluster.node('n2'), 10);
    cluster.tick(cluster.node('n3'), 10);
    cluster.raft('n1').campaign();
    cluster.settle();
    expect(n1).toMatchObject({ role: 'leader', term: 2 });
  });
});
