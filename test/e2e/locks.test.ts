/** Locks and elections on real nodes: holders that stand still, leaders that are killed, clocks that are hours apart. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { type Client, isStoreError, type Leader, type Lock } from '../../src/client/index.ts';
import { long } from '../support/long.ts';
import { Run, TestCluster, until } from '../support/cluster-process.ts';

let cluster: TestCluster | undefined;
const runs: Run[] = [];
afterEach(async () => {
  for (const run of runs.splice(0)) run.child.kill('SIGKILL');
  await cluster?.close();
  cluster = undefined;
});

/** Three nodes, however long they take on a machine that has other things to do. */
async function started(): Promise<TestCluster> {
  cluster = await TestCluster.prepare();
  for (const id of cluster.ids) cluster.spawn(id);
  await cluster.leader(60_000);
  return cluster;
}

const fenced = async (client: Client, lock: Lock, value: string): Promise<boolean> =>
  (await client.txn((t) => t.if(lock.condition()).put('guarded', value))).succeeded;

test('a holder stands still for longer than its time to live: the next has a larger token, and the fence keeps the first out', async () => {
  const nodes = await started();
  const client = await nodes.client();
  const { revision: begin } = await client.put('guarded', '0');
  const TTL_MS = 4_000;
  const holder = new Run(['test/e2e/fixtures/lock-holder.ts', String(TTL_MS), ...nodes.urls]);
  runs.push(holder);
  await holder.sees('fenced write done');
  const token = Number(/held (\d+)/.exec(holder.output)?.[1]);

  const waiting = client.lock('job', { ttlMs: TTL_MS, deadlineMs: 60_000 });
  await expect(client.lock('job', { waitMs: 0 })).rejects.toSatisfy((error) =>
    isStoreError(error, 'DEADLINE_EXCEEDED'),
  );
  holder.child.kill('SIGSTOP');
  const stoppedMs = performance.now();
  const lock = await waiting;
  const heldAfterMs = performance.now() - stoppedMs;
  expect(lock.token).toBeGreaterThan(token);
  // Its last renewal was at most a third of its time to live, and a little, before it stopped.
  expect(heldAfterMs).toBeGreaterThan(TTL_MS / 2);
  expect(await fenced(client, lock, String(lock.token))).toBe(true);
  holder.child.kill('SIGCONT');
  await holder.sees('fenced write refused');
  await holder.sees(/lost (late|gone)/);
  expect(await fenced(client, lock, String(lock.token))).toBe(true);
  await lock.release();

  // What was written under the fence, in order: never an earlier holder behind a later one.
  const written: number[] = [];
  for await (const event of client.watch({ key: 'guarded', fromRevision: begin })) {
    written.push(Number(event.text()));
    if (event.revision >= lock.token && written.filter((value) => value === lock.token).length === 2) break;
  }
  expect(written).toEqual(written.toSorted((a, b) => a - b));
});

test('the leader is killed while a lock is held: it is still held, and then handed on', async () => {
  const nodes = await started();
  const [holder, other] = [await nodes.client(), await nodes.client()];
  const lock = await holder.lock('job', { ttlMs: 8_000, deadlineMs: 30_000 });
  let next: Lock | undefined;
  const waiting = other.lock('job', { ttlMs: 8_000, deadlineMs: 90_000 }).then((taken) => {
    next = taken;
    return taken;
  });
  await nodes.kill(await nodes.leader(60_000));
  expect(await fenced(holder, lock, 'killed')).toBe(true);
  // For longer than it would live by itself.
  const untilMs = performance.now() + 9_000;
  while (performance.now() < untilMs) {
    expect([lock.isHeld, next]).toEqual([true, undefined]);
    await sleep(100);
  }
  expect(await fenced(holder, lock, 'end')).toBe(true);
  await lock.release();
  expect((await waiting).token).toBeGreaterThan(lock.token);
  expect(await fenced(holder, lock, 'late')).toBe(false);
  await (await waiting).release();
});

test('a release wakes the next, long before any time to live: twenty clients, one after the other', async () => {
  const nodes = await started();
  const clients = await Promise.all(Array.from({ length: 4 }, () => nodes.client()));
  const order: number[] = [];
  const handoversMs: number[] = [];
  let releasedMs = 0;
  const work = async (client: Client): Promise<void> => {
    for (let i = 0; i < 5; i++) {
      await using lock = await client.lock('turns', { ttlMs: 60_000, deadlineMs: 60_000 });
      if (releasedMs > 0) handoversMs.push(performance.now() - releasedMs);
      order.push(lock.token);
      const { succeeded } = await client.txn((t) => t.if(lock.condition()).put('turn', String(lock.token)));
      expect(succeeded).toBe(true);
      releasedMs = performance.now();
    }
  };
  await Promise.all(clients.map(work));
  expect(order).toHaveLength(20);
  expect(order).toEqual(order.toSorted((a, b) => a - b));
  handoversMs.sort((a, b) => a - b);
  console.log('handover ms', { p50: handoversMs[10]?.toFixed(1), max: handoversMs.at(-1)?.toFixed(1) });
  expect(handoversMs.at(-1)).toBeLessThan(5_000);
});

long('an observer is told of every leader and every value, in order, while nodes are killed', async () => {
  const nodes = await started();
  const clients = [await nodes.client(), await nodes.client(), await nodes.client()] as const;
  const observer = await nodes.client();
  const told: string[] = [];
  const say = (leader: Leader | undefined): string => (leader === undefined ? '-' : `${leader.text()}@${leader.token}`);
  const stop = new AbortController();
  const observing = (async () => {
    for await (const leader of observer.election('boss').observe({ signal: stop.signal })) told.push(say(leader));
  })().catch((error: unknown) => {
    if (!isStoreError(error, 'CANCELLED')) throw error;
  });
  const options = { ttlMs: 10_000, deadlineMs: 60_000 };
  const expected: string[] = [];
  for (let round = 0; round < 4; round++) {
    const client = clients[round % 3] as Client;
    const election = client.election('boss');
    const led = await election.campaign(`r${round}`, options);
    expected.push(`r${round}@${led.token}`);
    const killed = round % 2 === 1 ? await nodes.leader(60_000) : undefined;
    if (killed !== undefined) await nodes.kill(killed);
    await election.proclaim(`r${round}!`, { deadlineMs: 8_000 });
    expected.push(`r${round}!@${led.token}`);
    expect(say(await client.election('boss').leader())).toBe(expected.at(-1));
    await election.resign();
    expected.push('-');
    if (killed !== undefined) nodes.spawn(killed);
    await nodes.leader(60_000);
  }
  await until('the observer is told the end', () => told.length >= expected.length, { explain: () => told.join(' ') });
  // It may have begun behind the first of them.
  expect(told).toEqual(expected.slice(-told.length));
  expect(told.length).toBeGreaterThan(expected.length - 2);
  stop.abort();
  await observing;
});

long('nodes whose clocks are hours apart: a change of leader neither ends a time to live nor prolongs it', async () => {
  cluster = await TestCluster.prepare();
  const nodes = cluster;
  const aheadMs: Record<string, number> = { n1: 0, n2: 3_600_000, n3: 7_200_000 };
  const spawn = (id: string): void => {
    // In every thread of the node, before anything of ours.
    const shift = `const now = Date.now; Date.now = () => now() + ${aheadMs[id] ?? 0};`;
    process.env['NODE_OPTIONS'] = `--import=data:text/javascript,${encodeURIComponent(shift)}`;
    nodes.spawn(id);
    delete process.env['NODE_OPTIONS'];
  };
  for (const id of nodes.ids) spawn(id);
  await nodes.leader(60_000);
  const client = await nodes.client();
  const lock = await client.lock('job', { ttlMs: 20_000, deadlineMs: 30_000 });
  const seen = new Set<string>();
  for (let round = 0; round < 3; round++) {
    const leader = await nodes.leader(60_000);
    seen.add(leader);
    await client.put('long', 'x', { ttlMs: 60_000, deadlineMs: 20_000 });
    const short = await client.put('short', 'x', { ttlMs: 3_000, deadlineMs: 20_000 });
    const putMs = performance.now();
    await nodes.kill(leader);
    const next = await nodes.leader(60_000);
    expect(next).not.toBe(leader);
    for await (const event of client.watch({ prefix: '', fromRevision: short.revision })) {
      if (event.kind === 'put') continue;
      expect(event.keyText()).toBe('short');
      break;
    }
    const livedMs = performance.now() - putMs;
    expect(livedMs).toBeGreaterThan(2_900);
    expect(livedMs).toBeLessThan(25_000);
    expect([lock.isHeld, await fenced(client, lock, `${round}`)]).toEqual([true, true]);
    spawn(leader);
  }
  expect(seen.size).toBeGreaterThan(1);
  await lock.release();
});
