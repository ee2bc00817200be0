/**
 * quorum-put: how fast are writes that a quorum of three has on disk?
 *
 * Sketch. A put of 16 + 100 bytes is some 150 bytes in a client frame and in the log. Hops: client → leader, leader →
 * follower and back, leader → client; syncs: one on the leader, beside one on each follower; commit needs the leader's
 * own log written and two of three synced. Alone that is
 *
 *   2 ws trips (client ↔ leader, leader ↔ follower)  ~0.15–0.2 ms each on loopback, both ends in Node
 *   1 fdatasync into a preallocated file             ~0.1 ms
 *   4 thread hops each way on the leader, 2 on the follower, ~10 µs each
 *
 * so 0.5–0.8 ms, and a p50 of 0.8 ms is the bound to hold. At 256 in flight a group is what arrived during the last
 * sync; disks would then carry 256 × 10 000 syncs/s, and CPU is what ends: three nodes and the clients share the cores.
 * 40 k/s on two cores leaves 50 µs of CPU for a put, over all five processes: 25 µs for the clients and the leader's
 * socket, the rest for three logs and three memtables.
 *
 * Connections: 1 for 1 and 16 in flight, 4 for 64 and 256, all from one client process. etcd (--peers) gets the same
 * keys, values, numbers and loop through the `etcd3` package.
 */
import type { PutLoadFrom, PutLoadTo } from './processes/put-load.ts';
import { Child } from './support/child.ts';
import { type Servers, type ServerProcess, startCluster } from './support/cluster.ts';
import type { DriverName } from './support/drivers.ts';
import { etcdVersion, startEtcd } from './support/etcd.ts';
import type { LoadResult } from './support/load.ts';
import type { Bench, Scenario } from './support/scenario.ts';
import { cpuSeconds, scrape, threadSeconds } from './support/system.ts';

const IN_FLIGHT: readonly number[] = [1, 16, 64, 256];
const NODES = 3;
/**
 * Ten seconds before the first variant, three before the others: a server that runs for months runs compiled code,
 * and alone it takes some ten thousand puts until V8 has compiled what they run through (0.90 ms p50 after 1.5 s,
 * 0.77 ms after 10).
 */
const WARMUP_FIRST_MS = 10_000;
const WARMUP_MS = 3_000;
const connectionsFor = (inFlight: number): number => (inFlight <= 16 ? 1 : 4);

export const quorumPut: Scenario = {
  name: 'quorum-put',
  summary: 'writes acknowledged once two of three local nodes have them on disk, through the SDK; --peers adds etcd',
  run,
};

async function run(bench: Bench): Promise<void> {
  const { peers } = bench.options;
  const etcd = peers ? etcdVersion() : undefined;
  const counts = bench.options.inFlight ?? IN_FLIGHT;

  const ours = await measure(bench, 'ctlmesh', counts, () => startCluster(bench, NODES), new Map());
  for (const [inFlight, { opsPerSecond, p50Ms }] of ours) {
    if (inFlight === 1) {
      bench.target({ what: 'p50 alone', unit: 'ms', measured: p50Ms, wanted: 0.8, is: 'at most' });
    } else if (inFlight === 256) {
      bench.target({ what: 'at 256 in flight', unit: 'op/s', measured: opsPerSecond, wanted: 40_000, is: 'at least' });
    }
  }
  if (etcd === undefined) return;
  bench.note(`${etcd}: defaults, three local nodes, data on the same disk; its client is given the leader's address`);
  const theirs = await measure(bench, 'etcd', counts, () => startEtcd(bench, NODES), ours);
  const ratio = (ours.get(256)?.opsPerSecond ?? Number.NaN) / (theirs.get(256)?.opsPerSecond ?? Number.NaN);
  if (Number.isFinite(ratio)) {
    bench.target({ what: 'against etcd at 256 in flight', unit: '×', measured: ratio, wanted: 8, is: 'at least' });
  }
}

/** All variants against one cluster, which is stopped afterwards: two stores never run at once. */
async function measure(
  bench: Bench,
  system: DriverName,
  counts: readonly number[],
  start: () => Promise<Servers>,
  ours: ReadonlyMap<number, LoadResult>,
): Promise<Map<number, LoadResult>> {
  bench.progress(`${system}: starting ${NODES} nodes`);
  const servers = await start();
  const { profile } = bench.options;
  const clients = Child.start<PutLoadTo, PutLoadFrom>(bench.cleanup, 'put-load', {
    profile: system === 'ctlmesh' && profile !== undefined ? `${profile}/clients` : undefined,
  });
  const results = new Map<number, LoadResult>();
  for (const inFlight of counts) {
    bench.progress(`${system}: ${inFlight} in flight`);
    const { result, more } = await variant(bench, system, servers, clients, inFlight);
    results.set(inFlight, result);
    const ratio = (ours.get(inFlight)?.opsPerSecond ?? Number.NaN) / result.opsPerSecond;
    const times = Number.isFinite(ratio) ? { ctlmeshTimes: Number(ratio.toFixed(2)) } : {};
    const { opsPerSecond, p50Ms, p99Ms, p999Ms } = result;
    const figures = { opsPerSecond, p50Ms, p99Ms, p999Ms };
    bench.row({ variant: 'put 100 B', system, inFlight, ...figures, more: { ...more, ...times } });
  }
  await clients.stop();
  await servers.stop();
  return results;
}

async function variant(
  bench: Bench,
  system: DriverName,
  servers: Servers,
  clients: Child<PutLoadTo, PutLoadFrom>,
  inFlight: number,
): Promise<{ result: LoadResult; more: Record<string, number | string> }> {
  const leader = await servers.leader();
  const connections = connectionsFor(inFlight);
  const measureMs = bench.options.seconds * 1000;
  const warmupMs = Math.min(inFlight === 1 ? WARMUP_FIRST_MS : WARMUP_MS, measureMs * 2);
  const { endpoints } = servers;
  clients.tell({ kind: 'run', system, endpoints, connections, inFlight, warmupMs, measureMs });
  const patienceMs = warmupMs + measureMs + 30_000;
  await clients.hear('begin', patienceMs);
  const before = await sample(servers, leader, clients.pid);
  await clients.hear('end', patienceMs);
  const after = await sample(servers, leader, clients.pid);
  const { result } = await clients.hear('result', patienceMs);
  const failures =
    result.failures === 0 ? {} : { failures: result.failures, firstFailure: String(result.firstFailure) };
  return { result, more: { connections, ...spent(before, after), ...failures } };
}

interface Sample {
  readonly syncs: number;
  readonly commits: number;
  readonly leaderCpu: number;
  readonly followersCpu: number;
  readonly clientsCpu: number;
  readonly threads: ReadonlyMap<string, number>;
  readonly atMs: number;
}

async function sample(servers: Servers, leader: ServerProcess, clientsPid: number): Promise<Sample> {
  const series = await scrape(leader.metricsUrl);
  const cpu = (pid: number): number => cpuSeconds(pid) ?? Number.NaN;
  const followers = servers.processes.filter(({ pid }) => pid !== leader.pid);
  return {
    syncs: series.get(servers.counters.syncs) ?? Number.NaN,
    commits: series.get(servers.counters.commits) ?? Number.NaN,
    leaderCpu: cpu(leader.pid),
    followersCpu: followers.reduce((sum, { pid }) => sum + cpu(pid), 0),
    clientsCpu: cpu(clientsPid),
    threads: threadSeconds(leader.pid),
    atMs: performance.now(),
  };
}

/** Syncs per commit on the leader, and cores kept busy by each side. */
function spent(before: Sample, after: Sample): Record<string, number | string> {
  const seconds = (after.atMs - before.atMs) / 1000;
  const cores = (of: (sample: Sample) => number): number => Number(((of(after) - of(before)) / seconds).toFixed(2));
  const threads = [...after.threads]
    .map(([name, used]) => [name, (used - (before.threads.get(name) ?? 0)) / seconds] as const)
    .filter(([, busy]) => busy >= 0.02)
    .sort(([, a], [, b]) => b - a)
    .map(([name, busy]) => `${name} ${busy.toFixed(2)}`);
  return {
    fsyncsPerCommit: Number(((after.syncs - before.syncs) / (after.commits - before.commits)).toFixed(3)),
    coresLeader: cores((one) => one.leaderCpu),
    coresFollowers: cores((one) => one.followersCpu),
    coresClients: cores((one) => one.clientsCpu),
    ...(threads.length > 1 ? { leaderThreads: threads.join(' ') } : {}),
  };
}
