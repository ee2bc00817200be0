/**
 * ycsb: the Yahoo! Cloud Serving Benchmark's core workloads A to F on the embedded store (Cooper et al., SoCC 2010; the
 * generators are those of its reference implementation: ENGINE-FACTS §3e).
 *
 *   A 50 % read 50 % update · B 95/5 · C read only · D 95 % read 5 % insert, latest · E 95 % scan 5 % insert
 *   F 50 % read 50 % read-modify-write          zipfian with θ = 0.99, scrambled; scans of 1 to 100 records
 *
 * A record is ten fields of 100 bytes, kept as one value of 1,000; an update writes one field, which in a store of
 * whole values is a read and a write of the record. Loaded once for A, B, C, F, D in that order, and again for E.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { xorshift } from '../support/data.ts';
import { newHistogram, percentilesOf, recordMs } from '../support/load.ts';
import { type Bench, BenchError, type Scenario } from '../support/scenario.ts';
import { type BenchStore, openStore, type StoreName } from './stores.ts';

const RECORDS = 200_000;
const FIELDS = 10;
const FIELD_BYTES = 100;
const RECORD_BYTES = FIELDS * FIELD_BYTES;
const LOAD_BATCH = 500;
const SCAN_MAX = 100;
const SPACE_TARGET = 1.3;

interface Workload {
  readonly name: 'A' | 'B' | 'C' | 'D' | 'E' | 'F';
  readonly read: number;
  readonly update: number;
  readonly insert: number;
  readonly scan: number;
  readonly isLatest?: boolean;
}

/** What is left over is read-modify-write. */
const WORKLOADS: readonly Workload[] = [
  { name: 'A', read: 0.5, update: 0.5, insert: 0, scan: 0 },
  { name: 'B', read: 0.95, update: 0.05, insert: 0, scan: 0 },
  { name: 'C', read: 1, update: 0, insert: 0, scan: 0 },
  { name: 'F', read: 0.5, update: 0, insert: 0, scan: 0 },
  { name: 'D', read: 0.95, update: 0, insert: 0.05, scan: 0, isLatest: true },
  { name: 'E', read: 0, update: 0, insert: 0.05, scan: 0.95 },
];

export const ycsb: Scenario = {
  name: 'ycsb',
  summary: `YCSB A to F on the embedded store, ${RECORDS.toLocaleString('en')} records of 1,000 bytes; space after A`,
  run,
};

async function run(bench: Bench): Promise<void> {
  const stores: readonly StoreName[] = bench.options.peers ? ['ctlmesh', 'classic-level', 'lmdb'] : ['ctlmesh'];
  const ours = new Map<string, number>();
  for (const name of stores) {
    let store = await loadStore(bench, name, 'load');
    for (const workload of WORKLOADS) {
      if (workload.name === 'E') {
        await store.close();
        store = await loadStore(bench, name, 'reload');
      }
      bench.progress(`${name} ${workload.name}`);
      await runWorkload(bench, store, workload, ours);
      if (workload.name === 'A' && name === 'ctlmesh') await measureSpace(bench, store, join(bench.dir, 'load', name));
    }
    await store.close();
  }
  bench.note('one caller; reads are synchronous, writes are not synced; inserts and updates of one record each');
}

async function loadStore(bench: Bench, name: StoreName, part: string): Promise<BenchStore> {
  bench.progress(`${name}: ${part}`);
  const store = await openStore(name, join(bench.dir, part));
  const fields = new Fields();
  for (let from = 0; from < RECORDS; from += LOAD_BATCH) {
    const puts = Array.from({ length: LOAD_BATCH }, (_, i) => ({ key: recordKey(from + i), value: fields.record() }));
    await store.writeBatch(puts);
  }
  return store;
}

/** `ours`: op/s of ctlmesh by workload, which runs first and is what peers are told beside. */
async function runWorkload(
  bench: Bench,
  store: BenchStore,
  workload: Workload,
  ours: Map<string, number>,
): Promise<void> {
  const random = uniform(0x1234567 + workload.name.charCodeAt(0));
  const fields = new Fields();
  let records = RECORDS;
  const zipfian = new ScrambledZipfian(random);
  const latest = new Zipfian(RECORDS, random);
  const draw = (): number => {
    if (workload.isLatest === true) return records - 1 - (latest.next() % records);
    for (;;) {
      const n = zipfian.next(RECORDS);
      if (n < records) return n;
    }
  };
  const read = (key: Buffer): Uint8Array => {
    const value = store.getSync(key);
    if (value === undefined) throw new BenchError(`${key.toString()} is missing`);
    return value;
  };
  const update = (key: Buffer): Promise<unknown> => store.put(key, fields.update(read(key), random));
  const operate = (): unknown => {
    const u = random();
    if (u < workload.read) return read(recordKey(draw()));
    if (u < workload.read + workload.update) return update(recordKey(draw()));
    if (u < workload.read + workload.update + workload.insert) return store.put(recordKey(records++), fields.record());
    if (workload.scan > 0) return store.scan(recordKey(draw()), 1 + Math.floor(random() * SCAN_MAX));
    const key = recordKey(draw());
    read(key);
    return update(key);
  };
  const histogram = newHistogram();
  const until = performance.now() + bench.options.seconds * 1000;
  let operations = 0;
  const began = performance.now();
  for (let now = began; now < until; ) {
    const done = operate();
    if (done instanceof Promise) await done;
    const after = performance.now();
    recordMs(histogram, after - now);
    now = after;
    operations++;
    // Reads alone would keep the event loop, and the background's messages, waiting.
    if (operations % 1024 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const opsPerSecond = (operations / (performance.now() - began)) * 1000;
  if (store.system === 'ctlmesh') ours.set(workload.name, opsPerSecond);
  const ctlmeshTimes = Number(((ours.get(workload.name) ?? Number.NaN) / opsPerSecond).toFixed(2));
  const more = { records, ...store.facts(), ...(store.system === 'ctlmesh' ? {} : { ctlmeshTimes }) };
  bench.row({
    variant: workload.name,
    system: store.system,
    inFlight: 1,
    opsPerSecond,
    ...percentilesOf(histogram),
    more,
  });
}

async function measureSpace(bench: Bench, store: BenchStore, dir: string): Promise<void> {
  bench.progress('settling after A');
  await store.settle();
  let bytes = 0;
  for (const file of readdirSync(dir)) if (file.endsWith('.ldb')) bytes += statSync(join(dir, file)).size;
  const live = RECORDS * (RECORD_BYTES + recordKey(1).length);
  bench.row({
    variant: 'A, settled',
    system: 'ctlmesh',
    inFlight: null,
    opsPerSecond: Number.NaN,
    p50Ms: Number.NaN,
    p99Ms: Number.NaN,
    p999Ms: Number.NaN,
    more: { tablesMB: Math.round(bytes / 1e6), liveMB: Math.round(live / 1e6), ...store.facts() },
  });
  bench.target({ what: 'space after A', unit: '× live', measured: bytes / live, wanted: SPACE_TARGET, is: 'at most' });
}

/** Field contents that do not compress. */
class Fields {
  readonly #next = xorshift(0x2545f491);
  readonly #source: Buffer = Buffer.from(Uint8Array.from({ length: 1 << 20 }, () => this.#next() & 0xff));

  record(): Buffer {
    const start = this.#next() % (this.#source.length - RECORD_BYTES);
    return this.#source.subarray(start, start + RECORD_BYTES);
  }

  update(record: Uint8Array, random: () => number): Buffer {
    const value = Buffer.from(record);
    const field = Math.floor(random() * FIELDS);
    this.record().copy(value, field * FIELD_BYTES, 0, FIELD_BYTES);
    return value;
  }
}

function uniform(seed: number): () => number {
  const next = xorshift(seed);
  return () => next() / 0x1_0000_0000;
}

const FNV_OFFSET = 0xcbf29ce484222325n;
const FNV_PRIME = 1_099_511_628_211n;
const MASK_64 = (1n << 64n) - 1n;

/** FNV-1a over the eight little-endian bytes of `n`, as Java's `Math.abs` of a signed 64-bit number. */
function fnv64(n: number): bigint {
  let hash = FNV_OFFSET;
  let rest = BigInt(n);
  for (let i = 0; i < 8; i++) {
    hash = ((hash ^ (rest & 0xffn)) * FNV_PRIME) & MASK_64;
    rest >>= 8n;
  }
  const signed = BigInt.asIntN(64, hash);
  return signed < 0n ? -signed : signed;
}

const keyCache = new Map<number, Buffer>();

function recordKey(n: number): Buffer {
  let key = keyCache.get(n);
  if (key === undefined) {
    key = Buffer.from(`user${fnv64(n)}`);
    keyCache.set(n, key);
  }
  return key;
}

const THETA = 0.99;

/** Gray et al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994). */
class Zipfian {
  readonly #items: number;
  readonly #random: () => number;
  readonly #zetan: number;
  readonly #alpha: number;
  readonly #eta: number;

  constructor(items: number, random: () => number, zetan: number = zeta(items)) {
    this.#items = items;
    this.#random = random;
    this.#zetan = zetan;
    this.#alpha = 1 / (1 - THETA);
    this.#eta = (1 - (2 / items) ** (1 - THETA)) / (1 - zeta(2) / zetan);
  }

  next(): number {
    const u = this.#random();
    const uz = u * this.#zetan;
    if (uz < 1) return 0;
    if (uz < 1 + 0.5 ** THETA) return 1;
    return Math.floor(this.#items * (this.#eta * u - this.#eta + 1) ** this.#alpha);
  }
}

function zeta(items: number): number {
  let sum = 0;
  for (let i = 1; i <= items; i++) sum += 1 / i ** THETA;
  return sum;
}

const SCRAMBLED_ITEMS = 10_000_000_000;
const SCRAMBLED_ZETAN = 26.46902820178302;

/** Popular items spread over the whole range. */
class ScrambledZipfian {
  readonly #zipfian: Zipfian;
  readonly #hashes = new Map<number, bigint>();

  constructor(random: () => number) {
    this.#zipfian = new Zipfian(SCRAMBLED_ITEMS, random, SCRAMBLED_ZETAN);
  }

  next(items: number): number {
    const n = this.#zipfian.next();
    // BigInt arithmetic costs more than a read; the popular ones are asked again and again.
    let hash = this.#hashes.get(n);
    if (hash === undefined) {
      hash = fnv64(n);
      if (this.#hashes.size < 100_000) this.#hashes.set(n, hash);
    }
    return Number(hash % BigInt(items));
  }
}
