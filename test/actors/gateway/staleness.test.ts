/** Reads that may be stale by so much, and reads of a named revision. */
import { expect, test } from 'vitest';
import { below, forSeeds } from '../../core/base/seeded.ts';
import { ask, GatewayWorld, type Peer } from './gateway-world.ts';

const valueOf = (peer: Peer, id: number): string | undefined => {
  for (const heard of peer.heard) {
    if (heard.kind === 'reply' && heard.id === id) return Buffer.from(heard.extra.subarray(8)).toString();
  }
  return undefined;
};

/** A round is confirmed at what is applied: the state is as of now. */
function prove(world: GatewayWorld, peer: Peer, id: number): void {
  peer.ask(ask.get(id, 'a'));
  // One for those that came before may be under way.
  for (let rounds = 0; rounds < 3; rounds++) {
    for (const round of world.handed().reads) world.confirm(round, world.shared.get('applied'));
  }
  expect(peer.outcome(id)).toBe('ok');
}

test('a node that proved nothing yet asks; what it proved then serves reads alone, until it is too old', () => {
  const world = new GatewayWorld();
  world.write(['a'], 'old');
  const peer = world.peer();
  peer.ask(ask.get(1, 'a', { maxStalenessMs: 500 }));
  expect(peer.outcome(1)).toBeUndefined();
  const [round = 0] = world.handed().reads;
  world.pass(50);
  world.confirm(round, 1);
  expect(valueOf(peer, 1)).toBe('old');
  // Dated from when it was asked, not from when it was answered.
  world.pass(450);
  peer.ask(ask.get(2, 'a', { maxStalenessMs: 500 }), ask.range(3, { isLocal: false, maxStalenessMs: 500 }));
  expect([peer.outcome(2), peer.outcome(3)]).toEqual(['ok', 'ok']);
  expect(world.handed().reads).toEqual([]);
  world.pass(1);
  peer.ask(ask.get(4, 'a', { maxStalenessMs: 500 }), ask.get(5, 'a', { maxStalenessMs: 501 }));
  expect([peer.outcome(4), peer.outcome(5)]).toEqual([undefined, 'ok']);
  world.confirm(world.handed().reads[0] ?? 0, 1);
  expect(peer.outcome(4)).toBe('ok');
});

test('a proof counts once its index is applied, not before', () => {
  const world = new GatewayWorld();
  world.write(['a'], 'old');
  const peer = world.peer();
  peer.ask(ask.get(1, 'a'));
  world.confirm(world.handed().reads[0] ?? 0, 3);
  peer.ask(ask.get(2, 'a', { maxStalenessMs: 60_000 }));
  expect(peer.outcome(2)).toBeUndefined();
  world.write(['a', 'b'], 'new');
  expect(valueOf(peer, 1)).toBe('new');
  peer.ask(ask.get(3, 'a', { maxStalenessMs: 60_000 }));
  expect(valueOf(peer, 3)).toBe('new');
});

test('what nobody confirms ends with TOO_STALE, how old and how old it may be, before the deadline', () => {
  const world = new GatewayWorld();
  world.write(['a']);
  const peer = world.peer();
  peer.ask(ask.get(1, 'a', { maxStalenessMs: 0, deadlineMs: 1_000 }));
  world.pass(899);
  expect(peer.outcome(1)).toBeUndefined();
  world.pass(1);
  expect(peer.errorOf(1)).toMatchObject({ code: 'TOO_STALE', data: { maxStalenessMs: 0, stalenessMs: null } });
  prove(world, peer, 2);
  world.pass(5_000);
  peer.ask(ask.get(3, 'a', { maxStalenessMs: 4_000, deadlineMs: 200 }), ask.range(4, { maxStalenessMs: 4_000 }));
  world.pass(150);
  expect(peer.errorOf(3)).toMatchObject({ code: 'TOO_STALE', data: { maxStalenessMs: 4_000, stalenessMs: 5_150 } });
  // "Local" changes nothing where a bound is named.
  expect(peer.outcome(4)).toBeUndefined();
  world.pass(750);
  expect(peer.outcome(4)).toBe('TOO_STALE');
  expect(world.gateway.inFlight).toBe(0);
});

test('a revision that is wanted is waited for, however fresh the state is', () => {
  const world = new GatewayWorld();
  world.write(['a']);
  const peer = world.peer();
  prove(world, peer, 1);
  peer.ask(ask.get(2, 'a', { maxStalenessMs: 500, atLeast: 2 }));
  expect(peer.outcome(2)).toBeUndefined();
  world.write(['a']);
  expect(peer.outcome(2)).toBe('ok');
  expect(world.handed().reads).toEqual([]);
});

test('whatever the order of writes, rounds and pauses: no answer is older than was asked for', () => {
  let answeredAtOnce = 0;
  forSeeds(100, (random) => {
    const world = new GatewayWorld({ memtableBytes: 1024 * 1024 });
    const peer = world.peer();
    /** When the write that made revision i was acknowledged somewhere; this node applies them later. */
    const ackedMs: number[] = [];
    /** Rounds that a leader elsewhere was asked for, with what was acknowledged by then. */
    const open: { readonly round: number; readonly acked: number }[] = [];
    const hand = (): void => {
      for (const round of world.handed().reads) open.push({ round, acked: ackedMs.length });
    };
    let id = 0;
    for (let step = 0; step < 60; step++) {
      const kind = below(random, 5);
      if (kind === 0) ackedMs.push(world.nowMs);
      else if (kind === 1 && world.shared.get('applied') < ackedMs.length)
        world.write(['a'], `${world.machine.applied}`);
      else if (kind === 2) {
        world.nowMs += below(random, 400);
        world.gateway.turn();
      } else if (kind === 3) {
        // The least that a leader may say: what was committed when it was asked.
        for (const { round, acked } of open.splice(0)) world.confirm(round, random() < 0.2 ? 0 : Math.max(1, acked));
      } else {
        const maxStalenessMs = below(random, 600);
        const mustSee = ackedMs.filter((ms) => ms < world.nowMs - maxStalenessMs).length;
        const before = peer.heard.length;
        peer.ask(ask.get(++id, 'a', { maxStalenessMs, deadlineMs: 100_000 }));
        // Answered at once: from here, and then it is as fresh as was asked for.
        if (peer.heard.length > before) {
          answeredAtOnce++;
          expect(world.shared.get('applied')).toBeGreaterThanOrEqual(mustSee);
        }
      }
      hand();
    }
  });
  expect(answeredAtOnce).toBeGreaterThan(50);
});

test('a get at a revision: the value of then; gone: COMPACTED with the oldest that can be read', () => {
  const world = new GatewayWorld();
  world.write(['a'], 'one');
  world.write(['a'], 'two');
  world.write(['ab'], 'other');
  const peer = world.peer();
  peer.ask(ask.get(1, 'a', { revision: 1 }), ask.get(2, 'a', { revision: 2 }), ask.get(3, 'ab', { revision: 2 }));
  expect([valueOf(peer, 1), valueOf(peer, 2)]).toEqual(['one', 'two']);
  expect(peer.heard.find((heard) => heard.kind === 'reply' && heard.id === 3)).toMatchObject({ revision: 0 });
  peer.ask(ask.get(4, 'a', { revision: 4, maxStalenessMs: 1 }));
  expect(peer.outcome(4)).toBeUndefined();
  world.write(['a'], 'four');
  expect(valueOf(peer, 4)).toBe('four');
  expect(world.handed().reads).toEqual([]);
  world.floor = 2;
  peer.ask(ask.get(5, 'a', { revision: 1 }), ask.range(6, { revision: 1 }), ask.get(7, 'a', { revision: 2 }));
  for (const id of [5, 6]) expect(peer.errorOf(id)).toMatchObject({ code: 'COMPACTED', data: { oldestRevision: 2 } });
  expect(valueOf(peer, 7)).toBe('two');
});
