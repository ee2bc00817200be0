/** Singletons in a cluster in virtual time: one at a time, on some node, found from all. */
import { expect, test } from 'vitest';
import { z } from 'zod';
import { type ActorRef, ask, defineActor, type Fence, isStoreError } from '../../../../src/actors/runtime/index.ts';
import { ClusterWorld, LEASE_MS, type TestNode } from './cluster-world.ts';

const protocol = { who: ask({}, z.string()), crash: ask({}, z.string()), slow: ask({ ms: z.int() }, z.string()) };

interface Started {
  readonly node: string;
  readonly fence: Fence;
}

/** Each node wants it; notes who was started, and who answered when. */
function world(seed = 1): {
  readonly at: ClusterWorld;
  readonly started: Started[];
  readonly acted: { readonly token: number; readonly atMs: number }[];
  readonly ref: (node: TestNode) => ActorRef<typeof protocol>;
} {
  const at = new ClusterWorld({ seed });
  const started: Started[] = [];
  const acted: { token: number; atMs: number }[] = [];
  const scheduler = defineActor({
    name: 'scheduler',
    protocol,
    start: (_ctx, args: Started) => {
      started.push(args);
      return args;
    },
    on: {
      who: ({ node, fence }) => {
        acted.push({ token: fence.token, atMs: at.clock.nowMs() });
        return node;
      },
      crash: () => {
        throw new Error('crashed');
      },
      slow: async ({ node }, { ms }) => {
        await new Promise<void>((resolve) => void at.clock.after(ms, resolve));
        return node;
      },
    },
  });
  for (const { id, actors } of at.nodes) actors.singleton(scheduler, { args: (fence) => ({ node: id, fence }) });
  return { at, started, acted, ref: (node) => node.actors.lookup(scheduler) };
}

const LONG = { deadlineMs: 60_000 };

test('one of the nodes has it, and all find it', async () => {
  const { at, started, ref } = world();
  const hosts = [];
  for (const node of at.nodes) hosts.push(await at.run(ref(node).ask({ kind: 'who' }, LONG)));
  expect(new Set(hosts).size).toBe(1);
  expect(started.map(({ node }) => node)).toEqual([hosts[0]]);
  await at.stop();
  expect(started).toHaveLength(1);
});

test('its node is cut off: it has stopped there before it is started elsewhere', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { at, started, ref } = world(seed);
    const first = await at.run(ref(at.node(1)).ask({ kind: 'who' }, LONG));
    const host = at.nodes.find(({ id }) => id === first) as TestNode;
    const other = at.nodes.find(({ id }) => id !== first) as TestNode;
    at.cut(host);
    const cutMs = at.clock.nowMs();
    const [{ fence }] = started as [Started];
    const second = await at.run(ref(other).ask({ kind: 'who' }, LONG));
    expect(second, `seed ${seed}`).not.toBe(first);
    expect(fence.isHeld).toBe(false);
    expect(fence.lost.aborted).toBe(true);
    expect(at.clock.nowMs() - cutMs).toBeGreaterThan(LEASE_MS / 2);
    expect(host.actors.actors).toBe(0);
    const tokens = started.map((one) => one.fence.token);
    expect(tokens).toEqual(tokens.toSorted((a, b) => a - b));
    await at.stop();
  }
});

test('under cuts no two act at the same time, by any node', async () => {
  for (let seed = 1; seed <= 15; seed++) {
    const { at, acted, ref } = world(seed);
    for (let step = 0; step < 60; step++) {
      for (const node of at.nodes) {
        ref(node)
          .ask({ kind: 'who' }, { deadlineMs: 2_000 })
          .catch((error: unknown) => {
            if (!isStoreError(error)) throw error;
          });
      }
      if (at.chance() < 0.15) at.cut(at.pick(at.nodes));
      if (at.chance() < 0.15) at.heal(at.pick(at.nodes));
      await at.advance(1_000 * at.chance());
    }
    expect(acted.length, `seed ${seed}`).toBeGreaterThan(20);
    const tokens = acted.map(({ token }) => token);
    expect(tokens, `seed ${seed}`).toEqual(tokens.toSorted((a, b) => a - b));
    await at.stop();
  }
});

test('one that crashes is started again, and an answer from behind the fence is not given', async () => {
  const { at, started, ref } = world(3);
  const first = await at.run(ref(at.node(1)).ask({ kind: 'who' }, LONG));
  await expect(at.run(ref(at.node(2)).ask({ kind: 'crash' }, LONG))).rejects.toMatchObject({ code: 'ACTOR_STOPPED' });
  await at.run(ref(at.node(2)).ask({ kind: 'who' }, LONG));
  expect(started).toHaveLength(2);
  const host = at.nodes.find(({ id }) => id === started[1]?.node) as TestNode;
  const slow = ref(host).ask({ kind: 'slow', ms: 10_000 }, LONG);
  const refused = expect(at.run(slow)).rejects.toMatchObject({ code: 'ACTOR_STOPPED' });
  at.cut(host);
  await refused;
  expect(first).toMatch(/^n\d$/);
  await at.stop();
});
