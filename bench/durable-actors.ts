/**
 * durable-actors: what does an ask cost whose answer waits until the next state is on the disks of a majority?
 *
 * Sketch. A commit is a transaction of two conditions and a put, by the node's own client: what a put costs (0.8 to 1.5 ms
 * alone on three nodes of one machine), and some 0.2 ms for the JSON of the state and of the answers kept, for two schemas
 * and for the turns of two actors. One actor commits one at a time, however many ask it: some 500 to 1 000 a second. Many
 * actors share the groups of the log: then the processor ends it, at 100 to 200 µs of the hosting node's main thread for each.
 * An ask that changes nothing writes nothing: a few turns on its host, and two trips over the mesh from elsewhere.
 *
 * The actors live where they are asked first, so `from another node` asks those that n1 has.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DurableNodeFrom, DurableNodeTo } from './processes/durable-node.ts';
import { Child } from './support/child.ts';
import { configOf } from './support/cluster.ts';
import type { Bench, Scenario } from './support/scenario.ts';

export const durableActors: Scenario = {
  name: 'durable-actors',
  summary: 'asks to durable actors on three nodes, each answered once its state is on a majority; puts beside them',
  run,
};

type DurableNode = Child<DurableNodeTo, DurableNodeFrom>;
type What = Extract<DurableNodeTo, { kind: 'run' }>['what'];

interface Variant {
  readonly variant: string;
  readonly what: What;
  readonly counters: number;
  readonly inFlight: number;
  /** Which node asks. */
  readonly by?: number;
}

const VARIANTS: readonly Variant[] = [
  { variant: 'put 100 B, by the node’s client', what: 'put', counters: 64, inFlight: 1 },
  { variant: 'put 100 B, by the node’s client', what: 'put', counters: 64, inFlight: 64 },
  { variant: 'commit, one actor', what: 'add', counters: 1, inFlight: 1 },
  { variant: 'commit, one actor', what: 'add', counters: 1, inFlight: 64 },
  { variant: 'commit, 64 actors', what: 'add', counters: 64, inFlight: 64 },
  { variant: 'commit, one actor, from another node', what: 'add', counters: 1, inFlight: 1, by: 1 },
  { variant: 'commit, 64 actors, from another node', what: 'add', counters: 64, inFlight: 64, by: 1 },
  { variant: 'answer, one actor', what: 'total', counters: 1, inFlight: 1 },
  { variant: 'answer, one actor, from another node', what: 'total', counters: 1, inFlight: 1, by: 1 },
];

const NODES = 3;
const START_MS = 60_000;
const WARMUP_MS = 2_000;
/** Commits of one actor, or so the docs say: hundreds a second. */
const ONE_ACTOR_WANTED = 200;

async function run(bench: Bench): Promise<void> {
  const dir = join(bench.dir, 'durable-actors');
  mkdirSync(dir, { recursive: true });
  const config = await configOf(dir, NODES);
  bench.progress('starting three nodes');
  const nodes = Object.keys(config.nodes).map((id): DurableNode => {
    const node: DurableNode = Child.start(bench.cleanup, 'durable-node', { profile: bench.options.profile });
    node.tell({ kind: 'start', config, id });
    return node;
  });
  await Promise.all(nodes.map((node) => node.hear('up', START_MS)));
  const measureMs = bench.options.seconds * 1000;
  for (const { variant, what, counters, inFlight, by = 0 } of VARIANTS) {
    if (bench.options.inFlight?.includes(inFlight) === false) continue;
    bench.progress(`${variant}, ${inFlight} in flight`);
    const asking = nodes[by] as DurableNode;
    const prefix = `${counters}-`;
    asking.tell({ kind: 'run', what, prefix, counters, inFlight, warmupMs: WARMUP_MS, measureMs });
    const { result } = await asking.hear('result', START_MS + WARMUP_MS + measureMs);
    const { opsPerSecond, p50Ms, p99Ms, p999Ms, failures, firstFailure } = result;
    const more = failures === 0 ? {} : { more: { failures, firstFailure: String(firstFailure) } };
    bench.row({ variant, system: 'ctlmesh', inFlight, opsPerSecond, p50Ms, p99Ms, p999Ms, ...more });
    if (variant === 'commit, one actor' && inFlight === 1) {
      const wanted = ONE_ACTOR_WANTED;
      bench.target({ what: variant, unit: 'op/s', measured: opsPerSecond, wanted, is: 'at least' });
    }
  }
  bench.note('the actors live on n1, where they are asked first; which node leads is chance');
}
