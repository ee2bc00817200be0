/**
 * embedded-put: what does a write cost inside the application's own process, synced before it is acknowledged?
 *
 * Sketch. No socket and no peer: caller → gateway (this thread) → replication → wal-committer → syncer → replication →
 * memtable → gateway. Six thread hops of 5–13 µs, one write of ~200 bytes and one fdatasync into a preallocated file
 * (~0.1 ms): 0.15–0.25 ms alone, so 4–6 k/s. With 64 callers a group is what came during one sync: 64 per ~0.15 ms
 * would be 400 k/s, so the CPU of the calling thread ends it, at the ~15 µs that the SDK's and the gateway's work on a
 * put take: some 60 k/s.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { type RunningNode, startNode } from '../src/index.ts';
import { configOf } from './support/cluster.ts';
import { draws, keys, values } from './support/data.ts';
import { runLoad } from './support/load.ts';
import type { Bench, Scenario } from './support/scenario.ts';
import { scrape } from './support/system.ts';

const IN_FLIGHT: readonly number[] = [1, 64];
const KEYS = 100_000;
const WARMUP_MS = 1_500;

export const embeddedPut: Scenario = {
  name: 'embedded-put',
  summary: 'writes to one node inside this process, synced before each acknowledgement',
  run,
};

async function run(bench: Bench): Promise<void> {
  const { node, metricsUrl } = await startEmbedded(bench);
  const names = keys(KEYS);
  const contents = values();
  const draw = draws(KEYS);
  for (const inFlight of bench.options.inFlight ?? IN_FLIGHT) {
    bench.progress(`${inFlight} in flight`);
    const measureMs = bench.options.seconds * 1000;
    const samples: Promise<Sample>[] = [];
    const take = (): void => void samples.push(sample(metricsUrl));
    const result = await runLoad({
      inFlight,
      warmupMs: Math.min(WARMUP_MS, measureMs),
      measureMs,
      operation: (n) => node.put(names[draw(n)] as string, contents[n % contents.length] as Buffer),
      onBegin: take,
      onEnd: take,
    });
    const { opsPerSecond, p50Ms, p99Ms, p999Ms, failures } = result;
    const figures = { opsPerSecond, p50Ms, p99Ms, p999Ms };
    const failed = failures === 0 ? {} : { failures, firstFailure: String(result.firstFailure) };
    const [before, after] = (await Promise.all(samples)) as [Sample, Sample];
    bench.row({
      variant: 'put 100 B',
      system: 'ctlmesh',
      inFlight,
      ...figures,
      more: { ...spent(before, after), ...failed },
    });
    if (inFlight === 64) {
      bench.target({ what: 'at 64 in flight', unit: 'op/s', measured: opsPerSecond, wanted: 40_000, is: 'at least' });
    }
  }
  await node.stop();
}

interface Sample {
  readonly syncs: number;
  readonly commits: number;
  readonly cpuMs: number;
  readonly atMs: number;
}

async function sample(metricsUrl: string): Promise<Sample> {
  const atMs = performance.now();
  const { user, system } = process.cpuUsage();
  const series = await scrape(metricsUrl);
  return {
    syncs: series.get('ctlmesh_wal_fsyncs_total') ?? Number.NaN,
    commits: series.get('ctlmesh_raft_commit_index') ?? Number.NaN,
    cpuMs: (user + system) / 1000,
    atMs,
  };
}

function spent(before: Sample, after: Sample): Record<string, number> {
  return {
    fsyncsPerCommit: Number(((after.syncs - before.syncs) / (after.commits - before.commits)).toFixed(3)),
    cores: Number(((after.cpuMs - before.cpuMs) / (after.atMs - before.atMs)).toFixed(2)),
  };
}

export interface Embedded {
  readonly node: RunningNode;
  readonly metricsUrl: string;
}

/** One node in this process, with its data in the run's directory. */
export async function startEmbedded(bench: Bench): Promise<Embedded> {
  const dir = join(bench.dir, 'embedded');
  mkdirSync(dir, { recursive: true });
  const config = await configOf(dir, 1);
  // Stdout may be JSON.
  const node = await startNode(config, 'n1', { logger: pino({ level: 'warn' }, process.stderr) });
  bench.cleanup.defer(() => node.stop());
  return { node, metricsUrl: `${config.nodes['n1']?.http}/metrics` };
}
