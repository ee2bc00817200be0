import { describe, expect, test } from 'vitest';
import { ERROR_CODE_LIST } from '../../src/core/base/errors.ts';
import { toIndex, toTerm } from '../../src/core/base/position.ts';
import { COMMAND_LEVEL } from '../../src/core/model/command-levels.ts';
import { encodeMembership, initialMembership, type Member, withLearner } from '../../src/core/raft/membership.ts';
import { encodeMemberRequest } from '../../src/core/wire/members.ts';
import { initialMembers, ReplicationWorld } from './replication-world.ts';

const member = (id: string): Member => ({ id, mesh: `${id}:1`, client: `ws://${id}:2`, http: '' });
const codeOf = (code: number): string => (code === 0 ? 'ok' : (ERROR_CODE_LIST[code - 1] as string));

/** A node alone that leads, with its no-op applied. */
function alone(): ReplicationWorld {
  const world = new ReplicationWorld({});
  world.settle();
  world.takeApplied();
  world.told();
  return world;
}

/** What came back for `token`: 'ok' or the code, and the words. */
function answer(world: ReplicationWorld, token: number): { code: string; message: string } | undefined {
  world.told();
  const found = world.memberReplies.find((reply) => reply.token === token);
  return found && { code: codeOf(found.code), message: found.reply.message };
}

/** A follower that holds everything the leader has. */
function acks(world: ReplicationWorld, from: string): void {
  world.replication.receive(from, [
    {
      kind: 'raft',
      message: {
        ...{ kind: 'appendReply', from, to: 'n1', term: world.raft.term, rejected: false },
        ...{ index: world.raft.log.last, hintIndex: toIndex(0), hintTerm: toTerm(0) },
      },
    },
  ]);
  world.replication.flush();
  world.settle();
}

describe('members, at a node that leads', () => {
  test('at the start the mesh is told whom to reach, and the gateway who is who', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.replication.turn();
    world.told();
    expect(world.peers).toEqual(['n1', 'n2', 'n3']);
    expect(world.known.map(({ id }) => id)).toEqual(['n1', 'n2', 'n3']);
  });

  test('a member is added: reached at once, answered when it is committed', () => {
    const world = alone();
    world.askMembers(7, { op: 'add', member: member('n2') });
    world.told();
    expect(world.peers).toEqual(['n1', 'n2']);
    expect(world.known).toEqual([...initialMembers(['n1']), member('n2')]);
    expect(answer(world, 7), 'not before it is on disk').toBeUndefined();
    world.settle();
    expect(answer(world, 7)?.code).toBe('ok');
    const { reply } = world.memberReplies[0] ?? {};
    expect(reply).toMatchObject({ voters: ['n1'], learners: ['n2'], outgoing: [], leader: 'n1' });
    expect(reply?.progress['n2']).toMatchObject({ match: 0 });
  });

  test('one that was not heard of is not promoted; one that has caught up is, in two steps', () => {
    const world = alone();
    world.askMembers(1, { op: 'add', member: member('n2') });
    world.settle();
    world.askMembers(2, { op: 'promote', id: 'n2' });
    expect(answer(world, 2)).toMatchObject({
      code: 'MEMBER_REFUSED',
      message: expect.stringContaining('not been heard'),
    });
    acks(world, 'n2');
    world.askMembers(3, { op: 'promote', id: 'n2' });
    world.settle();
    expect(answer(world, 3), 'the new set needs n2').toBeUndefined();
    world.askMembers(4, { op: 'remove', id: 'n2' });
    expect(answer(world, 4)).toMatchObject({ code: 'MEMBER_REFUSED', message: expect.stringContaining('under way') });
    // The joint step, and the one after it.
    acks(world, 'n2');
    acks(world, 'n2');
    expect(answer(world, 3)?.code).toBe('ok');
    expect(world.memberReplies.at(-1)?.reply).toMatchObject({ voters: ['n1', 'n2'], outgoing: [] });
  });

  test('a request that makes no sense is refused in words', () => {
    const world = alone();
    world.askMembers(1, { op: 'add', member: { ...member('n2'), mesh: 'nowhere' } });
    world.askMembers(2, { op: 'remove', id: 'n1' });
    world.askMembers(3, { op: 'transfer', to: 'n9' });
    world.askMembers(4, { op: 'transfer', to: 'n1' });
    expect(answer(world, 1)).toMatchObject({ code: 'BAD_REQUEST' });
    expect(answer(world, 2)).toMatchObject({ code: 'MEMBER_REFUSED', message: expect.stringContaining('last voter') });
    expect(answer(world, 3)).toMatchObject({ code: 'MEMBER_REFUSED', message: expect.stringContaining('not a voter') });
    expect(answer(world, 4)).toMatchObject({
      code: 'MEMBER_REFUSED',
      message: expect.stringContaining('leads already'),
    });
  });

  test('what is not done in a minute is of unknown outcome', () => {
    const world = alone();
    world.askMembers(1, { op: 'add', member: member('n2') });
    world.settle();
    acks(world, 'n2');
    world.askMembers(2, { op: 'promote', id: 'n2' });
    world.settle();
    world.pass(59_000);
    world.replication.tick();
    expect(answer(world, 2)).toBeUndefined();
    world.pass(2_000);
    world.replication.tick();
    expect(answer(world, 2)).toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });

  test('another node asks for a client of its own', () => {
    const world = alone();
    world.replication.receive('n2', [{ kind: 'member', id: 5, request: encodeMemberRequest({ op: 'list' }) }]);
    world.replication.flush();
    expect(world.sent.map(({ to, message }) => [to, message.kind])).toEqual([]);
    world.open.add('n2');
    world.replication.receive('n2', [{ kind: 'member', id: 6, request: encodeMemberRequest({ op: 'list' }) }]);
    world.replication.flush();
    const reply = world.sent.find(({ message }) => message.kind === 'memberReply')?.message;
    expect(reply).toMatchObject({ kind: 'memberReply', id: 6, code: 0 });
  });
});

describe('members, at a node that does not lead', () => {
  const following = (): ReplicationWorld => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.replication.receive('n2', [
      {
        kind: 'raft',
        message: {
          ...{ kind: 'append', from: 'n2', to: 'n1', term: toTerm(3), prevIndex: toIndex(0), prevTerm: toTerm(0) },
          ...{ commit: toIndex(0), entries: [] },
        },
      },
    ]);
    world.replication.flush();
    world.told();
    return world;
  };

  test('a request goes to the leader, and its answer to who asked', () => {
    const world = following();
    world.askMembers(9, { op: 'list' });
    const asked = world.sent.find(({ message }) => message.kind === 'member');
    expect(asked).toMatchObject({ to: 'n2', channel: 'control' });
    const id = asked?.message.kind === 'member' ? asked.message.id : 0;
    const body = new TextEncoder().encode('{"voters":["n1"]}');
    world.replication.receive('n2', [{ kind: 'memberReply', id, code: 0, body }]);
    expect(answer(world, 9)?.code).toBe('ok');
    // Once.
    world.replication.receive('n2', [{ kind: 'memberReply', id, code: 0, body }]);
    world.told();
    expect(world.memberReplies).toHaveLength(1);
  });

  test('when the way to the leader breaks, nobody knows what became of it', () => {
    const world = following();
    world.askMembers(9, { op: 'remove', id: 'n3' });
    world.replication.disconnected('n2');
    expect(answer(world, 9)?.code).toBe('OUTCOME_UNKNOWN');
  });

  test('without a leader it is refused at once, and what came from elsewhere is not handed on', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.askMembers(9, { op: 'list' });
    expect(answer(world, 9)?.code).toBe('UNAVAILABLE');
    const follower = following();
    follower.replication.receive('n3', [{ kind: 'member', id: 1, request: encodeMemberRequest({ op: 'list' }) }]);
    follower.replication.flush();
    expect(follower.sent.filter(({ message }) => message.kind === 'member')).toEqual([]);
    expect(follower.sent.find(({ message }) => message.kind === 'memberReply')).toMatchObject({ to: 'n3' });
  });

  test('members that come with the log are reached', () => {
    const world = following();
    const now = withLearner(initialMembership(initialMembers(['n1', 'n2', 'n3'])), member('n4'));
    const entry = { index: toIndex(1), term: toTerm(3), data: encodeMembership(now) };
    world.replication.receive('n2', [
      {
        kind: 'raft',
        message: {
          ...{ kind: 'append', from: 'n2', to: 'n1', term: toTerm(3), prevIndex: toIndex(0), prevTerm: toTerm(0) },
          ...{ commit: toIndex(0), entries: [entry] },
        },
      },
    ]);
    world.replication.flush();
    world.told();
    expect(world.peers).toEqual(['n1', 'n2', 'n3', 'n4']);
    expect(world.known.map(({ id }) => id)).toEqual(['n1', 'n2', 'n3', 'n4']);
  });
});

describe('whose data directory is which', () => {
  const leading = (): ReplicationWorld => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'], dir: 'd1' });
    world.lead();
    return world;
  };
  const dirs = (world: ReplicationWorld): (string | undefined)[] =>
    world.raft.configuration.current.members.map(({ dir }) => dir);

  test('the leader has the log remember it, once all have come', () => {
    const world = leading();
    world.replication.met('n2', 'd2', COMMAND_LEVEL);
    world.replication.tick();
    expect(dirs(world), 'n3 may come').toEqual([undefined, undefined, undefined]);
    world.replication.met('n3', 'd3', COMMAND_LEVEL);
    world.replication.tick();
    expect(dirs(world)).toEqual(['d1', 'd2', 'd3']);
    world.replication.turn();
    expect(world.dirs, 'and the mesh is told').toEqual(['d1', 'd2', 'd3']);
    const { last } = world.raft.log;
    world.settle();
    world.replication.tick();
    expect(world.raft.log.last, 'once').toBe(last);
  });

  test('who does not come for long is not waited for', () => {
    const world = leading();
    world.replication.met('n2', 'd2', COMMAND_LEVEL);
    world.replication.tick();
    world.pass(5_000);
    world.replication.tick();
    expect(dirs(world)).toEqual(['d1', 'd2', undefined]);
  });

  test('what was seen of a member that left is nothing to the one that comes under its name', () => {
    const world = new ReplicationWorld({ dir: 'd1' });
    world.settle();
    world.askMembers(1, { op: 'add', member: member('n2') });
    world.settle();
    world.replication.met('n2', 'lost', COMMAND_LEVEL);
    world.replication.tick();
    world.settle();
    expect(dirs(world)).toEqual(['d1', 'lost']);
    world.askMembers(2, { op: 'remove', id: 'n2' });
    world.settle();
    world.askMembers(3, { op: 'add', member: member('n2') });
    world.settle();
    world.replication.tick();
    expect(dirs(world)).toEqual(['d1', undefined]);
    world.replication.met('n2', 'new', COMMAND_LEVEL);
    world.replication.tick();
    expect(dirs(world)).toEqual(['d1', 'new']);
  });
});
