/**
 * ldb-row: what does a row of a table cost, read from a local replica by its primary key?
 *
 * Sketch. A row of the usual shape (a text key, three more texts, a whole number, a decimal; about 100 bytes) is one read
 * of LMDB, as in ldb-get: 1 µs. Before it the key is encoded (10 bytes of table, 1 of kind, the text, 2 of end); after it
 * one object with six fields is made, each text a call into node or a short loop. That is to stay within 2 µs more:
 * 300 000 rows a second, p99 20 µs. (ctlstore: 100 µs.)
 *
 * The loop yields never, so the schema is looked at once; `getRowByKey, in turns` yields before each read, as a server
 * does that reads a row per request: LMDB renews its read transaction and the catalog is looked at each time.
 */
import { join } from 'node:path';
import { ByteWriter } from '../src/core/base/bytes.ts';
import { toIndex } from '../src/core/base/position.ts';
import { encodeRow } from '../src/core/model/control/row.ts';
import { rowKey } from '../src/core/model/control/row-key.ts';
import { encodeSchema, tableKey, type TableSchema } from '../src/core/model/control/schema.ts';
import { encodeValue, type GivenValue } from '../src/core/model/control/value.ts';
import { openLdb } from '../src/engine/ldb/index.ts';
import { LdbWriter } from '../src/engine/ldb/writer.ts';
import { draws } from './support/data.ts';
import { compareSync } from './support/load.ts';
import type { Bench, Scenario } from './support/scenario.ts';

const ROWS = 300_000;
const ROWS_PER_BATCH = 10_000;
const REGIONS = ['eu-west-1', 'us-east-1', 'ap-south-1'];

const SCHEMA: TableSchema = {
  family: 'billing',
  table: 'plans',
  id: 1,
  epoch: 1,
  version: 1,
  created: 1,
  fields: [
    { name: 'id', type: 'string', added: 0 },
    { name: 'name', type: 'string', added: 0 },
    { name: 'region', type: 'string', added: 0 },
    { name: 'seats', type: 'integer', added: 0 },
    { name: 'price', type: 'decimal', added: 0 },
    { name: 'settings', type: 'text', added: 0 },
  ],
  key: [0],
};

export const ldbRow: Scenario = {
  name: 'ldb-row',
  summary: 'rows of a table read by primary key from a local replica',
  run,
};

const idOf = (n: number): string => `plan-${String(n).padStart(8, '0')}`;

function rowOf(n: number): GivenValue[] {
  const settings = `{"trial":${n % 30},"tier":"${n % 7}"}`;
  return [idOf(n), `The plan number ${n}`, REGIONS[n % REGIONS.length] as string, n, n / 100 + 0.5, settings];
}

async function run(bench: Bench): Promise<void> {
  const dir = join(bench.dir, 'ldb');
  bench.progress(`writing ${ROWS} rows`);
  await fill(dir);
  const ldb = openLdb(dir);
  const ids = Array.from({ length: ROWS }, (_, n) => idOf(n));
  const keys = ids.map((id) => rowKey(SCHEMA, [id]));
  const draw = draws(ROWS);
  let found = 0;
  bench.progress('reading');
  const results = await compareSync(
    {
      getRowByKey: (n) => {
        if (ldb.getRowByKey('billing', 'plans', [ids[draw(n)] as string]) !== undefined) found++;
      },
      'getBytes of the same keys': (n) => {
        if (ldb.getBytes(keys[draw(n)] as Uint8Array) !== undefined) found++;
      },
    },
    { seconds: bench.options.seconds },
  );
  if (found === 0) throw new Error('nothing was found');
  const floor = results['getBytes of the same keys'].opsPerSecond;
  for (const [variant, { opsPerSecond, p50Ms, p99Ms, p999Ms }] of Object.entries(results)) {
    const more = { ofBytes: Number((opsPerSecond / floor).toFixed(2)), rows: ROWS };
    bench.row({ variant, system: 'ctlmesh', inFlight: 1, opsPerSecond, p50Ms, p99Ms, p999Ms, more });
  }
  await inTurns(bench, ldb, ids, draw);
  const { opsPerSecond, p99Ms } = results.getRowByKey;
  bench.target({ what: 'rows by key', unit: '/s', measured: opsPerSecond, wanted: 300_000, is: 'at least' });
  bench.target({ what: 'p99 of a row', unit: 'µs', measured: p99Ms * 1000, wanted: 20, is: 'at most' });
  ldb.close();
}

/** A read a turn: the loop of a server. Only the read is timed. */
async function inTurns(
  bench: Bench,
  ldb: ReturnType<typeof openLdb>,
  ids: readonly string[],
  draw: (n: number) => number,
): Promise<void> {
  const micros: number[] = [];
  const untilMs = performance.now() + bench.options.seconds * 250;
  for (let n = 0; performance.now() < untilMs; n++) {
    await new Promise((turn) => setImmediate(turn));
    const from = performance.now();
    ldb.getRowByKey('billing', 'plans', [ids[draw(n)] as string]);
    micros.push(performance.now() - from);
  }
  micros.sort((a, b) => a - b);
  const at = (share: number): number => micros[Math.floor(micros.length * share)] as number;
  const opsPerSecond = 1000 / (micros.reduce((sum, ms) => sum + ms, 0) / micros.length);
  const row = { variant: 'getRowByKey, in turns', system: 'ctlmesh' as const, inFlight: 1, opsPerSecond };
  bench.row({ ...row, p50Ms: at(0.5), p99Ms: at(0.99), p999Ms: at(0.999), more: { rows: ROWS } });
}

/** Through the writer that a reflector has, as one snapshot. */
async function fill(dir: string): Promise<void> {
  const revision = toIndex(ROWS);
  const writer = await LdbWriter.open(dir);
  await writer.beginSnapshot({ cluster: 'bench', revision, timeMs: Date.now() });
  const schemaKey = tableKey(SCHEMA.family, SCHEMA.table);
  await writer.addSnapshot([{ key: schemaKey, value: encodeSchema(SCHEMA), revision: toIndex(1), expiryMs: 0 }]);
  for (let from = 0; from < ROWS; from += ROWS_PER_BATCH) {
    const rows = Array.from({ length: ROWS_PER_BATCH }, (_, i) => {
      const values = rowOf(from + i);
      const value = new ByteWriter(128);
      const tagged = values.map((one) => {
        const writer = new ByteWriter(32);
        encodeValue(writer, one);
        return writer.take();
      });
      encodeRow(value, tagged);
      return {
        key: rowKey(SCHEMA, values.slice(0, 1)),
        value: value.take(),
        revision: toIndex(from + i + 1),
        expiryMs: 0,
      };
    });
    await writer.addSnapshot(rows);
  }
  await writer.finishSnapshot();
  await writer.close();
}
