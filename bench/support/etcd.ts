/**
 * Three etcd nodes, as Debian's etcd-server runs them: defaults throughout (every write synced on a quorum), data
 * on the same disk as ours. Only the backend's quota is raised, so that a long run is not refused for space.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stopChild } from './cleanup.ts';
import type { CommitCounters, Servers } from './cluster.ts';
import { type Bench, BenchError } from './scenario.ts';
import { freePorts, scrape } from './system.ts';

/** Of Debian's etcd-server; from the path. */
const PROGRAM = 'etcd';
const START_MS = 30_000;
const QUOTA_BYTES = 8 * 1024 * 1024 * 1024;
const COUNTERS: CommitCounters = {
  syncs: 'etcd_disk_wal_fsync_duration_seconds_count',
  commits: 'etcd_server_proposals_committed_total',
};

/** "etcd Version: 3.4.23", or a sentence that says how to get it. */
export function etcdVersion(): string {
  const { stdout, status } = spawnSync(PROGRAM, ['--version'], { encoding: 'utf8' });
  if (status !== 0) {
    throw new BenchError(
      '--peers needs etcd, which is not installed; on Debian: apt-get update && apt-get install -y etcd-server etcd-client',
    );
  }
  return `etcd ${/Version: (\S+)/.exec(stdout)?.[1] ?? ''}`;
}

export async function startEtcd(bench: Bench, count: number): Promise<Servers> {
  const dir = join(bench.dir, 'etcd');
  mkdirSync(dir, { recursive: true });
  const ports = await freePorts(count * 2);
  const nodes = Array.from({ length: count }, (_, i) => ({
    name: `e${i + 1}`,
    client: `http://127.0.0.1:${ports[i * 2]}`,
    peer: `http://127.0.0.1:${ports[i * 2 + 1]}`,
  }));
  const cluster = nodes.map(({ name, peer }) => `${name}=${peer}`).join(',');
  const children = nodes.map(({ name, client, peer }) => {
    const args = [
      ['name', name],
      ['data-dir', join(dir, name)],
      ['listen-client-urls', client],
      ['advertise-client-urls', client],
      ['listen-peer-urls', peer],
      ['initial-advertise-peer-urls', peer],
      ['initial-cluster', cluster],
      ['initial-cluster-state', 'new'],
      ['quota-backend-bytes', String(QUOTA_BYTES)],
      ['log-level', 'error'],
    ].flatMap(([flag, value]) => [`--${flag}`, value as string]);
    const child = spawn(PROGRAM, args, { stdio: ['ignore', 'ignore', 'ignore'] });
    bench.cleanup.child(child);
    return child;
  });
  await healthy(nodes.map(({ client }) => client));
  const processes = nodes.map(({ name, client }, i) => ({
    name,
    pid: children[i]?.pid ?? 0,
    metricsUrl: `${client}/metrics`,
    clientUrl: client,
  }));
  const leader = async (): Promise<(typeof processes)[number]> => {
    for (const process of processes) {
      if ((await scrape(process.metricsUrl)).get('etcd_server_is_leader') === 1) return process;
    }
    throw new BenchError('etcd has lost its leader');
  };
  // Our client finds the leader by itself; etcd's is given it, which spares etcd a hop.
  const led = await leader();
  return {
    processes,
    endpoints: [led.clientUrl],
    counters: COUNTERS,
    leader,
    stop: async () => {
      await Promise.all(children.map((child) => stopChild(child, 'SIGTERM')));
    },
  };
}

async function healthy(urls: readonly string[]): Promise<void> {
  const untilMs = performance.now() + START_MS;
  while (performance.now() < untilMs) {
    const answers = await Promise.all(
      urls.map(async (url) => {
        try {
          const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(1_000) });
          return response.ok;
        } catch {
          return false;
        }
      }),
    );
    if (answers.every(Boolean)) return;
    await sleep(100);
  }
  throw new BenchError(`etcd was not healthy within ${START_MS / 1000} s`);
}
