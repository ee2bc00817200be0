/**
 * The examples, run as a reader runs them.
 */
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { freePortsInARow, Run, TestCluster, until } from '../support/cluster-process.ts';

let cluster: TestCluster | undefined;
const runs: Run[] = [];
afterEach(async () => {
  for (const run of runs.splice(0)) run.child.kill('SIGKILL');
  await cluster?.close();
  cluster = undefined;
});

function start(...args: readonly string[]): Run {
  const run = new Run(args);
  runs.push(run);
  return run;
}

/** What a program printed; it must end well. */
async function output(...args: readonly string[]): Promise<string> {
  const run = start(...args);
  const { code } = await run.ended;
  expect({ code, output: run.output }).toMatchObject({ code: 0 });
  return run.output;
}

test('the SDK and a local replica: what the one writes, the other reads', async () => {
  cluster = await TestCluster.start();
  const ldb = join(cluster.dir, 'ldb');
  start('bin/kvctl.js', 'ldb', 'follow', '--from', cluster.urls.join(','), '--ldb', ldb);

  const written = await output('examples/sdk.ts', ...cluster.urls);
  expect(written).toMatch(/^get: on, written by revision \d+$/m);
  expect(written).toContain('txn: the condition held');
  expect(written).toMatch(/^watch: revision \d+: delete flags\/beta$/m);
  expect(written).toContain('refused: KEY_INVALID, retry: never');

  await until('the replica has it', async () => {
    const run = start('examples/ldb.ts', ldb);
    await run.ended;
    return run.output.includes('range: flags/new-ui = off');
  });
});

test('a lock and an election: what is refused, and who is told', async () => {
  cluster = await TestCluster.start();
  const told = await output('examples/lock.ts', ...cluster.urls);
  expect(told.trimEnd().split('\n').slice(1)).toEqual([
    ...['fenced: written', 'second: somebody has it', 'lock: lost', 'fenced: refused'],
    ...['leader: host-7', 'leader: host-7, busy', 'leader: nobody'],
  ]);
});

test('the storage engine as a level database: twice, in one directory', async () => {
  cluster = await TestCluster.prepare(); // For its directory.
  for (let run = 0; run < 2; run++) {
    const printed = await output('examples/level.ts', join(cluster.dir, 'level'));
    expect(printed).toContain('getSync: { rps: 500 }');
    expect(printed).toContain('then: flags/new-ui { on: true }');
    expect(printed).toMatch(/^sublevel: \[ \[ 'ann', 'open' \] \]$/m);
  }
});

test('the storage engine itself: twice, in one directory, and a copy that LevelDB opens', async () => {
  cluster = await TestCluster.prepare(); // For its directory.
  for (let run = 0; run < 2; run++) {
    const printed = await output('examples/engine.ts', join(cluster.dir, 'engine'));
    expect(printed).toContain('batch: flags/new-ui = on, of this batch: true');
    expect(printed).toMatch(/^then: on\nnow: undefined$/m);
    expect(printed).toMatch(/^checkpoint: limits\/eu = 500\ncheckpoint: locks\/migration = host-7$/m);
  }
});

test('an embedded node reads in the same turn what it was told is written', async () => {
  const port = await freePortsInARow(3);
  cluster = await TestCluster.prepare(); // For its directory.
  const read = await output('examples/embedded.ts', join(cluster.dir, 'embedded'), String(port));
  expect(read).toContain('getSync: { rps: 500 }');
  expect(read).toContain('actor: /hits 2');
  expect(read).toContain('status: leader');
});

test('a supervised pool of workers: one dies, is back, and no part of the work is lost', async () => {
  const told = await output('examples/workers.ts');
  expect(told).toMatch(/^back: \/pool\/primes-\d#2$/m);
  expect(told).toMatch(/^again: \d+ /m);
  expect(told).toMatch(/^primes below 400000: 33860$/m);
});

test('a durable counter outlives its host, and has counted exactly', async () => {
  const port = await freePortsInARow(9);
  cluster = await TestCluster.prepare(); // For its directory.
  const told = await output('examples/durable-counter.ts', join(cluster.dir, 'counter'), String(port));
  expect(told).toContain('first, through n1: 1');
  expect(told).toContain('each counted once: true');
  expect(told).toContain('through n2: 31, through n3: 31');
});
