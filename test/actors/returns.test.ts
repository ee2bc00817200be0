/** A member whose directory is damaged asks to go on with another one: what the leader does about it, and when it refuses. */
import { describe, expect, test } from 'vitest';
import { nextChange } from '../../src/actors/returns.ts';
import { ERROR_CODE_LIST } from '../../src/core/base/errors.ts';
import { toIndex, toTerm } from '../../src/core/base/position.ts';
import { COMMAND_LEVEL } from '../../src/core/model/command-levels.ts';
import { initialMembership, votersOnly, withLearner } from '../../src/core/raft/membership.ts';
import { decodeMemberRequest, encodeMemberRequest, type MemberRequest } from '../../src/core/wire/members.ts';
import { ReplicationWorld } from './replication-world.ts';

const NEW = 'repaired-2';
const wish = { id: 'n3', dir: NEW, replaces: 'd3' };
const asks = (fields: Partial<typeof wish> = {}): MemberRequest => ({ op: 'readmit', ...wish, ...fields });

/** n1 leads n1, n2, n3, whose directories are known. */
function leading(): ReplicationWorld {
  const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'], dir: 'd1' });
  world.lead();
  for (const id of ['n2', 'n3']) world.replication.met(id, `d${id.slice(1)}`, COMMAND_LEVEL);
  world.replication.tick();
  follow(world);
  return world;
}

/** Everybody of `ids` has all that the leader has. */
function follow(world: ReplicationWorld, ...ids: readonly string[]): void {
  for (let round = 0; round < 4; round++) {
    world.settle();
    for (const from of ids.length === 0 ? ['n2'] : ids) acks(world, from);
    world.settle();
  }
}

function acks(world: ReplicationWorld, from: string, index: number = world.raft.log.last): void {
  const { raft, replication } = world;
  const hint = { hintIndex: toIndex(0), hintTerm: toTerm(0) };
  const message = { from, to: 'n1', term: raft.term, rejected: false, index: toIndex(index), ...hint } as const;
  replication.receive(from, [{ kind: 'raft', message: { kind: 'appendReply', ...message } }]);
  replication.flush();
}

function answer(world: ReplicationWorld, token: number): { code: string; message: string } | undefined {
  world.told();
  const found = world.memberReplies.find((reply) => reply.token === token);
  const code = found === undefined || found.code === 0 ? 'ok' : (ERROR_CODE_LIST[found.code - 1] as string);
  return found && { code, message: found.reply.message };
}

const now = (world: ReplicationWorld): unknown => {
  const { voters, outgoing, learners, returning = [], members } = world.raft.configuration.current;
  return [voters, outgoing, learners, returning, members.find(({ id }) => id === 'n3')?.dir];
};

describe('a member that returns', () => {
  test('gives up its vote, is named by its new directory, and votes again once it has caught up', () => {
    const world = leading();
    world.replication.peerLeft('n3');
    world.askMembers(1, asks());
    expect(now(world)).toEqual([['n1', 'n2'], ['n1', 'n2', 'n3'], ['n3'], ['n3'], 'd3']);
    expect(answer(world, 1), 'nothing is committed').toBeUndefined();
    follow(world);
    expect(now(world)).toEqual([['n1', 'n2'], [], ['n3'], ['n3'], NEW]);
    expect(answer(world, 1)).toMatchObject({ code: 'ok' });
    expect(world.dirs, 'and the mesh lets it in').toEqual(['d1', 'd2', NEW]);
    expect(world.raft.progressOf('n3')).toMatchObject({ match: 0 });

    world.replication.tick();
    expect(now(world), 'it has nothing yet').toEqual([['n1', 'n2'], [], ['n3'], ['n3'], NEW]);
    acks(world, 'n3', world.raft.configuration.index - 1);
    world.replication.tick();
    expect(now(world), 'nor the entry that names it').toEqual([['n1', 'n2'], [], ['n3'], ['n3'], NEW]);
    acks(world, 'n3');
    world.replication.tick();
    follow(world, 'n2', 'n3');
    expect(now(world)).toEqual([['n1', 'n2', 'n3'], [], [], [], NEW]);
    expect(world.logged.join()).toContain('members.returned');
  });

  test('may ask again, and is told the same; nothing happens twice', () => {
    const world = leading();
    world.replication.peerLeft('n3');
    world.askMembers(1, asks());
    world.askMembers(2, asks());
    follow(world);
    expect([answer(world, 1)?.code, answer(world, 2)?.code]).toEqual(['ok', 'ok']);
    const { last } = world.raft.log;
    world.askMembers(3, asks());
    expect(answer(world, 3)?.code).toBe('ok');
    expect(world.raft.log.last).toBe(last);
    // That directory is lost too, before it has a vote.
    world.askMembers(4, asks({ dir: 'repaired-3', replaces: NEW }));
    follow(world);
    expect(now(world)).toEqual([['n1', 'n2'], [], ['n3'], ['n3'], 'repaired-3']);
  });

  test('is not believed while its old directory is still connected', () => {
    const world = leading();
    world.askMembers(1, asks());
    expect(answer(world, 1)).toMatchObject({ code: 'UNAVAILABLE' });
    expect(now(world)).toEqual([['n1', 'n2', 'n3'], [], [], [], 'd3']);
  });

  test('what the old directory said while it was connected does not bring it back', () => {
    const world = leading();
    world.replication.peerLeft('n3');
    world.askMembers(1, asks());
    // A socket that was let in before the new one was named.
    world.replication.met('n3', 'd3', COMMAND_LEVEL);
    follow(world);
    world.replication.tick();
    follow(world);
    expect(now(world)).toEqual([['n1', 'n2'], [], ['n3'], ['n3'], NEW]);
  });

  test('a leader that leads no more knows nothing', () => {
    const world = leading();
    world.replication.peerLeft('n3');
    world.askMembers(1, asks());
    const term = toTerm(world.raft.term + 1);
    world.receive('n2', {
      kind: 'raft',
      message: { kind: 'commit', from: 'n2', to: 'n1', term, commit: toIndex(0) },
    });
    world.replication.tick();
    expect(answer(world, 1)).toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });

  test('nobody waits for longer than a minute', () => {
    const world = leading();
    world.replication.peerLeft('n3');
    world.askMembers(1, asks());
    world.pass(60_001);
    world.replication.tick();
    expect(answer(world, 1)).toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });
});

describe('who is refused', () => {
  const three = initialMembership(
    ['n1', 'n2', 'n3'].map((id) => ({ id, mesh: id, client: '', http: '', dir: `d${id}` })),
  );

  test('a stranger, one whose place has another by now, the last voter', () => {
    expect(() => nextChange(three, { ...wish, id: 'n9' })).toThrow('n9 is no member');
    expect(() => nextChange(three, { ...wish, replaces: 'older' })).toThrow('known by another directory by now (dn3)');
    expect(() => nextChange(votersOnly(['n3']), wish)).toThrow('last voter');
    const world = leading();
    world.askMembers(1, asks({ id: 'n1', replaces: 'd1' }));
    expect(answer(world, 1)).toMatchObject({ code: 'MEMBER_REFUSED', message: expect.stringContaining('n1 leads') });
  });

  test('a learner keeps what it is: it is named, and given no vote', () => {
    const learning = withLearner(three, { id: 'n4', mesh: 'n4', client: '', http: '', dir: 'd4' });
    const next = nextChange(learning, { id: 'n4', dir: NEW, replaces: 'd4' })?.(learning);
    expect(next).toMatchObject({ learners: ['n4'], voters: ['n1', 'n2', 'n3'] });
    expect(next?.returning).toBeUndefined();
    expect(next?.members.at(-1)?.dir).toBe(NEW);
  });

  test('a request whose directories make no sense', () => {
    const sent = (fields: object): unknown => decodeMemberRequest(encodeMemberRequest({ ...asks(), ...fields }));
    expect(sent({})).toEqual(asks());
    for (const fields of [{ dir: 'mine' }, { dir: 7 }, { replaces: '' }, { replaces: NEW }, { id: 'N 3' }]) {
      expect(() => sent(fields), JSON.stringify(fields)).toThrow(/no directory|a node's id/);
    }
  });
});
