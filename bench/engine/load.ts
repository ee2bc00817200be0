/**
 * load: ten million keys into one store. Is its memory bounded by its configuration, and does any write wait long?
 *
 * Sketch. Memtables (8 × 8 MiB and a batch each), the block cache (64 MiB), index and filter blocks (12 MiB) and what
 * the process needs anyway (V8, the pool's threads, buffers): the bound is the first three and 64 MiB. The heap of V8
 * and its threads before anything is opened is taken off, as it is not the store's.
 */
import { join } from 'node:path';
import { openEngine } from '../../src/engine/store/index.ts';
import { xorshift } from '../support/data.ts';
import { newHistogram, percentilesOf, recordMs } from '../support/load.ts';
import type { Bench, Scenario } from '../support/scenario.ts';

const KEYS = 10_000_000;
const BATCH = 1_000;
const VALUE_BYTES = 100;
const MIB = 1024 * 1024;
const CACHE_BYTES = 64 * MIB;
const MEMTABLE_BYTES = 8 * MIB;
const MEMTABLES = 8;
const ALLOWANCE_BYTES = 64 * MIB;
const STALL_TARGET_MS = 1_000;

export const load: Scenario = {
  name: 'load',
  summary: 'ten million keys in random order: memory at its highest, and the longest wait of a batch',
  run,
};

async function run(bench: Bench): Promise<void> {
  const beforeBytes = process.memoryUsage.rss();
  const next = xorshift(0x2545f491);
  const source = Buffer.from(Uint8Array.from({ length: 1 << 20 }, () => next() & 0xff));
  const engine = await openEngine(join(bench.dir, 'store'), {
    cacheBytes: CACHE_BYTES,
    memtableBytes: MEMTABLE_BYTES,
    memtables: MEMTABLES,
  });
  const histogram = newHistogram();
  let peakBytes = 0;
  let longestMs = 0;
  const began = performance.now();
  for (let n = 0; n < KEYS; ) {
    const batch = engine.batch();
    for (let i = 0; i < BATCH; i++, n++) {
      const start = next() % (source.length - VALUE_BYTES);
      const key = String((n * 7_919) % KEYS).padStart(16, '0');
      batch.put(Buffer.from(key), source.subarray(start, start + VALUE_BYTES));
    }
    const at = performance.now();
    await engine.write(batch, { sync: false });
    const ms = performance.now() - at;
    recordMs(histogram, ms);
    if (ms > longestMs) longestMs = ms;
    if (n % 100_000 === 0) {
      peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
      // Reads fill the cache, and are part of the bound.
      for (let i = 0; i < 2_000; i++) engine.getSync(Buffer.from(String(next() % n).padStart(16, '0')));
      bench.progress(`${n / 1e6} million keys, ${Math.round(peakBytes / MIB)} MiB`);
    }
  }
  const opsPerSecond = (KEYS / (performance.now() - began)) * 1000;
  const { stall, tree } = engine.stats();
  const configured = MEMTABLES * MEMTABLE_BYTES + CACHE_BYTES;
  const grownBytes = peakBytes - beforeBytes;
  const writtenMB = (tree.flushedBytes + tree.compactedBytes) / 1e6;
  const userMB = (KEYS * (16 + VALUE_BYTES)) / 1e6;
  const more = {
    peakMiB: Math.round(peakBytes / MIB),
    grownMiB: Math.round(grownBytes / MIB),
    configuredMiB: configured / MIB,
    longestBatchMs: Math.round(longestMs),
    stalledMs: Math.round(Object.values(stall.micros).reduce((sum, micros) => sum + micros, 0) / 1000),
    writeAmplification: Number((writtenMB / userMB).toFixed(2)),
  };
  bench.row({
    variant: 'batches of 1,000',
    system: 'ctlmesh',
    inFlight: 1,
    opsPerSecond,
    ...percentilesOf(histogram),
    more,
  });
  await engine.close();
  bench.note('latencies are of batches of 1,000 puts');
  bench.target({
    what: 'memory beyond memtables and cache',
    unit: 'MiB',
    measured: (grownBytes - configured) / MIB,
    wanted: ALLOWANCE_BYTES / MIB,
    is: 'at most',
  });
  bench.target({
    what: 'the longest wait of a batch',
    unit: 'ms',
    measured: longestMs,
    wanted: STALL_TARGET_MS,
    is: 'at most',
  });
}
