/**
 * The process that engine-kill-loop.test.ts kills: writes without end, and notes in the oracle what it is about to
 * write and what it was told is written. `node engine-kill-child.ts <dir> <oracle> <seed>`
 */
import { type Engine, openEngine } from '../../src/engine/store/index.ts';
import { below, seeded } from '../core/base/seeded.ts';
import { FAR_MS, KEYS, keyText, kindOf, Oracle, PAST_MS, valueText } from './engine-oracle.ts';

const [dir, oraclePath, seed] = process.argv.slice(2) as [string, string, string];
const IN_FLIGHT_MAX = 12;

const encoder = new TextEncoder();
const random = seeded(Number(seed));
const oracle = new Oracle(oraclePath);
/** Keys with a write under way: a key has one at a time. */
const busy = new Set<number>();
let next = oracle.highest + 1;

/** Keys of a batch: some that are free, and for a range neighbours. */
function freeKeys(number: number): number[] {
  const count = random() < 0.4 ? 1 : 1 + below(random, 8);
  const first = below(random, KEYS);
  const keys = new Set<number>();
  for (let i = 0; i < count; i++) {
    const key = kindOf(number) === 'delete-range' ? first + i : below(random, KEYS);
    if (key < KEYS && !busy.has(key)) keys.add(key);
    else if (kindOf(number) === 'delete-range') break;
  }
  return [...keys];
}

async function write(engine: Engine, number: number, keys: readonly number[]): Promise<void> {
  const batch = engine.batch();
  const kind = kindOf(number);
  for (const key of keys) {
    busy.add(key);
    oracle.setPending(key, number);
    const name = encoder.encode(keyText(key));
    const value = encoder.encode(valueText(key, number) ?? 'gone');
    if (kind === 'put') batch.put(name, value);
    else if (kind === 'put-far') batch.put(name, value, FAR_MS);
    else if (kind === 'put-past') batch.put(name, value, PAST_MS);
    else if (kind === 'delete') batch.delete(name);
  }
  if (kind === 'delete-range') {
    batch.deleteRange(encoder.encode(keyText(keys[0] as number)), encoder.encode(keyText((keys.at(-1) as number) + 1)));
  }
  await engine.write(batch, { sync: random() < 0.3 });
  for (const key of keys) {
    oracle.commit(key, number);
    busy.delete(key);
  }
}

const engine = await openEngine(dir, {
  memtableBytes: 32 * 1024,
  batchBytesMax: 64 * 1024,
  cacheBytes: 256 * 1024,
  tableBytes: 16 * 1024,
  levelBaseBytes: 64 * 1024,
  l0Compact: 2,
  walSegmentBytes: 8 * 1024,
  reserveBytes: 0,
});
process.stdout.write('open\n');

const underWay = new Set<Promise<void>>();
for (;;) {
  const keys = freeKeys(next);
  if (keys.length > 0) {
    const writing: Promise<void> = write(engine, next++, keys).finally(() => underWay.delete(writing));
    underWay.add(writing);
  }
  if (underWay.size >= IN_FLIGHT_MAX || random() < 0.1) await Promise.race(underWay);
  if (random() < 0.002) await engine.compact();
  else if (random() < 0.004) await engine.flush();
}
