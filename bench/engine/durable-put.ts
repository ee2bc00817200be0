/**
 * durable-put: single puts, each on disk before it is answered, from many callers at once.
 *
 * Sketch. An fdatasync takes some 0.1–0.2 ms and covers whatever was written before it began. With 64 callers a group
 * is up to 64 puts, so the disk allows 64 / 0.15 ms = 400 k/s; what limits is the work per put (a promise, a record,
 * an insert: some 8 µs), so 60–100 k/s. LevelDB groups too, but each call first crosses into a pool of four threads.
 */
import { keyOf, values } from '../support/data.ts';
import { runLoad } from '../support/load.ts';
import type { Bench, Scenario } from '../support/scenario.ts';
import { openStore, type StoreName } from './stores.ts';

const CALLERS = [1, 64];
const STORES: readonly StoreName[] = ['ctlmesh', 'classic-level', 'lmdb'];

export const durablePut: Scenario = {
  name: 'durable-put',
  summary: 'puts of an embedded store, each synced before it is answered, 1 and 64 callers',
  run,
};

async function run(bench: Bench): Promise<void> {
  const contents = values();
  const rates = new Map<string, number>();
  for (const inFlight of bench.options.inFlight ?? CALLERS) {
    for (const name of STORES) {
      bench.progress(`${name}, ${inFlight} in flight`);
      const store = await openStore(name, `${bench.dir}/${inFlight}`);
      try {
        const result = await runLoad({
          inFlight,
          warmupMs: 500,
          measureMs: bench.options.seconds * 1000,
          operation: (n) => store.putSynced(Buffer.from(keyOf(n)), contents[n % contents.length] as Buffer),
        });
        const { opsPerSecond, p50Ms, p99Ms, p999Ms } = result;
        rates.set(`${name} ${inFlight}`, opsPerSecond);
        bench.row({ variant: 'synced put', system: store.system, inFlight, opsPerSecond, p50Ms, p99Ms, p999Ms });
      } finally {
        await store.close();
      }
    }
  }
  const ours = rates.get('ctlmesh 64');
  const theirs = rates.get('classic-level 64');
  if (ours === undefined || theirs === undefined) return;
  const measured = ours / theirs;
  bench.target({ what: '64 callers, against classic-level', unit: '×', measured, wanted: 4, is: 'at least' });
}
