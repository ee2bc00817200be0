/**
 * mutate: how many rows of typed tables do three nodes take, in batches of a hundred?
 *
 * Sketch. A row of the usual shape (a text key, three more texts, a whole number, a decimal) is about 70 bytes on the wire;
 * a batch of 100 is 7 KB and one entry of the log, so consensus and sync cost what a put of 7 KB costs. What counts is the
 * machine, on one thread: per row, its values are checked against the schema, its key is encoded, the row before it is
 * read, a row and a ledger record are written: 10 to 20 µs. Three nodes do that on two cores, beside the client's own
 * encoding (5 µs a row): 2 cores / (3 × 15 + 5 µs) = 40 k rows/s at best. ctlstore's envelope is 100 a second.
 *
 * `cpuMicrosPerRow` is what all three nodes spent: it says more than the rate does where others use the machine.
 *
 * 100 000 rows are written over and over, so most upserts replace a row.
 */
import { connect } from '../src/client/index.ts';
import type { MutateRequest } from '../src/client/control-types.ts';
import { startCluster } from './support/cluster.ts';
import { runLoad } from './support/load.ts';
import type { Bench, Scenario } from './support/scenario.ts';
import { cpuSeconds } from './support/system.ts';

const NODES = 3;
const ROWS = 100_000;
const ROWS_PER_BATCH = 100;
const IN_FLIGHT: readonly number[] = [1, 8, 32];
const WARMUP_MS = 2_000;
const WANTED = 20_000;
const SECRET = 'bench secret';
const REGIONS = ['eu-west-1', 'us-east-1', 'ap-south-1'];

export const mutate: Scenario = {
  name: 'mutate',
  summary: 'rows of a typed table through three local nodes, in batches of 100',
  run,
};

async function run(bench: Bench): Promise<void> {
  bench.progress(`starting ${NODES} nodes`);
  const cluster = await startCluster(bench, NODES);
  const client = await connect(cluster.endpoints);
  const { control } = client;
  await control.createFamily('billing');
  await control.createTable('billing', 'plans', {
    fields: { id: 'string', name: 'string', region: 'string', note: 'text', seats: 'integer', price: 'decimal' },
    key: ['id'],
  });
  await control.registerWriter('bench', SECRET);
  let best = 0;
  for (const inFlight of bench.options.inFlight ?? IN_FLIGHT) {
    bench.progress(`${inFlight} batches in flight`);
    const measureMs = bench.options.seconds * 1000;
    const operation = (n: number): Promise<unknown> => control.mutate(batch(n));
    const spent = (): number => cluster.processes.reduce((sum, { pid }) => sum + (cpuSeconds(pid) ?? Number.NaN), 0);
    let [before, after] = [0, 0];
    const onBegin = (): void => {
      before = spent();
    };
    const onEnd = (): void => {
      after = spent();
    };
    const result = await runLoad({ inFlight, warmupMs: WARMUP_MS, measureMs, operation, onBegin, onEnd });
    const { opsPerSecond, p50Ms, p99Ms, p999Ms, failures, firstFailure } = result;
    const rowsPerSecond = Math.round(opsPerSecond * ROWS_PER_BATCH);
    best = Math.max(best, rowsPerSecond);
    const failed = failures === 0 ? {} : { failures, firstFailure: String(firstFailure) };
    const cpuMicros = Number((((after - before) / (result.operations * ROWS_PER_BATCH)) * 1e6).toFixed(1));
    const more = { rowsPerSecond, cpuMicrosPerRow: cpuMicros, ...failed };
    bench.row({
      variant: `batch of ${ROWS_PER_BATCH}`,
      system: 'ctlmesh',
      inFlight,
      opsPerSecond,
      p50Ms,
      p99Ms,
      p999Ms,
      more,
    });
  }
  bench.target({
    what: `rows in batches of ${ROWS_PER_BATCH}`,
    unit: 'rows/s',
    measured: best,
    wanted: WANTED,
    is: 'at least',
  });
  await client.close();
  await cluster.stop();
}

function batch(n: number): MutateRequest {
  const mutations = Array.from({ length: ROWS_PER_BATCH }, (_, i) => {
    const row = (n * ROWS_PER_BATCH + i) % ROWS;
    return {
      table: 'plans',
      upsert: {
        id: `plan-${row}`,
        name: `Plan number ${row}`,
        region: REGIONS[row % REGIONS.length] ?? '',
        note: 'sold since the spring',
        seats: n,
        price: row / 7,
      },
    };
  });
  return { family: 'billing', writer: 'bench', secret: SECRET, mutations };
}
