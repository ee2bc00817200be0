/**
 * get-sync: what does a read cost in the process that runs the node, with no await?
 *
 * Sketch. One Atomics.load for the position; a search in the skiplist: log4(300 000) ≈ 9 levels, two or three nodes
 * looked at in each, most of them decided by one word but every hop a cache miss (~0.1 µs with the data in 50 MB); one
 * copy of 100 bytes and one entry object, ~0.2 µs; a text key is encoded first, ~0.1 µs. So 1–2 µs: 500–900 k/s, and
 * more when the keys stand together. A Map in the same process is the floor: no order, no revisions, no sharing.
 */
import { startEmbedded } from './embedded-put.ts';
import { draws, keys, values } from './support/data.ts';
import { compareSync } from './support/load.ts';
import type { Bench, Scenario } from './support/scenario.ts';

const KEYS = 300_000;
const OPERATIONS_PER_TXN = 100;
const TXNS_IN_FLIGHT = 8;

export const getSync: Scenario = {
  name: 'get-sync',
  summary: 'synchronous reads from the memtable of a node inside this process, 300 000 keys',
  run,
};

async function run(bench: Bench): Promise<void> {
  const { node } = await startEmbedded(bench);
  const names = keys(KEYS);
  const bytes = names.map((name) => Buffer.from(name));
  const contents = values();
  const valueOf = (n: number): Buffer => contents[n % contents.length] as Buffer;

  bench.progress(`writing ${KEYS} keys`);
  let next = 0;
  const write = async (): Promise<void> => {
    while (next < KEYS) {
      const from = next;
      next = Math.min(KEYS, from + OPERATIONS_PER_TXN);
      const to = next;
      await node.txn((txn) => {
        for (let n = from; n < to; n++) txn.put(names[n] as string, valueOf(n));
      });
    }
  };
  await Promise.all(Array.from({ length: TXNS_IN_FLIGHT }, write));

  const map = new Map(names.map((name, n) => [name, valueOf(n)]));
  const draw = draws(KEYS);
  bench.progress('reading');
  let found = 0;
  const results = await compareSync(
    {
      'getSync, text keys': (n) => {
        if (node.getSync(names[draw(n)] as string) !== undefined) found++;
      },
      'getSync, byte keys': (n) => {
        if (node.getSync(bytes[draw(n)] as Buffer) !== undefined) found++;
      },
      'Map.get': (n) => {
        if (map.get(names[draw(n)] as string) !== undefined) found++;
      },
    },
    { seconds: bench.options.seconds },
  );
  if (found === 0) throw new Error('nothing was found');

  for (const [variant, { opsPerSecond, p50Ms, p99Ms, p999Ms }] of Object.entries(results)) {
    const system = variant === 'Map.get' ? 'floor' : 'ctlmesh';
    bench.row({ variant, system, inFlight: 1, opsPerSecond, p50Ms, p99Ms, p999Ms, more: { keys: KEYS } });
  }
  bench.note('keys are drawn at random; op/s without a clock in the loop, latencies with one (adds about 0.1 µs)');
  const measured = results['getSync, text keys'].opsPerSecond;
  bench.target({ what: 'with text keys', unit: 'op/s', measured, wanted: 400_000, is: 'at least' });
  await node.stop();
}
