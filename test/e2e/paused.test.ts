/** A node that stands still (SIGSTOP: a long pause, a host that hangs): its sockets stay open and nothing answers. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { Client } from '../../src/client/index.ts';
import { TestCluster, until } from '../support/cluster-process.ts';
import { localState, readLedger, sameState, stateOf, Workload } from '../support/cluster-workload.ts';

const PAUSES = Number(process.env['PAUSES'] ?? 3);
const PAUSE_MS = 3_000;
let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

test('the leader stands still under load and wakes deposed: no stale read, nothing lost, nothing twice', async () => {
  cluster = await TestCluster.start();
  const nodes = cluster;
  const work = new Workload(nodes);
  await work.start(3);
  const outagesMs: number[] = [];
  for (let pause = 0; pause < PAUSES; pause++) {
    const before = work.acked;
    await until('100 more writes', () => {
      work.throwIfFailed();
      return work.acked >= before + 100;
    });
    const leader = await nodes.leader();
    nodes.run(leader).child.kill('SIGSTOP');
    const stoppedAtMs = performance.now();
    // What it had sent is still read here.
    await sleep(100);
    const quietMs = performance.now();
    await until('somebody else leads', () => work.ackedAtMs > quietMs, {
      withinMs: 15_000,
      explain: () => nodes.logs(),
    });
    outagesMs.push(Math.round(work.ackedAtMs - stoppedAtMs));
    await sleep(Math.max(0, stoppedAtMs + PAUSE_MS - performance.now()));
    nodes.run(leader).child.kill('SIGCONT');
    await nodes.leader();
  }
  await work.stop();
  const { revision } = await (await nodes.client()).put('end', 'end');
  const pinned = await Promise.all(nodes.ids.map((id) => nodes.pinned(id)));
  await until('every node is at the end', async () => {
    const all = await Promise.all(pinned.map((client) => client.status()));
    return all.every((status) => status.applied >= revision);
  });
  for (const client of pinned) {
    const records = await readLedger(client, { to: revision, cluster: `e2e-${process.pid}` });
    work.check(records.filter((record) => record.revision < revision));
  }
  const [first] = pinned;
  if (first === undefined) throw new Error('three nodes');
  await until(
    'no time to live is left',
    async () => {
      for await (const entry of first.range({ prefix: 'd/' })) if (entry.expiryMs !== undefined) return false;
      return true;
    },
    { everyMs: 100 },
  );
  const { applied } = await first.status();
  const state = stateOf(await readLedger(first, { to: applied, cluster: `e2e-${process.pid}` }));
  for (const [i, client] of pinned.entries()) {
    await until(`n${i + 1} has applied ${applied}`, async () => (await client.status()).applied >= applied);
    sameState(await localState(client), state, `n${i + 1} and the ledger`);
  }
  expect(work.summary['acked']).toBeGreaterThan(300);
  console.log('paused', { ...work.summary, outagesMs });
});

/** Reads of each kind that must see a write acknowledged a while ago, all asked now. */
function mustSee(client: Client, key: string, count: number): Promise<(string | undefined)[]> {
  const options = [{}, { maxStalenessMs: 200 }, { maxStalenessMs: 0 }];
  const reads = Array.from({ length: count }, (_, i) => client.get(key, { ...options[i % 3], deadlineMs: 30_000 }));
  return Promise.all(reads.map(async (read) => (await read)?.text()));
}

test('what a node is asked while it stands still it answers as of now, a leader after it has stepped down', async () => {
  cluster = await TestCluster.start();
  const nodes = cluster;
  const writer = await nodes.client({ deadlineMs: 30_000 });
  const { revision } = await writer.put('p', 'before');
  for (const role of ['leader', 'follower'] as const) {
    const id = role === 'leader' ? await nodes.leader() : (await nodes.followers())[0];
    if (id === undefined) throw new Error('three nodes');
    const pinned = await nodes.pinned(id);
    // What it has is proved to be of now: a moment later it will not be.
    const written = role === 'leader' ? 'before' : 'leader';
    expect(new Set(await mustSee(pinned, 'p', 3))).toEqual(new Set([written]));
    nodes.run(id).child.kill('SIGSTOP');
    await writer.put('p', role);
    // Longer than the bound that the reads allow, and than an election timeout.
    await sleep(1_000);
    const reads = mustSee(pinned, 'p', 60);
    // They wait in its socket.
    await sleep(50);
    nodes.run(id).child.kill('SIGCONT');
    expect(new Set(await reads)).toEqual(new Set([role]));
    await nodes.run(id).sees(new RegExp(`"role":"${role}".*"steppedDown":${role === 'leader'}.*"msg":"node.paused"`));
    const metrics = await (await fetch(`${nodes.http(id)}/metrics`)).text();
    expect(Number(/^ctlmesh_pauses_total\{.*\} (\d+)$/m.exec(metrics)?.[1])).toBeGreaterThan(0);
    expect(Number(/^ctlmesh_paused_seconds_total\{.*\} (\S+)$/m.exec(metrics)?.[1])).toBeGreaterThanOrEqual(1);
    await nodes.leader();
  }
  expect((await writer.get('p', { revision }))?.text()).toBe('before');
});
