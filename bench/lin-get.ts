/**
 * lin-get: how fast are linearizable reads: gets that see every write acknowledged before them, from any node?
 *
 * Sketch. A get is some 40 bytes to a node and 130 back, in frames shared by all that are under way on a connection. The
 * node needs an index that a quorum has confirmed after the get arrived, and to have applied it: a round of heartbeats
 * (leader → follower → leader, ~0.2 ms on loopback), at a follower a message to the leader and back more. Rounds are
 * shared: what arrives during one waits for the next, so at 256 in flight a round serves a hundred gets and costs each of
 * them a microsecond or two. What is left is a frame's share of decoding, a probe of the memtable, the reply, and the same
 * again at the client: 8 to 16 µs over both processes. Two cores then give 120 to 250 k/s at best, and 60 k/s is the bound.
 *
 * 10 000 keys of 16 bytes with 100 bytes each; four connections from one client process. `leader only` sends all of them
 * to the leader; `spread` pins connection i to node i, so that half of the connections or more are at followers.
 */
import type { GetLoadFrom, GetLoadTo } from './processes/get-load.ts';
import { Child } from './support/child.ts';
import { type Servers, startCluster } from './support/cluster.ts';
import type { DriverName } from './support/drivers.ts';
import { etcdVersion, startEtcd } from './support/etcd.ts';
import type { LoadResult } from './support/load.ts';
import type { Bench, Scenario } from './support/scenario.ts';
import { cpuSeconds } from './support/system.ts';

const IN_FLIGHT: readonly number[] = [64, 256];
const NODES = 3;
const CONNECTIONS = 4;
const WARMUP_MS = 3_000;
const FILL_MS = 60_000;
const WANTED = 60_000;
const SPREADS = ['spread', 'leader only'] as const;
type Spread = (typeof SPREADS)[number];

export const linGet: Scenario = {
  name: 'lin-get',
  summary: 'linearizable gets from three local nodes over four connections, spread or at the leader; --peers adds etcd',
  run,
};

async function run(bench: Bench): Promise<void> {
  const etcd = bench.options.peers ? etcdVersion() : undefined;
  const counts = bench.options.inFlight ?? IN_FLIGHT;
  const most = Math.max(...counts);
  const ours = await measure(bench, 'ctlmesh', counts, () => startCluster(bench, NODES));
  for (const spread of SPREADS) {
    const measured = ours.get(`${spread} ${most}`) ?? Number.NaN;
    bench.target({ what: `${spread}, ${most} in flight`, unit: 'op/s', measured, wanted: WANTED, is: 'at least' });
  }
  if (etcd === undefined) return;
  bench.note(`${etcd}: defaults, three local nodes; its gets are linearizable by default`);
  await measure(bench, 'etcd', counts, () => startEtcd(bench, NODES));
}

/** All variants against one cluster, which is stopped afterwards: two stores never run at once. */
async function measure(
  bench: Bench,
  system: DriverName,
  counts: readonly number[],
  start: () => Promise<Servers>,
): Promise<Map<string, number>> {
  bench.progress(`${system}: starting ${NODES} nodes`);
  const servers = await start();
  const { profile } = bench.options;
  const clients = Child.start<GetLoadTo, GetLoadFrom>(bench.cleanup, 'get-load', {
    profile: system === 'ctlmesh' && profile !== undefined ? `${profile}/clients` : undefined,
  });
  clients.tell({ kind: 'fill', system, endpoints: servers.endpoints });
  await clients.hear('filled', FILL_MS);
  const rates = new Map<string, number>();
  for (const spread of SPREADS) {
    for (const inFlight of counts) {
      bench.progress(`${system}: ${spread}, ${inFlight} in flight`);
      const { result, more } = await variant(bench, system, { servers, clients, spread, inFlight });
      const { opsPerSecond, p50Ms, p99Ms, p999Ms } = result;
      rates.set(`${spread} ${inFlight}`, opsPerSecond);
      bench.row({ variant: `get, ${spread}`, system, inFlight, opsPerSecond, p50Ms, p99Ms, p999Ms, more });
    }
  }
  await clients.stop();
  await servers.stop();
  return rates;
}

interface Stage {
  readonly servers: Servers;
  readonly clients: Child<GetLoadTo, GetLoadFrom>;
  readonly spread: Spread;
  readonly inFlight: number;
}

async function variant(
  bench: Bench,
  system: DriverName,
  { servers, clients, spread, inFlight }: Stage,
): Promise<{ result: LoadResult; more: Record<string, number | string> }> {
  const leader = await servers.leader();
  const endpoints = spread === 'spread' ? servers.processes.map(({ clientUrl }) => clientUrl) : [leader.clientUrl];
  const measureMs = bench.options.seconds * 1000;
  const warmupMs = Math.min(WARMUP_MS, measureMs);
  clients.tell({ kind: 'run', system, endpoints, connections: CONNECTIONS, inFlight, warmupMs, measureMs });
  const patienceMs = warmupMs + measureMs + 30_000;
  const spent = (): readonly number[] => [
    cpuSeconds(leader.pid) ?? Number.NaN,
    servers.processes.reduce((sum, { pid }) => sum + (pid === leader.pid ? 0 : (cpuSeconds(pid) ?? Number.NaN)), 0),
    cpuSeconds(clients.pid) ?? Number.NaN,
  ];
  await clients.hear('begin', patienceMs);
  const [before, beganMs] = [spent(), performance.now()];
  await clients.hear('end', patienceMs);
  const [after, endedMs] = [spent(), performance.now()];
  const { result } = await clients.hear('result', patienceMs);
  const cores = (i: number): number =>
    Number(((((after[i] ?? 0) - (before[i] ?? 0)) / (endedMs - beganMs)) * 1000).toFixed(2));
  const failures =
    result.failures === 0 ? {} : { failures: result.failures, firstFailure: String(result.firstFailure) };
  const more = { connections: CONNECTIONS, coresLeader: cores(0), coresFollowers: cores(1), coresClients: cores(2) };
  return { result, more: { ...more, ...failures } };
}
