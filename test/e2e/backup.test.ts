/** Backups of nodes at work and at rest; a whole cluster restored from one set; one member replaced. */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { Client } from '../../src/client/index.ts';
import type { LedgerRecord } from '../../src/core/model/ledger.ts';
import { Run, TestCluster, until } from '../support/cluster-process.ts';
import { localState, readLedger, sameState, stateOf } from '../support/cluster-workload.ts';

const KIB = 1024;
/** As small as they may be: memtables become tables and segments go while a test looks on. */
const SMALL = { memtableBytes: 1024 * KIB, walSegmentBytes: 64 * KIB };
const CLUSTER = `e2e-${process.pid}`;

let cluster: TestCluster | undefined;
let isOver = false;
let load: Promise<void>[] = [];
afterEach(async () => {
  isOver = true;
  await Promise.allSettled(load);
  load = [];
  await cluster?.close();
  cluster = undefined;
});

interface BackupFacts {
  readonly set: number;
  readonly isLive: boolean;
  readonly flushedRevision: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly newFiles: number;
  readonly files: number;
}

/** Runs kvctl to its end; gives what it printed. */
async function kvctl(code: number, ...args: string[]): Promise<string> {
  const run = new Run(['bin/kvctl.js', '--json', ...args]);
  const ended = await run.ended;
  expect(ended.code, run.output).toBe(code);
  return run.output;
}

async function backup(nodes: TestCluster, id: string): Promise<BackupFacts> {
  const output = await kvctl(0, 'backup', nodes.dataDir(id), join(nodes.dir, 'backup'), '--verify');
  return JSON.parse(output.split('\n').find((line) => line.startsWith('{')) ?? '{}') as BackupFacts;
}

const restore = (nodes: TestCluster, id: string, ...flags: string[]): Promise<string> =>
  kvctl(0, 'restore', join(nodes.dir, 'backup'), nodes.dataDir(id), '--node', id, ...flags);

/** Writes until the test is over. */
function writeOn(client: Client, name: string): void {
  isOver = false;
  const padding = 'x'.repeat(2 * KIB);
  load.push(
    (async () => {
      for (let i = 0; !isOver; i++) {
        await Promise.all(
          Array.from({ length: 16 }, async (_, j) => {
            const key = `${name}/${(i * 16 + j) % 700}`;
            if ((i + j) % 9 === 0) await client.delete(key);
            else await client.put(key, `${i} ${padding}`);
          }),
        );
        // Enough to keep every part busy; more would only make the histories longer that are compared.
        await sleep(20);
      }
    })(),
  );
}

async function stopWriting(): Promise<void> {
  isOver = true;
  await Promise.all(load);
  load = [];
}

/** The whole history of the cluster. */
async function history(nodes: TestCluster): Promise<LedgerRecord[]> {
  const client = await nodes.pinned(await nodes.leader());
  const { applied } = await client.status();
  return readLedger(client, { to: applied, cluster: CLUSTER });
}

async function expectState(nodes: TestCluster, wanted: ReadonlyMap<string, string>): Promise<void> {
  for (const id of nodes.ids) sameState(await localState(await nodes.pinned(id)), wanted, id);
}

const flushedAt = async (nodes: TestCluster, id: string): Promise<number> => (await nodes.status(id)).flushed;

test('a running leader under load: each set gives the whole cluster back as it was at its last revision', {
  timeout: 240_000,
}, async () => {
  cluster = await TestCluster.start({ config: SMALL });
  const nodes = cluster;
  const client = await nodes.client();
  for (const name of ['a', 'b']) writeOn(client, name);
  const leader = await nodes.leader();
  await until('tables were made, and the log has let go of its beginning', async () => {
    const hasTruncated = !existsSync(join(nodes.dataDir(leader), 'wal', '000001.wal'));
    return hasTruncated && (await flushedAt(nodes, leader)) > 0;
  });
  const sets: BackupFacts[] = [];
  for (let i = 0; i < 2; i++) {
    const flushed = await flushedAt(nodes, leader);
    const before = (await nodes.status(leader)).applied;
    const facts = await backup(nodes, leader);
    expect(facts.isLive).toBe(true);
    expect(facts.lastIndex).toBeGreaterThanOrEqual(before);
    expect(facts.flushedRevision).toBeGreaterThanOrEqual(flushed);
    expect(facts.firstIndex).toBeGreaterThan(1);
    sets.push(facts);
    await until('more tables', async () => (await flushedAt(nodes, leader)) > facts.flushedRevision);
  }
  // Beside the writer: everything it has is whole.
  await kvctl(0, 'scrub', nodes.dataDir(leader));
  await stopWriting();
  const records = await history(nodes);
  for (const { set, lastIndex } of [...sets].reverse()) {
    await nodes.kill(...nodes.running);
    for (const id of nodes.ids) {
      rmSync(nodes.dataDir(id), { recursive: true });
      await restore(nodes, id, '--set', String(set), '--whole-cluster');
    }
    await nodes.startAll();
    const wanted = stateOf(records.filter(({ revision }) => revision <= lastIndex));
    expect(wanted.size).toBeGreaterThan(100);
    await expectState(nodes, wanted);
  }
  const { revision } = await (await nodes.client()).put('after', 'it');
  expect(revision).toBeGreaterThan(sets[0]?.lastIndex ?? 0);
});

test('a stopped node: a set, another that copies what is new, and a cluster of its own made from it', async () => {
  cluster = await TestCluster.start({ config: SMALL });
  const nodes = cluster;
  const client = await nodes.client();
  const [follower = ''] = await nodes.followers();
  writeOn(client, 'a');
  await until('tables were made', async () => (await flushedAt(nodes, follower)) > 0);
  const first = await backup(nodes, follower);
  await stopWriting();
  // Killed, and not stopped: the log has no closing mark.
  await nodes.kill(follower);
  const second = await backup(nodes, follower);
  expect([first.isLive, second.isLive]).toEqual([true, false]);
  const same = await backup(nodes, follower);
  expect(same.newFiles).toBe(0);
  const records = await history(nodes);
  await nodes.kill(...nodes.running);
  for (const id of nodes.ids) renameSync(nodes.dataDir(id), `${nodes.dataDir(id)}.old`);
  const refused = new Run(['bin/kvctl.js', 'restore', join(nodes.dir, 'backup'), nodes.dataDir('n1')]);
  expect((await refused.ended).code).toBe(2);
  expect(refused.output).toContain('--whole-cluster');
  expect(existsSync(nodes.dataDir('n1'))).toBe(false);
  for (const id of nodes.ids) await restore(nodes, id, '--set', String(second.set), '--cluster', 'copy');
  const config = JSON.parse(readFileSync(nodes.configFile, 'utf8')) as Record<string, unknown>;
  writeFileSync(nodes.configFile, JSON.stringify({ ...config, cluster: 'copy' }));
  await nodes.startAll();
  await expectState(nodes, stateOf(records.filter(({ revision }) => revision <= second.lastIndex)));
  expect((await nodes.status('n1')).cluster).toBe('copy');
  // And over what runs now, nothing is restored.
  await kvctl(1, 'restore', join(nodes.dir, 'backup'), nodes.dataDir('n1'), '--cluster', 'copy');
});

test('a member that lost its disk: replaced from a backup of the leader, it has all the others have', async () => {
  cluster = await TestCluster.start({ config: SMALL });
  const nodes = cluster;
  const client = await nodes.client();
  writeOn(client, 'a');
  const [victim = ''] = await nodes.followers();
  await until('the log has let go of its beginning', async () => {
    const segments = readdirSync(join(nodes.dataDir(victim), 'wal')).filter((name) => /^\d+\.wal$/.test(name));
    return (await flushedAt(nodes, victim)) > 0 && !segments.includes('000001.wal');
  });
  await nodes.kill(victim);
  rmSync(nodes.dataDir(victim), { recursive: true });
  const leader = await nodes.leader();
  await backup(nodes, leader);
  await restore(nodes, victim, '--replace-member');
  nodes.spawn(victim);
  await nodes.leader();
  await stopWriting();
  const { revision } = await client.put('last', 'one');
  await until('the member has everything', async () => (await nodes.status(victim)).applied >= revision);
  const records = await history(nodes);
  await until('all have applied it', async () => {
    const all = await Promise.all(nodes.ids.map((id) => nodes.status(id)));
    return all.every(({ applied }) => applied >= revision);
  });
  await expectState(nodes, stateOf(records.filter((record) => record.revision <= revision)));
  // It counts: with it and without another, there is a quorum.
  const other = nodes.ids.find((id) => id !== victim && id !== leader) ?? '';
  await nodes.kill(other);
  await nodes.leader();
  await client.put('with', 'two');
});
