/**
 * fill, overwrite, read-random, read-missing, scan: the storage engine alone, in this process, beside LevelDB and LMDB
 * with the same million keys (16 bytes, values of 100).
 *
 * Sketch. A put of a batch costs us its place in the log's buffer (~0.2 µs of CRC and copy) and an insert into the
 * skiplist (~1.5 µs: a search of some twelve levels in JavaScript); LevelDB does the same in C++ behind a call that
 * copies the batch. A get from the cache is three searches (index, filter, block) in JavaScript, ~2 µs, without a call
 * into C++, which alone costs some 0.5 µs; LevelDB's getSync takes ~4 µs. A scan decodes and copies two byte strings
 * per entry.
 */
import { draws, xorshift } from '../support/data.ts';
import { compareSync, type LoadResult } from '../support/load.ts';
import { type Bench, BenchError, type Scenario } from '../support/scenario.ts';
import { type BenchStore, openStore, type Put, type StoreName } from './stores.ts';

const KEYS = 1_000_000;
const BATCH = 1_000;
const VALUE_BYTES = 100;
const STORES: readonly StoreName[] = ['ctlmesh', 'classic-level', 'lmdb'];

const keyBytes = (n: number): Buffer => Buffer.from(String(n).padStart(16, '0'));
/** Bytes that do not compress, a different one for each key. */
const valueSource: Buffer = (() => {
  const next = xorshift(0x2545f491);
  return Buffer.from(Uint8Array.from({ length: 1 << 20 }, () => next() & 0xff));
})();
const valueOf = (n: number): Buffer => {
  const at = Math.imul(n, 2_654_435_761) >>> 13;
  const start = at % (valueSource.length - VALUE_BYTES);
  return valueSource.subarray(start, start + VALUE_BYTES);
};

/** Every number below `count` once, in an order that is not theirs. */
function shuffled(count: number): Uint32Array {
  const next = xorshift(0x9e3779b9);
  const order = Uint32Array.from({ length: count }, (_, n) => n);
  for (let i = count - 1; i > 0; i--) {
    const j = next() % (i + 1);
    const held = order[i] as number;
    order[i] = order[j] as number;
    order[j] = held;
  }
  return order;
}

async function writeAll(store: BenchStore, order: Uint32Array): Promise<number> {
  const began = performance.now();
  for (let from = 0; from < order.length; from += BATCH) {
    const puts: Put[] = [];
    for (let i = from; i < from + BATCH && i < order.length; i++) {
      const n = order[i] as number;
      puts.push({ key: keyBytes(n), value: valueOf(n) });
    }
    await store.writeBatch(puts);
  }
  return performance.now() - began;
}

const noLatency = { p50Ms: Number.NaN, p99Ms: Number.NaN, p999Ms: Number.NaN };

interface Rates {
  [system: string]: number;
}

async function fillOnce(bench: Bench, what: 'fill' | 'overwrite', order: Uint32Array): Promise<Rates> {
  const rates: Rates = {};
  const variant = what === 'fill' ? 'random order, batches of 1,000' : 'all keys again, batches of 1,000';
  for (const name of STORES) {
    bench.progress(name);
    const store = await openStore(name, bench.dir);
    try {
      if (what === 'overwrite') await writeAll(store, order);
      const ms = await writeAll(store, order);
      rates[name] = (order.length / ms) * 1000;
      const more = { keys: order.length, ...store.facts() };
      bench.row({ variant, system: store.system, inFlight: 1, opsPerSecond: rates[name], ...noLatency, more });
    } finally {
      await store.close();
    }
  }
  return rates;
}

export const fill: Scenario = {
  name: 'fill',
  summary: 'a million keys into an empty store in batches of 1,000, in random order and in key order, not synced',
  run: async (bench) => {
    const rates = await fillOnce(bench, 'fill', shuffled(KEYS));
    const measured = (rates['ctlmesh'] as number) / (rates['classic-level'] as number);
    bench.target({ what: 'batch fill against classic-level', unit: '×', measured, wanted: 0.8, is: 'at least' });
  },
};

export const overwrite: Scenario = {
  name: 'overwrite',
  summary: 'the same million keys a second time, in batches of 1,000',
  run: async (bench) => {
    await fillOnce(bench, 'overwrite', shuffled(KEYS));
  },
};

/** All stores, full and settled. */
async function openFull(bench: Bench): Promise<{ stores: Map<StoreName, BenchStore>; close: () => Promise<void> }> {
  const stores = new Map<StoreName, BenchStore>();
  const order = shuffled(KEYS);
  for (const name of STORES) {
    bench.progress(`filling ${name}`);
    const store = await openStore(name, bench.dir);
    stores.set(name, store);
    await writeAll(store, order);
    await store.settle();
  }
  return {
    stores,
    close: async () => {
      for (const store of stores.values()) await store.close();
    },
  };
}

async function readScenario(
  bench: Bench,
  variant: string,
  keyOf: (n: number) => Buffer,
  isFound: boolean,
): Promise<Record<StoreName, LoadResult>> {
  const { stores, close } = await openFull(bench);
  bench.progress('reading');
  let wrong = 0;
  const operations = Object.fromEntries(
    [...stores].map(([name, store]) => [
      name,
      (n: number) => {
        if ((store.getSync(keyOf(n)) !== undefined) !== isFound) wrong++;
      },
    ]),
  ) as Record<StoreName, (n: number) => void>;
  // Once through everything: what is measured is the cache.
  for (const store of stores.values()) for (let n = 0; n < KEYS; n += 7) store.getSync(keyBytes(n));
  const results = await compareSync(operations, { seconds: bench.options.seconds });
  if (wrong > 0) throw new BenchError(`${wrong} reads found what they should not, or did not find it`);
  for (const [name, result] of Object.entries(results)) {
    const { opsPerSecond, p50Ms, p99Ms, p999Ms } = result;
    const { system } = stores.get(name as StoreName) as BenchStore;
    bench.row({ variant, system, inFlight: 1, opsPerSecond, p50Ms, p99Ms, p999Ms, more: { keys: KEYS } });
  }
  await close();
  return results;
}

export const readRandom: Scenario = {
  name: 'read-random',
  summary: 'getSync of a random one of a million keys, from the cache',
  run: async (bench) => {
    const draw = draws(KEYS);
    const keys = Array.from({ length: 1 << 17 }, (_, i) => keyBytes(draw(i)));
    const results = await readScenario(bench, 'keys that are there', (n) => keys[n & 0x1ffff] as Buffer, true);
    const measured = results.ctlmesh.opsPerSecond / results['classic-level'].opsPerSecond;
    bench.target({ what: 'against classic-level getSync', unit: '×', measured, wanted: 1.5, is: 'at least' });
    bench.note('op/s without a clock in the loop, latencies with one (adds about 0.1 µs)');
  },
};

export const readMissing: Scenario = {
  name: 'read-missing',
  summary: 'getSync of keys between the million that are there',
  run: async (bench) => {
    const draw = draws(KEYS);
    const keys = Array.from({ length: 1 << 17 }, (_, i) => Buffer.concat([keyBytes(draw(i)), Buffer.from('x')]));
    await readScenario(bench, 'keys that are not there', (n) => keys[n & 0x1ffff] as Buffer, false);
  },
};

export const scan: Scenario = {
  name: 'scan',
  summary: 'all of a million entries in key order; keys and values copied out',
  run: async (bench) => {
    const { stores, close } = await openFull(bench);
    const best: Rates = {};
    // In turn, and the median of them: whatever else the machine does meets all alike.
    const rounds = Math.max(3, Math.ceil(bench.options.seconds));
    const times = new Map<StoreName, number[]>([...stores.keys()].map((name) => [name, []]));
    for (let round = 0; round <= rounds; round++) {
      for (const [name, store] of stores) {
        const began = performance.now();
        const bytes = await store.scan(undefined, KEYS);
        const ms = performance.now() - began;
        if (bytes !== KEYS * (16 + VALUE_BYTES)) throw new BenchError(`${name} gave ${bytes} bytes`);
        if (round > 0) (times.get(name) as number[]).push(ms);
      }
    }
    for (const [name, store] of stores) {
      const sorted = (times.get(name) as number[]).sort((a, b) => a - b);
      best[name] = (KEYS / (sorted[sorted.length >>> 1] as number)) * 1000;
      bench.row({
        variant: 'forward, 1,000,000 entries',
        system: store.system,
        inFlight: 1,
        opsPerSecond: best[name],
        ...noLatency,
        more: { rounds },
      });
    }
    await close();
    const measured = (best['ctlmesh'] as number) / (best['classic-level'] as number);
    bench.target({ what: "against classic-level's iterator", unit: '×', measured, wanted: 0.7, is: 'at least' });
  },
};
