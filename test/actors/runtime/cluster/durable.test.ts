/** Durable actors in a cluster in virtual time: one for all, exact, wherever it lives. */
import { expect, test } from 'vitest';
import { z } from 'zod';
import { type ActorRef, ask, commit, durable, isStoreError, tell } from '../../../../src/actors/runtime/index.ts';
import { placeKey, stateKey } from '../../../../src/actors/runtime/cluster/placement.ts';
import { ClusterWorld } from './cluster-world.ts';

const protocol = {
  add: ask({ by: z.int() }, z.int()),
  total: ask({}, z.int()),
  bump: tell({ by: z.int() }),
  spoil: ask({}, z.int()),
  break: ask({}, z.int()),
  long: ask({ text: z.string() }, z.string()),
};
const runs: string[] = [];
const counter = durable({
  name: 'counter',
  protocol,
  state: z.object({ total: z.int().max(1_000_000) }),
  initial: () => ({ total: 0 }),
  passivateAfterMs: 30_000,
  on: {
    add: ({ total }, { by }, { id }) => {
      runs.push(`${id}+${by}`);
      return commit({ total: total + by }, total + by);
    },
    total: ({ total }) => total,
    bump: ({ total }, { by }) => commit({ total: total + by }),
    spoil: (state) => {
      state.total = 7;
      return 7;
    },
    break: () => {
      throw new Error('broken');
    },
    long: ({ total }, { text }) => commit({ total }, text),
  },
});

const LONG = { deadlineMs: 60_000 };

function world(options: ConstructorParameters<typeof ClusterWorld>[0] = {}): ClusterWorld {
  const made = new ClusterWorld(options);
  for (const { actors } of made.nodes) actors.host(counter);
  return made;
}

const from = (at: ClusterWorld, i: number, id = '1'): ActorRef<typeof protocol> =>
  at.node(i).actors.lookup(counter, id);

test('one state for all nodes, in the log before it is answered', async () => {
  const at = world();
  expect(await at.run(from(at, 1).ask({ kind: 'add', by: 1 }))).toBe(1);
  expect(await at.run(from(at, 2).ask({ kind: 'add', by: 2 }))).toBe(3);
  expect(at.entries.has(stateKey('counter/1'))).toBe(true);
  expect(from(at, 3).tell({ kind: 'bump', by: 4 })).toBe(true);
  await at.advance(100);
  expect(await at.run(at.node(3).actors.lookup<typeof protocol>('counter/1').ask({ kind: 'total' }))).toBe(7);
  // It lives where it was asked first, and only there.
  expect(at.nodes.map(({ actors }) => actors.actors)).toEqual([1, 0, 0]);
  expect(await at.run(from(at, 3, '2').ask({ kind: 'total' }))).toBe(0);
  await at.stop();
});

test('questions of one sender are handled in their order, also those that came before it was there', async () => {
  const at = world({ seed: 5 });
  const ref = from(at, 2);
  const asked = [1, 2, 3, 4, 5].map((by) => ref.ask({ kind: 'add', by }));
  expect(await at.run(Promise.all(asked))).toEqual([1, 3, 6, 10, 15]);
  const far = from(at, 3);
  const later = [1, 1, 1].map((by) => far.ask({ kind: 'add', by }));
  expect(await at.run(Promise.all(later))).toEqual([16, 17, 18]);
  await at.stop();
});

test('its host is gone: it goes on elsewhere, with its state, once the lease is over', async () => {
  const at = world();
  await at.run(from(at, 1).ask({ kind: 'add', by: 5 }));
  at.cut(at.node(1));
  const cutMs = at.clock.nowMs();
  expect(await at.run(from(at, 2).ask({ kind: 'add', by: 1 }, LONG))).toBe(6);
  expect(at.clock.nowMs() - cutMs).toBeGreaterThan(3_000);
  // The one that was cut off has stopped acting by itself.
  await expect(at.run(from(at, 1).ask({ kind: 'total' }, { deadlineMs: 100 }))).rejects.toMatchObject({
    code: 'DEADLINE_EXCEEDED',
  });
  expect(at.node(1).actors.actors).toBe(0);
  at.heal(at.node(1));
  expect(await at.run(from(at, 1).ask({ kind: 'total' }, LONG))).toBe(6);
  await at.stop();
});

test('idle for long it leaves memory and its place, and comes back where it is asked next', async () => {
  const at = world();
  await at.run(from(at, 1).ask({ kind: 'add', by: 5 }));
  await at.advance(20_000);
  await at.run(from(at, 2).ask({ kind: 'total' }));
  await at.advance(20_000);
  expect(at.node(1).actors.actors).toBe(1);
  await at.advance(11_000);
  expect(at.node(1).actors.actors).toBe(0);
  expect(await at.run(from(at, 3).ask({ kind: 'total' }))).toBe(5);
  expect(at.nodes.map(({ actors }) => actors.actors)).toEqual([0, 0, 1]);
  const hosted = { active: 0, activations: 1, passivations: 1, commits: 1, fencesLost: 0, doubts: 0 };
  expect(at.node(1).actors.hosted).toEqual(hosted);
  expect(at.node(3).actors.hosted).toEqual({ ...hosted, active: 1, passivations: 0, commits: 0 });
  await at.stop();
});

test('a node that stops gives up what it hosts at once', async () => {
  const at = world();
  await at.run(from(at, 1).ask({ kind: 'add', by: 5 }));
  await at.run(at.node(1).actors.stop());
  const stoppedMs = at.clock.nowMs();
  expect(await at.run(from(at, 2).ask({ kind: 'total' }, LONG))).toBe(5);
  expect(at.clock.nowMs() - stoppedMs).toBeLessThan(2_000);
  await at.stop();
});

test('commits whose answers are lost happen once: the question is answered from what is kept', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const at = world({ seed, unanswered: 0.3 });
    runs.length = 0;
    const asked = [1, 2, 3].flatMap((i) => [1, 2, 3].map(() => from(at, i).ask({ kind: 'add', by: 1 }, LONG)));
    const totals = await at.run(Promise.all(asked));
    expect(
      totals.toSorted((a, b) => a - b),
      `seed ${seed}`,
    ).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    await at.stop();
  }
});

test('nodes that are cut off under load: each question that was answered counts once', async () => {
  const seeds = Number(process.env['CTLMESH_ACTOR_SEEDS'] ?? 15);
  for (let seed = 1; seed <= seeds; seed++) {
    const at = world({ seed, unanswered: 0.02 });
    const totals: number[] = [];
    let inDoubt = 0;
    let open = 0;
    const refs = at.nodes.map((_, i) => from(at, i + 1));
    for (let step = 0; step < 60; step++) {
      const ref = at.pick(refs);
      open++;
      ref
        .ask({ kind: 'add', by: 1 }, { deadlineMs: at.chance() < 0.2 ? 50 : 40_000 })
        .then(
          (total) => void totals.push(total),
          (error: unknown) => {
            if (!isStoreError(error)) throw error;
            inDoubt++;
          },
        )
        .finally(() => open--);
      if (at.chance() < 0.1) at.cut(at.pick(at.nodes));
      if (at.chance() < 0.1) at.heal(at.pick(at.nodes));
      await at.advance(at.chance() < 0.1 ? 5_000 : 50 * at.chance());
    }
    for (const node of at.nodes) at.heal(node);
    while (open > 0) await at.advance(1_000);
    const total = await at.run(from(at, 1).ask({ kind: 'total' }, LONG));
    // No two saw the same total; and none that was told of is missing.
    expect(new Set(totals).size, `seed ${seed}`).toBe(totals.length);
    expect(total, `seed ${seed}`).toBeGreaterThanOrEqual(totals.length);
    expect(total, `seed ${seed}`).toBeLessThanOrEqual(totals.length + inDoubt);
    await at.stop();
  }
});

test('what is wrong is told to who asked, and to nobody else', async () => {
  const at = world();
  const ref = from(at, 2);
  await at.run(from(at, 1).ask({ kind: 'add', by: 1 }));
  // A handler that changes the state in place, and one that throws: bugs. The next question finds the state that was.
  for (const kind of ['spoil', 'break'] as const) {
    await expect(at.run(ref.ask({ kind }))).rejects.toMatchObject({ code: 'ACTOR_STOPPED', data: { failed: true } });
    expect(await at.run(ref.ask({ kind: 'total' }))).toBe(1);
  }
  // A state that its schema does not have.
  await expect(at.run(ref.ask({ kind: 'add', by: 2_000_000 }))).rejects.toMatchObject({ code: 'SCHEMA_MISMATCH' });
  // A message that the protocol does not have: the compiler was not asked, but the border is.
  const wrong = { kind: 'add', by: 'much' } as unknown as { kind: 'add'; by: number };
  await expect(at.run(ref.ask(wrong))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(at.run(ref.ask({ kind: 'long', text: 'x'.repeat(2_000_000) }))).rejects.toMatchObject({
    code: 'VALUE_TOO_LARGE',
  });
  expect(await at.run(ref.ask({ kind: 'total' }))).toBe(1);
  expect(() => at.node(1).actors.lookup('nobody/1')).toThrow(/does not know/);
  expect(() => at.node(1).actors.lookup('counter/1/2')).toThrow(/no address/);
  await at.stop();
});

test('a node that hosts nothing reaches those that do', async () => {
  const at = new ClusterWorld();
  at.node(2).actors.host(counter);
  const ref = at.node(3).actors.lookup(counter, '9');
  expect(await at.run(ref.ask({ kind: 'add', by: 3 }, LONG))).toBe(3);
  expect(at.nodes.map(({ actors }) => actors.actors)).toEqual([0, 1, 0]);
  await at.stop();
});

test('records that somebody spoiled are written again, or told of; nothing of a state is guessed', async () => {
  const at = world();
  const junk = { value: new TextEncoder().encode('{"node":'), revision: 1 };
  at.entries.set(placeKey('counter/1'), junk);
  expect(await at.run(from(at, 1).ask({ kind: 'add', by: 1 }))).toBe(1);
  for (const text of ['{"node":', '{}', '{"state":{"total":"x"},"answers":{"askers":[],"isPartial":false}}']) {
    at.entries.set(stateKey('counter/2'), { value: new TextEncoder().encode(text), revision: 1 });
    for (const i of [1, 2]) {
      await expect(at.run(from(at, i, '2').ask({ kind: 'total' })), text).rejects.toMatchObject({
        code: 'SCHEMA_MISMATCH',
      });
    }
  }
  await at.stop();
});

test('a node that stops fails at once what waits there, and takes nothing new', async () => {
  const at = world();
  await at.run(from(at, 1).ask({ kind: 'add', by: 1 }));
  at.cut(at.node(1));
  const waiting = expect(from(at, 2).ask({ kind: 'total' }, LONG)).rejects.toMatchObject({ code: 'ACTOR_STOPPED' });
  await at.advance(100);
  const stoppedMs = at.clock.nowMs();
  await at.run(at.node(2).actors.stop());
  await at.run(waiting);
  expect(at.clock.nowMs() - stoppedMs).toBeLessThan(2_000);
  await expect(from(at, 2).ask({ kind: 'total' })).rejects.toMatchObject({ code: 'ACTOR_STOPPED' });
  await at.stop();
});

test('a hundred of a node end with its one lease', async () => {
  const at = world();
  const ids = Array.from({ length: 100 }, (_, i) => `x${i}`);
  await at.run(Promise.all(ids.map((id) => from(at, 1, id).ask({ kind: 'add', by: 1 }))));
  expect(at.node(1).actors.actors).toBe(100);
  at.cut(at.node(1));
  await at.advance(5_000);
  expect(at.node(1).actors.actors).toBe(0);
  const totals = await at.run(Promise.all(ids.map((id) => from(at, 3, id).ask({ kind: 'total' }, LONG))));
  expect(totals).toEqual(ids.map(() => 1));
  await at.stop();
});

test('more than a node may have are refused, and what was not started is not kept', async () => {
  const at = new ClusterWorld({ actorsMax: 5 });
  for (const { actors } of at.nodes) actors.host(counter);
  const asked = Array.from({ length: 8 }, (_, i) => from(at, 1, `y${i}`).ask({ kind: 'add', by: 1 }));
  const settled = await at.run(Promise.allSettled(asked));
  const refused = settled.filter(({ status }) => status === 'rejected');
  expect(refused).toHaveLength(3);
  for (const one of refused) expect(one).toMatchObject({ reason: { code: 'OVERLOADED' } });
  // Their places are free: another node takes them.
  const first = settled.findIndex(({ status }) => status === 'rejected');
  expect(await at.run(from(at, 2, `y${first}`).ask({ kind: 'add', by: 1 }))).toBe(1);
  await at.stop();
});
