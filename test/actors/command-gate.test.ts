/**
 * What a leader lets into the log while members of several versions share it. Commands here have their level for a first
 * byte, so that there are some that this version does not know.
 */
import { describe, expect, test } from 'vitest';
import { CommandGate } from '../../src/actors/command-gate.ts';
import { COMMAND_LEVEL } from '../../src/core/model/command-levels.ts';
import { resultCode } from '../../src/core/model/machine.ts';
import { ReplicationWorld } from './replication-world.ts';
import { putCommand } from './support.ts';

describe('the gate', () => {
  const logged: string[] = [];
  let peers = ['n2', 'n3'];
  const gate = new CommandGate({
    peers: () => peers,
    log: (_level, event, fields) => logged.push(`${event} ${JSON.stringify(fields)}`),
    levels: { own: 3, of: (command) => command[0] ?? 0 },
  });
  const admitted = (...levels: number[]): number[] => {
    const { may, mayNot } = gate.sort(levels.map((level) => Uint8Array.of(level)));
    expect(may.length + mayNot.length).toBe(levels.length);
    return may.map(([level]) => level ?? 0);
  };

  test('a member that was not met counts as the oldest, and an operator is told once which', () => {
    expect(admitted(1, 2, 1)).toEqual([1, 1]);
    expect(admitted(2)).toEqual([]);
    gate.met('n2', 3);
    expect(admitted(1, 2, 3)).toEqual([1]);
    expect(logged).toEqual([
      'command.too-new {"level":1,"own":3,"oldest":["n2","n3"],"notMet":["n2","n3"]}',
      'command.too-new {"level":1,"own":3,"oldest":["n3"],"notMet":["n3"]}',
    ]);
  });

  test('what all know goes, in its order; beyond what this node knows nothing does', () => {
    gate.met('n3', 2);
    expect(admitted(2, 3, 1, 2)).toEqual([2, 1, 2]);
    gate.met('n3', 9);
    expect(admitted(1, 2, 3, 4)).toEqual([1, 2, 3]);
  });

  test('one that came back with an older version holds new commands up, and one that was removed does not', () => {
    gate.met('n3', 1);
    expect(admitted(2)).toEqual([]);
    peers = ['n2'];
    expect(admitted(2)).toEqual([2]);
    peers = [];
    expect(admitted(3, 4)).toEqual([3]);
  });
});

describe('a command of a later version', () => {
  const later = (token: number): Uint8Array => putCommand('k', new Uint8Array(1), { token }).with(0, 9);
  const put = (token: number): Uint8Array => putCommand('k', new Uint8Array(1), { token });
  const refusal = resultCode('UPGRADE_PENDING');

  test('is refused to this node’s own clients, and what came with it is proposed', () => {
    const world = new ReplicationWorld();
    world.settle();
    world.told();
    world.propose(put(1), later(2), put(3));
    expect(world.told()).toContainEqual({ kind: 'refused', code: refusal, tokens: [2] });
    world.settle();
    const applied = world.takeApplied().filter(({ data }) => data.length > 0 && data[0] === 1);
    expect(applied).toHaveLength(2);
  });

  test('is refused to the follower that forwards it: nothing of it enters the log', () => {
    const world = new ReplicationWorld({ nodes: ['n1', 'n2', 'n3'] });
    world.lead();
    for (const id of ['n2', 'n3']) world.replication.met(id, '', COMMAND_LEVEL + 1);
    const before = world.raft.log.last;
    world.sent.length = 0;
    world.replication.receive('n2', [{ kind: 'forward', commands: [later(7)] }]);
    world.replication.flush();
    expect(world.raft.log.last).toBe(before);
    const refused = world.sent.filter(({ message }) => message.kind === 'refused');
    expect(refused).toMatchObject([{ to: 'n2', message: { code: refusal, tokens: [7] } }]);
    expect(world.logged.join()).toContain('command.too-new');
  });
});
