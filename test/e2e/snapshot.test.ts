/**
 * A node that was away for longer than the log is kept for it: it gets the state as a snapshot, and follows again; also
 * when it is killed while it receives, or its leader while it sends.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { Client } from '../../src/client/index.ts';
import { long } from '../support/long.ts';
import { TestCluster, until } from '../support/cluster-process.ts';
import { localState, sameState } from '../support/cluster-workload.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const CONFIG = { memtableBytes: MIB, walSegmentBytes: 256 * KIB, walKeepBytes: MIB };
const VALUE_BYTES = 15_000;

let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

/** A slow machine takes its time to start three. */
async function start(joining = 0): Promise<TestCluster> {
  const nodes = await TestCluster.prepare({ nodes: 3 + joining, joining, config: CONFIG });
  cluster = nodes;
  for (const id of nodes.founders) nodes.spawn(id);
  await nodes.leader(60_000);
  return nodes;
}

async function write(client: Client, from: number, count: number): Promise<number> {
  let newest = 0;
  for (let i = from; i < from + count; i += 50) {
    const batch = Array.from({ length: Math.min(50, from + count - i) }, (_, j) => i + j);
    const done = await Promise.all(
      batch.map((n) => client.put(`k/${n}`, randomBytes(VALUE_BYTES).toString('base64'), { deadlineMs: 30_000 })),
    );
    for (const { revision } of done) newest = Math.max(newest, revision);
  }
  return newest;
}

async function followers(nodes: TestCluster): Promise<string[]> {
  const leader = await nodes.leader(60_000);
  return nodes.ids.filter((id) => id !== leader);
}

/** The log of every running node is as short as it may be. */
async function logsAreShort(nodes: TestCluster): Promise<void> {
  const segments = (id: string): number =>
    readdirSync(join(nodes.dataDir(id), 'wal')).filter((name) => /^\d+\.wal$/.test(name)).length;
  await until('the logs are short', () => nodes.running.every((id) => segments(id) <= 9), {
    withinMs: 30_000,
    explain: () => nodes.running.map((id) => `${id}: ${segments(id)}`).join(', '),
  });
}

async function sameEverywhere(nodes: TestCluster, revision: number): Promise<void> {
  const all = await Promise.all(nodes.ids.map((id) => nodes.pinned(id)));
  await until('every node has it', async () => {
    const statuses = await Promise.all(all.map((client) => client.status({ deadlineMs: 10_000 })));
    return statuses.every(({ applied }) => applied >= revision);
  });
  const [first, ...others] = await Promise.all(all.map((client) => localState(client)));
  if (first === undefined) throw new Error('three nodes');
  expect(first.size).toBeGreaterThan(100);
  for (const [i, other] of others.entries()) sameState(other, first, `${nodes.ids[i + 1]} and ${nodes.ids[0]}`);
}

/** Bytes that `id` has received and not installed. */
function received(nodes: TestCluster, id: string): number {
  const dir = join(nodes.dataDir(id), 'incoming');
  if (!existsSync(dir)) return 0;
  return readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
}

test('away while the log went on without it: it installs a snapshot in its process, and follows again', async () => {
  const nodes = await start();
  const client = await nodes.client();
  await write(client, 0, 50);
  const [away = ''] = await followers(nodes);
  await nodes.kill(away);
  await write(client, 50, 400);
  await logsAreShort(nodes);
  const run = nodes.spawn(away);
  await run.sees('snapshot.installed', 60_000);
  await nodes.leader(60_000);
  expect(run.isOver).toBe(false);
  expect(readdirSync(join(nodes.dataDir(away), 'incoming'))).toEqual([]);
  await sameEverywhere(nodes, await write(client, 500, 20));
  // And from its own disk.
  await nodes.kill(away);
  const revision = await write(client, 520, 5);
  nodes.spawn(away);
  await nodes.leader(60_000);
  await sameEverywhere(nodes, revision);
});

long('killed while it receives, and its leader while it sends: it gets all of it in the end', async () => {
  const nodes = await start();
  const client = await nodes.client();
  const [away = ''] = await followers(nodes);
  await nodes.kill(away);
  await write(client, 0, 1_200);
  await logsAreShort(nodes);
  const had: number[] = [];
  for (let round = 0; round < 2; round++) {
    const run = nodes.spawn(away);
    await until(
      'it receives',
      () => received(nodes, away) > round * 2 * MIB || run.output.includes('snapshot.installed'),
    );
    await nodes.kill(away);
    had.push(received(nodes, away));
  }
  const run = nodes.spawn(away);
  await run.sees('snapshot.receiving', 60_000);
  const [leader = ''] = nodes.running.filter((id) => nodes.run(id).output.includes('snapshot.offered'));
  await nodes.kill(leader);
  const leaderHad = received(nodes, away);
  await nodes.leader(60_000);
  nodes.spawn(leader);
  await nodes.leader(60_000);
  const revision = await write(client, 1_200, 20);
  await sameEverywhere(nodes, revision);
  console.log('snapshot: received when it was killed', had, 'when the leader was', leaderHad);
});

test('a node that joins with an empty directory, when the logs begin later: it gets a snapshot, and a vote', async () => {
  const nodes = await start(1);
  const client = await nodes.client();
  await write(client, 0, 300);
  await logsAreShort(nodes);
  const run = nodes.spawn('n4');
  await client.members.add(
    {
      id: 'n4',
      mesh: `127.0.0.1:${nodes.peerPort('n4')}`,
      client: nodes.url('n4'),
      http: `127.0.0.1:${nodes.httpPort('n4')}`,
    },
    { deadlineMs: 60_000 },
  );
  await run.sees('snapshot.installed', 60_000);
  await until(
    'it has caught up',
    async () => {
      const { progress, leader } = await client.members.list({ deadlineMs: 30_000 });
      const { lastIndex } = await nodes.status(leader);
      return (progress['n4']?.match ?? 0) >= lastIndex;
    },
    { withinMs: 60_000, everyMs: 200 },
  );
  const { voters } = await client.members.promote('n4', { deadlineMs: 60_000 });
  expect(voters).toContain('n4');
  await sameEverywhere(nodes, await write(client, 300, 20));
});
