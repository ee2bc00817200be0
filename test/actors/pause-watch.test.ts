import { expect, test } from 'vitest';
import { PauseWatch } from '../../src/actors/pause-watch.ts';
import { initialMembership } from '../../src/core/raft/membership.ts';
import { Raft } from '../../src/core/raft/raft.ts';
import { toIndex, toTerm } from '../../src/core/base/position.ts';
import { initialMembers } from './replication-world.ts';

const ELECTION_TICKS = 20;

/** A real core of three nodes (or one), of which the test plays the others; and a clock that jumps. */
class World {
  readonly raft: Raft;
  readonly added: Record<string, number> = {};
  readonly logged: unknown[] = [];
  nowMs = 5_000;
  readonly pauses: PauseWatch;

  constructor(nodes: readonly string[] = ['n1', 'n2', 'n3']) {
    this.raft = new Raft({
      id: 'n1',
      membership: initialMembership(initialMembers(nodes)),
      electionTicks: ELECTION_TICKS,
      heartbeatTicks: 4,
      random: () => 0.5,
      hardState: { term: toTerm(0), vote: '', commit: toIndex(0) },
      lastIndex: toIndex(0),
      runs: [],
      source: {
        read: () => {
          throw new Error('nothing leaves memory here');
        },
      },
      cacheBytesMax: 1_000_000,
      appendBytesMax: 1_000_000,
      inflightMessagesMax: 256,
      inflightBytesMax: 1_000_000,
      uncommittedBytesMax: 1_000_000,
    });
    this.pauses = new PauseWatch({
      raft: this.raft,
      shared: { add: (mark, value) => (this.added[mark] = (this.added[mark] ?? 0) + value) },
      monotonicMs: () => this.nowMs,
      electionTimeoutMs: 500,
      electionTicks: ELECTION_TICKS,
      log: (level, event, fields) => this.logged.push([level, event, fields]),
    });
    this.pauses.look();
  }

  /** The messages of a turn, and the disk is done with it. */
  settle(): void {
    for (let i = 0; i < 5; i++) {
      const ready = this.raft.ready(1_000_000);
      if (ready.persist !== undefined) this.raft.persisted(ready.promisedAfter);
      for (const message of ready.sendOnceSynced) if (message.to === 'n1') this.raft.step(message);
    }
  }

  lead(): void {
    this.raft.campaign();
    this.settle();
    for (const kind of ['preVoteReply', 'voteReply'] as const) {
      this.raft.step({ kind, from: 'n2', to: 'n1', term: toTerm(1), granted: true, lastIndex: toIndex(0) });
      this.settle();
    }
    expect(this.raft.isLeader).toBe(true);
    this.hear();
  }

  /** Both others answer a heartbeat. */
  hear(): void {
    for (const from of ['n2', 'n3']) {
      this.raft.step({ kind: 'heartbeatReply', from, to: 'n1', term: this.raft.term, readRound: 0 });
    }
  }
}

test('a leader that stood still for longer than the election timeout steps down, though all spoke before it did', () => {
  const world = new World();
  world.lead();
  world.nowMs += 501;
  world.pauses.look();
  expect(world.raft.role).toBe('follower');
  expect(world.added).toEqual({ pauses: 1, pausedMs: 501 });
  expect(world.logged).toEqual([['warn', 'node.paused', { ms: 501, role: 'leader', term: 1, steppedDown: true }]]);
});

test.each([0, 1, 7, ELECTION_TICKS - 1])('wherever in its election timeout it was: %d ticks', (ticks) => {
  const world = new World();
  world.lead();
  for (let i = 0; i < ticks; i++) world.raft.tick();
  world.hear();
  expect(world.raft.isLeader).toBe(true);
  world.nowMs += 60_000;
  world.pauses.look();
  expect(world.raft.isLeader).toBe(false);
});

test('ticks that are merely late change nothing', () => {
  const world = new World();
  world.lead();
  for (let i = 0; i < 50; i++) {
    world.nowMs += 500;
    world.pauses.look();
    world.hear();
  }
  expect(world.raft.isLeader).toBe(true);
  expect(world.added).toEqual({});
});

test('reads that wait in its round fail when it steps down, rather than being answered', () => {
  const world = new World();
  world.lead();
  world.settle();
  expect(world.raft.readIndex(7)).toBe(true);
  world.nowMs += 900;
  world.pauses.look();
  expect(world.raft.ready(0).reads).toEqual([{ id: 7, index: undefined }]);
});

test('a follower that was paused is counted and does not stand: its leader may be there', () => {
  const world = new World();
  world.raft.step({
    kind: 'heartbeat',
    from: 'n2',
    to: 'n1',
    term: toTerm(1),
    commit: toIndex(0),
    readRound: 0,
    matchedByAll: toIndex(0),
    held: toIndex(0),
    members: toIndex(0),
  });
  world.nowMs += 10_000;
  world.pauses.look();
  expect([world.raft.role, world.raft.leader]).toEqual(['follower', 'n2']);
  expect(world.logged).toEqual([
    ['warn', 'node.paused', { ms: 10_000, role: 'follower', term: 1, steppedDown: false }],
  ]);
});

test('a node alone needs nobody to go on', () => {
  const world = new World(['n1']);
  world.raft.campaign();
  world.settle();
  world.nowMs += 10_000;
  world.pauses.look();
  expect(world.raft.isLeader).toBe(true);
});

test('a start may take long', () => {
  const world = new World();
  let nowMs = 0;
  const pauses = new PauseWatch({
    raft: world.raft,
    shared: { add: () => expect.unreachable('nothing was paused') },
    monotonicMs: () => nowMs,
    electionTimeoutMs: 500,
    electionTicks: ELECTION_TICKS,
  });
  nowMs = 9_000;
  pauses.look();
  nowMs = 9_400;
  pauses.look();
});
