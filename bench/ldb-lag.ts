/**
 * ldb-lag: how long after its acknowledgement can another process of the host read a write from the local replica?
 *
 * Sketch. The ledger record leaves the node that feeds the replica when that node has applied the revision: memtable →
 * shipper → gateway → socket → reflector, four hops and ~0.2 ms (a follower learns of the commit up to one message
 * later than the leader). The reflector commits it to LMDB with a sync: ~0.2–0.5 ms, and what came meanwhile waits for
 * the next commit: at most two commits, so 0.5–1.5 ms. The reader looks every millisecond. So a p50 of 1–2 ms and a p99
 * below 5 ms on a machine with a core to spare; the bound is 10 ms.
 *
 * Seven processes: three nodes, the writer (SDK, at a steady rate, not waiting for answers), `kvctl ldb follow`, the
 * reader, and this one, which only waits. Times are CLOCK_MONOTONIC (process.hrtime), one clock for all processes.
 * A write's lag is from when its put resolved to when the reader first saw its revision or a later one (a revision is
 * visible whole: rows and position change in one transaction). A write seen before its answer counts as 0.
 */
import { fork } from 'node:child_process';
import { join, resolve } from 'node:path';
import type { LdbReaderFrom, LdbReaderTo } from './processes/ldb-reader.ts';
import type { PacedPutFrom, PacedPutTo } from './processes/paced-put.ts';
import { Child } from './support/child.ts';
import { startCluster } from './support/cluster.ts';
import { newHistogram, percentilesOf, recordMs } from './support/load.ts';
import { type Bench, BenchError, type Scenario } from './support/scenario.ts';

const RATES: readonly number[] = [20, 200, 2000];
const KVCTL: string = resolve(import.meta.dirname, '../bin/kvctl.js');
const START_MS = 30_000;
/** How long the replica may take for the last write before we call it lost. */
const CATCH_UP_MS = 15_000;

export const ldbLag: Scenario = {
  name: 'ldb-lag',
  summary: 'from the acknowledgement of a write to its first sight in a local replica, by a reader of its own',
  run,
};

async function run(bench: Bench): Promise<void> {
  bench.progress('starting three nodes, a reflector, a reader and a writer');
  const servers = await startCluster(bench, 3);
  const dir = join(bench.dir, 'replica');
  follow(bench, servers.endpoints, dir);
  const reader = Child.start<LdbReaderTo, LdbReaderFrom>(bench.cleanup, 'ldb-reader');
  reader.tell({ kind: 'open', dir });
  await reader.hear('opened', START_MS);
  const writer = Child.start<PacedPutTo, PacedPutFrom>(bench.cleanup, 'paced-put');
  writer.tell({ kind: 'connect', endpoints: servers.endpoints });
  await writer.hear('connected', START_MS);

  for (const perSecond of RATES) {
    bench.progress(`${perSecond} writes a second`);
    reader.tell({ kind: 'begin' });
    await reader.hear('begun', START_MS);
    writer.tell({ kind: 'run', perSecond, ms: bench.options.seconds * 1000 });
    const { writes, failures } = await writer.hear('done', bench.options.seconds * 1000 + 30_000);
    const last = Math.max(...writes.map(({ revision }) => revision));
    reader.tell({ kind: 'end', revision: last, deadlineMs: CATCH_UP_MS });
    const { sights } = await reader.hear('sights', CATCH_UP_MS + 10_000);
    const histogram = newHistogram();
    const puts = newHistogram();
    let early = 0;
    for (const { revision, sentNs, resolvedNs } of writes) {
      const lagMs = (seenNs(sights, revision) - resolvedNs) / 1e6;
      if (lagMs < 0) early++;
      recordMs(histogram, Math.max(0, lagMs));
      recordMs(puts, (resolvedNs - sentNs) / 1e6);
    }
    const figures = percentilesOf(histogram);
    const more = {
      putP50Ms: Number(percentilesOf(puts).p50Ms.toFixed(3)),
      seenBeforeAnswer: early,
      commits: sights.length,
      ...(failures === 0 ? {} : { failures }),
    };
    const opsPerSecond = writes.length / bench.options.seconds;
    bench.row({ variant: `${perSecond} puts/s`, system: 'ctlmesh', inFlight: null, opsPerSecond, ...figures, more });
    const what = `p99 at ${perSecond} puts/s`;
    bench.target({ what, unit: 'ms', measured: figures.p99Ms, wanted: 10, is: 'at most' });
  }
  bench.note(
    'the reader looks about once a millisecond (a 1 ms sleep, so as not to take a core); that is in the figures',
  );
  await writer.stop();
  await reader.stop();
  await servers.stop();
}

/** As an operator starts it. */
function follow(bench: Bench, endpoints: readonly string[], dir: string): void {
  const args = ['ldb', 'follow', '--from', endpoints.join(','), '--ldb', dir];
  const child = fork(KVCTL, args, { stdio: ['ignore', 'ignore', 2, 'ipc'] });
  bench.cleanup.child(child);
}

interface Sight {
  readonly revision: number;
  readonly seenNs: number;
}

/** When `revision` was first visible: the first sight at or after it. Sights are in order. */
function seenNs(sights: readonly Sight[], revision: number): number {
  let low = 0;
  let high = sights.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sights[middle] as Sight).revision >= revision) high = middle;
    else low = middle + 1;
  }
  const sight = sights[low];
  if (sight === undefined) throw new BenchError(`the replica never showed revision ${revision}`);
  return sight.seenNs;
}
