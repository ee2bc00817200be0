/**
 * restart: how long does it take to open a store with a gigabyte of data, after it was closed and after it was killed?
 *
 * Sketch. Opening reads the manifest and the properties of each table (some 250 of 4 MiB: a few reads each), and then
 * what the log has beyond the tables: at most the memtables, some 64 MiB, at an insert of ~2 µs per 116 bytes: 0.6 M
 * entries, about a second and a half at worst.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { openEngine } from '../../src/engine/store/index.ts';
import { type Bench, BenchError, type Scenario } from '../support/scenario.ts';

const GIGABYTE = 1e9;

export const restart: Scenario = {
  name: 'restart',
  summary: 'opening a store with 1 GB of data, after a clean close and after kill -9',
  run,
};

async function run(bench: Bench): Promise<void> {
  const dir = join(bench.dir, 'store');
  bench.progress('writing a gigabyte, then kill -9');
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('../processes/fill-engine.ts', import.meta.url)), dir, String(GIGABYTE)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  bench.cleanup.child(child);
  // It says when everything is written, and then goes on writing until it is killed.
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  await measure(bench, dir, 'after kill -9');
  await measure(bench, dir, 'after a clean close');
}

async function measure(bench: Bench, dir: string, variant: string): Promise<void> {
  const began = performance.now();
  const engine = await openEngine(dir);
  const ms = performance.now() - began;
  const value = engine.getSync(Buffer.from(String(1).padStart(16, '0')));
  if (value === undefined) throw new BenchError('the first key is missing');
  const bytes = (engine.stats().tree['bytes'] as number[]).reduce((sum, level) => sum + level, 0);
  const { revision, flushedRevision } = engine.stats();
  await engine.close();
  const more = {
    openMs: Math.round(ms),
    tablesMB: Math.round(bytes / 1e6),
    replayedBatches: revision - flushedRevision,
  };
  bench.row({
    variant,
    system: 'ctlmesh',
    inFlight: null,
    opsPerSecond: Number.NaN,
    p50Ms: ms,
    p99Ms: Number.NaN,
    p999Ms: Number.NaN,
    more,
  });
  bench.target({ what: `open, ${variant}`, unit: 's', measured: ms / 1000, wanted: 2, is: 'at most' });
}
