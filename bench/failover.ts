/**
 * failover: how long can nobody write when the leader goes?
 *
 * Sketch. A leader that is killed closes its sockets: its followers see that at once, stand after a short random wait,
 * and need two message trips and two syncs (PreVote, vote, the new term's first entry): some 20 to 100 ms. A client sees
 * the same, and tries the other endpoints. Bound: 600 ms at p50 and 1.2 s at p99, which would also hold where a host goes
 * without a word. A leader that hands over waits until its successor has everything, and tells it to stand: one round,
 * and the new term's first entry. Clients are told by a notice and connect again: 100 ms is the bound.
 *
 *   SIGKILL    from the signal to the first acknowledgement of a write that was called after it
 *   hand-over  longest time without an acknowledgement, from `members.transferLeader()` on, until half a second after it
 *   SIGTERM    the same, from the signal on, until half a second after the process is gone
 *
 * Three nodes, four clients here that each put every 5 ms (a gap of 5 to 10 ms is therefore nothing). After each time the
 * node is started again, and the next time comes when it is ready, at a random moment. At the end of each variant every
 * node is asked for every write that was acknowledged. A run of 200: --kills 200.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, connect, isStoreError } from '../src/client/index.ts';
import { type Cluster, startCluster } from './support/cluster.ts';
import { xorshift } from './support/data.ts';
import { newHistogram, percentilesOf, recordMs } from './support/load.ts';
import type { Bench, Scenario } from './support/scenario.ts';
import { Writers } from './support/writers.ts';

const NODES = 3;
const TIMES_DEFAULT = 20;
const WARMUP_MS_MAX = 3_000;
/** Before each time: at least, and at most so much more, so that no two meet the same moment of a heartbeat. */
const QUIET_MS = 200;
const QUIET_SPREAD_MS = 500;
const AFTERMATH_MS = 500;

interface Variant {
  readonly name: string;
  /** Takes the leader away once, and gives it back; the outage in ms, or undefined when it was refused. */
  readonly once: (stage: Stage) => Promise<number | undefined>;
  readonly p50MsMax?: number;
  readonly p99MsMax: number;
}

interface Stage {
  readonly cluster: Cluster;
  readonly writers: Writers;
  readonly admin: Client;
}

const VARIANTS: readonly Variant[] = [
  { name: 'leader killed (SIGKILL)', once: killed, p50MsMax: 600, p99MsMax: 1_200 },
  { name: 'leader hands over', once: handedOver, p99MsMax: 100 },
  { name: 'leader stops (SIGTERM)', once: stopped, p99MsMax: 100 },
];

export const failover: Scenario = {
  name: 'failover',
  summary:
    'the time without an acknowledged write when the leader is killed, hands over, or is stopped; --kills N each',
  run,
};

async function run(bench: Bench): Promise<void> {
  bench.progress(`starting ${NODES} nodes`);
  const cluster = await startCluster(bench, NODES);
  const admin = await connect(cluster.endpoints);
  bench.cleanup.defer(() => admin.close());
  const random = xorshift(0x2545f491);
  for (const [i, variant] of VARIANTS.entries()) await measure(bench, variant, { cluster, admin }, `f${i}/`, random);
  await admin.close();
  await cluster.stop();
}

async function measure(
  bench: Bench,
  variant: Variant,
  { cluster, admin }: Omit<Stage, 'writers'>,
  prefix: string,
  random: () => number,
): Promise<void> {
  const times = bench.options.kills ?? TIMES_DEFAULT;
  const writers = await Writers.start(cluster.endpoints, prefix);
  bench.cleanup.defer(() => writers.stop());
  await sleep(Math.min(WARMUP_MS_MAX, bench.options.seconds * 1000));
  const beganMs = performance.now();
  const before = writers.acknowledged;
  const histogram = newHistogram();
  let refused = 0;
  let maxMs = 0;
  for (let turn = 1; turn <= times; turn++) {
    await sleep(QUIET_MS + (random() % QUIET_SPREAD_MS));
    const outageMs = await variant.once({ cluster, writers, admin });
    if (outageMs === undefined) refused++;
    else {
      recordMs(histogram, outageMs);
      maxMs = Math.max(maxMs, outageMs);
      bench.progress(`${variant.name}, ${turn} of ${times}: ${outageMs.toFixed(1)} ms`);
    }
  }
  const opsPerSecond = ((writers.acknowledged - before) / (performance.now() - beganMs)) * 1000;
  await writers.stop();
  const missing = await Promise.all(cluster.processes.map(({ clientUrl }) => writers.missingAt(clientUrl)));
  const ackedLost = Math.max(...missing);
  const figures = percentilesOf(histogram);
  const more = {
    times,
    maxMs: Number(maxMs.toFixed(3)),
    acked: writers.acknowledged,
    ackedLost,
    ...(writers.failures === 0 ? {} : { failures: writers.failures }),
    ...(refused === 0 ? {} : { refused }),
  };
  bench.row({ variant: variant.name, system: 'ctlmesh', inFlight: null, opsPerSecond, ...figures, more });
  const target = (what: string, measured: number, wanted: number, unit: string): void =>
    bench.target({ what: `${variant.name}: ${what}`, unit, measured, wanted, is: 'at most' });
  if (variant.p50MsMax !== undefined) target('p50', figures.p50Ms, variant.p50MsMax, 'ms');
  target('p99', figures.p99Ms, variant.p99MsMax, 'ms');
  target('acknowledged writes lost', ackedLost, 0, '');
}

async function killed({ cluster, writers }: Stage): Promise<number> {
  const { name } = await cluster.leader();
  const killedMs = performance.now();
  const gone = cluster.signal(name, 'SIGKILL');
  const ackedMs = await writers.nextAck(killedMs);
  await gone;
  await cluster.restart(name);
  return ackedMs - killedMs;
}

async function handedOver({ writers, admin }: Stage): Promise<number | undefined> {
  const askedMs = performance.now();
  try {
    await admin.members.transferLeader();
  } catch (error) {
    if (isStoreError(error, 'MEMBER_REFUSED')) return undefined;
    throw error;
  }
  await sleep(AFTERMATH_MS);
  return writers.longestGapMs(askedMs, performance.now());
}

async function stopped({ cluster, writers }: Stage): Promise<number> {
  const { name } = await cluster.leader();
  const askedMs = performance.now();
  await cluster.signal(name, 'SIGTERM');
  await sleep(AFTERMATH_MS);
  const outageMs = writers.longestGapMs(askedMs, performance.now());
  await cluster.restart(name);
  return outageMs;
}
