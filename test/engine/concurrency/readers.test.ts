/**
 * Real threads that read the tree while it is written, flushed, compacted, and its files go. `CTLMESH_READS=10000000`
 * for a long run.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type Engine, openEngine } from '../../../src/engine/store/index.ts';
import { below, seeded } from '../../core/base/seeded.ts';
import { bytes } from '../../support/engine-model.ts';
import { startCrew } from '../lsm/shared/crew.ts';
import { FAMILIES, keyOf, MEMBERS, valueText } from './families.ts';
import type { ReadingArgs } from './tree-reading.ts';

const READS = Number(process.env['CTLMESH_READS'] ?? 600_000);
const READERS = 2;
/** A round of a reader is about ten reads, a scan some hundred. */
const READS_PER_ROUND = 20;

let dir: string | undefined;
let engine: Engine | undefined;
afterEach(async () => {
  await engine?.close();
  if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
  engine = undefined;
  dir = undefined;
});

/** One family anew, or all of it deleted. */
function writeFamily(to: Engine, random: () => number, number: number): Promise<number> {
  const family = below(random, FAMILIES);
  const batch = to.batch();
  if (random() < 0.05) for (let member = 0; member < MEMBERS; member++) batch.delete(keyOf(family, member));
  else {
    const value = bytes(valueText(family, number));
    for (let member = 0; member < MEMBERS; member++) batch.put(keyOf(family, member), value);
  }
  return to.write(batch, { sync: false });
}

test('threads see whole batches, whole values and stable snapshots, whatever goes on around them', {
  timeout: 3_600_000,
}, async () => {
  dir = mkdtempSync(join(tmpdir(), 'ctlmesh-readers-'));
  engine = await openEngine(dir, {
    memtableBytes: 32 * 1024,
    batchBytesMax: 64 * 1024,
    memtables: 3,
    cacheBytes: 64 * 1024,
    tableBytes: 8 * 1024,
    levelBaseBytes: 32 * 1024,
    blockBytes: 512,
    l0Compact: 2,
    // Fewer than there are: tables are closed and opened again all the time.
    openTablesMax: 4,
    walSegmentBytes: 1024 * 1024,
    reserveBytes: 0,
  });
  const random = seeded(11);
  let number = 0;
  const args: ReadingArgs = { memory: engine.memory, dir, options: engine.options };
  const crew = await startCrew(new URL('./tree-reading.ts', import.meta.url), READERS, args);
  const rounds = READS / READS_PER_ROUND / READERS;
  const compactions = (): number => engine?.stats().tree['compactions'] as number;
  while (!crew.isDone(rounds, compactions() >= 20)) {
    // Groups of some batches, as many writers at once make them.
    const writes = Array.from({ length: 1 + below(random, 8) }, () => writeFamily(engine as Engine, random, ++number));
    await Promise.all(writes);
  }
  const reports = await crew.finish();
  expect(reports.flatMap(({ faults }) => faults)).toEqual([]);
  for (const report of reports) expect(report.rounds).toBeGreaterThanOrEqual(rounds);
  expect(engine.failure).toBe(undefined);
  expect(number).toBeGreaterThan(1000);
});
