/**
 * ldb-get: how much of raw LMDB's speed is left when a read goes through an LDB?
 *
 * Sketch. Both go down the same B+tree: 300 000 rows × ~130 bytes is 50 MB in the page cache, three or four levels.
 * lmdb's `getBinaryFast` gives bytes that are valid until the next read: one call into C++, some 0.6–1 µs. On top of it
 * an LDB checks the key's length, looks at one byte of the row (does it expire?), copies row and header out (16 + 100
 * bytes, ~0.1 µs) and makes one entry. 0.7 of raw leaves 0.3 µs for that; `getBytes` leaves the copy out.
 *
 * Same rows, same process, slices in turn. The raw database has lmdb's own defaults but for `encoding: 'binary'`.
 */
import { join } from 'node:path';
import { open } from 'lmdb';
import { toIndex } from '../src/core/base/position.ts';
import { openLdb } from '../src/engine/ldb/index.ts';
import { LdbWriter } from '../src/engine/ldb/writer.ts';
import { draws, keys, values } from './support/data.ts';
import { compareSync } from './support/load.ts';
import type { Bench, Scenario } from './support/scenario.ts';

const KEYS = 300_000;
const ROWS_PER_BATCH = 10_000;

export const ldbGet: Scenario = {
  name: 'ldb-get',
  summary: "reads of a local replica, beside lmdb's own getBinaryFast over the same rows",
  run,
};

async function run(bench: Bench): Promise<void> {
  const names = keys(KEYS);
  const contents = values();
  const valueOf = (n: number): Buffer => contents[n % contents.length] as Buffer;
  const ldbDir = join(bench.dir, 'ldb');
  const rawDir = join(bench.dir, 'raw');

  bench.progress(`writing ${KEYS} rows, twice`);
  await fillLdb(ldbDir, names, valueOf);
  const raw = open<Buffer, string>({ path: rawDir, encoding: 'binary', noSubdir: false });
  for (let from = 0; from < KEYS; from += ROWS_PER_BATCH) {
    const rows = names.slice(from, from + ROWS_PER_BATCH);
    await Promise.all(rows.map((name, i) => raw.put(name, valueOf(from + i))));
  }
  await raw.flushed;
  const ldb = openLdb(ldbDir);

  bench.progress('reading');
  const draw = draws(KEYS);
  let found = 0;
  const results = await compareSync(
    {
      'ldb.get': (n) => {
        if (ldb.get(names[draw(n)] as string) !== undefined) found++;
      },
      'ldb.getBytes': (n) => {
        if (ldb.getBytes(names[draw(n)] as string) !== undefined) found++;
      },
      getBinaryFast: (n) => {
        if (raw.getBinaryFast(names[draw(n)] as string) !== undefined) found++;
      },
    },
    { seconds: bench.options.seconds },
  );
  if (found === 0) throw new Error('nothing was found');

  const floor = results.getBinaryFast.opsPerSecond;
  for (const [variant, { opsPerSecond, p50Ms, p99Ms, p999Ms }] of Object.entries(results)) {
    const system = variant === 'getBinaryFast' ? 'lmdb' : 'ctlmesh';
    const more = { ofRaw: Number((opsPerSecond / floor).toFixed(2)), keys: KEYS };
    bench.row({ variant, system, inFlight: 1, opsPerSecond, p50Ms, p99Ms, p999Ms, more });
  }
  bench.note('keys are drawn at random; op/s without a clock in the loop, latencies with one (adds about 0.1 µs)');
  const measured = results['ldb.get'].opsPerSecond / floor;
  bench.target({ what: 'get against raw getBinaryFast', unit: '×', measured, wanted: 0.7, is: 'at least' });
  ldb.close();
  await raw.close();
}

/** Through the writer that a reflector has, as one snapshot. */
async function fillLdb(dir: string, names: readonly string[], valueOf: (n: number) => Buffer): Promise<void> {
  const revision = toIndex(names.length);
  const writer = await LdbWriter.open(dir);
  await writer.beginSnapshot({ cluster: 'bench', revision, timeMs: Date.now() });
  for (let from = 0; from < names.length; from += ROWS_PER_BATCH) {
    const rows = names.slice(from, from + ROWS_PER_BATCH).map((name, i) => ({
      key: Buffer.from(name),
      value: valueOf(from + i),
      revision: toIndex(from + i + 1),
      expiryMs: 0,
    }));
    await writer.addSnapshot(rows);
  }
  await writer.finishSnapshot();
  await writer.close();
}
