/**
 * ldb-fleet: what do a thousand replicas cost, and how fast do all of them show a write?
 *
 * Sketch. Each write is a frame to each replica: at 100 writes a second and 1,000 replicas 100,000 frames a second, sent
 * by three nodes, and read by processes that share the cores with them. A frame costs some 10 µs to send and as much to
 * read, so one by one that would be two cores for nothing else; what waits leaves together, so it is as many as there is
 * room for, and the lag is the time that a round of all sockets takes: tens of milliseconds on two cores. On a host with a
 * core for each node it is a few.
 *
 * 990 replicas in memory, in three processes, each with a socket and the reports of a real one; ten with LMDB files. The
 * floor is the same frames to the same number of sockets with nothing of ours on top (`ws fan-out`).
 *
 *   warm-up    100 writes a second, not counted
 *   steady     100 writes a second: from the answer of a write to its sight, over all replicas
 *   stalled    the same while one replica in a hundred does not read; the nodes' memory before and behind it
 *   restarted  the same while all leave and come back at once: the puts' latency meanwhile, and when all show the newest
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FanOutFrom, FanOutTo } from './processes/fan-out.ts';
import type { FleetFrom, FleetTo } from './processes/fleet.ts';
import type { PacedPutFrom, PacedPutTo, PacedWrite } from './processes/paced-put.ts';
import { Child } from './support/child.ts';
import { type Cluster, startCluster } from './support/cluster.ts';
import { newHistogram, type Percentiles, percentilesOf, recordMs } from './support/load.ts';
import { type Bench, BenchError, type Scenario } from './support/scenario.ts';
import { cpuSeconds, scrape } from './support/system.ts';

const REPLICAS = 1_000;
const REAL = 10;
const PROCESSES = 3;
const PER_SECOND = 100;
const START_MS = 120_000;
const CATCH_UP_MS = 60_000;
/** Into the third phase. */
const RESTART_AFTER_MS = 1_000;

type Fleet = readonly Child<FleetTo, FleetFrom>[];
type Writer = Child<PacedPutTo, PacedPutFrom>;

export const ldbFleet: Scenario = {
  name: 'ldb-fleet',
  summary:
    'a thousand replicas at 100 writes a second: until all see a write, with some stalled, and all restarted at once',
  run,
};

async function run(bench: Bench): Promise<void> {
  // --in-flight: another number of replicas.
  for (const replicas of bench.options.inFlight ?? [REPLICAS]) await measure(bench, replicas);
}

async function measure(bench: Bench, replicas: number): Promise<void> {
  await fanOutFloor(bench, replicas);
  bench.progress(`starting three nodes and ${replicas} replicas`);
  const servers = await startCluster(bench, 3);
  const writer = Child.start<PacedPutTo, PacedPutFrom>(bench.cleanup, 'paced-put');
  writer.tell({ kind: 'connect', endpoints: servers.endpoints });
  await writer.hear('connected', START_MS);
  const alone = await write(bench, writer);
  const puts = percentilesOf(putsOf(alone));
  bench.row({ ...rowOf(`puts before there are replicas`), ...puts });

  const fleet = await startFleet(bench, servers.endpoints, replicas);
  // Processes that have just begun take several times as long for a frame: not what a fleet is like.
  await lagsOf(fleet, await write(bench, writer));
  const beforeBytes = await memoryOf(servers);
  const cpuBefore = cpuOf(servers);
  const steady = await write(bench, writer);
  const lag = await lagsOf(fleet, steady);
  const cpuPerWrite = {
    nodesCpuMsPerWrite: Number((((cpuOf(servers) - cpuBefore) * 1000) / steady.length).toFixed(2)),
  };
  const steadyPuts = percentilesOf(putsOf(steady));
  bench.row({
    ...rowOf(`${replicas} replicas`),
    ...lag.all,
    more: { realP99Ms: lag.realP99Ms, putP50Ms: steadyPuts.p50Ms, putP99Ms: steadyPuts.p99Ms, ...cpuPerWrite },
  });
  bench.target({ what: `${replicas} replicas: p99`, unit: 'ms', measured: lag.all.p99Ms, wanted: 50, is: 'at most' });

  const stalled = Math.max(1, Math.round(replicas / 100 / PROCESSES)) * PROCESSES;
  for (const child of fleet.slice(0, PROCESSES)) {
    child.tell({ kind: 'stall', count: stalled / PROCESSES });
    await child.hear('stalled', START_MS);
  }
  const withStalled = await lagsOf(fleet, await write(bench, writer));
  const afterBytes = await memoryOf(servers);
  const memory = { nodesMiBBefore: mib(beforeBytes), nodesMiBAfter: mib(afterBytes) };
  bench.row({ ...rowOf(`${stalled} of them stalled`), ...withStalled.all, more: memory });

  const writing = write(bench, writer);
  await sleep(RESTART_AFTER_MS);
  const beganNs = Number(process.hrtime.bigint());
  for (const child of fleet) child.tell({ kind: 'restart' });
  for (const child of fleet) await child.hear('restarted', START_MS);
  const backNs = Number(process.hrtime.bigint());
  const writes = await writing;
  const caughtUpNs = await shown(fleet, newestOf(writes));
  const during = percentilesOf(putsOf(writes));
  const more = {
    connectedMs: ms(backNs - beganNs),
    ...(caughtUpNs === undefined ? { caughtUp: 'no' } : { caughtUpAfterLastPutMs: ms(caughtUpNs - lastNs(writes)) }),
  };
  bench.row({ ...rowOf('puts while all restart at once'), ...during, more });
  const what = 'put p99 while all restart, over that of the same without';
  bench.target({ what, unit: '×', measured: during.p99Ms / steadyPuts.p99Ms, wanted: 2, is: 'at most' });
  for (const child of fleet) await child.stop();
  await writer.stop();
  await servers.stop();
}

/** The frames of the steady phase to as many sockets, by a server that does nothing else. */
async function fanOutFloor(bench: Bench, sockets: number): Promise<void> {
  bench.progress('floor: the same frames, with nothing of ours');
  const server = Child.start<FanOutTo, FanOutFrom>(bench.cleanup, 'fan-out');
  const { port } = await server.hear('listening', START_MS);
  const clients = Child.start<FanOutTo, FanOutFrom>(bench.cleanup, 'fan-out');
  await clients.hear('listening', START_MS);
  clients.tell({ kind: 'listen', port, sockets });
  await clients.hear('connected', START_MS);
  server.tell({ kind: 'send', perSecond: PER_SECOND, ms: bench.options.seconds * 1000 });
  await server.hear('sent', bench.options.seconds * 1000 + START_MS);
  clients.tell({ kind: 'count' });
  const { p50Ms, p99Ms, p999Ms } = await clients.hear('counted', START_MS);
  bench.row({
    variant: `ws fan-out to ${sockets}`,
    system: 'floor',
    inFlight: null,
    opsPerSecond: PER_SECOND,
    p50Ms,
    p99Ms,
    p999Ms,
  });
  await server.stop();
  await clients.stop();
}

async function startFleet(bench: Bench, endpoints: readonly string[], replicas: number): Promise<Fleet> {
  const start = (name: string, count: number, dir?: string): Child<FleetTo, FleetFrom> => {
    const child = Child.start<FleetTo, FleetFrom>(bench.cleanup, 'fleet');
    child.tell({ kind: 'start', endpoints, count, name, ...(dir === undefined ? {} : { dir }) });
    return child;
  };
  const inMemory = Math.ceil((replicas - REAL) / PROCESSES);
  const dir = join(bench.dir, 'replicas');
  mkdirSync(dir, { recursive: true });
  const fleet = Array.from({ length: PROCESSES }, (_, i) => start(`memory-${i}`, inMemory));
  const all = [...fleet, start('real', REAL, dir)];
  for (const child of all) await child.hear('started', START_MS);
  if ((await shown(all, 1)) === undefined) throw new BenchError('not all replicas were filled');
  return all;
}

async function write(bench: Bench, writer: Writer): Promise<readonly PacedWrite[]> {
  bench.progress(`${PER_SECOND} writes a second`);
  const forMs = bench.options.seconds * 1000;
  writer.tell({ kind: 'run', perSecond: PER_SECOND, ms: forMs });
  const { writes, failures } = await writer.hear('done', forMs + START_MS);
  if (failures > 0) throw new BenchError(`${failures} puts failed`);
  return writes;
}

/** When all show it; undefined: not in time. */
async function shown(fleet: Fleet, revision: number): Promise<number | undefined> {
  for (const child of fleet) child.tell({ kind: 'show', revision, deadlineMs: CATCH_UP_MS });
  let lastNs = 0;
  for (const child of fleet) {
    const { isAll, ns } = await child.hear('shown', CATCH_UP_MS + START_MS);
    if (!isAll) return undefined;
    lastNs = Math.max(lastNs, ns);
  }
  return lastNs;
}

interface Lags {
  /** Of every write at every replica that reads. */
  readonly all: Percentiles;
  /** The ten with LMDB files, whose commits wait for a disk that three nodes sync to. */
  readonly realP99Ms: number;
}

async function lagsOf(fleet: Fleet, writes: readonly PacedWrite[]): Promise<Lags> {
  if ((await shown(fleet, newestOf(writes))) === undefined)
    throw new BenchError('not all replicas show the last write');
  const asked = writes.map(({ revision, resolvedNs }) => [revision, resolvedNs] as const);
  for (const child of fleet) child.tell({ kind: 'lags', writes: asked });
  const all: number[] = [];
  let real: readonly number[] = [];
  let bucketMs = 0;
  for (const child of fleet) {
    const { bucketMs: width, buckets } = await child.hear('lags', START_MS);
    bucketMs = width;
    for (const [i, count] of buckets.entries()) all[i] = (all[i] ?? 0) + count;
    // They are the last process.
    real = buckets;
  }
  const at = (counts: readonly number[], share: number): number => {
    let left = counts.reduce((sum, count) => sum + count, 0) * share;
    return (counts.findIndex((count) => (left -= count) <= 0) + 1) * bucketMs;
  };
  return { all: { p50Ms: at(all, 0.5), p99Ms: at(all, 0.99), p999Ms: at(all, 0.999) }, realP99Ms: at(real, 0.99) };
}

function putsOf(writes: readonly PacedWrite[]): ReturnType<typeof newHistogram> {
  const histogram = newHistogram();
  for (const { sentNs, resolvedNs } of writes) recordMs(histogram, (resolvedNs - sentNs) / 1e6);
  return histogram;
}

/** Processor time of the nodes so far: what it says does not depend on who else uses the machine. */
function cpuOf(servers: Cluster): number {
  return servers.processes.reduce((sum, { pid }) => sum + (cpuSeconds(pid) ?? 0), 0);
}

async function memoryOf(servers: Cluster): Promise<number> {
  const each = servers.processes.map(async ({ metricsUrl }) => {
    const rss = (await scrape(metricsUrl)).get('ctlmesh_process_resident_memory_bytes');
    if (rss === undefined) throw new BenchError('a node does not say how much memory it has');
    return rss;
  });
  return (await Promise.all(each)).reduce((sum, bytes) => sum + bytes, 0);
}

const newestOf = (writes: readonly PacedWrite[]): number => Math.max(...writes.map(({ revision }) => revision));
const lastNs = (writes: readonly PacedWrite[]): number => Math.max(...writes.map(({ resolvedNs }) => resolvedNs));
const ms = (ns: number): number => Math.max(0, Math.round(ns / 1e6));
const mib = (bytes: number): number => Math.round(bytes / 1024 / 1024);

function rowOf(variant: string): { variant: string; system: 'ctlmesh'; inFlight: null; opsPerSecond: number } {
  return { variant, system: 'ctlmesh', inFlight: null, opsPerSecond: PER_SECOND };
}
