/** A voter that lost its directory comes back under its name: it promises nothing until the members name its new one. */
import { describe, expect, test } from 'vitest';
import {
  decodeMembership,
  encodeMembership,
  initialMembership,
  type Member,
  type Membership,
  votersOnly,
  withDirs,
  withLearner,
  withoutMember,
  withoutOutgoing,
  withoutVote,
  withVoter,
} from '../../../src/core/raft/membership.ts';
import { toIndex } from '../../../src/core/base/position.ts';
import { RaftCluster } from '../../support/raft-cluster.ts';

const member = (id: string, dir?: string): Member => ({
  id,
  mesh: `${id}:1`,
  client: `ws://${id}`,
  http: '',
  ...(dir === undefined ? {} : { dir }),
});
const sides = ({ voters, outgoing, learners, returning }: Membership): unknown => [
  voters,
  outgoing,
  learners,
  returning,
];

describe('a vote is given up, and comes back', () => {
  const three = initialMembership(['a', 'b', 'c'].map((id) => member(id, `${id}-1`)));

  test('while the step is under way the old directory is the one that counts', () => {
    const joint = withoutVote(three, 'b');
    expect(sides(joint)).toEqual([['a', 'c'], ['a', 'b', 'c'], ['b'], ['b']]);
    expect(joint.members.find(({ id }) => id === 'b')?.dir).toBe('b-1');
    const learning = withDirs(withoutOutgoing(joint), new Map([['b', 'b-2']]));
    expect(sides(learning)).toEqual([['a', 'c'], [], ['b'], ['b']]);
    expect(learning.members.find(({ id }) => id === 'b')?.dir).toBe('b-2');
    const back = withVoter(learning, 'b');
    expect(sides(back)).toEqual([['a', 'c', 'b'], ['a', 'c'], [], undefined]);
    expect(sides(withoutOutgoing(back))).toEqual([['a', 'c', 'b'], [], [], undefined]);
  });

  test('whoever is removed meanwhile does not return', () => {
    const learning = withoutOutgoing(withoutVote(three, 'b'));
    const without = withoutMember(learning, 'b');
    expect(sides(without)).toEqual([['a', 'c'], [], [], undefined]);
    expect(without.members.map(({ id }) => id)).toEqual(['a', 'c']);
  });

  test('the last voter keeps its vote', () => {
    expect(() => withoutVote(votersOnly(['a']), 'a')).toThrow('last voter');
  });

  test('it comes back from its entry; without anybody who returns the entry is what it was', () => {
    const joint = withoutVote(withLearner(three, member('d')), 'b');
    expect(decodeMembership(encodeMembership(joint))).toEqual(joint);
    expect(encodeMembership(joint)[1]).toBe(2);
    expect(encodeMembership(three)[1]).toBe(1);
  });
});

/** n1 leads n1, n2, n3; n2 has acknowledged 'x' with it, and n3 has not. Then n2 loses its disk. */
function forgetful(): RaftCluster {
  const cluster = new RaftCluster({ size: 3 });
  cluster.elect('n1');
  cluster.settle();
  cluster.change('n1', (now) => withDirs(now, new Map(['n1', 'n2', 'n3'].map((id) => [id, `${id}-1`]))));
  cluster.settle();
  cluster.isolate('n3');
  cluster.propose('n1', 'x');
  cluster.settle();
  expect(cluster.raft('n1').log.committed).toBe(cluster.raft('n1').log.last);
  cluster.wipe('n2', 'repaired-2');
  return cluster;
}

const begin = (cluster: RaftCluster): void => cluster.start(cluster.node('n2'));

describe('a node with another directory than its name is known by', () => {
  test('elects nobody, and is not elected', () => {
    const cluster = forgetful();
    cluster.heal();
    cluster.isolate('n1');
    begin(cluster);
    cluster.elect('n3');
    cluster.settle();
    cluster.raft('n2').campaign();
    cluster.settle();
    expect(
      cluster.leaders.map(({ id }) => id),
      'n3 lacks what was committed',
    ).toEqual(['n1']);
    expect(cluster.raft('n2').role).toBe('follower');
    expect(cluster.raft('n3').isLeader).toBe(false);
  });

  test('its new directory, without that rule, would have lost a committed entry', () => {
    const cluster = forgetful();
    cluster.heal();
    cluster.isolate('n1');
    cluster.node('n2').dir = undefined;
    begin(cluster);
    expect(() => {
      cluster.elect('n3');
      cluster.settle();
    }).toThrow('leader completeness');
  });

  test('it gives up the vote, catches up, votes again, and then it counts', () => {
    const cluster = forgetful();
    cluster.heal();
    cluster.pass(3);
    const leader = 'n1';
    expect(cluster.change(leader, (now) => withoutVote(now, 'n2'))).toBe(true);
    cluster.settle();
    expect(sides(cluster.raft(leader).configuration.current)).toEqual([['n1', 'n3'], [], ['n2'], ['n2']]);
    expect(cluster.change(leader, (now) => withDirs(now, new Map([['n2', 'repaired-2']])))).toBe(true);
    expect(cluster.raft(leader).progressOf('n2')?.match, 'what the old one acknowledged is not the new one’s').toBe(0);
    begin(cluster);
    cluster.settle();
    cluster.pass(3);
    expect(cluster.raft(leader).progressOf('n2')?.match).toBe(cluster.raft(leader).log.last);
    expect(cluster.raft('n2').configuration.isVoter('n2')).toBe(false);
    expect(cluster.change(leader, (now) => withVoter(now, 'n2'))).toBe(true);
    cluster.settle();
    cluster.pass(2);
    expect(sides(cluster.raft('n2').configuration.current)).toEqual([['n1', 'n3', 'n2'], [], [], undefined]);
    cluster.isolate('n1');
    cluster.elect('n2');
    cluster.settle();
    expect(cluster.raft('n2').isLeader, 'by itself and n3').toBe(true);
    cluster.propose('n2', 'y');
    cluster.settle();
    expect(cluster.raft('n2').log.committed).toBe(cluster.raft('n2').log.last);
    expect(cluster.restart('n2').configuration.isVoter('n2'), 'after a restart too').toBe(true);
  });

  test('a leader that dies on the way leaves the rest to the next one', () => {
    const cluster = forgetful();
    cluster.heal();
    cluster.pass(3);
    cluster.change('n1', (now) => withoutVote(now, 'n2'));
    cluster.settle();
    cluster.crash(cluster.node('n1'));
    cluster.start(cluster.node('n1'));
    cluster.elect('n3');
    cluster.settle();
    expect(cluster.raft('n3').isLeader).toBe(true);
    expect(cluster.raft('n3').configuration.current.returning).toEqual(['n2']);
    begin(cluster);
    expect(cluster.change('n3', (now) => withDirs(now, new Map([['n2', 'repaired-2']])))).toBe(true);
    cluster.settle();
    cluster.pass(3);
    expect(cluster.change('n3', (now) => withVoter(now, 'n2'))).toBe(true);
    cluster.settle();
    cluster.pass(2);
    expect(cluster.raft('n2').configuration.isVoter('n2')).toBe(true);
  });
});

describe('two founders that were wiped, and added again under their old names', () => {
  /**
   * n1 leads. n2 and then n3 lost their disks; each was removed and added again, with the founders' config. n1 has fed
   * them no further than the entry that names their old directories: by their logs they vote. Now n1 and n4 are away.
   */
  function refounded(dirs: { readonly n2: string | undefined; readonly n3: string | undefined }): RaftCluster {
    const cluster = new RaftCluster({ size: 4, voters: 3 });
    for (const id of ['n1', 'n2', 'n3']) cluster.node(id).dir = `${id}-1`;
    for (const { id } of cluster.nodes) cluster.restart(id);
    cluster.elect('n1');
    cluster.settle();
    const change = (next: (now: Membership) => Membership): void => {
      expect(cluster.change('n1', next)).toBe(true);
      cluster.pass(3);
    };
    change((now) => withDirs(now, new Map(['n1', 'n2', 'n3'].map((id) => [id, `${id}-1`]))));
    const named = cluster.raft('n1').configuration.index;
    change((now) => withLearner(now, member('n4')));
    change((now) => withVoter(now, 'n4'));
    for (const id of ['n2', 'n3'] as const) {
      change((now) => withoutMember(now, id));
      cluster.wipe(id, dirs[id]);
      cluster.start(cluster.node(id));
      change((now) => withLearner(now, member(id)));
    }
    expect(cluster.raft('n1').configuration.current.voters).toEqual(['n1', 'n4']);
    cluster.propose('n1', 'acknowledged');
    cluster.settle();
    for (const id of ['n2', 'n3']) {
      const node = cluster.node(id);
      const [{ entries }, kept] = [cluster.node('n1').disk.save(), node.dir];
      cluster.wipe(id, kept);
      const { term, vote } = { term: cluster.raft('n1').term, vote: '' };
      const upTo = entries.slice(0, named);
      node.disk.load({
        hardState: { term, vote, commit: toIndex(0) },
        entries: upTo,
        flushed: toIndex(0),
        base: toIndex(0),
      });
      cluster.start(node);
      expect(cluster.raft(id).configuration.isVoter(id), 'by what it knows').toBe(true);
    }
    cluster.isolate('n1', 'n4');
    return cluster;
  }

  test('do not elect each other by the members of then', () => {
    const cluster = refounded({ n2: 'n2-2', n3: 'n3-2' });
    cluster.elect('n2');
    cluster.elect('n3');
    cluster.pass(30);
    expect(cluster.leaders.map(({ id }) => id)).toEqual(['n1']);
  });

  test('without that rule they would, and an acknowledged entry would be lost', () => {
    const cluster = refounded({ n2: undefined, n3: undefined });
    expect(() => {
      cluster.elect('n2');
      cluster.settle();
    }).toThrow('leader completeness');
  });

  test('a directory that was restored on purpose is taken at its word', () => {
    const cluster = new RaftCluster({ size: 3 });
    cluster.elect('n1');
    cluster.change('n1', (now) => withDirs(now, new Map([['n2', 'n2-1']])));
    cluster.pass(3);
    for (const [dir, votes] of [
      ['n2-1', true],
      ['n2-2', false],
      ['restored-2', true],
      ['repaired-2', false],
    ] as const) {
      cluster.node('n2').dir = dir;
      expect(cluster.restart('n2').hasForgotten, dir).toBe(!votes);
    }
  });
});
