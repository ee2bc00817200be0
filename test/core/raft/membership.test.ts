import { describe, expect, test } from 'vitest';
import { isStoreError } from '../../../src/core/base/errors.ts';
import { toIndex, toTerm } from '../../../src/core/base/position.ts';
import {
  decodeMembership,
  encodeMembership,
  isMembershipEntry,
  type Member,
  type Membership,
  votersOnly,
  withLearner,
  withoutMember,
  withoutOutgoing,
  withReplacement,
  withVoter,
} from '../../../src/core/raft/membership.ts';
import type { Message } from '../../../src/core/raft/types.ts';
import { below, forSeeds, randomBytes } from '../base/seeded.ts';
import { RaftCluster } from '../../support/raft-cluster.ts';

const member = (id: string): Member => ({ id, mesh: `${id}:1`, client: `ws://${id}`, http: '' });
const refusal = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (isStoreError(error, 'MEMBER_REFUSED')) return error.message;
    throw error;
  }
  return 'taken';
};
const sides = ({ voters, outgoing, learners }: Membership): unknown => [voters, outgoing, learners];

describe('one membership becomes another', () => {
  const three = votersOnly(['a', 'b', 'c']);

  test('a member begins as a learner, and votes after a joint step', () => {
    const learning = withLearner(three, member('d'));
    expect(sides(learning)).toEqual([['a', 'b', 'c'], [], ['d']]);
    const joint = withVoter(learning, 'd');
    expect(sides(joint)).toEqual([['a', 'b', 'c', 'd'], ['a', 'b', 'c'], []]);
    expect(sides(withoutOutgoing(joint))).toEqual([['a', 'b', 'c', 'd'], [], []]);
  });

  test('who leaves is a member until the joint step is over', () => {
    const joint = withoutMember(three, 'a');
    expect(joint.members).toHaveLength(3);
    const after = withoutOutgoing(joint);
    expect(after.members.map(({ id }) => id)).toEqual(['b', 'c']);
    const learning = withLearner(three, member('d'));
    expect(withoutMember(learning, 'd')).toEqual(three);
    expect(sides(withReplacement(learning, 'b', 'd'))).toEqual([['a', 'c', 'd'], ['a', 'b', 'c'], []]);
  });

  test('what cannot be is refused in words', () => {
    const learning = withLearner(three, member('d'));
    const joint = withVoter(learning, 'd');
    expect(refusal(() => withLearner(three, member('a')))).toContain('a is a member already');
    expect(refusal(() => withLearner(learning, { ...member('e'), mesh: 'd:1' }))).toContain('d:1 is the address of d');
    expect(refusal(() => withVoter(three, 'a'))).toContain('a votes already');
    expect(refusal(() => withVoter(three, 'x'))).toContain('x is not a member');
    expect(refusal(() => withoutMember(three, 'x'))).toContain('x is not a member');
    expect(refusal(() => withoutMember(votersOnly(['a']), 'a'))).toContain('last voter');
    expect(refusal(() => withoutMember(joint, 'a'))).toContain('under way');
    expect(refusal(() => withReplacement(three, 'a', 'x'))).toContain('x is not a learner');
    let many = three;
    for (let i = 3; i < 64; i++) many = withLearner(many, member(`m${i}`));
    expect(refusal(() => withLearner(many, member('more')))).toContain('64 members at most');
  });

  test('it comes back from its entry, and no other bytes are taken for one', () => {
    const joint = withVoter(withLearner(three, member('d')), 'd');
    const entry = encodeMembership(joint);
    expect(isMembershipEntry(entry)).toBe(true);
    expect(isMembershipEntry(new Uint8Array(0))).toBe(false);
    expect(isMembershipEntry(Uint8Array.of(7))).toBe(false);
    expect(decodeMembership(entry)).toEqual(joint);
    forSeeds(300, (random) => {
      const bytes = random() < 0.5 ? entry.slice(0, below(random, entry.length)) : entry.slice();
      for (let i = below(random, 4); i > 0 && bytes.length > 0; i--)
        bytes[below(random, bytes.length)] = below(random, 256);
      if (random() < 0.2) bytes.set(randomBytes(random, Math.min(5, bytes.length)));
      try {
        const { members, voters } = decodeMembership(bytes);
        expect(voters.every((id) => members.some((one) => one.id === id))).toBe(true);
      } catch (error) {
        expect(isStoreError(error, 'PROTOCOL_ERROR')).toBe(true);
      }
    });
  });
});

/** n1 leads voters n1 to n`voters`; the other nodes wait. */
function led(size: number, voters: number): RaftCluster {
  const cluster = new RaftCluster({ size, voters });
  cluster.elect('n1');
  cluster.settle();
  return cluster;
}

const joined = (cluster: RaftCluster, id: string, ...ids: string[]): void => {
  for (const one of [id, ...ids]) {
    expect(cluster.change('n1', (now) => withLearner(now, member(one)))).toBe(true);
    cluster.settle();
  }
};

describe('a cluster whose members change', () => {
  test('a learner gets everything and counts for nothing', () => {
    const cluster = led(4, 3);
    cluster.propose('n1', 'before');
    joined(cluster, 'n4');
    expect(cluster.raft('n4').log.last).toBe(cluster.raft('n1').log.last);
    cluster.cut('n1', 'n2');
    cluster.cut('n1', 'n3');
    const index = cluster.propose('n1', 'x');
    cluster.settle();
    expect(cluster.raft('n4').log.last, 'it is sent').toBe(index);
    expect(cluster.raft('n1').log.committed, 'and does not make a majority').toBeLessThan(index ?? 0);
    // It never stands, however long it hears of nobody.
    cluster.isolate('n4');
    cluster.tick(cluster.node('n4'), 100);
    expect(cluster.raft('n4').role).toBe('follower');
  });

  test('who waits to be added does not help to found another cluster', () => {
    // n1 was set up from nothing, and goes by the founders of long ago, of whom n3 was one; n3 waits to be added again.
    const cluster = new RaftCluster({ size: 3, voters: 2 });
    const { raft } = cluster.node('n3');
    const ask = { from: 'n1', to: 'n3', lastIndex: toIndex(0), lastTerm: toTerm(0), isTransfer: false };
    raft?.step({ ...ask, kind: 'preVote', term: toTerm(1) });
    raft?.step({ ...ask, kind: 'vote', term: toTerm(1) });
    const ready = raft?.ready(1000);
    const said = [...(ready?.send ?? []), ...(ready?.sendOnceSynced ?? [])];
    expect(said.map((message) => 'granted' in message && message.granted)).toEqual([false, false]);
  });

  test('while a change is under way a majority of both sets decides, and nothing less', () => {
    const cluster = led(5, 3);
    joined(cluster, 'n4', 'n5');
    // From {1,2,3} to {1,4,5} would take two steps; {1,2,3} to {1,2,3,4} needs 3 of the new four and 2 of the old three.
    cluster.isolate('n2', 'n3');
    expect(cluster.change('n1', (now) => withVoter(now, 'n4'))).toBe(true);
    cluster.settle();
    expect(cluster.raft('n1').configuration.isJoint, 'n1, n4 and n5 do not do').toBe(true);
    expect(cluster.raft('n1').log.committed).toBeLessThan(cluster.raft('n1').configuration.index);
    expect(
      cluster.change('n1', (now) => withVoter(now, 'n5')),
      'one at a time',
    ).toBe(false);
    cluster.heal();
    cluster.pass(3);
    expect(cluster.raft('n1').configuration.isJoint).toBe(false);
    expect(sides(cluster.raft('n3').configuration.current)).toEqual([['n1', 'n2', 'n3', 'n4'], [], ['n5']]);
  });

  test('a change that was lost with its leader is taken back where it had come', () => {
    const cluster = led(3, 3);
    cluster.isolate('n1');
    expect(cluster.change('n1', (now) => withoutMember(now, 'n3'))).toBe(true);
    cluster.settle();
    expect(cluster.raft('n1').configuration.isJoint).toBe(true);
    cluster.elect('n2');
    cluster.propose('n2', 'x');
    cluster.settle();
    cluster.heal();
    cluster.pass(3);
    expect(sides(cluster.raft('n1').configuration.current)).toEqual([['n1', 'n2', 'n3'], [], []]);
  });

  test('a restart finds the members in the log and in what was flushed', () => {
    const cluster = led(4, 3);
    joined(cluster, 'n4');
    cluster.change('n1', (now) => withVoter(now, 'n4'));
    cluster.settle();
    const now = sides(cluster.raft('n1').configuration.current);
    expect(sides(cluster.restart('n2').configuration.current)).toEqual(now);
    cluster.pass(3);
    cluster.flush(cluster.node('n3'));
    const { index } = cluster.raft('n3').configuration;
    expect(sides(cluster.restart('n3').configuration.current)).toEqual(now);
    expect(cluster.raft('n3').configuration.index, 'and which entry says so').toBe(index);
    expect(sides(cluster.restart('n4').configuration.current)).toEqual(now);
  });

  test('a leader that is removed leads until that is committed, and then somebody else does', () => {
    const cluster = led(3, 3);
    cluster.change('n1', (now) => withoutMember(now, 'n1'));
    cluster.settle();
    expect(
      cluster.leaders.map(({ id }) => id),
      'without a timeout',
    ).toHaveLength(1);
    const [leader] = cluster.leaders;
    expect(leader?.id).not.toBe('n1');
    expect(sides(cluster.raft('n2').configuration.current)).toEqual([['n2', 'n3'], [], []]);
    cluster.propose(leader?.id ?? '', 'x');
    cluster.settle();
    // What was removed waits for ever, and disturbs nobody.
    const term = cluster.raft('n2').term;
    cluster.tick(cluster.node('n1'), 1000);
    cluster.settle();
    expect(cluster.raft('n1').role).toBe('follower');
    expect(cluster.raft('n2').term).toBe(term);
  });

  test('one that votes no more by its newest entry stands all the same while nobody else has that entry', () => {
    const cluster = led(2, 2);
    cluster.change('n1', (now) => withoutMember(now, 'n1'));
    // The joint step is committed, and the entry that ends it is on the disk of n1 alone.
    const endsStep = (message: Message): boolean =>
      message.kind === 'append' &&
      message.entries.some(({ data }) => isMembershipEntry(data) && decodeMembership(data).outgoing.length === 0);
    cluster.passes = (message) => !endsStep(message);
    cluster.settle();
    expect(sides(cluster.raft('n1').configuration.current)).toEqual([['n2'], [], []]);
    expect(cluster.raft('n2').configuration.isJoint).toBe(true);
    cluster.restart('n1', 9);
    cluster.restart('n2', 9);
    cluster.heal();
    cluster.elect('n2');
    cluster.settle();
    expect(cluster.leaders, 'n2 lacks an entry that n1 has').toHaveLength(0);
    cluster.elect('n1');
    cluster.settle();
    expect(sides(cluster.raft('n2').configuration.current)).toEqual([['n2'], [], []]);
    expect(cluster.raft('n2').isLeader).toBe(true);
  });

  test('two voters become one, and one becomes three', () => {
    const cluster = led(3, 2);
    cluster.change('n1', (now) => withoutMember(now, 'n2'));
    cluster.settle();
    expect(sides(cluster.raft('n1').configuration.current)).toEqual([['n1'], [], []]);
    expect(cluster.propose('n1', 'alone')).toBeDefined();
    cluster.settle();
    expect(cluster.raft('n1').log.committed).toBe(cluster.raft('n1').log.last);
    joined(cluster, 'n2', 'n3');
    for (const id of ['n2', 'n3']) {
      cluster.change('n1', (now) => withVoter(now, id));
      cluster.settle();
    }
    expect(cluster.raft('n3').log.committed).toBe(cluster.raft('n1').log.committed);
    cluster.elect('n3');
    expect(cluster.raft('n3').isLeader).toBe(true);
  });
});

describe('handing over', () => {
  test('the successor leads within a round trip, though everybody hears from the old leader', () => {
    const cluster = led(3, 3);
    cluster.propose('n1', 'x');
    cluster.settle();
    expect(cluster.raft('n1').transfer('n3')).toBe(true);
    expect(cluster.raft('n1').isTransferring).toBe(true);
    expect(cluster.propose('n1', 'y'), 'nothing is taken meanwhile').toBeUndefined();
    cluster.settle();
    expect(cluster.leaders.map(({ id }) => id)).toEqual(['n3']);
    expect(cluster.propose('n3', 'z')).toBeDefined();
  });

  test('a successor that is behind is waited for', () => {
    const cluster = led(3, 3);
    cluster.isolate('n3');
    cluster.propose('n1', 'x');
    cluster.settle();
    cluster.raft('n1').transfer('n3');
    cluster.settle();
    expect(cluster.raft('n1').isLeader).toBe(true);
    cluster.heal();
    cluster.pass(3);
    expect(cluster.leaders.map(({ id }) => id)).toEqual(['n3']);
  });

  test('a successor that does not answer is given up after an election timeout', () => {
    const cluster = led(3, 3);
    cluster.isolate('n3');
    cluster.propose('n1', 'x');
    cluster.settle();
    cluster.raft('n1').transfer('n3');
    cluster.pass(11);
    expect(cluster.raft('n1').isLeader).toBe(true);
    expect(cluster.raft('n1').isTransferring).toBe(false);
    expect(cluster.propose('n1', 'y')).toBeDefined();
  });

  test('without a name the most advanced voter is taken; there may be none', () => {
    const cluster = led(3, 3);
    cluster.isolate('n2');
    cluster.propose('n1', 'x');
    cluster.settle();
    expect(cluster.raft('n1').transfer()).toBe(true);
    cluster.settle();
    expect(cluster.leaders.map(({ id }) => id)).toEqual(['n3']);
    const alone = led(1, 1);
    expect(alone.raft('n1').transfer()).toBe(false);
    expect(cluster.raft('n2').transfer('n1'), 'only a leader hands over').toBe(false);
    expect(cluster.raft('n3').transfer('n9'), 'only to a voter').toBe(false);
  });
});
