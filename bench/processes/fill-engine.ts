/**
 * A process that fills an embedded store: `node fill-engine.ts <dir> <bytes>`. It says "full" when that much is
 * written, and goes on writing until it is killed.
 */
import { openEngine } from '../../src/engine/store/index.ts';
import { xorshift } from '../support/data.ts';

const [dir = '', bytesText = ''] = process.argv.slice(2);
const bytes = Number(bytesText);
const VALUE_BYTES = 1_000;
const BATCH = 200;

const next = xorshift(0x2545f491);
const source = Buffer.from(Uint8Array.from({ length: 1 << 20 }, () => next() & 0xff));
const engine = await openEngine(dir);
const total = Math.ceil(bytes / VALUE_BYTES);
for (let n = 0; ; ) {
  const batch = engine.batch();
  for (let i = 0; i < BATCH; i++, n++) {
    const start = next() % (source.length - VALUE_BYTES);
    // In an order of its own, so that tables overlap.
    const key = n < total ? (n * 7_919 + 1) % total : next() % total;
    batch.put(Buffer.from(String(key).padStart(16, '0')), source.subarray(start, start + VALUE_BYTES));
  }
  await engine.write(batch, { sync: false });
  if (n - BATCH < total && n >= total) process.stdout.write('full\n');
}
